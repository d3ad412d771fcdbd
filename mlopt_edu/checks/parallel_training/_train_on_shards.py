"""Task 1: a data-parallel loop that subtracts the mean loss, to mend."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, equal_shards, gradient


def train_on_shards_reference(
    X_shards: list[Array], y_shards: list[Array], w: Array, lr: float, steps: int
) -> Array:
    """Descend along the mean of the ranks' gradients."""
    for _ in range(steps):
        shards = zip(X_shards, y_shards, strict=True)
        grads = [X.T @ (X @ w - y) / len(y) for X, y in shards]
        w = w - lr * np.mean(grads, axis=0)
    return w


def _runs(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = {
        "X_shards": [np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]])],
        "y_shards": [np.array([3.0]), np.array([-1.0])],
        "w": np.array([1.0, 0.5]),
    }
    yield Case("two ranks, one row each", {**by_hand, "lr": 0.1, "steps": 1})
    for ranks, rows, columns, lr, steps, label in (
        (2, 4, 3, 0.1, 1, "one step"),
        (4, 5, 3, 0.05, 20, "four ranks"),
        (3, 6, 2, 0.02, 200, "many steps"),
        (1, 7, 3, 0.1, 5, "one rank"),
        (8, 1, 4, 0.1, 7, "eight ranks, one row each"),
        (3, 4, 2, 0.1, 0, "no step"),
    ):
        X, y = equal_shards(rng, ranks, rows, columns)
        inputs = {"X_shards": X, "y_shards": y, "w": rng.normal(size=columns)}
        yield Case(label, {**inputs, "lr": lr, "steps": steps})


train_on_shards = Task(
    "train_on_shards",
    kind="repair",
    points=2,
    section="14 · What goes wrong",
    reference=train_on_shards_reference,
    draw=_runs,
    forbid=LIBRARIES,
    hints=(
        "Run it with one rank and one step. Do the entries of `w` move by different "
        "amounts, as they should?",
        "A loss says how bad `w` is. In which direction it gets better, only its "
        "gradient says. What must each rank compute, and what must be averaged?",
        "Each rank: `X.T @ (X @ w - y) / len(y)`. Then subtract `lr` times "
        "`np.mean(grads, axis=0)`, the mean over ranks and not over weights.",
    ),
)


def _grads(X_shards: list[Array], y_shards: list[Array], w: Array) -> list[Array]:
    pairs = zip(X_shards, y_shards, strict=True)
    return [gradient(X, y, w) for X, y in pairs]


@train_on_shards.mistake
def as_given(
    X_shards: list[Array], y_shards: list[Array], w: Array, lr: float, steps: int
) -> Array:
    """You still subtract the mean *loss* from the weights: one number from all.

    A loss has no direction. Average the ranks' gradients, and subtract that.
    """
    for _ in range(steps):
        pairs = zip(X_shards, y_shards, strict=True)
        w = w - lr * np.mean([np.mean((X @ w - y) ** 2) / 2 for X, y in pairs])
    return w


@train_on_shards.mistake
def losses_averaged(
    X_shards: list[Array], y_shards: list[Array], w: Array, lr: float, steps: int
) -> Array:
    """You follow the gradient of one rank; at most the losses are averaged.

    A mean of losses changes no weight. The *gradients* must be averaged in each step,
    or every rank trains a model of its own.
    """
    return train_on_shards_reference(X_shards[:1], y_shards[:1], w, lr, steps)


@train_on_shards.mistake
def every_rank_alone(
    X_shards: list[Array], y_shards: list[Array], w: Array, lr: float, steps: int
) -> Array:
    """You average the weights once, at the end: each rank trained alone until then.

    Average the gradients in each step.
    """
    pairs = zip(X_shards, y_shards, strict=True)
    alone = [train_on_shards_reference([X], [y], w, lr, steps) for X, y in pairs]
    return np.asarray(np.mean(alone, axis=0))


@train_on_shards.mistake
def gradients_summed(
    X_shards: list[Array], y_shards: list[Array], w: Array, lr: float, steps: int
) -> Array:
    """You sum the gradients of the ranks; divide by how many ranks there are.

    Otherwise the step grows with the number of ranks.
    """
    return train_on_shards_reference(X_shards, y_shards, w, lr * len(X_shards), steps)


@train_on_shards.mistake
def mean_over_weights(
    X_shards: list[Array], y_shards: list[Array], w: Array, lr: float, steps: int
) -> Array:
    """`np.mean` without `axis=0` averages over the weights too: all move alike."""
    for _ in range(steps):
        w = w - lr * np.mean(_grads(X_shards, y_shards, w))
    return w


@train_on_shards.mistake
def sum_over_rows(
    X_shards: list[Array], y_shards: list[Array], w: Array, lr: float, steps: int
) -> Array:
    """These are gradients of the *summed* loss; divide each by the rows of its rank."""
    return train_on_shards_reference(
        X_shards, y_shards, w, lr * len(y_shards[0]), steps
    )


@train_on_shards.mistake
def not_halved(
    X_shards: list[Array], y_shards: list[Array], w: Array, lr: float, steps: int
) -> Array:
    """Your step is twice as long: the loss is halved, so the 2 of the square goes."""
    return train_on_shards_reference(X_shards, y_shards, w, 2 * lr, steps)


@train_on_shards.mistake
def uphill(
    X_shards: list[Array], y_shards: list[Array], w: Array, lr: float, steps: int
) -> Array:
    """You go uphill: subtract the gradient, or turn the sign of the residual."""
    return train_on_shards_reference(X_shards, y_shards, w, -lr, steps)


@train_on_shards.mistake
def gradient_of_the_start(
    X_shards: list[Array], y_shards: list[Array], w: Array, lr: float, steps: int
) -> Array:
    """Your gradients are those of the first weights; compute them anew in each step."""
    mean = np.mean(_grads(X_shards, y_shards, w), axis=0)
    return np.asarray(w - steps * lr * mean)


@train_on_shards.mistake
def one_step_alone(
    X_shards: list[Array], y_shards: list[Array], w: Array, lr: float, steps: int
) -> Array:
    """You return after the first step: the `return` stands inside the loop."""
    return train_on_shards_reference(X_shards, y_shards, w, lr, min(steps, 1))


@train_on_shards.mistake
def step_after_each_shard(
    X_shards: list[Array], y_shards: list[Array], w: Array, lr: float, steps: int
) -> Array:
    """You take a step after each shard: the next rank starts from other weights.

    All ranks compute at the same weights. Average first, then take one step.
    """
    for _ in range(steps):
        for X, y in zip(X_shards, y_shards, strict=True):
            w = w - lr * gradient(X, y, w)
    return w


@train_on_shards.mistake
def last_rank_alone(
    X_shards: list[Array], y_shards: list[Array], w: Array, lr: float, steps: int
) -> Array:
    """You follow the gradient of the last rank; each rank overwrites the one before.

    Collect the gradients in the loop over ranks, and average them behind it.
    """
    return train_on_shards_reference(X_shards[-1:], y_shards[-1:], w, lr, steps)
