r"""Vector addition: the smallest kernel, and what a memory-bound one looks like.

    output[i] = x[i] + y[i]

Counted for each element of b bytes (float32: b = 4):

    bytes       read x: b, read y: b, write output: b      3 b   (float32: 12)
    operations  one addition                               1
    intensity   operations per byte                        1 / (3 b)   (float32: 1 / 12)

A GPU that moves 2 TB/s and adds 20 T float32 a second needs 10 operations a byte to be
busy; this has 1/12. So time is bytes over bandwidth, and what a kernel can do is touch
every byte once, in long neighbouring runs. Nothing is reused: there is nothing to tile.

Each program adds one block of BLOCK_SIZE neighbouring elements. The last block reaches
past the end unless BLOCK_SIZE divides the size, so loads and the store are masked.
float16 and bfloat16 are added in float32 and rounded once, as torch does.
"""

import torch
from torch import Tensor

from mlopt_kernels._triton import tl, triton

DTYPES = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int32,
    torch.int64,
)


def vector_add_reference(x: Tensor, y: Tensor) -> Tensor:
    """Add in plain torch; what the kernel must agree with.

    Args:
        x: Tensor of any shape, in one of `DTYPES`.
        y: Tensor of the shape and dtype of `x`.

    Returns:
        A new contiguous tensor of the same shape and dtype.
    """
    return (x + y).contiguous()


@triton.jit
def _vector_add_forward_kernel(
    x_ptr,  # (n_elements,)
    y_ptr,  # (n_elements,)
    output_ptr,  # (n_elements,)
    n_elements,
    WIDEN: tl.constexpr,  # noqa: N803
    BLOCK_SIZE: tl.constexpr,
):
    """Add the BLOCK_SIZE elements that start at program_id * BLOCK_SIZE."""
    # int64: past 2^31 elements an int32 offset would wrap to a negative address.
    start = tl.program_id(0).to(tl.int64) * BLOCK_SIZE
    offsets = start + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask, other=0)
    y = tl.load(y_ptr + offsets, mask=mask, other=0)
    if WIDEN:
        x = x.to(tl.float32)
        y = y.to(tl.float32)
    tl.store(output_ptr + offsets, x + y, mask=mask)


def vector_add_forward(
    x: Tensor, y: Tensor, output: Tensor, *, block_size: int = 1024
) -> None:
    """Launch the kernel, one program for each block.

    Args:
        x: Contiguous tensor in one of `DTYPES`.
        y: Contiguous tensor of the shape and dtype of `x`.
        output: Contiguous tensor of the shape and dtype of `x`; written.
        block_size: Elements of a program, a power of two.
    """
    n_elements = x.numel()
    if n_elements == 0:
        return
    grid = (triton.cdiv(n_elements, block_size),)
    _vector_add_forward_kernel[grid](
        x,
        y,
        output,
        n_elements,
        WIDEN=x.dtype in (torch.float16, torch.bfloat16),
        BLOCK_SIZE=block_size,
    )


@torch.library.custom_op("mlopt::vector_add", mutates_args=(), device_types="cpu")
def _vector_add(x: Tensor, y: Tensor) -> Tensor:
    return vector_add_reference(x, y)


@_vector_add.register_kernel("cuda")
def _vector_add_cuda(x: Tensor, y: Tensor) -> Tensor:
    output = torch.empty_like(x, memory_format=torch.contiguous_format)
    # Triton launches on the current GPU, which need not be the one of x.
    with torch.cuda.device(x.device):
        vector_add_forward(x.contiguous(), y.contiguous(), output)
    return output


@_vector_add.register_fake
def _vector_add_fake(x: Tensor, y: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _vector_add_backward(ctx: object, grad: Tensor) -> tuple[Tensor, Tensor]:
    # d(x + y)/dx = d(x + y)/dy = 1
    return grad, grad


_vector_add.register_autograd(_vector_add_backward)


def vector_add(x: Tensor, y: Tensor) -> Tensor:
    """Add two tensors of one shape.

    On a CPU this computes `vector_add_reference`; on an NVIDIA GPU it launches the
    kernel. Autograd and `torch.compile` work through it. A non-contiguous input is
    copied first, which costs two more bytes for each of its bytes.

    Args:
        x: Tensor of any shape, in one of `DTYPES`.
        y: Tensor of the shape, dtype and device of `x`; nothing is broadcast.

    Returns:
        A new contiguous tensor of the same shape and dtype.

    Raises:
        TypeError: If the dtype is not one of `DTYPES`.
        ValueError: If `y` differs from `x` in shape, dtype or device.
        ModuleNotFoundError: If the tensors are on a GPU and Triton is missing.

    Example:
        >>> vector_add(torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0]))
        tensor([11., 22.])
    """
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"x must have one of the dtypes {names}, got {x.dtype}")
    for name in ("shape", "dtype", "device"):
        wanted, got = getattr(x, name), getattr(y, name)
        if got != wanted:
            raise ValueError(f"y must have the {name} of x, {wanted}, got {got}")
    total: Tensor = _vector_add(x, y)
    return total
