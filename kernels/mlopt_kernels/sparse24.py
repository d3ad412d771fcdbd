r"""2:4 sparsity: half the weights, unpacked in registers before they multiply.

Of every four neighbours of a row the two largest are kept, with their places 0 to 3:

    weight   0  5  0  7   3  0  0  1
    values      5  7      3  1
    places   0b1101 0b1100: the first place in the low two bits; two groups make a byte

Counted for weights of (N, K) with b bytes an element:

    dense       b N K
    compressed  b N K / 2 + N K / 8        b = 2: 56 %; b = 4: 53 %
    operations  2 M N K for x of (M, K): the zeros are multiplied too

NVIDIA's sparse tensor core (mma.sp) skips the zeros and is up to twice as fast. Triton
has no way to ask for it, so the gain of this kernel is memory traffic alone: at most
1.8 times at a small batch, where reading the weights takes the time, and none at a
large one. As in int4_matmul.py the product is computed transposed, weight @ x.T, so
that the weights, just unpacked, can go from registers to the tensor core.

The gradients are dense products: grad_x = grad @ weight, and of grad.T @ x the values
keep the places that the weight keeps.

Paper: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021,
arXiv:2104.08378, section 3. Differs from the paper: places are packed in row-major
order, the earlier group in the low half of a byte, not in the order of the hardware.
"""

# ruff: noqa: N803  a constexpr is in capitals

from typing import Any

import torch
from torch import Tensor

from mlopt_kernels._triton import tl, triton
from mlopt_kernels.matmul import (
    DTYPES,
    Tile,
    check_alike,
    choose_tile,
    float32_precision,
    grouped_tile,
    matmul,
    must_widen,
)


