"""Gradients on the number line of a format: what is lost, what overflows, what helps.

The browser draws log-normal gradients, multiplies them by a loss scale and rounds
every one to each format (mixed_precision.js); number_formats.js draws where the formats
reach and where the gradients lie.
"""

from typing import ClassVar

from traitlets import Enum, Float, Int

from mlopt_edu.widgets._panels import PanelWidget, sources


class NumberFormats(PanelWidget):
    """Precision and range of number formats, and the gradients that fall out of them.

    Every argument is also an attribute that follows the controls and moves them.

    Args:
        format: "fp32", "bf16", "fp16", "e5m2" or "e4m3", the last two of 8 bits.
        centre: Median size of a gradient as an exponent of two, in [-60, 10].
        width: Standard deviation of these exponents, in [0.5, 10].
        scale_exponent: The loss scale is 2 to this power, in [0, 40].
        unlocked: Whether the controls may be moved; see `Prediction.unlocks`.

    Raises:
        TraitError: If a value is of the wrong type or out of its range.
    """

    _esm = sources(
        "panels.js",
        "stochastic_gradients.js",
        "mixed_precision.js",
        "number_formats.js",
    )
    _css = sources("style.css", "panels.css")

    FORMATS: ClassVar = ("fp32", "bf16", "fp16", "e5m2", "e4m3")
    RANGES: ClassVar = {
        "centre": (-60, 10),
        "width": (0.5, 10),
        "scale_exponent": (0, 40),
    }

    format = Enum(FORMATS, "fp16").tag(sync=True)
    centre = Int().tag(sync=True)
    width = Float(0.5).tag(sync=True)
    scale_exponent = Int().tag(sync=True)

    def __init__(
        self,
        format: str = "fp16",
        *,
        centre: int = -22,
        width: float = 4.0,
        scale_exponent: int = 0,
        unlocked: bool = True,
    ) -> None:
        settings = {
            "format": format,
            "centre": centre,
            "width": width,
            "scale_exponent": scale_exponent,
        }
        super().__init__(settings, unlocked=unlocked)
