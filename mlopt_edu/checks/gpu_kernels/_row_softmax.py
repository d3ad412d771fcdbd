"""Task 5: softmax of each row, in one pass over memory and without overflow."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import TRITON_SECONDS, Array, Counted


def row_softmax_reference(x: Array, block_size: int) -> Counted:
    """Subtract the row's maximum: the largest exponential is 1."""
    wide = x.astype(np.float64)
    weights = np.exp(wide - wide.max(axis=1, keepdims=True))
    output = weights / weights.sum(axis=1, keepdims=True)
    return output, x.nbytes, x.nbytes, 0, 0


def _rows(rng: np.random.Generator) -> Iterator[Case]:
    for label, rows, cols, block_size, shift, spread in (
        ("a row that fills its block", 3, 8, 8, 0.0, 2.0),
        ("past the edge", 4, 5, 8, 0.0, 2.0),
        ("large numbers", 3, 6, 8, 2000.0, 3.0),
        ("large negative numbers", 3, 6, 8, -2000.0, 3.0),
        ("very large negative numbers", 3, 6, 8, -20000.0, 3.0),
        ("numbers far apart", 4, 8, 16, 0.0, 1000.0),
        ("all below zero", 2, 3, 16, -4.0, 1.0),
        ("one column", 3, 1, 4, 0.0, 1.0),
        ("a longer row", 2, 100, 128, 1.0, 4.0),
    ):
        x = shift + spread * rng.normal(size=(rows, cols))
        yield Case(label, {"x": x.astype(np.float32), "block_size": block_size})


row_softmax = Task(
    "row_softmax",
    points=2,
    section="15 · Write it small",
    reference=row_softmax_reference,
    draw=_rows,
    seconds=TRITON_SECONDS,
    hints=(
        "What may be added to a row without changing its softmax? What must the lanes "
        "past the end hold so that they change neither the maximum nor the sum?",
        "Load the row once, with `other=-float('inf')`: exp(-inf) is 0. Subtract "
        "`tl.max(x, axis=0)`.",
        "The row starts at `tl.program_id(0) * n_cols`. Then `weights = tl.exp(x - "
        "tl.max(x, axis=0))`, and store `weights / tl.sum(weights, axis=0)`.",
    ),
)


@row_softmax.mistake
def unsafe(x: Array, block_size: int) -> Counted:
    """You do not subtract the maximum: float32 has no exp(89), and exp(-104) is 0.

    Then the result is inf / inf or 0 / 0. Subtract the row's maximum first.
    """
    weights = np.exp(x)
    output = weights / weights.sum(axis=1, keepdims=True)
    return output, x.nbytes, x.nbytes, 0, 0


@row_softmax.mistake
def minimum_subtracted(x: Array, block_size: int) -> Counted:
    """You subtract the minimum: the exponentials still overflow. Take the maximum."""
    weights = np.exp(x - x.min(axis=1, keepdims=True))
    output = weights / weights.sum(axis=1, keepdims=True)
    return output, x.nbytes, x.nbytes, 0, 0


@row_softmax.mistake
def padded_with_zero(x: Array, block_size: int) -> Counted:
    """The lanes past the end hold 0, and exp(0) is not 0: they enter the sum.

    Load them as -inf, which is no maximum and adds nothing.
    """
    rows, cols = x.shape
    filled = np.zeros((rows, block_size))
    filled[:, :cols] = x
    output, *_ = row_softmax_reference(filled, block_size)
    return output[:, :cols], x.nbytes, x.nbytes, 0, 0


@row_softmax.mistake
def lanes_undefined(x: Array, block_size: int) -> Counted:
    """You did not say what the lanes past the end hold: a GPU leaves anything there.

    Load with `other=-float("inf")`. The checks put NaN and infinities there, so that
    it shows.
    """
    output, read, written, outside, races = row_softmax_reference(x, block_size)
    if x.shape[1] < block_size:
        output = np.full_like(output, np.nan)
    return output, read, written, outside, races


@row_softmax.mistake
def missing_mask(x: Array, block_size: int) -> Counted:
    """There is no mask: each program runs into the rows after its own.

    It loads their numbers and stores over their results, and the last one leaves the
    arrays. A program has the columns below `n_cols`.
    """
    n, cols = x.size, x.shape[1]
    flat, output = x.ravel().astype(np.float64), np.full(n, np.nan)
    writers, lanes = np.zeros(n, dtype=int), 0
    for start in range(0, n, cols):
        places = start + np.arange(block_size)
        places = places[places < n]
        lanes += len(places)
        weights = np.exp(flat[places] - flat[places].max())
        whole = len(places) == block_size
        output[places] = weights / weights.sum() if whole else np.nan
        writers[places] += 1
    moved = 4 * lanes
    outside = 2 * (len(x) * block_size - lanes)
    return output.reshape(x.shape), moved, moved, outside, int(np.sum(writers > 1))


@row_softmax.mistake
def store_mask_missing(x: Array, block_size: int) -> Counted:
    """The store has no mask: each program writes over the rows after its own.

    They are right here, where a later program writes them again; on a GPU it may come
    first. And the last program leaves the output.
    """
    output, read, _, _, _ = row_softmax_reference(x, block_size)
    cols, writers = x.shape[1], np.zeros(x.size, dtype=int)
    for start in range(0, x.size, cols):
        writers[start : start + block_size] += 1
    lanes = int(writers.sum())
    outside = len(x) * block_size - lanes
    return output, read, 4 * lanes, outside, int(np.sum(writers > 1))


@row_softmax.mistake
def read_twice(x: Array, block_size: int) -> Counted:
    """The values are right, but the row is loaded twice; keep it in registers.

    Softmax waits for memory: a second load makes it half again as slow.
    """
    output, read, written, outside, races = row_softmax_reference(x, block_size)
    return output, 2 * read, written, outside, races


@row_softmax.mistake
def read_three_times(x: Array, block_size: int) -> Counted:
    """The values are right, but the row is loaded three times; once is enough.

    The maximum, the sum and the result can all come from the lanes in registers.
    """
    output, read, written, outside, races = row_softmax_reference(x, block_size)
    return output, 3 * read, written, outside, races


@row_softmax.mistake
def sum_forgotten(x: Array, block_size: int) -> Counted:
    """You did not divide by the sum: each row must add up to 1."""
    output, read, written, outside, races = row_softmax_reference(x, block_size)
    return output / output.max(axis=1, keepdims=True), read, written, outside, races
