r"""Matrix multiplication: tiles that are used again, on the tensor core.

    output[i, j] = sum over k of x[i, k] * y[k, j], plus bias[j]

Counted for x of (M, K) and y of (K, N), with elements of b bytes:

    operations  a product and a sum for each i, j and k     2 M N K
    bytes       x and y read once, output written once      b (M K + K N + M N)
    intensity   of square matrices, M = N = K               2 M / (3 b)

At M = 4096 in bfloat16 that is 1365 operations a byte; an H100 needs about 300 to be
busy. So this can be bound by arithmetic, if a loaded element is used often enough. One
program computes a tile of R x C outputs and walks along K:

    operations of one step along K    2 R C
    bytes of one step                 b (R + C)
    intensity                         2 R C / (b (R + C))    (R = 128, C = 256: 85)

85 is below 300: the rest must come from the L2 cache, from tiles that run at the same
time and share rows of x or columns of y. Walking through the tiles row by row, P
programs share one row of x and need P columns of y; walking in groups of G rows they
form a block of G x P/G tiles and need G + P/G of both together. That is all
`grouped_tile` does.

Every dtype is summed up in float32. float16 and bfloat16 go to the tensor core as they
are. float32 does as `torch.set_float32_matmul_precision` says: "highest" keeps every
bit and stays off the tensor core, "high" and "medium" cut the factors to TF32.

The gradients are two more products, by the same kernel on transposed strides:

    grad_x = grad @ y.T      grad_y = x.T @ grad      grad_bias = sum of grad's rows
"""

# ruff: noqa: N803  a constexpr is in capitals

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mlopt_kernels._triton import tl, triton

DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def matmul_reference(x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply in plain torch; what the kernel must agree with.

    Args:
        x: Tensor of shape (n_rows, n_inner).
        y: Tensor of shape (n_inner, n_cols) in the dtype of `x`.
        bias: Tensor of shape (n_cols,) in the dtype of `x`, or None.

    Returns:
        Tensor of shape (n_rows, n_cols), summed up in float32 and rounded once.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    output = x.to(wide) @ y.to(wide)
    if bias is not None:
        output = output + bias.to(wide)
    return output.to(x.dtype)


@triton.jit
def grouped_tile(program, row_tiles, col_tiles, GROUP: tl.constexpr):
    """Return the tile of a program: down GROUP rows of tiles, then a column further.

    With GROUP = 2 and four columns of tiles, programs 0 to 15 take

        0 2 4 6
        1 3 5 7
        8 ...
    """
    group = program // (GROUP * col_tiles)
    inside = program % (GROUP * col_tiles)
    first = group * GROUP
    height = tl.minimum(row_tiles - first, GROUP)  # the last group may be lower
    return first + inside % height, inside // height


@triton.jit
def _matmul_kernel(
    x_ptr,  # (n_rows, n_inner), any strides
    y_ptr,  # (n_inner, n_cols), any strides
    bias_ptr,  # (n_cols,) or None
    output_ptr,  # (n_rows, n_cols), contiguous
    n_rows,
    n_cols,
    n_inner,
    x_row_stride,
    x_inner_stride,
    y_inner_stride,
    y_col_stride,
    WIDEN: tl.constexpr,
    PRECISION: tl.constexpr,
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
    # What is past the end wraps around and is not stored: the loop needs no mask for
    # it. int64: a row times its stride may pass 2^31.
    x_rows = (rows % n_rows).to(tl.int64)
    y_cols = (cols % n_cols).to(tl.int64)
    x_ptrs = x_ptr + x_rows[:, None] * x_row_stride + inner[None, :] * x_inner_stride
    y_ptrs = y_ptr + inner[:, None] * y_inner_stride + y_cols[None, :] * y_col_stride
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLS), dtype=tl.float32)
    for start in range(0, n_inner, BLOCK_INNER):
        left = n_inner - start
        x = tl.load(x_ptrs, mask=inner[None, :] < left, other=0.0)
        y = tl.load(y_ptrs, mask=inner[:, None] < left, other=0.0)
        if WIDEN:
            x = x.to(tl.float32)
            y = y.to(tl.float32)
        total = tl.dot(x, y, total, input_precision=PRECISION)
        x_ptrs += tl.cast(BLOCK_INNER, tl.int64) * x_inner_stride
        y_ptrs += tl.cast(BLOCK_INNER, tl.int64) * y_inner_stride
    if bias_ptr is not None:
        bias = tl.load(bias_ptr + cols, mask=cols < n_cols, other=0.0)
        total += bias.to(tl.float32)[None, :]
    outputs = rows.to(tl.int64)[:, None] * n_cols + cols[None, :]
    mask = (rows[:, None] < n_rows) & (cols[None, :] < n_cols)
    tl.store(output_ptr + outputs, total.to(output_ptr.dtype.element_ty), mask=mask)


