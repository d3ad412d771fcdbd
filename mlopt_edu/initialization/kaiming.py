r"""Kaiming (He) initialization: keep the signal through an activation, one direction.

    Var(w) = gain(activation)^2 / fan

With fan = fan_in the activations keep their size going forward, with fan = fan_out the
gradients going back. ReLU passes half of the second moment, so its gain^2 is 2. A
uniform distribution on [-a, a] has the variance a^2 / 3, so

    uniform   a = gain * sqrt(3 / fan)
    normal    std = gain / sqrt(fan)

Paper: He et al., "Delving Deep into Rectifiers: Surpassing Human-Level Performance on
ImageNet Classification", 2015, arXiv:1502.01852, equations 10, 14 and 15. Differs from
the paper: the uniform form; activations other than (leaky) ReLU through `gain`, and
with fan_out too the forward gain, which for them is not the one of the gradients.
"""

import math
from typing import Literal

import torch
from torch import Generator, Tensor

from mlopt_edu.initialization.fans import fan_in_and_fan_out
from mlopt_edu.initialization.gains import Activation, gain


@torch.no_grad()
def kaiming_uniform_(
    weight: Tensor,
    *,
    activation: Activation = "relu",
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    groups: int = 1,
    transposed: bool = False,
    generator: Generator | None = None,
) -> None:
    """Fill `weight` uniformly on [-a, a], a = gain(activation) * sqrt(3 / fan).

    Args:
        weight: Weight of a Linear or convolution layer, as for `fan_in_and_fan_out`.
        activation: What follows or precedes each layer, as for `gain`.
        mode: Which fan to keep the variance for.
        groups: Number of groups of the convolution.
        transposed: Whether the convolution is transposed.
        generator: Source of randomness; None for torch's global one.

    Raises:
        TypeError: If `weight` is not of a real floating-point type.
        ValueError: If `mode` or `activation` is unknown, or `weight` and `groups` are
            no layer's.
    """
    bound = math.sqrt(3) * _std(weight, activation, mode, groups, transposed)
    weight.uniform_(-bound, bound, generator=generator)


@torch.no_grad()
def kaiming_normal_(
    weight: Tensor,
    *,
    activation: Activation = "relu",
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    groups: int = 1,
    transposed: bool = False,
    generator: Generator | None = None,
) -> None:
    """Fill `weight` from N(0, std^2), std = gain(activation) / sqrt(fan).

    Args:
        weight: Weight of a Linear or convolution layer, as for `fan_in_and_fan_out`.
        activation: What follows or precedes each layer, as for `gain`.
        mode: Which fan to keep the variance for.
        groups: Number of groups of the convolution.
        transposed: Whether the convolution is transposed.
        generator: Source of randomness; None for torch's global one.

    Raises:
        TypeError: If `weight` is not of a real floating-point type.
        ValueError: If `mode` or `activation` is unknown, or `weight` and `groups` are
            no layer's.
    """
    std = _std(weight, activation, mode, groups, transposed)
    weight.normal_(0, std, generator=generator)


def _std(
    weight: Tensor, activation: Activation, mode: str, groups: int, transposed: bool
) -> float:
    fan_in, fan_out = fan_in_and_fan_out(weight, groups=groups, transposed=transposed)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = fan_in if mode == "fan_in" else fan_out
    # A layer without inputs (or outputs) has nothing to fill.
    return gain(activation) / math.sqrt(max(1, fan))
