r"""NAdam: Adam whose momentum looks one step ahead, as Nesterov's does.

    mu_t = beta1 * (1 - 0.5 * 0.96^(t * momentum_decay))
    m_t = beta1 * m_{t-1} + (1 - beta1) * g_t
    v_t = beta2 * v_{t-1} + (1 - beta2) * g_t^2
    n_t = (1 - mu_t) * g_t / (1 - mu_1 ... mu_t)
          + mu_{t+1} * m_t / (1 - mu_1 ... mu_{t+1})
    w_t = w_{t-1} - lr * n_t / (sqrt(v_t / (1 - beta2^t)) + eps)

The share mu_t of the momentum grows from about half of beta1 to beta1.

Paper: Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016,
Algorithm 2 with the schedule of mu that it recommends. In code m is `exp_avg`, v is
`exp_avg_sq`. Differs from the paper: m_t keeps the share beta1 where the paper keeps
mu_t; `weight_decay` adds an L2 penalty to the gradient, or shrinks the weights apart
from it. Both as in torch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from mlopt_edu.optim.batches import batches, read
from mlopt_edu.optim.multi_tensor import T
from mlopt_edu.optim.ranges import require_betas, require_non_negative


def nadam_momentum(step: float, *, beta1: float, momentum_decay: float) -> float:
    """Return mu_t, the share of the momentum in step t.

    Args:
        step: The count t, at least 1.
        beta1: Its limit, in [0, 1).
        momentum_decay: How fast it grows, at least 0.

    Example:
        >>> nadam_momentum(1, beta1=0.8, momentum_decay=0.0)
        0.4
    """
    growth: float = 1 - 0.5 * 0.96 ** (step * momentum_decay)
    return beta1 * growth


def nadam_update(
    param: T,
    grad: T,
    exp_avg: T,
    exp_avg_sq: T,
    *,
    step: float,
    mu_product: float,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    decoupled_weight_decay: bool = False,
) -> None:
    """Move `param` by one step and advance the averages, all in place.

    Before the first step the averages are zeros.

    Args:
        param: Parameter w_{t-1}, a tensor of any shape, or `Tensors`; becomes w_t.
        grad: Gradient of the loss at w_{t-1}, same shape as `param`.
        exp_avg: Average m_{t-1} of the gradient, same shape; becomes m_t.
        exp_avg_sq: Average v_{t-1} of its square, same shape; becomes v_t.
        step: The count t of steps with this one, at least 1.
        mu_product: The product of mu_1 to mu_t, see `nadam_momentum`.
        lr: Step size, at least 0.
        betas: Shares of the old averages that are kept, each in [0, 1).
        eps: Added to the denominator, at least 0.
        weight_decay: L2 penalty added to the gradient, at least 0.
        momentum_decay: How fast the share of the momentum grows, at least 0.
        decoupled_weight_decay: Let `weight_decay` shrink the weights as in AdamW.

    Example:
        >>> w, m, v = torch.tensor([1.0]), torch.zeros(1), torch.zeros(1)
        >>> options = {"lr": 0.5, "betas": (0.0, 0.999)}
        >>> nadam_update(w, torch.tensor([9.0]), m, v, step=1, mu_product=0, **options)
        >>> w
        tensor([0.5000])
    """
    beta1, beta2 = betas
    if decoupled_weight_decay:
        param.mul_(1 - lr * weight_decay)
    elif weight_decay:
        grad = grad.add(param, alpha=weight_decay)
    mu, mu_next = (
        nadam_momentum(t, beta1=beta1, momentum_decay=momentum_decay)
        for t in (step, step + 1)
    )
    exp_avg.lerp_(grad, 1 - beta1)
    exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    # Numerator and denominator times correction2, as in Adam.
    correction2 = (1 - beta2**step) ** 0.5
    denominator = exp_avg_sq.sqrt().add_(eps * correction2)
    share_of_grad = (1 - mu) / (1 - mu_product)
    share_of_avg = mu_next / (1 - mu_product * mu_next)
    param.addcdiv_(grad, denominator, value=-lr * correction2 * share_of_grad)
    param.addcdiv_(exp_avg, denominator, value=-lr * correction2 * share_of_avg)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum.

    Its `state_dict` is interchangeable with that of `torch.optim.NAdam`.
    Memory: two buffers of the parameter's size and dtype, and two numbers a parameter
    tensor.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size, at least 0.
        betas: Shares of the old averages that are kept, each in [0, 1).
        eps: Added to the denominator, at least 0.
        weight_decay: L2 penalty added to the gradient, at least 0.
        momentum_decay: How fast the share of the momentum grows, at least 0.
        decoupled_weight_decay: Let `weight_decay` shrink the weights as in AdamW.
        maximize: Climb instead of descend.

    Raises:
        ValueError: If a hyper-parameter, or one of a group's own, is out of its range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        require_non_negative(options, "lr", "eps", "weight_decay", "momentum_decay")
        require_betas(options)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; return `closure`'s loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for batch in batches(self, key=_progress):
            group = batch.group
            step = batch.count_step()
            mu = nadam_momentum(
                step, beta1=group["betas"][0], momentum_decay=group["momentum_decay"]
            )
            mu_products = batch.scalars("mu_product", fill=1.0).mul_(mu)
            nadam_update(
                batch.params,
                batch.grads,
                batch.buffers("exp_avg"),
                batch.buffers("exp_avg_sq"),
                step=step,
                mu_product=read(mu_products.entries[0]),
                lr=group["lr"],
                betas=group["betas"],
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                momentum_decay=group["momentum_decay"],
                decoupled_weight_decay=group["decoupled_weight_decay"],
            )
        return loss


def _progress(state: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
    """What the parameters of a batch must share: their counts and their products."""
    return (state["step"], state["mu_product"]) if state else None
