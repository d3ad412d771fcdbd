"""Task 3: a "stochastic" loop that draws batches and never uses them, to mend."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .._task import Case, Task
from ._batch_gradient import batch_gradient_reference
from ._epoch_batches import epoch_batches_reference
from ._problem import Array, Rows, problem


def descend_in_batches_reference(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """Every point that mini-batch descent visits, the start included."""
    path = [w0]
    for order in orders:
        for batch in epoch_batches_reference(order, batch_size):
            w = path[-1]
            path.append(w - lr * batch_gradient_reference(X, y, w, batch))
    return np.array(path)


def _training_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, batch_size, epochs, label in (
        (5, 2, 2, 2, "5 examples by 2, 2 epochs"),
        (6, 2, 3, 2, "batches that come out even"),
        (12, 1, 5, 3, "one weight"),
        (30, 4, 8, 25, "25 epochs"),
        (7, 3, 1, 3, "one example at a time"),
        (8, 2, 8, 4, "all examples in one batch"),
        (4, 2, 6, 2, "fewer examples than a batch holds"),
        (4, 7, 3, 2, "more weights than examples"),
        (9, 2, 4, 1, "a single epoch"),
        (9, 2, 4, 0, "no epoch at all"),
    ):
        X, y = problem(rng, n, d)
        stable = float(1 / (X**2).sum(axis=1).max())  # for every batch
        orders = np.array([rng.permutation(n) for _ in range(epochs)], dtype=np.int64)
        inputs = {"X": X, "y": y, "w0": rng.normal(size=d), "lr": 0.7 * stable}
        orders = orders.reshape(epochs, n)
        yield Case(label, {**inputs, "batch_size": batch_size, "orders": orders})
    yield Case(
        "step size 0", {**inputs, "lr": 0.0, "batch_size": 4, "orders": orders[:1]}
    )


def _path(_: Mapping[str, Any], value: Any) -> tuple[Any, Any]:
    return value[:, 0], value[:, 1]


descend_in_batches = Task(
    "descend_in_batches",
    kind="repair",
    points=2,
    section="02 · What goes wrong",
    reference=descend_in_batches_reference,
    draw=_training_cases,
    forbid=("torch.optim", "mlopt_edu.optim", "torch.utils.data"),
    picture=_path,
    axes=("w[0]", "w[1]"),
    hints=(
        "Run it with the same data and two different `orders`. Do the paths differ?",
        "There are two faults. One: which rows the gradient is taken over. Two: how "
        "many batches an epoch of 7 examples by 3 must have.",
        "Compute the gradient from `X_batch` and `y_batch`, as a mean over the batch. "
        "Let the loop go over `epoch_batches(order, batch_size)`, or round up.",
    ),
)


@descend_in_batches.mistake
def as_given(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """Both faults of the given program are still in it.

    Which rows does the gradient see? How many batches does an epoch have?
    """
    w, path = w0, [w0]
    for _ in orders:
        for _ in range(len(y) // batch_size):
            w = w - lr * X.T @ (X @ w - y) / len(y)
            path.append(w)
    return np.array(path)


@descend_in_batches.mistake
def batch_never_used(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """The batch is drawn and never used: each step takes the gradient over all rows.

    The loss falls all the same, which is why nobody notices; each step just costs as
    much as a whole epoch.
    """
    w, path = w0, [w0]
    for order in orders:
        for _ in epoch_batches_reference(order, batch_size):
            w = w - lr * X.T @ (X @ w - y) / len(y)
            path.append(w)
    return np.array(path)


def _walk(
    X: Array, y: Array, w0: Array, lr: float, batches: list[Rows], divisor: int | None
) -> Array:
    """Descend along given batches, dividing each sum by `divisor` or its length."""
    w, path = w0, [w0]
    for batch in batches:
        total = X[batch].T @ (X[batch] @ w - y[batch])
        w = w - lr * total / (divisor or len(batch))
        path.append(w)
    return np.array(path)


def _batches(orders: Rows, batch_size: int) -> list[Rows]:
    return [b for order in orders for b in epoch_batches_reference(order, batch_size)]


@descend_in_batches.mistake
def last_batch_dropped(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """The batches are used now, but the last one of an epoch is dropped if not full.

    `n // batch_size` rounds down. With few examples whole classes may never be seen.
    """
    full = [b for b in _batches(orders, batch_size) if len(b) == batch_size]
    return _walk(X, y, w0, lr, full, None)


@descend_in_batches.mistake
def divided_by_batch_size(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """The last batch may be shorter: divide by *its* length, not by `batch_size`."""
    return _walk(X, y, w0, lr, _batches(orders, batch_size), batch_size)


@descend_in_batches.mistake
def divided_by_all(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """You divide the batch's sum by n, which is still the rule for all rows.

    The mean is over the batch: divide by `len(batch)`.
    """
    return _walk(X, y, w0, lr, _batches(orders, batch_size), len(y))


@descend_in_batches.mistake
def sum_over_the_batch(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """You step along the *sum* over the batch; take the mean."""
    return _walk(X, y, w0, lr, _batches(orders, batch_size), 1)


@descend_in_batches.mistake
def divided_by_all_and_dropped(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """The batch is used now, but its sum is still divided by n.

    And there is one more fault: count the batches of an epoch of 7 examples by 3.
    """
    full = [b for b in _batches(orders, batch_size) if len(b) == batch_size]
    return _walk(X, y, w0, lr, full, len(y))


@descend_in_batches.mistake
def first_order_repeated(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """Every epoch uses the order of the first one; each has its own row of `orders`."""
    repeated = np.tile(orders[:1], (len(orders), 1))
    return _walk(X, y, w0, lr, _batches(repeated, batch_size), None)


@descend_in_batches.mistake
def order_ignored(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """You cut the rows as they lie, and never look into `orders`: no shuffling."""
    lying = np.tile(np.arange(len(y)), (len(orders), 1))
    return _walk(X, y, w0, lr, _batches(lying, batch_size), None)


@descend_in_batches.mistake
def starts_again_each_epoch(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """Each epoch starts from `w0` again; go on from where the last one ended."""
    epochs = [_walk(X, y, w0, lr, _batches(o[None], batch_size), None) for o in orders]
    return np.vstack([w0[None], *(path[1:] for path in epochs)])


@descend_in_batches.mistake
def stale_within_an_epoch(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """All gradients of an epoch are taken at the point where the epoch began.

    Take each at the point where you are now.
    """
    w, path = w0, [w0]
    for order in orders:
        begin = w
        for batch in epoch_batches_reference(order, batch_size):
            w = w - lr * batch_gradient_reference(X, y, begin, batch)
            path.append(w)
    return np.array(path)


@descend_in_batches.mistake
def one_point_an_epoch(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """You keep one point an epoch; keep one after every *step*."""
    path = descend_in_batches_reference(X, y, w0, lr, batch_size, orders)
    return path[:: -(-len(y) // batch_size)]


@descend_in_batches.mistake
def one_batch_an_epoch(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """You take one step an epoch; an epoch has a step for each of its batches.

    Is the step, or the return, indented as far as it should be?
    """
    first = [order[:batch_size] for order in orders]
    return _walk(X, y, w0, lr, first, None)


@descend_in_batches.mistake
def climbs(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """You climb: subtract `lr` times the gradient, prediction minus target."""
    return _walk(X, y, w0, -lr, _batches(orders, batch_size), None)


@descend_in_batches.mistake
def empty_batch_at_the_end(
    X: Array, y: Array, w0: Array, lr: float, batch_size: int, orders: Rows
) -> Array:
    """When the batches come out even, there is an empty one at the end of each epoch.

    The mean over no rows is nan. Round up instead of adding 1 to what is rounded down.
    """
    starts = range(0, len(y) + 1, batch_size)
    batches = [order[k : k + batch_size] for order in orders for k in starts]
    return _walk(X, y, w0, lr, batches, None)
