r"""RMS normalization: layer normalization without the mean and the bias.

    rstd_i = 1 / sqrt(1/n sum_j x[i, j]^2 + eps)
    output[i, j] = x[i, j] * rstd_i * weight[j]

With normal = x * rstd, g = grad[i, j] * weight[j] and the mean over the row:

    grad_x[i, j]   = rstd_i * (g - normal[i, j] * mean(g * normal))
    grad_weight[j] = sum_i grad[i, j] * normal[i, j]

Counted for each element of b bytes (float32: b = 4), for many more rows than columns:

    forward     read x: b, write output: b                 2 b   (float32: 8)
    backward    read x and grad: 2 b, write grad_x: b      3 b   (float32: 12)
    operations  square, add, scale twice                   4 forward, 10 backward

The bytes are those of layer normalization, so on a GPU the time is too: what is saved
is arithmetic that nobody waited for, one sum a row, and the bias.

Read `layer_norm` first: the two stages down the columns are explained there, and the
second one is its kernel.

Paper: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019,
arXiv:1910.07467, equation 4. Differs from the paper: eps, as torch has it.
"""

# ruff: noqa: N803  a constexpr is in capitals

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mlopt_kernels._triton import tl, triton
from mlopt_kernels.layer_norm import (
    DTYPES,
    MAX_COLS,
    check_norm,
    num_warps,
    row_config,
    sum_columns,
)

__all__ = ["DTYPES", "MAX_COLS", "rms_norm", "rms_norm_reference"]


