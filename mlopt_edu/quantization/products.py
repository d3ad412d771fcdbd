"""Products of int8 matrices, and the matrix that makes a convolution one of them."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


def windows(
    x: Tensor,
    kernel: Sequence[int],
    *,
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Return what the kernel sees at each place.

    Args:
        x: Tensor of shape (n, channels, *sizes), padded already.
        kernel: Sizes of the kernel, one for each dimension.
        stride: One for each dimension.
        dilation: One for each dimension.

    Returns:
        Tensor of shape (n, *out_sizes, channels, entries of the kernel).

    Raises:
        ValueError: If the kernel is larger than `x`.
    """
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if any(size < span for size, span in zip(x.shape[2:], reach, strict=True)):
        raise ValueError(
            f"x must be at least as large as the kernel, which spans {tuple(reach)}, "
            f"got {tuple(x.shape[2:])}"
        )
    last = [size - span for size, span in zip(x.shape[2:], reach, strict=True)]
    seen = []
    for place in itertools.product(*map(range, kernel)):
        starts = [index * d for index, d in zip(place, dilation, strict=True)]
        cut = [
            slice(start, start + end + 1, step)
            for start, end, step in zip(starts, last, stride, strict=True)
        ]
        seen.append(x[(slice(None), slice(None), *cut)])
    return torch.stack(seen, dim=-1).movedim(1, -2)


def int_matmul(x: Tensor, weight: Tensor) -> Tensor:
    """Return x weightᵀ of int8 matrices, as int32.

    On a processor with int8 dot products `torch._int_mm` is some 4 times as fast as
    float32. Where it does not work (GPUs want more than 16 rows and multiples of 8)
    the product is taken in float64, which is exact.

    Args:
        x: int8 of shape (n, in_features).
        weight: int8 of shape (out_features, in_features), contiguous.

    Returns:
        int32 of shape (n, out_features).
    """
    n, terms = x.shape
    if x.device.type == "cpu":
        # At 1 term the strides of a transpose are ambiguous, and torch's CPU product
        # is wrong; at 1 row it is faster the other way round.
        can_multiply = terms > 1 and hasattr(torch, "_int_mm")
        if can_multiply and not torch.compiler.is_exporting() and n == 1:
            return torch._int_mm(weight, x.t()).t()
    else:
        can_multiply = n > 16 and terms % 8 == 0 and len(weight) % 8 == 0
    if can_multiply:
        return torch._int_mm(x.contiguous(), weight.t())
    return (x.double() @ weight.double().t()).to(torch.int32)
