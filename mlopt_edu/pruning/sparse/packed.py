"""What the sparse forms share: a matrix kept small, for x @ W.T in inference.

A form is a module whose buffers are the matrix, so that copies, `state_dict`, devices
and types work as for any other. Zeros of either sign become +0; every other number
comes back bit for bit.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Packed(nn.Module):
    """A matrix in some sparse form.

    Args:
        weight: Floating-point matrix of shape (out_features, in_features).

    Raises:
        ValueError: If it is not a matrix of floating-point numbers.
    """

    values: Tensor

    def __init__(self, weight: Tensor) -> None:
        if weight.ndim != 2 or not weight.is_floating_point():
            raise ValueError(
                "weight must be a matrix of floating-point numbers, got "
                f"{weight.dtype} of shape {tuple(weight.shape)}"
            )
        super().__init__()
        self.out_features, self.in_features = weight.shape

    @property
    def nbytes(self) -> int:
        """Bytes of values and of everything that says where they belong."""
        return sum(buffer.nbytes for buffer in self.buffers())

    def dense(self) -> Tensor:
        """Return the matrix, of shape (out_features, in_features)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return x @ W.T of shape (..., out_features), from (..., in_features)."""
        rows = x.reshape(math.prod(x.shape[:-1]), self.in_features)
        y: Tensor = (
            _Product.apply(rows, self)  # type: ignore[no-untyped-call]
            if torch.is_grad_enabled() and rows.requires_grad
            else self.multiply(rows)
        )
        return y.reshape(*x.shape[:-1], self.out_features)

    def multiply(self, rows: Tensor) -> Tensor:
        """Return rows @ W.T; a form with a kernel of its own does better than this."""
        return functional.linear(rows, self.dense())

    def extra_repr(self) -> str:
        """Show the sizes and the number of values."""
        return (
            f"{self.in_features}, {self.out_features}, values={self.values.numel()}, "
            f"nbytes={self.nbytes}"
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any
    ) -> None:
        """Make room first: another matrix of this shape has other nonzeros."""
        for name, buffer in self.named_buffers(recurse=False):
            stored = state_dict.get(prefix + name)
            if isinstance(stored, Tensor):
                setattr(self, name, buffer.new_empty(stored.shape, dtype=stored.dtype))
        super()._load_from_state_dict(state_dict, prefix, *args)


class _Product(torch.autograd.Function):
    """x @ W.T whose gradient by x is taken with the unpacked matrix."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, packed: Packed) -> Tensor:
        ctx.packed = packed
        return packed.multiply(rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] @ ctx.packed.dense(), None


def index_dtype(largest: int) -> torch.dtype:
    """Return the smallest integer type that holds 0 to `largest`.

    Example:
        >>> index_dtype(255), index_dtype(256)
        (torch.uint8, torch.uint16)
    """
    for dtype in (torch.uint8, torch.uint16, torch.int32):
        if largest <= torch.iinfo(dtype).max:
            return dtype
    return torch.int64
