r"""Int4 weight-only matrix multiplication: codes unpacked for the tensor core.

    output[i, j] = sum over k of x[i, k] * weight[j, k]
    weight[j, k] = (code[j, k] - zero_point[j, g]) * scale[j, g],  g = k // group_size

x stays in 16 bits, two 4-bit codes share a byte along k (the
first in the low half), and each group of neighbours has a scale and a zero point.

Counted for x of (M, K), weights of (N, K), b = 2 bytes of x, groups of 128:

    operations  2 M N K, as in bfloat16: the codes are unpacked before they multiply
    bytes       N K / 2 for codes, 5 N K / 128 for scales and zero points: 0.54 N K
                b (M K + M N) beside it, little at small M
    intensity   at M = 1: 3.7 operations a byte; in bfloat16 1

At a small batch the time is that of reading the weights, and these are 3.7 times
smaller. From M of about 80 on an H100 is bound by arithmetic, and gains nothing.

Three choices follow.

The product is computed transposed, weight @ x.T: the tensor core takes 64 rows of its
first factor at least, but only 8 columns of its second. The weights are first, so a
batch of 1 fills up to 16 and not to 64, and the first factor may come from registers,
where the codes have just been unpacked.

The scale leaves the sum of its group, as in int8_matmul.py: code - zero_point is a
whole number of [-15, 15], exact in 16 bits, and the scale is applied in float32, once
an output instead of once a weight.

There are few tiles at a small batch: 4096 channels are 64 tiles of 64, for 132
multiprocessors. So K is split too ("split-K"): each program sums a part of it, and
a second kernel adds the parts, in a fixed order and without atomics, so that the result
is the same each time. The parts cost 8 M N bytes each, little at small M.

The gradient of x is grad @ weight, with the weight unpacked for it. Codes have none.
"""

# ruff: noqa: N803  a constexpr is in capitals

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mlopt_kernels._triton import tl, triton
from mlopt_kernels.matmul import (
    DTYPES,
    MULTIPROCESSORS,
    float32_precision,
    matmul,
    must_widen,
)


