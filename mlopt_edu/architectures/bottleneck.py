r"""Bottleneck of residual networks: 3x3 kernels work on a quarter of the width.

    y = ReLU(F(x) + shortcut(x)),    F = BN.conv1x1 . BNReLU.conv3x3 . BNReLU.conv1x1

The first 1 x 1 reduces M channels to N/4, the last widens them to N. The shortcut is
the identity where the shape stays, else a strided 1 x 1 convolution with batch norm.

Paper: He et al., "Deep Residual Learning for Image Recognition", 2015,
arXiv:1512.03385, figure 5 and section 4.1 (option B). Differs from the paper: the
stride is in the 3 x 3 convolution, as in today's implementations; in the first 1 x 1,
where the paper has it, it throws three quarters of the input away unseen. ResNet-50 so
has 4.1 instead of 3.8 billion MACs and the same parameters.
"""

from torch import Tensor, nn

from mlopt_edu.architectures.conv import ConvNormReLU
from mlopt_edu.architectures.squeeze_excite import SqueezeExcite


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up, and the shortcut.

    Args:
        in_channels: M, at least 1.
        out_channels: N, a multiple of `reduction`.
        stride: Step of the 3x3 kernel and of the shortcut, at least 1.
        reduction: Width outside over width inside, at least 1.
        squeeze_excite: Reduction of a `SqueezeExcite` before the sum; None for none.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        reduction: int = 4,
        squeeze_excite: int | None = None,
    ) -> None:
        if reduction < 1 or out_channels < 1 or out_channels % reduction:
            raise ValueError(
                f"out_channels must be a multiple of reduction {reduction}, at least "
                f"1, got {out_channels}"
            )
        super().__init__()
        inner = out_channels // reduction
        self.residual = nn.Sequential(
            ConvNormReLU(in_channels, inner, kernel_size=1),
            ConvNormReLU(inner, inner, stride=stride),
            ConvNormReLU(inner, out_channels, kernel_size=1, activation=nn.Identity()),
        )
        if squeeze_excite is not None:
            self.residual.append(SqueezeExcite(out_channels, reduction=squeeze_excite))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ConvNormReLU(
                in_channels,
                out_channels,
                kernel_size=1,
                stride=stride,
                activation=nn.Identity(),
            )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, H', W')."""
        y: Tensor = self.relu(self.residual(x) + self.shortcut(x))
        return y