class Tile(NamedTuple):
    """What one program computes, and with what.

    Attributes:
        rows: Rows of the output, a power of two of at least 16.
        cols: Columns of the output, likewise.
        inner: Length of one step along the inner dimension, likewise.
        num_warps: Warps of 32 threads that share the tile.
        num_stages: Steps that are loaded ahead while one is multiplied.
    """

    rows: int
    cols: int
    inner: int
    num_warps: int
    num_stages: int

    def blocks(self) -> dict[str, Any]:
        """Return the tile as keyword arguments of a kernel's launch."""
        return {
            "BLOCK_ROWS": self.rows,
            "BLOCK_COLS": self.cols,
            "BLOCK_INNER": self.inner,
            "num_warps": self.num_warps,
            "num_stages": self.num_stages,
        }

    def programs(self, n_rows: int, n_cols: int) -> int:
        """Return how many such tiles cover an output."""
        return -(-n_rows // self.rows) * -(-n_cols // self.cols)


# The largest first; three stages of the first are 144 KiB of an H100's 227 KiB of
# shared memory, and fit an A100's 163 KiB too.
TILES = (
    Tile(rows=128, cols=256, inner=64, num_warps=8, num_stages=3),
    Tile(rows=128, cols=128, inner=64, num_warps=8, num_stages=3),
    Tile(rows=64, cols=128, inner=64, num_warps=4, num_stages=4),
    Tile(rows=64, cols=64, inner=64, num_warps=4, num_stages=4),
    Tile(rows=32, cols=64, inner=64, num_warps=4, num_stages=4),
    Tile(rows=16, cols=64, inner=128, num_warps=4, num_stages=4),
)
FLOAT32_TILE = Tile(rows=64, cols=64, inner=32, num_warps=4, num_stages=3)
MULTIPROCESSORS = 132  # of an H100


def choose_tile(n_rows: int, n_cols: int, *, tiles: tuple[Tile, ...] = TILES) -> Tile:
    """Return the largest tile that leaves no multiprocessor of an H100 idle.

    A larger tile uses each loaded element more often; one that is larger than the
    output, or that there are fewer of than multiprocessors, wastes what it would gain.

    Example:
        >>> choose_tile(4096, 4096)[:2], choose_tile(1024, 1024)[:2]
        ((128, 256), (64, 64))
        >>> choose_tile(1, 4096)[:2]
        (16, 64)
    """
    fitting = [tile for tile in tiles if tile.rows < 2 * n_rows] or [tiles[-1]]
    for tile in fitting:
        if tile.programs(n_rows, n_cols) >= MULTIPROCESSORS:
            return tile
    return fitting[-1]


def must_widen(x: Tensor) -> bool:
    """Return whether a kernel must turn `x` into float32 before it multiplies.

    On a GPU never: the tensor core takes it as it is. Tensors on a CPU mean that
    Triton interprets the kernel, and it multiplies the bits of bfloat16 as integers.
    """
    return x.dtype == torch.bfloat16 and x.device.type == "cpu"


def float32_precision() -> str:
    """Return what a dot of float32 does, by torch's own setting."""
    highest = torch.get_float32_matmul_precision() == "highest"
    return "ieee" if highest else "tf32"


def matmul_forward(
    x: Tensor,
    y: Tensor,
    bias: Tensor | None,
    output: Tensor,
    *,
    tile: Tile | None = None,
    group: int = 8,
) -> None:
    """Launch the kernel, one program for each tile.

    Args:
        x: Tensor of shape (n_rows, n_inner), any strides, in one of `DTYPES`.
        y: Tensor of shape (n_inner, n_cols), any strides, in the dtype of `x`.
        bias: Contiguous tensor of shape (n_cols,) or None.
        output: Contiguous tensor of shape (n_rows, n_cols); written.
        tile: What a program computes; chosen by the sizes if left out.
        group: Rows of tiles that are walked through together.
    """
    (n_rows, n_inner), n_cols = x.shape, y.shape[1]
    if output.numel() == 0:
        return
    if tile is None:
        tiles = (FLOAT32_TILE,) if x.dtype == torch.float32 else TILES
        tile = choose_tile(n_rows, n_cols, tiles=tiles)
    _matmul_kernel[(tile.programs(n_rows, n_cols),)](
        x,
        y,
        bias,
        output,
        n_rows,
        n_cols,
        n_inner,
        *x.stride(),
        *y.stride(),
        WIDEN=must_widen(x),
        PRECISION=float32_precision(),
        GROUP=group,
        **tile.blocks(),
    )


@torch.library.custom_op("mlopt::matmul", mutates_args=(), device_types="cpu")
def _matmul(x: Tensor, y: Tensor, bias: Tensor | None) -> Tensor:
    return matmul_reference(x, y, bias)


@_matmul.register_kernel("cuda")
def _matmul_cuda(x: Tensor, y: Tensor, bias: Tensor | None) -> Tensor:
    output = x.new_empty(x.shape[0], y.shape[1])
    # Triton launches on the current GPU, which need not be the one of x.
    with torch.cuda.device(x.device):
        matmul_forward(x, y, None if bias is None else bias.contiguous(), output)
    return output


@_matmul.register_fake
def _matmul_fake(x: Tensor, y: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], y.shape[1])


