r"""Max-norm: after each step, pull each unit's incoming weights back into a ball.

    w <- w * min(1, max_norm / ‖w‖)    for each unit's weights w

A projection: nothing happens inside the ball. Large learning rates cannot blow the
weights up, which is why it goes well with dropout.

Papers: Srebro et al., "Maximum-Margin Matrix Factorization", 2004; Srivastava et al.,
"Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15, 2014,
section 5.1. Differs from the papers: nothing.
"""

import math

import torch
from torch import Tensor


@torch.no_grad()
def max_norm_(weight: Tensor, max_norm: float, *, dim: int = 0) -> None:
    """Limit the Euclidean norm of each slice of `weight`, in place.

    Args:
        weight: Tensor of at least 2 dimensions, as (out_features, in_features) or
            (out_channels, in_channels, ...).
        max_norm: Largest norm a slice may have, above 0; 3 to 4 in the paper.
        dim: The dimension that counts the units: 0 in torch's layers.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> weight = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
        >>> max_norm_(weight, 1.0)
        >>> weight
        tensor([[0.6000, 0.8000],
                [0.3000, 0.4000]])
    """
    if not 0 < max_norm < math.inf:
        raise ValueError(f"max_norm must be finite and above 0, got {max_norm}")
    if not (weight.ndim >= 2 and -weight.ndim <= dim < weight.ndim):
        raise ValueError(
            "weight must have at least 2 dimensions, dim among them, got shape "
            f"{tuple(weight.shape)} and dim {dim}"
        )
    units = dim % weight.ndim
    others = [other for other in range(weight.ndim) if other != units]
    norms = torch.linalg.vector_norm(weight, dim=others, keepdim=True)
    # A unit of zeros has max_norm / 0 = inf, which the limit of 1 catches.
    weight.mul_((max_norm / norms).clamp_(max=1))
