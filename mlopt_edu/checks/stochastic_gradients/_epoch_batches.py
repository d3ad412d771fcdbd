"""Task 1: the batches of one epoch."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import Rows


def epoch_batches_reference(order: Rows, batch_size: int) -> tuple[Rows, ...]:
    """Consecutive pieces of `order`; the last may be shorter."""
    starts = range(0, len(order), batch_size)
    return tuple(order[start : start + batch_size] for start in starts)


def _orders(rng: np.random.Generator) -> Iterator[Case]:
    yield Case(
        "7 examples by 3", {"order": np.r_[4, 0, 6, 2, 5, 1, 3], "batch_size": 3}
    )
    for n, batch_size, label in (
        (6, 3, "two full batches"),
        (10, 4, "10 examples by 4"),
        (5, 1, "one by one"),
        (8, 8, "all in one batch"),
        (9, 8, "one example is left over"),
        (3, 5, "fewer examples than a batch holds"),
        (1, 1, "a single example"),
        (100, 32, "100 examples by 32"),
    ):
        order = rng.permutation(n)
        yield Case(label, {"order": order, "batch_size": batch_size})


epoch_batches = Task(
    "epoch_batches",
    points=1,
    section="02 · Write it small",
    reference=epoch_batches_reference,
    draw=_orders,
    forbid=("torch.utils.data",),
    hints=(
        "Seven examples in batches of three: at which places of `order` does each "
        "batch begin? How many batches are there?",
        "Let `start` run over 0, batch_size, 2 * batch_size, … as long as it is below "
        "`len(order)`, and cut a slice there.",
        "`order[start : start + batch_size]` is right for the last batch too: a slice "
        "that reaches beyond the end is simply shorter.",
    ),
)


@epoch_batches.mistake
def last_batch_dropped(order: Rows, batch_size: int) -> tuple[Rows, ...]:
    """The last batch is missing when it is not full: those examples are never seen.

    `n // batch_size` rounds down. Keep the short batch.
    """
    count = len(order) // batch_size
    return tuple(order[k * batch_size : (k + 1) * batch_size] for k in range(count))


@epoch_batches.mistake
def last_batch_filled(order: Rows, batch_size: int) -> tuple[Rows, ...]:
    """You fill the last batch with examples from the start, so they count twice.

    Let the last batch be short.
    """
    starts = range(0, len(order), batch_size)
    return tuple(np.resize(np.roll(order, -s), batch_size) for s in starts)


@epoch_batches.mistake
def last_batch_moved_back(order: Rows, batch_size: int) -> tuple[Rows, ...]:
    """You move the last batch back until it is full, so it overlaps the one before.

    Each example must come up once an epoch: let the last batch be short.
    """
    last = max(len(order) - batch_size, 0)
    starts = range(0, len(order), batch_size)
    return tuple(order[min(s, last) : min(s, last) + batch_size] for s in starts)


@epoch_batches.mistake
def last_batch_merged(order: Rows, batch_size: int) -> tuple[Rows, ...]:
    """You add what is left over to the batch before; make a short batch of it."""
    pieces = list(epoch_batches_reference(order, batch_size))
    if len(pieces) > 1 and len(pieces[-1]) < batch_size:
        pieces[-2:] = [np.concatenate(pieces[-2:])]
    return tuple(pieces)


@epoch_batches.mistake
def order_ignored(order: Rows, batch_size: int) -> tuple[Rows, ...]:
    """These are places, not examples: the shuffled `order` is never used.

    Cut the slices out of `order` itself.
    """
    return epoch_batches_reference(np.arange(len(order)), batch_size)


@epoch_batches.mistake
def empty_batch_at_the_end(order: Rows, batch_size: int) -> tuple[Rows, ...]:
    """When the batches come out even, there is an empty one at the end.

    The mean over an empty batch is not a number. Begin a batch only below `len(order)`.
    """
    starts = range(0, len(order) + 1, batch_size)
    return tuple(order[start : start + batch_size] for start in starts)


@epoch_batches.mistake
def evened_out(order: Rows, batch_size: int) -> tuple[Rows, ...]:
    """You even out the sizes, as `np.array_split` with a count does.

    All batches but the last must hold `batch_size` examples.
    """
    return tuple(np.array_split(order, -(-len(order) // batch_size)))


@epoch_batches.mistake
def size_taken_for_count(order: Rows, batch_size: int) -> tuple[Rows, ...]:
    """You make `batch_size` batches; it is how many examples one batch holds."""
    return tuple(np.array_split(order, batch_size))


@epoch_batches.mistake
def every_so_manyth(order: Rows, batch_size: int) -> tuple[Rows, ...]:
    """Your batches jump through `order`; cut it into consecutive pieces."""
    count = -(-len(order) // batch_size)
    return tuple(order[k::count] for k in range(count))


@epoch_batches.mistake
def one_start_for_each_example(order: Rows, batch_size: int) -> tuple[Rows, ...]:
    """A batch begins at every example, so they overlap; step on by `batch_size`."""
    return tuple(order[s : s + batch_size] for s in range(len(order)))


@epoch_batches.mistake
def one_too_few_in_each(order: Rows, batch_size: int) -> tuple[Rows, ...]:
    """One example of each batch is lost: the end of a slice is not part of it."""
    starts = range(0, len(order), batch_size)
    return tuple(order[start : start + batch_size - 1] for start in starts)


@epoch_batches.mistake
def one_too_many_in_each(order: Rows, batch_size: int) -> tuple[Rows, ...]:
    """Each batch holds one example too many, which is the first of the next one."""
    starts = range(0, len(order), batch_size)
    return tuple(order[start : start + batch_size + 1] for start in starts)


@epoch_batches.mistake
def sorted_in_each(order: Rows, batch_size: int) -> tuple[Rows, ...]:
    """You sort each batch; keep the examples in the order that you are given."""
    return tuple(np.sort(b) for b in epoch_batches_reference(order, batch_size))
