"""Task 4: the gradient of a batch whose shards are not equal."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array


def combine_gradients_reference(grads: list[Array], rows: list[int]) -> Array:
    """Weight each rank's mean gradient by its rows; a rank without rows has none."""
    total = sum(rows)
    pairs = zip(grads, rows, strict=True)
    return np.asarray(sum(count / total * grad for grad, count in pairs if count))


def _steps(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = [np.array([3.0, 0.0]), np.array([0.0, 6.0])]
    yield Case("3 rows and 1 row", {"grads": by_hand, "rows": [3, 1]})
    for rows, shape, label in (
        ([4, 4, 4], (3,), "equal shards"),
        ([8, 8, 5], (4,), "a last batch that is smaller"),
        ([1, 30, 2, 7], (2, 3), "a matrix"),
        ([17], (3,), "one rank"),
        ([5, 0, 2], (3,), "a rank without rows"),
        ([0, 0, 6, 1], (2, 2), "two ranks without rows"),
        ([1000, 1], (5,), "nearly all on one rank"),
    ):
        grads = [rng.normal(size=shape) for _ in rows]
        for rank, count in enumerate(rows):
            if count == 0:
                grads[rank] = np.full(shape, np.nan)  # the mean over no rows
        yield Case(label, {"grads": grads, "rows": rows})
    diverged = [np.array([np.nan, np.nan]), np.array([3.0, 2.0]), np.full(2, np.nan)]
    yield Case("NaN on a rank with rows", {"grads": diverged, "rows": [1, 3, 0]})


combine_gradients = Task(
    "combine_gradients",
    points=1,
    section="14 · Write it small",
    reference=combine_gradients_reference,
    draw=_steps,
    forbid=LIBRARIES,
    hints=(
        "One rank has 3 rows, another 1. Of four rows, how many does each gradient "
        "speak for?",
        "Rows times mean is a sum. Add up the sums, and divide by all rows. A rank "
        "without rows adds nothing, not even NaN.",
        "`sum(n * g for g, n in zip(grads, rows) if n) / sum(rows)`.",
    ),
)


def _filled(grads: list[Array]) -> list[Array]:
    return [np.nan_to_num(grad) for grad in grads]


@combine_gradients.mistake
def weighted_equally(grads: list[Array], rows: list[int]) -> Array:
    """You average the ranks' means equally: a row on a small shard counts for more.

    That is what an all-reduce does if nobody tells it. Weight each mean by its rows.
    """
    return np.asarray(np.mean(grads, axis=0))


@combine_gradients.mistake
def weighted_equally_without_the_empty(grads: list[Array], rows: list[int]) -> Array:
    """You leave out the empty ranks, and average the others' means equally.

    A row on a small shard then counts for more. Weight each mean by its rows.
    """
    full = [grad for grad, count in zip(grads, rows, strict=True) if count]
    return np.asarray(np.mean(full, axis=0))


@combine_gradients.mistake
def empty_ranks_as_zero(grads: list[Array], rows: list[int]) -> Array:
    """You count the empty ranks as gradient 0, and average all of them equally.

    So they make the step shorter. Weight each mean by its rows.
    """
    full = [grad for grad, count in zip(grads, rows, strict=True) if count]
    return np.asarray(sum(full) / len(rows))


@combine_gradients.mistake
def every_nan_as_zero(grads: list[Array], rows: list[int]) -> Array:
    """You make every NaN a 0, and average all ranks equally.

    Empty ranks shorten the step, and a fault is hidden. Weight each mean by its rows.
    """
    return np.asarray(np.mean(_filled(grads), axis=0))


@combine_gradients.mistake
def nan_of_the_empty(grads: list[Array], rows: list[int]) -> Array:
    """The weights are right, but 0 · NaN is NaN: leave out ranks without rows."""
    pairs = zip(grads, rows, strict=True)
    return np.asarray(sum(n * grad for grad, n in pairs) / sum(rows))


@combine_gradients.mistake
def every_nan_hidden(grads: list[Array], rows: list[int]) -> Array:
    """You take *every* NaN for an empty rank; on a rank with rows it means a fault.

    Hidden, it looks like a shorter step. Tell empty ranks by `rows`.
    """
    return combine_gradients_reference(_filled(grads), rows)


@combine_gradients.mistake
def left_out_by_nan(grads: list[Array], rows: list[int]) -> Array:
    """You leave out each rank whose gradient is NaN, as if its rows were not there.

    On a rank with rows NaN means a fault. Tell empty ranks by `rows`.
    """
    pairs = zip(grads, rows, strict=True)
    kept = [(grad, count) for grad, count in pairs if not np.isnan(grad).any()]
    counts = [count for _, count in kept]
    return combine_gradients_reference([grad for grad, _ in kept], counts)


@combine_gradients.mistake
def summed(grads: list[Array], rows: list[int]) -> Array:
    """You sum the ranks' means; weight each by its share of the rows."""
    pairs = zip(grads, rows, strict=True)
    return np.asarray(sum(grad for grad, count in pairs if count))


@combine_gradients.mistake
def not_divided(grads: list[Array], rows: list[int]) -> Array:
    """This is the gradient of the *summed* loss; divide by the rows of all ranks."""
    return combine_gradients_reference(grads, rows) * sum(rows)


@combine_gradients.mistake
def divided_by_ranks(grads: list[Array], rows: list[int]) -> Array:
    """You divide the weighted sum by the number of ranks; divide by all rows."""
    return combine_gradients_reference(grads, rows) * sum(rows) / len(rows)


@combine_gradients.mistake
def share_and_mean(grads: list[Array], rows: list[int]) -> Array:
    """Weighted by shares, and divided by the ranks once more: the shares sum to 1.

    A plain all-reduce averages. Before it each rank multiplies by world_size.
    """
    return combine_gradients_reference(grads, rows) / len(rows)


@combine_gradients.mistake
def few_rows_count_more(grads: list[Array], rows: list[int]) -> Array:
    """You divide by a rank's rows where you should multiply: its mean is one already.

    So the smallest shard counts most.
    """
    pairs = zip(grads, rows, strict=True)
    weights = [1 / n for n in rows if n]
    return np.asarray(sum(grad / n for grad, n in pairs if n) / sum(weights))


@combine_gradients.mistake
def first_rank_alone(grads: list[Array], rows: list[int]) -> Array:
    """This is the gradient of rank 0."""
    return grads[0]
