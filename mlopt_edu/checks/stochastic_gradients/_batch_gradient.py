"""Task 2: the gradient over the rows of one batch."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import Array, Rows, problem


def batch_gradient_reference(X: Array, y: Array, w: Array, batch: Rows) -> Array:
    """Mean of the gradients of the examples in `batch`."""
    residual = X[batch] @ w - y[batch]
    return X[batch].T @ residual / len(batch)


def _batch_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, batch, label in (
        (4, 2, [2, 0], "2 of 4 examples"),
        (20, 1, [3, 17, 5], "one weight"),
        (12, 4, [7], "a batch of one"),
        (9, 3, [8, 1, 8, 8, 4], "an example that comes up three times"),
        (6, 9, [5, 2, 4], "more weights than examples"),
    ):
        X, y = problem(rng, n, d)
        inputs = {"X": X, "y": y, "w": rng.normal(size=d), "batch": np.array(batch)}
        yield Case(label, inputs)
    X, y = problem(rng, 200, 5)
    inputs = {"X": X, "y": y, "w": np.zeros(5), "batch": rng.permutation(200)[:32]}
    yield Case("zero weights, 32 of 200 examples", inputs)
    X, y = problem(rng, 15, 3)
    inputs = {"X": np.asfortranarray(X), "y": y, "w": rng.normal(size=3)}
    yield Case("all examples", {**inputs, "batch": rng.permutation(15)})


batch_gradient = Task(
    "batch_gradient",
    points=2,
    section="02 · Write it small",
    reference=batch_gradient_reference,
    draw=_batch_cases,
    hints=(
        "Forget the other rows: which X and which y does the batch have, and what is "
        "the gradient on these alone?",
        "`X[batch]` has one row for each example of the batch, `y[batch]` their "
        "targets. Use them wherever the full gradient uses `X` and `y`.",
        "Transpose of `X[batch]` times the batch's residual, divided by `len(batch)`.",
    ),
)


@batch_gradient.mistake
def batch_never_used(X: Array, y: Array, w: Array, batch: Rows) -> Array:
    """This is the gradient over *all* examples: `batch` is drawn and never used.

    Everything runs, and nothing is stochastic. Take the rows `X[batch]`, `y[batch]`.
    """
    return X.T @ (X @ w - y) / len(y)


@batch_gradient.mistake
def sum_over_the_batch(X: Array, y: Array, w: Array, batch: Rows) -> Array:
    """You sum over the batch; take the *mean*: divide by `len(batch)`.

    With a sum the step grows with the batch size, and lr must be found anew for each.
    """
    return X[batch].T @ (X[batch] @ w - y[batch])


@batch_gradient.mistake
def divided_by_all(X: Array, y: Array, w: Array, batch: Rows) -> Array:
    """You divide by n, the number of *all* examples, which makes small batches timid.

    Divide by `len(batch)`: then the batch's gradient is the full one on average.
    """
    return X[batch].T @ (X[batch] @ w - y[batch]) / len(y)


@batch_gradient.mistake
def first_rows(X: Array, y: Array, w: Array, batch: Rows) -> Array:
    """You take the first `len(batch)` rows, whatever the batch says: `X[batch]`."""
    X, y = X[: len(batch)], y[: len(batch)]
    return X.T @ (X @ w - y) / len(batch)


@batch_gradient.mistake
def targets_of_the_first_rows(X: Array, y: Array, w: Array, batch: Rows) -> Array:
    """The features are those of the batch, but the targets are not: use `y[batch]`."""
    return X[batch].T @ (X[batch] @ w - y[: len(batch)]) / len(batch)


@batch_gradient.mistake
def repeated_counted_once(X: Array, y: Array, w: Array, batch: Rows) -> Array:
    """An example that comes up twice in the batch must count twice.

    A set, `np.unique` or a mask of True and False loses the second time.
    """
    return batch_gradient_reference(X, y, w, np.unique(batch))


@batch_gradient.mistake
def repeated_lost_from_the_sum_only(X: Array, y: Array, w: Array, batch: Rows) -> Array:
    """An example that comes up twice in the batch must count twice in the sum too.

    A set or a mask of True and False loses the second time.
    """
    once = np.unique(batch)
    return X[once].T @ (X[once] @ w - y[once]) / len(batch)


@batch_gradient.mistake
def residual_reversed(X: Array, y: Array, w: Array, batch: Rows) -> Array:
    """The sign is wrong: the residual is prediction minus target."""
    return X[batch].T @ (y[batch] - X[batch] @ w) / len(batch)


@batch_gradient.mistake
def twice_the_gradient(X: Array, y: Array, w: Array, batch: Rows) -> Array:
    """It is twice too large: the 2 of the square cancels the ½ of the loss."""
    return 2 * batch_gradient_reference(X, y, w, batch)


@batch_gradient.mistake
def half_kept(X: Array, y: Array, w: Array, batch: Rows) -> Array:
    """It is half of the gradient: you kept the ½, but the square's 2 cancels it."""
    return batch_gradient_reference(X, y, w, batch) / 2


@batch_gradient.mistake
def target_forgotten(X: Array, y: Array, w: Array, batch: Rows) -> Array:
    """The targets are not used: subtract `y[batch]` from the predictions first."""
    return X[batch].T @ (X[batch] @ w) / len(batch)


@batch_gradient.mistake
def one_gradient_for_each_example(X: Array, y: Array, w: Array, batch: Rows) -> Array:
    """These are the gradients of the single examples; return their mean."""
    return X[batch] * (X[batch] @ w - y[batch])[:, None]


@batch_gradient.mistake
def divided_by_weights(X: Array, y: Array, w: Array, batch: Rows) -> Array:
    """You divide by the number of weights; the mean is over the batch's examples."""
    return X[batch].T @ (X[batch] @ w - y[batch]) / len(w)
