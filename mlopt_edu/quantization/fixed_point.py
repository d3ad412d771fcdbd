r"""Fixed-point multipliers: scale an integer by a real number without real arithmetic.

    real = M0 * 2^-shift,    M0 in [1/2, 1) held as an int32 with 31 fraction bits

Multiplying by M0 is a rounding doubling high multiplication, 2 a b / 2^32; dividing
by the power of 2 a rounding right shift. Both round to the nearest; ties go up in the
multiplication and away from zero in the shift, as in gemmlowp, the paper's library.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2017, arXiv:1712.05877, section 2.2 and appendix B.
Differs from the paper: multipliers of 1 and above are allowed (shift at most 0).
"""

import torch
from torch import Tensor

_LARGEST = 2**31 - 1


def fixed_point_multiplier(real: Tensor) -> tuple[Tensor, Tensor]:
    """Write positive numbers as multiplier * 2^-31 * 2^-shift.

    Args:
        real: Multipliers s_x s_w / s_y of any shape, each in [2^-62, 2^30).

    Returns:
        Multipliers, int32 in [2^30, 2^31), and shifts, int32: how many bits to the
        right, negative for the left. Both of the shape of `real`.

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> fixed_point_multiplier(torch.tensor(0.25))
        (tensor(1073741824, dtype=torch.int32), tensor(1, dtype=torch.int32))
    """
    real = real.double()
    if not ((real >= 2.0**-62) & (real < 2.0**30)).all():
        raise ValueError(
            "real must hold multipliers in [2^-62, 2^30), got "
            f"{real.min().item()} to {real.max().item()}"
        )
    mantissa, exponent = torch.frexp(real)
    multiplier = torch.round(mantissa * 2**31).long()
    is_rounded_up = multiplier == 2**31
    multiplier = torch.where(is_rounded_up, 2**30, multiplier)
    shift = torch.where(is_rounded_up, -exponent - 1, -exponent)
    return multiplier.to(torch.int32), shift.to(torch.int32)


def rounding_doubling_high_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Return the high 32 bits of 2 a b, rounded: a * b / 2^31.

    Args:
        a: int32 of any shape.
        b: int32, broadcast against `a`.

    Returns:
        int32; -2^31 times itself, which does not fit, saturates.

    Example:
        >>> half = torch.tensor(2**30, dtype=torch.int32)
        >>> rounding_doubling_high_multiply(torch.tensor([6, 7, -7]).int(), half)
        tensor([ 3,  4, -3], dtype=torch.int32)
    """
    product = a.long() * b.long()
    nudge = torch.where(product >= 0, 2**30, 1 - 2**30)
    rounded = torch.div(product + nudge, 2**31, rounding_mode="trunc")
    return rounded.clamp(max=_LARGEST).to(torch.int32)


def rounding_right_shift(x: Tensor, shift: Tensor) -> Tensor:
    """Return x / 2^shift, rounded to the nearest, ties away from zero.

    Args:
        x: int32 of any shape.
        shift: Bits from 0 to 62, broadcast against `x`.

    Example:
        >>> x = torch.tensor([5, 6, -6], dtype=torch.int32)
        >>> rounding_right_shift(x, torch.tensor(2))
        tensor([ 1,  2, -2], dtype=torch.int32)
    """
    wide = x.long()
    half = (torch.ones_like(wide) << shift.long()) >> 1
    return (wide.sign() * ((wide.abs() + half) >> shift.long())).to(torch.int32)


def requantize(
    accumulator: Tensor,
    multiplier: Tensor,
    shift: Tensor,
    *,
    zero_point: int = 0,
    quant_min: int = -128,
    quant_max: int = 127,
) -> Tensor:
    """Scale an accumulator by a fixed-point multiplier, add the zero point and clamp.

    Each of the two steps rounds, so a result may be off by one: 4/3 becomes 2 below.

    Args:
        accumulator: int32 of any shape.
        multiplier: int32 from `fixed_point_multiplier`, broadcast against it.
        shift: Shifts from the same, broadcast against it.
        zero_point: z_y.
        quant_min: Lowest result; z_y to fuse a ReLU.
        quant_max: Highest result.

    Returns:
        int8 of the shape of `accumulator`.

    Example:
        >>> third = fixed_point_multiplier(torch.tensor(1 / 3))
        >>> requantize(torch.tensor([3, 4, 5, 999]).int(), *third, zero_point=1)
        tensor([  2,   3,   3, 127], dtype=torch.int8)
    """
    left, right = (-shift.long()).clamp(min=0), shift.clamp(min=0)
    # A left shift that leaves int32 saturates, as the result would anyway.
    widened = (accumulator.long() << left).clamp(-_LARGEST - 1, _LARGEST)
    scaled = rounding_doubling_high_multiply(widened.to(torch.int32), multiplier)
    shifted = rounding_right_shift(scaled, right).long() + zero_point
    return shifted.clamp(quant_min, quant_max).to(torch.int8)
