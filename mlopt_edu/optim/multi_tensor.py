"""Many tensors updated by one call, through the equation written for one tensor.

An update rule in this package is a function of tensors: `velocity.mul_(momentum)`.
A `Tensors` holds a list of tensors, answers the same method names, and hands the
whole list to `torch._foreach_*`. So the same function updates one tensor, as the
learner reads it, or a hundred, at the cost of one call each for the engineer.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer


@dataclass(frozen=True, eq=False)
class Tensors:
    """Several tensors with the methods of one; in-place ones return the object.

    Shapes may differ from entry to entry. One call is fastest when all entries share
    dtype and device. The methods mean what they mean on `torch.Tensor`.

    Args:
        entries: The tensors, in an order that all operands share.

    Example:
        >>> total = Tensors([torch.ones(2), torch.zeros(1)])
        >>> total.add_(Tensors([torch.ones(2), torch.ones(1)]), alpha=3.0)
        Tensors(entries=[tensor([4., 4.]), tensor([3.])])
    """

    entries: list[Tensor] | tuple[Tensor, ...]

    def neg(self) -> "Tensors":
        """Return the negatives."""
        return Tensors(torch._foreach_neg(self.entries))

    def add(self, other: "Tensors", *, alpha: float = 1.0) -> "Tensors":
        """Return `self + alpha * other`, entry by entry."""
        return Tensors(torch._foreach_add(self.entries, other.entries, alpha=alpha))

    def add_(self, other: "Tensors", *, alpha: float = 1.0) -> "Tensors":
        """Add `alpha * other` in place."""
        torch._foreach_add_(self.entries, other.entries, alpha=alpha)
        return self

    def mul_(self, scalar: float) -> "Tensors":
        """Multiply every entry by `scalar` in place."""
        torch._foreach_mul_(self.entries, scalar)
        return self


T = TypeVar("T", Tensor, Tensors)


def batches(
    optimizer: Optimizer, *, key: Callable[[dict[str, Any]], Hashable] | None = None
) -> list[tuple[dict[str, Any], Tensors, Tensors]]:
    """Collect what has a gradient into batches that one multi-tensor call can serve.

    A batch shares its parameter group, device, dtype and `key`. With `maximize` in the
    group the gradients come negated; `param.grad` itself is never written to.

    Args:
        optimizer: The optimizer whose `param_groups` and `state` are read.
        key: What must agree within a batch, from a parameter's state (empty before
            its first step): its step count, say. Nothing by default.

    Returns:
        `(group, params, grads)` for each batch; empty if nothing has a gradient.

    Raises:
        ValueError: If a gradient is not dense; nothing has been updated then.
    """
    found: dict[Hashable, tuple[dict[str, Any], list[Tensor], list[Tensor]]] = {}
    for index, group in enumerate(optimizer.param_groups):
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if grad.layout != torch.strided:
                raise ValueError(
                    f"gradients must be dense, got layout {grad.layout} for a "
                    f"parameter of shape {tuple(param.shape)}: use sparse=False in "
                    "the embedding"
                )
            shared = key(optimizer.state.get(param, {})) if key else None
            batch = (index, param.device, param.dtype, shared)
            _, params, grads = found.setdefault(batch, (group, [], []))
            params.append(param)
            grads.append(grad)
    return [
        (
            group,
            Tensors(params),
            Tensors(grads).neg() if group["maximize"] else Tensors(grads),
        )
        for group, params, grads in found.values()
    ]
