r"""Dropout whose mask is computed twice and never stored.

    u_i = uniform(seed, i) in [0, 1)
    output[i] = x[i] / (1 - p) if u_i >= p, else 0
    grad_x[i] = grad[i] / (1 - p) if u_i >= p, else 0

The backward pass is the forward pass on the gradient, with the same seed.

Counted for each element of b bytes (float32: b = 4):

    forward     read x: b, write output: b                 2 b   (float32: 8)
    backward    read grad: b, write grad_x: b              2 b   (float32: 8)
    operations  a quarter of Philox, compare, multiply     about 25

A stored mask would cost one more byte a pass, and its memory from forward to backward.
Philox is a counter-based generator: number i is a hash of (seed, i), so any program can
compute it again, in any order. Ten rounds of it give four numbers at once; with one of
the four used, arithmetic would take longer than memory. So a program asks for the
numbers of BLOCK_SIZE counters and uses all: element i takes number i % 4 of counter
i // 4. The mask depends on seed and position alone, not on the block size.

Papers: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
Overfitting", JMLR 15, 2014; Salmon et al., "Parallel Random Numbers: As Easy as 1, 2,
3", 2011, doi:10.1145/2063384.2063405 (Philox4x32-10). Differs from the papers: the kept
elements are scaled in training, not the weights afterwards.
"""

from typing import Any

import torch
from torch import Tensor

from mlopt_kernels._triton import tl, triton

DTYPES = (torch.float16, torch.bfloat16, torch.float32)

_LOW = 0xFFFFFFFF


