r"""LARS: momentum, with a step size for each layer by the size of its weights.

    d_t = g_t + weight_decay * w_{t-1}
    r_t = trust_coefficient * |w_{t-1}| / (|g_t| + weight_decay * |w_{t-1}|)
    v_t = momentum * v_{t-1} + r_t * d_t
    w_t = w_{t-1} - lr * v_t

with the Euclidean norm over one parameter tensor. So every layer moves by the same
share of its own length, which very large batches with their large lr need.

Paper: You, Gitman and Ginsburg, "Large Batch Training of Convolutional Networks",
2017, arXiv:1708.03888, algorithm 1. Differs from the paper: lr multiplies the velocity
instead of entering it, as in `SGD`; the two agree while lr is constant. A layer whose
weights or gradients are all zero takes r_t = 1: by the formula it would never start.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from mlopt_edu.optim.batches import batches
from mlopt_edu.optim.multi_tensor import T, each
from mlopt_edu.optim.ranges import require_non_negative, require_share
from mlopt_edu.optim.sgd import sgd_update


def lars_update(
    param: T,
    grad: T,
    velocity: T | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    trust_coefficient: float = 1e-3,
    adapt: bool = True,
) -> None:
    """Move `param` by one step and advance `velocity`, both in place.

    Args:
        param: Parameter w_{t-1}, a tensor of any shape, or `Tensors`; becomes w_t.
        grad: Gradient of the loss at w_{t-1}, same shape as `param`.
        velocity: Velocity v_{t-1}, same shape as `param`, becomes v_t; None for a step
            without momentum.
        lr: Step size, at least 0.
        momentum: Share of the old velocity that is kept, in [0, 1).
        nesterov: Look ahead along the new velocity.
        weight_decay: L2 penalty added to the gradient, at least 0.
        trust_coefficient: Share of its length by which a layer moves at lr 1, above 0.
        adapt: Use the layer-wise rate; False leaves plain SGD.

    Example:
        >>> w = torch.tensor([3.0, 4.0])
        >>> lars_update(w, torch.tensor([0.0, 100.0]), lr=1.0, trust_coefficient=0.2)
        >>> w
        tensor([3., 3.])
    """

    def trust_ratio(length: Tensor, steepness: Tensor) -> Tensor:
        ratio = trust_coefficient * length / (steepness + weight_decay * length)
        return torch.where((length > 0) & (steepness > 0), ratio, 1.0)

    if adapt:
        ratio = each(trust_ratio, param.norm(), grad.norm())
        grad = grad.add(param, alpha=weight_decay).mul_(ratio)
    sgd_update(
        param,
        grad,
        velocity,
        lr=lr,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=0.0 if adapt else weight_decay,
    )


class LARS(Optimizer):
    """Stochastic gradient descent with layer-wise adaptive rates, for large batches.

    Give biases and normalization weights a group with `adapt=False` and no weight
    decay, as is usual: their length says little about how far they may move.
    Memory: with momentum one buffer of the parameter's size and dtype, else nothing.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size, at least 0.
        momentum: Share of the old velocity that is kept, in [0, 1).
        nesterov: Look ahead along the new velocity; needs momentum.
        weight_decay: L2 penalty added to the gradient, at least 0.
        trust_coefficient: Share of its length by which a layer moves at lr 1, above 0.
        adapt: Use the layer-wise rate; False leaves plain SGD.
        maximize: Climb instead of descend.

    Raises:
        ValueError: If a hyper-parameter, or one of a group's own, is out of its range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        *,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
        adapt: bool = True,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "adapt": adapt,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        require_non_negative(options, "lr", "weight_decay")
        require_share(options, "momentum")
        if not 0 < options["trust_coefficient"] < math.inf:
            raise ValueError(
                "trust_coefficient must be finite and above 0, "
                f"got {options['trust_coefficient']}"
            )
        if options["nesterov"] and options["momentum"] == 0:
            raise ValueError("nesterov must go with momentum above 0, got momentum 0")
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
            velocity = batch.buffers("momentum_buffer") if group["momentum"] else None
            lars_update(
                batch.params,
                batch.grads,
                velocity,
                lr=group["lr"],
                momentum=group["momentum"],
                nesterov=group["nesterov"],
                weight_decay=group["weight_decay"],
                trust_coefficient=group["trust_coefficient"],
                adapt=group["adapt"],
            )
        return loss
