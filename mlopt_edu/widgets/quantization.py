"""Numbers on a grid: where each lands, what rounding costs and what clipping costs.

The browser draws four channels of 256 numbers, cuts their range, rounds them to a grid
and adds the errors up (quantization.js); quantization_explorer.js draws the channels
with their grids, and the errors against the range.
"""

from typing import ClassVar

from traitlets import Enum, Float, Int

from mlopt_edu.widgets._panels import PanelWidget, sources


class QuantizationExplorer(PanelWidget):
    """Four channels on a quantization grid, and the error for every range.

    Every argument is also an attribute that follows the controls and moves them.

    Args:
        bits: Bits of an integer, from 2 to 8.
        range: Share of the numbers' range that the grid covers, in [0.02, 1].
        numbers: "weights" (normal) or "activations" (SiLU of normal numbers).
        scheme: "symmetric" (zero point 0) or "affine".
        granularity: "tensor" (one scale) or "channel" (one for each channel).
        outliers: Size of the two outliers of the first channel, from 2 to 40 of its
            standard deviations; 0 for none.
        unlocked: Whether the controls may be moved; see `Prediction.unlocks`.

    Raises:
        TraitError: If a value is of the wrong type or out of its range.
    """

    _esm = sources(
        "panels.js",
        "stochastic_gradients.js",
        "quantization.js",
        "quantization_explorer.js",
    )
    _css = sources("style.css", "panels.css", "quantization.css")

    NUMBERS: ClassVar = ("weights", "activations")
    SCHEMES: ClassVar = ("symmetric", "affine")
    GRANULARITIES: ClassVar = ("tensor", "channel")
    RANGES: ClassVar = {"bits": (2, 8), "range": (0.02, 1), "outliers": (0, 40)}

    bits = Int(8).tag(sync=True)
    range = Float(1).tag(sync=True)
    numbers = Enum(NUMBERS, "weights").tag(sync=True)
    scheme = Enum(SCHEMES, "symmetric").tag(sync=True)
    granularity = Enum(GRANULARITIES, "tensor").tag(sync=True)
    outliers = Int().tag(sync=True)

    def __init__(
        self,
        *,
        bits: int = 4,
        range: float = 1.0,
        numbers: str = "weights",
        scheme: str = "symmetric",
        granularity: str = "tensor",
        outliers: int = 0,
        unlocked: bool = True,
    ) -> None:
        settings = {
            "bits": bits,
            "range": range,
            "numbers": numbers,
            "scheme": scheme,
            "granularity": granularity,
            "outliers": outliers,
        }
        super().__init__(settings, unlocked=unlocked)