def rms_norm_reference(x: Tensor, weight: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Normalize in plain torch; what the kernel must agree with.

    Args:
        x: Tensor of shape (..., n_cols), in one of `DTYPES`.
        weight: Tensor of shape (n_cols,) and the dtype of `x`.
        eps: Added to the mean square, above 0.

    Returns:
        A new contiguous tensor of the shape and dtype of `x`.
    """
    output = functional.rms_norm(x.float(), x.shape[-1:], weight.float(), eps)
    return output.to(x.dtype).contiguous()


@triton.jit
def _rms_norm_forward_kernel(
    x_ptr,  # (n_rows, n_cols)
    weight_ptr,  # (n_cols,)
    output_ptr,  # (n_rows, n_cols)
    rstd_ptr,  # (n_rows,)
    eps,
    n_rows,
    n_cols,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    """Normalize BLOCK_ROWS rows of at most BLOCK_COLS columns."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    cols = tl.arange(0, BLOCK_COLS)
    row_mask, col_mask = rows < n_rows, cols < n_cols
    mask = row_mask[:, None] & col_mask[None, :]
    offsets = rows[:, None] * n_cols + cols[None, :]
    x = tl.load(x_ptr + offsets, mask=mask, other=0).to(tl.float32)
    weight = tl.load(weight_ptr + cols, mask=col_mask, other=0).to(tl.float32)
    mean_square = tl.sum(x * x, axis=1) / n_cols
    rstd = 1 / tl.sqrt(mean_square + tl.cast(eps, tl.float32))
    output = x * rstd[:, None] * weight[None, :]
    tl.store(output_ptr + offsets, output, mask=mask)
    tl.store(rstd_ptr + rows, rstd, mask=row_mask)


@triton.jit
def _rms_norm_backward_kernel(
    grad_ptr,  # (n_rows, n_cols)
    x_ptr,  # (n_rows, n_cols)
    weight_ptr,  # (n_cols,)
    rstd_ptr,  # (n_rows,)
    grad_x_ptr,  # (n_rows, n_cols)
    partial_ptr,  # (n_programs, n_cols)
    n_rows,
    n_cols,
    N_BLOCKS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    """Write grad_x of N_BLOCKS * BLOCK_ROWS rows, and their sums down the columns."""
    program = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK_COLS)
    col_mask = cols < n_cols
    weight = tl.load(weight_ptr + cols, mask=col_mask, other=0).to(tl.float32)
    weight_sum = tl.zeros([BLOCK_ROWS, BLOCK_COLS], dtype=tl.float32)
    for block in range(N_BLOCKS):
        rows = (program * N_BLOCKS + block) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        row_mask = rows < n_rows
        mask = row_mask[:, None] & col_mask[None, :]
        offsets = rows[:, None] * n_cols + cols[None, :]
        grad = tl.load(grad_ptr + offsets, mask=mask, other=0).to(tl.float32)
        x = tl.load(x_ptr + offsets, mask=mask, other=0).to(tl.float32)
        rstd = tl.load(rstd_ptr + rows, mask=row_mask, other=0)
        normal = x * rstd[:, None]
        weight_sum += grad * normal
        weighted = grad * weight[None, :]
        mean_product = tl.sum(weighted * normal, axis=1) / n_cols
        grad_x = (weighted - normal * mean_product[:, None]) * rstd[:, None]
        tl.store(grad_x_ptr + offsets, grad_x, mask=mask)
    partial = program * n_cols + cols
    tl.store(partial_ptr + partial, tl.sum(weight_sum, axis=0), mask=col_mask)


def rms_norm_forward(
    x: Tensor,
    weight: Tensor,
    output: Tensor,
    rstd: Tensor,
    *,
    eps: float,
    config: tuple[int, int, int] | None = None,
) -> None:
    """Launch the forward kernel, one program for each block of rows.

    Args:
        x: Contiguous tensor of shape (n_rows, n_cols), in one of `DTYPES`.
        weight: Contiguous tensor of shape (n_cols,).
        output: Contiguous tensor of the shape and dtype of `x`; written.
        rstd: Contiguous float32 tensor of shape (n_rows,); written.
        eps: Added to the mean square, above 0.
        config: As `row_config` gives it; chosen if None.
    """
    n_rows, n_cols = x.shape
    if n_rows == 0:
        return
    block_rows, block_cols, _ = config or row_config(n_rows, n_cols)
    _rms_norm_forward_kernel[(triton.cdiv(n_rows, block_rows),)](
        x,
        weight,
        output,
        rstd,
        eps,
        n_rows,
        n_cols,
        BLOCK_ROWS=block_rows,
        BLOCK_COLS=block_cols,
        num_warps=num_warps(block_rows, block_cols),
    )


def rms_norm_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    rstd: Tensor,
    grad_x: Tensor,
    grad_weight: Tensor,
    *,
    config: tuple[int, int, int] | None = None,
) -> None:
    """Launch both stages of the backward pass.

    Args:
        grad: Gradient of the loss for the output, contiguous, (n_rows, n_cols).
        x: What forward read, contiguous, of shape (n_rows, n_cols).
        weight: What forward read, of shape (n_cols,).
        rstd: What forward wrote, of shape (n_rows,).
        grad_x: Contiguous tensor of the shape and dtype of `x`; written.
        grad_weight: Contiguous tensor of shape (n_cols,); written.
        config: As `row_config` gives it; chosen if None.
    """
    n_rows, n_cols = x.shape
    if n_rows == 0:
        grad_weight.zero_()
        return
    block_rows, block_cols, n_blocks = config or row_config(n_rows, n_cols)
    n_programs = triton.cdiv(n_rows, block_rows * n_blocks)
    partial = x.new_empty(n_programs, n_cols, dtype=torch.float32)
    _rms_norm_backward_kernel[(n_programs,)](
        grad,
        x,
        weight,
        rstd,
        grad_x,
        partial,
        n_rows,
        n_cols,
        N_BLOCKS=n_blocks,
        BLOCK_ROWS=block_rows,
        BLOCK_COLS=block_cols,
        num_warps=num_warps(block_rows, block_cols),
    )
    sum_columns(partial, grad_weight)


