r"""Learned step size (LSQ): the scale is a parameter, trained with the weights.

    v' = s · round(clip(v / s, -Q_N, Q_P)),    Q_N = 2^(bits-1),  Q_P = 2^(bits-1) - 1
    ∂v'/∂s = round(v / s) - v / s  inside,  -Q_N or Q_P  outside
    s starts at 2 mean |v| / √Q_P; its gradient is divided by √(N Q_P) for N weights

The gradient is what is left when only rounding is passed straight through. The division
makes a step of the optimizer about as large, relative to the scale, as those of the
weights relative to them.

Paper: Esser et al., "Learned Step Size Quantization", 2019, arXiv:1902.08153, equations
1 to 3 and section 2.2. Differs from the paper: a step for each row or group of weights,
not for each layer; what rounds to the last integer counts as inside, as in torch; zeros
are left out of the first mean, because pruned weights say nothing of the others; |s| is
used, so that no step of the optimizer crosses 0.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlopt_edu.quantization.affine import integer_range, quantize
from mlopt_edu.quantization.granularity import PerGroup
from mlopt_edu.quantization.packed_weight import PackedWeight
from mlopt_edu.quantization.straight_through import (
    fake_quantize_straight_through,
    straight_through,
)


def initial_step(blocks: Tensor, *, bits: int) -> Tensor:
    """Return the step that training starts from, one for each block.

    Args:
        blocks: Weights of shape (blocks, entries).
        bits: Bits of an integer, from 2 to 16.

    Returns:
        Steps above 0 of shape (blocks, 1); 1 for a block of zeros.

    Raises:
        ValueError: If `bits` is out of its range.

    Example:
        >>> initial_step(torch.tensor([[3.0, -5.0, 0.0], [0.0, 0.0, 0.0]]), bits=2)
        tensor([[8.],
                [1.]])
    """
    _, highest = integer_range(bits)
    sizes = blocks.detach().abs()
    count = (sizes > 0).sum(1, keepdim=True)
    step = 2 * sizes.sum(1, keepdim=True) / count.clamp(min=1) / math.sqrt(highest)
    return torch.where(step > 0, step, 1)


def fake_quantize_learned_step(x: Tensor, step: Tensor, *, bits: int) -> Tensor:
    """Round to multiples of a step that gets a gradient, divided by √(N Q_P).

    Args:
        x: Real numbers of any shape.
        step: Not 0, broadcast against `x`; each serves N = entries / steps of them.
        bits: Bits of an integer, from 2 to 16.

    Returns:
        Tensor of the shape and type of `x`.

    Raises:
        ValueError: If `bits` is out of its range.

    Example:
        >>> x, step = torch.tensor([0.3, 9.0]), torch.tensor(0.5, requires_grad=True)
        >>> fake_quantize_learned_step(x, step, bits=3).sum().backward()
        >>> step.grad * (2 * 3) ** 0.5  # 1 - 0.6 inside, 3 outside
        tensor(3.4000)
    """
    _, highest = integer_range(bits)
    share = 1 / math.sqrt(max(1, x.numel() // step.numel()) * highest)
    scale = _scale(straight_through(step, step * share))
    zero_point = torch.zeros((), dtype=torch.int32, device=x.device)
    return fake_quantize_straight_through(
        x, scale, zero_point, bits=bits, symmetric=False
    )


class LearnedStepWeight(nn.Module):
    """A parametrization: the weight, rounded to multiples of a trained step.

    Args:
        weight: The weight to start from.
        bits: Bits of a weight, from 2 to 8.
        group_size: Neighbours in a row that share a step; None for the whole row.
    """

    def __init__(self, weight: Tensor, *, bits: int, group_size: int | None) -> None:
        super().__init__()
        row = weight[0].numel()
        self.bits = bits
        self.groups = PerGroup(row if group_size is None else min(group_size, row))
        start = initial_step(self.groups.blocks(weight), bits=bits)
        self.step = nn.Parameter(start.to(weight.dtype))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the rounded weight."""
        blocks = self.groups.blocks(weight)
        rounded = fake_quantize_learned_step(blocks, self.step, bits=self.bits)
        return self.groups.join(rounded, weight.shape)

    def pack(self, weight: Tensor) -> PackedWeight:
        """Return the rounded weight, packed."""
        scale = _scale(self.step.detach())
        zero_point = torch.zeros_like(scale, dtype=torch.int32)
        values = quantize(
            self.groups.blocks(weight.detach()),
            scale,
            zero_point,
            bits=self.bits,
            symmetric=False,
        )
        return PackedWeight.pack(
            self.groups.join(values, weight.shape),
            bits=self.bits,
            block_size=self.groups.size,
            scale=scale,
            dtype=weight.dtype,
        )


@dataclass(frozen=True, kw_only=True)
class LearnedStep:
    """Integer weights whose scales are trained with them; for `train_quantized_`.

    Args:
        bits: Bits of a weight, from 2 to 8.
        group_size: Neighbours in a row that share a step; None for the whole row.

    Raises:
        ValueError: If a number is out of its range.
    """

    bits: int = 4
    group_size: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits must lie between 2 and 8, got {self.bits}")
        if self.group_size is not None and self.group_size < 1:
            raise ValueError(f"group_size must be at least 1, got {self.group_size}")

    def parametrization(self, weight: Tensor) -> LearnedStepWeight:
        """Return what `torch.nn.utils.parametrize` registers at a weight."""
        return LearnedStepWeight(weight, bits=self.bits, group_size=self.group_size)


def _scale(step: Tensor) -> Tensor:
    """Return the size of a step, above 0 whatever an optimizer did."""
    return step.abs().clamp(min=torch.finfo(step.dtype).smallest_normal)
