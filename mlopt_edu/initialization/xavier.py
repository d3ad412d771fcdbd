r"""Xavier (Glorot) initialization: one variance for both directions.

    Var(w) = gain^2 * 2 / (fan_in + fan_out)

Going forward the signal keeps its variance if fan_in * Var(w) = 1, going back if
fan_out * Var(w) = 1; this is the compromise. A uniform distribution on [-a, a] has the
variance a^2 / 3, so

    uniform   a = gain * sqrt(6 / (fan_in + fan_out))
    normal    std = gain * sqrt(2 / (fan_in + fan_out))

Paper: Glorot and Bengio, "Understanding the difficulty of training deep feedforward
neural networks", AISTATS 2010, equations 12 and 16. Differs from the paper: the gain,
1 there, for activations whose slope at 0 is not 1; the normal form.
"""

import math

import torch
from torch import Generator, Tensor

from mlopt_edu.initialization.fans import fan_in_and_fan_out


@torch.no_grad()
def xavier_uniform_(
    weight: Tensor,
    *,
    gain: float = 1.0,
    groups: int = 1,
    transposed: bool = False,
    generator: Generator | None = None,
) -> None:
    """Fill `weight` uniformly on [-a, a], a = gain * sqrt(6 / (fan_in + fan_out)).

    Args:
        weight: Weight of a Linear or convolution layer, as for `fan_in_and_fan_out`.
        gain: Factor of the standard deviation, at least 0.
        groups: Number of groups of the convolution.
        transposed: Whether the convolution is transposed.
        generator: Source of randomness; None for torch's global one.

    Raises:
        TypeError: If `weight` is not of a real floating-point type.
        ValueError: If `gain` is below 0, or `weight` and `groups` are no layer's.
    """
    bound = math.sqrt(3) * _std(weight, gain, groups, transposed)
    weight.uniform_(-bound, bound, generator=generator)


@torch.no_grad()
def xavier_normal_(
    weight: Tensor,
    *,
    gain: float = 1.0,
    groups: int = 1,
    transposed: bool = False,
    generator: Generator | None = None,
) -> None:
    """Fill `weight` from N(0, std^2), std = gain * sqrt(2 / (fan_in + fan_out)).

    Args:
        weight: Weight of a Linear or convolution layer, as for `fan_in_and_fan_out`.
        gain: Factor of the standard deviation, at least 0.
        groups: Number of groups of the convolution.
        transposed: Whether the convolution is transposed.
        generator: Source of randomness; None for torch's global one.

    Raises:
        TypeError: If `weight` is not of a real floating-point type.
        ValueError: If `gain` is below 0, or `weight` and `groups` are no layer's.
    """
    std = _std(weight, gain, groups, transposed)
    weight.normal_(0, std, generator=generator)


def _std(weight: Tensor, gain: float, groups: int, transposed: bool) -> float:
    fans = fan_in_and_fan_out(weight, groups=groups, transposed=transposed)
    if not 0 <= gain < math.inf:
        raise ValueError(f"gain must be finite and at least 0, got {gain}")
    # A layer without inputs and outputs has nothing to fill.
    return gain * math.sqrt(2 / max(1, sum(fans)))
