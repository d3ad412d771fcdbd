r"""Ternary weights: -scale, 0 or scale.

    code = sign(w) where |w| > threshold, else 0
    scale = mean of |w| over the entries that are not 0
    threshold = 0.75 * mean |w|

For a given threshold this scale is the one of least squared error. The best threshold
has no closed form; for normal weights it is close to 0.75 mean |w|, for uniform ones
2/3 mean |w|, for which the paper's first version takes 0.7. `optimal_ternary` finds it:
keep the k largest entries with the k that makes (Σ |w|)² / k largest.

Paper: Li et al., "Ternary Weight Networks", 2016, arXiv:1605.04711, equations 3 to 6.
Differs from the paper: the factor can be chosen, and a scale serves any block of
weights, not a whole layer only.
"""

import torch
from torch import Tensor

from mlopt_edu.quantization.granularity import Granularity, PerChannel

_PER_CHANNEL = PerChannel()


def ternarize(
    weight: Tensor,
    *,
    threshold: float = 0.75,
    granularity: Granularity = _PER_CHANNEL,
) -> tuple[Tensor, Tensor]:
    """Return codes in {-1, 0, 1} and the scale of each block.

    Args:
        weight: Finite tensor of any shape.
        threshold: Share of the mean absolute value of a block below which an entry
            becomes 0, at least 0.
        granularity: Which entries share a scale and a threshold.

    Returns:
        int8 codes of the shape of `weight`, and scales of shape (blocks, 1).

    Raises:
        ValueError: If `threshold` is negative.

    Example:
        >>> ternarize(torch.tensor([[0.1, -2.0, 4.0, 0.0]]))
        (tensor([[ 0, -1,  1,  0]], dtype=torch.int8), tensor([[3.]]))
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must be at least 0, got {threshold}")
    blocks = granularity.blocks(weight.detach())
    # The zeros that fill a ragged group must not lower its mean.
    is_real = granularity.blocks(torch.ones_like(weight))
    size = blocks.abs()
    limit = threshold * size.sum(1, keepdim=True) / is_real.sum(1, keepdim=True)
    return _coded(weight, blocks, size > limit, granularity)


def optimal_ternary(
    weight: Tensor, *, granularity: Granularity = _PER_CHANNEL
) -> tuple[Tensor, Tensor]:
    """Return the ternary codes and scales of least squared error.

    Args:
        weight: Finite tensor of any shape.
        granularity: Which entries share a scale.

    Returns:
        int8 codes of the shape of `weight`, and scales of shape (blocks, 1).
    """
    blocks = granularity.blocks(weight.detach())
    sizes, order = blocks.abs().sort(dim=1, descending=True)
    kept = torch.arange(1, sizes.shape[1] + 1, device=weight.device)
    best = (sizes.double().cumsum(1).square() / kept).argmax(1, keepdim=True)
    is_kept = torch.zeros_like(blocks, dtype=torch.bool)
    is_kept.scatter_(1, order, kept <= best + 1)
    return _coded(weight, blocks, is_kept, granularity)


def _coded(
    weight: Tensor, blocks: Tensor, is_kept: Tensor, granularity: Granularity
) -> tuple[Tensor, Tensor]:
    count = is_kept.sum(1, keepdim=True).clamp(min=1)
    scale = (blocks.abs() * is_kept).sum(1, keepdim=True) / count
    codes = (blocks.sign() * is_kept).to(torch.int8)
    return granularity.join(codes, weight.shape), scale
