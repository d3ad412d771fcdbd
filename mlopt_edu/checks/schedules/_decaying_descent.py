"""Task 7: a decay whose first step jumps across the valley, to mend."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task
from ._inverse_sqrt import inverse_sqrt_reference

Array = NDArray[np.float64]


def decaying_descent_reference(H: Array, w0: Array, steps: int) -> Array:
    """Descend with the largest base lr that carries no error across the minimum."""
    base_lr = 1 / np.linalg.eigvalsh(H)[-1]
    path = [w0]
    for step in range(steps):
        w = path[-1]
        path.append(w - base_lr * inverse_sqrt_reference(step) * H @ w)
    return np.array(path)


def _valleys(rng: np.random.Generator) -> Iterator[Case]:
    def valley(d: int, steep: float) -> Array:
        axes = np.linalg.qr(rng.normal(size=(d, d)))[0]
        curvatures = steep * np.r_[1.0, rng.uniform(0.02, 0.6, size=d - 1)]
        return np.asarray(axes * curvatures @ axes.T)

    small = {"H": np.array([[2.0, 1], [1, 2]]), "w0": np.array([3.0, 1])}
    yield Case("two weights, 3 steps", {**small, "steps": 3})
    yield Case("a single step", {**small, "steps": 1})
    yield Case("no step at all", {**small, "steps": 0})
    yield Case("one weight", {"H": np.array([[5.0]]), "w0": np.ones(1), "steps": 4})
    upright = {"H": np.diag([1.0, 4]), "w0": np.array([2.0, -1])}
    yield Case("a valley along the axes", {**upright, "steps": 6})
    flat = {**upright, "w0": np.array([2.0, 0])}
    yield Case("a start without the steepest error", {**flat, "steps": 3})
    for d, steep, steps, label in (
        (2, 30.0, 12, "a steep valley"),
        (3, 0.02, 20, "a flat valley"),
        (6, 1.7, 200, "six weights, 200 steps"),
    ):
        inputs = {"H": valley(d, steep), "w0": rng.normal(size=d), "steps": steps}
        yield Case(label, inputs)


def _path(_: Mapping[str, Any], value: Any) -> tuple[Any, Any]:
    return value[:, 0], value[:, 1]


decaying_descent = Task(
    "decaying_descent",
    kind="repair",
    points=2,
    section="04 · What goes wrong",
    reference=decaying_descent_reference,
    draw=_valleys,
    forbid=("torch.optim", "mlopt_edu.schedules"),
    picture=_path,
    axes=("w[0]", "w[1]"),
    hints=(
        "Print the factor of the first step. Is it 1? Then print the error before and "
        "after the first step: which sign has each?",
        "A step multiplies the error along an eigenvector by 1 - lr λ. When is that "
        "negative? And with which number must the steps begin?",
        "No factor 1 - lr λ is negative if lr is at most 1 over the largest λ: that is "
        "half of the bound that the program uses. Let `step` begin at 0.",
    ),
)


def _walk(H: Array, w0: Array, lrs: Array) -> Array:
    path = [w0]
    for lr in lrs:
        path.append(path[-1] - lr * H @ path[-1])
    return np.array(path)


def _decay(steps: int, first: int = 0) -> Array:
    return inverse_sqrt_reference(np.arange(first, first + steps))


@decaying_descent.mistake
def as_given(H: Array, w0: Array, steps: int) -> Array:
    """Both faults of the given program are still in it.

    How long is the first step, and where does it land?
    """
    return _walk(H, w0, 2 / np.linalg.eigvalsh(H)[-1] * _decay(steps, first=1))


@decaying_descent.mistake
def reflects(H: Array, w0: Array, steps: int) -> Array:
    """The first step now has factor 1, and mirrors the steepest error: 1 - 2 = -1.

    2 / λ_max is the bound of divergence. Without a jump across it is half of that.
    """
    return _walk(H, w0, 2 / np.linalg.eigvalsh(H)[-1] * _decay(steps))


@decaying_descent.mistake
def first_factor_skipped(H: Array, w0: Array, steps: int) -> Array:
    """The base lr is right, but you begin with the factor of step 1, 0.71.

    The first step is number 0: `range(steps)`.
    """
    return _walk(H, w0, _decay(steps, first=1) / np.linalg.eigvalsh(H)[-1])


@decaying_descent.mistake
def best_constant_step(H: Array, w0: Array, steps: int) -> Array:
    """2 / (λ_min + λ_max) is the best *constant* step size, and it jumps across.

    Without a jump 1 - lr λ_max must not be negative.
    """
    curvatures = np.linalg.eigvalsh(H)
    return _walk(H, w0, 2 / (curvatures[0] + curvatures[-1]) * _decay(steps))


@decaying_descent.mistake
def too_careful(H: Array, w0: Array, steps: int) -> Array:
    """Nothing jumps, but this is half of what is allowed: 1 / λ_max is the largest."""
    return _walk(H, w0, _decay(steps) / np.linalg.eigvalsh(H)[-1] / 2)


@decaying_descent.mistake
def smallest_curvature(H: Array, w0: Array, steps: int) -> Array:
    """You divide by the smallest curvature; the largest one jumps first."""
    return _walk(H, w0, _decay(steps) / np.linalg.eigvalsh(H)[0])


@decaying_descent.mistake
def trace_for_curvature(H: Array, w0: Array, steps: int) -> Array:
    """You divide by the sum of the curvatures (the trace), which is too careful.

    The largest eigenvalue alone decides.
    """
    return _walk(H, w0, _decay(steps) / np.trace(H))


@decaying_descent.mistake
def largest_entry(H: Array, w0: Array, steps: int) -> Array:
    """You use the largest entry of H; its largest *eigenvalue* is larger than that.

    Only a valley along the axes shows its curvatures in the diagonal.
    """
    return _walk(H, w0, _decay(steps) / H.max())


@decaying_descent.mistake
def decays_compound(H: Array, w0: Array, steps: int) -> Array:
    """You shrink an lr that is shrunk already, so the decays multiply up.

    A schedule gives a factor of the *base* lr: leave the base as it is.
    """
    return _walk(H, w0, np.cumprod(_decay(steps)) / np.linalg.eigvalsh(H)[-1])


@decaying_descent.mistake
def decay_removed(H: Array, w0: Array, steps: int) -> Array:
    """Nothing jumps, but the step size no longer decays."""
    return _walk(H, w0, np.ones(steps) / np.linalg.eigvalsh(H)[-1])


@decaying_descent.mistake
def only_the_last_point(H: Array, w0: Array, steps: int) -> Array:
    """You return the last point only; return all of them, as the program did."""
    return np.asarray(decaying_descent_reference(H, w0, steps)[-1])