def int4_dequantize(packed: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Unpack the weights.

    Args:
        packed: uint8 of shape (n_cols, n_inner / 2), the first code in the low half.
        scale: float32 of shape (n_cols, n_groups).
        zero_point: uint8 of shape (n_cols, n_groups).

    Returns:
        float32 of shape (n_cols, n_inner).

    Example:
        >>> packed = torch.tensor([[0x21, 0xF8]], dtype=torch.uint8)
        >>> zero_point = torch.tensor([[8]], dtype=torch.uint8)
        >>> int4_dequantize(packed, torch.tensor([[0.5]]), zero_point)
        tensor([[-3.5000, -3.0000,  0.0000,  3.5000]])
    """
    codes = torch.stack([packed & 15, packed >> 4], dim=-1)
    groups = codes.reshape(*scale.shape, 2 * packed.shape[1] // max(1, scale.shape[1]))
    weight = (groups.float() - zero_point[..., None].float()) * scale[..., None]
    return weight.reshape(len(packed), 2 * packed.shape[1])


def int4_matmul_reference(
    x: Tensor, packed: Tensor, scale: Tensor, zero_point: Tensor
) -> Tensor:
    """Unpack and multiply in plain torch; what the kernel must agree with.

    Args:
        x: Tensor of shape (n_rows, n_inner).
        packed: uint8 of shape (n_cols, n_inner / 2), the first code in the low half.
        scale: float32 of shape (n_cols, n_groups).
        zero_point: uint8 of shape (n_cols, n_groups).

    Returns:
        Tensor of shape (n_rows, n_cols) in the dtype of `x`, rounded once.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    weight = int4_dequantize(packed, scale, zero_point).to(wide)
    return (x.to(wide) @ weight.t()).to(x.dtype)


@triton.jit
def _int4_matmul_kernel(
    x_ptr,  # (n_rows, n_inner)
    packed_ptr,  # (n_cols, n_inner / 2) uint8
    scale_ptr,  # (n_cols, n_groups) float32
    zero_point_ptr,  # (n_cols, n_groups) uint8
    parts_ptr,  # (splits, n_rows, n_cols)
    n_rows,
    n_cols,
    n_inner,
    n_groups,
    steps,  # of one split
    steps_in_group,
    WIDEN: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
    BLOCK_INNER: tl.constexpr,  # divides the size of a group
):
    """Sum one part of K for one tile of outputs, transposed: channels x rows."""
    cols = tl.program_id(0) * BLOCK_COLS + tl.arange(0, BLOCK_COLS)
    rows = tl.program_id(1) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    split = tl.program_id(2)
    inner = tl.arange(0, BLOCK_INNER)
    half = tl.arange(0, BLOCK_INNER // 2)
    # What is past the end wraps around and is not stored, as in matmul.py.
    weight_rows = (cols % n_cols).to(tl.int64)
    x_rows = (rows % n_rows).to(tl.int64)
    packed_ptrs = packed_ptr + weight_rows[:, None] * (n_inner // 2) + half[None, :]
    x_ptrs = x_ptr + inner[:, None] + x_rows[None, :] * n_inner
    scale_ptrs = scale_ptr + weight_rows * n_groups
    zero_point_ptrs = zero_point_ptr + weight_rows * n_groups
    total = tl.zeros((BLOCK_COLS, BLOCK_ROWS), dtype=tl.float32)
    first = split * steps
    last = tl.minimum(first + steps, n_inner // BLOCK_INNER)
    for step in range(first, last):
        start = step * BLOCK_INNER
        group = step // steps_in_group
        packed = tl.load(packed_ptrs + start // 2)
        x = tl.load(x_ptrs + start)
        scale = tl.load(scale_ptrs + group)
        zero_point = tl.load(zero_point_ptrs + group).to(tl.int8)
        if WIDEN:
            x = x.to(tl.float32)
        # A thread that holds a byte then holds its two codes, which are neighbours.
        low = (packed & 15).to(tl.int8) - zero_point[:, None]
        high = (packed >> 4).to(tl.int8) - zero_point[:, None]
        codes = tl.reshape(tl.join(low, high), (BLOCK_COLS, BLOCK_INNER))
        # Whole numbers up to 15: no dtype of x rounds them.
        part = tl.dot(codes.to(x.dtype), x, input_precision=PRECISION)
        total += part * scale[:, None]
    parts = split.to(tl.int64) * n_rows * n_cols
    outputs = parts + rows.to(tl.int64)[None, :] * n_cols + cols[:, None]
    mask = (rows[None, :] < n_rows) & (cols[:, None] < n_cols)
    tl.store(parts_ptr + outputs, total.to(parts_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _sum_parts_kernel(
    parts_ptr,  # (splits, n_elements) float32
    output_ptr,  # (n_elements,)
    n_elements,
    splits,
    BLOCK_SIZE: tl.constexpr,
):
    """Add up the parts of BLOCK_SIZE outputs, the first part first."""
    offsets = tl.program_id(0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    total = tl.zeros((BLOCK_SIZE,), dtype=tl.float32)
    for _ in range(splits):
        total += tl.load(parts_ptr + offsets, mask=mask, other=0.0)
        parts_ptr += n_elements
    tl.store(output_ptr + offsets, total.to(output_ptr.dtype.element_ty), mask=mask)


class SplitTile(NamedTuple):
    """What one program computes: a part of the sums of a tile.

    Attributes:
        rows: Rows of the output, a power of two of at least 16.
        cols: Channels of the output, likewise.
        inner: Length of one step along K, likewise; divides the size of a group.
        splits: Parts of K, each summed by a program of its own.
        num_warps: Warps of 32 threads that share the tile.
        num_stages: Steps that are loaded ahead while one is multiplied.
    """

    rows: int
    cols: int
    inner: int
    splits: int
    num_warps: int = 4
    num_stages: int = 4


def choose_split_tile(
    n_rows: int, n_cols: int, n_inner: int, *, group_size: int
) -> SplitTile:
    """Return a tile as high as the batch, and parts if the tiles alone are too few.

    Then two programs for each multiprocessor of an H100: one waits, the other works.

    Example:
        >>> tile = choose_split_tile(1, 4096, 4096, group_size=128)
        >>> tile.rows, tile.cols, tile.inner, tile.splits
        (16, 64, 128, 5)
    """
    rows = min(64, max(16, 1 << (n_rows - 1).bit_length()))
    cols = 64
    inner = min(128, group_size & -group_size)  # its largest power of two
    tiles = -(-n_rows // rows) * -(-n_cols // cols)
    enough = tiles >= MULTIPROCESSORS
    splits = 1 if enough else -(-2 * MULTIPROCESSORS // max(1, tiles))
    # A part shorter than four steps would hardly fill the pipeline.
    return SplitTile(rows, cols, inner, max(1, min(splits, n_inner // (4 * inner))))


def int4_matmul_forward(
    x: Tensor,
    packed: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    output: Tensor,
    *,
    tile: SplitTile | None = None,
) -> None:
    """Launch the kernel, one program for each tile and part; then add up the parts.

    Args:
        x: Contiguous tensor of shape (n_rows, n_inner), in one of `DTYPES`.
        packed: Contiguous uint8 of shape (n_cols, n_inner / 2).
        scale: Contiguous float32 of shape (n_cols, n_groups).
        zero_point: Contiguous uint8 of shape (n_cols, n_groups).
        output: Contiguous tensor of shape (n_rows, n_cols); written.
        tile: What a program computes; chosen by the sizes if left out.
    """
    (n_rows, n_inner), n_cols, n_groups = x.shape, len(packed), scale.shape[1]
    if output.numel() == 0:
        return
    if n_inner == 0:
        output.zero_()
        return
    group_size = n_inner // n_groups
    tile = tile or choose_split_tile(n_rows, n_cols, n_inner, group_size=group_size)
    shape = (tile.splits, n_rows, n_cols)
    parts = output if tile.splits == 1 else output.new_empty(shape, dtype=torch.float32)
    grid = (-(-n_cols // tile.cols), -(-n_rows // tile.rows), tile.splits)
    _int4_matmul_kernel[grid](
        x,
        packed,
        scale,
        zero_point,
        parts,
        n_rows,
        n_cols,
        n_inner,
        n_groups,
        -(-(n_inner // tile.inner) // tile.splits),
        group_size // tile.inner,
        WIDEN=must_widen(x),
        PRECISION=float32_precision(),
        BLOCK_ROWS=tile.rows,
        BLOCK_COLS=tile.cols,
        BLOCK_INNER=tile.inner,
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )
    if tile.splits > 1:
        n_elements, block_size = n_rows * n_cols, 1024
        _sum_parts_kernel[(-(-n_elements // block_size),)](
            parts, output, n_elements, tile.splits, BLOCK_SIZE=block_size
        )


@torch.library.custom_op("mlopt::int4_matmul", mutates_args=(), device_types="cpu")
def _int4_matmul(
    x: Tensor, packed: Tensor, scale: Tensor, zero_point: Tensor
) -> Tensor:
    return int4_matmul_reference(x, packed, scale, zero_point)


@_int4_matmul.register_kernel("cuda")
def _int4_matmul_cuda(
    x: Tensor, packed: Tensor, scale: Tensor, zero_point: Tensor
) -> Tensor:
    output = x.new_empty(len(x), len(packed))
    x, packed = x.contiguous(), packed.contiguous()
    scale, zero_point = scale.contiguous(), zero_point.contiguous()
    # Triton launches on the current GPU, which need not be the one of x.
    with torch.cuda.device(x.device):
        int4_matmul_forward(x, packed, scale, zero_point, output)
    return output


@_int4_matmul.register_fake
def _int4_matmul_fake(
    x: Tensor, packed: Tensor, scale: Tensor, zero_point: Tensor
) -> Tensor:
    return x.new_empty(x.shape[0], packed.shape[0])


def _int4_matmul_setup(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _int4_matmul_backward(
    ctx: Any, grad: Tensor
) -> tuple[Tensor | None, None, None, None]:
    if not ctx.needs_input_grad[0]:
        return None, None, None, None
    weight = int4_dequantize(*ctx.saved_tensors).to(grad.dtype)
    return matmul(grad, weight), None, None, None


_int4_matmul.register_autograd(_int4_matmul_backward, setup_context=_int4_matmul_setup)


def int4_matmul(
    x: Tensor, packed: Tensor, *, scale: Tensor, zero_point: Tensor
) -> Tensor:
    """Multiply by weights that are kept as packed 4-bit codes.

    On a CPU this computes `int4_matmul_reference`; on an NVIDIA GPU it launches the
    kernel. `torch.compile` works through it, and autograd gives the gradient of `x`
    alone: weights, scales and zero points are taken as fixed. A non-contiguous input is
    copied first.

    Args:
        x: Tensor of shape (n_rows, n_inner), in one of `DTYPES`.
        packed: uint8 of shape (n_cols, n_inner / 2): codes k and k + 1 of a channel,
            k even, in one byte, the first in its low half.
        scale: float32 of shape (n_cols, n_groups), the value of one step of a code in
            each group; n_inner / n_groups is a multiple of 16.
        zero_point: uint8 of shape (n_cols, n_groups), the code that stands for 0, in
            [0, 15].

    Returns:
        A new contiguous tensor of shape (n_rows, n_cols) in the dtype of `x`.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or device does not fit.
        ModuleNotFoundError: If the tensors are on a GPU and Triton is missing.

    Example:
        >>> packed = torch.full((1, 8), 0x99, dtype=torch.uint8)  # 16 codes of 9
        >>> scale = torch.tensor([[0.25]])
        >>> zero_point = torch.tensor([[8]], dtype=torch.uint8)
        >>> int4_matmul(torch.ones(1, 16), packed, scale=scale, zero_point=zero_point)
        tensor([[4.]])
    """
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"x must have one of the dtypes {names}, got {x.dtype}")
    for name, tensor, dtype in (
        ("packed", packed, torch.uint8),
        ("scale", scale, torch.float32),
        ("zero_point", zero_point, torch.uint8),
    ):
        if tensor.dtype != dtype:
            raise TypeError(f"{name} must be {dtype}, got {tensor.dtype}")
        if tensor.device != x.device:
            raise ValueError(
                f"{name} must be on the device of x, {x.device}, got {tensor.device}"
            )
    if x.ndim != 2:
        raise ValueError(f"x must be a matrix, got shape {tuple(x.shape)}; reshape it")
    if packed.ndim != 2 or 2 * packed.shape[1] != x.shape[1]:
        raise ValueError(
            f"packed must be a matrix with half the {x.shape[1]} columns of x, "
            f"got shape {tuple(packed.shape)}"
        )
    if scale.ndim != 2 or len(scale) != len(packed):
        raise ValueError(
            f"scale must be a matrix with a row for each of {len(packed)} channels, "
            f"got shape {tuple(scale.shape)}"
        )
    if zero_point.shape != scale.shape:
        raise ValueError(
            f"zero_point must have the shape of scale, {tuple(scale.shape)}, "
            f"got {tuple(zero_point.shape)}"
        )
    if x.shape[1] % (16 * max(1, scale.shape[1])) or not scale.shape[1]:
        raise ValueError(
            "scale must have groups of a multiple of 16 columns of x, "
            f"got {scale.shape[1]} groups for {x.shape[1]} columns"
        )
    product: Tensor = _int4_matmul(x, packed, scale, zero_point)
    return product
