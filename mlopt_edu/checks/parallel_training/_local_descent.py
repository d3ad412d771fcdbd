"""Task 7: local SGD: several steps alone, then one average."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, equal_shards, gradient


def local_descent_reference(
    X_shards: list[Array],
    y_shards: list[Array],
    w: Array,
    lr: float,
    every: int,
    rounds: int,
) -> Array:
    """In each round every rank takes `every` steps alone; then weights are averaged."""
    for _ in range(rounds):
        locals_ = []
        for X, y in zip(X_shards, y_shards, strict=True):
            local = w
            for _ in range(every):
                local = local - lr * X.T @ (X @ local - y) / len(y)
            locals_.append(local)
        w = np.asarray(np.mean(locals_, axis=0))
    return w


def _runs(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = {
        "X_shards": [np.array([[1.0]]), np.array([[2.0]])],
        "y_shards": [np.array([1.0]), np.array([-1.0])],
        "w": np.array([0.5]),
    }
    yield Case("two ranks, two steps", {**by_hand, "lr": 0.1, "every": 2, "rounds": 1})
    for ranks, every, rounds, label in (
        (2, 3, 1, "one round"),
        (3, 4, 5, "five rounds"),
        (4, 1, 6, "a round of one step"),
        (1, 5, 2, "one rank"),
        (5, 20, 8, "long rounds"),
        (2, 3, 0, "no round"),
    ):
        X, y = equal_shards(rng, ranks, 6, 3)
        inputs = {"X_shards": X, "y_shards": y, "w": rng.normal(size=3)}
        yield Case(label, {**inputs, "lr": 0.05, "every": every, "rounds": rounds})


local_descent = Task(
    "local_descent",
    points=1,
    section="14 · Write it small",
    reference=local_descent_reference,
    draw=_runs,
    forbid=LIBRARIES,
    hints=(
        "Three loops, one in another: over rounds, over ranks, over local steps. What "
        "does each rank start from?",
        "Every rank starts from the shared weights of the round, and moves a copy. "
        "The copies are averaged once, at the end of the round.",
        "`w = np.mean(copies, axis=0)` after the loop over ranks. Each copy takes "
        "`every` steps along `X.T @ (X @ copy - y) / len(y)`.",
    ),
)


@local_descent.mistake
def averaged_in_each_step(
    X_shards: list[Array],
    y_shards: list[Array],
    w: Array,
    lr: float,
    every: int,
    rounds: int,
) -> Array:
    """You average after every step: that is data parallelism, and sends as much.

    Each rank takes `every` steps alone first.
    """
    return local_descent_reference(X_shards, y_shards, w, lr, 1, every * rounds)


@local_descent.mistake
def averaged_at_the_end(
    X_shards: list[Array],
    y_shards: list[Array],
    w: Array,
    lr: float,
    every: int,
    rounds: int,
) -> Array:
    """You average once, after all rounds; the ranks drift apart in between.

    At the end of each round all go on from the mean.
    """
    return local_descent_reference(
        X_shards, y_shards, w, lr, every * rounds, min(rounds, 1)
    )


@local_descent.mistake
def one_step_a_round(
    X_shards: list[Array],
    y_shards: list[Array],
    w: Array,
    lr: float,
    every: int,
    rounds: int,
) -> Array:
    """You take one step a round; take `every` of them before you average."""
    return local_descent_reference(X_shards, y_shards, w, lr, 1, rounds)


@local_descent.mistake
def one_round_alone(
    X_shards: list[Array],
    y_shards: list[Array],
    w: Array,
    lr: float,
    every: int,
    rounds: int,
) -> Array:
    """You stop after one round, or start each round from the first weights again."""
    return local_descent_reference(X_shards, y_shards, w, lr, every, min(rounds, 1))


@local_descent.mistake
def rank_0_alone(
    X_shards: list[Array],
    y_shards: list[Array],
    w: Array,
    lr: float,
    every: int,
    rounds: int,
) -> Array:
    """These are the weights of rank 0, which never heard of the others."""
    return local_descent_reference(X_shards[:1], y_shards[:1], w, lr, every, rounds)


@local_descent.mistake
def one_after_the_other(
    X_shards: list[Array],
    y_shards: list[Array],
    w: Array,
    lr: float,
    every: int,
    rounds: int,
) -> Array:
    """Each rank goes on from where the one before it stopped.

    All of them start a round from the same weights; nobody waits for a neighbour.
    """
    for _ in range(rounds):
        locals_ = []
        local = w
        for X, y in zip(X_shards, y_shards, strict=True):
            for _ in range(every):
                local = local - lr * gradient(X, y, local)
            locals_.append(local)
        w = np.asarray(np.mean(locals_, axis=0))
    return w


@local_descent.mistake
def gradient_of_the_round(
    X_shards: list[Array],
    y_shards: list[Array],
    w: Array,
    lr: float,
    every: int,
    rounds: int,
) -> Array:
    """Your local steps all use the gradient at the start of the round.

    A local step takes the gradient where the *copy* is.
    """
    return local_descent_reference(X_shards, y_shards, w, lr * every, 1, rounds)


@local_descent.mistake
def weights_summed(
    X_shards: list[Array],
    y_shards: list[Array],
    w: Array,
    lr: float,
    every: int,
    rounds: int,
) -> Array:
    """You sum the weights of the ranks; take their mean."""
    for _ in range(rounds):
        w = len(X_shards) * local_descent_reference(X_shards, y_shards, w, lr, every, 1)
    return w


@local_descent.mistake
def averaged_after_the_first(
    X_shards: list[Array],
    y_shards: list[Array],
    w: Array,
    lr: float,
    every: int,
    rounds: int,
) -> Array:
    """You average after the very first step: `i % every == 0` holds for i = 0.

    A round ends after its last step, not after its first.
    """
    copies = [w for _ in X_shards]
    for step in range(rounds * every):
        ranks = zip(X_shards, y_shards, copies, strict=True)
        copies = [copy - lr * gradient(X, y, copy) for X, y, copy in ranks]
        if step % every == 0:
            copies = [np.mean(copies, axis=0) for _ in copies]
    return np.asarray(np.mean(copies, axis=0))
