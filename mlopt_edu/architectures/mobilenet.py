r"""MobileNet: a stack of depthwise-separable convolutions, with two knobs.

    stem 3x3, stride 2, 32 channels; 13 blocks; mean over height and width; linear

The width multiplier scales every layer's channels, so parameters and MACs fall nearly
with its square; the input's side scales MACs alone, with its square. For 1000 classes:

    width   side    parameters   MACs
    1       224     4.2 M        569 M
    1       160     4.2 M        290 M
    0.5     224     1.3 M        149 M
    1       224     29.3 M       4,867 M     with dense 3x3 convolutions

Paper: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile
Vision Applications", 2017, arXiv:1704.04861, tables 1, 4, 6 and 7. Differs from the
paper: weights start from He's normal distribution; the last block has stride 1 (table 1
prints 2, which cannot give the 7x7 that it also prints).
"""

from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn

from mlopt_edu.architectures.conv import ConvNormReLU
from mlopt_edu.architectures.depthwise_separable import DepthwiseSeparable

# Channels out and stride of each block.
_IMAGENET: tuple[tuple[int, int], ...] = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
_SMALL = ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1))


class MobileNet(nn.Module):
    """MobileNet v1 for images of any size; by default the paper's, for ImageNet.

    Args:
        num_classes: Number of logits, at least 1.
        in_channels: Channels of the images, at least 1.
        width: Width multiplier, above 0; every channel count is rounded, to at least 1.
        stem: Channels out and stride of the first convolution.
        blocks: Channels out and stride of each block, before `width`.
        separable: Whether blocks are depthwise-separable; else dense 3x3 convolutions.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        in_channels: int = 3,
        width: float = 1.0,
        stem: tuple[int, int] = (32, 2),
        blocks: Sequence[tuple[int, int]] = _IMAGENET,
        separable: bool = True,
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        if not width > 0:
            raise ValueError(f"width must be above 0, got {width}")
        super().__init__()
        block = DepthwiseSeparable if separable else ConvNormReLU
        self.features = nn.Sequential()
        channels = in_channels
        for index, (base_channels, stride) in enumerate([stem, *blocks]):
            layer = block if index else ConvNormReLU
            out_channels = max(1, round(width * base_channels))
            self.features.append(layer(channels, out_channels, stride=stride))
            channels = out_channels
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    @classmethod
    def small(
        cls,
        num_classes: int = 10,
        *,
        in_channels: int = 1,
        width: float = 1.0,
        separable: bool = True,
    ) -> Self:
        """Return one for images of about 28x28 that trains on a CPU: five blocks."""
        return cls(
            num_classes,
            in_channels=in_channels,
            width=width,
            stem=(16, 1),
            blocks=_SMALL,
            separable=separable,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, in_channels, H, W) to logits (batch, num_classes)."""
        logits: Tensor = self.classifier(self.features(images).mean(dim=(2, 3)))
        return logits
