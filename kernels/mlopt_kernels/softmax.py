r"""Softmax of each row: held in registers, or online when the row is longer.

    output[i, j] = exp(x[i, j] - m_i) / sum_k exp(x[i, k] - m_i),   m_i = max_k x[i, k]
    grad_x[i, j] = output[i, j] * (grad[i, j] - sum_k grad[i, k] * output[i, k])

Subtracting the maximum changes nothing in the quotient and keeps exp from overflowing.

Counted for each element of b bytes (float32: b = 4):

    forward     read x: b, write output: b                 2 b   (float32: 8)
    longer row  read x: 2 b, write output: b               3 b   (float32: 12)
    backward    read output and grad: 2 b, write: b        3 b   (float32: 12)
    longer row  read output and grad twice: 4 b, write: b  5 b   (float32: 20)
    operations  maximum, subtract, exp, add, divide        5 forward, 4 backward

Written with torch's operations it would be five passes: max, subtract, exp, sum,
divide, of 8 b together. Up to MAX_COLS a row stays in the registers of its program and
is read once. A longer row is read twice, not three times, because maximum and sum are
found in one pass: when a block raises the maximum from m to m', the sum so far is
multiplied by exp(m - m').

Paper: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018,
arXiv:1805.02867, Algorithm 3. Differs from the paper: it goes block by block.
"""

# ruff: noqa: N803  a constexpr is in capitals

import math
from typing import Any

import torch
from torch import Tensor

from mlopt_kernels._triton import tl, triton

DTYPES = (torch.float16, torch.bfloat16, torch.float32)

TILE = 4096  # elements of a program where rows are short
MAX_COLS = 16384  # that a program holds at once


def softmax_reference(x: Tensor) -> Tensor:
    """Compute the softmax in plain torch; what the kernel must agree with.

    Args:
        x: Tensor of shape (..., n_cols), in one of `DTYPES`.

    Returns:
        A new contiguous tensor of the same shape and dtype.
    """
    return x.float().softmax(-1).to(x.dtype).contiguous()


@triton.jit
def _load_rows(pointers, mask, cols, n_cols):
    # Rows past the end become rows of zeros: of -inf alone they would give inf - inf.
    x = tl.load(pointers, mask=mask, other=0).to(tl.float32)
    return tl.where(cols[None, :] < n_cols, x, float("-inf"))


