r"""RMSprop: divide the gradient by the root of its average square.

    v_t = alpha * v_{t-1} + (1 - alpha) * g_t^2
    d_t = g_t / (sqrt(v_t) + eps)
    w_t = w_{t-1} - lr * d_t

    centered:   m_t = alpha * m_{t-1} + (1 - alpha) * g_t, and v_t - m_t^2 in the
                place of v_t: divide by the standard deviation
    momentum:   b_t = momentum * b_{t-1} + d_t in the place of d_t

Sources: Hinton, "Neural Networks for Machine Learning", lecture 6e, 2012; centered,
with momentum: Graves, "Generating Sequences With Recurrent Neural Networks", 2013,
arXiv:1308.0850, equations 38 to 41. In code v is `square_avg`, m is `grad_avg`, b is
`momentum_buffer`; alpha is torch's name.
Differs from the sources: eps is added to the root, where Graves adds it to what is
under it; lr multiplies the momentum instead of entering it; `weight_decay` adds an L2
penalty to the gradient; all as in torch. Differs from torch: v_t - m_t^2 below 0, which
is rounding, counts as 0, where torch goes on with NaN.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer, ParamsT

from mlopt_edu.optim.batches import batches
from mlopt_edu.optim.multi_tensor import T
from mlopt_edu.optim.ranges import require_non_negative, require_share


def rmsprop_update(
    param: T,
    grad: T,
    square_avg: T,
    grad_avg: T | None = None,
    momentum_buffer: T | None = None,
    *,
    lr: float,
    alpha: float = 0.99,
    eps: float = 1e-8,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> None:
    """Move `param` by one step and advance the averages, all in place.

    Before the first step the averages and the momentum are zeros.

    Args:
        param: Parameter w_{t-1}, a tensor of any shape, or `Tensors`; becomes w_t.
        grad: Gradient of the loss at w_{t-1}, same shape as `param`.
        square_avg: Average v_{t-1} of the squared gradient, same shape; becomes v_t.
        grad_avg: Average m_{t-1} of the gradient, same shape, for the centered form;
            becomes m_t.
        momentum_buffer: Momentum b_{t-1}, same shape, for a step with momentum;
            becomes b_t.
        lr: Step size, at least 0.
        alpha: Share of the old averages that is kept, in [0, 1).
        eps: Added to the denominator, at least 0.
        momentum: Share of the old momentum that is kept, in [0, 1).
        weight_decay: L2 penalty added to the gradient, at least 0.

    Example:
        >>> w, v = torch.tensor([3.0]), torch.tensor([4.0])
        >>> rmsprop_update(w, torch.tensor([4.0]), v, lr=1.0, alpha=0.25, eps=0.0)
        >>> w, v  # 3 - 4 / sqrt(0.25 * 4 + 0.75 * 16)
        (tensor([1.8906]), tensor([13.]))
    """
    if weight_decay:
        grad = grad.add(param, alpha=weight_decay)
    square_avg.mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
    if grad_avg is None:
        denominator = square_avg.sqrt().add_(eps)
    else:
        grad_avg.lerp_(grad, 1 - alpha)
        variance = square_avg.addcmul(grad_avg, grad_avg, value=-1).clamp_(min=0.0)
        denominator = variance.sqrt_().add_(eps)
    if momentum_buffer is None:
        param.addcdiv_(grad, denominator, value=-lr)
    else:
        momentum_buffer.mul_(momentum).addcdiv_(grad, denominator)
        param.add_(momentum_buffer, alpha=-lr)


class RMSprop(Optimizer):
    """RMSprop, centered or not, with momentum or without.

    Its `state_dict` is interchangeable with that of `torch.optim.RMSprop`.
    Memory: one buffer of the parameter's size and dtype, with `centered` one more, with
    momentum one more, and one number a parameter tensor for its step count, which
    nothing depends on.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size, at least 0.
        alpha: Share of the old averages that is kept, in [0, 1).
        eps: Added to the denominator, at least 0.
        momentum: Share of the old momentum that is kept, in [0, 1).
        centered: Divide by the standard deviation of the gradient.
        weight_decay: L2 penalty added to the gradient, at least 0.
        maximize: Climb instead of descend.

    Raises:
        ValueError: If a hyper-parameter, or one of a group's own, is out of its range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "momentum": momentum,
            "centered": centered,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        require_non_negative(options, "lr", "eps", "weight_decay")
        require_share(options, "alpha", "momentum")
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
            rmsprop_update(
                batch.params,
                batch.grads,
                batch.buffers("square_avg"),
                batch.buffers("grad_avg") if group["centered"] else None,
                batch.buffers("momentum_buffer") if group["momentum"] else None,
                lr=group["lr"],
                alpha=group["alpha"],
                eps=group["eps"],
                momentum=group["momentum"],
                weight_decay=group["weight_decay"],
            )
        return loss
