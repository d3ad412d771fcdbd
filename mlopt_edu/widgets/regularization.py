r"""What an L1 and an L2 penalty do to one weight, and to eight of them.

    one weight      (w - w0)^2 / 2 + strength (ratio |w| + (1 - ratio) w^2 / 2)
    eight weights   |X w - y|^2 / (2 n) + strength (ratio |w|_1 + (1 - ratio) |w|^2 / 2)

`ratio` is the share of L1, as `l1_ratio` of the elastic net: 1 is the Lasso, 0 is ridge
regression. The browser solves the second problem by coordinate descent
(regularization.js) and draws both (shrinkage_explorer.js).
"""

from typing import ClassVar

from traitlets import Enum, Float

from mlopt_edu.widgets._panels import PanelWidget, sources


class ShrinkageExplorer(PanelWidget):
    """The minimum of one penalised weight, and the paths of eight.

    Every argument is also an attribute that follows the controls and moves them.

    Args:
        penalty: "l1", "l2" or "both" (half of each).
        strength: Weight of the penalty, in [0, 10].
        without: Where the one weight has its minimum without a penalty, in [-3, 3].
        unlocked: Whether the controls may be moved; see `Prediction.unlocks`.

    Raises:
        TraitError: If a value is of the wrong type or out of its range.
    """

    _esm = sources("panels.js", "regularization.js", "shrinkage_explorer.js")
    _css = sources("style.css", "panels.css")

    RANGES: ClassVar = {"strength": (0, 10), "without": (-3, 3)}

    penalty = Enum(("l1", "l2", "both"), "l1").tag(sync=True)
    strength = Float().tag(sync=True)
    without = Float().tag(sync=True)

    def __init__(
        self,
        *,
        penalty: str = "l1",
        strength: float = 0.1,
        without: float = 1.0,
        unlocked: bool = True,
    ) -> None:
        settings = {"penalty": penalty, "strength": strength, "without": without}
        super().__init__(settings, unlocked=unlocked)
