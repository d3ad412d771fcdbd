r"""Seven optimizers side by side, animated, on six surfaces and on a small real net.

Each runs with one lr for all, or each with the lr that is best for it on the surface.
The browser computes the steps (adaptive_rates.js) on the surfaces (surfaces.js) and on
a 2-8-1 net that it trains by backpropagation (small_net.js), moves the time on
(player.js), and draws (optimizer_playground.js and the files beside it).
"""

from collections.abc import Sequence
from typing import ClassVar

from traitlets import Bool, Enum, Float, Int, List

from mlopt_edu.widgets._panels import PanelWidget, sources

OPTIMIZERS = (
    "sgd",
    "momentum",
    "adagrad",
    "rmsprop",
    "adam",
    "adam_uncorrected",
    "lion",
)
SURFACES = (
    "ravine",
    "turned_ravine",
    "rosenbrock",
    "saddle",
    "noisy_bowl",
    "beale",
    "net",
)


class OptimizerPlayground(PanelWidget):
    """The paths and losses of several optimizers on one surface, step by step.

    Every argument is also an attribute that follows the controls and moves them.

    Args:
        surface: One of "ravine", "turned_ravine", "rosenbrock", "saddle",
            "noisy_bowl", "beale" and "net".
        optimizers: Which run, of "sgd", "momentum", "adagrad", "rmsprop", "adam",
            "adam_uncorrected" (Adam without its bias correction) and "lion".
        tuned: Whether each takes the lr that is best for it, instead of `lr`.
        lr: Step size for all, in [0.0001, 10].
        beta1: Share of the last momentum that is kept, in [0, 0.99].
        beta2: Share of the last average of squares that is kept (by Lion: of its
            momentum), in [0, 0.9999].
        eps: Added to the root of squares that divides, in [1e-10, 1].
        playing: Whether the steps go on by themselves.
        step: Step that is shown, in [0, 400]; while it plays, the one of the last
            pause.
        speed: Steps a second, in [1, 256]; the slider moves in powers of two.
        unlocked: Whether the controls may be moved; see `Prediction.unlocks`.

    Raises:
        TraitError: If a value is of the wrong type or out of its range.
    """

    _esm = sources(
        "panels.js",
        "stochastic_gradients.js",
        "small_net.js",
        "surfaces.js",
        "adaptive_rates.js",
        "contours.js",
        "playground_panel.js",
        "player.js",
        "optimizer_playground.js",
    )
    _css = sources("style.css", "panels.css", "optimizer_playground.css")

    RANGES: ClassVar = {
        "lr": (1e-4, 10),
        "beta1": (0, 0.99),
        "beta2": (0, 0.9999),
        "eps": (1e-10, 1),
        "step": (0, 400),
        "speed": (1, 256),
    }

    surface = Enum(SURFACES, default_value="ravine").tag(sync=True)
    optimizers = List(Enum(OPTIMIZERS)).tag(sync=True)
    tuned = Bool().tag(sync=True)
    lr = Float(1).tag(sync=True)
    beta1 = Float().tag(sync=True)
    beta2 = Float().tag(sync=True)
    eps = Float(1).tag(sync=True)
    playing = Bool().tag(sync=True)
    step = Int().tag(sync=True)
    speed = Int(1).tag(sync=True)

    def __init__(
        self,
        surface: str = "ravine",
        optimizers: Sequence[str] = ("sgd", "momentum", "adagrad", "rmsprop", "adam"),
        *,
        tuned: bool = True,
        lr: float = 0.05,
        beta1: float = 0.9,
        beta2: float = 0.99,
        eps: float = 1e-8,
        playing: bool = True,
        step: int = 0,
        speed: int = 32,
        unlocked: bool = True,
    ) -> None:
        settings = {
            "surface": surface,
            "optimizers": list(optimizers),
            "tuned": tuned,
            "lr": lr,
            "beta1": beta1,
            "beta2": beta2,
            "eps": eps,
            "playing": playing,
            "step": step,
            "speed": speed,
        }
        super().__init__(settings, unlocked=unlocked)
