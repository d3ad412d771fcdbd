r"""Fire module: squeeze to few channels, then expand with 1x1 and 3x3 kernels.

    s = ReLU(conv1x1(x))                                  S channels
    y = concat(ReLU(conv1x1(s)), ReLU(conv3x3(s)))        N/2 channels each

A 3 x 3 kernel costs 9 times a 1 x 1 kernel: half of the filters become 1 x 1, and the
others see S channels instead of M.

Paper: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and
<0.5MB model size", 2016, arXiv:1602.07360, section 3.2.
Differs from the paper: nothing.
"""

import torch
from torch import Tensor, nn


class Fire(nn.Module):
    """Squeeze and expand; no normalization; height and width stay.

    Parameters: S (M + 1) + N/2 (S + 1) + N/2 (9 S + 1).

    Args:
        in_channels: M, at least 1.
        out_channels: N, even, at least 2: half from 1x1 kernels, half from 3x3.
        squeeze_channels: S, at least 1; None for N / 8, the paper's squeeze ratio.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        squeeze_channels: int | None = None,
    ) -> None:
        if squeeze_channels is None:
            squeeze_channels = max(1, out_channels // 8)
        if in_channels < 1 or squeeze_channels < 1:
            raise ValueError(
                "in_channels and squeeze_channels must be at least 1, "
                f"got {in_channels} and {squeeze_channels}"
            )
        if out_channels < 2 or out_channels % 2:
            raise ValueError(
                f"out_channels must be even and at least 2, got {out_channels}"
            )
        super().__init__()
        half = out_channels // 2
        self.squeeze = nn.Conv2d(in_channels, squeeze_channels, 1)
        self.expand1x1 = nn.Conv2d(squeeze_channels, half, 1)
        self.expand3x3 = nn.Conv2d(squeeze_channels, half, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, H, W)."""
        squeezed = self.relu(self.squeeze(x))
        expanded = [self.expand1x1(squeezed), self.expand3x3(squeezed)]
        y: Tensor = self.relu(torch.cat(expanded, dim=1))
        return y
