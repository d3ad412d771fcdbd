"""Task 1: operations and bytes of a tiled matrix product."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task

Cost = tuple[float, float, float]


def matmul_cost_reference(
    n_rows: int,
    n_inner: int,
    n_cols: int,
    block_rows: int,
    block_cols: int,
    itemsize: int,
) -> Cost:
    """Each column of tiles reads all of x, and each row of tiles all of y."""
    operations = 2 * n_rows * n_inner * n_cols
    x_reads = n_rows * n_inner * -(n_cols // -block_cols)
    y_reads = n_inner * n_cols * -(n_rows // -block_rows)
    n_bytes = itemsize * (x_reads + y_reads + n_rows * n_cols)
    return operations, n_bytes, operations / n_bytes


def _products(rng: np.random.Generator) -> Iterator[Case]:
    names = ("n_rows", "n_inner", "n_cols", "block_rows", "block_cols", "itemsize")
    for label, *sizes in (
        ("whole tiles", 256, 128, 512, 64, 128, 2),
        ("tiles that reach past the edge", 100, 40, 70, 64, 32, 2),
        ("one tile", 16, 48, 32, 16, 32, 4),
        ("one row", 1, 300, 90, 16, 16, 1),
        ("large", 4096, 2048, 1024, 128, 256, 2),
    ):
        yield Case(label, dict(zip(names, sizes, strict=True)))
    for number in range(3):
        shape = rng.integers(1, 500, 3).tolist()
        block = (2 ** rng.integers(3, 8, 2)).tolist()
        sizes = [*shape, *block, int(rng.choice([1, 2, 4]))]
        yield Case(f"drawn {number + 1}", dict(zip(names, sizes, strict=True)))


matmul_cost = Task(
    "matmul_cost",
    points=2,
    section="15 · Derive",
    reference=matmul_cost_reference,
    draw=_products,
    rtol=1e-9,
    hints=(
        "Which part of x does the program of one tile load, and how many tiles need "
        "the same part?",
        "A tile needs its rows of x and its columns of y, whole. All tiles side by "
        "side need the same rows of x: so x is read once for each *column* of tiles.",
        "`-(-n_cols // block_cols)` columns of tiles, each reads n_rows · n_inner "
        "numbers. The same for y, and n_rows · n_cols are written.",
    ),
)


@matmul_cost.mistake
def everything_once(
    n_rows: int,
    n_inner: int,
    n_cols: int,
    block_rows: int,
    block_cols: int,
    itemsize: int,
) -> Cost:
    """You count x and y once. That is the least, with all of them on the chip.

    Tiles share nothing here: each loads its own rows and columns.
    """
    operations = 2 * n_rows * n_inner * n_cols
    n_bytes = itemsize * (n_rows * n_inner + n_inner * n_cols + n_rows * n_cols)
    return operations, n_bytes, operations / n_bytes


@matmul_cost.mistake
def nothing_reused(
    n_rows: int,
    n_inner: int,
    n_cols: int,
    block_rows: int,
    block_cols: int,
    itemsize: int,
) -> Cost:
    """You load two numbers for each product. A tile uses what it loaded many times."""
    return matmul_cost_reference(n_rows, n_inner, n_cols, 1, 1, itemsize)


@matmul_cost.mistake
def additions_forgotten(
    n_rows: int,
    n_inner: int,
    n_cols: int,
    block_rows: int,
    block_cols: int,
    itemsize: int,
) -> Cost:
    """A product and the addition of it are two operations."""
    operations, n_bytes, intensity = matmul_cost_reference(
        n_rows, n_inner, n_cols, block_rows, block_cols, itemsize
    )
    return operations / 2, n_bytes, intensity / 2


@matmul_cost.mistake
def tiles_swapped(
    n_rows: int,
    n_inner: int,
    n_cols: int,
    block_rows: int,
    block_cols: int,
    itemsize: int,
) -> Cost:
    """You read x once for each row of tiles. Tiles *side by side* share rows of x.

    So x is read once for each column of tiles, and y once for each row of them.
    """
    operations = 2 * n_rows * n_inner * n_cols
    x_reads = n_rows * n_inner * -(n_rows // -block_rows)
    y_reads = n_inner * n_cols * -(n_cols // -block_cols)
    n_bytes = itemsize * (x_reads + y_reads + n_rows * n_cols)
    return operations, n_bytes, operations / n_bytes


@matmul_cost.mistake
def last_tiles_forgotten(
    n_rows: int,
    n_inner: int,
    n_cols: int,
    block_rows: int,
    block_cols: int,
    itemsize: int,
) -> Cost:
    """The tile at the edge counts too: divide and round *up*."""
    operations = 2 * n_rows * n_inner * n_cols
    x_reads = n_rows * n_inner * (n_cols // block_cols)
    y_reads = n_inner * n_cols * (n_rows // block_rows)
    n_bytes = itemsize * (x_reads + y_reads + n_rows * n_cols)
    return operations, n_bytes, operations / n_bytes


@matmul_cost.mistake
def elements_for_bytes(
    n_rows: int,
    n_inner: int,
    n_cols: int,
    block_rows: int,
    block_cols: int,
    itemsize: int,
) -> Cost:
    """You count numbers; each of them has `itemsize` bytes."""
    return matmul_cost_reference(n_rows, n_inner, n_cols, block_rows, block_cols, 1)


@matmul_cost.mistake
def output_forgotten(
    n_rows: int,
    n_inner: int,
    n_cols: int,
    block_rows: int,
    block_cols: int,
    itemsize: int,
) -> Cost:
    """The output is written, which moves bytes as well."""
    operations, n_bytes, _ = matmul_cost_reference(
        n_rows, n_inner, n_cols, block_rows, block_cols, itemsize
    )
    n_bytes -= itemsize * n_rows * n_cols
    return operations, n_bytes, operations / n_bytes


@matmul_cost.mistake
def bytes_per_operation(
    n_rows: int,
    n_inner: int,
    n_cols: int,
    block_rows: int,
    block_cols: int,
    itemsize: int,
) -> Cost:
    """Intensity is operations per byte: you divided the other way round."""
    operations, n_bytes, intensity = matmul_cost_reference(
        n_rows, n_inner, n_cols, block_rows, block_cols, itemsize
    )
    return operations, n_bytes, 1 / intensity