def sparse24_compress_reference(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Compress in plain torch; what the kernel must agree with.

    Args:
        weight: Tensor of shape (n_cols, n_inner), n_inner a multiple of 8.

    Returns:
        values of shape (n_cols, n_inner / 2) and places, uint8 (n_cols, n_inner / 8).
    """
    groups = weight.reshape(len(weight), weight.shape[1] // 4, 4)
    # A stable sort keeps the earlier of two that are equal.
    order = groups.abs().argsort(dim=-1, descending=True, stable=True)
    places = order[..., :2].sort(dim=-1).values
    values = groups.gather(-1, places).reshape(len(weight), weight.shape[1] // 2)
    nibbles = places[..., 0] + 4 * places[..., 1]
    packed = (nibbles[:, 0::2] + 16 * nibbles[:, 1::2]).to(torch.uint8)
    return values.contiguous(), packed.contiguous()


def _places(places: Tensor) -> Tensor:
    """Return the places as int64 of shape (n_cols, n_groups, 2)."""
    fields = [places >> shift & 3 for shift in (0, 2, 4, 6)]
    groups = 2 * places.shape[1]
    return torch.stack(fields, dim=-1).reshape(len(places), groups, 2).long()


def sparse24_decompress(values: Tensor, places: Tensor) -> Tensor:
    """Return the matrix with its zeros.

    Args:
        values: Tensor of shape (n_cols, n_inner / 2).
        places: uint8 of shape (n_cols, n_inner / 8).

    Returns:
        Tensor of shape (n_cols, n_inner) in the dtype of `values`.
    """
    rows, groups = len(values), values.shape[1] // 2
    dense = values.new_zeros(rows, groups, 4)
    pairs = values.reshape(rows, groups, 2)
    return dense.scatter(-1, _places(places), pairs).reshape(rows, 4 * groups)


def sparse24_matmul_reference(x: Tensor, values: Tensor, places: Tensor) -> Tensor:
    """Decompress and multiply in plain torch; what the kernel must agree with.

    Args:
        x: Tensor of shape (n_rows, n_inner).
        values: Tensor of shape (n_cols, n_inner / 2) in the dtype of `x`.
        places: uint8 of shape (n_cols, n_inner / 8).

    Returns:
        Tensor of shape (n_rows, n_cols), summed up in float32 and rounded once.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    weight = sparse24_decompress(values, places).to(wide)
    return (x.to(wide) @ weight.t()).to(x.dtype)


@triton.jit
def _sparse24_compress_kernel(
    weight_ptr,  # (8 * n_bytes,)
    values_ptr,  # (4 * n_bytes,)
    places_ptr,  # (n_bytes,) uint8
    n_bytes,
    BLOCK_SIZE: tl.constexpr,
):
    """Compress 8 * BLOCK_SIZE neighbouring weights into BLOCK_SIZE bytes of places."""
    start = tl.program_id(0).to(tl.int64) * BLOCK_SIZE
    offsets = 8 * start + tl.arange(0, 8 * BLOCK_SIZE)
    weight = tl.load(weight_ptr + offsets, mask=offsets < 8 * n_bytes, other=0.0)
    # float32 holds each of the smaller dtypes, so nothing is rounded on the way.
    groups = tl.reshape(weight.to(tl.float32), (2 * BLOCK_SIZE, 2, 2))
    even, odd = tl.split(groups)
    w0, w2 = tl.split(even)
    w1, w3 = tl.split(odd)
    m0, m1, m2, m3 = tl.abs(w0), tl.abs(w1), tl.abs(w2), tl.abs(w3)
    # How many of the other three go before: larger ones, and equal ones if earlier.
    r0 = (m1 > m0).to(tl.int32) + (m2 > m0).to(tl.int32) + (m3 > m0).to(tl.int32)
    r1 = (m0 >= m1).to(tl.int32) + (m2 > m1).to(tl.int32) + (m3 > m1).to(tl.int32)
    r2 = (m0 >= m2).to(tl.int32) + (m1 >= m2).to(tl.int32) + (m3 > m2).to(tl.int32)
    r3 = (m0 >= m3).to(tl.int32) + (m1 >= m3).to(tl.int32) + (m2 >= m3).to(tl.int32)
    first = tl.where(r0 < 2, 0, tl.where(r1 < 2, 1, 2))
    second = tl.where(r3 < 2, 3, tl.where(r2 < 2, 2, 1))
    v0 = tl.where(first == 0, w0, tl.where(first == 1, w1, w2))
    v1 = tl.where(second == 3, w3, tl.where(second == 2, w2, w1))
    values = tl.reshape(tl.join(v0, v1), (4 * BLOCK_SIZE,))
    low, high = tl.split(tl.reshape(first + 4 * second, (BLOCK_SIZE, 2)))
    offsets = 4 * start + tl.arange(0, 4 * BLOCK_SIZE)
    values = values.to(values_ptr.dtype.element_ty)
    tl.store(values_ptr + offsets, values, mask=offsets < 4 * n_bytes)
    offsets = start + tl.arange(0, BLOCK_SIZE)
    places = (low + 16 * high).to(tl.uint8)
    tl.store(places_ptr + offsets, places, mask=offsets < n_bytes)


@triton.jit
def _sparse24_matmul_kernel(
    x_ptr,  # (n_rows, n_inner)
    pairs_ptr,  # (n_cols, n_inner / 4), the two values of a group as one integer
    places_ptr,  # (n_cols, n_inner / 8) uint8
    output_ptr,  # (n_rows, n_cols)
    n_rows,
    n_cols,
    n_inner,
    WIDEN: tl.constexpr,
    PRECISION: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
    BLOCK_INNER: tl.constexpr,
):
    """Compute one tile of outputs, transposed: BLOCK_COLS channels x BLOCK_ROWS."""
    row_tile, col_tile = grouped_tile(
        tl.program_id(0),
        tl.cdiv(n_rows, BLOCK_ROWS),
        tl.cdiv(n_cols, BLOCK_COLS),
        GROUP,
    )
    rows = row_tile * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    cols = col_tile * BLOCK_COLS + tl.arange(0, BLOCK_COLS)
    inner = tl.arange(0, BLOCK_INNER)
    pair = tl.arange(0, BLOCK_INNER // 4)
    byte = tl.arange(0, BLOCK_INNER // 8)
    # What is past the end wraps around and is not stored, as in matmul.py.
    x_rows = (rows % n_rows).to(tl.int64)
    weight_rows = (cols % n_cols).to(tl.int64)
    x_ptrs = x_ptr + inner[:, None] + x_rows[None, :] * n_inner
    pair_ptrs = pairs_ptr + weight_rows[:, None] * (n_inner // 4) + pair[None, :]
    place_ptrs = places_ptr + weight_rows[:, None] * (n_inner // 8) + byte[None, :]
    total = tl.zeros((BLOCK_COLS, BLOCK_ROWS), dtype=tl.float32)
    for start in range(0, n_inner, BLOCK_INNER):
        left = n_inner - start
        x = tl.load(x_ptrs, mask=inner[:, None] < left, other=0.0)
        pairs = tl.load(pair_ptrs, mask=4 * pair[None, :] < left, other=0)
        places = tl.load(place_ptrs, mask=8 * byte[None, :] < left, other=0)
        # The first value of a pair is its low half.
        if x.dtype.primitive_bitwidth == 16:
            v0 = pairs.to(tl.int16).to(x.dtype, bitcast=True)
            v1 = (pairs >> 16).to(tl.int16).to(x.dtype, bitcast=True)
        else:
            v0 = pairs.to(tl.int32).to(x.dtype, bitcast=True)
            v1 = (pairs >> 32).to(tl.int32).to(x.dtype, bitcast=True)
        if WIDEN:
            x = x.to(tl.float32)
            v0 = v0.to(tl.float32)
            v1 = v1.to(tl.float32)
        nibbles = tl.join(places & 15, places >> 4)
        nibbles = tl.reshape(nibbles, (BLOCK_COLS, BLOCK_INNER // 4))
        first = nibbles & 3
        second = nibbles >> 2
        # first < second: the first is never at 3, the second never at 0.
        zero = tl.zeros_like(v0)
        w0 = tl.where(first == 0, v0, zero)
        w1 = tl.where(first == 1, v0, tl.where(second == 1, v1, zero))
        w2 = tl.where(first == 2, v0, tl.where(second == 2, v1, zero))
        w3 = tl.where(second == 3, v1, zero)
        weight = tl.join(tl.join(w0, w2), tl.join(w1, w3))
        weight = tl.reshape(weight, (BLOCK_COLS, BLOCK_INNER))
        total = tl.dot(weight, x, total, input_precision=PRECISION)
        x_ptrs += BLOCK_INNER
        pair_ptrs += BLOCK_INNER // 4
        place_ptrs += BLOCK_INNER // 8
    outputs = rows.to(tl.int64)[None, :] * n_cols + cols[:, None]
    mask = (rows[None, :] < n_rows) & (cols[:, None] < n_cols)
    tl.store(output_ptr + outputs, total.to(output_ptr.dtype.element_ty), mask=mask)


TILES = (
    Tile(rows=128, cols=64, inner=64, num_warps=4, num_stages=3),
    Tile(rows=64, cols=64, inner=64, num_warps=4, num_stages=4),
    Tile(rows=32, cols=64, inner=64, num_warps=4, num_stages=4),
    Tile(rows=16, cols=64, inner=64, num_warps=4, num_stages=4),
)
FLOAT32_TILE = Tile(rows=32, cols=64, inner=32, num_warps=4, num_stages=3)


def sparse24_compress_forward(
    weight: Tensor, values: Tensor, places: Tensor, *, block_size: int = 256
) -> None:
    """Launch the kernel that compresses, one program for each block.

    Args:
        weight: Contiguous tensor of shape (n_cols, n_inner), in one of `DTYPES`.
        values: Contiguous tensor of shape (n_cols, n_inner / 2); written.
        places: Contiguous uint8 of shape (n_cols, n_inner / 8); written.
        block_size: Bytes of places of a program, a power of two.
    """
    n_bytes = places.numel()
    if n_bytes == 0:
        return
    _sparse24_compress_kernel[(-(-n_bytes // block_size),)](
        weight, values, places, n_bytes, BLOCK_SIZE=block_size
    )


def sparse24_matmul_forward(
    x: Tensor,
    values: Tensor,
    places: Tensor,
    output: Tensor,
    *,
    tile: Tile | None = None,
    group: int = 8,
) -> None:
    """Launch the kernel that multiplies, one program for each tile.

    Args:
        x: Contiguous tensor of shape (n_rows, n_inner), in one of `DTYPES`.
        values: Contiguous tensor of shape (n_cols, n_inner / 2).
        places: Contiguous uint8 of shape (n_cols, n_inner / 8).
        output: Contiguous tensor of shape (n_rows, n_cols); written.
        tile: What a program computes; chosen by the sizes if left out.
        group: Rows of tiles that are walked through together.
    """
    (n_rows, n_inner), n_cols = x.shape, len(values)
    if output.numel() == 0:
        return
    if tile is None:
        tiles = (FLOAT32_TILE,) if x.dtype == torch.float32 else TILES
        tile = choose_tile(n_rows, n_cols, tiles=tiles)
    _sparse24_matmul_kernel[(tile.programs(n_rows, n_cols),)](
        x,
        values.flatten().view(torch.int64 if x.dtype == torch.float32 else torch.int32),
        places,
        output,
        n_rows,
        n_cols,
        n_inner,
        WIDEN=must_widen(x),
        PRECISION=float32_precision(),
        GROUP=group,
        **tile.blocks(),
    )


@torch.library.custom_op(
    "mlopt::sparse24_compress", mutates_args=(), device_types="cpu"
)
def _sparse24_compress(weight: Tensor) -> tuple[Tensor, Tensor]:
    return sparse24_compress_reference(weight)


@_sparse24_compress.register_kernel("cuda")
def _sparse24_compress_cuda(weight: Tensor) -> tuple[Tensor, Tensor]:
    values, places = _sparse24_compress_fake(weight)
    # Triton launches on the current GPU, which need not be the one of weight.
    with torch.cuda.device(weight.device):
        sparse24_compress_forward(weight.contiguous(), values, places)
    return values, places


@_sparse24_compress.register_fake
def _sparse24_compress_fake(weight: Tensor) -> tuple[Tensor, Tensor]:
    rows, n_inner = weight.shape
    return (
        weight.new_empty(rows, n_inner // 2),
        weight.new_empty(rows, n_inner // 8, dtype=torch.uint8),
    )


@torch.library.custom_op("mlopt::sparse24_matmul", mutates_args=(), device_types="cpu")
def _sparse24_matmul(x: Tensor, values: Tensor, places: Tensor) -> Tensor:
    return sparse24_matmul_reference(x, values, places)


@_sparse24_matmul.register_kernel("cuda")
def _sparse24_matmul_cuda(x: Tensor, values: Tensor, places: Tensor) -> Tensor:
    output = x.new_empty(len(x), len(values))
    x, values, places = x.contiguous(), values.contiguous(), places.contiguous()
    with torch.cuda.device(x.device):
        sparse24_matmul_forward(x, values, places, output)
    return output


@_sparse24_matmul.register_fake
def _sparse24_matmul_fake(x: Tensor, values: Tensor, places: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], values.shape[0])


def _sparse24_matmul_setup(
    ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor
) -> None:
    ctx.save_for_backward(*inputs)


def _sparse24_matmul_backward(
    ctx: Any, grad: Tensor
) -> tuple[Tensor | None, Tensor | None, None]:
    x, values, places = ctx.saved_tensors
    for_x, for_values, _ = ctx.needs_input_grad
    grad_x = matmul(grad, sparse24_decompress(values, places)) if for_x else None
    grad_values = None
    if for_values:
        groups = matmul(grad.t(), x).reshape(len(values), values.shape[1] // 2, 4)
        grad_values = groups.gather(-1, _places(places)).reshape(values.shape)
    return grad_x, grad_values, None


_sparse24_matmul.register_autograd(
    _sparse24_matmul_backward, setup_context=_sparse24_matmul_setup
)


def sparse24_compress(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Keep the two largest magnitudes of every four neighbours of a row.

    Of equal ones the earlier is kept, so a weight that is 2:4 already loses nothing. On
    a CPU this computes `sparse24_compress_reference`; on an NVIDIA GPU it launches the
    kernel. It has no gradient; that of the product reaches `values`.

    Args:
        weight: Tensor of shape (n_cols, n_inner), in one of `DTYPES`, n_inner a
            multiple of 8.

    Returns:
        values: Of shape (n_cols, n_inner / 2) in the dtype of `weight`.
        places: uint8 of shape (n_cols, n_inner / 8), two bits a value.

    Raises:
        TypeError: If the dtype is not one of `DTYPES`.
        ValueError: If the shape does not fit.
        ModuleNotFoundError: If the tensor is on a GPU and Triton is missing.

    Example:
        >>> weight = torch.tensor([[0.0, 5.0, 1.0, 7.0, 3.0, 0.0, 0.0, 1.0]])
        >>> values, places = sparse24_compress(weight)
        >>> values, bin(places.item())
        (tensor([[5., 7., 3., 1.]]), '0b11001101')
    """
    if weight.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(
            f"weight must have one of the dtypes {names}, got {weight.dtype}"
        )
    if weight.ndim != 2 or weight.shape[1] % 8:
        raise ValueError(
            "weight must be a matrix with a multiple of 8 columns, "
            f"got shape {tuple(weight.shape)}; pad it with zeros"
        )
    values, places = _sparse24_compress(weight.detach())
    return values, places


def sparse24_matmul(x: Tensor, values: Tensor, *, places: Tensor) -> Tensor:
    """Multiply by a compressed 2:4 weight: x @ weight.T.

    On a CPU this computes `sparse24_matmul_reference`; on an NVIDIA GPU it launches the
    kernel. Autograd, for `x` and `values`, and `torch.compile` work through it. A
    non-contiguous input is copied first.

    Args:
        x: Tensor of shape (n_rows, n_inner), in one of `DTYPES`.
        values: Of shape (n_cols, n_inner / 2), as `sparse24_compress` returns it.
        places: uint8 of shape (n_cols, n_inner / 8), likewise.

    Returns:
        A new contiguous tensor of shape (n_rows, n_cols) in the dtype of `x`.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape, dtype or device does not fit.
        ModuleNotFoundError: If the tensors are on a GPU and Triton is missing.

    Example:
        >>> values = torch.tensor([[5.0, 7.0, 3.0, 1.0]])
        >>> places = torch.tensor([[0b11001101]], dtype=torch.uint8)
        >>> sparse24_matmul(torch.arange(8.0)[None], values, places=places)
        tensor([[45.]])
    """
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"x must have one of the dtypes {names}, got {x.dtype}")
    if places.dtype != torch.uint8:
        raise TypeError(f"places must be torch.uint8, got {places.dtype}")
    if x.ndim != 2 or x.shape[1] % 8:
        raise ValueError(
            "x must be a matrix with a multiple of 8 columns, "
            f"got shape {tuple(x.shape)}"
        )
    if values.ndim != 2 or 2 * values.shape[1] != x.shape[1]:
        raise ValueError(
            f"values must be a matrix with half the {x.shape[1]} columns of x, "
            f"got shape {tuple(values.shape)}"
        )
    if places.shape != (len(values), x.shape[1] // 8):
        raise ValueError(
            f"places must have shape {(len(values), x.shape[1] // 8)}, "
            f"got {tuple(places.shape)}"
        )
    check_alike(x, values=values)
    if places.device != x.device:
        raise ValueError(
            f"places must be on the device of x, {x.device}, got {places.device}"
        )
    product: Tensor = _sparse24_matmul(x, values, places)
    return product
