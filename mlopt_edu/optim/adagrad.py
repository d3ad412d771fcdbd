r"""Adagrad: every element has a step size that shrinks with the gradients it has seen.

    s_t = s_{t-1} + g_t^2
    w_t = w_{t-1} - lr / (1 + (t - 1) * lr_decay) * g_t / (sqrt(s_t) + eps)

Rare features keep large steps, frequent ones slow down.

Paper: Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and
Stochastic Optimization", 2011, JMLR 12:2121, Algorithm 1 with a diagonal matrix and the
composite mirror descent update. In code s is `sum`.
Differs from the paper: no regularizer but the L2 penalty of `weight_decay`, which is
added to the gradient; lr may decay besides. Both as in torch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer, ParamsT

from mlopt_edu.optim.batches import batches, step_count
from mlopt_edu.optim.fused import fused_step_, require_fusible, takes_fused
from mlopt_edu.optim.multi_tensor import T
from mlopt_edu.optim.ranges import require_non_negative


def adagrad_update(
    param: T,
    grad: T,
    sum: T,
    *,
    step: float,
    lr: float,
    lr_decay: float = 0.0,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
) -> None:
    """Move `param` by one step and advance the sum of squares, both in place.

    Before the first step `sum` is zeros, or a larger start for smaller first steps.

    Args:
        param: Parameter w_{t-1}, a tensor of any shape, or `Tensors`; becomes w_t.
        grad: Gradient of the loss at w_{t-1}, same shape as `param`.
        sum: Sum s_{t-1} of the squared gradients, same shape; becomes s_t.
        step: The count t of steps with this one, at least 1.
        lr: Step size, at least 0.
        lr_decay: How fast the step size shrinks with t, at least 0.
        eps: Added to the denominator, at least 0.
        weight_decay: L2 penalty added to the gradient, at least 0.

    Example:
        >>> w, s = torch.tensor([1.0, 1.0]), torch.tensor([9.0, 0.0])
        >>> adagrad_update(w, torch.tensor([4.0, 4.0]), s, step=1, lr=1.0)
        >>> w, s
        (tensor([0.2000, 0.0000]), tensor([25., 16.]))
    """
    if weight_decay:
        grad = grad.add(param, alpha=weight_decay)
    sum.addcmul_(grad, grad)
    step_size = lr / (1 + (step - 1) * lr_decay)
    param.addcdiv_(grad, sum.sqrt().add_(eps), value=-step_size)


class Adagrad(Optimizer):
    """Adagrad.

    Its `state_dict` is interchangeable with that of `torch.optim.Adagrad`.
    Memory: one buffer of the parameter's size and dtype, and one number a parameter
    tensor for its step count.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size, at least 0.
        lr_decay: How fast the step size shrinks with the step count t: it is divided
            by 1 + (t - 1) * lr_decay. At least 0.
        eps: Added to the denominator, at least 0.
        weight_decay: L2 penalty added to the gradient, at least 0.
        initial_accumulator_value: Start of the sum of squares, at least 0.
        maximize: Climb instead of descend.
        fused: Step by torch's fused primitive: the same step in one pass over memory.

    Raises:
        ValueError: If a hyper-parameter, or one of a group's own, is out of its range,
            or a parameter's dtype or device has no fused primitive.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-2,
        *,
        lr_decay: float = 0.0,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        maximize: bool = False,
        fused: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        require_non_negative(options, "lr", "lr_decay", "eps", "weight_decay")
        require_non_negative(options, "initial_accumulator_value")
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
            sum = batch.buffers("sum", fill=group["initial_accumulator_value"])
            options = {
                name: group[name] for name in ("lr", "lr_decay", "eps", "weight_decay")
            }
            if takes_fused(group):
                lists = [batch.params, batch.grads, sum, batch.count_steps()]
                fused_step_(torch._fused_adagrad_, *lists, **options)
            else:
                step = batch.count_step()
                adagrad_update(batch.params, batch.grads, sum, step=step, **options)
        return loss
