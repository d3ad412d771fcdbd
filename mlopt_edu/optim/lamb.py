r"""LAMB: Adam's direction, with a step size for each layer by the size of its weights.

    m_t = beta1 * m_{t-1} + (1 - beta1) * g_t
    v_t = beta2 * v_{t-1} + (1 - beta2) * g_t^2
    d_t = m̂_t / (sqrt(v̂_t) + eps) + weight_decay * w_{t-1},
    m̂_t = m_t / (1 - beta1^t),   v̂_t = v_t / (1 - beta2^t)
    w_t = w_{t-1} - lr * |w_{t-1}| / |d_t| * d_t

with the Euclidean norm over one parameter tensor. So every layer moves by the share lr
of its own length, which very large batches need.

Paper: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76
minutes", 2019, arXiv:1904.00962, algorithm 2 with the identity for φ. Differs from the
paper: a layer whose weights or direction are all zero takes the ratio 1, as in the
authors' code: by the formula it would never start.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from mlopt_edu.optim.batches import batches, step_count
from mlopt_edu.optim.multi_tensor import T, each
from mlopt_edu.optim.ranges import require_betas, require_non_negative


def trust_ratio(length: Tensor, pace: Tensor) -> Tensor:
    """Return `length / pace`, or 1 where one of them is 0.

    Args:
        length: Norm of the weights of one layer, 0-dim.
        pace: Norm of the direction they are to take, 0-dim.

    Example:
        >>> trust_ratio(torch.tensor(5.0), torch.tensor(2.0))
        tensor(2.5000)
    """
    return torch.where((length > 0) & (pace > 0), length / pace, 1.0)


def lamb_update(
    param: T,
    grad: T,
    exp_avg: T,
    exp_avg_sq: T,
    *,
    step: float,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    adapt: bool = True,
) -> None:
    """Move `param` by one step and advance the averages, all in place.

    Args:
        param: Parameter w_{t-1}, a tensor of any shape, or `Tensors`; becomes w_t.
        grad: Gradient of the loss at w_{t-1}, same shape as `param`.
        exp_avg: Average m_{t-1}, same shape as `param`; becomes m_t.
        exp_avg_sq: Average square v_{t-1}, same shape as `param`; becomes v_t.
        step: Which step t it is, counted from 1.
        lr: Step size, as a share of the length of the weights; at least 0.
        betas: `(beta1, beta2)`, weights of the old averages, each in [0, 1).
        eps: Added to the root, at least 0.
        weight_decay: Decoupled decay, at least 0.
        adapt: Multiply by the trust ratio; False leaves AdamW's step.

    Example:
        >>> w, m, v = torch.tensor([3.0, 4.0]), torch.zeros(2), torch.zeros(2)
        >>> lamb_update(w, torch.tensor([0.0, 9.0]), m, v, step=1, lr=0.5, eps=0.5)
        >>> w
        tensor([3.0000, 1.5000])
    """
    beta1, beta2 = betas
    exp_avg.lerp_(grad, 1 - beta1)
    exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    denominator = exp_avg_sq.div(1 - beta2**step).sqrt_().add_(eps)
    direction = exp_avg.div(1 - beta1**step).div_(denominator)
    if weight_decay:
        direction.add_(param, alpha=weight_decay)
    if adapt:
        direction.mul_(each(trust_ratio, param.norm(), direction.norm()))
    param.add_(direction, alpha=-lr)


class LAMB(Optimizer):
    """Adam with layer-wise adaptive rates, for large batches.

    Give biases and normalization weights a group with `adapt=False` and no weight
    decay, as is usual: their length says little about how far they may move.
    Memory: two buffers of the parameter's size and dtype, as Adam.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size, as a share of the length of the weights; at least 0.
        betas: `(beta1, beta2)`, weights of the old averages, each in [0, 1).
        eps: Added to the root of the average square, at least 0.
        weight_decay: Decoupled decay, at least 0.
        adapt: Multiply by the trust ratio; False leaves AdamW's step.
        maximize: Climb instead of descend.

    Raises:
        ValueError: If a hyper-parameter, or one of a group's own, is out of its range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        adapt: bool = True,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "adapt": adapt,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        require_non_negative(options, "lr", "eps", "weight_decay")
        require_betas(options)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; return `closure`'s loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for batch in batches(self, key=step_count):
            group = batch.group
            lamb_update(
                batch.params,
                batch.grads,
                batch.buffers("exp_avg"),
                batch.buffers("exp_avg_sq"),
                step=batch.count_step(),
                lr=group["lr"],
                betas=group["betas"],
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                adapt=group["adapt"],
            )
        return loss
