r"""Adadelta: steps with the size of recent steps, so that no step size need be chosen.

    v_t = rho * v_{t-1} + (1 - rho) * g_t^2
    d_t = sqrt(u_{t-1} + eps) / sqrt(v_t + eps) * g_t
    u_t = rho * u_{t-1} + (1 - rho) * d_t^2
    w_t = w_{t-1} - lr * d_t

The root of the average squared step over the root of the average squared gradient has
the unit of an inverse curvature, as Newton's method has; so d_t has the unit of w.

Paper: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, arXiv:1212.5701,
Algorithm 1. In code v is `square_avg`, u is `acc_delta`.
Differs from the paper: a factor lr, 1 in the paper; `weight_decay` adds an L2 penalty
to the gradient. Both as in torch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer, ParamsT

from mlopt_edu.optim.batches import batches
from mlopt_edu.optim.multi_tensor import T
from mlopt_edu.optim.ranges import require_non_negative, require_share


def adadelta_update(
    param: T,
    grad: T,
    square_avg: T,
    acc_delta: T,
    *,
    lr: float = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
) -> None:
    """Move `param` by one step and advance the averages, all in place.

    Before the first step the averages are zeros.

    Args:
        param: Parameter w_{t-1}, a tensor of any shape, or `Tensors`; becomes w_t.
        grad: Gradient of the loss at w_{t-1}, same shape as `param`.
        square_avg: Average v_{t-1} of the squared gradient, same shape; becomes v_t.
        acc_delta: Average u_{t-1} of the squared step, same shape; becomes u_t.
        lr: Factor of the step, at least 0.
        rho: Share of the old averages that is kept, in [0, 1).
        eps: Added under both roots, at least 0; it alone moves the first step.
        weight_decay: L2 penalty added to the gradient, at least 0.

    Example:
        >>> w, v, u = torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([1.0])
        >>> adadelta_update(w, torch.tensor([8.0]), v, u, rho=0.75, eps=0.0)
        >>> w, v, u
        (tensor([-1.]), tensor([16.]), tensor([1.7500]))
    """
    if weight_decay:
        grad = grad.add(param, alpha=weight_decay)
    square_avg.mul_(rho).addcmul_(grad, grad, value=1 - rho)
    denominator = square_avg.add(eps).sqrt_()
    delta = acc_delta.add(eps).sqrt_().div_(denominator).mul_(grad)
    acc_delta.mul_(rho).addcmul_(delta, delta, value=1 - rho)
    param.add_(delta, alpha=-lr)


class Adadelta(Optimizer):
    """Adadelta.

    Its `state_dict` is interchangeable with that of `torch.optim.Adadelta`.
    Memory: two buffers of the parameter's size and dtype, and one number a parameter
    tensor for its step count, which nothing depends on.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Factor of the step, at least 0.
        rho: Share of the old averages that is kept, in [0, 1).
        eps: Added under both roots, at least 0; it alone moves the first step.
        weight_decay: L2 penalty added to the gradient, at least 0.
        maximize: Climb instead of descend.

    Raises:
        ValueError: If a hyper-parameter, or one of a group's own, is out of its range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        *,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        require_non_negative(options, "lr", "eps", "weight_decay")
        require_share(options, "rho")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; return `closure`'s loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for batch in batches(self):
            group = batch.group
            batch.count_steps()
            adadelta_update(
                batch.params,
                batch.grads,
                batch.buffers("square_avg"),
                batch.buffers("acc_delta"),
                lr=group["lr"],
                rho=group["rho"],
                eps=group["eps"],
                weight_decay=group["weight_decay"],
            )
        return loss
