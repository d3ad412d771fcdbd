r"""Block-sparse matrix multiplication: blocks of zeros are neither read nor multiplied.

    output = x @ weight.T

with the weight, of shape (N, K), in block sparse rows: its B x B blocks that hold a
nonzero, one row of blocks after the other.

    values    the blocks                            (n_blocks, B, B)
    columns   each block's column of blocks         (n_blocks,)
    starts    where each row of blocks begins       (ceil(N / B) + 1,)

Counted for x of (M, K), with elements of b bytes and a share d of the blocks kept:

    operations  2 M N K d
    bytes       b d N K for blocks, and x once for every row of blocks: b d M K (N / B)
                from the cache; b (M K + M N) from memory at best

One index of four bytes serves B^2 values (B = 32 in bfloat16: 0.2 %), and each block
is a product of its own for the tensor core: the gain in time can come near 1 / d,
which single zeros never give. A program walks through the blocks of one row; a row
with many keeps its program, and the launch, waiting.

Backwards the same kernel runs over the columns of blocks, through an order that sorts
the blocks by column, and a second one computes one block a program:

    grad_x = grad @ weight      grad_values[i] = grad[:, row of i].T @ x[:, column of i]
"""

# ruff: noqa: N803  a constexpr is in capitals

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mlopt_kernels._triton import tl, triton
from mlopt_kernels.matmul import DTYPES, check_alike, float32_precision, must_widen

BLOCK_SIZES = (16, 32, 64, 128)


