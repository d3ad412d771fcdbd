"""Task 7: a transpose whose loads and stores both use whole sectors."""

from collections.abc import Callable, Iterator

import numpy as np

from .._task import Case, Task
from ._problem import TRITON_SECONDS, Array, stored

Transposed = tuple[Array, int, int, int, int, float]
# What a program stores, one entry a lane: places in the output, values, and its mask.
Lanes = tuple[Array, Array, Array]


def tiled_transpose_reference(x: Array, block_size: int) -> Transposed:
    """Every sector is touched once by a load and once by a store."""
    sectors = 2 * x.nbytes / 32
    return x.T, x.nbytes, x.nbytes, 0, 0, sectors


def _matrices(rng: np.random.Generator) -> Iterator[Case]:
    # Sides are multiples of 8 numbers, a sector: then no row starts inside of one.
    for label, rows, cols, block_size in (
        ("one tile", 16, 16, 16),
        ("whole tiles", 16, 32, 16),
        ("past the right edge", 16, 24, 16),
        ("past the lower edge", 8, 16, 16),
        ("past both edges", 24, 40, 32),
        ("8 rows", 8, 32, 16),
    ):
        x = rng.normal(size=(rows, cols)).astype(np.float32)
        yield Case(label, {"x": x, "block_size": block_size})


tiled_transpose = Task(
    "tiled_transpose",
    points=2,
    section="15 · Write it small",
    reference=tiled_transpose_reference,
    draw=_matrices,
    seconds=TRITON_SECONDS,
    hints=(
        "A row is stored side by side, a column is not. If one program has one row, "
        "what does its store touch?",
        "Let a program have a square tile: its load touches whole sectors of several "
        "rows of x, and its store whole sectors of several rows of the output.",
        "`rows[:, None] * n_cols + cols[None, :]` are the places in x, and "
        "`cols[:, None] * n_rows + rows[None, :]` those in the output; store "
        "`tl.trans(tile)` there, with both edges in both masks.",
    ),
)


@tiled_transpose.mistake
def uncoalesced(x: Array, block_size: int) -> Transposed:
    """The output is right, but one side is not coalesced: a sector for each number.

    A program of a whole row (or column) of x loads (or stores) side by side, and on the
    other side it touches 32 bytes to use 4 of them. Move square tiles.
    """
    output, read, written, outside, races, _ = tiled_transpose_reference(x, block_size)
    return output, read, written, outside, races, x.nbytes // 32 + x.size


@tiled_transpose.mistake
def copied(x: Array, block_size: int) -> Transposed:
    """You store each number where it was: row r, column c goes to row c, column r.

    A row of the output has `n_rows` numbers.
    """
    result = tiled_transpose_reference(x, block_size)
    _, read, written, outside, races, sectors = result
    return x.reshape(x.shape[::-1]), read, written, outside, races, sectors


