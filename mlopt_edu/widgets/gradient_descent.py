r"""Gradient descent with momentum on a valley, redrawn while a slider moves.

    f(x, y) = (L u^2 + mu v^2) / 2,    L = 1,    mu = L / condition_number

u crosses the valley, v runs along it; the valley is tilted by 25 degrees. The step is
heavy ball, as `torch.optim.SGD` takes it: velocity <- momentum * velocity + gradient,
then point <- point - lr * velocity. The browser computes it
(gradient_descent.js) and draws it (surface_panel.js, loss_surface.js).
"""

from typing import ClassVar

from traitlets import Float, Int

from mlopt_edu.widgets._panels import PanelWidget, sources


class LossSurface(PanelWidget):
    """The path of gradient descent on a quadratic valley, and its loss by step.

    Every argument is also an attribute that follows the sliders and moves them.

    Args:
        lr: Step size in [0, 4]. With L = 1 it is stable below 2 (1 + momentum).
        condition_number: L / mu, steepest over flattest curvature, in [1, 100].
        momentum: Share of the last velocity that is kept, in [0, 0.99].
        start_x: First coordinate of the start, in [-3, 3].
        start_y: Second coordinate of the start, in [-2, 2].
        steps: Number of steps, in [1, 200].
        unlocked: Whether the controls may be moved; see `Prediction.unlocks`.

    Raises:
        TraitError: If a value is of the wrong type or out of its range.
    """

    _esm = sources(
        "panels.js", "gradient_descent.js", "surface_panel.js", "loss_surface.js"
    )
    _css = sources("style.css", "panels.css", "loss_surface.css")

    RANGES: ClassVar = {
        "lr": (0, 4),
        "condition_number": (1, 100),
        "momentum": (0, 0.99),
        "start_x": (-3, 3),
        "start_y": (-2, 2),
        "steps": (1, 200),
    }

    lr = Float().tag(sync=True)
    condition_number = Float(1).tag(sync=True)
    momentum = Float().tag(sync=True)
    start_x = Float().tag(sync=True)
    start_y = Float().tag(sync=True)
    steps = Int(1).tag(sync=True)

    def __init__(
        self,
        *,
        lr: float = 0.4,
        condition_number: float = 10.0,
        momentum: float = 0.0,
        start_x: float = -2.4,
        start_y: float = 0.9,
        steps: int = 50,
        unlocked: bool = True,
    ) -> None:
        settings = {
            "lr": lr,
            "condition_number": condition_number,
            "momentum": momentum,
            "start_x": start_x,
            "start_y": start_y,
            "steps": steps,
        }
        super().__init__(settings, unlocked=unlocked)
