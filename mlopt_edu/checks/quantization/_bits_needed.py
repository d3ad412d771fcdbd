"""Task 7: a program that gets a number of bits from two percentiles, to mend."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array


def bits_needed_reference(weight: Array, tolerance: float) -> int:
    """Try one bit more until what rounding does to the weights is small enough."""
    for bits in range(2, 33):
        scale = np.abs(weight).max() / (2 ** (bits - 1) - 1)
        error = np.linalg.norm(weight - scale * np.round(weight / scale))
        if error <= tolerance * np.linalg.norm(weight):
            return bits
    raise ValueError("no number of bits up to 32 is enough")


def _weights(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = np.array([1.0, -0.5, 0.25, -0.125])
    yield Case("four weights", {"weight": by_hand, "tolerance": 0.2})
    flat = rng.uniform(-1, 1, size=200)
    bell = 0.05 * rng.normal(size=(12, 25))
    heavy = rng.normal(size=(4, 5, 3, 3)) * np.exp(rng.normal(size=(4, 5, 3, 3)))
    wide = 300 * rng.normal(size=(9, 7))
    for weight, name in (
        (flat, "uniform"),
        (bell, "normal"),
        (heavy, "with outliers"),
        (wide, "large weights"),
    ):
        for tolerance in (0.5, 0.25, 0.1, 0.05, 0.02, 0.003, 0.0004):
            label = f"{name}, tolerance {tolerance}"
            yield Case(label, {"weight": weight, "tolerance": tolerance})
    signs = np.where(rng.random((3, 4)) < 0.5, -0.7, 0.7)
    yield Case("two values, tolerance 0", {"weight": signs, "tolerance": 0.0})
    yield Case("one weight", {"weight": np.array([[-0.3]]), "tolerance": 0.001})
    fine = {"weight": rng.normal(size=(8, 9)), "tolerance": 2e-6}
    yield Case("more than 16 bits", fine)
    steps = rng.integers(1, 8, size=(5, 8)) * rng.choice([-1, 1], size=(5, 8))
    steps[0, 0] = 7
    on_grid = {"weight": 0.1 * steps, "tolerance": 0.001}
    yield Case("weights on a grid of four bits", on_grid)


bits_needed = Task(
    "bits_needed",
    kind="repair",
    points=1,
    section="11 · What goes wrong",
    reference=bits_needed_reference,
    draw=_weights,
    forbid=LIBRARIES,
    hints=(
        "Halve the tolerance, and call the given program again. Why does nothing "
        "change? Which question do two percentiles answer?",
        "Quantize with 2 bits, measure the error, and go on to 3 bits if it is too "
        "large: a loop.",
        "With `scale = np.abs(weight).max() / (2 ** (bits - 1) - 1)` the error is "
        "`np.linalg.norm(weight - scale * np.round(weight / scale))`; it may be "
        "`tolerance * np.linalg.norm(weight)` at most.",
    ),
)


def _rounded(weight: Array, scale: float) -> Array:
    return weight - scale * np.round(weight / scale)


def _scale(weight: Array, bits: int) -> float:
    return float(np.abs(weight).max() / (2 ** (bits - 1) - 1))


@bits_needed.mistake
def as_given(weight: Array, tolerance: float) -> int:
    """A ratio of percentiles says how far sizes spread, not how well bits hold them.

    It does not even look at the tolerance. Quantize, measure the error, and take the
    smallest number of bits that will do.
    """
    high, low = np.percentile(np.abs(weight), [99, 1])
    return int(np.ceil(np.log2(high / low)))


@bits_needed.mistake
def one_bit_too_few(weight: Array, tolerance: float) -> int:
    """One bit too few: you return the last number of bits that was *not* enough."""
    return bits_needed_reference(weight, tolerance) - 1


@bits_needed.mistake
def one_bit_too_many(weight: Array, tolerance: float) -> int:
    """One bit too many: you count up once more after the error is small enough."""
    return bits_needed_reference(weight, tolerance) + 1


@bits_needed.mistake
def error_in_absolute_terms(weight: Array, tolerance: float) -> int:
    """The tolerance is a share: compare the error with the norm of the weights.

    A norm of 0.1 is much for small weights and nothing for large ones.
    """
    bits = 2
    while np.linalg.norm(_rounded(weight, _scale(weight, bits))) > tolerance:
        bits += 1
    return bits


@bits_needed.mistake
def largest_error(weight: Array, tolerance: float) -> int:
    """You compare the largest error with the largest weight; compare the *norms*."""
    bits, top = 2, np.abs(weight).max()
    while np.abs(_rounded(weight, _scale(weight, bits))).max() > tolerance * top:
        bits += 1
    return bits


@bits_needed.mistake
def squares_compared(weight: Array, tolerance: float) -> int:
    """You compare squares of norms with the tolerance: square it too, or take roots."""
    return bits_needed_reference(weight, float(np.sqrt(tolerance)))


@bits_needed.mistake
def step_of_the_full_range(weight: Array, tolerance: float) -> int:
    """Your scale is that of `2**bits - 1` steps; symmetric integers end at 127.

    The scale is the largest size by `2 ** (bits - 1) - 1`.
    """
    bits = 2
    limit = tolerance * np.linalg.norm(weight)
    while np.linalg.norm(_rounded(weight, _scale(weight, bits + 1))) > limit:
        bits += 1
    return bits


@bits_needed.mistake
def bits_from_the_tolerance(weight: Array, tolerance: float) -> int:
    """You take the bits from the tolerance alone; outliers make steps wider.

    How large the error is depends on the weights: measure it.
    """
    return max(2, 1 + int(np.ceil(np.log2(1 + 1 / (2 * max(tolerance, 1e-9))))))


@bits_needed.mistake
def range_of_percentiles(weight: Array, tolerance: float) -> int:
    """You measure the error, but your scale comes from the 99th percentile.

    Without a clamp that is another grid. Take the largest size.
    """
    bits, limit = 2, tolerance * np.linalg.norm(weight)
    top = float(np.percentile(np.abs(weight), 99))
    while np.linalg.norm(_rounded(weight, top / (2 ** (bits - 1) - 1))) > limit:
        bits += 1
    return bits


@bits_needed.mistake
def always_eight(weight: Array, tolerance: float) -> int:
    """You return 8 whatever the weights are; some need fewer bits and some more."""
    return 8


@bits_needed.mistake
def searched_from_above(weight: Array, tolerance: float) -> int:
    """You search as if one bit more were always better; it need not be.

    Weights that lie on a grid of four bits are exact with four, and not with five.
    Try all from 2 on, and return the first that will do.
    """
    limit = tolerance * np.linalg.norm(weight)
    for bits in range(32, 1, -1):
        if np.linalg.norm(_rounded(weight, _scale(weight, bits))) > limit:
            return bits + 1
    return 2


@bits_needed.mistake
def cut_off(weight: Array, tolerance: float) -> int:
    """You cut off towards 0 where you should round, and double the error."""
    bits, limit = 2, tolerance * np.linalg.norm(weight)
    while True:
        scale = _scale(weight, bits)
        if np.linalg.norm(weight - scale * np.trunc(weight / scale)) <= limit:
            return bits
        bits += 1


@bits_needed.mistake
def one_integer_too_many(weight: Array, tolerance: float) -> int:
    """You divide by `2 ** (bits - 1)`; the largest integer is one less, as 127."""
    bits, limit = 2, tolerance * np.linalg.norm(weight)
    top = float(np.abs(weight).max())
    while np.linalg.norm(_rounded(weight, top / 2 ** (bits - 1))) > limit:
        bits += 1
    return bits


@bits_needed.mistake
def scale_for_each_channel(weight: Array, tolerance: float) -> int:
    """You give each channel its scale; here *one* serves the whole tensor."""
    rows = weight.reshape(len(weight), -1)
    top = np.abs(rows).max(axis=1, keepdims=True)
    for bits in range(2, 33):
        scale = top / (2 ** (bits - 1) - 1)
        error = np.linalg.norm(rows - scale * np.round(rows / scale))
        if error <= tolerance * np.linalg.norm(weight):
            return bits
    return 32
