"""Task 8: a product of fp16 matrices, tile by tile, summed up in fp32."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._masked_product import masked_product
from ._problem import TRITON_SECONDS, Array, Counted, blocks


def tiled_matmul_reference(x: Array, y: Array, block_size: int) -> Counted:
    """A tile reads its rows of x and its columns of y; the sum is exact enough."""
    output = x.astype(np.float64) @ y.astype(np.float64)
    x_reads = x.nbytes * -(y.shape[1] // -block_size)
    y_reads = y.nbytes * -(x.shape[0] // -block_size)
    return output, x_reads + y_reads, 4 * output.size, 0, 0


def _products(rng: np.random.Generator) -> Iterator[Case]:
    # Whole numbers: the sum of a block is exact in fp16, whatever the order.
    for label, rows, inner, cols in (
        ("one tile", 16, 16, 16),
        ("whole tiles", 32, 48, 32),
        ("one row", 1, 32, 16),
        ("past the edges", 20, 35, 25),
        ("a short inner side", 16, 5, 16),
        ("a long inner side", 16, 256, 16),
        ("more rows of tiles", 40, 16, 16),
        ("more columns of tiles", 16, 16, 40),
    ):
        x = rng.integers(1, 12, size=(rows, inner)).astype(np.float16)
        y = rng.integers(1, 12, size=(inner, cols)).astype(np.float16)
        yield Case(label, {"x": x, "y": y, "block_size": 16})
    # 2049 in each block: the first whole number that fp16 does not have.
    y = np.full((64, 16), 128, dtype=np.float16)
    y[::16] = 129
    ones = np.ones((16, 64), dtype=np.float16)
    yield Case("2049 in each block", {"x": ones, "y": y, "block_size": 16})


tiled_matmul = Task(
    "tiled_matmul",
    points=3,
    section="15 · Write it small",
    reference=tiled_matmul_reference,
    draw=_products,
    seconds=TRITON_SECONDS,
    hints=(
        "Which rows of x and which columns of y does the tile (i, j) need? Walk along "
        "the inner side, a block at a time.",
        "Begin with `tl.zeros((BLOCK_SIZE, BLOCK_SIZE), dtype=tl.float32)` and add "
        "`tl.dot(x, y)` of each block. Masked lanes must be 0.",
        "In the loop: `inner = start + tl.arange(0, BLOCK_SIZE)`, x at `rows[:, None] "
        "* n_inner + inner[None, :]` where both are inside, y likewise, and "
        "`total = tl.dot(x, y, total)`.",
    ),
)


def _steps(inner: int, block_size: int) -> list[slice]:
    return [slice(k, k + block_size) for k in range(0, inner, block_size)]


@tiled_matmul.mistake
def fp16_accumulator(x: Array, y: Array, block_size: int) -> Counted:
    """The accumulator is fp16: beyond 2048 it has not even every whole number.

    The longer the inner side, the more is rounded away. Sum up in float32, whatever
    the inputs are: `tl.zeros(…, dtype=tl.float32)`.
    """
    _, *counts = tiled_matmul_reference(x, y, block_size)
    total = np.zeros((x.shape[0], y.shape[1]), np.float16)
    for k in _steps(x.shape[1], block_size):
        exact = x[:, k].astype(np.float64) @ y[k].astype(np.float64)
        total = (total + exact.astype(np.float16)).astype(np.float16)
    read, written, outside, races = counts
    return total.astype(np.float32), read, written, outside, races


@tiled_matmul.mistake
def fp16_products(x: Array, y: Array, block_size: int) -> Counted:
    """The accumulator is float32, but each block's product was rounded to fp16 first.

    `tl.dot` gives float32 unless told otherwise: leave `out_dtype` alone.
    """
    _, *counts = tiled_matmul_reference(x, y, block_size)
    total = np.zeros((x.shape[0], y.shape[1]))
    for k in _steps(x.shape[1], block_size):
        exact = x[:, k].astype(np.float64) @ y[k].astype(np.float64)
        total += exact.astype(np.float16)
    read, written, outside, races = counts
    return total, read, written, outside, races


@tiled_matmul.mistake
def missing_mask(x: Array, y: Array, block_size: int) -> Counted:
    """There is no mask: at each edge a tile leaves its matrix.

    It runs into the next row there, and past the last row it leaves the array.
    """
    nothing = {"edges": False, "x_inner": False, "y_inner": False, "store": False}
    return masked_product(x, y, block_size, **nothing)


@tiled_matmul.mistake
def edges_not_masked(x: Array, y: Array, block_size: int) -> Counted:
    """The values are right, but the loads are masked along the inner side alone.

    Past the right edge of y they load the next row, and below x they leave the array.
    """
    return masked_product(x, y, block_size, edges=False)


@tiled_matmul.mistake
def only_inner_masked(x: Array, y: Array, block_size: int) -> Counted:
    """You mask the inner side alone: tiles at the edges load and store past them.

    The rows of x, the columns of y and the store need a mask as well.
    """
    return masked_product(x, y, block_size, edges=False, store=False)


@tiled_matmul.mistake
def store_mask_missing(x: Array, y: Array, block_size: int) -> Counted:
    """The store has no mask: a tile at the right edge writes over the next row.

    And below the lower edge it leaves the output. Mask rows and columns.
    """
    return masked_product(x, y, block_size, store=False)


@tiled_matmul.mistake
def missing_inner_mask(x: Array, y: Array, block_size: int) -> Counted:
    """Nothing masks the inner side: the last block runs into the next row of x.

    And below the last row of y it leaves the array.
    """
    return masked_product(x, y, block_size, x_inner=False, y_inner=False)


@tiled_matmul.mistake
def x_inner_mask_missing(x: Array, y: Array, block_size: int) -> Counted:
    """The mask of x has its rows, but not the inner side: it runs into the next row.

    Zeros in y hide it, until the last row leaves the array: NaN times 0 is NaN.
    """
    return masked_product(x, y, block_size, x_inner=False)


@tiled_matmul.mistake
def y_inner_mask_missing(x: Array, y: Array, block_size: int) -> Counted:
    """The mask of y has its columns, but not the inner side: it leaves the array.

    Zeros in x do not help: what lies behind y may be NaN, and NaN times 0 is NaN.
    """
    return masked_product(x, y, block_size, y_inner=False)


@tiled_matmul.mistake
def wrapped_around(x: Array, y: Array, block_size: int) -> Counted:
    """The values are right, but `%` sends lanes past the edge to load other rows again.

    These loads move bytes for outputs that are not there: mask them instead.
    """
    output, _, written, outside, races = tiled_matmul_reference(x, y, block_size)
    tiles = blocks(x.shape[0], block_size) * blocks(y.shape[1], block_size)
    read = 2 * tiles * 2 * block_size * x.shape[1]
    return output, read, written, outside, races


@tiled_matmul.mistake
def lanes_undefined(x: Array, y: Array, block_size: int) -> Counted:
    """You did not say what the lanes past the edge hold: a GPU leaves anything there.

    Load with `other=0.0`: a product with 0 adds nothing. The checks put NaN and
    infinities there, so that it shows.
    """
    output, read, written, outside, races = tiled_matmul_reference(x, y, block_size)
    if x.shape[1] % block_size:
        output = np.full_like(output, np.nan)
    return output, read, written, outside, races


@tiled_matmul.mistake
def first_block_only(x: Array, y: Array, block_size: int) -> Counted:
    """You multiply the first block of the inner side and stop: walk along all of it."""
    x, y = x[:, :block_size], y[:block_size]
    return tiled_matmul_reference(x.copy(), y, block_size)


@tiled_matmul.mistake
def last_block_only(x: Array, y: Array, block_size: int) -> Counted:
    """Each block overwrites the one before: *add* its product to the accumulator."""
    _, *counts = tiled_matmul_reference(x, y, block_size)
    last = _steps(x.shape[1], block_size)[-1]
    output = x[:, last].astype(np.float64) @ y[last].astype(np.float64)
    read, written, outside, races = counts
    return output, read, written, outside, races


@tiled_matmul.mistake
def not_advanced(x: Array, y: Array, block_size: int) -> Counted:
    """Every step multiplies the first block: move along the inner side with the loop.

    The places in x and y need `start`, and not the mask alone.
    """
    (rows, inner), cols = x.shape, y.shape[1]
    output, lanes = np.zeros((rows, cols)), 0
    for k in _steps(inner, block_size):
        width = min(block_size, inner - k.start)
        output += x[:, :width].astype(np.float64) @ y[:width].astype(np.float64)
        lanes += width
    read = rows * lanes * blocks(cols, block_size)
    read += cols * lanes * blocks(rows, block_size)
    return output, 2 * read, 4 * output.size, 0, 0


@tiled_matmul.mistake
def output_read(x: Array, y: Array, block_size: int) -> Counted:
    """The sum goes through memory: each block stores it, and the next one loads it.

    Keep the accumulator in registers and store it once, after the loop.
    """
    output, read, _, outside, races = tiled_matmul_reference(x, y, block_size)
    steps = blocks(x.shape[1], block_size)
    moved = 4 * output.size
    return output, read + (steps - 1) * moved, steps * moved, outside, races
