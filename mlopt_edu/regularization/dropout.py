r"""Dropout: in training, set a random share p of the activations to 0.

    y = mask * x / (1 - p),    mask = 1 with probability 1 - p, else 0
    y = x                      at evaluation

Dividing by 1 - p keeps the mean, E[y] = x, so evaluation needs no correction; the
variance that dropout adds is x² p / (1 - p). Neighbouring pixels of a feature map tell
the same story: dropping them one by one hides nothing, and whole channels go instead.

Papers: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
Overfitting", JMLR 15, 2014; Tompson et al., "Efficient Object Localization Using
Convolutional Networks", 2014, arXiv:1411.4280 (channels). Differs from the papers: p is
the share dropped, not kept, and activations are divided in training instead of weights
being multiplied at evaluation, as in torch; with the same seed it equals torch's.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def dropout(
    x: Tensor,
    p: float,
    *,
    training: bool = True,
    mask_shape: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Drop entries of `x` with probability p and divide the others by 1 - p.

    Args:
        x: Tensor of any shape.
        p: Probability of dropping, in [0, 1].
        training: False returns `x` itself, as does p = 0.
        mask_shape: Shape of the mask, which broadcasts against `x`: entries that share
            a mask are dropped together. The shape of `x` by default.
        generator: Draws the mask; torch's own by default.

    Returns:
        Tensor of the shape of `x`.

    Raises:
        ValueError: If p is out of range.

    Example:
        >>> y = dropout(torch.ones(10_000), 0.75, generator=torch.manual_seed(0))
        >>> y.unique()
        tensor([0., 4.])
    """
    check_probability(p)
    if not training or p == 0:
        return x
    mask = torch.empty(
        x.shape if mask_shape is None else mask_shape, dtype=x.dtype, device=x.device
    ).bernoulli_(1 - p, generator=generator)
    if p < 1:
        mask.div_(1 - p)
    return x * mask


def check_probability(p: float) -> None:
    """Refuse what is not a probability."""
    if not 0 <= p <= 1:
        raise ValueError(f"p must be a probability in [0, 1], got {p}")


class Dropout(nn.Module):
    """Drop single activations in training; do nothing after `.eval()`.

    Args:
        p: Probability of dropping, in [0, 1].
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        check_probability(p)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`."""
        return dropout(x, self.p, training=self.training)

    def extra_repr(self) -> str:
        """Show p."""
        return f"p={self.p}"


class SpatialDropout(Dropout):
    """Drop whole channels in training: each example its own.

    For `x` of shape (batch, channels, ...), with any number of further dimensions.

    Args:
        p: Probability of dropping a channel, in [0, 1].
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`."""
        if x.ndim < 2:
            raise ValueError(
                f"x must have shape (batch, channels, ...), got {tuple(x.shape)}"
            )
        shape = (*x.shape[:2], *[1] * (x.ndim - 2))
        return dropout(x, self.p, training=self.training, mask_shape=shape)