def block_sparse(weight: Tensor, *, block_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the values, columns and starts of a matrix, in plain torch.

    Args:
        weight: Tensor of shape (n_cols, n_inner); filled up with zeros to whole blocks.
        block_size: Height and width of a block, one of `BLOCK_SIZES`.

    Returns:
        values: (n_blocks, block_size, block_size) in the dtype of `weight`.
        columns: int32 of shape (n_blocks,).
        starts: int32 of shape (rows of blocks + 1,).

    Example:
        >>> weight = torch.block_diag(torch.ones(16, 16), torch.ones(16, 16))
        >>> values, columns, starts = block_sparse(weight, block_size=16)
        >>> values.shape, columns.tolist(), starts.tolist()
        (torch.Size([2, 16, 16]), [0, 1], [0, 1, 2])
    """
    blocks = _blocks(weight, block_size)
    kept = (blocks != 0).flatten(2).any(dim=-1)
    starts = functional.pad(kept.sum(dim=1).cumsum(0), (1, 0))
    return blocks[kept], kept.nonzero()[:, 1].int(), starts.int()


def _blocks(weight: Tensor, block_size: int) -> Tensor:
    """Cut a matrix into blocks: (rows, columns of blocks, block_size, block_size)."""
    rows, columns = (-(-size // block_size) for size in weight.shape)
    missing = rows * block_size - len(weight), columns * block_size - weight.shape[1]
    padded = functional.pad(weight, (0, missing[1], 0, missing[0]))
    return padded.reshape(rows, block_size, columns, block_size).transpose(1, 2)


def block_sparse_matmul_reference(
    x: Tensor, values: Tensor, columns: Tensor, starts: Tensor, n_cols: int
) -> Tensor:
    """Multiply in plain torch; what the kernel must agree with.

    Args:
        x: Tensor of shape (n_rows, n_inner).
        values: (n_blocks, block_size, block_size) in the dtype of `x`.
        columns: int32 of shape (n_blocks,).
        starts: int32 of shape (rows of blocks + 1,).
        n_cols: Rows of the weight; those past it are filled up.

    Returns:
        Tensor of shape (n_rows, n_cols), summed up in float32 and rounded once.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    weight = _dense(values.to(wide), columns, starts, x.shape[1])[:n_cols]
    return (x.to(wide) @ weight.t()).to(x.dtype)


def _dense(values: Tensor, columns: Tensor, starts: Tensor, n_inner: int) -> Tensor:
    """Return the matrix, with all rows of its last blocks."""
    block = values.shape[-1]
    blocks = values.new_zeros(len(starts) - 1, -(-n_inner // block), block, block)
    rows = torch.repeat_interleave(starts.diff())
    blocks = blocks.index_put((rows, columns.long()), values)
    return blocks.transpose(1, 2).flatten(2).flatten(0, 1)[:, :n_inner]


def block_sparse_backward_reference(
    grad: Tensor, x: Tensor, values: Tensor, columns: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of `x` and `values` in plain torch.

    Args:
        grad: Gradient of the output, of shape (n_rows, n_cols).
        x: Tensor of shape (n_rows, n_inner).
        values: (n_blocks, block_size, block_size).
        columns: int32 of shape (n_blocks,).
        starts: int32 of shape (rows of blocks + 1,).
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    weight = _dense(values.to(wide), columns, starts, x.shape[1])[: grad.shape[1]]
    grad_weight = grad.to(wide).t() @ x.to(wide)
    rows = torch.repeat_interleave(starts.diff())
    grad_values = _blocks(grad_weight, values.shape[-1])[rows, columns.long()]
    return (grad.to(wide) @ weight).to(x.dtype), grad_values.to(values.dtype)


@triton.jit
def _block_sparse_matmul_kernel(
    x_ptr,  # (n_rows, n_inner)
    values_ptr,  # (n_blocks, BLOCK, BLOCK)
    columns_ptr,  # (n_blocks,) int32
    starts_ptr,  # (rows of blocks + 1,) int32
    order_ptr,  # (n_blocks,) int32: where in values the blocks are; None: in order
    output_ptr,  # (n_rows, n_cols)
    n_rows,
    n_cols,
    n_inner,
    value_row_stride,  # these two swapped: each block transposed
    value_col_stride,
    WIDEN: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
):
    """Compute BLOCK_ROWS rows of the outputs that belong to one row of blocks."""
    block_row = tl.program_id(0)
    rows = tl.program_id(1) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    place = tl.arange(0, BLOCK)
    # Rows past the end wrap around and are not stored, as in matmul.py.
    x_ptrs = x_ptr + (rows % n_rows).to(tl.int64)[:, None] * n_inner
    # Read as (inner, cols): transposed by the addresses.
    in_block = place[:, None] * value_col_stride + place[None, :] * value_row_stride
    total = tl.zeros((BLOCK_ROWS, BLOCK), dtype=tl.float32)
    first = tl.load(starts_ptr + block_row)
    last = tl.load(starts_ptr + block_row + 1)
    for index in range(first, last):
        inner = tl.load(columns_ptr + index) * BLOCK + place
        block = tl.cast(index, tl.int64)
        if order_ptr is not None:
            block = tl.load(order_ptr + index).to(tl.int64)
        values = tl.load(values_ptr + block * (BLOCK * BLOCK) + in_block)
        x = tl.load(x_ptrs + inner[None, :], mask=inner[None, :] < n_inner, other=0.0)
        if WIDEN:
            x = x.to(tl.float32)
            values = values.to(tl.float32)
        total = tl.dot(x, values, total, input_precision=PRECISION)
    cols = block_row * BLOCK + place
    outputs = rows.to(tl.int64)[:, None] * n_cols + cols[None, :]
    mask = (rows[:, None] < n_rows) & (cols[None, :] < n_cols)
    tl.store(output_ptr + outputs, total.to(output_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _block_sparse_backward_kernel(
    grad_ptr,  # (n_rows, n_cols)
    x_ptr,  # (n_rows, n_inner)
    columns_ptr,  # (n_blocks,) int32
    block_rows_ptr,  # (n_blocks,) int32
    grad_values_ptr,  # (n_blocks, BLOCK, BLOCK)
    n_rows,
    n_cols,
    n_inner,
    WIDEN: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
):
    """Compute the gradient of one block, walking through the rows of x."""
    index = tl.program_id(0)
    place = tl.arange(0, BLOCK)
    cols = tl.load(block_rows_ptr + index) * BLOCK + place
    inner = tl.load(columns_ptr + index) * BLOCK + place
    row = tl.arange(0, BLOCK_ROWS)
    total = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for start in range(0, n_rows, BLOCK_ROWS):
        rows = (start + row).to(tl.int64)
        grad = tl.load(
            grad_ptr + rows[None, :] * n_cols + cols[:, None],
            mask=(rows[None, :] < n_rows) & (cols[:, None] < n_cols),
            other=0.0,
        )
        x = tl.load(
            x_ptr + rows[:, None] * n_inner + inner[None, :],
            mask=(rows[:, None] < n_rows) & (inner[None, :] < n_inner),
            other=0.0,
        )
        if WIDEN:
            grad = grad.to(tl.float32)
            x = x.to(tl.float32)
        total = tl.dot(grad, x, total, input_precision=PRECISION)
    offsets = index.to(tl.int64) * (BLOCK * BLOCK)
    offsets += place[:, None] * BLOCK + place[None, :]
    tl.store(grad_values_ptr + offsets, total.to(grad_values_ptr.dtype.element_ty))


def block_sparse_matmul_forward(
    x: Tensor,
    values: Tensor,
    columns: Tensor,
    starts: Tensor,
    output: Tensor,
    *,
    order: Tensor | None = None,
    block_rows: int = 64,
    num_warps: int = 4,
    num_stages: int = 3,
) -> None:
    """Launch the kernel, one program for each row of blocks and `block_rows` rows.

    Args:
        x: Contiguous tensor of shape (n_rows, n_inner), in one of `DTYPES`.
        values: Tensor of shape (n_blocks, block_size, block_size); each block may be
            transposed, the blocks follow each other.
        columns: Contiguous int32 of shape (n_blocks,).
        starts: Contiguous int32 of shape (rows of blocks + 1,).
        output: Contiguous tensor of shape (n_rows, n_cols); written.
        order: Contiguous int32 of shape (n_blocks,), the place in `values` of the
            block that each entry of `columns` belongs to; or None: its own.
        block_rows: Rows of x of a program, a power of two of at least 16.
        num_warps: Warps of 32 threads of a program.
        num_stages: Blocks that are loaded ahead while one is multiplied.
    """
    (n_rows, n_inner), n_cols = x.shape, output.shape[1]
    if output.numel() == 0:
        return
    grid = (len(starts) - 1, -(-n_rows // block_rows))
    _block_sparse_matmul_kernel[grid](
        x,
        values,
        columns,
        starts,
        order,
        output,
        n_rows,
        n_cols,
        n_inner,
        *values.stride()[1:],
        WIDEN=must_widen(x),
        PRECISION=float32_precision(),
        BLOCK=values.shape[-1],
        BLOCK_ROWS=block_rows,
        num_warps=num_warps,
        num_stages=num_stages,
    )


def block_sparse_matmul_backward(
    grad: Tensor,
    x: Tensor,
    columns: Tensor,
    block_rows: Tensor,
    grad_values: Tensor,
    *,
    rows: int = 64,
    num_warps: int = 4,
    num_stages: int = 3,
) -> None:
    """Launch the kernel of the gradient of the blocks, one program for each.

    Args:
        grad: Contiguous tensor of shape (n_rows, n_cols).
        x: Contiguous tensor of shape (n_rows, n_inner).
        columns: Contiguous int32 of shape (n_blocks,).
        block_rows: Contiguous int32 of shape (n_blocks,), each block's row of blocks.
        grad_values: Contiguous (n_blocks, block_size, block_size); written.
        rows: Rows of one step, a power of two of at least 16.
        num_warps: Warps of 32 threads of a program.
        num_stages: Steps that are loaded ahead while one is multiplied.
    """
    if grad_values.numel() == 0:
        return
    _block_sparse_backward_kernel[(len(columns),)](
        grad,
        x,
        columns,
        block_rows,
        grad_values,
        len(x),
        grad.shape[1],
        x.shape[1],
        WIDEN=must_widen(x),
        PRECISION=float32_precision(),
        BLOCK=grad_values.shape[-1],
        BLOCK_ROWS=rows,
        num_warps=num_warps,
        num_stages=num_stages,
    )


def by_column(
    columns: Tensor, starts: Tensor, n_columns: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what walks through the blocks column by column, all int32.

    Args:
        columns: Of shape (n_blocks,).
        starts: Of shape (rows of blocks + 1,).
        n_columns: Columns of blocks.

    Returns:
        order: The blocks sorted by column, (n_blocks,).
        rows: Their rows of blocks, in that order.
        starts: Where each column begins in it, (n_columns + 1,).
        block_rows: The rows of blocks, in the order of `columns`.
    """
    block_rows = torch.repeat_interleave(starts.diff(), output_size=len(columns)).int()
    order = columns.argsort(stable=True)
    counts = torch.zeros(n_columns, dtype=torch.int64, device=columns.device)
    counts = counts.scatter_add(0, columns.long(), torch.ones_like(order))
    column_starts = functional.pad(counts.cumsum(0), (1, 0)).int()
    return order.int(), block_rows[order], column_starts, block_rows


@torch.library.custom_op("mlopt::block_sparse", mutates_args=(), device_types="cpu")
def _block_sparse(
    x: Tensor, values: Tensor, columns: Tensor, starts: Tensor, n_cols: int
) -> Tensor:
    return block_sparse_matmul_reference(x, values, columns, starts, n_cols)


@_block_sparse.register_kernel("cuda")
def _block_sparse_cuda(
    x: Tensor, values: Tensor, columns: Tensor, starts: Tensor, n_cols: int
) -> Tensor:
    output = x.new_empty(len(x), n_cols)
    x, values = x.contiguous(), values.contiguous()
    columns, starts = columns.contiguous(), starts.contiguous()
    # Triton launches on the current GPU, which need not be the one of x.
    with torch.cuda.device(x.device):
        block_sparse_matmul_forward(x, values, columns, starts, output)
    return output


@_block_sparse.register_fake
def _block_sparse_fake(
    x: Tensor, values: Tensor, columns: Tensor, starts: Tensor, n_cols: int
) -> Tensor:
    return x.new_empty(x.shape[0], n_cols)


@torch.library.custom_op(
    "mlopt::block_sparse_backward", mutates_args=(), device_types="cpu"
)
def _block_sparse_backward(
    grad: Tensor, x: Tensor, values: Tensor, columns: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor]:
    return block_sparse_backward_reference(grad, x, values, columns, starts)


@_block_sparse_backward.register_kernel("cuda")
def _block_sparse_backward_cuda(
    grad: Tensor, x: Tensor, values: Tensor, columns: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor]:
    inputs = (each.contiguous() for each in (grad, x, values, columns, starts))
    grad, x, values, columns, starts = inputs
    grad_x, grad_values = torch.empty_like(x), torch.empty_like(values)
    n_columns = -(-x.shape[1] // values.shape[-1])
    order, rows, column_starts, block_rows = by_column(columns, starts, n_columns)
    with torch.cuda.device(x.device):
        block_sparse_matmul_forward(
            grad, values.mT, rows, column_starts, grad_x, order=order
        )
        block_sparse_matmul_backward(grad, x, columns, block_rows, grad_values)
    return grad_x, grad_values


@_block_sparse_backward.register_fake
def _block_sparse_backward_fake(
    grad: Tensor, x: Tensor, values: Tensor, columns: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), values.new_empty(values.shape)


def _setup(
    ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor, int], output: Tensor
) -> None:
    ctx.save_for_backward(*inputs[:4])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
    grad_x, grad_values = _block_sparse_backward(grad, *ctx.saved_tensors)
    return grad_x, grad_values, None, None, None


_block_sparse.register_autograd(_backward, setup_context=_setup)


def block_sparse_matmul(
    x: Tensor, values: Tensor, *, columns: Tensor, starts: Tensor, n_cols: int
) -> Tensor:
    """Multiply by a weight in block sparse rows: x @ weight.T.

    On a CPU this computes `block_sparse_matmul_reference`; on an NVIDIA GPU it launches
    the kernel. Autograd, for `x` and `values`, and `torch.compile` work through it. The
    indices are believed: a column past the end of `x` reads zeros, and `starts` must
    rise from 0 to n_blocks. A non-contiguous input is copied first.

    Args:
        x: Tensor of shape (n_rows, n_inner), in one of `DTYPES`.
        values: (n_blocks, block_size, block_size), block_size one of `BLOCK_SIZES`, as
            `block_sparse` returns it.
        columns: int32 of shape (n_blocks,), likewise; no pair of row and column twice.
        starts: int32 of shape (ceil(n_cols / block_size) + 1,), likewise.
        n_cols: Rows of the weight, columns of the output.

    Returns:
        A new contiguous tensor of shape (n_rows, n_cols) in the dtype of `x`.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape, dtype or device does not fit.
        ModuleNotFoundError: If the tensors are on a GPU and Triton is missing.

    Example:
        >>> values, columns, starts = block_sparse(torch.eye(16), block_size=16)
        >>> x = torch.arange(16.0)[None]
        >>> y = block_sparse_matmul(x, values, columns=columns, starts=starts, n_cols=3)
        >>> y
        tensor([[0., 1., 2.]])
    """
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"x must have one of the dtypes {names}, got {x.dtype}")
    for name, index in {"columns": columns, "starts": starts}.items():
        if index.dtype != torch.int32:
            raise TypeError(f"{name} must be torch.int32, got {index.dtype}")
        if index.device != x.device:
            raise ValueError(
                f"{name} must be on the device of x, {x.device}, got {index.device}"
            )
    if x.ndim != 2:
        raise ValueError(f"x must be a matrix, got shape {tuple(x.shape)}; reshape it")
    block = values.shape[-1] if values.ndim else 0
    if block not in BLOCK_SIZES or values.shape[1:] != (block, block):
        raise ValueError(
            f"values must be square blocks of one of the sizes {BLOCK_SIZES}, "
            f"got shape {tuple(values.shape)}"
        )
    check_alike(x, values=values)
    if columns.shape != values.shape[:1]:
        raise ValueError(
            f"columns must have one index for each of {len(values)} blocks, "
            f"got shape {tuple(columns.shape)}"
        )
    if n_cols < 0 or starts.shape != (-(-n_cols // block) + 1,):
        raise ValueError(
            f"starts must have ceil(n_cols / {block}) + 1 elements, "
            f"got shape {tuple(starts.shape)} for n_cols = {n_cols}"
        )
    product: Tensor = _block_sparse(x, values, columns, starts, n_cols)
    return product
