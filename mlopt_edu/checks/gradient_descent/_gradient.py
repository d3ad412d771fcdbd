"""Task 1: the gradient of the loss."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import Array, problem


def gradient_reference(X: Array, y: Array, w: Array) -> Array:
    """Gradient of |X w - y|^2 / (2 n) with respect to w."""
    residual = X @ w - y
    return X.T @ residual / len(y)


def _gradient_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, label in ((3, 2, "3 examples"), (30, 1, "one weight"), (50, 7, "50 × 7")):
        X, y = problem(rng, n, d)
        yield Case(label, {"X": X, "y": y, "w": rng.normal(size=d)})
    X, y = problem(rng, 1, 8)
    yield Case("one example", {"X": X, "y": y, "w": rng.normal(size=8)})
    X, y = problem(rng, 4, 9)
    columns = np.asfortranarray(X)
    yield Case("more weights than examples", {"X": columns, "y": y, "w": np.ones(9)})
    yield Case("zero weights", {"X": X, "y": y, "w": np.zeros(9)})


gradient = Task(
    "gradient",
    points=2,
    section="01 · Real data",
    reference=gradient_reference,
    draw=_gradient_cases,
    hints=(
        "Check the shapes: `X @ w - y` has one entry an example, the gradient has one "
        "a weight. What turns the first into the second?",
        "Write the residual first. Each weight's entry sums residual times feature "
        "over the examples, then comes the average.",
        "The chain rule gives transpose of X times the residual, divided by the number "
        "of examples. The 2 of the square cancels the 2 under the fraction.",
    ),
)


@gradient.mistake
def sum_over_examples(X: Array, y: Array, w: Array) -> Array:
    """You sum over the examples; the loss is their *mean*. Divide by `len(y)`.

    Otherwise the right step size changes with the amount of data.
    """
    return X.T @ (X @ w - y)


@gradient.mistake
def twice_the_gradient(X: Array, y: Array, w: Array) -> Array:
    """It is twice too large: the loss has 2 n below the fraction, so the 2 cancels."""
    return 2 * X.T @ (X @ w - y) / len(y)


@gradient.mistake
def half_kept(X: Array, y: Array, w: Array) -> Array:
    """It is half of the gradient: you kept the ½, but the square's 2 cancels it."""
    return X.T @ (X @ w - y) / (2 * len(y))


@gradient.mistake
def residual_reversed(X: Array, y: Array, w: Array) -> Array:
    """The sign is wrong: the residual is prediction minus target, `X @ w - y`.

    With this sign the gradient points downhill, and a step against it climbs.
    """
    return X.T @ (y - X @ w) / len(y)


@gradient.mistake
def target_forgotten(X: Array, y: Array, w: Array) -> Array:
    """The targets `y` are not used: subtract them from the predictions first."""
    return X.T @ (X @ w) / len(y)


@gradient.mistake
def divided_by_weights(X: Array, y: Array, w: Array) -> Array:
    """You divide by the number of weights; the mean is over the examples, `len(y)`."""
    return X.T @ (X @ w - y) / len(w)
