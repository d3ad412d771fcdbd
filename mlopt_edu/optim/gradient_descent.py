r"""Gradient descent: step against the gradient.

    w_t = w_{t-1} - lr * g_t

On a quadratic with Hessian H it converges exactly when lr < 2 / L, L the largest
eigenvalue of H (see `sharpness`). With condition number κ the best lr, 2 / (L + l) for
smallest eigenvalue l, shrinks the error by (κ - 1) / (κ + 1) a step.

Source: Cauchy, "Méthode générale pour la résolution des systèmes d'équations
simultanées", 1847; rates in Nesterov, "Introductory Lectures on Convex Optimization",
2004, theorem 2.1.15. Differs from the source: nothing.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer, ParamsT

from mlopt_edu.optim.batches import batches
from mlopt_edu.optim.multi_tensor import T
from mlopt_edu.optim.ranges import require_non_negative


def gradient_descent_update(param: T, grad: T, *, lr: float) -> None:
    """Move `param` in place by one step against `grad`.

    Args:
        param: Parameter w_{t-1}, a tensor of any shape, or `Tensors`; becomes w_t.
        grad: Gradient of the loss at w_{t-1}, same shape as `param`.
        lr: Step size, at least 0.

    Example:
        >>> w = torch.tensor([1.0, -2.0])
        >>> gradient_descent_update(w, torch.tensor([4.0, 0.0]), lr=0.5)
        >>> w
        tensor([-1., -2.])
    """
    param.add_(grad, alpha=-lr)


class GradientDescent(Optimizer):
    """Plain gradient descent.

    Memory: nothing beyond the gradient.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size, at least 0.
        maximize: Climb instead of descend.

    Raises:
        ValueError: If `lr`, or a group's own `lr`, is out of its range.
    """

    def __init__(
        self, params: ParamsT, lr: float = 1e-3, *, maximize: bool = False
    ) -> None:
        super().__init__(params, {"lr": lr, "maximize": maximize})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        require_non_negative(options, "lr")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; return `closure`'s loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for batch in batches(self, split_large=False):
            gradient_descent_update(batch.params, batch.grads, lr=batch.group["lr"])
        return loss
