r"""SqueezeNet: a stack of Fire modules, and no fully connected layer.

    stem; three times (max-pool 3x3 / 2, Fire modules); dropout; 1x1 convolution to the
    classes, ReLU; mean over height and width

                    stem              channels of the Fire modules           parameters
    1.0             96, 7x7 / 2       128 128 256 | 256 384 384 512 | 512    1,248,424
    1.1             64, 3x3 / 2       128 128 | 256 256 | 384 384 512 512    1,235,496

1.1 pools earlier, so it needs 2.3 times fewer MACs. AlexNet has 61 million parameters.

Paper: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and
<0.5MB model size", 2016, arXiv:1602.07360, table 1; 1.1 is in the authors' repository.
Differs from the paper: weights start from He's uniform distribution, which a net
without normalization needs.
"""

from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn

from mlopt_edu.architectures.fire import Fire


class SqueezeNet(nn.Module):
    """SqueezeNet for images of any size that its pooling can halve; by default 1.0.

    Args:
        num_classes: Number of logits, at least 1.
        in_channels: Channels of the images, at least 1.
        width: Width multiplier, above 0; every channel count is rounded to a multiple
            of 8, at least 8, so that Fire's squeeze ratio stays.
        stem: Channels out, side of the kernel and stride of the first convolution.
        stages: For each stage, which begins with a max-pool, the channels out of its
            Fire modules, before `width`.
        relu_on_logits: Whether a ReLU follows the last convolution, as in the paper.
        dropout: Probability of zeroing an entry before the last convolution, in [0, 1).

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        in_channels: int = 3,
        width: float = 1.0,
        stem: tuple[int, int, int] = (96, 7, 2),
        stages: Sequence[Sequence[int]] = (
            (128, 128, 256),
            (256, 384, 384, 512),
            (512,),
        ),
        relu_on_logits: bool = True,
        dropout: float = 0.5,
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        if not width > 0:
            raise ValueError(f"width must be above 0, got {width}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        super().__init__()

        def scaled(base_channels: int) -> int:
            return max(8, 8 * round(width * base_channels / 8))

        channels, (_, kernel_size, stride) = scaled(stem[0]), stem
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, channels, kernel_size, stride=stride), nn.ReLU()
        )
        for stage in stages:
            self.features.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            for base_channels in stage:
                self.features.append(Fire(channels, scaled(base_channels)))
                channels = scaled(base_channels)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        self.relu = nn.ReLU() if relu_on_logits else nn.Identity()
        # Each pool needs 2 pixels to leave 1, and twice as many to leave more.
        self.smallest_side = (2 ** len(stages) - 1) * stride + kernel_size
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.classifier.weight, std=0.01)

    @classmethod
    def v1_1(
        cls, num_classes: int = 1000, *, in_channels: int = 3, width: float = 1.0
    ) -> Self:
        """Return version 1.1, for ImageNet: as many parameters, fewer MACs."""
        return cls(
            num_classes,
            in_channels=in_channels,
            width=width,
            stem=(64, 3, 2),
            stages=((128, 128), (256, 256), (384, 384, 512, 512)),
        )

    @classmethod
    def small(
        cls, num_classes: int = 10, *, in_channels: int = 1, width: float = 1.0
    ) -> Self:
        """Return one for images of about 28x28 that trains on a CPU: four modules.

        It ends without the paper's ReLU, which cuts the gradient of every class whose
        score is below 0 and slows the first epochs down.
        """
        return cls(
            num_classes,
            in_channels=in_channels,
            width=width,
            stem=(32, 3, 1),
            stages=((64, 64), (128, 128)),
            relu_on_logits=False,
            dropout=0.0,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, in_channels, H, W) to logits (batch, num_classes).

        Raises:
            ValueError: If height or width is below `smallest_side`.
        """
        if min(images.shape[-2:]) < self.smallest_side:
            raise ValueError(
                f"images must be at least {self.smallest_side} pixels high and wide, "
                f"got {images.shape[-2]} x {images.shape[-1]}"
            )
        scores = self.relu(self.classifier(self.dropout(self.features(images))))
        logits: Tensor = scores.mean(dim=(2, 3))
        return logits
