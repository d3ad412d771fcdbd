r"""Distillation loss: hard labels and a softened teacher, without any probabilities.

    p = softmax(v / T),  q = softmax(z / T)       v, z: logits of teacher and student
    soft_i = T^2 KL(p || q) = T^2 sum_k p_k (log p_k - log q_k)
    hard_i = log sum_k exp(z_k) - z_y             0 where row i has no label
    loss   = soft_weight * mean(soft) + hard_weight * mean(hard over labelled rows)
    grad_z = soft_weight * T * (q - p) / n_rows
             + hard_weight * (softmax(z) - [k = y]) / n_labelled

Counted for each logit of b bytes (float32: b = 4):

    forward     read z and v: 2 b                          2 b   (float32: 8)
    backward    read z and v: 2 b, write grad_z: b         3 b   (float32: 12)
    operations  three exp and their sums, one product      12 forward, 10 backward

torch's operations write and read log q, log p, their softmax for the gradient and the
logits divided by T, twice: some 20 b. Here one pass over a row finds all its sums,
online as in `softmax`. The divergence needs no second pass, for with m = max z,
n = max v:

    KL = sum_k exp((v_k - n)/T) (v_k - z_k) / (T t) - lse(v/T) + lse(z/T)
    t  = sum_k exp((v_k - n)/T)

Forward keeps three float32 numbers a row, the logarithms of the three sums, and
backward computes each probability from its logit again where it is needed: an exp is
cheaper than a float from memory.

Paper: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015,
arXiv:1503.02531, section 2. Differs from the paper: KL is their cross-entropy with p
less the teacher's entropy, a constant.
"""

# ruff: noqa: N803  a constexpr is in capitals

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mlopt_kernels._triton import tl, triton

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
NO_LABEL = -100  # torch's ignore_index

TILE = 2048  # elements of each of both tensors that a program holds


def distillation_loss_reference(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 4.0,
    hard_weight: float = 0.1,
    soft_weight: float = 0.9,
) -> Tensor:
    """Compute the loss in plain torch; what the kernel must agree with.

    Args:
        student_logits: Tensor of shape (n_rows, n_classes), in one of `DTYPES`.
        teacher_logits: Tensor of the same shape and dtype.
        labels: int64 tensor of shape (n_rows,), -100 where there is no label.
        temperature: T above, above 0.
        hard_weight: Factor of the cross-entropy.
        soft_weight: Factor of the divergence.

    Returns:
        float32 scalar.
    """
    student, teacher = student_logits.float(), teacher_logits.float()
    log_q = (student / temperature).log_softmax(-1)
    log_p = (teacher / temperature).log_softmax(-1)
    # A class that the teacher rules out adds nothing, whatever the student says.
    terms = torch.where(log_p == -torch.inf, 0.0, log_p.exp() * (log_p - log_q))
    soft = temperature**2 * terms.sum() / max(1, len(labels))
    hard = functional.cross_entropy(student, labels, reduction="sum")
    n_labelled = (labels != NO_LABEL).sum().clamp(min=1)
    return soft_weight * soft + hard_weight * hard / n_labelled


