r"""Binary weights: -scale or scale.

    code = +1 where w >= 0, else -1        scale = mean |w|

This is the code and the scale of least squared error ‖w - scale * code‖²: the sign
makes each product positive, and the mean solves for the scale. The sign of 0 is +1,
since there is no third code.

Paper: Rastegari et al., "XNOR-Net: ImageNet Classification Using Binary Convolutional
Neural Networks", 2016, arXiv:1603.05279, section 3.1. Differs from the paper: only the
weights are binary.
"""

import torch
from torch import Tensor

from mlopt_edu.quantization.granularity import Granularity, PerChannel

_PER_CHANNEL = PerChannel()


def binarize(
    weight: Tensor, *, granularity: Granularity = _PER_CHANNEL
) -> tuple[Tensor, Tensor]:
    """Return codes in {-1, 1} and the scale of each block.

    Args:
        weight: Finite tensor of any shape.
        granularity: Which entries share a scale.

    Returns:
        int8 codes of the shape of `weight`, and scales of shape (blocks, 1).

    Example:
        >>> binarize(torch.tensor([[0.0, -2.0, 4.0]]))
        (tensor([[ 1, -1,  1]], dtype=torch.int8), tensor([[2.]]))
    """
    weight = weight.detach()
    # The zeros that fill a ragged group must not lower its mean.
    count = granularity.blocks(torch.ones_like(weight)).sum(1, keepdim=True)
    scale = granularity.blocks(weight.abs()).sum(1, keepdim=True) / count
    return torch.where(weight >= 0, 1, -1).to(torch.int8), scale
