r"""Ranges: where to clip, given numbers or a histogram of them.

Clipping trades two errors: a wide range has a coarse scale, a narrow one cuts off the
tails. All entries of a block count with their `counts`, 1 if there are none given.

    min-max    cut off nothing
    MSE        argmin over ranges of Σ (x - x')²
    entropy    argmin over ranges of KL(P ‖ Q): P is the histogram with what is cut off
               added at the ends, Q the same after each integer has shared its counts
               evenly among the bins that it stands for

Every range contains 0. Ranges are searched on a grid, so the answer is the best of the
grid, and never worse than min-max.

Papers: MSE: Banner et al., "Post training 4-bit quantization of convolutional networks
for rapid-deployment", 2018, arXiv:1810.05723; entropy: Migacz, "8-bit Inference with
TensorRT", GTC 2017. Differs from the papers: MSE is searched, not derived from an
assumed distribution; entropy clips both sides, each no further than the data goes, and
an empty bin of Q counts as 1e-4.
"""

import torch
from torch import Tensor

from mlopt_edu.quantization.affine import (
    fake_quantize,
    integer_range,
    quantize,
    scale_and_zero_point,
)


def min_max_range(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest entry of each block, and of 0.

    Args:
        x: Finite numbers of shape (blocks, entries).

    Returns:
        Lowest and highest numbers, each of shape (blocks,).

    Raises:
        ValueError: If an entry is not finite.

    Example:
        >>> min_max_range(torch.tensor([[1.0, 3.0], [-2.0, 1.0]]))
        (tensor([ 0., -2.]), tensor([3., 1.]))
    """
    if not x.isfinite().all():
        raise ValueError("x must be finite to have a range, got inf or nan")
    if not x.shape[1]:
        return x.new_zeros(len(x)), x.new_zeros(len(x))
    return x.amin(1).clamp(max=0), x.amax(1).clamp(min=0)


def mse_range(
    x: Tensor,
    *,
    counts: Tensor | None = None,
    bits: int = 8,
    symmetric: bool = True,
    steps: int = 100,
) -> tuple[Tensor, Tensor]:
    """Return the range of each block with the least squared error of rounding.

    Args:
        x: Finite numbers of shape (blocks, entries).
        counts: How often each occurs, same shape.
        bits: Bits of an integer, from 2 to 16.
        symmetric: Shrink both sides alike; else also each side alone.
        steps: Fractions of the whole range that are tried, at least 1.

    Returns:
        Lowest and highest numbers, each of shape (blocks,).

    Raises:
        ValueError: If an entry is not finite, or a number is out of its range.

    Example:
        >>> x = torch.cat([torch.linspace(-1, 1, 999), torch.tensor([3.0])])[None]
        >>> mse_range(x, bits=3)
        (tensor([-0.8717]), tensor([0.8717]))
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    low, high = min_max_range(x)
    if symmetric:
        high = torch.maximum(-low, high)
        low = -high

    def error(low: Tensor, high: Tensor) -> Tensor:
        scale, zero_point = scale_and_zero_point(
            low[:, None], high[:, None], bits=bits, symmetric=symmetric
        )
        rounded = fake_quantize(x, scale, zero_point, bits=bits, symmetric=symmetric)
        squares = (x.double() - rounded.double()).square()
        return (squares if counts is None else squares * counts).sum(1)

    fractions = [step / steps for step in range(1, steps + 1)]
    # The optimum of a grid point's neighbourhood, ten times as fine.
    fine = [1 + step / (10 * steps) for step in range(-10, 11)]
    sides = (
        [(True, True)] if symmetric else [(True, True), (True, False), (False, True)]
    )
    least = error(low, high)
    whole = low, high
    for moves_low, moves_high in sides:
        for shrinks in (fractions, fine):
            start_low, start_high = low, high
            for shrink in shrinks:
                tried_low = start_low * shrink if moves_low else start_low
                tried_high = start_high * shrink if moves_high else start_high
                tried_low = torch.maximum(tried_low, whole[0])
                tried_high = torch.minimum(tried_high, whole[1])
                found = error(tried_low, tried_high)
                is_better = found < least
                least = torch.where(is_better, found, least)
                low = torch.where(is_better, tried_low, low)
                high = torch.where(is_better, tried_high, high)
    return low, high


def entropy_range(
    x: Tensor,
    counts: Tensor,
    *,
    bits: int = 8,
    symmetric: bool = True,
    steps: int = 128,
) -> tuple[Tensor, Tensor]:
    """Return the range of each block that loses the least information.

    Args:
        x: Centres of equal bins in rising order, shape (blocks, bins).
        counts: Numbers in each bin, same shape.
        bits: Bits of an integer, from 2 to 16; more bins than integers are needed.
        symmetric: Use a symmetric format.
        steps: Fractions of the largest distance from 0 that are tried, at least 1.

    Returns:
        Lowest and highest numbers, each of shape (blocks,).

    Raises:
        ValueError: If a number is out of its range, or shapes differ.
    """
    if x.shape != counts.shape:
        raise ValueError(
            "x and counts must have the same shape, got "
            f"{tuple(x.shape)} and {tuple(counts.shape)}"
        )
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    quant_min, quant_max = integer_range(bits, symmetric=symmetric)
    ranges = [
        _least_entropy(
            centres, seen, quant_min, quant_max, bits, symmetric=symmetric, steps=steps
        )
        for centres, seen in zip(x.double(), counts.double(), strict=True)
    ]
    low, high = torch.tensor(ranges, dtype=x.dtype, device=x.device).T
    return low, high


def _least_entropy(
    x: Tensor,
    counts: Tensor,
    quant_min: int,
    quant_max: int,
    bits: int,
    *,
    symmetric: bool,
    steps: int,
) -> tuple[float, float]:
    is_seen = counts > 0
    if not is_seen.any():
        return 0.0, 0.0
    seen = x[is_seen]
    half = (x[1] - x[0]) / 2 if len(x) > 1 else x.new_zeros(())
    lowest = min(0.0, (seen[0] - half).item())
    highest = max(0.0, (seen[-1] + half).item())
    limit, integers = max(-lowest, highest), quant_max - quant_min + 1
    best = (torch.inf, lowest, highest)
    for step in range(steps, 0, -1):  # of equal ones the widest
        low = max(lowest, -limit * step / steps)
        high = min(highest, limit * step / steps)
        is_inside = (x >= low) & (x <= high)
        # Fewer bins than integers lose nothing, whatever they cut off.
        if step < steps and is_inside.sum() <= integers:
            break
        inside = counts * is_inside
        places = is_inside.nonzero().flatten()
        if not len(places):
            break
        reference = inside.clone()
        reference[places[0]] += counts[x < low].sum()
        reference[places[-1]] += counts[x > high].sum()
        scale, zero_point = scale_and_zero_point(
            x.new_tensor(low), x.new_tensor(high), bits=bits, symmetric=symmetric
        )
        level = quantize(x, scale, zero_point, bits=bits, symmetric=symmetric).long()
        level -= quant_min
        # An integer's counts are shared evenly among its bins that are not empty.
        occupied = (is_inside & (reference > 0)).double()
        sums = inside.new_zeros(integers).index_add_(0, level, inside)
        sharers = inside.new_zeros(integers).index_add_(0, level, occupied)
        shared = occupied * (sums / sharers.clamp(min=1))[level]
        # What was cut off may lie where nothing was: dear, but not infinitely.
        shared = torch.where((occupied > 0) & (shared == 0), 1e-4, shared)
        found = _divergence(reference, shared)
        if found < best[0]:
            best = (found, low, high)
    return best[1], best[2]


def _divergence(reference: Tensor, shared: Tensor) -> float:
    """Return KL(P ‖ Q) of two histograms; Q is nowhere 0 where P is not."""
    p, q = reference / reference.sum(), shared / shared.sum()
    is_there = p > 0
    return float((p[is_there] * (p[is_there] / q[is_there]).log()).sum())
