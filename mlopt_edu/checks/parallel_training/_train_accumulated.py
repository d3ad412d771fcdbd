"""Task 5: one step for several micro-batches, whatever their size and number."""

from collections.abc import Callable, Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, gradient

MicroBatches = list[tuple[Array, Array]]


def train_accumulated_reference(
    micro_batches: MicroBatches, w: Array, lr: float, every: int
) -> Array:
    """One pass: a step after `every` micro-batches, and one for those left over."""
    for start in range(0, len(micro_batches), every):
        group = micro_batches[start : start + every]
        rows = sum(len(y) for _, y in group)
        w = w - lr * sum(X.T @ (X @ w - y) for X, y in group) / rows
    return w


def _passes(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = [
        (np.array([[1.0], [2.0]]), np.array([1.0, 0.0])),
        (np.array([[3.0]]), np.array([-1.0])),
    ]
    inputs = {"micro_batches": by_hand, "w": np.array([0.5])}
    yield Case("two micro-batches, one step", {**inputs, "lr": 0.1, "every": 2})
    for rows, every, columns, label in (
        ([4, 4, 4, 4], 2, 3, "all are equal"),
        ([4, 4, 4, 1], 2, 3, "a last one that is smaller"),
        ([5, 5, 5, 5, 2], 3, 2, "a last group that is smaller"),
        ([6, 6, 3], 1, 2, "a step for each"),
        ([3, 3, 2], 8, 4, "fewer than a group"),
        ([2, 7, 1, 4, 3, 1, 9], 3, 3, "all sizes"),
    ):
        micro_batches = [
            (rng.normal(size=(n, columns)), rng.normal(size=n) + 1) for n in rows
        ]
        inputs = {"micro_batches": micro_batches, "w": rng.normal(size=columns)}
        yield Case(label, {**inputs, "lr": 0.1, "every": every})


train_accumulated = Task(
    "train_accumulated",
    points=2,
    section="14 · Write it small",
    reference=train_accumulated_reference,
    draw=_passes,
    forbid=LIBRARIES,
    hints=(
        "The step should be the one that you would take on the whole group as one "
        "batch. How many rows would that have?",
        "Add up the *sums* over rows, `X.T @ (X @ w - y)`, and the rows. Divide when "
        "the group is full, step, and start again from 0.",
        "`group = micro_batches[start : start + every]`, for `start` in steps of "
        "`every`: the last slice is as long as it is. Divide by its rows.",
    ),
)


def _stepped(
    micro_batches: MicroBatches,
    w: Array,
    every: int,
    step: Callable[[list[Array], list[int]], Array],
) -> Array:
    """Descend by what `step` makes of a group's mean gradients and rows."""
    for start in range(0, len(micro_batches), every):
        group = micro_batches[start : start + every]
        grads = [gradient(X, y, w) for X, y in group]
        w = w - step(grads, [len(y) for _, y in group])
    return w


@train_accumulated.mistake
def mean_of_means(
    micro_batches: MicroBatches, w: Array, lr: float, every: int
) -> Array:
    """You average the means of the micro-batches: rows of a small one count for more.

    Add up sums over rows, and divide by the rows of the group.
    """
    return _stepped(
        micro_batches,
        w,
        every,
        lambda grads, _: np.asarray(lr * np.mean(grads, axis=0)),
    )


@train_accumulated.mistake
def divided_by_every(
    micro_batches: MicroBatches, w: Array, lr: float, every: int
) -> Array:
    """You divide the summed means by `every`, also where fewer are left.

    The last step is too short then, and small micro-batches count for too much.
    """
    return _stepped(
        micro_batches, w, every, lambda grads, _: lr * np.sum(grads, axis=0) / every
    )


@train_accumulated.mistake
def means_summed(micro_batches: MicroBatches, w: Array, lr: float, every: int) -> Array:
    """You add up means and do not divide: `every` times too long a step.

    This is what `loss.backward()` does to `grad` if the loss is not scaled first.
    """
    return _stepped(
        micro_batches, w, every, lambda grads, _: np.asarray(lr * np.sum(grads, axis=0))
    )


@train_accumulated.mistake
def sums_not_divided(
    micro_batches: MicroBatches, w: Array, lr: float, every: int
) -> Array:
    """You step by the sum over all rows; divide by how many rows the group has."""
    return _stepped(
        micro_batches,
        w,
        every,
        lambda grads, rows: lr * np.asarray(rows) @ np.asarray(grads),
    )


@train_accumulated.mistake
def rest_dropped(micro_batches: MicroBatches, w: Array, lr: float, every: int) -> Array:
    """The micro-batches left over at the end get no step; take one for them too."""
    full = len(micro_batches) // every * every
    return train_accumulated_reference(micro_batches[:full], w, lr, every)


@train_accumulated.mistake
def never_reset(micro_batches: MicroBatches, w: Array, lr: float, every: int) -> Array:
    """The sums go on into the next group; after a step start again from 0."""
    total, rows = np.zeros_like(w), 0
    for start in range(0, len(micro_batches), every):
        for X, y in micro_batches[start : start + every]:
            total, rows = total + X.T @ (X @ w - y), rows + len(y)
        w = w - lr * total / rows
    return w


@train_accumulated.mistake
def rows_reset_too_late(
    micro_batches: MicroBatches, w: Array, lr: float, every: int
) -> Array:
    """You divide by all rows since the start; count those of the group alone."""
    seen = 0
    for start in range(0, len(micro_batches), every):
        group = micro_batches[start : start + every]
        seen += sum(len(y) for _, y in group)
        w = w - lr * sum(X.T @ (X @ w - y) for X, y in group) / seen
    return w


@train_accumulated.mistake
def step_for_each(
    micro_batches: MicroBatches, w: Array, lr: float, every: int
) -> Array:
    """You take a step for each micro-batch; take one for `every` of them."""
    return train_accumulated_reference(micro_batches, w, lr, 1)


@train_accumulated.mistake
def last_one_alone(
    micro_batches: MicroBatches, w: Array, lr: float, every: int
) -> Array:
    """You step by the last micro-batch of each group; add the others up."""
    return _stepped(micro_batches, w, every, lambda grads, _: lr * grads[-1])


@train_accumulated.mistake
def one_step_for_all(
    micro_batches: MicroBatches, w: Array, lr: float, every: int
) -> Array:
    """You take one step for everything; take one after `every` micro-batches."""
    return train_accumulated_reference(micro_batches, w, lr, len(micro_batches))


@train_accumulated.mistake
def moved_inside_the_group(
    micro_batches: MicroBatches, w: Array, lr: float, every: int
) -> Array:
    """You move the weights inside a group: its next gradient is that of other weights.

    All gradients of a group are taken at the same weights; the step comes after them.
    """
    for start in range(0, len(micro_batches), every):
        group = micro_batches[start : start + every]
        rows = sum(len(y) for _, y in group)
        for X, y in group:
            w = w - lr * X.T @ (X @ w - y) / rows
    return w


@train_accumulated.mistake
def step_after_the_first(
    micro_batches: MicroBatches, w: Array, lr: float, every: int
) -> Array:
    """Your first step comes after one micro-batch: `i % every == 0` holds for i = 0.

    Every later group is shifted by that.
    """
    w = train_accumulated_reference(micro_batches[:1], w, lr, every)
    return train_accumulated_reference(micro_batches[1:], w, lr, every)
