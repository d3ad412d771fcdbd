"""A small network whose weights are taken away, as masks or as whole units.

The browser trains a net of 2 inputs, two hidden layers of 12 tanh units and one logit
on two moons, prunes it and trains it further (pruning.js), and draws its weights and
its decision line (pruning_explorer.js).
"""

from typing import ClassVar

from traitlets import Bool, Enum, Float, Int

from mlopt_edu.widgets._panels import PanelWidget, sources

PATTERNS = ("global", "layers", "n:4", "units", "any")


class PruningExplorer(PanelWidget):
    """What is left of a small net when weights or units go, and what it computes.

    Every argument is also an attribute that follows the controls and moves them.

    Args:
        amount: Share that goes, in [0, 1]: of the weights, or of the hidden units.
        pattern: "global" (the smallest of all layers together), "layers" (of each
            layer), "n:4" (of every four neighbouring inputs), "units" (whole hidden
            units, removed for real) or "any" (drawn by chance).
        fine_tuning: Whether the net is trained for 100 more steps with its mask.
        seed: Which initial weights are drawn, in [0, 999].
        unlocked: Whether the controls may be moved; see `Prediction.unlocks`.

    Raises:
        TraitError: If a value is of the wrong type or out of its range.
    """

    _esm = sources(
        "panels.js",
        "stochastic_gradients.js",
        "contours.js",
        "pruning.js",
        "pruning_explorer.js",
    )
    _css = sources("style.css", "panels.css", "pruning.css")

    RANGES: ClassVar = {"amount": (0, 1), "seed": (0, 999)}

    amount = Float().tag(sync=True)
    pattern = Enum(PATTERNS, "global").tag(sync=True)
    fine_tuning = Bool(False).tag(sync=True)
    seed = Int().tag(sync=True)

    def __init__(
        self,
        *,
        amount: float = 0.5,
        pattern: str = "global",
        fine_tuning: bool = False,
        seed: int = 0,
        unlocked: bool = True,
    ) -> None:
        settings = {
            "amount": amount,
            "pattern": pattern,
            "fine_tuning": fine_tuning,
            "seed": seed,
        }
        super().__init__(settings, unlocked=unlocked)