def _multiply(x: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Return the upper and lower 32 bits of the product of 32-bit numbers."""
    # The product has 64 bits and int64 a sign: multiply by the 16-bit halves.
    low = x * (factor & 0xFFFF)
    upper = (x * (factor >> 16) + (low >> 16)) >> 16
    return upper, (x * factor) & _LOW


def uniform_reference(n_elements: int, *, seed: int) -> Tensor:
    """Compute in plain torch the numbers that `tl.rand4x` gives the kernel.

    Args:
        n_elements: How many numbers.
        seed: Key of the generator, in [0, 2^63).

    Returns:
        float32 tensor of shape (n_elements,), entries in [0, 1).
    """
    counter = torch.arange((n_elements + 3) // 4)
    c0, c1 = counter & _LOW, counter >> 32
    c2 = c3 = torch.zeros_like(counter)
    k0, k1 = seed & _LOW, seed >> 32
    for _ in range(10):
        upper0, lower0 = _multiply(c0, 0xD2511F53)
        upper2, lower2 = _multiply(c2, 0xCD9E8D57)
        c0, c1, c2, c3 = upper2 ^ c1 ^ k0, lower2, upper0 ^ c3 ^ k1, lower0
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    bits = torch.stack([c0, c1, c2, c3], dim=-1).view(-1)[:n_elements]
    # Triton reads 32 bits with a sign and folds the negative half onto the other.
    folded = torch.where(bits >= 2**31, _LOW - bits, bits)
    # A little less than 2^-31, so that the largest stays below 1.
    return folded.float() * torch.tensor(4.6566127342e-10)


def dropout_reference(x: Tensor, p: float, *, seed: int) -> Tensor:
    """Drop in plain torch; what the kernel must agree with, element by element.

    Args:
        x: Tensor of any shape, in one of `DTYPES`.
        p: Share to drop, in [0, 1].
        seed: Key of the mask, in [0, 2^63).

    Returns:
        A new contiguous tensor of the same shape and dtype.
    """
    uniform = uniform_reference(x.numel(), seed=seed).view(x.shape).to(x.device)
    kept = uniform >= torch.tensor(p, dtype=torch.float32)
    return torch.where(kept, x.float() * _factor(p), 0.0).to(x.dtype).contiguous()


def _factor(p: float) -> float:
    return 1 / (1 - p) if p < 1 else 0.0


# A seed is rarely used twice: no kernel is compiled for those that 16 divides.
@triton.jit(do_not_specialize=["seed"])
def _dropout_kernel(
    x_ptr,  # (n_elements,)
    output_ptr,  # (n_elements,)
    p,
    factor,
    seed: tl.int64,
    n_elements,
    BLOCK_SIZE: tl.constexpr,
):
    """Drop from the 4 * BLOCK_SIZE elements of the program's BLOCK_SIZE counters."""
    # int64: past 2^31 elements an int32 offset would wrap to a negative address.
    first = tl.program_id(0).to(tl.int64) * BLOCK_SIZE
    u0, u1, u2, u3 = tl.rand4x(seed, first + tl.arange(0, BLOCK_SIZE))
    # join puts its two side by side: (u0, u2) and (u1, u3) make 0, 1, 2, 3.
    pairs = tl.join(tl.join(u0, u2), tl.join(u1, u3))
    uniform = tl.reshape(pairs, [4 * BLOCK_SIZE])
    offsets = 4 * first + tl.arange(0, 4 * BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask, other=0).to(tl.float32)
    kept = uniform >= tl.cast(p, tl.float32)
    output = tl.where(kept, x * tl.cast(factor, tl.float32), 0.0)
    tl.store(output_ptr + offsets, output, mask=mask)


def dropout_forward(
    x: Tensor, output: Tensor, *, p: float, seed: int, block_size: int = 256
) -> None:
    """Launch the kernel, one program for each block of counters.

    Args:
        x: Contiguous tensor in one of `DTYPES`.
        output: Contiguous tensor of the shape and dtype of `x`; written.
        p: Share to drop, in [0, 1].
        seed: Key of the mask, in [0, 2^63).
        block_size: Counters of a program, a power of two; four elements for each.
    """
    n_elements = x.numel()
    if n_elements == 0:
        return
    grid = (triton.cdiv(n_elements, 4 * block_size),)
    _dropout_kernel[grid](
        x, output, p, _factor(p), seed, n_elements, BLOCK_SIZE=block_size
    )


@torch.library.custom_op("mlopt::dropout", mutates_args=(), device_types="cpu")
def _dropout(x: Tensor, p: float, seed: int) -> Tensor:
    return dropout_reference(x, p, seed=seed)


@_dropout.register_kernel("cuda")
def _dropout_cuda(x: Tensor, p: float, seed: int) -> Tensor:
    output = torch.empty_like(x, memory_format=torch.contiguous_format)
    # Triton launches on the current GPU, which need not be the one of x.
    with torch.cuda.device(x.device):
        dropout_forward(x.contiguous(), output, p=p, seed=seed)
    return output


@_dropout.register_fake
def _dropout_fake(x: Tensor, p: float, seed: int) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _dropout_setup_context(
    ctx: Any, inputs: tuple[Tensor, float, int], output: Tensor
) -> None:
    _, ctx.p, ctx.seed = inputs


def _dropout_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    return _dropout(grad, ctx.p, ctx.seed), None, None


_dropout.register_autograd(_dropout_backward, setup_context=_dropout_setup_context)


def dropout(x: Tensor, p: float, *, seed: int) -> Tensor:
    """Set a random share of the elements to 0 and scale the others by 1 / (1 - p).

    On a CPU this computes `dropout_reference`; on an NVIDIA GPU it launches the kernel.
    Both drop the same elements. Autograd and `torch.compile` work through it; nothing
    is saved for the backward pass but `p` and `seed`. One seed gives one mask: take
    another for each layer and step.

    Args:
        x: Tensor of any shape, in one of `DTYPES`. A non-contiguous one is copied.
        p: Probability that an element is dropped, in [0, 1].
        seed: Key of the mask, in [0, 2^63).

    Returns:
        A new contiguous tensor of the same shape and dtype.

    Raises:
        TypeError: If the dtype is not one of `DTYPES`.
        ValueError: If `p` or `seed` is out of range.
        ModuleNotFoundError: If the tensor is on a GPU and Triton is missing.

    Example:
        >>> dropout(torch.ones(8), 0.5, seed=1)
        tensor([0., 0., 2., 2., 2., 0., 2., 2.])
    """
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"x must have one of the dtypes {names}, got {x.dtype}")
    if not 0 <= p <= 1:
        raise ValueError(f"p must be a probability in [0, 1], got {p}")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must lie in [0, 2^63), got {seed}")
    output: Tensor = _dropout(x, p, seed)
    return output
