"""Task 4: a training loop whose Adam starts wrong, to mend."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .._task import Case, Task
from ._run import Array


def train_with_adam_reference(
    X: Array, y: Array, batch_size: int, epochs: int, lr: float
) -> Array:
    """Train a linear model by Adam; return the loss before and after each epoch."""
    beta1, beta2, eps = 0.9, 0.999, 1e-8
    w = np.zeros(X.shape[1])
    exp_avg, exp_avg_sq = np.zeros(w.shape), np.zeros(w.shape)
    step = 0
    path = [w]
    for _ in range(epochs):
        for start in range(0, len(y), batch_size):
            rows = slice(start, start + batch_size)
            grad = 2 * (X[rows] @ w - y[rows]) @ X[rows] / len(y[rows])
            step = step + 1
            exp_avg = beta1 * exp_avg + (1 - beta1) * grad
            exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * grad**2
            mean = exp_avg / (1 - beta1**step)
            mean_sq = exp_avg_sq / (1 - beta2**step)
            w = w - lr * mean / (np.sqrt(mean_sq) + eps)
        path.append(w)
    return np.array([np.mean((X @ w - y) ** 2) for w in path])


def _training_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, batch_size, epochs, lr, scale, label in (
        (4, 1, 2, 3, 0.1, 1.0, "4 examples"),
        (50, 3, 8, 5, 0.02, 1.0, "a last batch of 2"),
        (30, 5, 10, 25, 0.05, 1.0, "75 steps"),
        (24, 4, 24, 15, 0.1, 1.0, "one batch an epoch"),
        (9, 2, 1, 4, 0.05, 1.0, "batches of one"),
        (10, 3, 64, 5, 0.3, 1.0, "a batch size above n"),
        (12, 3, 4, 6, 0.1, 1e-4, "tiny gradients, where eps counts"),
        (1, 3, 1, 1, 0.1, 1.0, "a single step"),
        (8, 2, 4, 0, 0.1, 1.0, "no epoch"),
        (8, 2, 4, 3, 0.0, 1.0, "step size 0"),
    ):
        X = scale * rng.normal(size=(n, d)) * rng.uniform(0.1, 2, size=d)
        y = X @ rng.normal(size=d) + scale * rng.normal(size=n)
        inputs = {"X": X, "y": y, "batch_size": batch_size, "epochs": epochs, "lr": lr}
        yield Case(label, inputs)


def _losses(_: Mapping[str, Any], value: Any) -> tuple[Any, Any]:
    return np.arange(len(value)), value


train_with_adam = Task(
    "train_with_adam",
    kind="repair",
    points=2,
    section="03 · What goes wrong",
    reference=train_with_adam_reference,
    draw=_training_cases,
    forbid=("torch.optim", "mlopt_edu.optim"),
    picture=_losses,
    axes=("epoch", "loss"),
    hints=(
        "Print the size of the first ten steps, entry by entry. How large should they "
        "be, for this `lr`?",
        "Both averages begin at zero and are too small at first. Your `adam` of task "
        "3 mends that; this loop has no step number yet.",
        "Set `step = 0` before *both* loops and add 1 for each batch. Divide the "
        "averages by `1 - beta1**step` and `1 - beta2**step`, under new names.",
    ),
)


def _trained(
    X: Array,
    y: Array,
    batch_size: int,
    epochs: int,
    lr: float,
    direction: Callable[[Array, Array, int], Array],
) -> Array:
    """Train with a wrong `direction` of both averages and the step number.

    It may change the averages in place, as some wrong programs do.
    """
    w = np.zeros(X.shape[1])
    m, v = np.zeros(w.shape), np.zeros(w.shape)
    step = 0
    losses = [np.mean((X @ w - y) ** 2)]
    for _ in range(epochs):
        for start in range(0, len(y), batch_size):
            rows = slice(start, start + batch_size)
            grad = 2 * (X[rows] @ w - y[rows]) @ X[rows] / len(y[rows])
            step += 1
            m = 0.9 * m + 0.1 * grad
            v = 0.999 * v + 0.001 * grad**2
            w = w - lr * direction(m, v, step)
        losses.append(np.mean((X @ w - y) ** 2))
    return np.array(losses)


def _direction(m: Array, v: Array, step: int) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = m / np.float64(1 - 0.9**step)
        mean_sq = v / np.float64(1 - 0.999**step)
        return np.asarray(mean / (np.sqrt(mean_sq) + 1e-8))


@train_with_adam.mistake
def as_given(X: Array, y: Array, batch_size: int, epochs: int, lr: float) -> Array:
    """The fault of the given program is still in it: its first steps are too long.

    Both averages begin at zero. Which of them is further from its true size, and
    what does that do to their quotient?
    """
    return _trained(
        X, y, batch_size, epochs, lr, lambda m, v, step: m / (np.sqrt(v) + 1e-8)
    )


@train_with_adam.mistake
def only_the_first_corrected(
    X: Array, y: Array, batch_size: int, epochs: int, lr: float
) -> Array:
    """You correct the average of the gradients only, so the steps get even longer.

    The average of the squares starts at zero too.
    """

    def direction(m: Array, v: Array, step: int) -> Array:
        return np.asarray(m / (1 - 0.9**step) / (np.sqrt(v) + 1e-8))

    return _trained(X, y, batch_size, epochs, lr, direction)


@train_with_adam.mistake
def only_the_second_corrected(
    X: Array, y: Array, batch_size: int, epochs: int, lr: float
) -> Array:
    """You correct the average of the squares only; now the first steps are too short.

    The average of the gradients starts at zero too.
    """

    def direction(m: Array, v: Array, step: int) -> Array:
        return np.asarray(m / (np.sqrt(v / (1 - 0.999**step)) + 1e-8))

    return _trained(X, y, batch_size, epochs, lr, direction)


@train_with_adam.mistake
def count_restarts(
    X: Array, y: Array, batch_size: int, epochs: int, lr: float
) -> Array:
    """Your step number starts again in every epoch, but the averages do not.

    So they are corrected as if they were young. Count the steps across all epochs.
    """
    batches = -(-len(y) // batch_size)

    def direction(m: Array, v: Array, step: int) -> Array:
        return _direction(m, v, (step - 1) % batches + 1)

    return _trained(X, y, batch_size, epochs, lr, direction)


@train_with_adam.mistake
def epochs_counted(
    X: Array, y: Array, batch_size: int, epochs: int, lr: float
) -> Array:
    """You count epochs; the averages change with every *batch*, so count batches."""
    batches = -(-len(y) // batch_size)

    def direction(m: Array, v: Array, step: int) -> Array:
        return _direction(m, v, (step - 1) // batches + 1)

    return _trained(X, y, batch_size, epochs, lr, direction)


@train_with_adam.mistake
def steps_from_zero(
    X: Array, y: Array, batch_size: int, epochs: int, lr: float
) -> Array:
    """Your first step is step 0, where `1 - beta**0` is 0: you divide by zero.

    Count from 1.
    """
    return _trained(
        X, y, batch_size, epochs, lr, lambda m, v, step: _direction(m, v, step - 1)
    )


@train_with_adam.mistake
def one_step_ahead(
    X: Array, y: Array, batch_size: int, epochs: int, lr: float
) -> Array:
    """The correction is one step ahead: in the first step the power is 1, not 2."""
    return _trained(
        X, y, batch_size, epochs, lr, lambda m, v, step: _direction(m, v, step + 1)
    )


@train_with_adam.mistake
def correction_kept(
    X: Array, y: Array, batch_size: int, epochs: int, lr: float
) -> Array:
    """You keep the corrected averages and mix the next gradient into them.

    So they are corrected again and again. Give the corrected ones names of their own.
    """

    def direction(m: Array, v: Array, step: int) -> Array:
        m /= 1 - 0.9**step
        v /= 1 - 0.999**step
        return np.asarray(m / (np.sqrt(v) + 1e-8))

    return _trained(X, y, batch_size, epochs, lr, direction)


@train_with_adam.mistake
def starts_at_the_first_gradient(
    X: Array, y: Array, batch_size: int, epochs: int, lr: float
) -> Array:
    """You let the averages begin at the first gradient and its square.

    That tames the first step, but the first batch then weighs far more than its
    share. Begin with zeros and divide by `1 - beta**t`.
    """

    def direction(m: Array, v: Array, step: int) -> Array:
        if step == 1:
            m /= 0.1
            v /= 0.001
        return np.asarray(m / (np.sqrt(v) + 1e-8))

    return _trained(X, y, batch_size, epochs, lr, direction)
