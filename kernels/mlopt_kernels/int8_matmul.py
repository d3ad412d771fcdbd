r"""Int8 matrix multiplication: whole numbers on the tensor core, rescaled at the end.

    output[i, j] = x_scale[i] * weight_scale[j] * sum over k of x[i, k] * weight[j, k]

x is quantized with a scale for each row, weight with one for each output channel. A
scale that does not depend on k leaves the sum, so all that is summed up are products of
8-bit integers, exactly, in int32.

Counted for x of (M, K), weight of (N, K) and outputs of b bytes:

    operations  2 M N K, on integers: an H100 does twice as many a second as in bfloat16
    bytes       M K + N K, half of bfloat16's, + 4 (M + N) for scales + b M N

The scales are applied to the sums while these are still in registers ("fused"): an
int32 output would be written and read again, 8 M N bytes for nothing. With b = 1 the
output is quantized for the next int8 layer in the same breath:

    code = clamp(round_half_to_even(output / output_scale), -128, 127)

|x weight| <= 2^14, so int32 holds every sum of up to 2^17 - 1 products.
"""

# ruff: noqa: N803  a constexpr is in capitals

import torch
from torch import Tensor

from mlopt_kernels._triton import tl, triton
from mlopt_kernels.matmul import Tile, choose_tile, grouped_tile

OUTPUT_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
MOST_INNER = 2**17 - 1  # products of a sum that fits int32


