r"""The dense convolution that the efficient blocks are compared with.

    y = ReLU(BN(conv(x)))

    parameters   K^2 * M/groups * N + 2 N              (2 N of batch normalization)
    MACs         K^2 * M/groups * N * H' * W'

for a K x K kernel, M channels in, N out, and an output of H' x W'.
"""

from torch import nn


class ConvNormReLU(nn.Sequential):
    """A convolution without bias, batch normalization and an activation.

    The padding keeps the size at stride 1: H' = ceil(H / stride). With
    `groups=in_channels` the convolution is depthwise.

    Args:
        in_channels: M, at least 1.
        out_channels: N, at least 1.
        kernel_size: Side K of the kernel, odd.
        stride: Step of the kernel, at least 1.
        groups: Number of groups, a divisor of both channel counts.
        activation: Module to end with; None for `nn.ReLU()`.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        activation: nn.Module | None = None,
    ) -> None:
        if in_channels < 1 or out_channels < 1:
            raise ValueError(
                "in_channels and out_channels must be at least 1, "
                f"got {in_channels} and {out_channels}"
            )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        if stride < 1:
            raise ValueError(f"stride must be at least 1, got {stride}")
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups must be a divisor of in_channels {in_channels} and "
                f"out_channels {out_channels}, got {groups}"
            )
        super().__init__(
            nn.Conv2d(
                in_channels,
                out_channels,
                kernel_size,
                stride=stride,
                padding=kernel_size // 2,
                groups=groups,
                bias=False,
            ),
            nn.BatchNorm2d(out_channels),
            nn.ReLU() if activation is None else activation,
        )
