"""Task 7: a loop that stops in the wrong place, to mend."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._gradient import gradient_reference
from ._problem import Array, bound, problem


def descend_until_reference(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[Array, int]:
    """Descend until the gradient's norm is at most `tolerance`."""
    w = w0
    for step in range(max_steps):
        slope = gradient_reference(X, y, w)
        if np.linalg.norm(slope) <= tolerance:
            return w, step
        w = w - lr * slope
    return w, max_steps


def _until_cases(rng: np.random.Generator) -> Iterator[Case]:
    # Along (1, -1) the entries of the gradient cancel: its sum is 0, its norm is not.
    X = np.array([[1.0, 0], [0, 1]])
    limits = {"lr": 0.5, "tolerance": 0.1, "max_steps": 100}
    inputs = {"X": X, "y": np.zeros(2), "w0": np.array([1.0, -1]), **limits}
    yield Case("entries that cancel", inputs)
    at_rest = {"X": X, "y": np.ones(2), "w0": np.ones(2), **limits, "tolerance": 0.0}
    yield Case("gradient 0, tolerance 0", at_rest)
    for n, d, tolerance, most, label in (
        (20, 3, 1e-3, 1000, "three weights"),
        (30, 1, 1e-2, 1000, "one weight"),
        (40, 5, 1e-9, 25, "too few steps allowed"),
        (10, 2, 1e-6, 0, "no step allowed"),
    ):
        X, y = problem(rng, n, d)
        limits = {"lr": 0.4 * bound(X), "tolerance": tolerance, "max_steps": most}
        yield Case(label, {"X": X, "y": y, "w0": rng.normal(size=d), **limits})
    X, y = problem(rng, 12, 2)
    limits = {"lr": 0.1, "tolerance": 1e-6, "max_steps": 50}
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    yield Case("already there", {"X": X, "y": y, "w0": best, **limits})
    start = np.asarray(best + 1, dtype=np.float64)
    slope = float(np.linalg.norm(gradient_reference(X, y, start)))
    limits = {"lr": 0.1, "tolerance": slope * (1 + 1e-9), "max_steps": 50}
    yield Case("a tolerance just met", {"X": X, "y": y, "w0": start, **limits})


descend_until = Task(
    "descend_until",
    kind="repair",
    points=2,
    section="01 · What goes wrong",
    reference=descend_until_reference,
    draw=_until_cases,
    forbid=("torch.optim", "mlopt_edu.optim"),
    hints=(
        "Run it for three steps and print the gradient in each. Does it change?",
        "There are two faults. One: where the gradient is computed. Two: what is "
        "compared with the tolerance.",
        "Move the gradient's line into the loop, before the test. Compare the *norm*, "
        "`np.linalg.norm`: a sum is small when entries cancel.",
    ),
)


@descend_until.mistake
def as_given(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[Array, int]:
    """Both faults of the given program are still in it.

    Ask of each line in the loop: does it see where `w` is *now*?
    """
    w, slope = w0, gradient_reference(X, y, w0)
    for step in range(max_steps):
        if abs(slope.sum()) <= tolerance:
            return w, step
        w = w - lr * slope
    return w, max_steps


@descend_until.mistake
def gradient_never_renewed(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[Array, int]:
    """The gradient is computed once, before the loop, and never renewed.

    The walk goes straight on and its test never changes. Compute it in the loop.
    """
    w, slope = w0, gradient_reference(X, y, w0)
    for step in range(max_steps):
        if np.linalg.norm(slope) <= tolerance:
            return w, step
        w = w - lr * slope
    return w, max_steps


@descend_until.mistake
def sum_for_norm(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[Array, int]:
    """The test adds up the entries, and +1 and -1 cancel: it stops too early.

    Compare the norm of the gradient with the tolerance.
    """
    w = w0
    for step in range(max_steps):
        slope = gradient_reference(X, y, w)
        if abs(slope.sum()) <= tolerance:
            return w, step
        w = w - lr * slope
    return w, max_steps


@descend_until.mistake
def norm_squared(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[Array, int]:
    """You compare the *square* of the norm with the tolerance; take the root."""
    w = w0
    for step in range(max_steps):
        slope = gradient_reference(X, y, w)
        if slope @ slope <= tolerance:
            return w, step
        w = w - lr * slope
    return w, max_steps


@descend_until.mistake
def steps_before_point(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[int, Array]:
    """The order is reversed: return the point first, then the number of steps."""
    w, step = descend_until_reference(X, y, w0, lr, tolerance, max_steps)
    return step, w


@descend_until.mistake
def strictly_below(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[Array, int]:
    """You stop only *below* the tolerance; "at most" includes the tolerance: `<=`."""
    w = w0
    for step in range(max_steps):
        slope = gradient_reference(X, y, w)
        if np.linalg.norm(slope) < tolerance:
            return w, step
        w = w - lr * slope
    return w, max_steps


@descend_until.mistake
def one_step_too_many(
    X: Array, y: Array, w0: Array, lr: float, tolerance: float, max_steps: int
) -> tuple[Array, int]:
    """You step first and test then, so you take one step more than is needed."""
    w = w0
    for step in range(max_steps):
        slope = gradient_reference(X, y, w)
        w = w - lr * slope
        if np.linalg.norm(slope) <= tolerance:
            return w, step + 1
    return w, max_steps
