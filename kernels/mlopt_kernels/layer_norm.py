r"""Layer normalization, and sums over rows that many programs share.

    mean_i = 1/n sum_j x[i, j],   var_i = 1/n sum_j (x[i, j] - mean_i)^2
    rstd_i = 1 / sqrt(var_i + eps),   normal[i, j] = (x[i, j] - mean_i) * rstd_i
    output[i, j] = normal[i, j] * weight[j] + bias[j]

With g = grad[i, j] * weight[j] and means over the row:

    grad_x[i, j]   = rstd_i * (g - mean(g) - normal[i, j] * mean(g * normal))
    grad_weight[j] = sum_i grad[i, j] * normal[i, j]
    grad_bias[j]   = sum_i grad[i, j]

Counted for each element of b bytes (float32: b = 4), for many more rows than columns:

    forward     read x: b, write output: b                 2 b   (float32: 8)
    backward    read x and grad: 2 b, write grad_x: b      3 b   (float32: 12)
    operations  mean, var, scale: 2 + 3 + 4                9 forward, 14 backward

Forward keeps two float32 numbers a row, mean and rstd; `normal` is computed again.

Backward has sums in both directions. Along a row one program has everything in its
registers. Down a column it sees only its own rows, so each program adds up those and
stores one row of *partial* sums, and a second kernel adds the partial rows. The number
of programs is bounded, so the partial sums are small beside x, and without atomics the
result has the same bits every time.

Paper: Ba, Kiros and Hinton, "Layer Normalization", 2016, arXiv:1607.06450, equations 3
and 4. Differs from the paper: eps, as torch has it.
"""

# ruff: noqa: N803  a constexpr is in capitals

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mlopt_kernels._triton import tl, triton

DTYPES = (torch.float16, torch.bfloat16, torch.float32)

MAX_COLS = 8192  # backward holds four float32 values for each column
TILE = 2048  # elements of a program where rows are short
PROGRAMS = 512  # about four for each of an H100's 132 multiprocessors


def layer_norm_reference(
    x: Tensor, weight: Tensor, bias: Tensor, *, eps: float = 1e-5
) -> Tensor:
    """Normalize in plain torch; what the kernel must agree with.

    Args:
        x: Tensor of shape (..., n_cols), in one of `DTYPES`.
        weight: Tensor of shape (n_cols,) and the dtype of `x`.
        bias: Tensor of shape (n_cols,) and the dtype of `x`.
        eps: Added to the variance, above 0.

    Returns:
        A new contiguous tensor of the shape and dtype of `x`.
    """
    output = functional.layer_norm(
        x.float(), x.shape[-1:], weight.float(), bias.float(), eps
    )
    return output.to(x.dtype).contiguous()


