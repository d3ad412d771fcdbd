r"""Gradient descent with noisy gradients on a valley: the floor that noise leaves.

    f(x, y) = (L u^2 + mu v^2) / 2,    L = 1,    mu = L / condition_number

Each coordinate of every gradient carries normal noise of variance 1 / batch_size. The
browser computes 32 runs (stochastic_gradients.js) and draws one of them, their mean
and the floor that theory predicts (noisy_descent.js).
"""

from typing import ClassVar

from traitlets import Float, Int

from mlopt_edu.widgets._panels import PanelWidget, sources


class NoisyDescent(PanelWidget):
    """The path of SGD on a quadratic valley, and the noise floor of its loss.

    Every argument is also an attribute that follows the controls and moves them.

    Args:
        lr: Step size in [0, 2.5]. With L = 1 it is stable below 2 (1 + momentum).
        batch_size: Examples a step, in [1, 1024]; the slider moves in powers of two.
        momentum: Share of the last velocity that is kept, in [0, 0.95].
        condition_number: L / mu, steepest over flattest curvature, in [1, 100].
        steps: Number of steps, in [50, 1000].
        seed: Which noise is drawn, in [0, 999].
        unlocked: Whether the controls may be moved; see `Prediction.unlocks`.

    Raises:
        TraitError: If a value is of the wrong type or out of its range.
    """

    _esm = sources(
        "panels.js",
        "gradient_descent.js",
        "surface_panel.js",
        "stochastic_gradients.js",
        "noisy_descent.js",
    )
    _css = sources("style.css", "panels.css", "loss_surface.css")

    RANGES: ClassVar = {
        "lr": (0, 2.5),
        "batch_size": (1, 1024),
        "momentum": (0, 0.95),
        "condition_number": (1, 100),
        "steps": (50, 1000),
        "seed": (0, 999),
    }

    lr = Float().tag(sync=True)
    batch_size = Int(1).tag(sync=True)
    momentum = Float().tag(sync=True)
    condition_number = Float(1).tag(sync=True)
    steps = Int(50).tag(sync=True)
    seed = Int().tag(sync=True)

    def __init__(
        self,
        *,
        lr: float = 0.1,
        batch_size: int = 8,
        momentum: float = 0.0,
        condition_number: float = 5.0,
        steps: int = 300,
        seed: int = 0,
        unlocked: bool = True,
    ) -> None:
        settings = {
            "lr": lr,
            "batch_size": batch_size,
            "momentum": momentum,
            "condition_number": condition_number,
            "steps": steps,
            "seed": seed,
        }
        super().__init__(settings, unlocked=unlocked)