def _matmul_setup(
    ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor
) -> None:
    x, y, _ = inputs
    ctx.save_for_backward(x, y)


def _matmul_backward(
    ctx: Any, grad: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    x, y = ctx.saved_tensors
    for_x, for_y, for_bias = ctx.needs_input_grad
    return (
        _matmul(grad, y.t(), None) if for_x else None,
        _matmul(x.t(), grad, None) if for_y else None,
        grad.sum(0) if for_bias else None,
    )


_matmul.register_autograd(_matmul_backward, setup_context=_matmul_setup)


def matmul(x: Tensor, y: Tensor, *, bias: Tensor | None = None) -> Tensor:
    """Multiply two matrices, summing up in float32.

    On a CPU this computes `matmul_reference`; on an NVIDIA GPU it launches the kernel.
    Autograd and `torch.compile` work through it. Inputs may have any strides: a
    transposed one is not copied. A linear layer is `matmul(x, weight.t(), bias=bias)`.

    Args:
        x: Tensor of shape (n_rows, n_inner), in one of `DTYPES`.
        y: Tensor of shape (n_inner, n_cols), in the dtype and on the device of `x`.
        bias: Tensor of shape (n_cols,), likewise, added to each row; or None.

    Returns:
        A new contiguous tensor of shape (n_rows, n_cols) in the same dtype.

    Raises:
        TypeError: If the dtype is not one of `DTYPES`.
        ValueError: If a shape, dtype or device does not fit.
        ModuleNotFoundError: If the tensors are on a GPU and Triton is missing.

    Example:
        >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> matmul(x, torch.eye(2), bias=torch.tensor([10.0, 20.0]))
        tensor([[11., 22.],
                [13., 24.]])
    """
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"x must have one of the dtypes {names}, got {x.dtype}")
    if x.ndim != 2:
        raise ValueError(f"x must be a matrix, got shape {tuple(x.shape)}; reshape it")
    if y.ndim != 2 or y.shape[0] != x.shape[1]:
        raise ValueError(
            f"y must be a matrix with {x.shape[1]} rows, the columns of x, "
            f"got shape {tuple(y.shape)}"
        )
    if bias is not None and bias.shape != y.shape[1:]:
        raise ValueError(
            f"bias must have {y.shape[1]} elements, the columns of y, "
            f"got shape {tuple(bias.shape)}"
        )
    check_alike(x, y=y, bias=bias)
    product: Tensor = _matmul(x, y, bias)
    return product


def check_alike(x: Tensor, **others: Tensor | None) -> None:
    """Raise ValueError unless each tensor has the dtype and device of `x`."""
    for name, other in others.items():
        for what in ("dtype", "device"):
            wanted, got = getattr(x, what), getattr(other, what, None)
            if other is not None and got != wanted:
                raise ValueError(
                    f"{name} must have the {what} of x, {wanted}, got {got}"
                )
