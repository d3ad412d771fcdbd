"""Task 3: sum over the ranks of a ring, chunk by chunk, and count what is sent."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array

Outcome = tuple[list[Array], list[int]]


def ring_all_reduce_reference(arrays: list[Array]) -> Outcome:
    """Reduce-scatter, then all-gather; the result and the bytes sent, one a rank."""
    ranks = len(arrays)
    chunks = [np.array_split(array, ranks) for array in arrays]
    sent = [0] * ranks
    for step in range(2 * (ranks - 1)):
        leaving = [chunks[rank][(rank - 1 - step) % ranks] for rank in range(ranks)]
        for rank in range(ranks):
            sent[rank] += leaving[rank].nbytes
            place = (rank - 2 - step) % ranks
            mine = chunks[rank][place] if step < ranks - 1 else 0
            chunks[rank][place] = mine + leaving[rank - 1]
    return [np.concatenate(chunk) for chunk in chunks], sent


def _rings(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = [np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0])]
    yield Case("two ranks", {"arrays": by_hand})
    for ranks, numel, dtype, label in (
        (3, 3, "float64", "three ranks, one number a chunk"),
        (4, 8, "float64", "equal chunks"),
        (4, 11, "float64", "uneven chunks"),
        (5, 13, "float32", "uneven chunks of float32"),
        (3, 7, "int16", "uneven chunks of int16"),
        (6, 4, "float64", "fewer numbers than ranks"),
        (1, 5, "float64", "one rank"),
        (2, 0, "float64", "nothing to sum"),
    ):
        values = rng.integers(-99, 99, size=(ranks, numel))
        yield Case(label, {"arrays": list(values.astype(dtype))})


ring_all_reduce = Task(
    "ring_all_reduce",
    points=2,
    section="14 · Write it small",
    reference=ring_all_reduce_reference,
    draw=_rings,
    forbid=LIBRARIES,
    hints=(
        "Draw three ranks in a ring and three chunks each. Which chunk travels from "
        "rank 0 in the first step, and which one comes in?",
        "In step s, from 0, rank r sends chunk r - 1 - s, and gets chunk r - 2 - s, "
        "all modulo the number of ranks. Collect what leaves before you change it.",
        "For the first `ranks - 1` steps add what comes in; for as many more put it in "
        "the place of what is there. Add `chunk.nbytes` for every chunk that is sent.",
    ),
)


def _sizes(arrays: list[Array]) -> list[int]:
    return [chunk.nbytes for chunk in np.array_split(arrays[0], len(arrays))]


def _sums(arrays: list[Array]) -> list[Array]:
    return [np.sum(arrays, axis=0) for _ in arrays]


@ring_all_reduce.mistake
def whole_arrays_sent(arrays: list[Array]) -> Outcome:
    """You send whole arrays, world_size - 1 times: that is no ring of chunks.

    In the ring a rank sends one chunk in each step, about 2 arrays altogether.
    """
    return _sums(arrays), [(len(arrays) - 1) * a.nbytes for a in arrays]


@ring_all_reduce.mistake
def all_through_one(arrays: list[Array]) -> Outcome:
    """Everything goes to rank 0 and comes back: it sends more the more ranks there are.

    In a ring all ranks send alike, each to the next one only.
    """
    sent = [a.nbytes for a in arrays]
    sent[0] *= len(arrays) - 1
    return _sums(arrays), sent


@ring_all_reduce.mistake
def bytes_of_one_half(arrays: list[Array]) -> Outcome:
    """The sums are right. You count the bytes of the reduce-scatter alone.

    The all-gather after it sends as many once more.
    """
    return _sums(arrays), [sum(_sizes(arrays)) - size for size in _sizes(arrays)]


@ring_all_reduce.mistake
def only_reduce_scatter(arrays: list[Array]) -> Outcome:
    """You stop after the reduce-scatter: each rank has the sum of one chunk only.

    Send the finished chunks once more around the ring.
    """
    ranks = len(arrays)
    chunks = [np.array_split(array, ranks) for array in arrays]
    for step in range(ranks - 1):
        leaving = [chunks[rank][(rank - 1 - step) % ranks] for rank in range(ranks)]
        for rank in range(ranks):
            place = (rank - 2 - step) % ranks
            chunks[rank][place] = chunks[rank][place] + leaving[rank - 1]
    return [np.concatenate(c) for c in chunks], bytes_of_one_half(arrays)[1]


@ring_all_reduce.mistake
def added_twice(arrays: list[Array]) -> Outcome:
    """You go on adding in the second half. What comes in then is finished: replace.

    The sums are too large.
    """
    ranks = len(arrays)
    chunks = [np.array_split(array, ranks) for array in arrays]
    for step in range(2 * (ranks - 1)):
        leaving = [chunks[rank][(rank - 1 - step) % ranks] for rank in range(ranks)]
        for rank in range(ranks):
            place = (rank - 2 - step) % ranks
            chunks[rank][place] = chunks[rank][place] + leaving[rank - 1]
    return [np.concatenate(c) for c in chunks], ring_all_reduce_reference(arrays)[1]


@ring_all_reduce.mistake
def numbers_for_bytes(arrays: list[Array]) -> Outcome:
    """You count the numbers that are sent; a number has `itemsize` bytes."""
    sums, sent = ring_all_reduce_reference(arrays)
    return sums, [n // a.itemsize for n, a in zip(sent, arrays, strict=True)]


@ring_all_reduce.mistake
def eight_bytes_each(arrays: list[Array]) -> Outcome:
    """You count 8 bytes for each number; that depends on the dtype. Use `nbytes`."""
    sums, sent = ring_all_reduce_reference(arrays)
    return sums, [8 * n // a.itemsize for n, a in zip(sent, arrays, strict=True)]


@ring_all_reduce.mistake
def formula_for_bytes(arrays: list[Array]) -> tuple[list[Array], list[float]]:
    """The formula 2 (p - 1) / p holds if all chunks are equal. Here some are larger.

    Count the chunks that each rank sends.
    """
    ranks = len(arrays)
    return _sums(arrays), [2 * (ranks - 1) / ranks * a.nbytes for a in arrays]


@ring_all_reduce.mistake
def largest_chunk_counted(arrays: list[Array]) -> Outcome:
    """You count all chunks as large as the first; some are smaller by one number."""
    return _sums(arrays), [2 * (len(arrays) - 1) * _sizes(arrays)[0] for _ in arrays]


@ring_all_reduce.mistake
def received_for_sent(arrays: list[Array]) -> Outcome:
    """These are the bytes that each rank *receives*; asked are those that it sends."""
    sums, sent = ring_all_reduce_reference(arrays)
    return sums, [sent[rank - 1] for rank in range(len(arrays))]


@ring_all_reduce.mistake
def starts_with_own_chunk(arrays: list[Array]) -> Outcome:
    """A right ring, turned by one: yours starts with chunk r on rank r.

    Here rank r starts with chunk r - 1, so that chunk r is finished on rank r.
    """
    sums, sent = ring_all_reduce_reference(arrays)
    return sums, [*sent[1:], sent[0]]


@ring_all_reduce.mistake
def mean_for_sum(arrays: list[Array]) -> Outcome:
    """These are means; an all-reduce gives the sum unless it is asked for the mean."""
    sums, sent = ring_all_reduce_reference(arrays)
    return [total / len(arrays) for total in sums], sent


@ring_all_reduce.mistake
def one_result_alone(arrays: list[Array]) -> tuple[Array, list[int]]:
    """You return one sum; return a list of results, one for each rank."""
    sums, sent = ring_all_reduce_reference(arrays)
    return sums[0], sent


@ring_all_reduce.mistake
def bytes_of_all(arrays: list[Array]) -> tuple[list[Array], int]:
    """You return the bytes of all ranks together; return a list, one for each rank."""
    sums, sent = ring_all_reduce_reference(arrays)
    return sums, sum(sent)


@ring_all_reduce.mistake
def rest_in_the_last_chunk(arrays: list[Array]) -> Outcome:
    """The sums are right. You put all that does not divide into the last chunk.

    So one rank waits for a large one. `np.array_split` deals the rest out.
    """
    ranks, numel, itemsize = len(arrays), len(arrays[0]), arrays[0].itemsize
    sizes = [numel // ranks * itemsize for _ in arrays]
    sizes[-1] += numel % ranks * itemsize
    total = sum(sizes)  # all chunks but one leave in each half
    kept = [sizes[rank] + sizes[(rank + 1) % ranks] for rank in range(ranks)]
    return _sums(arrays), [2 * total - stays for stays in kept]


@ring_all_reduce.mistake
def steps_from_0_again(arrays: list[Array]) -> Outcome:
    """You count the steps of the second half from 0 again, and send the same chunks.

    They are not finished. `s` goes on: the first to leave is the one just completed.
    """
    ranks, sent = len(arrays), [0 for _ in arrays]
    chunks = [np.array_split(array, ranks) for array in arrays]
    for adds in (True, False):
        for step in range(ranks - 1):
            leaving = [chunks[rank][(rank - 1 - step) % ranks] for rank in range(ranks)]
            for rank in range(ranks):
                sent[rank] += leaving[rank].nbytes
                place = (rank - 2 - step) % ranks
                mine = chunks[rank][place] if adds else 0
                chunks[rank][place] = mine + leaving[rank - 1]
    return [np.concatenate(chunk) for chunk in chunks], sent
