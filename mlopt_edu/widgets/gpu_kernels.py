"""Which program of a tiled matmul writes which tile, and what it finds in the cache.

The browser walks through the tiles of output = x @ y in the order of the programs,
with a cache of a few strips (gpu_kernels.js), and draws the matrices and what was
loaded so far (tile_explorer.js).
"""

from typing import ClassVar

from traitlets import Bool, Enum, Int

from mlopt_edu.widgets._panels import PanelWidget, sources

BLOCKS = (8, 16, 32)


class TileExplorer(PanelWidget):
    """Tiles of a product: their lanes, their masks, their order and their reuse.

    A program writes a tile of `block_rows` times `block_cols` numbers. For it, it reads
    a strip of rows of x and a strip of columns of y. Every argument is also an
    attribute that follows the controls and moves them.

    Args:
        rows: Rows of the output, in [1, 48].
        cols: Columns of the output, in [1, 48].
        block_rows: Rows of a tile: 8, 16 or 32.
        block_cols: Columns of a tile: 8, 16 or 32.
        group: Rows of tiles that are walked through together, in [1, 6]; 1 is row by
            row, more is swizzled.
        cache: Strips that the cache holds, in [2, 12]; what was not used for longest
            is dropped.
        program: The program that is shown, in [0, 35]; past the last one, the last.
        masked: Whether lanes beyond the edge are masked off.
        unlocked: Whether the controls may be moved; see `Prediction.unlocks`.

    Raises:
        TraitError: If a value is of the wrong type or out of its range.
    """

    _esm = sources("panels.js", "gpu_kernels.js", "tile_explorer.js")
    _css = sources("style.css", "panels.css", "gpu_kernels.css")

    RANGES: ClassVar = {
        "rows": (1, 48),
        "cols": (1, 48),
        "group": (1, 6),
        "cache": (2, 12),
        "program": (0, 35),
    }

    rows = Int(1).tag(sync=True)
    cols = Int(1).tag(sync=True)
    block_rows = Enum(BLOCKS, 8).tag(sync=True)
    block_cols = Enum(BLOCKS, 8).tag(sync=True)
    group = Int(1).tag(sync=True)
    cache = Int(2).tag(sync=True)
    program = Int().tag(sync=True)
    masked = Bool(True).tag(sync=True)

    def __init__(
        self,
        *,
        rows: int = 40,
        cols: int = 44,
        block_rows: int = 8,
        block_cols: int = 8,
        group: int = 1,
        cache: int = 7,
        program: int = 8,
        masked: bool = True,
        unlocked: bool = True,
    ) -> None:
        settings = {
            "rows": rows,
            "cols": cols,
            "block_rows": block_rows,
            "block_cols": block_cols,
            "group": group,
            "cache": cache,
            "program": program,
            "masked": masked,
        }
        super().__init__(settings, unlocked=unlocked)
