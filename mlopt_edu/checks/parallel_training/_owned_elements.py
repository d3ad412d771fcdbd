"""Task 9: who owns what of a flat buffer that is cut into equal shards."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Integers


def owned_elements_reference(sizes: list[int], world_size: int) -> Integers:
    """Elements of each parameter, and of the padding, in the shard of each rank."""
    per_rank = -(-sum(sizes) // world_size)
    counts = np.array([*sizes, per_rank * world_size - sum(sizes)])
    ends = np.cumsum(counts)
    first = per_rank * np.arange(world_size)[:, None]
    overlap: Integers = np.minimum(ends, first + per_rank) - np.maximum(
        ends - counts, first
    )
    return np.maximum(overlap, 0)


def _units(rng: np.random.Generator) -> Iterator[Case]:
    for sizes, world_size, label in (
        ([4, 2], 2, "cut inside a parameter"),
        ([5, 2], 2, "one element of padding"),
        ([12, 4, 8], 4, "no padding"),
        ([10, 3, 7, 1], 4, "three elements of padding"),
        ([1, 1], 5, "more ranks than elements"),
        ([6, 3, 2], 1, "one rank"),
        ([9], 2, "one parameter"),
        ([1, 1, 1, 13], 3, "small ones first"),
    ):
        yield Case(label, {"sizes": sizes, "world_size": world_size})
    sizes = [int(n) for n in rng.integers(1, 5000, size=9)]
    yield Case("nine parameters", {"sizes": sizes, "world_size": 7})


owned_elements = Task(
    "owned_elements",
    points=2,
    section="14 · Write it small",
    reference=owned_elements_reference,
    draw=_units,
    forbid=LIBRARIES,
    hints=(
        "Write the buffer of the example down, element by element, with the name of "
        "the parameter under each, and cut it.",
        "`np.repeat` can write it for you: 0 for each element of parameter 0, and so "
        "on, and a number of its own for padding. How long must it be?",
        "Rank r has `owners[r * per_rank : (r + 1) * per_rank]`. "
        "`np.bincount(shard, minlength=len(sizes) + 1)` counts.",
    ),
)


def _owners(sizes: list[int], world_size: int) -> Integers:
    """Return the parameter of each place in the padded buffer."""
    padding = -sum(sizes) % world_size
    return np.repeat(np.arange(len(sizes) + 1), [*sizes, padding])


def _counted(shards: list[Integers], sizes: list[int]) -> Integers:
    return np.array([np.bincount(s, minlength=len(sizes) + 1) for s in shards])


@owned_elements.mistake
def each_parameter_cut(sizes: list[int], world_size: int) -> Integers:
    """You cut each parameter for itself; cut the buffer in which they lie together.

    Yours pads every parameter, a bias of one element to a whole world_size.
    """
    rows = np.zeros((world_size, len(sizes) + 1), dtype=np.int64)
    for column, size in enumerate(sizes):
        per_rank = -(-size // world_size)
        left = np.clip(size - per_rank * np.arange(world_size), 0, per_rank)
        rows[:, column] = left
        rows[:, -1] += per_rank - left
    return rows


@owned_elements.mistake
def whole_parameters(sizes: list[int], world_size: int) -> Integers:
    """You deal out whole parameters, in turn; one rank may get most of the model.

    The shards are equal: a cut may go through a parameter.
    """
    rows = np.zeros((world_size, len(sizes) + 1), dtype=np.int64)
    for column, size in enumerate(sizes):
        rows[column % world_size, column] = size
    return rows


@owned_elements.mistake
def no_padding(sizes: list[int], world_size: int) -> Integers:
    """Your shards differ in length; pad the buffer until it cuts into equal ones.

    The padding lies at the end of the buffer.
    """
    owners = _owners(sizes, world_size)[: sum(sizes)]
    return _counted(np.array_split(owners, world_size), sizes)


@owned_elements.mistake
def padding_not_counted(sizes: list[int], world_size: int) -> Integers:
    """The parameters are right; the last column should count the padding."""
    rows = owned_elements_reference(sizes, world_size)
    rows[:, -1] = 0
    return rows


@owned_elements.mistake
def padding_column_missing(sizes: list[int], world_size: int) -> Integers:
    """The last column is missing: how many elements of padding each rank has."""
    return owned_elements_reference(sizes, world_size)[:, :-1]


@owned_elements.mistake
def padding_first(sizes: list[int], world_size: int) -> Integers:
    """Your padding lies at the start of the buffer; it belongs to the end."""
    owners = _owners(sizes, world_size)
    rolled = np.roll(owners, -sum(sizes) % world_size)
    return _counted(np.split(rolled, world_size), sizes)


@owned_elements.mistake
def one_in_turn(sizes: list[int], world_size: int) -> Integers:
    """You deal out elements in turn; a shard is one piece, without gaps."""
    owners = _owners(sizes, world_size)
    return _counted([owners[rank::world_size] for rank in range(world_size)], sizes)


@owned_elements.mistake
def rounded_down(sizes: list[int], world_size: int) -> Integers:
    """You round the length of a shard down: the elements at the end have no owner."""
    per_rank = sum(sizes) // world_size
    owners = _owners(sizes, world_size)
    starts = range(0, per_rank * world_size, per_rank or 1)
    shards = [owners[start : start + per_rank] for start in starts]
    shards += [owners[:0]] * (world_size - len(shards))
    return _counted(shards, sizes)


@owned_elements.mistake
def rank_in_the_columns(sizes: list[int], world_size: int) -> Integers:
    """Rows and columns are swapped: one row a rank, one column a parameter."""
    return owned_elements_reference(sizes, world_size).T


@owned_elements.mistake
def all_up_to_here(sizes: list[int], world_size: int) -> Integers:
    """You count what this rank and all before it own; count its own alone."""
    return np.cumsum(owned_elements_reference(sizes, world_size), axis=0)


@owned_elements.mistake
def rest_in_the_last_shard(sizes: list[int], world_size: int) -> Integers:
    """The last rank gets all that does not divide; shards are equal, and padded.

    Round the length of a shard up, not down.
    """
    cuts = sum(sizes) // world_size * np.arange(1, world_size)
    owners = _owners(sizes, world_size)[: sum(sizes)]
    return _counted(np.split(owners, cuts), sizes)


@owned_elements.mistake
def padded_although_it_divides(sizes: list[int], world_size: int) -> Integers:
    """Where world_size divides the buffer you pad by a whole round; none is due.

    `world_size - n % world_size` is never 0, and `n // world_size + 1` rounds up too
    far.
    """
    padding = world_size - sum(sizes) % world_size
    owners = np.repeat(np.arange(len(sizes) + 1), [*sizes, padding])
    return _counted(np.split(owners, world_size), sizes)


@owned_elements.mistake
def each_parameter_split(sizes: list[int], world_size: int) -> Integers:
    """You split each parameter for itself, and the first ranks get what is left over.

    Lay all parameters into one buffer first, then cut that.
    """
    parts = [np.array_split(np.arange(size), world_size) for size in sizes]
    columns = [[len(part) for part in shards] for shards in parts]
    return np.array([*columns, [0] * world_size]).T