@torch.library.custom_op("mlopt::rms_norm", mutates_args=(), device_types="cpu")
def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    rstd = (x.float().square().mean(-1) + eps).rsqrt()
    return rms_norm_reference(x, weight, eps=eps), rstd


@_rms_norm.register_kernel("cuda")
def _rms_norm_cuda(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    outputs: tuple[Tensor, Tensor] = _rms_norm_fake(x, weight, eps)
    # Triton launches on the current GPU, which need not be the one of x.
    with torch.cuda.device(x.device):
        rms_norm_forward(x.contiguous(), weight.contiguous(), *outputs, eps=eps)
    return outputs


@_rms_norm.register_fake
def _rms_norm_fake(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    output = torch.empty_like(x, memory_format=torch.contiguous_format)
    return output, x.new_empty(x.shape[0], dtype=torch.float32)


@torch.library.custom_op(
    "mlopt::rms_norm_backward", mutates_args=(), device_types="cpu"
)
def _rms_norm_backward_op(
    grad: Tensor, x: Tensor, weight: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor]:
    grad_f32, rstd = grad.float(), rstd.unsqueeze(-1)
    normal = x.float() * rstd
    g = grad_f32 * weight.float()
    grad_x = rstd * (g - normal * (g * normal).mean(-1, keepdim=True))
    grad_weight = (grad_f32 * normal).sum(0)
    return grad_x.to(x.dtype).contiguous(), grad_weight.to(weight.dtype)


@_rms_norm_backward_op.register_kernel("cuda")
def _rms_norm_backward_cuda(
    grad: Tensor, x: Tensor, weight: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor]:
    grads: tuple[Tensor, Tensor] = _rms_norm_backward_fake(grad, x, weight, rstd)
    with torch.cuda.device(x.device):
        rms_norm_backward(
            grad.contiguous(), x.contiguous(), weight.contiguous(), rstd, *grads
        )
    return grads


@_rms_norm_backward_op.register_fake
def _rms_norm_backward_fake(
    grad: Tensor, x: Tensor, weight: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor]:
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    return grad_x, weight.new_empty(weight.shape)


def _rms_norm_setup_context(
    ctx: Any, inputs: tuple[Tensor, Tensor, float], output: tuple[Tensor, Tensor]
) -> None:
    x, weight, _ = inputs
    ctx.save_for_backward(x, weight, output[1])


def _rms_norm_autograd(
    ctx: Any, grad: Tensor, *_: Tensor
) -> tuple[Tensor, Tensor, None]:
    return *_rms_norm_backward_op(grad, *ctx.saved_tensors), None


_rms_norm.register_autograd(_rms_norm_autograd, setup_context=_rms_norm_setup_context)


def rms_norm(x: Tensor, weight: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Give each row the mean square 1, then scale its columns.

    On a CPU this computes `rms_norm_reference`; on an NVIDIA GPU it launches the
    kernel. Autograd and `torch.compile` work through it; saved are `x`, `weight` and
    one float32 number a row. A non-contiguous input is copied first.

    Args:
        x: Tensor of shape (..., n_cols), in one of `DTYPES`; n_cols from 1 to
            `MAX_COLS`.
        weight: Tensor of shape (n_cols,), of the dtype and device of `x`.
        eps: Added to the mean square, above 0.

    Returns:
        A new contiguous tensor of the shape and dtype of `x`.

    Raises:
        TypeError: If the dtype is not one of `DTYPES`.
        ValueError: If a shape, dtype or device does not fit, or `eps` is not above 0.
        ModuleNotFoundError: If the tensors are on a GPU and Triton is missing.

    Example:
        >>> rms_norm(torch.tensor([[3.0, 3.0]]), torch.tensor([1.0, 2.0]))
        tensor([[1.0000, 2.0000]])
    """
    check_norm(x, {"weight": weight}, eps)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    output: Tensor = _rms_norm(rows, weight, eps)[0]
    return output.view(x.shape)
