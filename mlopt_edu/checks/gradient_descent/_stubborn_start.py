"""Task 6: a start from which a step size above the bound still descends."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .._task import Case, Task
from ._descend import descend_reference
from ._problem import Array, bound


def stubborn_start_reference(X: Array, y: Array, lr: float) -> Array:
    """A start that differs from the minimum along the flattest direction only."""
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    directions = np.linalg.eigh(X.T @ X / len(X))[1]
    return np.asarray(best + 2 * directions[:, 0])


def _stubborn_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, share in ((6, 2, 1.1), (20, 3, 1.5), (30, 6, 1.3)):
        # One direction diverges; the others shrink, but not to rounding in 10 steps.
        left = np.linalg.qr(rng.normal(size=(n, d)))[0]
        right = np.linalg.qr(rng.normal(size=(d, d)))[0]
        curvatures = np.r_[2.0, rng.uniform(0.1, 0.3, size=d - 1)]
        X = left * np.sqrt(n * curvatures) @ right
        y = X @ rng.normal(size=d) + rng.normal(size=n)
        yield Case(f"{d} weights", {"X": X, "y": y, "lr": share * bound(X)})


def _is_a_start(inputs: Mapping[str, Any], value: Any) -> str:
    """The start must be one vector of finite weights, of shape (d,)."""
    if value.shape != inputs["X"].shape[1:]:
        return f"yours has shape {value.shape} where d = {inputs['X'].shape[1]}"
    return "" if np.isfinite(value).all() else "yours holds inf or nan"


def _is_away(inputs: Mapping[str, Any], value: Any) -> str:
    """The start must be at least 1 away from the minimum."""
    best = np.linalg.lstsq(inputs["X"], inputs["y"], rcond=None)[0]
    distance = np.linalg.norm(value - best)
    return "" if distance >= 0.999 else f"yours is {distance:.2g} away"


def _still_descends(inputs: Mapping[str, Any], value: Any) -> str:
    """Each of the first 10 steps must make the loss smaller."""
    X, y, lr = inputs["X"], inputs["y"], inputs["lr"]
    losses = ((descend_reference(X, y, value, lr, 10) @ X.T - y) ** 2).mean(axis=1)
    if (np.diff(losses) < 0).all():
        return ""
    step = int(np.argmax(~(np.diff(losses) < 0))) + 1
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    steep = abs(np.linalg.eigh(X.T @ X)[1][:, -1] @ (value - best))
    return (
        f"step {step} does not; your start is {steep:.2g} away from the minimum along "
        "the steepest direction"
    )


stubborn_start = Task(
    "stubborn_start",
    kind="law",
    points=2,
    section="01 · Derive",
    reference=stubborn_start_reference,
    draw=_stubborn_cases,
    laws=(_is_a_start, _is_away, _still_descends),
    hints=(
        "Above the bound only *one* direction grows here. Can you start without any "
        "error in that direction?",
        "Begin at the minimum (`np.linalg.lstsq`) and walk away from it along an "
        "eigenvector that this `lr` still shrinks.",
        "`np.linalg.eigh` sorts from flat to steep; column 0 of its second result is "
        "the flattest direction. Add a multiple of it to the minimum.",
    ),
)


@stubborn_start.mistake
def starts_steep(X: Array, y: Array, lr: float) -> Array:
    """You walked away along the *steepest* direction, the one that grows."""
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    return np.asarray(best + np.linalg.eigh(X.T @ X / len(X))[1][:, -1])


@stubborn_start.mistake
def starts_at_the_minimum(X: Array, y: Array, lr: float) -> Array:
    """You start *at* the minimum, where there is nothing left to descend.

    Stay at least 1 away from it.
    """
    return np.asarray(np.linalg.lstsq(X, y, rcond=None)[0])


@stubborn_start.mistake
def direction_without_minimum(X: Array, y: Array, lr: float) -> Array:
    """This is the flat direction measured from zero; add the minimum to it."""
    return np.asarray(np.linalg.eigh(X.T @ X / len(X))[1][:, 0])


@stubborn_start.mistake
def row_for_column(X: Array, y: Array, lr: float) -> Array:
    """You took a *row* of the eigenvector matrix; each eigenvector is a column."""
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    return np.asarray(best + 2 * np.linalg.eigh(X.T @ X / len(X))[1][0])


@stubborn_start.mistake
def starts_at_zero(X: Array, y: Array, lr: float) -> Array:
    """Zero is nothing special here: it has an error along the steep direction too."""
    return np.zeros(X.shape[1])
