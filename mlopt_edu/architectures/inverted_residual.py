r"""Inverted residual: wide inside, where convolution is depthwise; narrow outside.

    y = x + BN.conv1x1 . ReLU6.BN.depthwise3x3 . ReLU6.BN.conv1x1 (x)

The first 1 x 1 widens M channels to t M, the last has no activation: in few channels a
ReLU would destroy information. ReLU6(z) = min(max(z, 0), 6) keeps values in a range
that low precision can hold. At stride 1 that is t M H W (M + K^2 + N) MACs.

Paper: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018,
arXiv:1801.04381, table 1 and section 3. Differs from the paper: nothing; with t = 1 the
first convolution is left out, as in the authors' code.
"""

from torch import Tensor, nn

from mlopt_edu.architectures.conv import ConvNormReLU


class InvertedResidual(nn.Module):
    """1x1 up, 3x3 depthwise, 1x1 down without activation; a shortcut where it fits.

    The input is added where the shape stays: stride 1 and as many channels out as in.

    Args:
        in_channels: M, at least 1.
        out_channels: N, at least 1.
        stride: Step of the depthwise kernel, at least 1.
        expansion: t, width inside over width of the input, at least 1.
        kernel_size: Side K of the depthwise kernel, odd.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        expansion: int = 6,
        kernel_size: int = 3,
    ) -> None:
        if expansion < 1:
            raise ValueError(f"expansion must be at least 1, got {expansion}")
        super().__init__()
        inner = expansion * in_channels
        self.residual = nn.Sequential(
            ConvNormReLU(
                inner,
                inner,
                kernel_size=kernel_size,
                stride=stride,
                groups=max(1, inner),
                activation=nn.ReLU6(),
            ),
            ConvNormReLU(inner, out_channels, kernel_size=1, activation=nn.Identity()),
        )
        if expansion > 1:
            widen = ConvNormReLU(
                in_channels, inner, kernel_size=1, activation=nn.ReLU6()
            )
            self.residual.insert(0, widen)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, H', W')."""
        y: Tensor = self.residual(x)
        return x + y if self.has_shortcut else y
