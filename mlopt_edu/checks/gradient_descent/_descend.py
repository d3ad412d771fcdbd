"""Task 2: the points that gradient descent visits."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .._task import Case, Task
from ._gradient import gradient_reference
from ._problem import Array, bound, problem


def descend_reference(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """Every point that gradient descent visits, the start included."""
    path = [w0]
    for _ in range(steps):
        w = path[-1]
        path.append(w - lr * gradient_reference(X, y, w))
    return np.array(path)


def _descend_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, share, steps, label in (
        (3, 2, 0.3, 4, "two weights, 4 steps"),
        (30, 1, 0.2, 6, "one weight"),
        (40, 5, 0.5, 50, "50 steps"),
        (20, 3, 0.95, 30, "just below the bound"),
        (60, 2, 0.5, 300, "300 steps"),
        (20, 3, 1.1, 12, "above the bound: it must diverge"),
    ):
        X, y = problem(rng, n, d)
        inputs = {"X": X, "y": y, "w0": rng.normal(size=d), "lr": share * bound(X)}
        yield Case(label, {**inputs, "steps": steps})
    X, y = problem(rng, 8, 2)
    inputs = {"X": X, "y": y, "w0": np.zeros(2), "lr": 0.1, "steps": 1}
    yield Case("a single step from zero", inputs)
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    yield Case("a start at the minimum", {**inputs, "w0": best, "steps": 5})
    yield Case("no step at all", {**inputs, "w0": rng.normal(size=2), "steps": 0})
    yield Case("step size 0", {**inputs, "w0": rng.normal(size=2), "lr": 0.0})


def _path(_: Mapping[str, Any], value: Any) -> tuple[Any, Any]:
    return value[:, 0], value[:, 1]


descend = Task(
    "descend",
    points=3,
    section="01 · Write it small",
    reference=descend_reference,
    draw=_descend_cases,
    forbid=("torch.optim", "mlopt_edu.optim"),
    picture=_path,
    axes=("w[0]", "w[1]"),
    hints=(
        "Do the first two steps on paper. At which point is the second gradient taken?",
        "Keep a list of points that begins with the start. In each step take the last "
        "point, compute the gradient *there*, and append the next point.",
        "The next point is the last one minus `lr` times the gradient at the last one. "
        "Turn the list into an array at the end: it has `steps + 1` rows.",
    ),
)


@descend.mistake
def climbs(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """You climb: the gradient points uphill, so *subtract* `lr` times the gradient.

    If you do subtract it, look at the sign in your `gradient` of task 1.
    """
    path = [w0]
    for _ in range(steps):
        path.append(path[-1] + lr * gradient_reference(X, y, path[-1]))
    return np.array(path)


@descend.mistake
def stale_gradient(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """Every step uses the gradient at the start, so the path is a straight line.

    Compute the gradient inside the loop, at the point where you are now.
    """
    slope = gradient_reference(X, y, w0)
    return np.array([w0 - k * lr * slope for k in range(steps + 1)])


@descend.mistake
def gradient_at_the_point_before(
    X: Array, y: Array, w0: Array, lr: float, steps: int
) -> Array:
    """Each step uses the gradient at the point *before* the last one.

    The gradient is one step late. Compute it at the point that you are leaving.
    """
    path = [w0]
    for k in range(steps):
        at = path[max(k - 1, 0)]
        path.append(path[-1] - lr * gradient_reference(X, y, at))
    return np.array(path)


@descend.mistake
def starts_again(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """Each step starts from `w0` again, so every point is the first step's.

    Go on from the last point.
    """
    first = w0 - lr * gradient_reference(X, y, w0)
    return np.array([w0] + [first] * steps)


@descend.mistake
def steps_too_long(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """Your steps are n times too long: the gradient is a *mean* over the examples.

    Check your `gradient` of task 1 first.
    """
    return descend_reference(X, y, w0, lr * len(y), steps)


@descend.mistake
def steps_doubled(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """Your steps are twice too long: the 2 of the square cancels the ½ of the loss.

    Check your `gradient` of task 1 first.
    """
    return descend_reference(X, y, w0, 2 * lr, steps)


@descend.mistake
def one_step_more(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """There is one point too many: `steps` steps visit `steps + 1` points."""
    return descend_reference(X, y, w0, lr, steps + 1)


@descend.mistake
def points_in_columns(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """Your points stand in columns; return one point a *row*."""
    return descend_reference(X, y, w0, lr, steps).T


@descend.mistake
def gradient_at_zero(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """The gradient is taken at w = 0 in every step, not at the current point."""
    slope = gradient_reference(X, y, np.zeros_like(w0))
    return np.array([w0 - k * lr * slope for k in range(steps + 1)])


@descend.mistake
def start_left_out(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """The start is missing: the first row must be `w0`, so there are `steps + 1`."""
    return descend_reference(X, y, w0, lr, steps)[1:]


@descend.mistake
def only_the_last_point(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """You return the last point; return *all* of them, one a row, from the start on."""
    return np.asarray(descend_reference(X, y, w0, lr, steps)[-1])


@descend.mistake
def one_array_many_times(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """All rows are the last point: the list holds the *same* array again and again.

    An update in place (`w -= …`) changes the rows that you stored before. Store a
    copy, or write `w = w - …`, which makes a new array.
    """
    last = descend_reference(X, y, w0, lr, steps)[-1]
    return np.array([last] * (steps + 1))


@descend.mistake
def step_shrinks(X: Array, y: Array, w0: Array, lr: float, steps: int) -> Array:
    """Your step size shrinks from step to step; here `lr` stays the same."""
    path = [w0]
    for k in range(steps):
        path.append(path[-1] - lr / (k + 1) * gradient_reference(X, y, path[-1]))
    return np.array(path)
