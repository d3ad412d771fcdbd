r"""Cross-entropy: from logits to the loss and its gradient, with nothing in between.

    lse_i  = log sum_k exp(z[i, k]),   q = softmax(z[i]),   y: the label,   s: smoothing
    loss_i = lse_i - (1 - s) * z[i, y] - s/n * sum_k z[i, k]
    grad_z[i, k] = scale * (q_k - (1 - s) * [k = y] - s/n)

`scale` is 1 for a sum, and 1 / (rows that count) for a mean.

Counted for each logit of b bytes (float32: b = 4):

    with gradient    read z: b, write grad_z: b            2 b   (float32: 8)
    longer row       read z: 2 b, write grad_z: b          3 b   (float32: 12)
    loss alone       read z: b                             b     (float32: 4)
    backward         read grad_z: b, write: b              2 b   (float32: 8)
    operations       maximum, exp, add, divide, subtract   6

torch's two operations move 6 b: log_softmax reads z and writes log q, nll_loss reads
one of its numbers a row, and backward writes a matrix for nll_loss, reads that and
log q, and writes grad_z. Here the row is in registers when its loss is known, so the
gradient is one more store, and q is never in memory: that is the gain at a vocabulary
of 100,000. Backward then multiplies by the gradient of the loss. Where no gradient is
wanted, none is written.

Up to MAX_COLS a row is read once. A longer one is read twice: its maximum and sum are
found online, as in `softmax`; the second reading often still finds it in the L2 cache.

Paper: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
2015, arXiv:1512.00567, section 7 (label smoothing). Differs from the paper: nothing.
"""

# ruff: noqa: N803  a constexpr is in capitals

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mlopt_kernels._triton import tl, triton

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
REDUCTIONS = ("mean", "sum", "none")

TILE = 4096  # elements of a program where rows are short
MAX_COLS = 16384  # that a program holds at once


