"""Task 1: round to bfloat16 by bits."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task

Array = NDArray[np.float32]


def to_bfloat16_reference(x: Array) -> NDArray[np.float64]:
    """Carry into the upper 16 bits what rounds up, and cut the lower 16 off."""
    bits = np.asarray(x, dtype=np.float32).view(np.uint32)
    odd = (bits >> 16) % 2
    # A tie is 0x8000 in the lower half: it carries only if the upper half is odd.
    rounded = (bits + 0x7FFF + odd) >> 16 << 16
    return rounded.view(np.float32).astype(np.float64)


def _from_bits(*bits: int) -> Array:
    return np.array(bits, dtype=np.uint32).view(np.float32)


def _numbers(rng: np.random.Generator) -> Iterator[Case]:
    def uniform(low: float, high: float, size: int | tuple[int, ...]) -> Array:
        return rng.uniform(low, high, size).astype(np.float32)

    yield Case("small whole numbers", {"x": np.array([0, 1, 2, -3], np.float32)})
    # The tolerance follows the largest number of a case: one size a case.
    yield Case("between 1 and 2", {"x": uniform(1, 2, 24)})
    yield Case("a matrix, negative", {"x": uniform(-8, -4, (3, 5))})
    ties = (1 + (rng.permutation(16) + 0.5) / 128).astype(np.float32)
    yield Case("exactly half-way", {"x": ties})
    yield Case("half-way, negative", {"x": -ties})
    yield Case("just above half-way", {"x": np.nextafter(ties, np.float32(2))})
    yield Case("just below half-way", {"x": np.nextafter(ties, np.float32(1))})
    yield Case("far above the largest fp16", {"x": uniform(1e38, 3e38, 8)})
    yield Case("above the largest bfloat16", {"x": _from_bits(0x7F7FFFFF, 0x7F7F0001)})
    yield Case("infinite", {"x": np.array([np.inf, 1.5, -np.inf], np.float32)})
    yield Case("far below the smallest fp16", {"x": uniform(2e-38, 9e-38, 8)})
    yield Case("subnormal", {"x": uniform(1e-40, 2e-39, 8)})
    yield Case("all become 0", {"x": _from_bits(1, 0x7FFF, 0x8000, 0x80000003)})
    yield Case("nothing", {"x": np.zeros((0, 2), np.float32)})


to_bfloat16 = Task(
    "to_bfloat16",
    points=2,
    section="16 · Derive",
    reference=to_bfloat16_reference,
    draw=_numbers,
    forbid=(
        "mlopt_edu.mixed_precision",
        "torch.amp",
        "torch.cuda.amp",
        "torch.bfloat16",
        ".bfloat16",
        "ml_dtypes",
    ),
    rtol=0,  # a rounding is right or wrong
    hints=(
        "`x.view(np.uint32)` shows the bits of each float32 as one whole number. A "
        "bfloat16 is its upper half.",
        "Adding to the lower half carries into the upper one. What must you add so "
        "that everything above half-way carries, and nothing below?",
        "Add 0x7FFF, and 1 more where bit 16 is 1. Then clear the lower 16 bits: "
        "`>> 16 << 16`, and `.view(np.float32)`.",
    ),
)


def _rounded(x: Array, add: int, shift: int = 16) -> Array:
    return ((x.view(np.uint32) + add) >> shift << shift).view(np.float32)


@to_bfloat16.mistake
def truncated(x: Array) -> Array:
    """You cut the lower bits off: that rounds towards 0, by up to a whole spacing.

    Round to the *nearest*: something must be added before you cut.
    """
    return _rounded(x, 0)


@to_bfloat16.mistake
def half_away_from_zero(x: Array) -> Array:
    """Only the ties are wrong: you round every one of them away from 0.

    Half to *even*: a tie goes up only if bit 16 is 1.
    """
    return _rounded(x, 0x8000)


@to_bfloat16.mistake
def half_towards_zero(x: Array) -> Array:
    """Only the ties are wrong: you round every one of them towards 0.

    Half to *even*: a tie goes up if bit 16 is 1.
    """
    return _rounded(x, 0x7FFF)


@to_bfloat16.mistake
def half_to_odd(x: Array) -> Array:
    """Only the ties are wrong: they end on the *odd* neighbour.

    Add the 1 where bit 16 is 1, not where it is 0.
    """
    bits = x.view(np.uint32)
    return ((bits + 0x8000 - (bits >> 16 & 1)) >> 16 << 16).view(np.float32)


@to_bfloat16.mistake
def always_up(x: Array) -> Array:
    """You round everything up in size that is not a bfloat16 already.

    Adding 0xFFFF carries for any bit in the lower half; half as much is enough.
    """
    return _rounded(x, 0xFFFF)


@to_bfloat16.mistake
def fp16_instead(x: Array) -> Array:
    """This is fp16: too fine near 1, infinite above 65504, 0 below 3e-8.

    bfloat16 has the exponent of float32 and fewer bits of the fraction.
    """
    return x.astype(np.float16).astype(np.float32)


@to_bfloat16.mistake
def one_bit_too_many(x: Array) -> Array:
    """You keep 8 bits of the fraction; bfloat16 stores 7.

    The 8 that one reads of counts the leading 1, which is not stored.
    """
    bits = x.view(np.uint32)
    return ((bits + 0x3FFF + (bits >> 15 & 1)) >> 15 << 15).view(np.float32)


@to_bfloat16.mistake
def one_bit_too_few(x: Array) -> Array:
    """You keep 6 bits of the fraction; bfloat16 stores 7.

    The sign takes 1 bit and the exponent 8: 16 - 9 = 7.
    """
    bits = x.view(np.uint32)
    return ((bits + 0xFFFF + (bits >> 17 & 1)) >> 17 << 17).view(np.float32)


@to_bfloat16.mistake
def held_at_the_largest(x: Array) -> NDArray[np.float64]:
    """You hold large numbers at the largest bfloat16; half-way beyond it lies inf.

    Nothing special is needed: the carry into the exponent makes the infinity.
    """
    most = _from_bits(0x7F7F0000)[0]
    right = to_bfloat16_reference(x)
    return np.where(np.isinf(x), x, np.clip(right, -most, most))


@to_bfloat16.mistake
def subnormals_flushed(x: Array) -> NDArray[np.float64]:
    """You turn subnormal numbers into 0; bfloat16 has subnormals too.

    The rounding by bits needs no special case for them.
    """
    right = to_bfloat16_reference(x)
    return np.where(np.abs(x) < 2.0**-126, 0.0, right)


@to_bfloat16.mistake
def bits_returned(x: Array) -> NDArray[np.uint32]:
    """You return the 16 bits as a whole number. Return the float32 that they stand for.

    Shift them back to the upper half and take `.view(np.float32)`.
    """
    right = to_bfloat16_reference(x).astype(np.float32)
    return right.view(np.uint32) >> np.uint32(16)
