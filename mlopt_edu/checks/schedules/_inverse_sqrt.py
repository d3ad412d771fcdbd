"""Task 1: the decay of the textbooks, 1 / sqrt(step + 1)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task

Steps = int | NDArray[np.int64]
Factors = NDArray[np.float64]


def inverse_sqrt_reference(step: Steps) -> Factors:
    """One over the root of the number of steps, this one included."""
    return np.asarray(1 / np.sqrt(step + 1))


def _steps(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("the first step", {"step": 0})
    yield Case("the second step", {"step": 1})
    yield Case("the fourth step", {"step": 3})
    yield Case("a step in between", {"step": int(rng.integers(10, 1000))})
    yield Case("step 1,000,000", {"step": 1_000_000})
    yield Case("a whole run", {"step": np.arange(12)})
    yield Case("any steps, in any order", {"step": rng.integers(0, 500, size=(3, 4))})


inverse_sqrt = Task(
    "inverse_sqrt",
    points=1,
    section="04 · Derive",
    reference=inverse_sqrt_reference,
    draw=_steps,
    forbid=("torch.optim", "mlopt_edu.schedules"),
    hints=(
        "The first step is number 0, and it must be taken in full: factor 1. What "
        "has to stand under the root?",
        "The 1st, 4th and 9th step have the factors 1, 1/2, 1/3: count from one, take "
        "the root, and divide 1 by it. `np.sqrt` takes arrays too.",
        "Add 1 to `step`, take `np.sqrt` of that sum, and return 1 over it.",
    ),
)


@inverse_sqrt.mistake
def step_zero_divides_by_zero(step: Steps) -> Factors:
    """At step 0 you divide by zero. Steps count from 0: take the root of `step + 1`."""
    return np.asarray(1 / np.sqrt(step))


@inverse_sqrt.mistake
def first_two_steps_alike(step: Steps) -> Factors:
    """You keep step 0 from dividing by zero, but now steps 0 and 1 are alike.

    Every later factor is one step late as well. Put `step + 1` under the root.
    """
    return np.asarray(1 / np.sqrt(np.maximum(step, 1)))


@inverse_sqrt.mistake
def first_step_shortened(step: Steps) -> Factors:
    """Your first factor is 0.71, that of the *second* step: you add 1 too many."""
    return np.asarray(1 / np.sqrt(step + 2))


@inverse_sqrt.mistake
def root_missing(step: Steps) -> Factors:
    """This is 1 / (step + 1), which decays far faster. The root is missing."""
    return np.asarray(1 / (step + 1))


@inverse_sqrt.mistake
def one_added_outside_the_root(step: Steps) -> Factors:
    """You add the 1 after the root; it belongs under it."""
    return np.asarray(1 / (np.sqrt(step) + 1))


@inverse_sqrt.mistake
def half_for_a_root(step: Steps) -> Factors:
    """`** 1/2` takes the power 1 first and halves that then.

    Write `** (1/2)`, `** 0.5` or `np.sqrt`.
    """
    return np.asarray(1 / (step + 1) ** 1 / 2)


@inverse_sqrt.mistake
def root_not_inverted(step: Steps) -> Factors:
    """This grows: it is the root itself. The factor is 1 *over* the root."""
    return np.asarray(np.sqrt(step + 1))


@inverse_sqrt.mistake
def exponential_decay(step: Steps) -> Factors:
    """This decays by half in every step, exponentially. Use 1 over a square root."""
    return np.asarray(0.5 ** np.asarray(step, dtype=float))