def cross_entropy_reference(
    logits: Tensor,
    labels: Tensor,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Compute the loss in plain torch; what the kernel must agree with.

    Args:
        logits: Tensor of shape (n_rows, n_classes), in one of `DTYPES`.
        labels: int64 tensor of shape (n_rows,).
        label_smoothing: Share of the label that all classes divide, in [0, 1].
        ignore_index: Label of the rows that do not count.
        reduction: One of `REDUCTIONS`.

    Returns:
        float32 scalar, or tensor of shape (n_rows,) for "none".
    """
    return functional.cross_entropy(
        logits.float(),
        labels,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        reduction=reduction,
    )


@triton.jit
def _gradient(z, maximum, log_total, target, kept, scale):
    """Return the gradient of a block of logits."""
    q = tl.exp(z - maximum[:, None] - log_total[:, None])
    grad = (q - target) * scale
    return tl.where(kept[:, None], grad, 0.0)


@triton.jit
def _cross_entropy_kernel(
    logits_ptr,  # (n_rows, n_cols)
    labels_ptr,  # (n_rows,)
    scale_ptr,  # (1,)
    loss_ptr,  # (n_rows,)
    grad_ptr,  # (n_rows, n_cols), or anything where WITH_GRAD is false
    ignore_index,
    n_rows,
    n_cols,
    SMOOTHING: tl.constexpr,
    WITH_GRAD: tl.constexpr,
    N_BLOCKS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    """Write loss and gradient of BLOCK_ROWS rows of N_BLOCKS * BLOCK_COLS columns."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    cols = tl.arange(0, BLOCK_COLS)
    row_mask = rows < n_rows
    first = rows[:, None] * n_cols + cols[None, :]
    label = tl.load(labels_ptr + rows, mask=row_mask, other=0)
    kept = label != ignore_index
    known = (label >= 0) & (label < n_cols)
    scale = tl.load(scale_ptr)
    share = SMOOTHING / n_cols
    label_logit = tl.load(
        logits_ptr + rows * n_cols + label, mask=row_mask & kept & known, other=0
    ).to(tl.float32)

    maximum = tl.full([BLOCK_ROWS], float("-inf"), dtype=tl.float32)
    total = tl.zeros([BLOCK_ROWS], dtype=tl.float32)
    logit_sum = tl.zeros([BLOCK_ROWS], dtype=tl.float32)
    z = tl.zeros([BLOCK_ROWS, BLOCK_COLS], dtype=tl.float32)
    for block in range(N_BLOCKS):
        start = block * BLOCK_COLS
        mask = row_mask[:, None] & (start + cols[None, :] < n_cols)
        z = tl.load(logits_ptr + first + start, mask=mask, other=0).to(tl.float32)
        if SMOOTHING > 0:
            logit_sum += tl.sum(z, axis=1)
        # Rows past the end stay zeros: of -inf alone they would give inf - inf.
        z = tl.where(start + cols[None, :] < n_cols, z, float("-inf"))
        raised = tl.maximum(maximum, tl.max(z, axis=1))
        shift = tl.where(raised == float("-inf"), 0.0, raised)
        total = total * tl.exp(maximum - shift)
        total += tl.sum(tl.exp(z - shift[:, None]), axis=1)
        maximum = raised
    log_total = tl.log(total)

    # Not (maximum + log_total) - label_logit: large logits would swallow log_total.
    loss = log_total + (1.0 - SMOOTHING) * (maximum - label_logit)
    if SMOOTHING > 0:
        loss += SMOOTHING * maximum - share * logit_sum
    # A label that is no class has no loss; NaN shows it without stopping the GPU.
    loss = tl.where(known, loss, float("nan"))
    loss = tl.where(kept, loss, 0.0) * scale
    tl.store(loss_ptr + rows, loss, mask=row_mask)
    if WITH_GRAD:
        if N_BLOCKS == 1:
            # The loop ran once: z is still the whole row.
            mask = row_mask[:, None] & (cols[None, :] < n_cols)
            target = tl.where(cols[None, :] == label[:, None], 1.0 - SMOOTHING, 0.0)
            grad = _gradient(z, maximum, log_total, target + share, kept, scale)
            tl.store(grad_ptr + first, grad, mask=mask)
        else:
            for block in range(N_BLOCKS):
                start = block * BLOCK_COLS
                mask = row_mask[:, None] & (start + cols[None, :] < n_cols)
                z = tl.load(logits_ptr + first + start, mask=mask, other=0)
                z = z.to(tl.float32)
                is_label = start + cols[None, :] == label[:, None]
                target = tl.where(is_label, 1.0 - SMOOTHING, 0.0) + share
                grad = _gradient(z, maximum, log_total, target, kept, scale)
                tl.store(grad_ptr + first + start, grad, mask=mask)


def _config(n_cols: int) -> tuple[int, int]:
    """Return the rows and columns that a program holds at once."""
    if n_cols > MAX_COLS:
        return 1, TILE
    block_cols = triton.next_power_of_2(n_cols)
    return max(1, TILE // block_cols), block_cols


def cross_entropy_forward(
    logits: Tensor,
    labels: Tensor,
    scale: Tensor,
    losses: Tensor,
    grad_logits: Tensor | None,
    *,
    label_smoothing: float,
    ignore_index: int,
    config: tuple[int, int] | None = None,
) -> None:
    """Launch the kernel, one program for each block of rows.

    Args:
        logits: Contiguous tensor of shape (n_rows, n_classes), in one of `DTYPES`.
        labels: Contiguous int64 tensor of shape (n_rows,).
        scale: float32 tensor of shape (1,): factor of every loss and gradient.
        losses: Contiguous float32 tensor of shape (n_rows,); written.
        grad_logits: Contiguous tensor of the shape and dtype of `logits`; written. None
            if it is not wanted.
        label_smoothing: Share of the label that all classes divide, in [0, 1].
        ignore_index: Label of the rows whose loss and gradient are 0.
        config: Rows and columns of a block, both powers of two; chosen if None.
    """
    n_rows, n_cols = logits.shape
    if n_rows == 0:
        return
    block_rows, block_cols = config or _config(n_cols)
    _cross_entropy_kernel[(triton.cdiv(n_rows, block_rows),)](
        logits,
        labels,
        scale,
        losses,
        losses if grad_logits is None else grad_logits,
        ignore_index,
        n_rows,
        n_cols,
        SMOOTHING=label_smoothing,
        WITH_GRAD=grad_logits is not None,
        N_BLOCKS=triton.cdiv(n_cols, block_cols),
        BLOCK_ROWS=block_rows,
        BLOCK_COLS=block_cols,
        num_warps=max(1, min(16, block_rows * block_cols // 1024)),
    )


def _scale(labels: Tensor, ignore_index: int, reduction: str) -> Tensor:
    # Counted on the device: asking for the number would wait for the GPU.
    if reduction == "mean":
        return 1 / (labels != ignore_index).sum(0, keepdim=True).float()
    return torch.ones(1, device=labels.device)


@torch.library.custom_op("mlopt::cross_entropy", mutates_args=(), device_types="cpu")
def _cross_entropy(
    logits: Tensor,
    labels: Tensor,
    label_smoothing: float,
    ignore_index: int,
    reduction: str,
    with_grad: bool,
) -> tuple[Tensor, Tensor]:
    loss = cross_entropy_reference(
        logits,
        labels,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        reduction=reduction,
    )
    if not with_grad:
        return loss, logits.new_empty(0)
    kept = labels != ignore_index
    grad = logits.float().softmax(-1) - label_smoothing / logits.shape[-1]
    grad[kept, labels[kept]] -= 1 - label_smoothing
    grad = grad * _scale(labels, ignore_index, reduction)
    grad = torch.where(kept.unsqueeze(-1), grad, 0.0)
    return loss, grad.to(logits.dtype).contiguous()


@_cross_entropy.register_kernel("cuda")
def _cross_entropy_cuda(
    logits: Tensor,
    labels: Tensor,
    label_smoothing: float,
    ignore_index: int,
    reduction: str,
    with_grad: bool,
) -> tuple[Tensor, Tensor]:
    losses = logits.new_empty(logits.shape[0], dtype=torch.float32)
    grad_logits = None
    if with_grad:
        grad_logits = torch.empty_like(logits, memory_format=torch.contiguous_format)
    # Triton launches on the current GPU, which need not be the one of the logits.
    with torch.cuda.device(logits.device):
        cross_entropy_forward(
            logits.contiguous(),
            labels.contiguous(),
            _scale(labels, ignore_index, reduction),
            losses,
            grad_logits,
            label_smoothing=label_smoothing,
            ignore_index=ignore_index,
        )
    loss = losses if reduction == "none" else losses.sum()
    # No row at all: a mean of nothing, as torch has it.
    if reduction == "mean" and losses.numel() == 0:
        loss = loss / 0
    return loss, logits.new_empty(0) if grad_logits is None else grad_logits


@_cross_entropy.register_fake
def _cross_entropy_fake(
    logits: Tensor,
    labels: Tensor,
    label_smoothing: float,
    ignore_index: int,
    reduction: str,
    with_grad: bool,
) -> tuple[Tensor, Tensor]:
    shape = logits.shape[:1] if reduction == "none" else ()
    grad = logits.new_empty(logits.shape if with_grad else 0)
    return logits.new_empty(shape, dtype=torch.float32), grad


def _cross_entropy_setup_context(
    ctx: Any,
    inputs: tuple[Tensor, Tensor, float, int, str, bool],
    output: tuple[Tensor, Tensor],
) -> None:
    ctx.save_for_backward(output[1])


def _cross_entropy_autograd(
    ctx: Any, grad_loss: Tensor, *_: Tensor
) -> tuple[Tensor | None, ...]:
    (grad_logits,) = ctx.saved_tensors
    # A scalar for mean and sum, one number a row for none.
    scaled = (grad_logits * grad_loss.reshape(-1, 1)).to(grad_logits.dtype)
    return scaled, None, None, None, None, None


_cross_entropy.register_autograd(
    _cross_entropy_autograd, setup_context=_cross_entropy_setup_context
)


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross-entropy of labels under softmax(logits), in float32.

    On a CPU this computes `cross_entropy_reference`; on an NVIDIA GPU it launches the
    kernel, which also writes the gradient if `logits` requires one. Autograd and
    `torch.compile` work through it, once: there is no second derivative. A label out of
    range raises on a CPU and gives NaN on a GPU, where a check would have to wait.

    Args:
        logits: Tensor of shape (..., n_classes), in one of `DTYPES`. A non-contiguous
            one is copied first.
        labels: int64 tensor of shape (...), entries in [0, n_classes), or
            `ignore_index`.
        label_smoothing: Share of the label that all classes divide, in [0, 1].
        ignore_index: Label of the rows that do not count.
        reduction: "mean" over the rows that count (NaN if none does), "sum", or "none".

    Returns:
        Loss in nats: a float32 scalar, or a tensor of the shape of `labels` for "none",
        0 where a row does not count.

    Raises:
        TypeError: If a dtype does not fit.
        ValueError: If a shape, device or number does not fit.
        ModuleNotFoundError: If the tensors are on a GPU and Triton is missing.

    Example:
        >>> logits = torch.tensor([[0.0, 0.0], [0.0, 9.0], [3.0, 4.0]])
        >>> cross_entropy(logits, torch.tensor([0, 0, -100]), reduction="none")
        tensor([0.6931, 9.0001, 0.0000])
    """
    if logits.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(
            f"logits must have one of the dtypes {names}, got {logits.dtype}"
        )
    if labels.dtype != torch.int64:
        raise TypeError(f"labels must have the dtype int64, got {labels.dtype}")
    if logits.dim() == 0 or logits.shape[-1] == 0:
        raise ValueError(
            f"logits must have at least one class, got shape {tuple(logits.shape)}"
        )
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"labels must have the shape {tuple(logits.shape[:-1])}, the logits' "
            f"without the classes, got {tuple(labels.shape)}"
        )
    if labels.device != logits.device:
        raise ValueError(
            f"labels must have the device of logits, {logits.device}, "
            f"got {labels.device}"
        )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must lie in [0, 1], got {label_smoothing}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {REDUCTIONS}, got {reduction!r}")
    loss: Tensor = _cross_entropy(
        logits.reshape(math.prod(logits.shape[:-1]), logits.shape[-1]),
        labels.reshape(-1),
        float(label_smoothing),
        ignore_index,
        reduction,
        logits.requires_grad and torch.is_grad_enabled(),
    )[0]
    return loss.view(labels.shape) if reduction == "none" else loss
