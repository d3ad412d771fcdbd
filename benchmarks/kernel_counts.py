"""What a kernel moves and computes at the least, and how a case of it is described.

The bytes of an element are b, as in the docstrings of the kernels.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """How large the tensors are: far larger than the cache of a GPU, or tiny."""

    elements: int = 2**27
    rows: int = 2**14
    cols: int = 4096
    tensors: int = 300
    inner: int = 8192
    batch: int = 16
    length: int = 4096


TINY = Sizes(600, 8, 64, 3, 64, 16, 32)


@dataclass(frozen=True)
class Case:
    """What is timed: ours, the same in torch, and the same in cuBLAS if it has it."""

    variant: str
    ours: Callable[[], Any]
    eager: Callable[[], Any]
    bytes: float = 0
    operations: float = 0
    cublas: Callable[[], Any] | None = None
    fused: Callable[[], Any] | None = None  # torch's own fused form
    compiled: bool = True


def of(kernel: str, name: str | None = None) -> Any:
    """Return the function of a kernel's file that has its name, or another one."""
    return getattr(importlib.import_module(f"mlopt_kernels.{kernel}"), name or kernel)


def elementwise_bytes(elements: int, b: int, *, reads: int, writes: int) -> int:
    """Count what a kernel moves that touches each element so many times."""
    return elements * b * (reads + writes)


def optimizer_bytes(elements: int, b: int, *, averages: int) -> int:
    """Count w, g read and w written, and each float32 average read and written."""
    return elements * (3 * b + 8 * averages)


def mask_bytes(elements: int, b: int) -> int:
    """Count a pass for each 8 bits, then a read and a byte of the mask."""
    return elements * (b * b + b + 1)


def quantize_bytes(elements: int, b: int, *, bits: int, group_size: int) -> float:
    """Count elements, codes, and 5 bytes a group for its scale and zero point."""
    return elements * (b + bits / 8 + 5 / group_size)


def matmul_operations(rows: int, inner: int, cols: int, *, density: float = 1) -> float:
    """Count a product and a sum for each pair that is multiplied."""
    return 2 * rows * inner * cols * density


def matmul_bytes(
    rows: int, inner: int, cols: int, b: int, *, weight_bytes: float
) -> float:
    """Count input and output at b bytes and the weight at bytes of its own."""
    return b * rows * (inner + cols) + weight_bytes * inner * cols


def attention_operations(batch: int, length: int, dim: int, *, causal: bool) -> float:
    """Count scores and output, 2 L L D each, half of them where a causal mask is."""
    return batch * 4 * length * length * dim / (2 if causal else 1)
