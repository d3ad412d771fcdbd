r"""NF4: 4-bit codes for weights that are normally distributed.

Each block of 64 weights is divided by its largest absolute value, and each quotient is
replaced by the nearest of 16 levels in [-1, 1]. The levels are quantiles of the normal
distribution, so that each is used about equally often. With Φ⁻¹ its quantile function,

    positive   Φ⁻¹ at 9 even steps from 1/2 to δ, the first left out, as 0 stands apart
    negative   -Φ⁻¹ at 8 even steps from 1/2 to δ, the first left out
    δ = 1 - (1/30 + 1/32) / 2,    all divided by Φ⁻¹(δ)

Double quantization stores the blocks' scales, less their mean, in 8 bits each with one
float scale for 256 of them: 0.127 bits a weight instead of 0.5.

Paper: Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs", 2023,
arXiv:2305.14314, section 3. Differs from the paper: the 8-bit scales are integers, not
8-bit floats; blocks stay inside a row of the weight, so the last may be shorter.
"""

import torch
from torch import Tensor

from mlopt_edu.quantization.affine import dequantize, quantize, scale_and_zero_point
from mlopt_edu.quantization.granularity import PerGroup


def nf4_levels() -> Tensor:
    """Return the 16 levels in rising order, float32.

    Example:
        >>> nf4_levels()[[0, 1, 7, 8, 15]]
        tensor([-1.0000, -0.6962,  0.0000,  0.0796,  1.0000])
    """
    highest = 1 - (1 / 30 + 1 / 32) / 2

    def quantiles(count: int) -> Tensor:
        shares = torch.linspace(0.5, highest, count, dtype=torch.float64)
        found: Tensor = torch.special.ndtri(shares)
        return found[1:]

    levels = torch.cat([-quantiles(8).flip(0), torch.zeros(1).double(), quantiles(9)])
    return (levels / levels[-1]).float()


def nearest_level(x: Tensor, levels: Tensor) -> Tensor:
    """Return the index of the nearest level; of two equally near ones the lower.

    Args:
        x: Finite numbers of any shape.
        levels: Levels in rising order, shape (levels,).

    Returns:
        uint8 of the shape of `x`.

    Example:
        >>> levels = torch.tensor([-1.0, 0.0, 1.0])
        >>> nearest_level(torch.tensor([-9.0, 0.4, 0.6]), levels)
        tensor([0, 1, 2], dtype=torch.uint8)
    """
    middles = (levels[1:].double() + levels[:-1].double()) / 2
    return torch.bucketize(x.double(), middles).to(torch.uint8)


def nf4_quantize(weight: Tensor, *, block_size: int = 64) -> tuple[Tensor, Tensor]:
    """Quantize to NF4 codes with a scale for each block.

    Args:
        weight: Finite tensor of shape (rows, ...).
        block_size: Entries of a block, at least 1.

    Returns:
        Codes, uint8 in [0, 16) of the shape of `weight`, and scales, the largest
        absolute values, of shape (blocks, 1).

    Raises:
        ValueError: If an entry is not finite, or `block_size` out of its range.

    Example:
        >>> nf4_quantize(torch.tensor([[0.0, 5.0, -5.0, 2.3]]))
        (tensor([[ 7, 15,  0, 12]], dtype=torch.uint8), tensor([[5.]]))
    """
    if not weight.isfinite().all():
        raise ValueError("weight must be finite, got inf or nan")
    groups = PerGroup(block_size)
    blocks = groups.blocks(weight.detach().float())
    scale = blocks.abs().amax(1, keepdim=True)
    shares = blocks / torch.where(scale == 0, 1.0, scale)
    codes = nearest_level(shares, nf4_levels().to(weight.device))
    return groups.join(codes, weight.shape), scale


def nf4_dequantize(codes: Tensor, scale: Tensor, *, block_size: int = 64) -> Tensor:
    """Undo `nf4_quantize`, but for the rounding.

    Args:
        codes: uint8 in [0, 16).
        scale: Scales of shape (blocks, 1).
        block_size: The one that `nf4_quantize` was given.
    """
    groups = PerGroup(block_size)
    levels = nf4_levels().to(scale)
    return groups.join(levels[groups.blocks(codes).long()] * scale, codes.shape)


def quantize_scales(scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Quantize scales a second time: 8 bits each, in blocks of 256.

    Args:
        scale: Scales of any shape.

    Returns:
        int8 codes of shape (scales,), a float scale for each 256 of them of shape
        (blocks, 1), and the mean that was subtracted.
    """
    mean = scale.mean()
    blocks = PerGroup(256).blocks((scale - mean).reshape(1, -1))
    reach = blocks.abs().amax(1, keepdim=True)
    second, zero_point = scale_and_zero_point(-reach, reach)
    codes = quantize(blocks, second, zero_point).flatten()[: scale.numel()]
    return codes, second, mean


def dequantize_scales(codes: Tensor, second: Tensor, mean: Tensor) -> Tensor:
    """Undo `quantize_scales`, but for the rounding; shape (scales, 1)."""
    groups = PerGroup(256)
    blocks = groups.blocks(codes.reshape(1, -1))
    real = dequantize(blocks, second, torch.zeros_like(second, dtype=torch.int32))
    return groups.join(real, (1, codes.numel())).reshape(-1, 1) + mean
