r"""Axpy: a multiple of one vector plus another, with a number for an argument.

    output[i] = alpha * x[i] + y[i]

Counted for each element of b bytes (float32: b = 4):

    bytes       read x: b, read y: b, write output: b      3 b   (float32: 12)
    operations  one multiplication, one addition           2
    intensity   operations per byte                        2 / (3 b)   (float32: 1 / 6)

Twice the work of vector addition in the same time: it waits for the same bytes. As two
operations of torch (alpha * x, then + y) the product would be written and read again,
5 b in all; one kernel keeps it in registers. That is what fusing buys.

float16 and bfloat16 are computed in float32 and rounded once, as torch does. `alpha`
travels as float64: a float32 argument would cost float64 vectors half their digits.
"""

from typing import Any

import torch
from torch import Tensor

from mlopt_kernels._triton import tl, triton

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def axpy_reference(x: Tensor, y: Tensor, *, alpha: float) -> Tensor:
    """Compute alpha * x + y in plain torch; what the kernel must agree with.

    Args:
        x: Tensor of any shape, in one of `DTYPES`.
        y: Tensor of the shape and dtype of `x`.
        alpha: Factor of `x`.

    Returns:
        A new contiguous tensor of the same shape and dtype.
    """
    return torch.add(y, x, alpha=alpha).contiguous()


@triton.jit
def _axpy_forward_kernel(
    x_ptr,  # (n_elements,)
    y_ptr,  # (n_elements,)
    output_ptr,  # (n_elements,)
    alpha: tl.float64,
    n_elements,
    BLOCK_SIZE: tl.constexpr,
):
    """Compute the BLOCK_SIZE elements that start at program_id * BLOCK_SIZE."""
    # int64: past 2^31 elements an int32 offset would wrap to a negative address.
    start = tl.program_id(0).to(tl.int64) * BLOCK_SIZE
    offsets = start + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask, other=0)
    y = tl.load(y_ptr + offsets, mask=mask, other=0)
    if x_ptr.dtype.element_ty == tl.float64:
        total = alpha * x + y
    else:
        # A float64 factor would make every product a float64.
        total = tl.cast(alpha, tl.float32) * x.to(tl.float32) + y.to(tl.float32)
    tl.store(output_ptr + offsets, total, mask=mask)


def axpy_forward(
    x: Tensor, y: Tensor, output: Tensor, *, alpha: float, block_size: int = 1024
) -> None:
    """Launch the kernel, one program for each block.

    Args:
        x: Contiguous tensor in one of `DTYPES`.
        y: Contiguous tensor of the shape and dtype of `x`.
        output: Contiguous tensor of the shape and dtype of `x`; written.
        alpha: Factor of `x`.
        block_size: Elements of a program, a power of two.
    """
    n_elements = x.numel()
    if n_elements == 0:
        return
    grid = (triton.cdiv(n_elements, block_size),)
    _axpy_forward_kernel[grid](x, y, output, alpha, n_elements, BLOCK_SIZE=block_size)


@torch.library.custom_op("mlopt::axpy", mutates_args=(), device_types="cpu")
def _axpy(x: Tensor, y: Tensor, alpha: float) -> Tensor:
    return axpy_reference(x, y, alpha=alpha)


@_axpy.register_kernel("cuda")
def _axpy_cuda(x: Tensor, y: Tensor, alpha: float) -> Tensor:
    output = torch.empty_like(x, memory_format=torch.contiguous_format)
    # Triton launches on the current GPU, which need not be the one of x.
    with torch.cuda.device(x.device):
        axpy_forward(x.contiguous(), y.contiguous(), output, alpha=alpha)
    return output


@_axpy.register_fake
def _axpy_fake(x: Tensor, y: Tensor, alpha: float) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _axpy_setup_context(
    ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor
) -> None:
    ctx.alpha = inputs[2]


def _axpy_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    # d(alpha x + y)/dx = alpha,  d(alpha x + y)/dy = 1
    return ctx.alpha * grad, grad, None


_axpy.register_autograd(_axpy_backward, setup_context=_axpy_setup_context)


def axpy(x: Tensor, y: Tensor, *, alpha: float) -> Tensor:
    """Compute alpha * x + y for two tensors of one shape.

    On a CPU this computes `axpy_reference`; on an NVIDIA GPU it launches the kernel.
    Autograd and `torch.compile` work through it. A non-contiguous input is copied
    first, which costs two more bytes for each of its bytes.

    Args:
        x: Tensor of any shape, in one of `DTYPES`.
        y: Tensor of the shape, dtype and device of `x`; nothing is broadcast.
        alpha: Factor of `x`, a Python number; no gradient reaches it.

    Returns:
        A new contiguous tensor of the same shape and dtype.

    Raises:
        TypeError: If the dtype is not one of `DTYPES`.
        ValueError: If `y` differs from `x` in shape, dtype or device.
        ModuleNotFoundError: If the tensors are on a GPU and Triton is missing.

    Example:
        >>> axpy(torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0]), alpha=3.0)
        tensor([13., 26.])
    """
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"x must have one of the dtypes {names}, got {x.dtype}")
    for name in ("shape", "dtype", "device"):
        wanted, got = getattr(x, name), getattr(y, name)
        if got != wanted:
            raise ValueError(f"y must have the {name} of x, {wanted}, got {got}")
    total: Tensor = _axpy(x, y, alpha)
    return total
