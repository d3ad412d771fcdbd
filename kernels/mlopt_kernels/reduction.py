r"""Reduction: the sum of each row, or of everything, in stages and without atomics.

    rows   output[i] = sum_j x[i, j]
    all    output    = sum_ij x[i, j], which is one row that holds everything

Counted for each element of b bytes (float32: b = 4):

    bytes       read x: b; the results are few             b       (float32: 4)
    operations  one addition                               1
    intensity   operations per byte                        1 / b   (float32: 1 / 4)

A long row needs many programs to keep the memory busy, and programs cannot see one
another's registers. So a program sums one *chunk* of a row and stores one number; the
next stage sums those numbers in the same way, until a row is one number. A chunk holds
up to 65,536 elements: two stages suffice for 2^32, and the second reads 1/65,536 of
what the first read.

`tl.atomic_add` into one number would save the second stage. But float addition is not
associative, and atomics arrive in any order: two runs would differ in the last digits.
Here the order depends on the shape alone, so the same input gives the same bits.

Sums are held in float32. Each lane adds at most 16 elements before the lanes are added
as a tree, so the error grows with the logarithm of the length, not with the length.
"""

# ruff: noqa: N803  a constexpr is in capitals

from typing import Any

import torch
from torch import Tensor

from mlopt_kernels._triton import tl, triton

DTYPES = (torch.float16, torch.bfloat16, torch.float32)

TILE = 4096  # elements that a program holds at once: 32 a thread with 4 warps
MAX_BLOCKS = 16
PROGRAMS = 512  # about four for each of an H100's 132 multiprocessors


def sum_rows_reference(x: Tensor) -> Tensor:
    """Sum over the last dimension in plain torch; what the kernel must agree with.

    Args:
        x: Tensor of shape (..., n_cols), in one of `DTYPES`.

    Returns:
        Tensor of shape (...) and the dtype of `x`, summed in float32.
    """
    return x.float().sum(-1).to(x.dtype)


