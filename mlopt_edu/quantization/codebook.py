r"""Codebooks: weights share 2^bits values, found by k-means.

    minimize Σ_i (w_i - c[index_i])²    over the codebook c and the indices

Lloyd's algorithm assigns each weight to the nearest value and moves each value to the
mean of its weights, until nothing moves. It starts from evenly spaced values: the few
large weights, which matter most, then get values of their own. On a line a cluster is a
stretch of the sorted weights, so a round costs a search for its ends. An empty cluster
moves to the weight that is farthest from its value. The end is a local optimum; on a
line the global one can be found by dynamic programming over where the stretches end:
`optimal_codebook`. For 16 values and normal weights its error can be a quarter less.

Paper: Han, Mao and Dally, "Deep Compression: Compressing Deep Neural Networks with
Pruning, Trained Quantization and Huffman Coding", 2015, arXiv:1510.00149, section 3.
Differs from the paper: empty clusters are filled again.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def kmeans_codebook(
    weight: Tensor, *, bits: int, keep_zeros: bool = False, rounds: int = 300
) -> tuple[Tensor, Tensor]:
    """Return a codebook and which of its values each weight takes.

    A weight with at most 2^bits different values is represented exactly.

    Args:
        weight: Finite floating-point tensor of any shape.
        bits: Bits of an index, from 1 to 8.
        keep_zeros: Value 0 is exactly 0 and stands for the weights that are: those that
            were pruned. The others share the remaining 2^bits - 1 values.
        rounds: Most rounds of Lloyd's algorithm, at least 1.

    Returns:
        Codebook of shape (2^bits,) and of the type of `weight`, in rising order but for
        the 0 of `keep_zeros`; uint8 indices of the shape of `weight`.

    Raises:
        ValueError: If an entry is not finite, or a number is out of its range.

    Example:
        >>> kmeans_codebook(torch.tensor([0.0, 0.9, 1.1, 5.0]), bits=1)
        (tensor([0.6667, 5.0000]), tensor([0, 0, 0, 1], dtype=torch.uint8))
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")

    def clustered(values: Floats, counts: Floats, clusters: int) -> Floats:
        return _lloyd(values, counts, clusters, rounds)

    return _codebook(weight, bits, clustered, keep_zeros=keep_zeros)


def optimal_codebook(
    weight: Tensor, *, bits: int, keep_zeros: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the codebook of least squared error.

    Takes 2^bits n² operations and n² numbers of memory for n different values.

    Args:
        weight: As for `kmeans_codebook`, with at most 2048 different values.
        bits: Bits of an index, from 1 to 8.
        keep_zeros: As for `kmeans_codebook`.

    Returns:
        Codebook and indices, as `kmeans_codebook`.

    Raises:
        ValueError: As `kmeans_codebook`, or if there are too many different values.
    """
    return _codebook(weight, bits, _optimal, keep_zeros=keep_zeros)


def _codebook(
    weight: Tensor,
    bits: int,
    clustered: Callable[[Floats, Floats, int], Floats],
    *,
    keep_zeros: bool,
) -> tuple[Tensor, Tensor]:
    if not 1 <= bits <= 8:
        raise ValueError(f"bits must lie between 1 and 8, got {bits}")
    if not weight.isfinite().all():
        raise ValueError("weight must be finite to be clustered, got inf or nan")
    flat = weight.detach().flatten().cpu().double().numpy()
    shared = flat[flat != 0] if keep_zeros else flat
    values, counts = np.unique(shared, return_counts=True)
    clusters = 2**bits - keep_zeros
    if len(values) <= clusters:
        levels = np.resize(values, clusters) if len(values) else np.zeros(clusters)
        levels[len(values) :] = values[-1] if len(values) else 0.0
    else:
        levels = clustered(values, counts.astype(np.float64), clusters)
    # Rounding to the weight's type may not change who is nearest, so it comes first.
    codebook = torch.from_numpy(levels).to(weight.dtype)
    rounded = codebook.double().numpy()
    middles = rounded[:-1] / 2 + rounded[1:] / 2
    indices = np.searchsorted(middles, flat)
    if keep_zeros:
        codebook = torch.cat([codebook.new_zeros(1), codebook])
        indices = np.where(flat == 0, 0, indices + 1)
    places = torch.from_numpy(indices.astype(np.uint8)).reshape(weight.shape)
    return codebook.to(weight.device), places.to(weight.device)


def _lloyd(values: Floats, counts: Floats, clusters: int, rounds: int) -> Floats:
    """Cluster rising, different values; more of them than clusters."""
    levels = np.linspace(values[0], values[-1], clusters)
    mass = np.concatenate([[0.0], np.cumsum(counts)])
    # Sums of differences to the middle one lose fewer digits.
    middle = values[len(values) // 2]
    moment = np.concatenate([[0.0], np.cumsum((values - middle) * counts)])
    for _ in range(rounds):
        ends = np.searchsorted(values, (levels[:-1] + levels[1:]) / 2, side="right")
        edges = np.concatenate([[0], ends, [len(values)]])
        sizes = np.diff(mass[edges])
        is_empty = sizes == 0
        moved = middle + np.diff(moment[edges]) / np.where(is_empty, 1, sizes)
        if is_empty.any():
            owner = np.repeat(np.arange(clusters), np.diff(edges))
            distance = counts * (values - moved[owner]) ** 2
            farthest = np.argsort(distance, kind="stable")[::-1]
            moved[is_empty] = values[farthest[: is_empty.sum()]]
        moved = np.sort(moved)
        if np.array_equal(moved, levels):
            break
        levels = moved
    return levels


def _optimal(values: Floats, counts: Floats, clusters: int) -> Floats:
    """Cluster by dynamic programming: least[j] is the error of the first j values."""
    n = len(values)
    if n > 2048:
        raise ValueError(
            f"weight must have at most 2048 different values, got {n}; "
            "take kmeans_codebook"
        )
    centred = values - values.mean()
    mass, first, second = (
        np.concatenate([[0.0], np.cumsum(counts * centred**power)])
        for power in (0, 1, 2)
    )
    # cost[i, j] is the squared error of one cluster of values i to j - 1.
    sizes = mass[None, :] - mass[:, None]
    sums = first[None, :] - first[:, None]
    squares = second[None, :] - second[:, None]
    cost = np.where(sizes > 0, squares - sums**2 / np.where(sizes > 0, sizes, 1), 0.0)
    cost = np.where(np.tri(n + 1, k=-1, dtype=bool), np.inf, np.maximum(cost, 0))
    least = cost[0]
    begins = []
    for _ in range(clusters - 1):
        total = least[:, None] + cost
        begins.append(total.argmin(axis=0))
        least = total.min(axis=0)
    edges = [n]
    for begin in reversed(begins):
        edges.append(begin[edges[-1]])
    edges.append(0)
    edges.reverse()
    levels = [
        np.average(values[i:j], weights=counts[i:j]) if j > i else values[min(i, n - 1)]
        for i, j in pairwise(edges)
    ]
    return np.sort(np.array(levels))
