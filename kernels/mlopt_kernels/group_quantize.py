r"""Quantization with a scale for each group of neighbours, 8 bits or two codes a byte.

    code = clamp(round(x / scale) + zero_point, quant_min, quant_max)
    x'   = (code - zero_point) * scale

                 quant_min          quant_max          scale                  zero_point
    symmetric    -(2^(bits-1) - 1)  2^(bits-1) - 1     max|x| / quant_max     0
    affine       -2^(bits-1)        2^(bits-1) - 1     (high - low) / steps   an integer

low and high are the least and greatest of a group and 0: zero is always exact. A group
of zeros has scale 1. `round` takes ties to the even integer, as torch's does.

Counted for each element of b bytes, in groups of g, whose scale and zero point take 5:

    bytes       quantize: b + bits / 8 + 5 / g; dequantize: the same
                (float32, 4 bits, g = 128: 4.5; 8 bits: 5)
    operations  quantize: 2 for the range, 5 for a code, 1 to pack; dequantize: 3
    intensity   8 / 4.5 in float32 with 4 bits           about 2

A program holds whole groups, so that it reads x once for both its range and its codes.
In a byte the first code is the low half, in two's complement.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2017, arXiv:1712.05877, equations 1 and 12. Differs
from the paper: signed codes, symmetric ranges as well, and groups.
"""

import torch
from torch import Tensor

from mlopt_kernels._triton import tl, triton

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
SMALLEST = torch.finfo(torch.float32).smallest_normal

# Added to a float32 below 2^22, 1.5 * 2^23 leaves no bit for a fraction: the addition
# itself rounds, ties to even, and the subtraction is exact.
_ROUNDER = tl.constexpr(12582912.0)


