"""Task 1: a grid of integers over a range of numbers, with 0 on it."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, limits

Grid = tuple[float, float]


def scale_and_zero_point_reference(low: float, high: float, bits: int) -> Grid:
    """Spread the signed integers of `bits` bits over the range and 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (2**bits - 1)
    if scale == 0:
        scale = 1.0
    return scale, -(2 ** (bits - 1)) - round(low / scale)


def _ranges(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("two bits, -1 to 3", {"low": -1.0, "high": 3.0, "bits": 2})
    yield Case("two bits, -1 to 8", {"low": -1.0, "high": 8.0, "bits": 2})
    for low, high, bits, label in (
        (-rng.uniform(0.2, 1), rng.uniform(2, 6), 8, "both signs"),
        (-rng.uniform(2, 6), rng.uniform(0.2, 1), 8, "mostly negative"),
        (-rng.uniform(1, 3), rng.uniform(4, 9), 4, "four bits"),
        (-rng.uniform(1, 3), rng.uniform(4, 9), 16, "sixteen bits"),
        (rng.uniform(1, 2), rng.uniform(3, 4), 8, "only positive"),
        (-rng.uniform(3, 4), -rng.uniform(1, 2), 8, "only negative"),
        (0.0, rng.uniform(1, 5), 8, "after ReLU"),
        (-rng.uniform(1e-7, 2e-7), rng.uniform(3e-7, 1e-6), 8, "a tiny range"),
        (rng.uniform(5, 9), rng.uniform(20, 30), 3, "three bits, far from 0"),
        (0.0, 0.0, 8, "nothing but 0"),
    ):
        yield Case(label, {"low": float(low), "high": float(high), "bits": bits})
    same = float(rng.uniform(1, 2))
    yield Case("one number", {"low": same, "high": same, "bits": 8})


scale_and_zero_point = Task(
    "scale_and_zero_point",
    points=1,
    section="11 · Derive",
    reference=scale_and_zero_point_reference,
    draw=_ranges,
    forbid=LIBRARIES,
    hints=(
        "Stretch the range first, so that it holds 0: `min(low, 0)`, `max(high, 0)`. "
        "How many *steps* lie between 256 integers?",
        "`scale` is the width of the range divided by `2**bits - 1`. The smallest "
        "integer, `-2**(bits - 1)`, stands for `low`: how many steps above it is 0?",
        "The zero point is `-2**(bits - 1) - round(low / scale)`. If the range is "
        "nothing but 0, the scale is 1.",
    ),
)


def _grid(low: float, high: float, bits: int) -> Grid:
    """Return the scale, and the zero point before rounding."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (2**bits - 1) or 1.0
    return scale, limits(bits)[0] - low / scale


@scale_and_zero_point.mistake
def zero_point_not_an_integer(low: float, high: float, bits: int) -> Grid:
    """Your zero point is not an integer: no code stands for it, so 0 is not exact.

    Padding and ReLU make many zeros, and each would become a small error. Round it.
    """
    return _grid(low, high, bits)


@scale_and_zero_point.mistake
def zero_outside_the_range(low: float, high: float, bits: int) -> Grid:
    """If all numbers are positive, or all negative, 0 lies outside your range.

    The range must hold 0: take `min(low, 0)` and `max(high, 0)` first.
    """
    scale = (high - low) / (2**bits - 1) or 1.0
    return scale, limits(bits)[0] - round(low / scale)


@scale_and_zero_point.mistake
def values_for_steps(low: float, high: float, bits: int) -> Grid:
    """Between 256 integers there are 255 steps: divide by `2**bits - 1`."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 2**bits or 1.0
    return scale, limits(bits)[0] - round(low / scale)


@scale_and_zero_point.mistake
def integers_without_sign(low: float, high: float, bits: int) -> Grid:
    """Your integers begin at 0; here they are signed and begin at `-2**(bits - 1)`."""
    scale, exact = _grid(low, high, bits)
    return scale, round(exact - limits(bits)[0])


@scale_and_zero_point.mistake
def wrong_side_of_the_smallest(low: float, high: float, bits: int) -> Grid:
    """You go down from the smallest integer; `low` is negative, so subtract it."""
    scale, exact = _grid(low, high, bits)
    return scale, round(2 * limits(bits)[0] - exact)


@scale_and_zero_point.mistake
def zero_point_cut_off(low: float, high: float, bits: int) -> Grid:
    """`int` cuts -1.67 off to -1: round the zero point to the *nearest* integer."""
    scale, exact = _grid(low, high, bits)
    return scale, int(exact)


@scale_and_zero_point.mistake
def zero_point_rounded_down(low: float, high: float, bits: int) -> Grid:
    """You round the zero point down; take the *nearest* integer."""
    scale, exact = _grid(low, high, bits)
    return scale, int(np.floor(exact))


@scale_and_zero_point.mistake
def symmetric(low: float, high: float, bits: int) -> Grid:
    """This is the symmetric grid: it wastes codes on numbers that do not occur.

    The affine grid goes from `low` to `high`, and its zero point says where 0 is.
    """
    return max(abs(low), abs(high)) / limits(bits)[1] or 1.0, 0


@scale_and_zero_point.mistake
def scale_upside_down(low: float, high: float, bits: int) -> Grid:
    """Your scale says how many steps make 1; it is how much *one step* makes."""
    scale, exact = _grid(low, high, bits)
    return 1 / scale, round(exact)


@scale_and_zero_point.mistake
def scale_zero(low: float, high: float, bits: int) -> Grid:
    """Where nothing but 0 occurs, your scale is 0, and x / scale is not a number.

    Take 1 then: 0 / 1 is 0.
    """
    scale, exact = _grid(low, high, bits)
    return (scale if high > low or high else 0.0), round(exact)


@scale_and_zero_point.mistake
def zero_point_in_units_of_x(low: float, high: float, bits: int) -> Grid:
    """You round `low` itself; count it in steps first: `low / scale`."""
    scale, _ = _grid(low, high, bits)
    return scale, limits(bits)[0] - round(min(low, 0.0))


@scale_and_zero_point.mistake
def zero_point_first(low: float, high: float, bits: int) -> Grid:
    """The order is the other one: the scale first, then the zero point."""
    scale, zero_point = scale_and_zero_point_reference(low, high, bits)
    return zero_point, scale


@scale_and_zero_point.mistake
def range_as_seen(low: float, high: float, bits: int) -> Grid:
    """You take the range as it was seen, though 0 may lie outside it.

    Stretch it first, with `min(low, 0)` and `max(high, 0)`; only then ask whether it
    is empty.
    """
    if low == high:
        return 1.0, limits(bits)[0]
    scale = (high - low) / (2**bits - 1)
    return scale, limits(bits)[0] - round(low / scale)


@scale_and_zero_point.mistake
def one_number_taken_for_nothing(low: float, high: float, bits: int) -> Grid:
    """You compare `low` and `high` before the range is stretched.

    One number that is not 0 makes a range too: from 0 to that number.
    """
    if low == high:
        return 1.0, limits(bits)[0]
    return scale_and_zero_point_reference(low, high, bits)


@scale_and_zero_point.mistake
def zero_for_nothing(low: float, high: float, bits: int) -> Grid:
    """Where nothing but 0 occurs, your zero point is 0: take the smallest integer."""
    if low == high == 0:
        return 1.0, 0
    return scale_and_zero_point_reference(low, high, bits)
