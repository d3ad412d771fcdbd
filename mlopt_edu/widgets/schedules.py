"""Learning-rate schedules, and what they do to descent with noisy gradients.

A valley with curvatures 1 and 0.05 is descended in 200 steps. The browser computes the
expected loss exactly, without drawing noise (schedules.js), and draws it beside the
learning rate (schedule_explorer.js).
"""

from typing import ClassVar

from traitlets import Enum, Float, Int

from mlopt_edu.widgets._panels import PanelWidget, sources


class ScheduleExplorer(PanelWidget):
    """The learning rate by step, and the loss it leads to.

    Every argument is also an attribute that follows the controls and moves them.

    Args:
        schedule: "constant", "inverse_sqrt", "step_decay", "exponential", "cosine",
            "sgdr" or "wsd".
        lr: Base lr, in [0.01, 10]; the bound for a constant one is 2.
        warmup: Steps of linear warm-up, in [0, 100].
        noise: Variance of the noise in each coordinate of a gradient, in [0, 1].
        unlocked: Whether the controls may be moved; see `Prediction.unlocks`.

    Raises:
        TraitError: If a value is of the wrong type or out of its range.
    """

    _esm = sources("panels.js", "schedules.js", "schedule_explorer.js")
    _css = sources("style.css", "panels.css")

    SCHEDULES: ClassVar = (
        "constant",
        "inverse_sqrt",
        "step_decay",
        "exponential",
        "cosine",
        "sgdr",
        "wsd",
    )
    RANGES: ClassVar = {"lr": (0.01, 10), "warmup": (0, 100), "noise": (0, 1)}

    schedule = Enum(SCHEDULES, "constant").tag(sync=True)
    lr = Float(0.01).tag(sync=True)
    warmup = Int().tag(sync=True)
    noise = Float().tag(sync=True)

    def __init__(
        self,
        *,
        schedule: str = "constant",
        lr: float = 0.5,
        warmup: int = 0,
        noise: float = 0.1,
        unlocked: bool = True,
    ) -> None:
        settings = {"schedule": schedule, "lr": lr, "warmup": warmup, "noise": noise}
        super().__init__(settings, unlocked=unlocked)