def int8_matmul_reference(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    output_scale: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Multiply in plain torch; what the kernel must agree with.

    Args:
        x: int8 of shape (n_rows, n_inner).
        weight: int8 of shape (n_cols, n_inner).
        x_scale: float32 of shape (n_rows,).
        weight_scale: float32 of shape (n_cols,).
        output_scale: float32 of shape (), for an int8 output; or None.
        dtype: Of the output, if `output_scale` is None.

    Returns:
        Tensor of shape (n_rows, n_cols), int8 if there is an `output_scale`.
    """
    # float64 holds these sums exactly, and multiplies faster than int32 on a CPU.
    sums = (x.double() @ weight.double().t()).float()
    output = sums * x_scale[:, None] * weight_scale
    if output_scale is None:
        return output.to(dtype)
    return (output / output_scale).round().clamp(-128, 127).to(torch.int8)


@triton.jit
def round_half_to_even(x):
    """Round float32 in [-2^22, 2^22] as torch does.

    At 1.5 * 2^23 neighbouring floats are 1 apart: adding that makes the adder round.
    """
    return (x + 12582912.0) - 12582912.0


@triton.jit
def _int8_matmul_kernel(
    x_ptr,  # (n_rows, n_inner) int8
    weight_ptr,  # (n_cols, n_inner) int8
    x_scale_ptr,  # (n_rows,) float32
    weight_scale_ptr,  # (n_cols,) float32
    output_scale_ptr,  # () float32 or None
    output_ptr,  # (n_rows, n_cols)
    n_rows,
    n_cols,
    n_inner,
    GROUP: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
    BLOCK_INNER: tl.constexpr,
):
    """Compute one tile of BLOCK_ROWS x BLOCK_COLS outputs."""
    row_tile, col_tile = grouped_tile(
        tl.program_id(0),
        tl.cdiv(n_rows, BLOCK_ROWS),
        tl.cdiv(n_cols, BLOCK_COLS),
        GROUP,
    )
    rows = row_tile * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    cols = col_tile * BLOCK_COLS + tl.arange(0, BLOCK_COLS)
    inner = tl.arange(0, BLOCK_INNER)
    # What is past the end wraps around and is not stored, as in matmul.py.
    x_rows = (rows % n_rows).to(tl.int64)
    weight_rows = (cols % n_cols).to(tl.int64)
    x_ptrs = x_ptr + x_rows[:, None] * n_inner + inner[None, :]
    # Read as (inner, cols): the transposition is in the addresses, no byte moves.
    weight_ptrs = weight_ptr + inner[:, None] + weight_rows[None, :] * n_inner
    sums = tl.zeros((BLOCK_ROWS, BLOCK_COLS), dtype=tl.int32)
    for start in range(0, n_inner, BLOCK_INNER):
        left = n_inner - start
        x = tl.load(x_ptrs, mask=inner[None, :] < left, other=0)
        weight = tl.load(weight_ptrs, mask=inner[:, None] < left, other=0)
        sums = tl.dot(x, weight, sums, out_dtype=tl.int32)
        x_ptrs += BLOCK_INNER
        weight_ptrs += BLOCK_INNER
    x_scale = tl.load(x_scale_ptr + rows, mask=rows < n_rows, other=0.0)
    weight_scale = tl.load(weight_scale_ptr + cols, mask=cols < n_cols, other=0.0)
    output = sums.to(tl.float32) * x_scale[:, None] * weight_scale[None, :]
    if output_scale_ptr is not None:
        # Clamped before it is rounded: the same result, and in the range of rounding.
        output = tl.div_rn(output, tl.load(output_scale_ptr))
        output = tl.minimum(tl.maximum(output, -128.0), 127.0)
        output = round_half_to_even(output)
    outputs = rows.to(tl.int64)[:, None] * n_cols + cols[None, :]
    mask = (rows[:, None] < n_rows) & (cols[None, :] < n_cols)
    tl.store(output_ptr + outputs, output.to(output_ptr.dtype.element_ty), mask=mask)


# An element is one byte: the same shared memory holds a step twice as long.
TILES = (
    Tile(rows=128, cols=256, inner=128, num_warps=8, num_stages=3),
    Tile(rows=128, cols=128, inner=128, num_warps=8, num_stages=3),
    Tile(rows=64, cols=128, inner=128, num_warps=4, num_stages=4),
    Tile(rows=64, cols=64, inner=128, num_warps=4, num_stages=4),
    Tile(rows=16, cols=64, inner=256, num_warps=4, num_stages=4),
)


def int8_matmul_forward(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    output_scale: Tensor | None,
    output: Tensor,
    *,
    tile: Tile | None = None,
    group: int = 8,
) -> None:
    """Launch the kernel, one program for each tile.

    Args:
        x: Contiguous int8 of shape (n_rows, n_inner).
        weight: Contiguous int8 of shape (n_cols, n_inner).
        x_scale: Contiguous float32 of shape (n_rows,).
        weight_scale: Contiguous float32 of shape (n_cols,).
        output_scale: float32 of shape () if `output` is int8, else None.
        output: Contiguous tensor of shape (n_rows, n_cols); written.
        tile: What a program computes; chosen by the sizes if left out.
        group: Rows of tiles that are walked through together.
    """
    (n_rows, n_inner), n_cols = x.shape, len(weight)
    if output.numel() == 0:
        return
    tile = tile or choose_tile(n_rows, n_cols, tiles=TILES)
    _int8_matmul_kernel[(tile.programs(n_rows, n_cols),)](
        x,
        weight,
        x_scale,
        weight_scale,
        output_scale,
        output,
        n_rows,
        n_cols,
        n_inner,
        GROUP=group,
        **tile.blocks(),
    )


@torch.library.custom_op("mlopt::int8_matmul", mutates_args=(), device_types="cpu")
def _int8_matmul(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    output_scale: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    return int8_matmul_reference(
        x, weight, x_scale, weight_scale, output_scale, dtype=dtype
    )


@_int8_matmul.register_kernel("cuda")
def _int8_matmul_cuda(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    output_scale: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    dtype = dtype if output_scale is None else torch.int8
    output = x.new_empty(len(x), len(weight), dtype=dtype)
    # Triton launches on the current GPU, which need not be the one of x.
    with torch.cuda.device(x.device):
        int8_matmul_forward(
            x.contiguous(),
            weight.contiguous(),
            x_scale.contiguous(),
            weight_scale.contiguous(),
            output_scale,
            output,
        )
    return output


@_int8_matmul.register_fake
def _int8_matmul_fake(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    output_scale: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    dtype = dtype if output_scale is None else torch.int8
    return x.new_empty(x.shape[0], weight.shape[0], dtype=dtype)


def int8_matmul(
    x: Tensor,
    weight: Tensor,
    *,
    x_scale: Tensor,
    weight_scale: Tensor,
    output_scale: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Multiply int8 codes, and rescale the sums to floats or to int8 codes again.

    On a CPU this computes `int8_matmul_reference`; on an NVIDIA GPU it launches the
    kernel. `torch.compile` works through it. There is no gradient: rounded codes have
    none. A non-contiguous input is copied first.

    Args:
        x: int8 of shape (n_rows, n_inner), n_inner below 2^17.
        weight: int8 of shape (n_cols, n_inner).
        x_scale: float32 of shape (n_rows,), the value of one step of each row.
        weight_scale: float32 of shape (n_cols,), likewise for each output channel.
        output_scale: float32 of shape (), the step of an int8 output; or None.
        dtype: Of the output if there is no `output_scale`, in `OUTPUT_DTYPES`.

    Returns:
        A new contiguous tensor of shape (n_rows, n_cols).

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or device does not fit.
        ModuleNotFoundError: If the tensors are on a GPU and Triton is missing.

    Example:
        >>> x = torch.tensor([[100, -100]], dtype=torch.int8)
        >>> scale = torch.tensor([0.5])
        >>> int8_matmul(x, x, x_scale=scale, weight_scale=scale)
        tensor([[5000.]])
    """
    scales = {"x_scale": x_scale, "weight_scale": weight_scale}
    if output_scale is not None:
        scales["output_scale"] = output_scale
    for name, codes in {"x": x, "weight": weight}.items():
        if codes.dtype != torch.int8:
            raise TypeError(f"{name} must be int8, got {codes.dtype}")
        if codes.ndim != 2:
            raise ValueError(f"{name} must be a matrix, got shape {tuple(codes.shape)}")
    for name, scale in scales.items():
        if scale.dtype != torch.float32:
            raise TypeError(f"{name} must be float32, got {scale.dtype}")
    if dtype not in OUTPUT_DTYPES:
        names = ", ".join(str(each).removeprefix("torch.") for each in OUTPUT_DTYPES)
        raise TypeError(
            f"dtype must be one of {names}, got {dtype}; for int8 give an output_scale"
        )
    if x.shape[1] > MOST_INNER:
        raise ValueError(
            f"x must have at most {MOST_INNER} columns for its sums to fit int32, "
            f"got {x.shape[1]}"
        )
    shapes = {
        "weight": (weight, (len(weight), x.shape[1])),
        "x_scale": (x_scale, (len(x),)),
        "weight_scale": (weight_scale, (len(weight),)),
    }
    if output_scale is not None:
        shapes["output_scale"] = (output_scale, ())
    for name, (tensor, shape) in shapes.items():
        if tensor.shape != shape:
            raise ValueError(
                f"{name} must have shape {shape}, got {tuple(tensor.shape)}"
            )
        if tensor.device != x.device:
            raise ValueError(
                f"{name} must be on the device of x, {x.device}, got {tensor.device}"
            )
    product: Tensor = _int8_matmul(
        x, weight, x_scale, weight_scale, output_scale, dtype
    )
    return product
