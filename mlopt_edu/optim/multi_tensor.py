"""Many tensors updated by one call, through the equation written for one tensor.

An update rule in this package is a function of tensors: `velocity.mul_(momentum)`.
A `Tensors` holds a list of tensors, answers the same method names, and hands the
whole list to `torch._foreach_*`. So the same function updates one tensor, as the
learner reads it, or a hundred, at the cost of one call each for the engineer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

Scalar = float | Tensor


@dataclass(eq=False, slots=True)
class Tensors:
    """Several tensors with the methods of one; in-place ones return the object.

    Shapes may differ from entry to entry. One call is fastest when all entries share
    dtype and device. The methods mean what they mean on `torch.Tensor`; where that
    takes a number, they take a 0-dim tensor as well, and leave the dtype as it is.

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

    def abs(self) -> "Tensors":
        """Return the absolute values."""
        return Tensors(torch._foreach_abs(self.entries))

    def sign_(self) -> "Tensors":
        """Replace by -1, 0 or 1, by sign."""
        torch._foreach_sign_(self.entries)
        return self

    def sqrt(self) -> "Tensors":
        """Return the square roots."""
        return Tensors(torch._foreach_sqrt(self.entries))

    def sqrt_(self) -> "Tensors":
        """Take the square roots in place."""
        torch._foreach_sqrt_(self.entries)
        return self

    def rsqrt_(self) -> "Tensors":
        """Replace by 1 over the square root."""
        torch._foreach_rsqrt_(self.entries)
        return self

    def norm(self) -> "Tensors":
        """Return the Euclidean norm of each entry, 0-dim."""
        return Tensors(torch._foreach_norm(self.entries))

    def clone(self) -> "Tensors":
        """Return a copy."""
        return Tensors([entry.clone() for entry in self.entries])

    def copy_(self, source: "Tensors") -> "Tensors":
        """Take the values of `source`."""
        torch._foreach_copy_(self.entries, source.entries)
        return self

    def clamp_(self, *, min: "Tensors | float") -> "Tensors":
        """Raise every element to at least that of `min`, in place."""
        least = min.entries if isinstance(min, Tensors) else min
        torch._foreach_clamp_min_(self.entries, least)
        return self

    def mul(self, other: "Tensors | Scalar") -> "Tensors":
        """Return `self * other`."""
        if isinstance(other, Tensor):
            return self.clone().mul_(other)
        return Tensors(torch._foreach_mul(self.entries, self._operand(other)))

    def mul_(self, other: "Tensors | Scalar") -> "Tensors":
        """Multiply by `other` in place."""
        torch._foreach_mul_(self.entries, self._operand(other, in_place=True))
        return self

    def div(self, other: "Tensors | Scalar") -> "Tensors":
        """Return `self / other`."""
        if isinstance(other, Tensor):
            return self.clone().div_(other)
        return Tensors(torch._foreach_div(self.entries, self._operand(other)))

    def div_(self, other: "Tensors | Scalar") -> "Tensors":
        """Divide by `other` in place."""
        torch._foreach_div_(self.entries, self._operand(other, in_place=True))
        return self

    def add(self, other: "Tensors | Scalar", *, alpha: Scalar = 1.0) -> "Tensors":
        """Return `self + alpha * other`."""
        if isinstance(alpha, Tensor) or isinstance(other, Tensor):
            return self.clone().add_(other, alpha=alpha)
        if isinstance(other, Tensors):
            return Tensors(torch._foreach_add(self.entries, other.entries, alpha=alpha))
        return Tensors(torch._foreach_add(self.entries, self._operand(other * alpha)))

    def add_(self, other: "Tensors | Scalar", *, alpha: Scalar = 1.0) -> "Tensors":
        """Add `alpha * other` in place."""
        if not isinstance(other, Tensors):
            operand = self._operand(other * alpha, in_place=True)
            torch._foreach_add_(self.entries, operand)
        elif isinstance(alpha, Tensor):
            torch._foreach_add_(self.entries, other.mul(alpha).entries)
        else:
            torch._foreach_add_(self.entries, other.entries, alpha=alpha)
        return self

    def sub(self, other: "Tensors | Scalar", *, alpha: Scalar = 1.0) -> "Tensors":
        """Return `self - alpha * other`."""
        return self.add(other, alpha=-alpha)

    def sub_(self, other: "Tensors | Scalar", *, alpha: Scalar = 1.0) -> "Tensors":
        """Subtract `alpha * other` in place."""
        return self.add_(other, alpha=-alpha)

    def lerp(self, end: "Tensors", weight: Scalar) -> "Tensors":
        """Return `self + weight * (end - self)`."""
        if isinstance(weight, Tensor):
            return self.clone().lerp_(end, weight)
        return Tensors(torch._foreach_lerp(self.entries, end.entries, weight))

    def lerp_(self, end: "Tensors", weight: Scalar) -> "Tensors":
        """Move to `self + weight * (end - self)` in place."""
        if isinstance(weight, Tensor):
            return self.add_(end.sub(self).mul_(weight))
        torch._foreach_lerp_(self.entries, end.entries, weight)
        return self

    def addcmul(
        self, tensor1: "Tensors", tensor2: "Tensors", *, value: float = 1.0
    ) -> "Tensors":
        """Return `self + value * tensor1 * tensor2`."""
        lists = (self.entries, tensor1.entries, tensor2.entries)
        return Tensors(torch._foreach_addcmul(*lists, value))

    def addcmul_(
        self, tensor1: "Tensors", tensor2: "Tensors", *, value: Scalar = 1.0
    ) -> "Tensors":
        """Add `value * tensor1 * tensor2` in place."""
        if isinstance(value, Tensor):
            tensor1, value = tensor1.mul(value), 1.0
        torch._foreach_addcmul_(self.entries, tensor1.entries, tensor2.entries, value)
        return self

    def addcdiv_(
        self, tensor1: "Tensors", tensor2: "Tensors", *, value: Scalar = 1.0
    ) -> "Tensors":
        """Add `value * tensor1 / tensor2` in place."""
        if isinstance(value, Tensor):
            tensor1, value = tensor1.mul(value), 1.0
        torch._foreach_addcdiv_(self.entries, tensor1.entries, tensor2.entries, value)
        return self

    def _operand(self, other: "Tensors | Scalar", *, in_place: bool = False) -> Any:
        """Return the form of `other` that `torch._foreach_*` takes."""
        if isinstance(other, Tensors):
            return other.entries
        if isinstance(other, Tensor) or torch.compiler.is_compiling():
            return other
        # On a CPU torch makes a number into a tensor for every entry anew, rounded to
        # its dtype where it multiplies in place: one tensor is faster and more exact.
        if not self.entries[0].is_cpu:
            return other
        if all(map(Tensor.dim, self.entries)):
            return torch.scalar_tensor(other, dtype=torch.float64)
        # Beside a 0-dim entry it would not count as a number but promote the result.
        if not in_place:
            return other
        is_double = any(entry.dtype.itemsize >= 8 for entry in self.entries)
        dtype = torch.float64 if is_double else torch.float32
        return torch.scalar_tensor(other, dtype=dtype)


T = TypeVar("T", Tensor, Tensors)


def each(function: Callable[..., Tensor], *operands: T) -> T:
    """Apply a function of tensors to one tensor of each operand after the other.

    For what torch has no multi-tensor form of: sums over one dimension, products of
    matrices.

    Args:
        function: Takes one tensor from each operand and returns a tensor.
        operands: Tensors, or `Tensors` of the same length.

    Returns:
        What `function` returns, one tensor or `Tensors`.

    Example:
        >>> each(torch.sum, Tensors([torch.ones(2), torch.ones(3)]))
        Tensors(entries=[tensor(2.), tensor(3.)])
    """
    if isinstance(operands[0], Tensors):
        lists = [operand.entries for operand in operands]
        return Tensors([function(*entries) for entries in zip(*lists, strict=True)])
    return function(*operands)
