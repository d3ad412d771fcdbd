"""Task 1: the soft threshold, which moves every entry towards 0 and stops there."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task

Array = NDArray[np.float64]


def soft_threshold_reference(x: Array, threshold: float) -> Array:
    """Move each entry towards 0 by `threshold`, and not beyond 0."""
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0.0)


def _entries(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = np.array([3.0, -0.5, 0.0, 1.25, -2.0])
    yield Case("five entries", {"x": by_hand, "threshold": 1.25})
    for shape, threshold, label in (
        ((40,), 0.7, "40 entries"),
        ((6, 5), 0.3, "a matrix"),
        ((2, 3, 4), 1.1, "three axes"),
        ((8,), 0.0, "threshold 0"),
        ((9,), 50.0, "a threshold above every entry"),
        ((12,), 2.5, "a threshold above 2"),
        ((1,), 0.01, "one entry"),
        ((0,), 0.5, "no entry"),
    ):
        yield Case(label, {"x": rng.normal(size=shape), "threshold": threshold})
    yield Case("0 by threshold 0", {"x": np.array([0.0, -1.5]), "threshold": 0.0})
    exact = rng.integers(-4, 5, size=15) / 4
    yield Case("entries at the threshold", {"x": exact, "threshold": 0.5})
    tiny = {"x": 1e-6 * rng.normal(size=10), "threshold": 5e-7}
    yield Case("tiny entries", tiny)
    yield Case("negative entries", {"x": -rng.random(7), "threshold": 0.25})


def _graph(inputs: Mapping[str, Any], value: Any) -> tuple[Any, Any]:
    order = np.argsort(inputs["x"], axis=None)
    return inputs["x"].ravel()[order], value.ravel()[order]


soft_threshold = Task(
    "soft_threshold",
    points=1,
    section="07 · Derive",
    reference=soft_threshold_reference,
    draw=_entries,
    forbid=(
        "torch.nn.functional.softshrink",
        "torch.nn.Softshrink",
        "mlopt_edu.regularization",
    ),
    picture=_graph,
    axes=("x", "result"),
    hints=(
        "With threshold 1, where do 3, -3 and 0.4 go? Draw the result over x: it has "
        "three straight pieces.",
        "Shorten the *size* of each entry by the threshold; a size below 0 becomes 0. "
        "Then give the entry its sign back.",
        "`np.sign(x)` is the sign, `np.abs(x)` the size, and `np.maximum(…, 0)` keeps "
        "the size from going below 0.",
    ),
)


@soft_threshold.mistake
def hard_threshold(x: Array, threshold: float) -> Array:
    """You zero small entries and leave the large ones: this is the *hard* threshold.

    The soft one moves the large ones too, by `threshold` towards 0.
    """
    return np.where(np.abs(x) > threshold, x, 0.0)


@soft_threshold.mistake
def sign_lost(x: Array, threshold: float) -> Array:
    """Your negative entries become positive: multiply by the sign of x at the end."""
    return np.maximum(np.abs(x) - threshold, 0.0)


@soft_threshold.mistake
def jumps_over_zero(x: Array, threshold: float) -> Array:
    """Small entries jump over 0 to the other side.

    That is the step of plain L1. Stop at 0: a size must not fall below it.
    """
    return x - threshold * np.sign(x)


@soft_threshold.mistake
def negative_entries_lost(x: Array, threshold: float) -> Array:
    """Your negative entries all become 0; move them *up* by the threshold."""
    return np.maximum(x - threshold, 0.0)


@soft_threshold.mistake
def clamped(x: Array, threshold: float) -> Array:
    """You clamp x to ±threshold, so you keep just the part to take away.

    `x` minus what you return is right.
    """
    return np.clip(x, -threshold, threshold)


@soft_threshold.mistake
def all_move_down(x: Array, threshold: float) -> Array:
    """You subtract the threshold from negative entries too: they move away from 0."""
    return np.where(np.abs(x) > threshold, x - threshold, 0.0)


@soft_threshold.mistake
def moves_away(x: Array, threshold: float) -> Array:
    """The large entries move away from 0; *subtract* the threshold from their size."""
    return np.where(np.abs(x) > threshold, x + threshold * np.sign(x), 0.0)


@soft_threshold.mistake
def small_ones_kept(x: Array, threshold: float) -> Array:
    """Entries within the threshold stay as they are; they must become exactly 0."""
    return np.where(np.abs(x) > threshold, x - threshold * np.sign(x), x)


@soft_threshold.mistake
def wrong_ones_zeroed(x: Array, threshold: float) -> Array:
    """The condition is the wrong way round: zero the *small* entries."""
    return np.where(np.abs(x) <= threshold, x - threshold * np.sign(x), 0.0)


@soft_threshold.mistake
def shrinks_by_a_factor(x: Array, threshold: float) -> Array:
    """You divide by 1 + threshold: that belongs to L2, and makes no zeros.

    L1 moves every entry by the same *distance*.
    """
    return x / (1 + threshold)


@soft_threshold.mistake
def shrinks_like_decay(x: Array, threshold: float) -> Array:
    """You multiply by 1 - threshold, as weight decay does; *subtract* a distance."""
    return (1 - threshold) * x


@soft_threshold.mistake
def half_the_threshold(x: Array, threshold: float) -> Array:
    """You move by half the threshold; move by all of it."""
    return soft_threshold_reference(x, threshold / 2)
