r"""Squeeze-and-excitation: scale every channel by what all channels hold on average.

    z_c = mean over H x W of x_c                                squeeze
    s = sigmoid(W2 ReLU(W1 z)),   W1: (C/r, C), W2: (C, C/r)    excite
    y_c = s_c x_c

It costs next to no MACs, and 2 C^2 / r parameters.

Paper: Hu et al., "Squeeze-and-Excitation Networks", 2017, arXiv:1709.01507, equations 2
to 4. Differs from the paper: the two layers have biases, as in the authors' code.
"""

from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    """Scale channels by factors in (0, 1) that depend on all of them.

    Parameters: 2 C C/r + C + C/r, with C/r rounded down, at least 1.

    Args:
        channels: C, at least 1.
        reduction: r, width outside over width of the hidden layer, at least 1.

    Raises:
        ValueError: If a number is below 1.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        if channels < 1 or reduction < 1:
            raise ValueError(
                "channels and reduction must be at least 1, "
                f"got {channels} and {reduction}"
            )
        super().__init__()
        hidden = max(1, channels // reduction)
        self.excite = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, H, W) to the same shape."""
        scale: Tensor = self.excite(x.mean(dim=(2, 3)))
        return x * scale[:, :, None, None]