@triton.jit
def _softmax_forward_kernel(
    x_ptr,  # (n_rows, n_cols)
    output_ptr,  # (n_rows, n_cols)
    n_rows,
    n_cols,
    N_BLOCKS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    """Normalize BLOCK_ROWS rows of N_BLOCKS * BLOCK_COLS columns."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    cols = tl.arange(0, BLOCK_COLS)
    first = rows[:, None] * n_cols + cols[None, :]
    if N_BLOCKS == 1:
        mask = (rows[:, None] < n_rows) & (cols[None, :] < n_cols)
        x = _load_rows(x_ptr + first, mask, cols, n_cols)
        numerator = tl.exp(x - tl.max(x, axis=1)[:, None])
        output = numerator / tl.sum(numerator, axis=1)[:, None]
        tl.store(output_ptr + first, output, mask=mask)
    else:
        maximum = tl.full([BLOCK_ROWS], float("-inf"), dtype=tl.float32)
        total = tl.zeros([BLOCK_ROWS], dtype=tl.float32)
        for block in range(N_BLOCKS):
            start = block * BLOCK_COLS
            mask = (rows[:, None] < n_rows) & (start + cols[None, :] < n_cols)
            x = _load_rows(x_ptr + first + start, mask, start + cols, n_cols)
            raised = tl.maximum(maximum, tl.max(x, axis=1))
            # As long as all was -inf, shift by 0: exp(-inf - 0) is the 0 it should be.
            shift = tl.where(raised == float("-inf"), 0.0, raised)
            total = total * tl.exp(maximum - shift)
            total += tl.sum(tl.exp(x - shift[:, None]), axis=1)
            maximum = raised
        for block in range(N_BLOCKS):
            start = block * BLOCK_COLS
            mask = (rows[:, None] < n_rows) & (start + cols[None, :] < n_cols)
            x = _load_rows(x_ptr + first + start, mask, start + cols, n_cols)
            output = tl.exp(x - maximum[:, None]) / total[:, None]
            tl.store(output_ptr + first + start, output, mask=mask)


@triton.jit
def _softmax_backward_kernel(
    grad_ptr,  # (n_rows, n_cols)
    output_ptr,  # (n_rows, n_cols)
    grad_x_ptr,  # (n_rows, n_cols)
    n_rows,
    n_cols,
    N_BLOCKS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    """Write the gradient of BLOCK_ROWS rows of N_BLOCKS * BLOCK_COLS columns."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    cols = tl.arange(0, BLOCK_COLS)
    first = rows[:, None] * n_cols + cols[None, :]
    if N_BLOCKS == 1:
        mask = (rows[:, None] < n_rows) & (cols[None, :] < n_cols)
        grad = tl.load(grad_ptr + first, mask=mask, other=0).to(tl.float32)
        output = tl.load(output_ptr + first, mask=mask, other=0).to(tl.float32)
        dot = tl.sum(grad * output, axis=1)
        tl.store(grad_x_ptr + first, output * (grad - dot[:, None]), mask=mask)
    else:
        dot = tl.zeros([BLOCK_ROWS], dtype=tl.float32)
        for block in range(N_BLOCKS):
            start = block * BLOCK_COLS
            mask = (rows[:, None] < n_rows) & (start + cols[None, :] < n_cols)
            offsets = first + start
            grad = tl.load(grad_ptr + offsets, mask=mask, other=0).to(tl.float32)
            output = tl.load(output_ptr + offsets, mask=mask, other=0).to(tl.float32)
            dot += tl.sum(grad * output, axis=1)
        for block in range(N_BLOCKS):
            start = block * BLOCK_COLS
            mask = (rows[:, None] < n_rows) & (start + cols[None, :] < n_cols)
            offsets = first + start
            grad = tl.load(grad_ptr + offsets, mask=mask, other=0).to(tl.float32)
            output = tl.load(output_ptr + offsets, mask=mask, other=0).to(tl.float32)
            tl.store(grad_x_ptr + offsets, output * (grad - dot[:, None]), mask=mask)


def _config(n_cols: int) -> tuple[int, int]:
    """Return the rows and columns that a program holds at once."""
    if n_cols > MAX_COLS:
        return 1, TILE
    block_cols = triton.next_power_of_2(n_cols)
    return max(1, TILE // block_cols), block_cols


def _num_warps(block_rows: int, block_cols: int) -> int:
    # 32 elements a thread: float32 values of two tensors then fit in its registers.
    return max(1, min(16, block_rows * block_cols // 1024))


def softmax_forward(
    x: Tensor, output: Tensor, *, config: tuple[int, int] | None = None
) -> None:
    """Launch the forward kernel, one program for each block of rows.

    Args:
        x: Contiguous tensor of shape (n_rows, n_cols), in one of `DTYPES`.
        output: Contiguous tensor of the shape and dtype of `x`; written.
        config: Rows and columns of a block, both powers of two; chosen if None.
    """
    n_rows, n_cols = x.shape
    if x.numel() == 0:
        return
    block_rows, block_cols = config or _config(n_cols)
    _softmax_forward_kernel[(triton.cdiv(n_rows, block_rows),)](
        x,
        output,
        n_rows,
        n_cols,
        N_BLOCKS=triton.cdiv(n_cols, block_cols),
        BLOCK_ROWS=block_rows,
        BLOCK_COLS=block_cols,
        num_warps=_num_warps(block_rows, block_cols),
    )


def softmax_backward(
    grad: Tensor,
    output: Tensor,
    grad_x: Tensor,
    *,
    config: tuple[int, int] | None = None,
) -> None:
    """Launch the backward kernel, one program for each block of rows.

    Args:
        grad: Gradient of the loss for `output`, contiguous, of its shape and dtype.
        output: What `softmax_forward` wrote, of shape (n_rows, n_cols).
        grad_x: Contiguous tensor of the same shape and dtype; written.
        config: Rows and columns of a block, both powers of two; chosen if None.
    """
    n_rows, n_cols = output.shape
    if output.numel() == 0:
        return
    block_rows, block_cols = config or _config(n_cols)
    _softmax_backward_kernel[(triton.cdiv(n_rows, block_rows),)](
        grad,
        output,
        grad_x,
        n_rows,
        n_cols,
        N_BLOCKS=triton.cdiv(n_cols, block_cols),
        BLOCK_ROWS=block_rows,
        BLOCK_COLS=block_cols,
        num_warps=_num_warps(block_rows, block_cols),
    )


@torch.library.custom_op("mlopt::softmax", mutates_args=(), device_types="cpu")
def _softmax(x: Tensor) -> Tensor:
    return softmax_reference(x)


@_softmax.register_kernel("cuda")
def _softmax_cuda(x: Tensor) -> Tensor:
    output = torch.empty_like(x, memory_format=torch.contiguous_format)
    # Triton launches on the current GPU, which need not be the one of x.
    with torch.cuda.device(x.device):
        softmax_forward(x.contiguous(), output)
    return output


@_softmax.register_fake
def _softmax_fake(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.custom_op("mlopt::softmax_backward", mutates_args=(), device_types="cpu")
def _softmax_backward_op(grad: Tensor, output: Tensor) -> Tensor:
    grad_f32, output_f32 = grad.float(), output.float()
    dot = (grad_f32 * output_f32).sum(-1, keepdim=True)
    return (output_f32 * (grad_f32 - dot)).to(output.dtype).contiguous()


@_softmax_backward_op.register_kernel("cuda")
def _softmax_backward_cuda(grad: Tensor, output: Tensor) -> Tensor:
    grad_x = torch.empty_like(output)
    with torch.cuda.device(output.device):
        softmax_backward(grad.contiguous(), output, grad_x)
    return grad_x


@_softmax_backward_op.register_fake
def _softmax_backward_fake(grad: Tensor, output: Tensor) -> Tensor:
    return torch.empty_like(output)


def _softmax_setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(output)


def _softmax_autograd(ctx: Any, grad: Tensor) -> Tensor:
    (output,) = ctx.saved_tensors
    grad_x: Tensor = _softmax_backward_op(grad, output)
    return grad_x


_softmax.register_autograd(_softmax_autograd, setup_context=_softmax_setup_context)


def softmax(x: Tensor) -> Tensor:
    """Normalize the last dimension to probabilities.

    On a CPU this computes `softmax_reference`; on an NVIDIA GPU it launches the kernel.
    Autograd and `torch.compile` work through it; the output is all that is saved. A
    row of -inf alone becomes NaN, as in torch. A non-contiguous input is copied first.

    Args:
        x: Tensor of shape (..., n_cols), in one of `DTYPES`.

    Returns:
        A new contiguous tensor of the same shape and dtype; each row sums to 1.

    Raises:
        TypeError: If the dtype is not one of `DTYPES`.
        ValueError: If `x` has no dimension.
        ModuleNotFoundError: If the tensor is on a GPU and Triton is missing.

    Example:
        >>> softmax(torch.tensor([[0.0, 0.0], [0.0, -torch.inf]]))
        tensor([[0.5000, 0.5000],
                [1.0000, 0.0000]])
    """
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"x must have one of the dtypes {names}, got {x.dtype}")
    if x.dim() == 0:
        raise ValueError("x must have at least 1 dimension, got 0")
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    output: Tensor = _softmax(rows)
    return output.view(x.shape)
