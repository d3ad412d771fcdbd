r"""Lion: take the sign of an interpolated momentum.

    u_t = sign(beta1 * m_{t-1} + (1 - beta1) * g_t)
    w_t = w_{t-1} - lr * (u_t + weight_decay * w_{t-1})
    m_t = beta2 * m_{t-1} + (1 - beta2) * g_t

Every entry moves by lr, whatever its gradient: take lr 3 to 10 times smaller, and
weight_decay as much larger, than for AdamW.

Paper: Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023,
arXiv:2302.06675, algorithm 2. Differs from the paper: nothing.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer, ParamsT

from mlopt_edu.optim.batches import batches
from mlopt_edu.optim.multi_tensor import T
from mlopt_edu.optim.ranges import require_betas, require_non_negative


def lion_update(
    param: T,
    grad: T,
    exp_avg: T,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
) -> None:
    """Move `param` by one step and advance `exp_avg`, both in place.

    Args:
        param: Parameter w_{t-1}, a tensor of any shape, or `Tensors`; becomes w_t.
        grad: Gradient of the loss at w_{t-1}, same shape as `param`.
        exp_avg: Momentum m_{t-1}, same shape as `param`; becomes m_t.
        lr: Step size, at least 0.
        betas: `(beta1, beta2)`: weight of the old momentum in the direction and in
            the new momentum, each in [0, 1).
        weight_decay: Decoupled decay, multiplied by `lr`; at least 0.

    Example:
        >>> w, m = torch.zeros(3), torch.zeros(3)
        >>> g = torch.tensor([2.0, -0.5, 0.0])
        >>> lion_update(w, g, m, lr=0.25, betas=(0.9, 0.5))
        >>> w, m
        (tensor([-0.2500,  0.2500,  0.0000]), tensor([ 1.0000, -0.2500,  0.0000]))
    """
    beta1, beta2 = betas
    direction = exp_avg.lerp(grad, 1 - beta1).sign_()
    if weight_decay:
        param.mul_(1 - lr * weight_decay)
    param.add_(direction, alpha=-lr)
    exp_avg.lerp_(grad, 1 - beta2)


class Lion(Optimizer):
    """Sign-momentum optimizer with decoupled weight decay.

    Its `state_dict` is interchangeable with that of the authors' optimizer.
    Memory: one buffer of the parameter's size and dtype, half of AdamW's two.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size, at least 0.
        betas: `(beta1, beta2)` of `lion_update`, each in [0, 1).
        weight_decay: Decoupled decay, multiplied by `lr`; at least 0.
        maximize: Climb instead of descend.

    Raises:
        ValueError: If a hyper-parameter, or one of a group's own, is out of its range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        *,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        require_non_negative(options, "lr", "weight_decay")
        require_betas(options)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; return `closure`'s loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for batch in batches(self):
            lion_update(
                batch.params,
                batch.grads,
                batch.buffers("exp_avg"),
                lr=batch.group["lr"],
                betas=batch.group["betas"],
                weight_decay=batch.group["weight_decay"],
            )
        return loss
