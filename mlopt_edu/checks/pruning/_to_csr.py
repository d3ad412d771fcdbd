"""Task 10: a matrix as the numbers that are not 0, and where they are."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Integers

Csr = tuple[Array, Integers, Integers]


def to_csr_reference(weight: Array) -> Csr:
    """Values and columns row by row, and where in them each row begins and ends."""
    rows, columns = weight.shape
    places = np.flatnonzero(weight)
    # How many of them come before the first place of each row, and before the end.
    row_pointer = np.searchsorted(places, columns * np.arange(rows + 1))
    return weight.ravel()[places], places % columns, row_pointer


def _matrices(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = np.array([[0.0, 3, 0], [0, 0, 0], [-1, 0, 2]])
    yield Case("3 × 3", {"weight": by_hand})
    for rows, columns, share, label in (
        (5, 7, 0.3, "5 × 7"),
        (8, 4, 0.5, "8 × 4"),
        (20, 30, 0.1, "20 × 30, nine of ten are 0"),
        (4, 6, 1.0, "no zero"),
        (1, 9, 0.5, "one row"),
        (9, 1, 0.5, "one column"),
        (4, 3, 0.0, "only zeros"),
    ):
        mask = rng.random((rows, columns)) < share
        yield Case(label, {"weight": mask * rng.normal(size=(rows, columns))})
    weight = rng.normal(size=(6, 5))
    weight[[0, 3, 5]] = 0
    yield Case("the first and last row are empty", {"weight": weight})
    small = 1e-30 * rng.normal(size=(3, 4)) * (rng.random((3, 4)) < 0.6)
    yield Case("tiny numbers", {"weight": small})
    # 8 bits cannot count that far.
    mask = rng.random((3, 300)) < 0.9
    yield Case("300 columns", {"weight": mask * rng.normal(size=mask.shape)})


to_csr = Task(
    "to_csr",
    points=1,
    section="10 · Write it small",
    reference=to_csr_reference,
    draw=_matrices,
    forbid=(*LIBRARIES, "scipy.sparse"),
    hints=(
        "Read the matrix row by row. How many numbers have you passed before row 0, "
        "before row 1, and at the very end?",
        "`np.nonzero(weight)` lists rows and columns of all entries that are not 0, "
        "in reading order.",
        "The row pointer is 0 and then `np.cumsum` of the number of entries in each "
        "row: one more number than there are rows.",
    ),
)


@to_csr.mistake
def column_by_column(weight: Array) -> Csr:
    """You read the matrix by columns: that is CSC. Read it row by row."""
    return to_csr_reference(weight.T)


@to_csr.mistake
def rows_for_pointer(weight: Array) -> Csr:
    """You give the row of every number (COO); CSR has one pointer for each *row*.

    It says how many numbers come before that row.
    """
    rows, columns = np.nonzero(weight)
    return weight[rows, columns], columns, rows


@to_csr.mistake
def leading_zero_missing(weight: Array) -> Csr:
    """The row pointer begins with 0: row i lies between pointer i and pointer i + 1."""
    values, columns, row_pointer = to_csr_reference(weight)
    return values, columns, row_pointer[1:]


@to_csr.mistake
def last_pointer_missing(weight: Array) -> Csr:
    """The last entry of the row pointer is missing: the end of the last row."""
    values, columns, row_pointer = to_csr_reference(weight)
    return values, columns, row_pointer[:-1]


@to_csr.mistake
def counts_for_pointer(weight: Array) -> Csr:
    """These are the counts of each row; the pointer adds them up, beginning with 0."""
    values, columns, row_pointer = to_csr_reference(weight)
    return values, columns, np.diff(row_pointer)


@to_csr.mistake
def counts_after_zero(weight: Array) -> Csr:
    """You put a 0 before the counts, but do not add them up: `np.cumsum`."""
    values, columns, row_pointer = to_csr_reference(weight)
    return values, columns, np.concatenate([[0], np.diff(row_pointer)])


@to_csr.mistake
def places_for_columns(weight: Array) -> Csr:
    """You number the entries of the whole matrix; a column begins at 0 in each row."""
    values, _, row_pointer = to_csr_reference(weight)
    return values, np.flatnonzero(weight), row_pointer


@to_csr.mistake
def counted_from_one(weight: Array) -> Csr:
    """Your columns count from 1; the first column is 0."""
    values, columns, row_pointer = to_csr_reference(weight)
    return values, columns + 1, row_pointer


@to_csr.mistake
def zeros_stored(weight: Array) -> Csr:
    """You store the zeros as well: every entry, and its column besides."""
    rows, columns = weight.shape
    every = np.tile(np.arange(columns), rows)
    return weight.ravel(), every, np.arange(rows + 1) * columns


@to_csr.mistake
def negative_ones_lost(weight: Array) -> Csr:
    """The negative numbers are lost: keep what is *not* 0, not what is above 0."""
    return to_csr_reference(np.maximum(weight, 0))


@to_csr.mistake
def tiny_ones_lost(weight: Array) -> Csr:
    """You take tiny numbers for 0: only 0 itself is left out."""
    return to_csr_reference(np.where(np.abs(weight) > 1e-8, weight, 0))


@to_csr.mistake
def sizes_stored(weight: Array) -> Csr:
    """The signs are lost: the values are the entries as they are."""
    return to_csr_reference(np.abs(weight))


@to_csr.mistake
def empty_rows_skipped(weight: Array) -> Csr:
    """Rows without entries are missing in the row pointer: they repeat the one before.

    Else nobody can tell which row is which.
    """
    return to_csr_reference(weight[np.any(weight != 0, axis=1)])


@to_csr.mistake
def columns_first(weight: Array) -> tuple[Integers, Array, Integers]:
    """The order is another one: values, then columns, then the row pointer."""
    values, columns, row_pointer = to_csr_reference(weight)
    return columns, values, row_pointer
