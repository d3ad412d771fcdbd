r"""Integer-only layers: from int8 to int32 without any real number.

With x = s_x (q_x - z_x), w = s_w (q_w - z_w) and y = s_y (q_y - z_y), y = Σ x w + b is

    accumulator = Σ q_x q_w - z_w Σ q_x - z_x Σ q_w + n z_x z_w + q_b         int32
    q_y = clamp(z_y + accumulator * s_x s_w / s_y)                            int8

where q_b = b / (s_x s_w) is int32 and n counts the terms of a sum. Folding the zero
points into sums leaves one product of int8 matrices. The second line is `requantize`.
Padding is with z_x, the integer that means 0.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2017, arXiv:1712.05877, sections 2.2 to 2.4,
equation 7. Differs from the paper: nothing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from mlopt_edu.quantization.products import int_matmul, windows

# The largest product of two differences to a zero point is 255².
_MOST_TERMS = (2**31 - 1) // 255**2


def integer_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    x_zero_point: int = 0,
    weight_zero_point: int | Tensor = 0,
) -> Tensor:
    """Return the accumulator of a linear layer.

    Args:
        x: int8 of shape (..., in_features).
        weight: int8 of shape (out_features, in_features).
        bias: int32 of shape (out_features,), in units of s_x s_w.
        x_zero_point: z_x.
        weight_zero_point: z_w: one, or one for each output, shape (out_features,).

    Returns:
        int32 of shape (..., out_features).

    Raises:
        TypeError: If `x` or `weight` is not int8.
        ValueError: If shapes do not fit, or the sum could leave int32.

    Example:
        >>> x, w = torch.tensor([[1, -2]]).char(), torch.tensor([[3, 4]]).char()
        >>> integer_linear(x, w, x_zero_point=-2)  # (1 + 2) * 3 + 0 * 4
        tensor([[9]], dtype=torch.int32)
    """
    _check_int8(x, weight)
    terms = weight.shape[1]
    if x.shape[-1] != terms:
        raise ValueError(f"x must have {terms} features, got {x.shape[-1]}")
    if terms > _MOST_TERMS:
        raise ValueError(
            f"a sum must have at most {_MOST_TERMS} terms to stay inside int32, "
            f"got {terms}"
        )
    total = int_matmul(x.reshape(-1, terms), weight)
    rows = x.reshape(-1, terms).sum(1, keepdim=True, dtype=torch.int32)
    columns = weight.sum(1, dtype=torch.int32)
    total = total - weight_zero_point * rows - x_zero_point * columns
    total = total + terms * x_zero_point * weight_zero_point
    if bias is not None:
        total = total + bias
    return total.to(torch.int32).reshape(*x.shape[:-1], len(weight))


def integer_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    x_zero_point: int = 0,
    weight_zero_point: int | Tensor = 0,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Return the accumulator of a convolution over one, two or three dimensions.

    Args:
        x: int8 of shape (n, in_channels, *sizes).
        weight: int8 of shape (out_channels, in_channels / groups, *kernel).
        bias: int32 of shape (out_channels,), in units of s_x s_w.
        x_zero_point: z_x, also what pads.
        weight_zero_point: z_w: one, or one for each output, shape (out_channels,).
        stride: Of the kernel: one number, or one for each dimension.
        padding: Entries on both sides, as `stride`.
        dilation: Distance of the kernel's entries, as `stride`.
        groups: Divides the channels; both numbers are multiples of it.

    Returns:
        int32 of shape (n, out_channels, *out_sizes).

    Raises:
        TypeError: If `x` or `weight` is not int8.
        ValueError: If shapes do not fit, or the sum could leave int32.
    """
    _check_int8(x, weight)
    kernel = weight.shape[2:]
    if x.ndim != weight.ndim or x.shape[1] != groups * weight.shape[1]:
        raise ValueError(
            f"x must have shape (n, {groups * weight.shape[1]}, *{len(kernel)} sizes), "
            f"got {tuple(x.shape)}"
        )
    if len(weight) % groups:
        raise ValueError(
            f"out_channels must be a multiple of groups {groups}, got {len(weight)}"
        )
    stride, padding, dilation = (
        per_dimension(value, len(kernel)) for value in (stride, padding, dilation)
    )
    sides = [side for size in reversed(padding) for side in (size, size)]
    patches = windows(
        pad(x, sides, value=x_zero_point), kernel, stride=stride, dilation=dilation
    )
    if isinstance(weight_zero_point, Tensor) and weight_zero_point.ndim:
        zero_points = list(weight_zero_point.chunk(groups))
    else:
        zero_points = [torch.as_tensor(weight_zero_point)] * groups
    parts = [
        integer_linear(
            patch.flatten(-2),
            part.flatten(1),
            x_zero_point=x_zero_point,
            weight_zero_point=zero_point,
        )
        for patch, part, zero_point in zip(
            patches.chunk(groups, dim=-2),
            weight.chunk(groups),
            zero_points,
            strict=True,
        )
    ]
    total = torch.cat(parts, dim=-1)
    return (total if bias is None else total + bias).movedim(-1, 1).contiguous()


def per_dimension(value: int | Sequence[int], dimensions: int) -> tuple[int, ...]:
    """Return one number for each dimension."""
    values = (value,) * dimensions if isinstance(value, int) else tuple(value)
    if len(values) != dimensions:
        raise ValueError(
            f"stride, padding and dilation must be 1 or {dimensions} numbers, "
            f"got {len(values)}"
        )
    return values


def _check_int8(x: Tensor, weight: Tensor) -> None:
    if x.dtype != torch.int8 or weight.dtype != torch.int8:
        raise TypeError(f"x and weight must be int8, got {x.dtype} and {weight.dtype}")
