r"""Clipping the norm of all gradients together, without waiting for the device.

    norm = sqrt(sum of g^2 over all elements of all tensors)
    g    = g * min(1, max_norm / (norm + 1e-6))

Counted for each element of b bytes:

    bytes       sum: read g: b; scale: read and write g: 2 b   3 b  (float32: 12)
    operations  sum: 2; scale: 1                               3
    intensity   3 / (3 b)                                      (float32: 1 / 4)

Where the norm is small enough the gradients stay as they are: b instead of 3 b.

Three launches, whose order on the device is all the waiting there is:

1. a program for each chunk adds up its squares and stores the sum,
2. one program adds up the sums and stores the norm and the coefficient,
3. a program for each chunk reads the coefficient and scales.

Written as `if norm > max_norm` in Python the host would wait for the norm, and the
device then for the host. No sum is made by atomic additions, whose order changes from
run to run: here the same gradients always have the same norm.

Squares are added in float32, also of float16, whose own squares overflow at 256.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mlopt_kernels._chunks import address, by_dtype, chunks, write_back
from mlopt_kernels._triton import tl, triton

DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def clip_grad_norm_reference(
    grads: Sequence[Tensor], max_norm: float, keep_nonfinite: bool = False
) -> Tensor:
    """Clip in plain torch; what the kernels must agree with.

    Args:
        grads: Tensors of any shapes in one of `DTYPES`, at least one; scaled in place.
        max_norm: Largest norm that stays.
        keep_nonfinite: Change nothing if the norm is infinite or NaN.

    Returns:
        The norm before clipping, a float32 tensor of shape ().
    """
    squares = [grad.float().square().sum() for grad in grads]
    norm = torch.stack(squares).sum().sqrt()
    coefficient = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    if keep_nonfinite:
        coefficient = coefficient.where(norm.isfinite(), 1.0)
    for grad in grads:
        grad.copy_(grad.float() * coefficient)
    return norm


@triton.jit
def _sum_of_squares_kernel(
    addresses_ptr,  # (n_tensors,)
    sizes_ptr,  # (n_tensors,)
    tensors_ptr,  # (n_chunks,)
    starts_ptr,  # (n_chunks,)
    like_ptr,  # of the dtype of the gradients; not read
    sums_ptr,  # (n_chunks,)
    ALIGNED: tl.constexpr,  # noqa: N803
    BLOCK_SIZE: tl.constexpr,
):
    """Add up the squares of one chunk."""
    chunk = tl.program_id(0)
    tensor = tl.load(tensors_ptr + chunk)
    start = tl.multiple_of(tl.load(starts_ptr + chunk), BLOCK_SIZE)
    size = tl.load(sizes_ptr + tensor)
    grad_ptr = address(addresses_ptr, tensor, like_ptr, ALIGNED)
    offsets = start + tl.arange(0, BLOCK_SIZE)
    # A mask, which only a tensor's last chunk needs, would forbid 16-byte words.
    if start + BLOCK_SIZE <= size:
        grad = tl.load(grad_ptr + offsets).to(tl.float32)
        total = tl.sum(grad * grad)
    else:
        grad = tl.load(grad_ptr + offsets, mask=offsets < size, other=0).to(tl.float32)
        total = tl.sum(grad * grad)
    tl.store(sums_ptr + chunk, total)


@triton.jit
def _norm_kernel(
    sums_ptr,  # (n_sums,)
    norm_ptr,  # (2,): the norm, the coefficient
    n_sums,
    max_norm,
    KEEP_NONFINITE: tl.constexpr,  # noqa: N803
    BLOCK_SIZE: tl.constexpr,
):
    """Turn the sums of all chunks into the norm and the coefficient."""
    offsets = tl.arange(0, BLOCK_SIZE)
    total = tl.zeros((BLOCK_SIZE,), tl.float32)
    for start in range(0, n_sums, BLOCK_SIZE):
        mask = start + offsets < n_sums
        total += tl.load(sums_ptr + start + offsets, mask=mask, other=0)
    norm = tl.sqrt_rn(tl.sum(total))
    coefficient = tl.div_rn(tl.cast(max_norm, tl.float32), norm + 1e-6)
    # NaN > 1 is false: a NaN stays, and makes every gradient NaN, as in torch.
    coefficient = tl.where(coefficient > 1, 1.0, coefficient)
    if KEEP_NONFINITE:
        coefficient = tl.where(norm < float("inf"), coefficient, 1.0)
    tl.store(norm_ptr, norm)
    tl.store(norm_ptr + 1, coefficient)


@triton.jit
def _scale_kernel(
    addresses_ptr,  # (n_tensors,)
    sizes_ptr,  # (n_tensors,)
    tensors_ptr,  # (n_chunks,)
    starts_ptr,  # (n_chunks,)
    like_ptr,  # of the dtype of the gradients; not read
    norm_ptr,  # (2,): the norm, the coefficient
    ALIGNED: tl.constexpr,  # noqa: N803
    BLOCK_SIZE: tl.constexpr,
):
    """Multiply one chunk by the coefficient, unless that is 1."""
    coefficient = tl.load(norm_ptr + 1)
    if coefficient != 1:  # NaN too
        chunk = tl.program_id(0)
        tensor = tl.load(tensors_ptr + chunk)
        start = tl.multiple_of(tl.load(starts_ptr + chunk), BLOCK_SIZE)
        size = tl.load(sizes_ptr + tensor)
        grad_ptr = address(addresses_ptr, tensor, like_ptr, ALIGNED)
        offsets = start + tl.arange(0, BLOCK_SIZE)
        if start + BLOCK_SIZE <= size:
            grad = tl.load(grad_ptr + offsets).to(tl.float32)
            tl.store(grad_ptr + offsets, grad * coefficient)
        else:
            mask = offsets < size
            grad = tl.load(grad_ptr + offsets, mask=mask, other=0).to(tl.float32)
            tl.store(grad_ptr + offsets, grad * coefficient, mask=mask)


def clip_grad_norm_forward(
    grads: Sequence[Tensor],
    max_norm: float,
    sums: Tensor,
    norm: Tensor,
    *,
    keep_nonfinite: bool = False,
    block_size: int = 4096,
) -> None:
    """Launch the kernels; the first and the last once for each dtype.

    Args:
        grads: Tensors in one of `DTYPES`; written. One that is not contiguous is copied
            and copied back.
        max_norm: Largest norm that stays.
        sums: float32 of shape (n_chunks,), see `number_of_chunks`; written.
        norm: float32 of shape (2,): the norm and the coefficient; written.
        keep_nonfinite: Change nothing if the norm is infinite or NaN.
        block_size: Elements of a program, a power of two.
    """
    dense = [grad.contiguous() for grad in grads]
    tables = []
    first = 0
    for numbers in by_dtype(dense):
        group = [dense[number] for number in numbers]
        table = chunks([group], block_size)
        tables.append((table, group[0]))
        n_chunks = len(table.tensors)
        _sum_of_squares_kernel[(n_chunks,)](
            *table[:4],
            group[0],
            sums[first : first + n_chunks],
            ALIGNED=table.aligned,
            BLOCK_SIZE=block_size,
            num_warps=8,
        )
        first += n_chunks
    _norm_kernel[(1,)](
        sums, norm, first, max_norm, KEEP_NONFINITE=keep_nonfinite, BLOCK_SIZE=1024
    )
    for table, like in tables:
        _scale_kernel[(len(table.tensors),)](
            *table[:4],
            like,
            norm,
            ALIGNED=table.aligned,
            BLOCK_SIZE=block_size,
            num_warps=8,
        )
    write_back(grads, dense)


def number_of_chunks(grads: Sequence[Tensor], *, block_size: int = 4096) -> int:
    """Return how many programs, and so sums, the gradients take."""
    return sum(-(-grad.numel() // block_size) for grad in grads)


@torch.library.custom_op(
    "mlopt::clip_grad_norm_", mutates_args=("grads",), device_types="cpu"
)
def _clip_grad_norm(
    grads: Sequence[Tensor], max_norm: float, keep_nonfinite: bool
) -> Tensor:
    return clip_grad_norm_reference(grads, max_norm, keep_nonfinite)


@_clip_grad_norm.register_kernel("cuda")
def _clip_grad_norm_cuda(
    grads: Sequence[Tensor], max_norm: float, keep_nonfinite: bool
) -> Tensor:
    sums = grads[0].new_empty(number_of_chunks(grads), dtype=torch.float32)
    norm = grads[0].new_empty(2, dtype=torch.float32)
    # Triton launches on the current GPU, which need not be that of the gradients.
    with torch.cuda.device(grads[0].device):
        clip_grad_norm_forward(
            grads, max_norm, sums, norm, keep_nonfinite=keep_nonfinite
        )
    return norm[0].clone()


@_clip_grad_norm.register_fake
def _clip_grad_norm_fake(
    grads: Sequence[Tensor], max_norm: float, keep_nonfinite: bool
) -> Tensor:
    return grads[0].new_empty((), dtype=torch.float32)


@torch.no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    *,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients so that their norm together is at most `max_norm`.

    On a CPU this computes `clip_grad_norm_reference`; on an NVIDIA GPU it launches the
    kernels, and the host does not wait for them. `torch.compile` works through it.

    Args:
        parameters: Tensors whose `grad`, in one of `DTYPES` and all on one device, is
            scaled in place; those without one are left out.
        max_norm: Largest norm that stays, at least 0.
        error_if_nonfinite: Raise before anything is changed if the norm is infinite
            or NaN. The host then waits for the device.

    Returns:
        The norm before clipping, a float32 tensor of shape (); 0 without gradients.

    Raises:
        TypeError: If a gradient's dtype is not one of `DTYPES`.
        ValueError: If `max_norm` is negative or NaN, or the devices differ.
        RuntimeError: If the norm is not finite and `error_if_nonfinite`.
        ModuleNotFoundError: If the gradients are on a GPU and Triton is missing.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> clip_grad_norm_(weight, 0.5)
        tensor(5.)
        >>> weight.grad
        tensor([0.3000, 0.4000])
    """
    if not max_norm >= 0:
        raise ValueError(f"max_norm must be at least 0, got {max_norm}")
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    grads = [param.grad for param in parameters if param.grad is not None]
    if not grads:
        return torch.tensor(0.0)
    for grad in grads:
        if grad.dtype not in DTYPES:
            names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
            raise TypeError(
                f"every gradient must have one of the dtypes {names}, got {grad.dtype}"
            )
        if grad.device != grads[0].device:
            raise ValueError(
                "every gradient must be on the device of the first, "
                f"{grads[0].device}, got {grad.device}"
            )
    norm: Tensor = _clip_grad_norm(grads, max_norm, error_if_nonfinite)
    if error_if_nonfinite and not norm.isfinite():
        raise RuntimeError(
            f"the norm of the gradients must be finite, got {norm.item()}; look for "
            "the step that overflowed, or allow it by error_if_nonfinite=False"
        )
    return norm
