r"""AdamW: Adam with weight decay apart from the gradient.

    w_t = (1 - lr * weight_decay) * w_{t-1} - lr * m̂_t / (sqrt(v̂_t) + eps)
    with m̂_t and v̂_t as in `adam`, of the gradient alone

An L2 penalty added to the gradient is divided by sqrt(v̂) with it: weights with large
gradients decay least. Taken apart, all weights shrink at the same rate.

Paper: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017,
arXiv:1711.05101, Algorithm 2. Differs from the paper: lr multiplies the decay, as in
torch; the paper's schedule multiplies it, and lr does not. `amsgrad` is that of `adam`.
"""

import torch
from torch.optim.optimizer import ParamsT

from mlopt_edu.optim.adam import Adam, adam_update
from mlopt_edu.optim.multi_tensor import T


def adamw_update(
    param: T,
    grad: T,
    exp_avg: T,
    exp_avg_sq: T,
    max_exp_avg_sq: T | None = None,
    *,
    step: float,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
) -> None:
    """Move `param` by one step and advance the averages, all in place.

    Before the first step the averages are zeros.

    Args:
        param: Parameter w_{t-1}, a tensor of any shape, or `Tensors`; becomes w_t.
        grad: Gradient of the loss at w_{t-1}, same shape as `param`.
        exp_avg: Average m_{t-1} of the gradient, same shape; becomes m_t.
        exp_avg_sq: Average v_{t-1} of its square, same shape; becomes v_t.
        max_exp_avg_sq: Largest v so far, same shape, for AMSGrad; None without.
        step: The count t of steps with this one, at least 1.
        lr: Step size, at least 0.
        betas: Shares of the old averages that are kept, each in [0, 1).
        eps: Added to the denominator, at least 0.
        weight_decay: Share of the weights that a step with lr 1 would remove.

    Example:
        >>> w, m, v = torch.tensor([1.0, 4.0]), torch.zeros(2), torch.zeros(2)
        >>> adamw_update(w, torch.zeros(2), m, v, step=1, lr=0.5, weight_decay=0.5)
        >>> w
        tensor([0.7500, 3.0000])
    """
    param.mul_(1 - lr * weight_decay)
    adam_update(
        param,
        grad,
        exp_avg,
        exp_avg_sq,
        max_exp_avg_sq,
        step=step,
        lr=lr,
        betas=betas,
        eps=eps,
    )


class AdamW(Adam):
    """Adam with weight decay apart from the gradient.

    Its `state_dict` is interchangeable with that of `torch.optim.AdamW`.
    Memory: as `Adam`.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size, at least 0.
        betas: Shares of the old averages that are kept, each in [0, 1).
        eps: Added to the denominator, at least 0.
        weight_decay: Share of the weights that a step with lr 1 would remove, at
            least 0.
        amsgrad: Divide by the largest average square so far.
        maximize: Climb instead of descend; weights decay all the same.
        fused: Step by torch's fused primitive: the same step in one pass over memory.

    Raises:
        ValueError: If a hyper-parameter, or one of a group's own, is out of its range,
            or a parameter's dtype or device has no fused primitive.
    """

    _update = staticmethod(adamw_update)
    _primitive = staticmethod(torch._fused_adamw_)

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        maximize: bool = False,
        fused: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            fused=fused,
        )
