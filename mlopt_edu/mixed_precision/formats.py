r"""Number formats: what float16 and bfloat16 can hold, and what they lose.

A number is ±1.fraction * 2^exponent; near zero the exponent stops and numbers are
subnormal, ±0.fraction * 2^lowest. So

    epsilon             2^-fraction_bits      from 1 to the next number
    largest             just below 2^(highest + 1)
    smallest normal     2^lowest
    smallest subnormal  2^lowest * epsilon    half of it rounds to 0

float16 spends its bits on the fraction and reaches down to 6e-8 only: small gradients
become 0, which loss scaling mends. bfloat16 has the range of float32 and 3 digits less
fine: updates below half a spacing are lost, which a float32 master copy mends.

Papers: Micikevicius et al., "Mixed Precision Training", 2017, arXiv:1710.03740;
Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", 2019,
arXiv:1905.12322; stochastic rounding: Gupta et al., "Deep Learning with Limited
Numerical Precision", 2015, arXiv:1502.02551. Differs from the papers: nothing.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class FormatFacts:
    """What a binary floating-point format can hold.

    Attributes:
        bits: Size of a number in bits: 1 sign, then exponent, then fraction.
        exponent_bits: Bits of the exponent, which set the range.
        fraction_bits: Bits of the fraction, which set the relative precision.
        largest: Largest finite number.
        smallest_normal: Smallest positive number of full precision.
        smallest_subnormal: Smallest positive number.
        epsilon: Distance from 1 to the next larger number.
    """

    bits: int
    exponent_bits: int
    fraction_bits: int
    largest: float
    smallest_normal: float
    smallest_subnormal: float
    epsilon: float


def format_facts(dtype: torch.dtype) -> FormatFacts:
    """Return the range and precision of a floating-point type.

    Args:
        dtype: A real floating-point type with a sign and a fraction, down to 8 bits.

    Raises:
        TypeError: If `dtype` is not one.

    Example:
        >>> facts = format_facts(torch.float16)
        >>> facts.exponent_bits, facts.fraction_bits, facts.largest, facts.epsilon
        (5, 10, 65504.0, 0.0009765625)
    """
    refusal = f"dtype must be a real floating-point type with a fraction, got {dtype}"
    if not dtype.is_floating_point:
        raise TypeError(refusal)
    # As integers, the bits of 0 and 1 are followed by those of the next larger number.
    zero, one = torch.tensor([0.0, 1.0]).to(dtype).view(_INTEGERS[dtype.itemsize])
    above_zero, above_one = torch.stack([zero + 1, one + 1]).view(dtype).tolist()
    epsilon = above_one - 1
    if epsilon == 1:
        raise TypeError(refusal)
    bits, fraction_bits = 8 * dtype.itemsize, -int(math.log2(epsilon))
    return FormatFacts(
        bits=bits,
        exponent_bits=bits - 1 - fraction_bits,
        fraction_bits=fraction_bits,
        largest=torch.finfo(dtype).max,
        smallest_normal=above_zero / epsilon,
        smallest_subnormal=above_zero,
        epsilon=epsilon,
    )


def spacing(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return how far apart the numbers of `dtype` lie around each entry of `x`.

    An update of less than half of it is lost.

    Args:
        x: Finite real tensor of any shape.
        dtype: The format, as for `format_facts`.

    Returns:
        float64 tensor of the shape of `x`: powers of 2, never below the smallest
        subnormal; at a power of 2 the spacing above it.

    Example:
        >>> spacing(torch.tensor([0.0, 1.0, 300.0]), torch.bfloat16)
        tensor([9.1835e-41, 7.8125e-03, 2.0000e+00], dtype=torch.float64)
    """
    facts = format_facts(dtype)
    x = x.double()
    mantissa, _ = torch.frexp(x)  # in [1/2, 1)
    power = torch.where(x == 0, 0.0, x / (2 * mantissa))  # the power of 2 below |x|
    return (power * facts.epsilon).clamp(min=facts.smallest_subnormal)


def round_to(
    x: Tensor,
    dtype: torch.dtype,
    *,
    stochastic: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Round to a coarser type: to the nearest number, or to either neighbour by chance.

    Stochastic rounding goes up with the probability of how far `x` lies above its lower
    neighbour, so its mean is `x`: small updates survive on average where rounding to
    nearest loses every one. A number of the format stays as it is.

    Args:
        x: Real floating-point tensor of any shape.
        dtype: Type to round to, as for `format_facts`.
        stochastic: Choose the neighbour by chance. Beyond the largest number, and for
            inf and NaN, it is rounding to nearest.
        generator: Draws the chance; torch's own by default.

    Returns:
        Tensor of the shape of `x` and of type `dtype`.

    Example:
        >>> x = torch.full((10_000,), 1 + 2**-10)
        >>> round_to(x, torch.bfloat16).double().mean().item()
        1.0
        >>> y = round_to(x, torch.bfloat16, stochastic=True).double()
        >>> bool((y.mean() - x[0]).abs() < 3e-4)
        True
    """
    facts = format_facts(dtype)
    nearest = x.to(dtype)
    if not stochastic:
        return nearest
    is_inside = x.abs().double() <= facts.largest  # False for NaN
    exact = torch.where(is_inside, x.double(), 0.0)
    step = spacing(exact, dtype)
    steps = exact / step  # a division by a power of 2 rounds nothing
    chance = torch.rand(
        x.shape, generator=generator, device=x.device, dtype=torch.float64
    )
    rounded = (steps.floor() + (chance < steps - steps.floor())) * step
    return torch.where(is_inside, rounded.to(dtype), nearest)


def underflow_share(x: Tensor, dtype: torch.dtype) -> float:
    """Return which share of the nonzero entries of `x` becomes 0 in `dtype`.

    For gradients: the share of what was learnt that is lost before any update.

    Returns:
        Share in [0, 1]; 0 if no entry is nonzero.

    Example:
        >>> underflow_share(torch.tensor([1.0, 1e-4, 1e-9, 0.0]), torch.float16)
        0.3333333333333333
    """
    is_nonzero = x != 0
    is_lost = is_nonzero & (x.to(dtype) == 0)
    return is_lost.sum().item() / max(1, is_nonzero.sum().item())
