"""Task 6: the rows of one rank in one epoch, as a sampler with `set_epoch` gives."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Integers


def rank_indices_reference(
    n_rows: int, world_size: int, rank: int, epoch: int, seed: int
) -> Integers:
    """Every `world_size`-th of an order that all ranks share, padded from its start."""
    order = np.random.default_rng(seed + epoch).permutation(n_rows)
    per_rank = -(-n_rows // world_size)
    return np.resize(order, per_rank * world_size)[rank::world_size]


def _epochs(rng: np.random.Generator) -> Iterator[Case]:
    for n_rows, world_size, rank, epoch, label in (
        (6, 2, 0, 0, "six rows, two ranks"),
        (6, 2, 1, 1, "the next epoch"),
        (12, 4, 2, 7, "four ranks"),
        (11, 4, 3, 3, "one row of padding"),
        (13, 5, 4, 2, "two rows of padding"),
        (10, 4, 1, 9, "a rank without padding"),
        (2, 5, 4, 1, "padded more than once"),
        (1, 3, 2, 5, "one row"),
        (9, 1, 0, 4, "one rank"),
        (1000, 7, 5, 3, "a thousand rows"),
    ):
        inputs = {"n_rows": n_rows, "world_size": world_size, "rank": rank}
        inputs |= {"epoch": epoch, "seed": int(rng.integers(1, 1000))}
        yield Case(label, inputs)


rank_indices = Task(
    "rank_indices",
    points=2,
    section="14 · Write it small",
    reference=rank_indices_reference,
    draw=_epochs,
    forbid=(*LIBRARIES, "torch.utils.data"),
    hints=(
        "All ranks must draw the *same* order, and another one in each epoch. What may "
        "the generator's seed depend on, and what not?",
        "Each rank takes `per_rank` rows, n_rows / world_size rounded up. Repeat the "
        "order from its start until it has `per_rank * world_size` entries.",
        "`np.resize(order, per_rank * world_size)` repeats, also more than once. Then "
        "`[rank::world_size]`.",
    ),
)


def _order(n_rows: int, seed: int) -> Integers:
    return np.random.default_rng(seed).permutation(n_rows)


def _padded(order: Integers, world_size: int) -> Integers:
    return np.resize(order, -(-len(order) // world_size) * world_size)


@rank_indices.mistake
def set_epoch_forgotten(
    n_rows: int, world_size: int, rank: int, epoch: int, seed: int
) -> Integers:
    """The order is the same in each epoch: this is what forgetting `set_epoch` does.

    The same rows meet in the same batches for ever. Seed with `seed + epoch`.
    """
    return _padded(_order(n_rows, seed), world_size)[rank::world_size]


@rank_indices.mistake
def order_of_its_own(
    n_rows: int, world_size: int, rank: int, epoch: int, seed: int
) -> Integers:
    """Every rank draws an order of its own: some rows come twice, others never.

    The seed must be the same on all ranks.
    """
    return _padded(_order(n_rows, seed + epoch + rank), world_size)[rank::world_size]


@rank_indices.mistake
def epoch_for_seed(
    n_rows: int, world_size: int, rank: int, epoch: int, seed: int
) -> Integers:
    """Only the epoch seeds your order; every run has the same then. Add `seed`."""
    return _padded(_order(n_rows, epoch), world_size)[rank::world_size]


@rank_indices.mistake
def never_shuffled(
    n_rows: int, world_size: int, rank: int, epoch: int, seed: int
) -> Integers:
    """The rows are not shuffled; take every world_size-th of a permutation."""
    return _padded(np.arange(n_rows), world_size)[rank::world_size]


@rank_indices.mistake
def places_for_rows(
    n_rows: int, world_size: int, rank: int, epoch: int, seed: int
) -> Integers:
    """You choose rows by place, then shuffle: each rank keeps its rows for ever.

    Shuffle all rows first, then cut.
    """
    own = _padded(np.arange(n_rows), world_size)[rank::world_size]
    return np.random.default_rng(seed + epoch).permutation(own)


@rank_indices.mistake
def rest_dropped(
    n_rows: int, world_size: int, rank: int, epoch: int, seed: int
) -> Integers:
    """You drop the rows that do not divide; pad, so that every row comes."""
    order = _order(n_rows, seed + epoch)
    return order[: n_rows // world_size * world_size][rank::world_size]


@rank_indices.mistake
def not_padded(
    n_rows: int, world_size: int, rank: int, epoch: int, seed: int
) -> Integers:
    """Some ranks have a row less: they are done a step early, and the others hang.

    Pad, so that all have equally many.
    """
    return _order(n_rows, seed + epoch)[rank::world_size]


@rank_indices.mistake
def padded_once(
    n_rows: int, world_size: int, rank: int, epoch: int, seed: int
) -> Integers:
    """With fewer rows than padding, one repetition is not enough; use `np.resize`."""
    order = _order(n_rows, seed + epoch)
    return np.concatenate([order, order[: -n_rows % world_size]])[rank::world_size]


@rank_indices.mistake
def padded_with_zeros(
    n_rows: int, world_size: int, rank: int, epoch: int, seed: int
) -> Integers:
    """You pad with row 0; take the first of the order, another in each epoch."""
    order = _order(n_rows, seed + epoch)
    return np.pad(order, (0, -n_rows % world_size))[rank::world_size]


@rank_indices.mistake
def padded_with_the_last(
    n_rows: int, world_size: int, rank: int, epoch: int, seed: int
) -> Integers:
    """You repeat the last row; pad from the start of the order."""
    order = _order(n_rows, seed + epoch)
    return np.pad(order, (0, -n_rows % world_size), mode="edge")[rank::world_size]


@rank_indices.mistake
def one_block_each(
    n_rows: int, world_size: int, rank: int, epoch: int, seed: int
) -> Integers:
    """You give each rank a block of the order; here rank r takes every world_size-th.

    Both cover everything, but one rank would get all of the padding.
    """
    order = _padded(_order(n_rows, seed + epoch), world_size)
    return np.split(order, world_size)[rank]


@rank_indices.mistake
def one_rank_too_far(
    n_rows: int, world_size: int, rank: int, epoch: int, seed: int
) -> Integers:
    """These are the rows of the next rank: ranks count from 0."""
    order = _padded(_order(n_rows, seed + epoch), world_size)
    return order[(rank + 1) % world_size :: world_size]


@rank_indices.mistake
def padded_although_it_divides(
    n_rows: int, world_size: int, rank: int, epoch: int, seed: int
) -> Integers:
    """Where world_size divides n_rows you pad by a whole round; no padding is due.

    `world_size - n_rows % world_size` is never 0, and `n_rows // world_size + 1`
    rounds up too far.
    """
    per_rank = n_rows // world_size + 1
    order = np.resize(_order(n_rows, seed + epoch), per_rank * world_size)
    return order[rank::world_size]
