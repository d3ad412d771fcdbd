"""Quantized weights: cut into blocks, choose a range for each, round.

Weights are known, so nothing need be observed: the range of a block is that of its
entries, or with `search=True` the narrower one that gives the least squared error.
"""

from torch import Tensor

from mlopt_edu.quantization.affine import dequantize, quantize, scale_and_zero_point
from mlopt_edu.quantization.granularity import Granularity, PerChannel
from mlopt_edu.quantization.ranges import min_max_range, mse_range

_PER_CHANNEL = PerChannel()


def quantize_weight(
    weight: Tensor,
    *,
    bits: int = 8,
    granularity: Granularity = _PER_CHANNEL,
    symmetric: bool = True,
    search: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Round a weight to integers with a scale and a zero point for each block.

    Args:
        weight: Tensor of at least 1 dimension; the first counts the outputs.
        bits: Bits of an integer, from 2 to 16.
        granularity: Which entries share a scale.
        symmetric: Zero points 0.
        search: Look for the range of least squared error instead of taking the whole.

    Returns:
        Integers of the shape of `weight`; scales and zero points of shape (blocks, 1).

    Raises:
        ValueError: If an entry is not finite, or `bits` out of its range.

    Example:
        >>> import torch
        >>> values, scale, _ = quantize_weight(torch.tensor([[1.0, -7.0], [0.0, 0.1]]))
        >>> values
        tensor([[  18, -127],
                [   0,  127]], dtype=torch.int8)
    """
    blocks = granularity.blocks(weight.detach())
    low, high = (
        mse_range(blocks, bits=bits, symmetric=symmetric)
        if search
        else min_max_range(blocks)
    )
    scale, zero_point = scale_and_zero_point(
        low[:, None], high[:, None], bits=bits, symmetric=symmetric
    )
    values = quantize(blocks, scale, zero_point, bits=bits, symmetric=symmetric)
    return granularity.join(values, weight.shape), scale, zero_point


def dequantize_weight(
    values: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    granularity: Granularity = _PER_CHANNEL,
) -> Tensor:
    """Return the weight that `quantize_weight`'s answer stands for.

    Args:
        values: Integers.
        scale: Scales of shape (blocks, 1).
        zero_point: Zero points of shape (blocks, 1).
        granularity: The one that `quantize_weight` was given.
    """
    real = dequantize(granularity.blocks(values), scale, zero_point)
    return granularity.join(real, values.shape)
