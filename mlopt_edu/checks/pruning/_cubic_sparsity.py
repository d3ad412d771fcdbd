"""Task 3: how many weights are gone at which step of gradual pruning."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES


def cubic_sparsity_reference(step: int, begin: int, end: int, final: float) -> float:
    """Share of zeros at `step`: fast at first, slow near the end."""
    progress = min(max((step - begin) / (end - begin), 0.0), 1.0)
    return final * (1 - (1 - progress) ** 3)


def _steps(rng: np.random.Generator) -> Iterator[Case]:
    for step, begin, end, final, label in (
        (1, 0, 2, 0.5, "half of the way"),
        (30, 20, 60, 0.9, "a quarter of the way"),
        (59, 20, 60, 0.9, "one step before the end"),
        (21, 20, 60, 0.9, "the first step"),
        (20, 20, 60, 0.9, "at the begin"),
        (60, 20, 60, 0.9, "at the end"),
        (3, 20, 60, 0.9, "before the begin"),
        (75, 20, 60, 0.9, "after the end"),
        (900, 20, 60, 0.9, "long after the end"),
        (0, 5, 6, 1.0, "step 0"),
        (1, 0, 3, 1.0, "everything goes"),
        (7, 5, 11, 0.0, "nothing goes"),
    ):
        inputs = {"step": step, "begin": begin, "end": end, "final": final}
        yield Case(label, inputs)
    begin = int(rng.integers(1, 900))
    inputs = {"step": begin + int(rng.integers(100, 4000)), "begin": begin}
    inputs |= {"end": begin + 5000, "final": float(rng.uniform(0.5, 0.99))}
    yield Case("thousands of steps", inputs)


cubic_sparsity = Task(
    "cubic_sparsity",
    points=1,
    section="10 · Derive",
    reference=cubic_sparsity_reference,
    draw=_steps,
    forbid=LIBRARIES,
    hints=(
        "How much of the way from `begin` to `end` is done? Let that run from 0 to 1, "
        "and stay there.",
        "What is *left* of the way shrinks from 1 to 0. Its cube falls fast at first.",
        "`final * (1 - left**3)` with `left = 1 - progress`, and progress = "
        "(step - begin) / (end - begin), limited to 0 and 1.",
    ),
)


def _progress(step: int, begin: int, end: int) -> float:
    return min(max((step - begin) / (end - begin), 0.0), 1.0)


@cubic_sparsity.mistake
def slow_at_first(step: int, begin: int, end: int, final: float) -> float:
    """You prune slowly at first and fast at the end: the cube is of the way *done*.

    Take it of the way that is left. Late in training there is no time to recover.
    """
    return final * _progress(step, begin, end) ** 3


@cubic_sparsity.mistake
def straight_line(step: int, begin: int, end: int, final: float) -> float:
    """This is a straight line; the cube is missing."""
    return final * _progress(step, begin, end)


@cubic_sparsity.mistake
def squared(step: int, begin: int, end: int, final: float) -> float:
    """You take the square of what is left of the way; this rule has the cube."""
    return final * (1 - (1 - _progress(step, begin, end)) ** 2)


@cubic_sparsity.mistake
def never_clamped(step: int, begin: int, end: int, final: float) -> float:
    """Before the begin it is negative, and after the end it rises above `final`.

    Limit the progress to 0 and 1.
    """
    return final * (1 - (1 - (step - begin) / (end - begin)) ** 3)


@cubic_sparsity.mistake
def not_clamped_before(step: int, begin: int, end: int, final: float) -> float:
    """Before the begin it is negative; until then nothing goes: 0."""
    return final * (1 - (1 - min((step - begin) / (end - begin), 1.0)) ** 3)


@cubic_sparsity.mistake
def not_clamped_after(step: int, begin: int, end: int, final: float) -> float:
    """After the end it goes on rising; from then on it is `final`."""
    return final * (1 - (1 - max((step - begin) / (end - begin), 0.0)) ** 3)


@cubic_sparsity.mistake
def share_that_stays(step: int, begin: int, end: int, final: float) -> float:
    """This is the share that stays; return the share that is gone."""
    return 1 - cubic_sparsity_reference(step, begin, end, final)


@cubic_sparsity.mistake
def still_to_go(step: int, begin: int, end: int, final: float) -> float:
    """This starts at `final` and falls to 0: what is still to go. Start at 0."""
    return final * (1 - _progress(step, begin, end)) ** 3


@cubic_sparsity.mistake
def counted_from_zero(step: int, begin: int, end: int, final: float) -> float:
    """You count the way from step 0: it starts at `begin` and ends at `end`."""
    progress = 0.0 if step < begin else min(step / end, 1.0)
    return final * (1 - (1 - progress) ** 3)


@cubic_sparsity.mistake
def end_for_length(step: int, begin: int, end: int, final: float) -> float:
    """You divide by `end`; the way is `end - begin` steps long."""
    progress = min(max((step - begin) / end, 0.0), 1.0)
    return final * (1 - (1 - progress) ** 3)


@cubic_sparsity.mistake
def step_over_end(step: int, begin: int, end: int, final: float) -> float:
    """Both ends are right. In between you count the way from step 0, not `begin`."""
    if not begin < step < end:
        return cubic_sparsity_reference(step, begin, end, final)
    return final * (1 - (1 - step / end) ** 3)


@cubic_sparsity.mistake
def end_for_length_in_between(step: int, begin: int, end: int, final: float) -> float:
    """Both ends are right. In between divide by the length of the way, `end - begin`.

    You divide by `end`, so that it jumps in the last step.
    """
    if not begin < step < end:
        return cubic_sparsity_reference(step, begin, end, final)
    return final * (1 - (1 - (step - begin) / end) ** 3)


@cubic_sparsity.mistake
def zero_from_the_end(step: int, begin: int, end: int, final: float) -> float:
    """From the end on you give 0: all weights would come back. It stays `final`."""
    return cubic_sparsity_reference(step, begin, end, final) if step < end else 0.0


@cubic_sparsity.mistake
def zero_after_the_end(step: int, begin: int, end: int, final: float) -> float:
    """After the end you give 0: all weights would come back. It stays `final`."""
    value = cubic_sparsity_reference(step, begin, end, final)
    return value if step <= end else 0.0


@cubic_sparsity.mistake
def cosine(step: int, begin: int, end: int, final: float) -> float:
    """This is half a cosine: slow at both ends. Here only the end is slow."""
    return float(final * (1 - np.cos(np.pi * _progress(step, begin, end))) / 2)