def group_quantize_reference(
    x: Tensor, group_size: int, *, bits: int = 8, symmetric: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Quantize in plain torch; what the kernel must agree with, bit by bit.

    Args:
        x: Finite tensor of shape (..., n) in one of `DTYPES`.
        group_size: Neighbours that share a scale; divides n.
        bits: 8, or 4 for an even group_size.
        symmetric: Zero points 0 and a range that has the negative of each code.

    Returns:
        Codes, int8 of shape (..., n) or, two a byte, uint8 of shape (..., n / 2);
        scale, float32, and zero point, int8, of shape (..., n / group_size).
    """
    *rows, cols = x.shape
    groups = x.float().reshape(*rows, cols // group_size, group_size)
    quant_max = 2 ** (bits - 1) - 1
    quant_min = -quant_max if symmetric else -quant_max - 1
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    if symmetric:
        scale = torch.maximum(-low, high) / quant_max
    else:
        steps = quant_max - quant_min
        scale = high / steps - low / steps  # high - low alone may overflow
    scale = scale.clamp(min=SMALLEST).masked_fill(low == high, 1.0)
    zero_point = torch.zeros_like(scale)
    if not symmetric:
        zero_point = (quant_min - (low / scale).round()).clamp(quant_min, quant_max)
    codes = (groups / scale[..., None]).round() + zero_point[..., None]
    codes = codes.clamp(quant_min, quant_max).to(torch.int8).reshape(x.shape)
    if bits == 4:
        unsigned = codes.view(torch.uint8)
        codes = (unsigned[..., ::2] & 15) | (unsigned[..., 1::2] << 4)
    return codes, scale, zero_point.to(torch.int8)


def group_dequantize_reference(
    codes: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Dequantize in plain torch; what the kernel must agree with, bit by bit.

    Args:
        codes: int8, or uint8 that holds two codes, as `group_quantize` returns them.
        scale: float32 of shape (..., groups).
        zero_point: int8 of shape (..., groups).
        dtype: Of the result, one of `DTYPES`.
    """
    if codes.dtype == torch.uint8:
        # Shifted up and, as int8, down again, a half takes its sign along.
        pairs = torch.stack([codes << 4, codes], -1).view(torch.int8) >> 4
        codes = pairs.flatten(-2)
    group_size = codes.shape[-1] // max(1, scale.shape[-1])
    groups = codes.reshape(*scale.shape, group_size).float()
    wide: Tensor = (groups - zero_point[..., None]) * scale[..., None]
    return wide.reshape(codes.shape).to(dtype)


@triton.jit
def _group_quantize_kernel(
    x_ptr,  # (n_groups, GROUP_SIZE)
    codes_ptr,  # (n_groups, GROUP_SIZE) or (n_groups, GROUP_SIZE / 2)
    scale_ptr,  # (n_groups,)
    zero_point_ptr,  # (n_groups,)
    n_groups,
    BITS: tl.constexpr,  # noqa: N803
    SYMMETRIC: tl.constexpr,  # noqa: N803
    SMALLEST: tl.constexpr,  # noqa: N803
    GROUP_SIZE: tl.constexpr,  # noqa: N803
    BLOCK_ROWS: tl.constexpr,  # noqa: N803
    BLOCK_COLS: tl.constexpr,  # noqa: N803
):
    """Quantize BLOCK_ROWS groups."""
    quant_max: tl.constexpr = 2 ** (BITS - 1) - 1
    quant_min: tl.constexpr = -quant_max if SYMMETRIC else -quant_max - 1
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    rows = first + tl.arange(0, BLOCK_ROWS)
    cols = tl.arange(0, BLOCK_COLS)
    mask = (rows < n_groups)[:, None]
    if BLOCK_COLS != GROUP_SIZE:
        mask = mask & (cols < GROUP_SIZE)[None, :]
    offsets = rows[:, None] * GROUP_SIZE + cols[None, :]
    # The 0 of a masked element is in every range anyway.
    x = tl.load(x_ptr + offsets, mask=mask, other=0).to(tl.float32)
    low = tl.minimum(tl.min(x, 1), 0.0)
    high = tl.maximum(tl.max(x, 1), 0.0)
    # div_rn rounds as torch does; a plain / is a little off, and a tie may tip over.
    if SYMMETRIC:
        scale = tl.div_rn(
            tl.maximum(-low, high), tl.full(low.shape, quant_max, tl.float32)
        )
    else:
        steps = tl.full(low.shape, quant_max - quant_min, tl.float32)
        scale = tl.div_rn(high, steps) - tl.div_rn(low, steps)
    scale = tl.where(low == high, 1.0, tl.maximum(scale, SMALLEST))
    zero_point = tl.zeros_like(scale)
    if not SYMMETRIC:
        zero_point = quant_min - ((tl.div_rn(low, scale) + _ROUNDER) - _ROUNDER)
        zero_point = tl.minimum(tl.maximum(zero_point, quant_min), quant_max)
    codes = tl.div_rn(x, tl.broadcast_to(scale[:, None], x.shape))
    codes = ((codes + _ROUNDER) - _ROUNDER) + zero_point[:, None]
    codes = tl.minimum(tl.maximum(codes, quant_min), quant_max).to(tl.int32)
    if BITS == 4:
        low_half, high_half = tl.split(
            tl.reshape(codes, (BLOCK_ROWS, BLOCK_COLS // 2, 2))
        )
        pairs = (low_half & 15) | ((high_half & 15) << 4)
        halves = tl.arange(0, BLOCK_COLS // 2)
        mask = (rows < n_groups)[:, None]
        if BLOCK_COLS != GROUP_SIZE:
            mask = mask & (halves < GROUP_SIZE // 2)[None, :]
        offsets = rows[:, None] * (GROUP_SIZE // 2) + halves[None, :]
        tl.store(codes_ptr + offsets, pairs.to(tl.uint8), mask=mask)
    else:
        tl.store(codes_ptr + offsets, codes.to(tl.int8), mask=mask)
    inside = rows < n_groups
    tl.store(scale_ptr + rows, scale, mask=inside)
    tl.store(zero_point_ptr + rows, zero_point.to(tl.int32).to(tl.int8), mask=inside)


@triton.jit
def _group_dequantize_kernel(
    codes_ptr,  # (n_groups, GROUP_SIZE) or (n_groups, GROUP_SIZE / 2)
    scale_ptr,  # (n_groups,)
    zero_point_ptr,  # (n_groups,)
    output_ptr,  # (n_groups, GROUP_SIZE)
    n_groups,
    BITS: tl.constexpr,  # noqa: N803
    GROUP_SIZE: tl.constexpr,  # noqa: N803
    BLOCK_ROWS: tl.constexpr,  # noqa: N803
    BLOCK_COLS: tl.constexpr,  # noqa: N803
):
    """Dequantize BLOCK_ROWS groups."""
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    rows = first + tl.arange(0, BLOCK_ROWS)
    inside = rows < n_groups
    scale = tl.load(scale_ptr + rows, mask=inside, other=0)
    zero_point = tl.load(zero_point_ptr + rows, mask=inside, other=0).to(tl.float32)
    per_byte: tl.constexpr = 8 // BITS
    places = tl.arange(0, BLOCK_COLS // per_byte)
    mask = inside[:, None]
    if BLOCK_COLS != GROUP_SIZE:
        mask = mask & (places < GROUP_SIZE // per_byte)[None, :]
    offsets = rows[:, None] * (GROUP_SIZE // per_byte) + places[None, :]
    codes = tl.load(codes_ptr + offsets, mask=mask, other=0).to(tl.int32)
    if BITS == 4:
        # To the top of 32 bits and down again, a half takes its sign along.
        halves = tl.join((codes << 28) >> 28, (codes << 24) >> 28)
        codes = tl.reshape(halves, (BLOCK_ROWS, BLOCK_COLS))
    output = (codes.to(tl.float32) - zero_point[:, None]) * scale[:, None]
    cols = tl.arange(0, BLOCK_COLS)
    mask = inside[:, None]
    if BLOCK_COLS != GROUP_SIZE:
        mask = mask & (cols < GROUP_SIZE)[None, :]
    offsets = rows[:, None] * GROUP_SIZE + cols[None, :]
    tl.store(output_ptr + offsets, output, mask=mask)


def _blocks(group_size: int, block_size: int) -> dict[str, int]:
    """Return how many groups of which size a program takes."""
    cols = triton.next_power_of_2(group_size)
    return {
        "GROUP_SIZE": group_size,
        "BLOCK_ROWS": max(1, block_size // cols),
        "BLOCK_COLS": cols,
    }


def group_quantize_forward(
    x: Tensor,
    codes: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    bits: int,
    symmetric: bool,
    block_size: int = 4096,
) -> None:
    """Launch the kernel, one program for some whole groups.

    Args:
        x: Contiguous tensor in one of `DTYPES`.
        codes: int8 with as many elements, or uint8 with half as many; written.
        scale: float32 with an element for each group; written.
        zero_point: int8 with an element for each group; written.
        bits: 8, or 4 where `codes` is uint8.
        symmetric: Zero points 0 and a range that has the negative of each code.
        block_size: Elements of a program, a power of two.
    """
    n_groups = scale.numel()
    if n_groups == 0:
        return
    blocks = _blocks(x.numel() // n_groups, block_size)
    _group_quantize_kernel[(triton.cdiv(n_groups, blocks["BLOCK_ROWS"]),)](
        x,
        codes,
        scale,
        zero_point,
        n_groups,
        BITS=bits,
        SYMMETRIC=symmetric,
        SMALLEST=SMALLEST,
        **blocks,
    )


def group_dequantize_forward(
    codes: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    output: Tensor,
    *,
    block_size: int = 4096,
) -> None:
    """Launch the kernel, one program for some whole groups.

    Args:
        codes: Contiguous int8, or uint8 that holds two codes.
        scale: Contiguous float32 with an element for each group.
        zero_point: Contiguous int8 with an element for each group.
        output: Contiguous tensor in one of `DTYPES`; written.
        block_size: Elements of a program, a power of two.
    """
    n_groups = scale.numel()
    if n_groups == 0:
        return
    blocks = _blocks(output.numel() // n_groups, block_size)
    _group_dequantize_kernel[(triton.cdiv(n_groups, blocks["BLOCK_ROWS"]),)](
        codes,
        scale,
        zero_point,
        output,
        n_groups,
        BITS=4 if codes.dtype == torch.uint8 else 8,
        **blocks,
    )


def _empty(x: Tensor, group_size: int, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    *rows, cols = x.shape
    return (
        x.new_empty((*rows, cols), dtype=torch.int8)
        if bits == 8
        else x.new_empty((*rows, cols // 2), dtype=torch.uint8),
        x.new_empty((*rows, cols // group_size), dtype=torch.float32),
        x.new_empty((*rows, cols // group_size), dtype=torch.int8),
    )


@torch.library.custom_op("mlopt::group_quantize", mutates_args=(), device_types="cpu")
def _group_quantize(
    x: Tensor, group_size: int, bits: int, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return group_quantize_reference(x, group_size, bits=bits, symmetric=symmetric)


@_group_quantize.register_kernel("cuda")
def _group_quantize_cuda(
    x: Tensor, group_size: int, bits: int, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor]:
    outputs = _empty(x, group_size, bits)
    # Triton launches on the current GPU, which need not be that of x.
    with torch.cuda.device(x.device):
        group_quantize_forward(x.contiguous(), *outputs, bits=bits, symmetric=symmetric)
    return outputs


@_group_quantize.register_fake
def _group_quantize_fake(
    x: Tensor, group_size: int, bits: int, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty(x, group_size, bits)


@torch.library.custom_op("mlopt::group_dequantize", mutates_args=(), device_types="cpu")
def _group_dequantize(
    codes: Tensor, scale: Tensor, zero_point: Tensor, dtype: torch.dtype
) -> Tensor:
    return group_dequantize_reference(codes, scale, zero_point, dtype=dtype)


@_group_dequantize.register_kernel("cuda")
def _group_dequantize_cuda(
    codes: Tensor, scale: Tensor, zero_point: Tensor, dtype: torch.dtype
) -> Tensor:
    output: Tensor = _group_dequantize_fake(codes, scale, zero_point, dtype)
    with torch.cuda.device(codes.device):
        group_dequantize_forward(
            codes.contiguous(), scale.contiguous(), zero_point.contiguous(), output
        )
    return output


@_group_dequantize.register_fake
def _group_dequantize_fake(
    codes: Tensor, scale: Tensor, zero_point: Tensor, dtype: torch.dtype
) -> Tensor:
    *rows, cols = codes.shape
    if codes.dtype == torch.uint8:
        cols *= 2
    return codes.new_empty((*rows, cols), dtype=dtype)


def group_quantize(
    x: Tensor, group_size: int, *, bits: int = 8, symmetric: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Quantize groups of neighbours along the last axis.

    On a CPU this computes `group_quantize_reference`; on an NVIDIA GPU it launches the
    kernel, with the same result bit by bit. `torch.compile` works through it; no
    gradient passes. A non-contiguous input is copied first.

    Args:
        x: Finite tensor of shape (..., n) in one of `DTYPES`.
        group_size: Neighbours that share a scale; divides n.
        bits: 8, or 4 for an even group_size.
        symmetric: Zero points 0 and a range that has the negative of each code.

    Returns:
        Codes, int8 of shape (..., n) or, two a byte, uint8 of shape (..., n / 2);
        scale, float32, and zero point, int8, of shape (..., n / group_size).

    Raises:
        TypeError: If the dtype is not one of `DTYPES`.
        ValueError: If `group_size` or `bits` is not as above.
        ModuleNotFoundError: If `x` is on a GPU and Triton is missing.

    Example:
        >>> codes, scale, _ = group_quantize(torch.tensor([-7.0, 2.5, 0.0, 14.0]), 2)
        >>> codes
        tensor([-127,   45,    0,  127], dtype=torch.int8)
    """
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"x must have one of the dtypes {names}, got {x.dtype}")
    if bits not in (4, 8):
        raise ValueError(f"bits must be 4 or 8, got {bits}")
    if x.ndim == 0 or group_size < 1 or x.shape[-1] % group_size:
        raise ValueError(
            "group_size must be at least 1 and divide the last axis of x, of shape "
            f"{tuple(x.shape)}, got {group_size}"
        )
    if bits == 4 and group_size % 2:
        raise ValueError(f"group_size must be even for 4 bits, got {group_size}")
    result: tuple[Tensor, Tensor, Tensor] = _group_quantize(
        x.detach(), group_size, bits, symmetric
    )
    return result


def group_dequantize(
    codes: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the real numbers that the codes of `group_quantize` stand for.

    On a CPU this computes `group_dequantize_reference`; on an NVIDIA GPU it launches
    the kernel. `torch.compile` works through it; no gradient passes.

    Args:
        codes: int8 of shape (..., n), or uint8 of shape (..., n / 2) with two a byte.
        scale: float32 of shape (..., groups); groups divides n.
        zero_point: int8 of the shape of `scale`.
        dtype: Of the result, one of `DTYPES`.

    Returns:
        Tensor of shape (..., n).

    Raises:
        TypeError: If a dtype is not as above.
        ValueError: If the shapes or devices do not fit.
        ModuleNotFoundError: If the codes are on a GPU and Triton is missing.

    Example:
        >>> codes, scale = torch.tensor([-2, 1], dtype=torch.int8), torch.tensor([0.5])
        >>> group_dequantize(codes, scale, torch.tensor([1], dtype=torch.int8))
        tensor([-1.5000,  0.0000])
    """
    for name, got, wanted in (
        ("codes", codes.dtype, (torch.int8, torch.uint8)),
        ("scale", scale.dtype, (torch.float32,)),
        ("zero_point", zero_point.dtype, (torch.int8,)),
        ("dtype", dtype, DTYPES),
    ):
        if got not in wanted:
            names = ", ".join(str(one).removeprefix("torch.") for one in wanted)
            raise TypeError(f"{name} must be one of {names}, got {got}")
    size = codes.shape[-1] * (2 if codes.dtype == torch.uint8 else 1)
    groups = scale.shape[-1]
    if scale.shape[:-1] != codes.shape[:-1] or (size % groups if groups else size):
        raise ValueError(
            "scale must have the shape of codes, with groups that divide the "
            f"{size} codes of a row, got {tuple(scale.shape)}"
        )
    if zero_point.shape != scale.shape:
        raise ValueError(
            f"zero_point must have the shape of scale, {tuple(scale.shape)}, "
            f"got {tuple(zero_point.shape)}"
        )
    for name, tensor in {"scale": scale, "zero_point": zero_point}.items():
        if tensor.device != codes.device:
            raise ValueError(
                f"{name} must be on the device of codes, {codes.device}, "
                f"got {tensor.device}"
            )
    output: Tensor = _group_dequantize(codes, scale.detach(), zero_point, dtype)
    return output
