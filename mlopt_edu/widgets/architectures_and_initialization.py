r"""A signal on its way up a deep random net, and a gradient on its way down.

    z = h W,   h <- phi(z)          d = g phi'(z),   g <- d W^T

The browser multiplies the real matrices, and predicts the same for infinite width from
E[phi(z)^2] and E[phi'(z)^2] (architectures_and_initialization.js); signal_flow.js draws
both.
"""

from typing import ClassVar

from traitlets import Enum, Float, Int

from mlopt_edu.widgets._panels import PanelWidget, sources

ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "gelu")
SCHEMES = ("xavier", "he", "torch", "small", "one")


class SignalFlow(PanelWidget):
    """Standard deviations of activations and gradients, layer by layer.

    Every argument is also an attribute that follows the controls and moves them.

    Args:
        depth: Number of layers, in [2, 30].
        width: Units of every layer, in [8, 64]; the slider moves in powers of two.
        activation: "identity", "sigmoid", "tanh", "relu" or "gelu".
        scheme: Variance of the weights: "xavier" 1/width, "he" 2/width, "torch"
            1/(3 width) as `nn.Linear` has it, "small" 0.01^2, "one" 1.
        gain: Factor on all weights, in [0.25, 4].
        seed: Which inputs and weights are drawn, in [0, 999].
        unlocked: Whether the controls may be moved; see `Prediction.unlocks`.

    Raises:
        TraitError: If a value is of the wrong type or out of its range.
    """

    _esm = sources(
        "panels.js",
        "stochastic_gradients.js",  # its random numbers
        "architectures_and_initialization.js",
        "signal_flow.js",
    )
    _css = sources("style.css", "panels.css")

    RANGES: ClassVar = {
        "depth": (2, 30),
        "width": (8, 64),
        "gain": (0.25, 4),
        "seed": (0, 999),
    }

    depth = Int(2).tag(sync=True)
    width = Int(8).tag(sync=True)
    activation = Enum(ACTIVATIONS, "relu").tag(sync=True)
    scheme = Enum(SCHEMES, "he").tag(sync=True)
    gain = Float(1.0).tag(sync=True)
    seed = Int().tag(sync=True)

    def __init__(
        self,
        *,
        depth: int = 20,
        width: int = 64,
        activation: str = "relu",
        scheme: str = "xavier",
        gain: float = 1.0,
        seed: int = 0,
        unlocked: bool = True,
    ) -> None:
        settings = {
            "depth": depth,
            "width": width,
            "activation": activation,
            "scheme": scheme,
            "gain": gain,
            "seed": seed,
        }
        super().__init__(settings, unlocked=unlocked)
