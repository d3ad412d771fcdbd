"""The cases of kernels that multiply matrices, each beside torch's own way."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.kernel_counts import (
    Case,
    Sizes,
    attention_operations,
    matmul_bytes,
    matmul_operations,
    of,
)


def _bfloat16(rows: int, cols: int, device: str) -> Tensor:
    return torch.randn(rows, cols, device=device).bfloat16()


def _matmul(sizes: Sizes, device: str) -> Iterator[Case]:
    n = sizes.inner
    x, y = _bfloat16(n, n, device), _bfloat16(n, n, device)
    ours = of("matmul")
    yield Case(
        "bfloat16",
        lambda: ours(x, y),
        lambda: x @ y,
        matmul_bytes(n, n, n, 2, weight_bytes=2),
        matmul_operations(n, n, n),
        cublas=lambda: x @ y,
    )


def _int8_matmul(sizes: Sizes, device: str) -> Iterator[Case]:
    n = sizes.inner
    x, weight = (
        torch.randint(-127, 128, (n, n), device=device).to(torch.int8) for _ in range(2)
    )
    scale = torch.full((n,), 0.01, device=device)
    wide, wide_weight = x.bfloat16(), weight.bfloat16()
    ours = of("int8_matmul")
    options = {"x_scale": scale, "weight_scale": scale, "dtype": torch.bfloat16}
    yield Case(
        "to bfloat16",
        lambda: ours(x, weight, **options),
        lambda: torch._int_mm(x, weight.t()),
        matmul_bytes(n, n, n, 1, weight_bytes=1) + n * n,
        matmul_operations(n, n, n),
        cublas=lambda: wide @ wide_weight.t(),
    )


def _int4_matmul(sizes: Sizes, device: str) -> Iterator[Case]:
    n, batch = sizes.inner, sizes.batch
    group_size = min(128, n)
    x, dense = _bfloat16(batch, n, device), _bfloat16(n, n, device)
    packed = torch.randint(256, (n, n // 2), device=device).to(torch.uint8)
    scale = torch.full((n, n // group_size), 0.01, device=device)
    zero_point = torch.full_like(scale, 8).to(torch.uint8)
    ours = of("int4_matmul")
    reference = of("int4_matmul", "int4_matmul_reference")
    moved = matmul_bytes(batch, n, n, 2, weight_bytes=0.5 + 5 / group_size)
    yield Case(
        f"batch {batch}, bfloat16",
        lambda: ours(x, packed, scale=scale, zero_point=zero_point),
        lambda: reference(x, packed, scale=scale, zero_point=zero_point),
        moved,
        matmul_operations(batch, n, n),
        cublas=lambda: x @ dense.t(),
    )


def _sparse24(sizes: Sizes, device: str) -> Iterator[Case]:
    n, batch = sizes.inner, sizes.batch
    x, dense = _bfloat16(batch, n, device), _bfloat16(n, n, device)
    dense *= torch.tensor([1, 0, 1, 0], device=device).repeat(n // 4)
    values, places = of("sparse24", "sparse24_compress")(dense)
    ours = of("sparse24", "sparse24_matmul")
    moved = matmul_bytes(batch, n, n, 2, weight_bytes=1 + 1 / 8)
    yield Case(
        f"batch {batch}, bfloat16",
        lambda: ours(x, values, places=places),
        lambda: x @ dense.t(),
        moved,
        matmul_operations(batch, n, n),
        cublas=lambda: x @ dense.t(),
    )


def _block_sparse_matmul(sizes: Sizes, device: str) -> Iterator[Case]:
    n, block = sizes.inner, 32
    x, dense = _bfloat16(n, n, device), _bfloat16(n, n, device)
    # A chessboard: exactly half of the blocks.
    place = torch.arange(n, device=device) // block
    dense *= (place[:, None] + place) % 2
    values, columns, starts = of("block_sparse_matmul", "block_sparse")(
        dense, block_size=block
    )
    ours = of("block_sparse_matmul")
    yield Case(
        "half of the blocks, bfloat16",
        lambda: ours(x, values, columns=columns, starts=starts, n_cols=n),
        lambda: x @ dense.t(),
        matmul_bytes(n, n, n, 2, weight_bytes=1),
        matmul_operations(n, n, n, density=0.5),
        cublas=lambda: x @ dense.t(),
    )


def _attention(sizes: Sizes, device: str) -> Iterator[Case]:
    shape = (4, 16, sizes.length, 64)
    query, key, value = (torch.randn(shape, device=device).bfloat16() for _ in range(3))
    ours = of("attention")
    for causal in (False, True):
        yield Case(
            f"{'causal, ' if causal else ''}bfloat16",
            lambda causal=causal: ours(query, key, value, causal=causal),
            lambda causal=causal: functional.scaled_dot_product_attention(
                query, key, value, is_causal=causal
            ),
            4 * query.nbytes,
            attention_operations(64, sizes.length, 64, causal=causal),
        )


TENSOR_CORE = {
    case.__name__[1:]: case
    for case in (
        _matmul,
        _int8_matmul,
        _int4_matmul,
        _sparse24,
        _block_sparse_matmul,
        _attention,
    )
}
