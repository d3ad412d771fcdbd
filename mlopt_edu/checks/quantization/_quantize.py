"""Task 2: a program that rounds every weight to 0 and lets 128 through, to mend."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Integers, limits


def quantize_reference(x: Array, scale: float, zero_point: int, bits: int) -> Integers:
    """Count in steps from the zero point, and stay among the integers there are."""
    q = np.round(x / scale) + zero_point
    return np.clip(q, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(np.int64)


def _numbers(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = np.array([0.06, -0.14, 0.01, -0.3, 0.42, 1.28])
    inputs = {"x": by_hand, "scale": 0.01, "zero_point": 0, "bits": 8}
    yield Case("six weights, the last too large", inputs)
    for shape, zero_point, bits, scale, label in (
        ((4, 5), 0, 8, 0.003, "small weights"),
        ((4, 5), -17, 8, 0.02, "with a zero point"),
        ((3, 2, 2, 2), 5, 8, 0.7, "filters"),
        ((9,), 3, 4, 0.1, "four bits"),
        ((6, 3), -2, 3, 2.5, "three bits, wide steps"),
        ((5, 4), 900, 16, 1e-4, "sixteen bits"),
        ((7,), -128, 8, 0.05, "the lowest zero point"),
        ((2, 6), 127, 8, 0.05, "the highest zero point"),
    ):
        lowest, highest = limits(bits)
        beyond = 2 ** (bits - 2)  # a part lies outside the range
        steps = rng.integers(lowest - beyond, highest + beyond + 1, size=shape)
        steps.flat[:2] = lowest - beyond, highest + beyond
        # Never half way: rounding to even and rounding up agree.
        x = scale * (steps - zero_point + rng.uniform(-0.4, 0.4, size=shape))
        inputs = {"x": x, "scale": scale, "zero_point": zero_point, "bits": bits}
        yield Case(label, inputs)
    inputs = {"x": np.zeros((2, 3)), "scale": 0.5, "zero_point": 4, "bits": 8}
    yield Case("zeros", inputs)


quantize = Task(
    "quantize",
    kind="repair",
    points=1,
    section="11 · What goes wrong",
    reference=quantize_reference,
    draw=_numbers,
    forbid=LIBRARIES,
    hints=(
        "Run it on `np.array([0.06, -0.14, 1.28])` with scale 0.01. How many different "
        "numbers come back?",
        "There are two faults. One: the numbers are not counted in steps of `scale`. "
        "Two: an integer of 8 bits ends at 127, whatever comes out.",
        "`np.round(x / scale) + zero_point`, and then `np.clip` from `-2**(bits - 1)` "
        "to `2**(bits - 1) - 1`.",
    ),
)


@quantize.mistake
def as_given(x: Array, scale: float, zero_point: int, bits: int) -> Integers:
    """Both faults of the given program are still in it.

    What does 0.06 become, and what becomes of a number that is too large for `bits`?
    """
    return (np.round(x) + zero_point).astype(np.int64)


@quantize.mistake
def rounded_without_a_scale(
    x: Array, scale: float, zero_point: int, bits: int
) -> Integers:
    """You round without a scale, so every small weight becomes 0: divide by it first.

    The clamp is right now.
    """
    return np.clip(np.round(x) + zero_point, *limits(bits)).astype(np.int64)


@quantize.mistake
def not_clamped(x: Array, scale: float, zero_point: int, bits: int) -> Integers:
    """The scale is right now, but 128 does not fit into 8 bits: clamp to the ends."""
    return (np.round(x / scale) + zero_point).astype(np.int64)


@quantize.mistake
def wrapped_around(x: Array, scale: float, zero_point: int, bits: int) -> Integers:
    """What is too large comes out at the other end, as 128 becomes -128 in int8.

    A cast does that. Clamp before you cast.
    """
    lowest, _ = limits(bits)
    q = (np.round(x / scale) + zero_point).astype(np.int64)
    wrapped: Integers = (q - lowest) % 2**bits + lowest
    return wrapped


@quantize.mistake
def multiplied_by_the_scale(
    x: Array, scale: float, zero_point: int, bits: int
) -> Integers:
    """You multiply by the scale; how many steps fit into x is x *divided* by it."""
    return np.clip(np.round(x * scale) + zero_point, *limits(bits)).astype(np.int64)


@quantize.mistake
def cut_off(x: Array, scale: float, zero_point: int, bits: int) -> Integers:
    """A cast to integers cuts 2.9 off to 2, towards 0: round to the nearest first."""
    return np.clip((x / scale).astype(np.int64) + zero_point, *limits(bits))


@quantize.mistake
def rounded_down(x: Array, scale: float, zero_point: int, bits: int) -> Integers:
    """You round down, so all numbers become too small; round to the nearest."""
    q = np.floor(x / scale) + zero_point
    integers: Integers = np.clip(q, *limits(bits)).astype(np.int64)
    return integers


@quantize.mistake
def zero_point_left_out(x: Array, scale: float, zero_point: int, bits: int) -> Integers:
    """The zero point is missing: 0 must become `zero_point`."""
    return np.clip(np.round(x / scale), *limits(bits)).astype(np.int64)


@quantize.mistake
def zero_point_subtracted(
    x: Array, scale: float, zero_point: int, bits: int
) -> Integers:
    """You subtract the zero point; that is what the way back does. Add it here."""
    return np.clip(np.round(x / scale) - zero_point, *limits(bits)).astype(np.int64)


@quantize.mistake
def clamped_before_the_zero_point(
    x: Array, scale: float, zero_point: int, bits: int
) -> Integers:
    """You clamp and then add the zero point, which leads out of the range again."""
    return np.clip(np.round(x / scale), *limits(bits)).astype(np.int64) + zero_point


@quantize.mistake
def zero_point_scaled(x: Array, scale: float, zero_point: int, bits: int) -> Integers:
    """The zero point counts steps already: add it *after* you divide by the scale."""
    return np.clip(np.round((x + zero_point) / scale), *limits(bits)).astype(np.int64)


@quantize.mistake
def always_eight_bits(x: Array, scale: float, zero_point: int, bits: int) -> Integers:
    """You clamp to -128 and 127 whatever `bits` says."""
    q = np.round(x / scale) + zero_point
    return np.clip(q, -128, 127).astype(np.int64)


@quantize.mistake
def lowest_left_out(x: Array, scale: float, zero_point: int, bits: int) -> Integers:
    """You clamp at -127; this grid uses the lowest integer, -128, as well."""
    _, highest = limits(bits)
    q = np.round(x / scale) + zero_point
    return np.clip(q, -highest, highest).astype(np.int64)


@quantize.mistake
def one_too_high(x: Array, scale: float, zero_point: int, bits: int) -> Integers:
    """You clamp at 128, one too high: 8 bits end at 127."""
    lowest, highest = limits(bits)
    q = np.round(x / scale) + zero_point
    return np.clip(q, lowest, highest + 1).astype(np.int64)


@quantize.mistake
def integers_without_sign(
    x: Array, scale: float, zero_point: int, bits: int
) -> Integers:
    """You clamp to 0 and 255, the integers without sign; these are signed."""
    q = np.round(x / scale) + zero_point
    return np.clip(q, 0, 2**bits - 1).astype(np.int64)


@quantize.mistake
def back_to_numbers(x: Array, scale: float, zero_point: int, bits: int) -> Array:
    """These are the numbers that the integers stand for; return the integers."""
    return np.asarray(
        scale * (quantize_reference(x, scale, zero_point, bits) - zero_point),
        dtype=np.float64,
    )


@quantize.mistake
def cut_off_at_the_end(x: Array, scale: float, zero_point: int, bits: int) -> Integers:
    """Your rounding is gone: the cast at the end cuts 65.7 off to 65.

    Round to the nearest before you cast.
    """
    return np.clip((x / scale + zero_point).astype(np.int64), *limits(bits))


@quantize.mistake
def rounded_before_dividing(
    x: Array, scale: float, zero_point: int, bits: int
) -> Integers:
    """You round `x` and then divide by the scale: divide first, and round the steps."""
    q = np.round(np.round(x) / scale) + zero_point
    integers: Integers = np.clip(q, *limits(bits)).astype(np.int64)
    return integers


@quantize.mistake
def wrapped_in_int8(x: Array, scale: float, zero_point: int, bits: int) -> Integers:
    """A cast to int8 is no clamp: 128 becomes -128, and four bits end at 7 already."""
    q = (np.round(x / scale) + zero_point).astype(np.int64)
    return (q + 128) % 256 - 128
