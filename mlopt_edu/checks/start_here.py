"""The two tasks of lesson 00: how a check feels before anything depends on it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ._task import Case, Task, choice

Vector = NDArray[np.float64]


def mean_squared_error_reference(prediction: Vector, target: Vector) -> float:
    """Average of the squared differences."""
    return float(((prediction - target) ** 2).mean())


def _pairs(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("two numbers", {"prediction": np.r_[1.0, 2], "target": np.r_[0.0, 4]})
    yield Case("one number", {"prediction": np.r_[-1.5], "target": np.r_[1.0]})
    exact = rng.normal(size=5)
    yield Case("a perfect guess", {"prediction": exact, "target": exact.copy()})
    for size in (7, 100):
        prediction, target = rng.normal(size=(2, size))
        inputs = {"prediction": prediction, "target": 10 * target}
        yield Case(f"{size} random numbers", inputs)


mean_squared_error = Task(
    "mean_squared_error",
    points=1,
    section="00 · Write, then check",
    reference=mean_squared_error_reference,
    draw=_pairs,
    hints=(
        "For predictions 1, 2 and targets 0, 4 the answer is 2.5. Work it out by hand.",
        "Three steps, in this order: subtract, square, average.",
        "`difference ** 2` squares every entry, and `.mean()` averages an array.",
    ),
)


@mean_squared_error.mistake
def squares_not_averaged(prediction: Vector, target: Vector) -> float:
    """You add up the squares; the *mean* also divides by how many there are."""
    return float(((prediction - target) ** 2).sum())


@mean_squared_error.mistake
def mean_before_square(prediction: Vector, target: Vector) -> float:
    """You average first and square then, so +1 and -1 cancel. Square each first."""
    return float((prediction - target).mean() ** 2)


@mean_squared_error.mistake
def absolute_for_square(prediction: Vector, target: Vector) -> float:
    """This is the mean *absolute* error; square the differences instead."""
    return float(np.abs(prediction - target).mean())


@mean_squared_error.mistake
def root_taken(prediction: Vector, target: Vector) -> float:
    """This is the *root* mean squared error; leave out the last square root."""
    return float(np.sqrt(((prediction - target) ** 2).mean()))


@mean_squared_error.mistake
def halved(prediction: Vector, target: Vector) -> float:
    """This is half of it. Some texts put 1/2 in front; the plain mean has none."""
    return float(((prediction - target) ** 2).mean() / 2)


what_a_hint_costs = choice(
    "what_a_hint_costs",
    "A check says “not yet”, and offers hints. What does opening all three cost you?",
    {
        "a": ("One point each", "No. Nothing is taken away, and nothing is counted."),
        "b": (
            "Nothing",
            "Right: hints are free, and so are wrong answers. Guess first all the "
            "same: what you find yourself stays.",
        ),
        "c": ("The task is locked", "No. You may check as often as you like."),
    },
    answer="b",
    points=1,
    section="00 · Hints",
    module=__name__,
)
