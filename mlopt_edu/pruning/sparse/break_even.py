r"""Below which density a sparse form pays: bytes by counting, time by measuring.

With v bytes a value, i an index, p a row pointer, r rows and n = r * columns weights, a
form takes as many bytes as the dense matrix, n * v, at the density

    CSR       (v - p * (r + 1) / n) / (v + i)        about 2/3 for v = 4, i = 2
    bitmask   (v - 1/8) / v                          31/32 for v = 4
    2:4       always v / 2 + 1/8 a weight            0.53 of dense for v = 4

Time has no such formula. A dense product reads memory in order and keeps the arithmetic
units busy; a sparse one follows indices. On CPUs CSR must be a few times sparser than
its break-even in bytes before it is faster, and it depends on the sizes, the number of
rows of x and the machine: measure, with what `products` returns.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from mlopt_edu.pruning.sparse.bitmask import Bitmask
from mlopt_edu.pruning.sparse.bsr import BSR
from mlopt_edu.pruning.sparse.csr import CSR
from mlopt_edu.pruning.sparse.packed import Packed, index_dtype


def csr_bytes(
    nonzeros: int, shape: tuple[int, int], *, dtype: torch.dtype = torch.float32
) -> int:
    """Return the bytes of a CSR matrix with the smallest indices that do.

    Args:
        nonzeros: How many values it holds.
        shape: Rows and columns.
        dtype: Type of the values.

    Example:
        >>> csr_bytes(1000, (100, 300))  # 1000 * (4 + 2) + 101 * 2
        6202
    """
    rows, columns = shape
    index = index_dtype(columns - 1).itemsize
    pointer = index_dtype(nonzeros).itemsize
    return nonzeros * (dtype.itemsize + index) + (rows + 1) * pointer


def bitmask_bytes(
    nonzeros: int, shape: tuple[int, int], *, dtype: torch.dtype = torch.float32
) -> int:
    """Return the bytes of a bitmask and its values.

    Args:
        nonzeros: How many values it holds.
        shape: Rows and columns.
        dtype: Type of the values.

    Example:
        >>> bitmask_bytes(1000, (100, 300))  # 1000 * 4 + 30000 / 8
        7750
    """
    rows, columns = shape
    return nonzeros * dtype.itemsize + -(-rows * columns // 8)


def break_even_density(
    count: Callable[..., int],
    shape: tuple[int, int],
    *,
    dtype: torch.dtype = torch.float32,
) -> float:
    """Return the largest density at which a form takes no more bytes than dense.

    Args:
        count: `csr_bytes` or `bitmask_bytes`.
        shape: Rows and columns, at least 1 each.
        dtype: Type of the values.

    Raises:
        ValueError: If the shape has no weights.

    Example:
        >>> round(break_even_density(csr_bytes, (300, 784)), 3)
        0.666
        >>> break_even_density(bitmask_bytes, (300, 784))
        0.96875
    """
    size = shape[0] * shape[1]
    if min(shape) < 1:
        raise ValueError(f"shape must be two numbers of at least 1, got {shape}")
    fitting = bisect_right(
        range(size + 1),
        size * dtype.itemsize,
        key=lambda nonzeros: count(nonzeros, shape, dtype=dtype),
    )
    return max(fitting - 1, 0) / size


def products(
    shape: tuple[int, int],
    *,
    density: float,
    rows: int = 64,
    block_size: int = 8,
    generator: torch.Generator | None = None,
) -> dict[str, Callable[[], Tensor]]:
    """Return x @ W.T in each form as functions to time, the dense one first.

    Hand them to `mlopt_edu.evaluation.compare_latency`, which times them in turns. The
    weights are drawn anew for each form: single ones for CSR and the bitmask, whole
    blocks for BSR, all of them for dense.

    Args:
        shape: out_features and in_features.
        density: Share of weights, or of blocks, that are not zero; in [0, 1].
        rows: Rows of x.
        block_size: Height and width of BSR's blocks.
        generator: Draws everything; None for torch's global one.

    Raises:
        ValueError: If `density` is out of its range.

    Example:
        >>> functions = products((256, 128), density=0.1, rows=4)
        >>> {name: function().shape for name, function in functions.items()}
        {'dense': torch.Size([4, 256]), 'CSR': torch.Size([4, 256]),
         'BSR': torch.Size([4, 256]), 'bitmask': torch.Size([4, 256])}
    """
    if not 0 <= density <= 1:
        raise ValueError(f"density must be a share in [0, 1], got {density}")
    weight = torch.randn(shape, generator=generator)
    x = torch.randn(rows, shape[1], generator=generator)
    single = torch.rand(shape, generator=generator) < density
    of_blocks = [-(-size // block_size) for size in shape]
    blocks = torch.rand(of_blocks, generator=generator) < density
    spread = torch.kron(blocks, torch.ones(block_size, block_size, dtype=torch.bool))
    forms: dict[str, Packed] = {
        "CSR": CSR(torch.where(single, weight, 0)),
        "BSR": BSR(
            torch.where(spread[: shape[0], : shape[1]], weight, 0),
            block_size=block_size,
        ),
        "bitmask": Bitmask(torch.where(single, weight, 0)),
    }

    def dense() -> Tensor:
        return functional.linear(x, weight)

    def packed(form: Packed) -> Callable[[], Tensor]:
        return lambda: form(x)

    return {"dense": dense} | {name: packed(form) for name, form in forms.items()}


def crossing(
    densities: Sequence[float], ratios: Sequence[float], *, level: float = 1.0
) -> float | None:
    """Return the density up to which a measured ratio stays at or below a level.

    Args:
        densities: Ascending, at least 1.
        ratios: Time, or bytes, over that of dense at each density.
        level: The ratio that is still good.

    Returns:
        The first place where straight lines between the points rise above `level`;
        None if the first point is above, the last density if none is.

    Raises:
        ValueError: If the densities do not ascend or the lengths differ.

    Example:
        >>> crossing([0.125, 0.25, 0.5], [0.5, 0.75, 1.25])
        0.375
    """
    if len(densities) != len(ratios) or not densities:
        raise ValueError(
            "densities and ratios must be as many, at least 1, got "
            f"{len(densities)} and {len(ratios)}"
        )
    if any(a >= b for a, b in pairwise(densities)):
        raise ValueError(f"densities must ascend, got {list(densities)}")
    if ratios[0] > level:
        return None
    for i in range(1, len(ratios)):
        if ratios[i] > level:
            part = (level - ratios[i - 1]) / (ratios[i] - ratios[i - 1])
            return densities[i - 1] + part * (densities[i] - densities[i - 1])
    return densities[-1]
