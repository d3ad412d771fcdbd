r"""Adafactor: Adam without momentum, its second moment kept as a row and a column.

For a matrix of n by m, with mean squares of the gradient along each row and column:

    beta2_t = 1 - t^beta2_decay
    R_t = beta2_t * R_{t-1} + (1 - beta2_t) * mean over columns of G_t^2      n by 1
    C_t = beta2_t * C_{t-1} + (1 - beta2_t) * mean over rows of G_t^2         1 by m
    V_t = R_t C_t / mean(R_t)                                                 rank one
    U_t = G_t / sqrt(V_t)
    Û_t = U_t / max(1, RMS(U_t) / d)
    W_t = W_{t-1} - max(eps2, RMS(W_{t-1})) * min(lr, 1 / sqrt(t)) * Û_t

A vector keeps the whole V_t; more than two dimensions are a stack of matrices over the
last two. With `relative_step=False` the last line is W_{t-1} - lr * Û_t.

Paper: Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory
Cost", 2018, arXiv:1804.04235, algorithms 4 and 5. Differs from the paper, as torch
does: eps1 bounds the root of V_t and the mean of R_t from below instead of being added
to G_t^2; lr is the paper's 1e-2; decoupled weight decay, multiplied by lr, is added.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from mlopt_edu.optim.batches import Batch, batches, step_count
from mlopt_edu.optim.multi_tensor import T, Tensors, each
from mlopt_edu.optim.ranges import require_non_negative


def adafactor_update(
    param: T,
    grad: T,
    row_var: T,
    col_var: T | None = None,
    *,
    step: float,
    lr: float = 1e-2,
    beta2_decay: float = -0.8,
    eps: tuple[float, float] = (1e-30, 1e-3),
    d: float = 1.0,
    weight_decay: float = 0.0,
    relative_step: bool = True,
) -> None:
    """Move `param` by one step and advance the second moment, all in place.

    Args:
        param: Parameter W_{t-1}, a tensor of shape (..., n, m) with `col_var`, else of
            any shape, or `Tensors`; becomes W_t.
        grad: Gradient of the loss at W_{t-1}, same shape as `param`.
        row_var: R_{t-1} of shape (..., n, 1), becomes R_t; without `col_var` the whole
            V_{t-1}, same shape as `param`.
        col_var: C_{t-1} of shape (..., 1, m), becomes C_t.
        step: Which step t it is, counted from 1.
        lr: Bound of the relative step, or the step size itself; at least 0.
        beta2_decay: Exponent of t in 1 - beta2_t, at most 0.
        eps: `(eps1, eps2)`, least root of V_t and least RMS of the weights in the step
            size, each at least 0.
        d: Largest RMS of the update, above 0.
        weight_decay: Decoupled decay, multiplied by `lr`; at least 0.
        relative_step: Scale the step by the RMS of the weights and bound it by
            1 / sqrt(t).

    Example:
        >>> w, r, c = torch.full((2, 2), 3.0), torch.zeros(2, 1), torch.zeros(1, 2)
        >>> adafactor_update(w, torch.tensor([[1.0, 2], [2, 4]]), r, c, step=1, lr=0.5)
        >>> r.flatten(), c.flatten(), w
        (tensor([ 2.5000, 10.0000]), tensor([ 2.5000, 10.0000]),
        tensor([[1.5000, 1.5000],
                [1.5000, 1.5000]]))
    """
    eps1, eps2 = eps
    new_share = step**beta2_decay
    weight_scale = each(_root_mean_square, param).clamp_(min=eps2)
    if weight_decay:
        param.mul_(1 - lr * weight_decay)
    if col_var is None:
        variance = row_var.lerp_(grad.mul(grad), new_share).clone()
    else:
        row_var.lerp_(each(_mean_square_of_rows, grad), new_share)
        col_var.lerp_(each(_mean_square_of_columns, grad), new_share)
        row_mean = each(_mean_of_column, row_var).clamp_(min=eps1)
        variance = each(torch.matmul, row_var, col_var).div_(row_mean)
    update = variance.clamp_(min=eps1**2).rsqrt_().mul_(grad)
    update.div_(each(_root_mean_square, update).div_(d).clamp_(min=1.0))
    if relative_step:
        param.add_(update.mul_(weight_scale), alpha=-min(lr, step**-0.5))
    else:
        param.add_(update, alpha=-lr)


def _root_mean_square(tensor: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(tensor)
    return norm.div(max(1, tensor.numel()) ** 0.5)


# A norm along memory is one pass; across it, on a CPU, the squares are faster.
def _mean_square_of_rows(grad: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(grad, dim=-1, keepdim=True)
    return norms.square_().div_(max(1, grad.shape[-1]))


def _mean_square_of_columns(grad: Tensor) -> Tensor:
    return grad.square().sum(dim=-2, keepdim=True).div_(max(1, grad.shape[-2]))


def _mean_of_column(row_var: Tensor) -> Tensor:
    return row_var.mean(dim=-2, keepdim=True)


class Adafactor(Optimizer):
    """Adam for matrices at the memory of their edges.

    Its `state_dict` is interchangeable with that of `torch.optim.Adafactor`.
    Memory: n + m numbers for an n by m matrix instead of Adam's 2 n m; for a vector
    one buffer of its size. During a step one tensor of the size of each parameter.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Bound of the relative step, or the step size itself; at least 0.
        beta2_decay: Exponent of the step count in 1 - beta2, at most 0.
        eps: `(eps1, eps2)` of `adafactor_update`, each at least 0; None for the machine
            epsilon of the parameter's dtype.
        d: Largest RMS of the update, above 0; `math.inf` never clips.
        weight_decay: Decoupled decay, multiplied by `lr`; at least 0.
        relative_step: Scale the step by the RMS of the weights and bound it by
            1 / sqrt(t); False for a step size that you schedule yourself.
        maximize: Climb instead of descend.

    Raises:
        ValueError: If a hyper-parameter, or one of a group's own, is out of its range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-2,
        *,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        relative_step: bool = True,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "relative_step": relative_step,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        require_non_negative(options, "lr", "weight_decay")
        if not -math.inf < options["beta2_decay"] <= 0:
            raise ValueError(
                "beta2_decay must be finite and at most 0, "
                f"got {options['beta2_decay']}"
            )
        eps1, eps2 = options["eps"]
        if not (0 <= (eps1 or 0) < math.inf and 0 <= eps2 < math.inf):
            raise ValueError(
                f"eps must be two finite numbers of at least 0, got {options['eps']}"
            )
        if not options["d"] > 0:
            raise ValueError(f"d must be above 0, got {options['d']}")
        super().add_param_group(param_group)
        for param in self.param_groups[-1]["params"]:
            if param.is_complex():
                raise ValueError(f"params must be real, got one of {param.dtype}")

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore; torch's own groups know no `relative_step` but always take it."""
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("relative_step", True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; return `closure`'s loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for batch in batches(self, key=step_count, kind=_is_factored):
            group = batch.group
            eps1, eps2 = group["eps"]
            if eps1 is None:
                eps1 = torch.finfo(batch.params.entries[0].dtype).eps
            row_var, col_var = _second_moment(batch)
            adafactor_update(
                batch.params,
                batch.grads,
                row_var,
                col_var,
                step=batch.count_step(),
                lr=group["lr"],
                beta2_decay=group["beta2_decay"],
                eps=(eps1, eps2),
                d=group["d"],
                weight_decay=group["weight_decay"],
                relative_step=group["relative_step"],
            )
        return loss


def _is_factored(param: Tensor) -> bool:
    return param.ndim >= 2


def _second_moment(batch: Batch) -> tuple[Tensors, Tensors | None]:
    if not _is_factored(batch.params.entries[0]):
        return batch.buffers("variance"), None
    for param, state in zip(batch.params.entries, batch.states, strict=True):
        if not state:
            *stack, rows, columns = param.shape
            state["row_var"] = param.new_zeros((*stack, rows, 1))
            state["col_var"] = param.new_zeros((*stack, 1, columns))
    return batch.buffers("row_var"), batch.buffers("col_var")
