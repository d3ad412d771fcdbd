r"""Orthogonal initialization: every singular value is the gain.

    W = gain * Q,    Q^T Q = I or Q Q^T = I, drawn uniformly

A product of such matrices keeps the length of *every* vector at any depth, where a
product of Gaussian ones keeps it only on average and stretches some directions over
others. A convolution's kernel (out, in, *k) is taken as the matrix (out, in * prod(k)).

Q comes from the QR decomposition of a Gaussian matrix. That is unique only up to the
signs of R's diagonal; making them positive makes Q uniform (Mezzadri, "How to generate
random matrices from the classical compact groups", 2007, arXiv:math-ph/0609050).

Paper: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of
learning in deep linear neural networks", 2013, arXiv:1312.6120. Differs from the paper:
nothing; the groups of a grouped convolution are matrices of their own.
"""

import math

import torch
from torch import Generator, Tensor

from mlopt_edu.initialization.fans import fan_in_and_fan_out


@torch.no_grad()
def orthogonal_(
    weight: Tensor,
    *,
    gain: float = 1.0,
    groups: int = 1,
    transposed: bool = False,
    generator: Generator | None = None,
) -> None:
    """Fill `weight` with a random matrix whose singular values all equal `gain`.

    Args:
        weight: Weight of a Linear or convolution layer, as for `fan_in_and_fan_out`.
        gain: The singular values, at least 0.
        groups: Number of groups of the convolution, each orthogonal by itself.
        transposed: Whether the convolution is transposed; makes no difference here.
        generator: Source of randomness; None for torch's global one.

    Raises:
        TypeError: If `weight` is not of a real floating-point type.
        ValueError: If `gain` is below 0, or `weight` and `groups` are no layer's.
    """
    fan_in_and_fan_out(weight, groups=groups, transposed=transposed)
    if not 0 <= gain < math.inf:
        raise ValueError(f"gain must be finite and at least 0, got {gain}")
    if weight.numel() == 0:
        return
    # QR does not exist in half precision.
    dtype = torch.promote_types(weight.dtype, torch.float32)
    rows = weight.shape[0] // groups
    matrices = torch.empty(
        (groups, rows, weight[0].numel()), dtype=dtype, device=weight.device
    ).normal_(generator=generator)
    is_wide = rows < matrices.shape[2]
    q, r = torch.linalg.qr(matrices.mT if is_wide else matrices)
    q *= r.diagonal(dim1=1, dim2=2).sgn()[:, None]
    weight.copy_(gain * (q.mT if is_wide else q).reshape(weight.shape))
