"""Task 8: a loop that asks its schedule once an epoch, to mend."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task
from ._cosine_with_warmup import cosine_with_warmup_reference

Array = NDArray[np.float64]


def scheduled_training_reference(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    epochs: int,
    batch_size: int,
    warmup_steps: int,
) -> tuple[Array, Array]:
    """Train batch by batch; the schedule moves on with every batch."""
    total_steps = epochs * int(np.ceil(len(X) / batch_size))
    w, lrs = w0, np.zeros(total_steps)
    for step in range(total_steps):
        batch = step % (total_steps // epochs)
        rows = slice(batch * batch_size, (batch + 1) * batch_size)
        slope = X[rows].T @ (X[rows] @ w - y[rows]) / len(y[rows])
        factor = cosine_with_warmup_reference(step, warmup_steps, total_steps, 0.1)
        lrs[step] = lr * factor
        w = w - lrs[step] * slope
    return w, lrs


def _loops(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, epochs, batch_size, warmup_steps, label in (
        (20, 2, 3, 5, 3, "four batches an epoch"),
        (23, 3, 6, 5, 2, "a last batch that is smaller"),
        (31, 2, 9, 7, 3, "nine epochs"),
        (12, 1, 4, 1, 9, "batches of one"),
        (8, 2, 5, 11, 2, "one batch an epoch"),
        (25, 2, 4, 6, 0, "no warm-up"),
        (10, 2, 2, 4, 50, "a warm-up longer than the run"),
        (300, 2, 1, 4, 10, "one epoch"),
        (9, 2, 0, 4, 1, "no epoch at all"),
    ):
        X = rng.normal(size=(n, d))
        y = X @ rng.normal(size=d) + 0.3 * rng.normal(size=n)
        limits = {"epochs": epochs, "batch_size": batch_size}
        inputs = {"X": X, "y": y, "w0": rng.normal(size=d), "lr": 0.1, **limits}
        yield Case(label, {**inputs, "warmup_steps": warmup_steps})


scheduled_training = Task(
    "scheduled_training",
    kind="repair",
    points=2,
    section="04 · What goes wrong",
    reference=scheduled_training_reference,
    draw=_loops,
    forbid=("torch.optim", "mlopt_edu.schedules"),
    hints=(
        "Print the returned step sizes for 20 examples, batches of 5 and 3 epochs. How "
        "many different ones are there, and how many should there be?",
        "`warmup_steps` and `total_steps` count batches: what must the schedule count? "
        "And how many batches has an epoch if the last one is smaller?",
        "Keep a counter that grows by 1 with every batch, ask the schedule inside the "
        "inner loop, and round the number of batches *up*.",
    ),
)


def _train(
    X: Array, y: Array, w0: Array, lrs: Iterable[float], batch_size: int
) -> tuple[Array, Array]:
    """Take one step for each of `lrs`, around the batches as often as it takes."""
    used = np.array(list(lrs), dtype=float)
    w = w0
    for step, lr in enumerate(used):
        start = step * batch_size % (_batches(X, batch_size) * batch_size)
        rows = slice(start, start + batch_size)
        w = w - lr * X[rows].T @ (X[rows] @ w - y[rows]) / len(y[rows])
    return w, used


def _batches(X: Array, batch_size: int) -> int:
    return -(-len(X) // batch_size)


def _factor(step: int, warmup_steps: int, total_steps: int) -> float:
    return cosine_with_warmup_reference(step, warmup_steps, total_steps, 0.1)


@scheduled_training.mistake
def as_given(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    epochs: int,
    batch_size: int,
    warmup_steps: int,
) -> tuple[Array, Array]:
    """Both faults of the given program are still in it.

    What does the schedule count, and what does the program give it?
    """
    total_steps = epochs * (len(X) // batch_size)
    batches = _batches(X, batch_size)
    lrs = [lr * _factor(epoch, warmup_steps, total_steps) for epoch in range(epochs)]
    return _train(X, y, w0, np.repeat(lrs, batches), batch_size)


@scheduled_training.mistake
def asked_once_an_epoch(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    epochs: int,
    batch_size: int,
    warmup_steps: int,
) -> tuple[Array, Array]:
    """The schedule still counts epochs, but its constants count steps.

    So it is hardly out of its warm-up when the run ends. Ask it for every batch.
    """
    batches = _batches(X, batch_size)
    total = epochs * batches
    lrs = [lr * _factor(epoch, warmup_steps, total) for epoch in range(epochs)]
    return _train(X, y, w0, np.repeat(lrs, batches), batch_size)


@scheduled_training.mistake
def last_batch_not_counted(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    epochs: int,
    batch_size: int,
    warmup_steps: int,
) -> tuple[Array, Array]:
    """A smaller last batch is a step too: round the number of batches *up*.

    Your schedule is at its end while there are still steps to take.
    """
    total = epochs * (len(X) // batch_size)
    steps = range(epochs * _batches(X, batch_size))
    lrs = [lr * _factor(step, warmup_steps, total) for step in steps]
    return _train(X, y, w0, lrs, batch_size)


@scheduled_training.mistake
def last_batch_dropped(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    epochs: int,
    batch_size: int,
    warmup_steps: int,
) -> tuple[Array, Array]:
    """Your epochs leave the smaller last batch out. Use all the examples."""
    batches = len(X) // batch_size
    total, rows = epochs * batches, batches * batch_size
    lrs = [lr * _factor(step, warmup_steps, total) for step in range(total)]
    return _train(X[:rows], y[:rows], w0, lrs, batch_size)


@scheduled_training.mistake
def one_batch_too_many(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    epochs: int,
    batch_size: int,
    warmup_steps: int,
) -> tuple[Array, Array]:
    """You always add 1 to the number of batches, also when they come out even.

    Round up: `-(-n // batch_size)` or `math.ceil(n / batch_size)`.
    """
    total = epochs * (len(X) // batch_size + 1)
    steps = range(epochs * _batches(X, batch_size))
    lrs = [lr * _factor(step, warmup_steps, total) for step in steps]
    return _train(X, y, w0, lrs, batch_size)


@scheduled_training.mistake
def restarts_in_every_epoch(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    epochs: int,
    batch_size: int,
    warmup_steps: int,
) -> tuple[Array, Array]:
    """Your counter starts at 0 again in every epoch, and the warm-up with it.

    Count the batches of the whole run.
    """
    batches = _batches(X, batch_size)
    total = epochs * batches
    lrs = [lr * _factor(batch, warmup_steps, total) for batch in range(batches)]
    return _train(X, y, w0, lrs * epochs, batch_size)


@scheduled_training.mistake
def whole_schedule_in_every_epoch(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    epochs: int,
    batch_size: int,
    warmup_steps: int,
) -> tuple[Array, Array]:
    """Your `total_steps` is the number of batches in *one* epoch: multiply by epochs.

    The schedule is at its floor after the first epoch.
    """
    batches = _batches(X, batch_size)
    steps = range(epochs * batches)
    lrs = [lr * _factor(step, warmup_steps, batches) for step in steps]
    return _train(X, y, w0, lrs, batch_size)


@scheduled_training.mistake
def level_within_an_epoch(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    epochs: int,
    batch_size: int,
    warmup_steps: int,
) -> tuple[Array, Array]:
    """The step number is right, but you ask only at the start of each epoch.

    Ask the schedule inside the inner loop, for every batch.
    """
    batches = _batches(X, batch_size)
    total = epochs * batches
    starts = range(0, total, batches)
    lrs = [lr * _factor(start, warmup_steps, total) for start in starts]
    return _train(X, y, w0, np.repeat(lrs, batches), batch_size)


@scheduled_training.mistake
def one_step_ahead(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    epochs: int,
    batch_size: int,
    warmup_steps: int,
) -> tuple[Array, Array]:
    """You move the counter before you use it, so the factor of step 0 is left out.

    Ask the schedule first, then take the step, then count it.
    """
    total = epochs * _batches(X, batch_size)
    lrs = [lr * _factor(step + 1, warmup_steps, total) for step in range(total)]
    return _train(X, y, w0, lrs, batch_size)


@scheduled_training.mistake
def epochs_for_steps(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    epochs: int,
    batch_size: int,
    warmup_steps: int,
) -> tuple[Array, Array]:
    """You made the schedule count epochs, but `warmup_steps` are steps.

    Leave the constants in steps, and count steps.
    """
    lrs = [lr * _factor(epoch, warmup_steps, epochs) for epoch in range(epochs)]
    return _train(X, y, w0, np.repeat(lrs, _batches(X, batch_size)), batch_size)


@scheduled_training.mistake
def factors_compound(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    epochs: int,
    batch_size: int,
    warmup_steps: int,
) -> tuple[Array, Array]:
    """You overwrite `lr`, so every factor multiplies the one before.

    A schedule gives a factor of the *base* lr: leave `lr` as it is.
    """
    total = epochs * _batches(X, batch_size)
    factors = [_factor(step, warmup_steps, total) for step in range(total)]
    return _train(X, y, w0, lr * np.cumprod(factors), batch_size)


@scheduled_training.mistake
def factors_returned(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    epochs: int,
    batch_size: int,
    warmup_steps: int,
) -> tuple[Array, Array]:
    """The walk is right, but you return factors; the step sizes are `lr` times them."""
    w, lrs = scheduled_training_reference(
        X, y, w0, lr, epochs, batch_size, warmup_steps
    )
    return w, lrs / lr
