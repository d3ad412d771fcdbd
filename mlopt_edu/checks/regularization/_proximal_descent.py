"""Task 2: proximal gradient descent on the Lasso, also called ISTA."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .._task import Case, Task
from ._soft_threshold import Array, soft_threshold_reference


def proximal_descent_reference(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """Every point of proximal gradient descent, the start included."""
    w, path = w0, [w0]
    for _ in range(steps):
        slope = X.T @ (X @ w - y) / len(y)
        w = soft_threshold_reference(w - lr * slope, lr * strength)
        path.append(w)
    return np.array(path)


def _problems(rng: np.random.Generator) -> Iterator[Case]:
    X = np.array([[2.0, 0], [0, 1], [1, 1]])
    start = {"y": np.array([2.0, 0, -1]), "w0": np.array([1.0, -1])}
    yield Case("two weights", {"X": X, **start, "lr": 0.5, "strength": 0.5, "steps": 3})
    for n, d, share, strength, steps, label in (
        (30, 6, 0.9, 0.3, 40, "six weights"),
        (20, 50, 0.9, 0.2, 60, "more weights than examples"),
        (60, 8, 0.5, 0.05, 150, "150 steps"),
        (25, 4, 1.0, 0.0, 20, "strength 0"),
        (15, 5, 0.8, 1e3, 5, "a strength that leaves no weight"),
        (12, 1, 0.3, 0.4, 10, "one weight"),
        (1, 3, 0.5, 0.1, 6, "one example"),
        (10, 3, 0.7, 0.2, 1, "a single step"),
        (10, 3, 0.7, 0.2, 0, "no step at all"),
        (10, 3, 0.0, 0.2, 4, "step size 0"),
    ):
        X = rng.normal(size=(n, d)) * rng.uniform(0.5, 2, size=d)
        w = np.where(rng.random(d) < 0.4, rng.normal(size=d), 0.0)
        y = X @ w + 0.3 * rng.normal(size=n)
        # 1 / L: with at most this step the method is sure to converge.
        lr = share * n / np.linalg.norm(X, 2) ** 2
        inputs = {"X": X, "y": y, "w0": rng.normal(size=d), "lr": lr}
        yield Case(label, {**inputs, "strength": strength, "steps": steps})


def _losses(inputs: Mapping[str, Any], value: Any) -> tuple[Any, Any]:
    """Picture a run: what it should minimize, over the steps."""
    X, y, strength = inputs["X"], inputs["y"], inputs["strength"]
    squares = np.sum((value @ X.T - y) ** 2, axis=1) / (2 * len(y))
    return np.arange(len(value)), squares + strength * np.abs(value).sum(axis=1)


proximal_descent = Task(
    "proximal_descent",
    points=3,
    section="07 · Write it small",
    reference=proximal_descent_reference,
    draw=_problems,
    forbid=("sklearn", "torch.optim", "mlopt_edu.optim", "mlopt_edu.regularization"),
    picture=_losses,
    axes=("step", "loss + penalty"),
    hints=(
        "A step has two parts. Which part of the loss does each of them see?",
        "First take a plain gradient step on the squares alone, then put its result "
        "through your `soft_threshold`. How far does a step of size `lr` along the "
        "slope `strength` go?",
        "`w = soft_threshold(w - lr * slope, lr * strength)`, with `slope = X.T @ "
        "(X @ w - y) / len(y)`. Collect the points in a list that begins with `w0`.",
    ),
)


def _walk(w0: Array, steps: int, step: Callable[[Array], Array]) -> Array:
    path = [w0]
    for _ in range(steps):
        path.append(step(path[-1]))
    return np.array(path)


def _slope(X: Array, y: Array, w: Array) -> Array:
    return np.asarray(X.T @ (X @ w - y) / len(y))


@proximal_descent.mistake
def plain_subgradient(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """You add `strength * sign(w)` to the slope: plain descent on an L1 penalty.

    It jumps over 0 and back and makes no exact zeros. Step along the slope of the
    squares alone, then use the soft threshold.
    """
    return _walk(
        w0, steps, lambda w: w - lr * (_slope(X, y, w) + strength * np.sign(w))
    )


@proximal_descent.mistake
def threshold_without_lr(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """Your threshold is `strength`; a step of size `lr` goes `lr * strength`."""
    return _walk(
        w0,
        steps,
        lambda w: soft_threshold_reference(w - lr * _slope(X, y, w), strength),
    )


@proximal_descent.mistake
def threshold_before_the_slope(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """You use the soft threshold first, and the gradient step undoes its zeros.

    Take the gradient step first.
    """

    def step(w: Array) -> Array:
        w = soft_threshold_reference(w, lr * strength)
        return w - lr * _slope(X, y, w)

    return _walk(w0, steps, step)


@proximal_descent.mistake
def threshold_beside_the_slope(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """You threshold the *old* weights and subtract the slope from the result.

    Threshold what the gradient step gives, slope included.
    """
    return _walk(
        w0,
        steps,
        lambda w: soft_threshold_reference(w, lr * strength) - lr * _slope(X, y, w),
    )


@proximal_descent.mistake
def slope_thresholded(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """You threshold the slope; it is the *weights* that should become 0."""
    return _walk(
        w0,
        steps,
        lambda w: w - lr * soft_threshold_reference(_slope(X, y, w), strength),
    )


@proximal_descent.mistake
def jumps_over_zero(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """Your threshold does not stop at 0: small weights jump to the other side.

    See task 1: what is within the threshold becomes exactly 0.
    """

    def step(w: Array) -> Array:
        w = w - lr * _slope(X, y, w)
        return w - lr * strength * np.sign(w)

    return _walk(w0, steps, step)


@proximal_descent.mistake
def hard_threshold(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """You only cut small weights off; the soft threshold moves the large ones too."""

    def step(w: Array) -> Array:
        w = w - lr * _slope(X, y, w)
        return np.where(np.abs(w) > lr * strength, w, 0.0)

    return _walk(w0, steps, step)


@proximal_descent.mistake
def subgradient_and_cut(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """You take the plain L1 step and set what is small afterwards to 0.

    These zeros depend on your cut, not on the loss. The soft threshold does both in
    one, after a gradient step without the penalty.
    """

    def step(w: Array) -> Array:
        w = w - lr * (_slope(X, y, w) + strength * np.sign(w))
        return np.where(np.abs(w) > lr * strength, w, 0.0)

    return _walk(w0, steps, step)


@proximal_descent.mistake
def penalty_twice(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """The penalty acts twice: in your slope and in the threshold. Leave the slope."""

    def step(w: Array) -> Array:
        w = w - lr * (_slope(X, y, w) + strength * np.sign(w))
        return soft_threshold_reference(w, lr * strength)

    return _walk(w0, steps, step)


@proximal_descent.mistake
def strength_over_n(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """You divide the strength by n; only the squares are a mean."""
    return proximal_descent_reference(X, y, w0, lr, strength / len(y), steps)


@proximal_descent.mistake
def half_the_strength(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """You halve the strength; the 1/2 of the loss belongs to the squares alone."""
    return proximal_descent_reference(X, y, w0, lr, strength / 2, steps)


@proximal_descent.mistake
def squares_not_averaged(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """The slope is a *mean* over the examples: divide it by n."""
    return _walk(
        w0,
        steps,
        lambda w: soft_threshold_reference(w - lr * X.T @ (X @ w - y), lr * strength),
    )


@proximal_descent.mistake
def slope_doubled(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """The slope is twice too long: the 1/2 of the loss takes the 2 of the square."""
    return proximal_descent_reference(X, y, w0, 2 * lr, strength / 2, steps)


@proximal_descent.mistake
def weights_shrink(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """This is L2: a pull in proportion to the weight, which makes no zeros."""
    return _walk(w0, steps, lambda w: w - lr * (_slope(X, y, w) + strength * w))


@proximal_descent.mistake
def threshold_at_the_end(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """You use the threshold once, at the end; it belongs into every step."""
    path = proximal_descent_reference(X, y, w0, lr, 0.0, steps)
    if steps:
        path[-1] = soft_threshold_reference(path[-1], lr * strength)
    return path


@proximal_descent.mistake
def slope_never_renewed(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """The slope is computed once, at the start; compute it anew in every step."""
    slope = _slope(X, y, w0)
    return _walk(
        w0, steps, lambda w: soft_threshold_reference(w - lr * slope, lr * strength)
    )


@proximal_descent.mistake
def climbs(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """You climb: the slope points uphill, so *subtract* `lr` times the slope."""
    return _walk(
        w0,
        steps,
        lambda w: soft_threshold_reference(w + lr * _slope(X, y, w), lr * strength),
    )


@proximal_descent.mistake
def negative_weights_lost(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """Your threshold makes every negative weight 0; see task 1."""
    return _walk(
        w0,
        steps,
        lambda w: np.maximum(w - lr * _slope(X, y, w) - lr * strength, 0.0),
    )


@proximal_descent.mistake
def start_left_out(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """The start is missing: row 0 is `w0` as you got it, before any step."""
    return proximal_descent_reference(X, y, w0, lr, strength, steps)[1:]


@proximal_descent.mistake
def only_the_end(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """This is the last point only; return all of them, the start included."""
    end = proximal_descent_reference(X, y, w0, lr, strength, steps)[-1]
    return np.asarray(end)


@proximal_descent.mistake
def one_array_for_all_points(
    X: Array, y: Array, w0: Array, lr: float, strength: float, steps: int
) -> Array:
    """All rows are the last point: your list holds *one* array many times.

    `w -= …` changes that array in place. Write `w = w - …`, which makes a new one.
    """
    end = proximal_descent_reference(X, y, w0, lr, strength, steps)[-1]
    return np.array([end] * (steps + 1))
