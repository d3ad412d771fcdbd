r"""Adam: momentum divided by the root of the average squared gradient.

    m_t = beta1 * m_{t-1} + (1 - beta1) * g_t
    v_t = beta2 * v_{t-1} + (1 - beta2) * g_t^2
    w_t = w_{t-1} - lr * m̂_t / (sqrt(v̂_t) + eps)
    with   m̂_t = m_t / (1 - beta1^t),   v̂_t = v_t / (1 - beta2^t)

Both averages begin at zero and are too small at first; the divisions correct that.
AMSGrad puts the largest v of all steps so far in the place of v_t, so that the step
size of an element never grows again.

Papers: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014,
arXiv:1412.6980, Algorithm 1, in the order of computation given at the end of its
section 2; Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond", 2018,
arXiv:1904.09237, Algorithm 2. In code m is `exp_avg`, v is `exp_avg_sq`.
Differs from the papers: AMSGrad is combined with the corrections, which its paper
leaves out, and they act on the largest v; `weight_decay` adds an L2 penalty to the
gradient. Both as in torch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer, ParamsT

from mlopt_edu.optim.batches import batches, step_count
from mlopt_edu.optim.fused import fused_step_, require_fusible, takes_fused
from mlopt_edu.optim.multi_tensor import T, Tensors
from mlopt_edu.optim.ranges import require_betas, require_non_negative


def adam_update(
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
    weight_decay: float = 0.0,
) -> None:
    """Move `param` by one step and advance the averages, all in place.

    Before the first step the averages are zeros.

    Args:
        param: Parameter w_{t-1}, a tensor of any shape, or `Tensors`; becomes w_t.
        grad: Gradient of the loss at w_{t-1}, same shape as `param`.
        exp_avg: Average m_{t-1} of the gradient, same shape; becomes m_t.
        exp_avg_sq: Average v_{t-1} of its square, same shape; becomes v_t.
        max_exp_avg_sq: Largest v so far, same shape, for AMSGrad; None for Adam.
        step: The count t of steps with this one, at least 1.
        lr: Step size, at least 0.
        betas: Shares of the old averages that are kept, each in [0, 1).
        eps: Added to the denominator, at least 0.
        weight_decay: L2 penalty added to the gradient, at least 0.

    Example:
        >>> w, m, v = torch.tensor([1.0, 1.0]), torch.zeros(2), torch.zeros(2)
        >>> adam_update(w, torch.tensor([9.0, -0.1]), m, v, step=1, lr=0.5)
        >>> w
        tensor([0.5000, 1.5000])
    """
    beta1, beta2 = betas
    if weight_decay:
        grad = grad.add(param, alpha=weight_decay)
    exp_avg.lerp_(grad, 1 - beta1)
    exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    if max_exp_avg_sq is not None:
        exp_avg_sq = max_exp_avg_sq.clamp_(min=exp_avg_sq)
    correction1 = 1 - beta1**step
    correction2 = (1 - beta2**step) ** 0.5
    # m̂ / (sqrt(v̂) + eps) with numerator and denominator times correction2, so that
    # numbers are corrected instead of tensors.
    denominator = exp_avg_sq.sqrt().add_(eps * correction2)
    param.addcdiv_(exp_avg, denominator, value=-lr * correction2 / correction1)


class Adam(Optimizer):
    """Adam, or AMSGrad.

    Its `state_dict` is interchangeable with that of `torch.optim.Adam`.
    Memory: two buffers of the parameter's size and dtype, with `amsgrad` three, and
    one number a parameter tensor for its step count.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size, at least 0.
        betas: Shares of the old averages that are kept, each in [0, 1).
        eps: Added to the denominator, at least 0.
        weight_decay: L2 penalty added to the gradient, at least 0; for decay apart
            from the gradient see `AdamW`.
        amsgrad: Divide by the largest average square so far.
        maximize: Climb instead of descend.
        fused: Step by torch's fused primitive: the same step in one pass over memory.

    Raises:
        ValueError: If a hyper-parameter, or one of a group's own, is out of its range,
            or a parameter's dtype or device has no fused primitive.
    """

    _update = staticmethod(adam_update)
    _primitive = staticmethod(torch._fused_adam_)

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        maximize: bool = False,
        fused: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        require_non_negative(options, "lr", "eps", "weight_decay")
        require_betas(options)
        super().add_param_group(param_group)
        if options["fused"]:
            require_fusible(self)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; return `closure`'s loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for batch in batches(self, key=step_count):
            group = batch.group
            averages = [batch.buffers("exp_avg"), batch.buffers("exp_avg_sq")]
            if group["amsgrad"]:
                averages.append(batch.buffers("max_exp_avg_sq"))
            options = {name: group[name] for name in ("lr", "eps", "weight_decay")}
            if takes_fused(group):
                options["beta1"], options["beta2"] = group["betas"]
                options["amsgrad"] = group["amsgrad"]
                averages += [Tensors([])] * (3 - len(averages))
                lists = [batch.params, batch.grads, *averages, batch.count_steps()]
                fused_step_(self._primitive, *lists, **options)
            else:
                options["betas"], options["step"] = group["betas"], batch.count_step()
                self._update(batch.params, batch.grads, *averages, **options)
        return loss
