r"""Affine quantization: a real number as an integer, a scale and a zero point.

    q  = clamp(round(x / scale) + zero_point, quant_min, quant_max)
    x' = (q - zero_point) * scale

                 quant_min          quant_max          zero_point
    symmetric    -(2^(bits-1) - 1)  2^(bits-1) - 1     0
    affine       -2^(bits-1)        2^(bits-1) - 1     an integer of the range

The integers are signed, so that 8 bits are an `int8`; unsigned ones, as torch's quint8,
are the same plus 2^(bits-1). Zero is always exact, because padding, ReLU and pruned
weights are zeros. Inside the range the error is at most half a scale; outside, x clips.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2017, arXiv:1712.05877, equations 1 and 12. Differs
from the paper: signed integers; symmetric ranges as well.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def integer_range(bits: int, *, symmetric: bool = True) -> tuple[int, int]:
    """Return the smallest and the largest integer of the format.

    Args:
        bits: Bits of an integer, from 2 to 16.
        symmetric: Leave out the lowest one, so that each integer has its negative.

    Raises:
        ValueError: If `bits` is out of its range.

    Example:
        >>> integer_range(8), integer_range(8, symmetric=False)
        ((-127, 127), (-128, 127))
    """
    if not 2 <= bits <= 16:
        raise ValueError(f"bits must lie between 2 and 16, got {bits}")
    highest = 2 ** (bits - 1) - 1
    return (-highest if symmetric else -highest - 1), highest


def scale_and_zero_point(
    low: Tensor, high: Tensor, *, bits: int = 8, symmetric: bool = True
) -> tuple[Tensor, Tensor]:
    """Choose the scale and the zero point that cover the real range [low, high].

    The range is widened to contain 0; if it is 0 alone, the scale is 1.

    Args:
        low: Smallest real numbers, any shape.
        high: Largest real numbers, same shape, at least `low`.
        bits: Bits of an integer, from 2 to 16.
        symmetric: Zero point 0 and the range ±max(|low|, |high|).

    Returns:
        Scale of the shape of `low`, above 0, and zero point, int32, of the same shape.

    Raises:
        ValueError: If a range is not finite or upside down, or `bits` out of its range.

    Example:
        >>> low, high = torch.tensor(-1.0), torch.tensor(2.0)
        >>> scale_and_zero_point(low, high, bits=2, symmetric=False)
        (tensor(1.), tensor(-1, dtype=torch.int32))
    """
    quant_min, quant_max = integer_range(bits, symmetric=symmetric)
    if low.shape != high.shape:
        raise ValueError(
            "low and high must have the same shape, got "
            f"{tuple(low.shape)} and {tuple(high.shape)}"
        )
    if not (low.isfinite() & high.isfinite() & (low <= high)).all():
        raise ValueError(
            "low and high must be finite and low at most high, got low down to "
            f"{low.min().item()} and high up to {high.max().item()}; look for inf, nan "
            "or swapped arguments"
        )
    dtype = torch.promote_types(low.dtype, torch.float32)
    low, high = low.to(dtype).clamp(max=0), high.to(dtype).clamp(min=0)
    if symmetric:
        scale = torch.maximum(-low, high) / quant_max
    else:
        steps = quant_max - quant_min
        scale = high / steps - low / steps  # high - low alone may overflow
    scale = torch.where(
        low == high, 1.0, scale.clamp(min=torch.finfo(dtype).smallest_normal)
    )
    if symmetric:
        return scale, torch.zeros_like(scale, dtype=torch.int32)
    zero_point = (quant_min - torch.round(low / scale)).clamp(quant_min, quant_max)
    return scale, zero_point.to(torch.int32)


def quantize(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    bits: int = 8,
    symmetric: bool = True,
) -> Tensor:
    """Round to the nearest integer of the format; ties go to the even one.

    Args:
        x: Real numbers of any shape; infinite ones clip.
        scale: Above 0, broadcast against `x`.
        zero_point: Integers, broadcast against `x`.
        bits: Bits of an integer, from 2 to 16.
        symmetric: Use the range without the lowest integer.

    Returns:
        Tensor of the shape of `x`: int8 up to 8 bits, int16 above.

    Raises:
        ValueError: If `x` holds NaN, or `bits` is out of its range.

    Example:
        >>> x = torch.tensor([-1.0, 0.0, 0.3, 9.0])
        >>> quantize(x, torch.tensor(0.1), torch.tensor(0), bits=4)
        tensor([-7,  0,  3,  7], dtype=torch.int8)
    """
    quant_min, quant_max = integer_range(bits, symmetric=symmetric)
    if x.isnan().any():
        raise ValueError("x must not hold nan, which no integer can stand for")
    dtype = torch.promote_types(x.dtype, torch.float32)
    steps = torch.round(x.to(dtype) / scale) + zero_point
    integers = steps.clamp(quant_min, quant_max)
    return integers.to(torch.int8 if bits <= 8 else torch.int16)


def dequantize(values: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Return the real numbers that the integers stand for.

    Args:
        values: Integers of any shape.
        scale: Above 0, broadcast against `values`.
        zero_point: Integers, broadcast against `values`.

    Example:
        >>> values = torch.tensor([-7, 0, 3], dtype=torch.int8)
        >>> dequantize(values, torch.tensor(0.5), torch.tensor(1))
        tensor([-4.0000, -0.5000,  1.0000])
    """
    # int8 minus int8 would wrap around.
    return (values.to(torch.int32) - zero_point) * scale


def fake_quantize(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    bits: int = 8,
    symmetric: bool = True,
) -> Tensor:
    """Quantize and dequantize at once: real numbers that integers can stand for.

    NaN stays NaN. The gradient is 0 almost everywhere, as that of rounding is.

    Args:
        x: Real numbers of any shape.
        scale: Above 0, broadcast against `x`.
        zero_point: Integers, broadcast against `x`.
        bits: Bits of an integer, from 2 to 16.
        symmetric: Use the range without the lowest integer.

    Returns:
        Tensor of the shape and type of `x`.

    Example:
        >>> x = torch.tensor([-1.0, 0.26, 9.0])
        >>> fake_quantize(x, torch.tensor(0.1), torch.tensor(0), bits=4)
        tensor([-0.7000,  0.3000,  0.7000])
    """
    return round_to_grid(x, scale, zero_point, torch.round, bits, symmetric)


def round_to_grid(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    rounding: Callable[[Tensor], Tensor],
    bits: int,
    symmetric: bool,
) -> Tensor:
    """Quantize and dequantize, with a rounding that may have a gradient of its own."""
    quant_min, quant_max = integer_range(bits, symmetric=symmetric)
    dtype = torch.promote_types(x.dtype, torch.float32)
    steps = rounding(x.to(dtype) / scale) + zero_point
    rounded = (steps.clamp(quant_min, quant_max) - zero_point) * scale
    return rounded.to(x.dtype)
