"""Task 4: alpha x + y in one kernel, each number moved once."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import TRITON_SECONDS, Array, Counted, blocks, padding


def axpy_reference(alpha: float, x: Array, y: Array, block_size: int) -> Counted:
    """Two arrays are read once, one is written once."""
    output = alpha * x.astype(np.float64) + y
    moved = 4 * len(output)
    return output, 2 * moved, moved, 0, 0


def _vectors(rng: np.random.Generator) -> Iterator[Case]:
    for label, n, block_size in (
        ("less than a block", 5, 16),
        ("whole blocks", 256, 64),
        ("past the edge", 1000, 256),
        ("one element past a block", 65, 64),
        ("one element", 1, 8),
    ):
        x, y = rng.normal(size=(2, n)).astype(np.float32)
        alpha = float(rng.uniform(1.5, 3.5))
        yield Case(label, {"alpha": alpha, "x": x, "y": y, "block_size": block_size})


axpy = Task(
    "axpy",
    points=2,
    section="15 · Write it small",
    reference=axpy_reference,
    draw=_vectors,
    seconds=TRITON_SECONDS,
    hints=(
        "Which program is this, and which elements are its own? Task 3 has the answer.",
        "`tl.program_id(0)` is the number of the program, `tl.arange(0, BLOCK_SIZE)` "
        "are its lanes. Load x and y with the mask, store with the same mask.",
        "`x = tl.load(x_ptr + offsets, mask=mask, other=0.0)`, the same for y, and "
        "`tl.store(output_ptr + offsets, alpha * x + y, mask=mask)`.",
    ),
)


@axpy.mistake
def missing_mask(alpha: float, x: Array, y: Array, block_size: int) -> Counted:
    """There is no mask: at the edge the last program leaves the arrays.

    It loads what is not x, and stores over what lies behind the output. The output is
    right, nothing is reported, and another tensor is broken.
    """
    output, read, written, _, races = axpy_reference(alpha, x, y, block_size)
    return output, read, written, 3 * padding(len(x), block_size), races


@axpy.mistake
def store_mask_missing(alpha: float, x: Array, y: Array, block_size: int) -> Counted:
    """The store has no mask: the last program writes over what lies behind."""
    output, read, written, _, races = axpy_reference(alpha, x, y, block_size)
    return output, read, written, padding(len(x), block_size), races


@axpy.mistake
def load_masks_missing(alpha: float, x: Array, y: Array, block_size: int) -> Counted:
    """The loads have no mask: the last program reads past the end of x and y.

    On a GPU that may be an illegal access, which ends the whole process.
    """
    output, read, written, _, races = axpy_reference(alpha, x, y, block_size)
    return output, read, written, 2 * padding(len(x), block_size), races


@axpy.mistake
def one_too_many(alpha: float, x: Array, y: Array, block_size: int) -> Counted:
    """Your mask lets one element too many in: `offsets < n_elements`, not `<=`."""
    output, read, written, _, races = axpy_reference(alpha, x, y, block_size)
    return output, read, written, 3 * (padding(len(x), block_size) > 0), races


@axpy.mistake
def not_fused(alpha: float, x: Array, y: Array, block_size: int) -> Counted:
    """The result is right, but alpha x goes through memory: 20 bytes a number, not 12.

    Keep the product in registers and add y in the same program.
    """
    output, read, written, outside, races = axpy_reference(alpha, x, y, block_size)
    return output, read + x.nbytes, 2 * written, outside, races


@axpy.mistake
def y_scaled(alpha: float, x: Array, y: Array, block_size: int) -> Counted:
    """You multiply y by alpha; it is x that is scaled."""
    return axpy_reference(alpha, y, x, block_size)


@axpy.mistake
def alpha_forgotten(alpha: float, x: Array, y: Array, block_size: int) -> Counted:
    """You add x and y: x must be multiplied by alpha first."""
    return axpy_reference(1.0, x, y, block_size)


@axpy.mistake
def sum_scaled(alpha: float, x: Array, y: Array, block_size: int) -> Counted:
    """You multiply the sum by alpha; only x is scaled."""
    output, *counts = axpy_reference(1.0, x, y, block_size)
    read, written, outside, races = counts
    return alpha * output, read, written, outside, races


@axpy.mistake
def all_the_first_block(alpha: float, x: Array, y: Array, block_size: int) -> Counted:
    """Every program works on the first block: the offsets need `tl.program_id(0)`."""
    output, *_ = axpy_reference(alpha, x, y, block_size)
    programs, done = blocks(len(x), block_size), min(len(x), block_size)
    output[done:] = np.nan
    moved = 4 * programs * done
    return output, 2 * moved, moved, 0, done if programs > 1 else 0