@triton.jit
def _sum_rows_forward_kernel(
    x_ptr,  # (n_rows, n_cols)
    output_ptr,  # (n_rows, n_chunks)
    n_rows,
    n_cols,
    n_chunks,
    N_BLOCKS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    """Sum one chunk, N_BLOCKS * BLOCK_COLS columns, of BLOCK_ROWS rows."""
    program = tl.program_id(0)
    chunk = (program % n_chunks).to(tl.int64)
    first_row = (program // n_chunks).to(tl.int64) * BLOCK_ROWS
    rows = first_row + tl.arange(0, BLOCK_ROWS)
    # One sum a lane: the lanes meet once, after the loop.
    total = tl.zeros([BLOCK_ROWS, BLOCK_COLS], dtype=tl.float32)
    for block in range(N_BLOCKS):
        cols = (chunk * N_BLOCKS + block) * BLOCK_COLS + tl.arange(0, BLOCK_COLS)
        mask = (rows[:, None] < n_rows) & (cols[None, :] < n_cols)
        offsets = rows[:, None] * n_cols + cols[None, :]
        total += tl.load(x_ptr + offsets, mask=mask, other=0).to(tl.float32)
    tl.store(
        output_ptr + rows * n_chunks + chunk, tl.sum(total, axis=1), mask=rows < n_rows
    )


def _config(n_rows: int, n_cols: int) -> tuple[int, int, int]:
    """Return the rows, columns and number of blocks of a program's chunk."""
    block_cols = min(triton.next_power_of_2(max(n_cols, 1)), TILE)
    block_rows = TILE // block_cols
    row_blocks, col_blocks = triton.cdiv(n_rows, block_rows), n_cols // block_cols
    n_blocks = 1
    # Longer chunks mean fewer programs: only while enough are left.
    while (
        n_blocks < min(MAX_BLOCKS, col_blocks)
        and row_blocks * triton.cdiv(col_blocks, 2 * n_blocks) >= PROGRAMS
    ):
        n_blocks *= 2
    return block_rows, block_cols, n_blocks


def sum_rows_forward(
    x: Tensor, output: Tensor, *, config: tuple[int, int, int] | None = None
) -> None:
    """Launch stage after stage until each row is one number.

    Args:
        x: Contiguous tensor of shape (n_rows, n_cols), in one of `DTYPES`.
        output: Contiguous tensor of shape (n_rows,), in one of `DTYPES`; written.
        config: Rows and columns of a block, both powers of two, and the blocks of a
            chunk; a chunk needs two columns at least. Chosen by the shape if None.
    """
    n_rows, n_cols = x.shape
    if n_rows == 0:
        return
    block_rows, block_cols, n_blocks = config or _config(n_rows, n_cols)
    # A row without columns still needs a program, to store its 0.
    n_chunks = max(1, triton.cdiv(n_cols, n_blocks * block_cols))
    partial = output
    if n_chunks > 1:
        partial = x.new_empty(n_rows, n_chunks, dtype=torch.float32)
    _sum_rows_forward_kernel[(triton.cdiv(n_rows, block_rows) * n_chunks,)](
        x,
        partial,
        n_rows,
        n_cols,
        n_chunks,
        N_BLOCKS=n_blocks,
        BLOCK_ROWS=block_rows,
        BLOCK_COLS=block_cols,
    )
    if n_chunks > 1:
        sum_rows_forward(partial, output, config=config)


@torch.library.custom_op("mlopt::sum_rows", mutates_args=(), device_types="cpu")
def _sum_rows(x: Tensor) -> Tensor:
    return sum_rows_reference(x)


@_sum_rows.register_kernel("cuda")
def _sum_rows_cuda(x: Tensor) -> Tensor:
    output = x.new_empty(x.shape[:-1])
    # Triton launches on the current GPU, which need not be the one of x.
    with torch.cuda.device(x.device):
        rows = x.contiguous().view(output.numel(), x.shape[-1])
        sum_rows_forward(rows, output.view(-1))
    return output


@_sum_rows.register_fake
def _sum_rows_fake(x: Tensor) -> Tensor:
    return x.new_empty(x.shape[:-1])


def _sum_rows_setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.shape = inputs[0].shape


def _sum_rows_backward(ctx: Any, grad: Tensor) -> Tensor:
    # d(sum_j x_ij)/dx_ij = 1: a view of the gradient, no byte is moved.
    return grad.unsqueeze(-1).expand(ctx.shape)


_sum_rows.register_autograd(_sum_rows_backward, setup_context=_sum_rows_setup_context)


def sum_rows(x: Tensor) -> Tensor:
    """Sum over the last dimension.

    On a CPU this computes `sum_rows_reference`; on an NVIDIA GPU it launches the
    kernel. The same input gives the same bits every time. Autograd and `torch.compile`
    work through it. A non-contiguous input is copied first.

    Args:
        x: Tensor of shape (..., n_cols), in one of `DTYPES`.

    Returns:
        Tensor of shape (...) and the dtype of `x`; 0 for a row without columns.

    Raises:
        TypeError: If the dtype is not one of `DTYPES`.
        ValueError: If `x` has no dimension.
        ModuleNotFoundError: If the tensor is on a GPU and Triton is missing.

    Example:
        >>> sum_rows(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([3., 7.])
    """
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"x must have one of the dtypes {names}, got {x.dtype}")
    if x.dim() == 0:
        raise ValueError("x must have at least 1 dimension, got 0: use sum_all")
    total: Tensor = _sum_rows(x)
    return total


def sum_all_reference(x: Tensor) -> Tensor:
    """Sum all elements in plain torch; what `sum_all` must agree with.

    Args:
        x: Tensor of any shape, in one of `DTYPES`.

    Returns:
        Scalar of the dtype of `x`, summed in float32.
    """
    return x.float().sum().to(x.dtype)


def sum_all(x: Tensor) -> Tensor:
    """Sum all elements, as one row.

    Reference on a CPU and kernel on an NVIDIA GPU, as for `sum_rows`.

    Args:
        x: Tensor of any shape, in one of `DTYPES`.

    Returns:
        Scalar of the dtype of `x`; 0 if `x` is empty.

    Raises:
        TypeError: If the dtype is not one of `DTYPES`.
        ModuleNotFoundError: If the tensor is on a GPU and Triton is missing.

    Example:
        >>> sum_all(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor(10.)
    """
    return sum_rows(x.reshape(-1))