@triton.jit
def _distillation_loss_forward_kernel(
    student_ptr,  # (n_rows, n_cols)
    teacher_ptr,  # (n_rows, n_cols)
    labels_ptr,  # (n_rows,)
    hard_scale_ptr,  # (1,)
    loss_ptr,  # (n_rows,)
    log_sums_ptr,  # (3, n_rows): of student, student / T, teacher / T
    temperature,
    soft_scale,
    n_rows,
    n_cols,
    N_BLOCKS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    """Write the losses of BLOCK_ROWS rows, and what backward needs of them."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    cols = tl.arange(0, BLOCK_COLS)
    row_mask = rows < n_rows
    first = rows[:, None] * n_cols + cols[None, :]
    temperature = tl.cast(temperature, tl.float32)
    zeros = tl.zeros([BLOCK_ROWS], dtype=tl.float32)
    student_max = tl.full([BLOCK_ROWS], float("-inf"), dtype=tl.float32)
    teacher_max = student_max
    hard_sum, soft_sum, teacher_sum, product = zeros, zeros, zeros, zeros
    for block in range(N_BLOCKS):
        start = block * BLOCK_COLS
        col_mask = start + cols[None, :] < n_cols
        mask = row_mask[:, None] & col_mask
        offsets = first + start
        z = tl.load(student_ptr + offsets, mask=mask, other=0).to(tl.float32)
        v = tl.load(teacher_ptr + offsets, mask=mask, other=0).to(tl.float32)
        # Rows past the end stay zeros: of -inf alone they would give inf - inf.
        z = tl.where(col_mask, z, float("-inf"))
        v = tl.where(col_mask, v, float("-inf"))
        raised_z = tl.maximum(student_max, tl.max(z, axis=1))
        raised_v = tl.maximum(teacher_max, tl.max(v, axis=1))
        # As long as all was -inf, shift by 0: exp(-inf - 0) is the 0 it should be.
        shift_z = tl.where(raised_z == float("-inf"), 0.0, raised_z)
        shift_v = tl.where(raised_v == float("-inf"), 0.0, raised_v)
        down_z, down_v = student_max - shift_z, teacher_max - shift_v
        soft_z = (z - shift_z[:, None]) / temperature
        soft_v = tl.exp((v - shift_v[:, None]) / temperature)
        # A class that the teacher rules out adds nothing, whatever the student says.
        ruled_out = v == float("-inf")
        gap = tl.where(ruled_out, 0.0, v) - tl.where(ruled_out, 0.0, z)
        hard_sum = hard_sum * tl.exp(down_z) + tl.sum(
            tl.exp(z - shift_z[:, None]), axis=1
        )
        soft_sum = soft_sum * tl.exp(down_z / temperature) + tl.sum(
            tl.exp(soft_z), axis=1
        )
        fade = tl.exp(down_v / temperature)
        teacher_sum = teacher_sum * fade + tl.sum(soft_v, axis=1)
        product = product * fade + tl.sum(soft_v * gap, axis=1)
        student_max, teacher_max = raised_z, raised_v
    log_hard, log_soft = tl.log(hard_sum), tl.log(soft_sum)
    log_teacher = tl.log(teacher_sum)
    # Maxima meet before the logarithms: large logits would swallow these.
    divergence = product / teacher_sum + student_max - teacher_max
    divergence = divergence / temperature + log_soft - log_teacher

    label = tl.load(labels_ptr + rows, mask=row_mask, other=-100)
    known = (label >= 0) & (label < n_cols)
    label_logit = tl.load(
        student_ptr + rows * n_cols + label, mask=row_mask & known, other=0
    ).to(tl.float32)
    # A label that is no class has no loss; NaN shows it without stopping the GPU.
    hard = tl.where(known, student_max - label_logit + log_hard, float("nan"))
    hard = tl.where(label == -100, 0.0, hard) * tl.load(hard_scale_ptr)
    soft = tl.cast(soft_scale, tl.float32) * temperature * temperature * divergence
    tl.store(loss_ptr + rows, soft + hard, mask=row_mask)
    hard_log_sum = student_max + log_hard
    soft_log_sum = student_max / temperature + log_soft
    teacher_log_sum = teacher_max / temperature + log_teacher
    tl.store(log_sums_ptr + rows, hard_log_sum, mask=row_mask)
    tl.store(log_sums_ptr + n_rows + rows, soft_log_sum, mask=row_mask)
    tl.store(log_sums_ptr + n_rows + n_rows + rows, teacher_log_sum, mask=row_mask)


@triton.jit
def _distillation_loss_backward_kernel(
    grad_ptr,  # (1,): gradient of the loss
    student_ptr,  # (n_rows, n_cols)
    teacher_ptr,  # (n_rows, n_cols)
    labels_ptr,  # (n_rows,)
    hard_scale_ptr,  # (1,)
    log_sums_ptr,  # (3, n_rows)
    grad_student_ptr,  # (n_rows, n_cols)
    temperature,
    soft_scale,
    n_rows,
    n_cols,
    n_chunks,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    """Write a block of the gradient; with the sums known, every block is alone."""
    program = tl.program_id(0)
    first_row = (program // n_chunks).to(tl.int64) * BLOCK_ROWS
    rows = first_row + tl.arange(0, BLOCK_ROWS)
    cols = (program % n_chunks) * BLOCK_COLS + tl.arange(0, BLOCK_COLS)
    row_mask = rows < n_rows
    mask = row_mask[:, None] & (cols[None, :] < n_cols)
    offsets = rows[:, None] * n_cols + cols[None, :]
    temperature = tl.cast(temperature, tl.float32)
    z = tl.load(student_ptr + offsets, mask=mask, other=0).to(tl.float32)
    v = tl.load(teacher_ptr + offsets, mask=mask, other=0).to(tl.float32)
    label = tl.load(labels_ptr + rows, mask=row_mask, other=-100)
    hard_log_sum = tl.load(log_sums_ptr + rows, mask=row_mask, other=0)
    soft_log_sum = tl.load(log_sums_ptr + n_rows + rows, mask=row_mask, other=0)
    teacher_log_sum = tl.load(
        log_sums_ptr + n_rows + n_rows + rows, mask=row_mask, other=0
    )
    q = tl.exp(z / temperature - soft_log_sum[:, None])
    p = tl.exp(v / temperature - teacher_log_sum[:, None])
    hard = tl.exp(z - hard_log_sum[:, None])
    hard = tl.where(cols[None, :] == label[:, None], hard - 1.0, hard)
    hard = tl.where((label == -100)[:, None], 0.0, hard) * tl.load(hard_scale_ptr)
    soft = tl.cast(soft_scale, tl.float32) * temperature * (q - p)
    tl.store(grad_student_ptr + offsets, (soft + hard) * tl.load(grad_ptr), mask=mask)


def _config(n_cols: int) -> tuple[int, int]:
    """Return the rows and columns that a program holds at once."""
    block_cols = min(triton.next_power_of_2(n_cols), TILE)
    return TILE // block_cols, block_cols


def distillation_loss_forward(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    hard_scale: Tensor,
    losses: Tensor,
    log_sums: Tensor,
    *,
    temperature: float,
    soft_scale: float,
    config: tuple[int, int] | None = None,
) -> None:
    """Launch the forward kernel, one program for each block of rows.

    Args:
        student_logits: Contiguous tensor of shape (n_rows, n_classes).
        teacher_logits: Contiguous tensor of the same shape and dtype.
        labels: Contiguous int64 tensor of shape (n_rows,).
        hard_scale: float32 tensor of shape (1,): factor of every hard loss.
        losses: Contiguous float32 tensor of shape (n_rows,); written, their sum is the
            loss.
        log_sums: Contiguous float32 tensor of shape (3, n_rows); written.
        temperature: T above, above 0.
        soft_scale: Factor of every soft loss.
        config: Rows and columns of a block, both powers of two; chosen if None.
    """
    n_rows, n_cols = student_logits.shape
    if n_rows == 0:
        return
    block_rows, block_cols = config or _config(n_cols)
    _distillation_loss_forward_kernel[(triton.cdiv(n_rows, block_rows),)](
        student_logits,
        teacher_logits,
        labels,
        hard_scale,
        losses,
        log_sums,
        temperature,
        soft_scale,
        n_rows,
        n_cols,
        N_BLOCKS=triton.cdiv(n_cols, block_cols),
        BLOCK_ROWS=block_rows,
        BLOCK_COLS=block_cols,
    )


def distillation_loss_backward(
    grad: Tensor,
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    hard_scale: Tensor,
    log_sums: Tensor,
    grad_student: Tensor,
    *,
    temperature: float,
    soft_scale: float,
    config: tuple[int, int] | None = None,
) -> None:
    """Launch the backward kernel, one program for each block of the gradient.

    Args:
        grad: float32 tensor of one element, the gradient of the loss.
        student_logits: As for `distillation_loss_forward`.
        teacher_logits: As for `distillation_loss_forward`.
        labels: As for `distillation_loss_forward`.
        hard_scale: As for `distillation_loss_forward`.
        log_sums: What `distillation_loss_forward` wrote.
        grad_student: Contiguous tensor of the student's shape and dtype; written.
        temperature: T above, above 0.
        soft_scale: Factor of every soft loss.
        config: Rows and columns of a block, both powers of two; chosen if None.
    """
    n_rows, n_cols = student_logits.shape
    if n_rows == 0:
        return
    block_rows, block_cols = config or _config(n_cols)
    n_chunks = triton.cdiv(n_cols, block_cols)
    _distillation_loss_backward_kernel[(triton.cdiv(n_rows, block_rows) * n_chunks,)](
        grad,
        student_logits,
        teacher_logits,
        labels,
        hard_scale,
        log_sums,
        grad_student,
        temperature,
        soft_scale,
        n_rows,
        n_cols,
        n_chunks,
        BLOCK_ROWS=block_rows,
        BLOCK_COLS=block_cols,
    )


def _hard_scale(labels: Tensor, hard_weight: float) -> Tensor:
    # Counted on the device: asking for the number would wait for the GPU.
    n_labelled = (labels != NO_LABEL).sum(0, keepdim=True).clamp(min=1)
    return hard_weight / n_labelled.float()


@torch.library.custom_op(
    "mlopt::distillation_loss", mutates_args=(), device_types="cpu"
)
def _distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float,
    hard_weight: float,
    soft_weight: float,
) -> tuple[Tensor, Tensor]:
    loss = distillation_loss_reference(
        student_logits,
        teacher_logits,
        labels,
        temperature=temperature,
        hard_weight=hard_weight,
        soft_weight=soft_weight,
    )
    student, teacher = student_logits.float(), teacher_logits.float()
    logits = (student, student / temperature, teacher / temperature)
    return loss, torch.stack([value.logsumexp(-1) for value in logits])


@_distillation_loss.register_kernel("cuda")
def _distillation_loss_cuda(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float,
    hard_weight: float,
    soft_weight: float,
) -> tuple[Tensor, Tensor]:
    n_rows = len(labels)
    losses = student_logits.new_empty(n_rows, dtype=torch.float32)
    log_sums = student_logits.new_empty(3, n_rows, dtype=torch.float32)
    # Triton launches on the current GPU, which need not be the one of the logits.
    with torch.cuda.device(student_logits.device):
        distillation_loss_forward(
            student_logits.contiguous(),
            teacher_logits.contiguous(),
            labels.contiguous(),
            _hard_scale(labels, hard_weight),
            losses,
            log_sums,
            temperature=temperature,
            soft_scale=soft_weight / max(1, n_rows),
        )
    return losses.sum(), log_sums


@_distillation_loss.register_fake
def _distillation_loss_fake(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float,
    hard_weight: float,
    soft_weight: float,
) -> tuple[Tensor, Tensor]:
    loss = student_logits.new_empty((), dtype=torch.float32)
    log_sums = student_logits.new_empty(3, labels.shape[0], dtype=torch.float32)
    return loss, log_sums


@torch.library.custom_op(
    "mlopt::distillation_loss_backward", mutates_args=(), device_types="cpu"
)
def _distillation_loss_backward_op(
    grad: Tensor,
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    log_sums: Tensor,
    temperature: float,
    hard_weight: float,
    soft_weight: float,
) -> Tensor:
    student, teacher = student_logits.float(), teacher_logits.float()
    hard_sum, soft_sum, teacher_sum = log_sums.unsqueeze(-1)
    labelled = labels != NO_LABEL
    q = (student / temperature - soft_sum).exp()
    p = (teacher / temperature - teacher_sum).exp()
    hard = (student - hard_sum).exp()
    hard[labelled, labels[labelled]] -= 1
    hard = torch.where(labelled.unsqueeze(-1), hard, 0.0)
    soft = soft_weight / max(1, len(labels)) * temperature * (q - p)
    total: Tensor = grad * (soft + hard * _hard_scale(labels, hard_weight))
    return total.to(student_logits.dtype).contiguous()


@_distillation_loss_backward_op.register_kernel("cuda")
def _distillation_loss_backward_cuda(
    grad: Tensor,
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    log_sums: Tensor,
    temperature: float,
    hard_weight: float,
    soft_weight: float,
) -> Tensor:
    grad_student = torch.empty_like(
        student_logits, memory_format=torch.contiguous_format
    )
    with torch.cuda.device(student_logits.device):
        distillation_loss_backward(
            grad,
            student_logits.contiguous(),
            teacher_logits.contiguous(),
            labels.contiguous(),
            _hard_scale(labels, hard_weight),
            log_sums,
            grad_student,
            temperature=temperature,
            soft_scale=soft_weight / max(1, len(labels)),
        )
    return grad_student


@_distillation_loss_backward_op.register_fake
def _distillation_loss_backward_fake(
    grad: Tensor,
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    log_sums: Tensor,
    temperature: float,
    hard_weight: float,
    soft_weight: float,
) -> Tensor:
    return torch.empty_like(student_logits, memory_format=torch.contiguous_format)


def _distillation_loss_setup_context(
    ctx: Any,
    inputs: tuple[Tensor, Tensor, Tensor, float, float, float],
    output: tuple[Tensor, Tensor],
) -> None:
    student_logits, teacher_logits, labels, *ctx.numbers = inputs
    ctx.save_for_backward(student_logits, teacher_logits, labels, output[1])


def _distillation_loss_autograd(
    ctx: Any, grad: Tensor, *_: Tensor
) -> tuple[Tensor | None, ...]:
    grad_student = _distillation_loss_backward_op(
        grad, *ctx.saved_tensors, *ctx.numbers
    )
    return grad_student, None, None, None, None, None


_distillation_loss.register_autograd(
    _distillation_loss_autograd, setup_context=_distillation_loss_setup_context
)


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 4.0,
    hard_weight: float = 0.1,
    soft_weight: float = 0.9,
) -> Tensor:
    """Return the weighted sum of the cross-entropy with labels and the soft targets.

    On a CPU this computes `distillation_loss_reference`; on an NVIDIA GPU it launches
    the kernel. Autograd and `torch.compile` work through it, once: there is no second
    derivative. The gradient reaches the student alone. A label out of range raises on a
    CPU and gives NaN on a GPU, where a check would have to wait.

    Args:
        student_logits: Tensor of shape (..., n_classes), in one of `DTYPES`. A
            non-contiguous one is copied first.
        teacher_logits: Tensor of the same shape, dtype and device.
        labels: int64 tensor of shape (...), entries in [0, n_classes), or -100 where
            there is no label: there the teacher alone counts.
        temperature: T above, finite and above 0; the hard term is always at T = 1.
        hard_weight: Factor of the cross-entropy, the mean over what has a label.
        soft_weight: Factor of T^2 KL(teacher || student), the mean over all rows.

    Returns:
        float32 scalar in nats. 0 for a term that no row has.

    Raises:
        TypeError: If a dtype does not fit.
        ValueError: If a shape, device or number does not fit.
        ModuleNotFoundError: If the tensors are on a GPU and Triton is missing.

    Example:
        >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[4.0, -4.0]])
        >>> labels = torch.tensor([-100])
        >>> distillation_loss(student, teacher, labels, temperature=2.0, soft_weight=1)
        tensor(2.4122)
    """
    if student_logits.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(
            f"student_logits must have one of the dtypes {names}, "
            f"got {student_logits.dtype}"
        )
    if labels.dtype != torch.int64:
        raise TypeError(f"labels must have the dtype int64, got {labels.dtype}")
    if student_logits.dim() == 0 or student_logits.shape[-1] == 0:
        raise ValueError(
            "student_logits must have at least one class, got shape "
            f"{tuple(student_logits.shape)}"
        )
    for name in ("shape", "dtype", "device"):
        wanted, got = getattr(student_logits, name), getattr(teacher_logits, name)
        if got != wanted:
            raise ValueError(
                f"teacher_logits must have the {name} of student_logits, {wanted}, "
                f"got {got}"
            )
    if labels.shape != student_logits.shape[:-1]:
        raise ValueError(
            f"labels must have the shape {tuple(student_logits.shape[:-1])}, the "
            f"logits' without the classes, got {tuple(labels.shape)}"
        )
    if labels.device != student_logits.device:
        raise ValueError(
            f"labels must have the device of student_logits, {student_logits.device}, "
            f"got {labels.device}"
        )
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be finite and above 0, got {temperature}")
    for name, weight in (("hard_weight", hard_weight), ("soft_weight", soft_weight)):
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"{name} must be finite and at least 0, got {weight}")
    shape = math.prod(labels.shape), student_logits.shape[-1]
    loss: Tensor = _distillation_loss(
        student_logits.reshape(shape),
        teacher_logits.detach().reshape(shape),
        labels.reshape(-1),
        float(temperature),
        float(hard_weight),
        float(soft_weight),
    )[0]
    return loss