@tiled_transpose.mistake
def edges_left_out(x: Array, block_size: int) -> Transposed:
    """The tiles at the edges are missing: round the number of tiles *up*, and mask."""
    rows, cols = (side // block_size * block_size for side in x.shape)
    output = np.full(x.shape[::-1], np.nan)
    output[:cols, :rows] = x[:rows, :cols].T
    moved = 4 * rows * cols
    return output, moved, moved, 0, 0, 2 * moved // 32


@tiled_transpose.mistake
def tiles_in_place(x: Array, block_size: int) -> Transposed:
    """Each tile goes to its new place, but it is not transposed inside.

    Store `tl.trans(tile)`, or turn the places of the output round.
    """
    result = tiled_transpose_reference(x, block_size)
    _, read, written, outside, races, sectors = result
    output = np.full(x.shape[::-1], np.nan)
    for row in range(0, x.shape[0], block_size):
        for col in range(0, x.shape[1], block_size):
            tile = np.full((block_size, block_size), np.nan)
            inside = x[row : row + block_size, col : col + block_size]
            tile[: inside.shape[0], : inside.shape[1]] = inside
            place = output[col : col + block_size, row : row + block_size]
            place[:] = np.nan_to_num(tile)[: place.shape[0], : place.shape[1]]
    return output, read, written, outside, races, sectors


def _stored(
    x: Array, block_size: int, lanes: Callable[[Array, Array, Array, Array], Lanes]
) -> Transposed:
    """Store tile by tile; `lanes` gets rows, columns, the tile and the loads' mask.

    The rows of the tile run down, its columns across, and masked lanes of it are 0.
    """
    block = np.arange(block_size)

    def programs() -> Iterator[tuple[Array, Array]]:
        for row in range(0, x.shape[0], block_size):
            for col in range(0, x.shape[1], block_size):
                rows, cols = row + block, col + block
                mask = (rows[:, None] < x.shape[0]) & (cols < x.shape[1])
                tile = np.zeros(mask.shape)
                tile[mask] = x[row : row + block_size, col : col + block_size].ravel()
                places, values, active = lanes(rows, cols, tile, mask)
                yield places[active], values[active]

    output, written, outside, races, sectors = stored(x.size, programs())
    output, sectors = output.reshape(x.shape[::-1]), sectors + x.nbytes // 32
    return output, x.nbytes, written, outside, races, sectors


@tiled_transpose.mistake
def store_mask_missing(x: Array, block_size: int) -> Transposed:
    """The store has no mask: past the edge it goes into the next row of the output.

    And behind the last row it leaves the array. Turn the mask with the tile.
    """

    def lanes(rows: Array, cols: Array, tile: Array, mask: Array) -> Lanes:
        return cols[:, None] * len(x) + rows, tile.T, np.ones_like(mask)

    return _stored(x, block_size, lanes)


@tiled_transpose.mistake
def load_mask_reused(x: Array, block_size: int) -> Transposed:
    """You turn the tile, but store it with the mask of the load: turn that as well.

    The lanes that are past the edge of x are other ones in the turned tile.
    """

    def lanes(rows: Array, cols: Array, tile: Array, mask: Array) -> Lanes:
        return cols[:, None] * len(x) + rows, tile.T, mask

    return _stored(x, block_size, lanes)


@tiled_transpose.mistake
def only_places_turned(x: Array, block_size: int) -> Transposed:
    """You turn the places of the output, but neither the tile nor its mask.

    So each tile is the right one, and not transposed inside. `tl.trans` turns both.
    """

    def lanes(rows: Array, cols: Array, tile: Array, mask: Array) -> Lanes:
        return cols[:, None] * len(x) + rows, tile, mask

    return _stored(x, block_size, lanes)


@tiled_transpose.mistake
def stride_of_x(x: Array, block_size: int) -> Transposed:
    """You take `n_cols` for the length of a row of the output: it has `n_rows` numbers.

    A square matrix does not show it.
    """

    def lanes(rows: Array, cols: Array, tile: Array, mask: Array) -> Lanes:
        return cols[:, None] * x.shape[1] + rows, tile.T, mask.T

    return _stored(x, block_size, lanes)


@tiled_transpose.mistake
def missing_mask(x: Array, block_size: int) -> Transposed:
    """There is no mask: past the edge a tile loads and stores in the next rows.

    And past the last row it leaves x and the output.
    """
    read = outside = sectors = 0

    def lanes(rows: Array, cols: Array, tile: Array, mask: Array) -> Lanes:
        nonlocal read, outside, sectors
        places = rows[:, None] * x.shape[1] + cols
        inside = places < x.size
        read += 4 * int(inside.sum())
        outside += int((~inside).sum())
        sectors += len(np.unique(places[inside] // 8))
        tile = np.where(inside, x.ravel()[np.minimum(places, x.size - 1)], np.nan)
        return cols[:, None] * len(x) + rows, tile.T, np.ones_like(mask)

    output, _, written, strays, races, both = _stored(x, block_size, lanes)
    sectors += int(both) - x.nbytes // 32
    return output, read, written, outside + strays, races, sectors