@triton.jit
def _layer_norm_forward_kernel(
    x_ptr,  # (n_rows, n_cols)
    weight_ptr,  # (n_cols,)
    bias_ptr,  # (n_cols,)
    output_ptr,  # (n_rows, n_cols)
    mean_ptr,  # (n_rows,)
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
    bias = tl.load(bias_ptr + cols, mask=col_mask, other=0).to(tl.float32)
    mean = tl.sum(x, axis=1) / n_cols
    # The mean first: mean(x^2) - mean(x)^2 would cancel where the mean is large.
    centred = tl.where(mask, x - mean[:, None], 0.0)
    var = tl.sum(centred * centred, axis=1) / n_cols
    rstd = 1 / tl.sqrt(var + tl.cast(eps, tl.float32))
    output = centred * rstd[:, None] * weight[None, :] + bias[None, :]
    tl.store(output_ptr + offsets, output, mask=mask)
    tl.store(mean_ptr + rows, mean, mask=row_mask)
    tl.store(rstd_ptr + rows, rstd, mask=row_mask)


@triton.jit
def _layer_norm_backward_kernel(
    grad_ptr,  # (n_rows, n_cols)
    x_ptr,  # (n_rows, n_cols)
    weight_ptr,  # (n_cols,)
    mean_ptr,  # (n_rows,)
    rstd_ptr,  # (n_rows,)
    grad_x_ptr,  # (n_rows, n_cols)
    weight_partial_ptr,  # (n_programs, n_cols)
    bias_partial_ptr,  # (n_programs, n_cols)
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
    bias_sum = tl.zeros([BLOCK_ROWS, BLOCK_COLS], dtype=tl.float32)
    for block in range(N_BLOCKS):
        rows = (program * N_BLOCKS + block) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        row_mask = rows < n_rows
        mask = row_mask[:, None] & col_mask[None, :]
        offsets = rows[:, None] * n_cols + cols[None, :]
        grad = tl.load(grad_ptr + offsets, mask=mask, other=0).to(tl.float32)
        x = tl.load(x_ptr + offsets, mask=mask, other=0).to(tl.float32)
        mean = tl.load(mean_ptr + rows, mask=row_mask, other=0)
        rstd = tl.load(rstd_ptr + rows, mask=row_mask, other=0)
        # Past the last column grad is 0, and so is everything that is summed.
        normal = (x - mean[:, None]) * rstd[:, None]
        weight_sum += grad * normal
        bias_sum += grad
        weighted = grad * weight[None, :]
        mean_weighted = tl.sum(weighted, axis=1) / n_cols
        mean_product = tl.sum(weighted * normal, axis=1) / n_cols
        grad_x = weighted - mean_weighted[:, None] - normal * mean_product[:, None]
        tl.store(grad_x_ptr + offsets, grad_x * rstd[:, None], mask=mask)
    partial = program * n_cols + cols
    tl.store(weight_partial_ptr + partial, tl.sum(weight_sum, axis=0), mask=col_mask)
    tl.store(bias_partial_ptr + partial, tl.sum(bias_sum, axis=0), mask=col_mask)


@triton.jit
def _sum_columns_kernel(
    x_ptr,  # (n_rows, n_cols)
    output_ptr,  # (n_cols,)
    n_rows,
    n_cols,
    N_BLOCKS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    """Sum BLOCK_COLS columns over all rows: the second stage."""
    cols = tl.program_id(0) * BLOCK_COLS + tl.arange(0, BLOCK_COLS)
    total = tl.zeros([BLOCK_ROWS, BLOCK_COLS], dtype=tl.float32)
    for block in range(N_BLOCKS):
        rows = block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        mask = (rows[:, None] < n_rows) & (cols[None, :] < n_cols)
        offsets = rows[:, None] * n_cols + cols[None, :]
        total += tl.load(x_ptr + offsets, mask=mask, other=0)
    tl.store(output_ptr + cols, tl.sum(total, axis=0), mask=cols < n_cols)


def row_config(n_rows: int, n_cols: int) -> tuple[int, int, int]:
    """Return rows and columns of a block, and the blocks of a program in backward."""
    block_cols = triton.next_power_of_2(n_cols)
    block_rows = max(1, TILE // block_cols)
    # A power of two: not every number of rows shall compile a kernel of its own.
    n_blocks = triton.next_power_of_2(triton.cdiv(n_rows, block_rows * PROGRAMS))
    return block_rows, block_cols, n_blocks


def num_warps(block_rows: int, block_cols: int) -> int:
    """Return the warps that leave each thread 16 elements of a block."""
    return max(1, min(16, block_rows * block_cols // 512))


def sum_columns(partial: Tensor, output: Tensor) -> None:
    """Launch the second stage, one program for every 32 columns.

    Args:
        partial: Contiguous float32 tensor of shape (n_programs, n_cols).
        output: Contiguous tensor of shape (n_cols,), in one of `DTYPES`; written.
    """
    n_rows, n_cols = partial.shape
    _sum_columns_kernel[(triton.cdiv(n_cols, 32),)](
        partial,
        output,
        n_rows,
        n_cols,
        N_BLOCKS=triton.cdiv(n_rows, 64),
        BLOCK_ROWS=64,
        BLOCK_COLS=32,
    )


def layer_norm_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    output: Tensor,
    mean: Tensor,
    rstd: Tensor,
    *,
    eps: float,
    config: tuple[int, int, int] | None = None,
) -> None:
    """Launch the forward kernel, one program for each block of rows.

    Args:
        x: Contiguous tensor of shape (n_rows, n_cols), in one of `DTYPES`.
        weight: Contiguous tensor of shape (n_cols,).
        bias: Contiguous tensor of shape (n_cols,).
        output: Contiguous tensor of the shape and dtype of `x`; written.
        mean: Contiguous float32 tensor of shape (n_rows,); written.
        rstd: Contiguous float32 tensor of shape (n_rows,); written.
        eps: Added to the variance, above 0.
        config: As `row_config` gives it; chosen if None.
    """
    n_rows, n_cols = x.shape
    if n_rows == 0:
        return
    block_rows, block_cols, _ = config or row_config(n_rows, n_cols)
    _layer_norm_forward_kernel[(triton.cdiv(n_rows, block_rows),)](
        x,
        weight,
        bias,
        output,
        mean,
        rstd,
        eps,
        n_rows,
        n_cols,
        BLOCK_ROWS=block_rows,
        BLOCK_COLS=block_cols,
        num_warps=num_warps(block_rows, block_cols),
    )


def layer_norm_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    mean: Tensor,
    rstd: Tensor,
    grad_x: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    *,
    config: tuple[int, int, int] | None = None,
) -> None:
    """Launch both stages of the backward pass.

    Args:
        grad: Gradient of the loss for the output, contiguous, (n_rows, n_cols).
        x: What forward read, contiguous, of shape (n_rows, n_cols).
        weight: What forward read, of shape (n_cols,).
        mean: What forward wrote, of shape (n_rows,).
        rstd: What forward wrote, of shape (n_rows,).
        grad_x: Contiguous tensor of the shape and dtype of `x`; written.
        grad_weight: Contiguous tensor of shape (n_cols,); written.
        grad_bias: Contiguous tensor of shape (n_cols,); written.
        config: As `row_config` gives it; chosen if None.
    """
    n_rows, n_cols = x.shape
    if n_rows == 0:
        grad_weight.zero_()
        grad_bias.zero_()
        return
    block_rows, block_cols, n_blocks = config or row_config(n_rows, n_cols)
    n_programs = triton.cdiv(n_rows, block_rows * n_blocks)
    partial = x.new_empty(2, n_programs, n_cols, dtype=torch.float32)
    _layer_norm_backward_kernel[(n_programs,)](
        grad,
        x,
        weight,
        mean,
        rstd,
        grad_x,
        partial[0],
        partial[1],
        n_rows,
        n_cols,
        N_BLOCKS=n_blocks,
        BLOCK_ROWS=block_rows,
        BLOCK_COLS=block_cols,
        num_warps=num_warps(block_rows, block_cols),
    )
    sum_columns(partial[0], grad_weight)
    sum_columns(partial[1], grad_bias)


@torch.library.custom_op("mlopt::layer_norm", mutates_args=(), device_types="cpu")
def _layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    mean = x.float().mean(-1)
    var = (x.float() - mean.unsqueeze(-1)).square().mean(-1)
    output = layer_norm_reference(x, weight, bias, eps=eps)
    return output, mean, (var + eps).rsqrt()


@_layer_norm.register_kernel("cuda")
def _layer_norm_cuda(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    outputs: tuple[Tensor, Tensor, Tensor] = _layer_norm_fake(x, weight, bias, eps)
    # Triton launches on the current GPU, which need not be the one of x.
    with torch.cuda.device(x.device):
        layer_norm_forward(
            x.contiguous(), weight.contiguous(), bias.contiguous(), *outputs, eps=eps
        )
    return outputs


@_layer_norm.register_fake
def _layer_norm_fake(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    output = torch.empty_like(x, memory_format=torch.contiguous_format)
    mean, rstd = (x.new_empty(x.shape[0], dtype=torch.float32) for _ in range(2))
    return output, mean, rstd


@torch.library.custom_op(
    "mlopt::layer_norm_backward", mutates_args=(), device_types="cpu"
)
def _layer_norm_backward_op(
    grad: Tensor, x: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    grad_f32, rstd = grad.float(), rstd.unsqueeze(-1)
    normal = (x.float() - mean.unsqueeze(-1)) * rstd
    g = grad_f32 * weight.float()
    product = (g * normal).mean(-1, keepdim=True)
    grad_x = rstd * (g - g.mean(-1, keepdim=True) - normal * product)
    grad_weight, grad_bias = (grad_f32 * normal).sum(0), grad_f32.sum(0)
    return (
        grad_x.to(x.dtype).contiguous(),
        grad_weight.to(weight.dtype),
        grad_bias.to(weight.dtype),
    )


@_layer_norm_backward_op.register_kernel("cuda")
def _layer_norm_backward_cuda(
    grad: Tensor, x: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    grads: tuple[Tensor, Tensor, Tensor] = _layer_norm_backward_fake(
        grad, x, weight, mean, rstd
    )
    with torch.cuda.device(x.device):
        layer_norm_backward(
            grad.contiguous(), x.contiguous(), weight.contiguous(), mean, rstd, *grads
        )
    return grads


@_layer_norm_backward_op.register_fake
def _layer_norm_backward_fake(
    grad: Tensor, x: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    grad_weight, grad_bias = (weight.new_empty(weight.shape) for _ in range(2))
    return grad_x, grad_weight, grad_bias


def _layer_norm_setup_context(
    ctx: Any,
    inputs: tuple[Tensor, Tensor, Tensor, float],
    output: tuple[Tensor, Tensor, Tensor],
) -> None:
    x, weight, _, _ = inputs
    _, mean, rstd = output
    ctx.save_for_backward(x, weight, mean, rstd)


def _layer_norm_autograd(
    ctx: Any, grad: Tensor, *_: Tensor
) -> tuple[Tensor, Tensor, Tensor, None]:
    return *_layer_norm_backward_op(grad, *ctx.saved_tensors), None


_layer_norm.register_autograd(
    _layer_norm_autograd, setup_context=_layer_norm_setup_context
)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, *, eps: float = 1e-5) -> Tensor:
    """Give each row mean 0 and variance 1, then scale and shift its columns.

    On a CPU this computes `layer_norm_reference`; on an NVIDIA GPU it launches the
    kernel. Autograd and `torch.compile` work through it; saved are `x`, `weight` and
    two float32 numbers a row. A non-contiguous input is copied first.

    Args:
        x: Tensor of shape (..., n_cols), in one of `DTYPES`; n_cols from 1 to
            `MAX_COLS`.
        weight: Tensor of shape (n_cols,), of the dtype and device of `x`.
        bias: Tensor of shape (n_cols,), of the dtype and device of `x`.
        eps: Added to the variance, above 0.

    Returns:
        A new contiguous tensor of the shape and dtype of `x`.

    Raises:
        TypeError: If the dtype is not one of `DTYPES`.
        ValueError: If a shape, dtype or device does not fit, or `eps` is not above 0.
        ModuleNotFoundError: If the tensors are on a GPU and Triton is missing.

    Example:
        >>> x, weight, bias = torch.tensor([[1.0, 3.0]]), torch.ones(2), torch.zeros(2)
        >>> layer_norm(x, weight, bias)
        tensor([[-1.0000,  1.0000]])
    """
    check_norm(x, {"weight": weight, "bias": bias}, eps)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    output: Tensor = _layer_norm(rows, weight, bias, eps)[0]
    return output.view(x.shape)


def check_norm(x: Tensor, parameters: dict[str, Tensor], eps: float) -> None:
    """Raise the errors of `layer_norm`, which `rms_norm` shares."""
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"x must have one of the dtypes {names}, got {x.dtype}")
    if x.dim() == 0 or not 1 <= x.shape[-1] <= MAX_COLS:
        raise ValueError(
            f"x must have a last dimension from 1 to {MAX_COLS}, got shape "
            f"{tuple(x.shape)}"
        )
    for name, parameter in parameters.items():
        if parameter.shape != x.shape[-1:]:
            raise ValueError(
                f"{name} must have the shape {tuple(x.shape[-1:])}, "
                f"got {tuple(parameter.shape)}"
            )
        for attribute in ("dtype", "device"):
            wanted, got = getattr(x, attribute), getattr(parameter, attribute)
            if got != wanted:
                raise ValueError(
                    f"{name} must have the {attribute} of x, {wanted}, got {got}"
                )
    if not eps > 0:
        raise ValueError(f"eps must be above 0, got {eps}")
