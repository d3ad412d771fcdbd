r"""A histogram that grows: bins of equal width, symmetric about 0, over batches.

It holds `bins` counts for each block, however much data it sees. When a number lies
outside, neighbouring bins are joined in pairs and the width doubles: counts stay exact.
"""

import torch
from torch import Tensor


class Histogram:
    """Counts of numbers, block by block.

    Args:
        bins: Bins of each block, a multiple of 4.

    Attributes:
        counts: float64 tensor of shape (blocks, bins).
        width: Width of a bin, float64 of shape (blocks, 1); 0 while only zeros came.

    Raises:
        ValueError: If `bins` is not a multiple of 4.
    """

    def __init__(self, bins: int = 2048) -> None:
        if bins < 4 or bins % 4:
            raise ValueError(f"bins must be a multiple of 4, got {bins}")
        self.bins = bins
        self.counts = torch.zeros(0, bins, dtype=torch.float64)
        self.width = torch.zeros(0, 1, dtype=torch.float64)

    def add(self, blocks: Tensor) -> None:
        """Count the numbers of a tensor of shape (blocks, entries)."""
        x = blocks.double()
        if not len(self.counts):
            self.counts = x.new_zeros(len(x), self.bins)
            self.width = x.new_zeros(len(x), 1)
        if not x.shape[1]:
            return
        middle = self.bins // 2
        reach = x.abs().amax(1, keepdim=True)
        self.width = torch.where(self.width == 0, reach / middle, self.width)
        # The last bin holds its upper end too, so that the first maximum is inside.
        while (is_short := (reach > self.width * middle).flatten()).any():
            pairs = self.counts[is_short].reshape(-1, middle, 2).sum(2)
            self.counts[is_short] = torch.nn.functional.pad(
                pairs, (middle // 2, middle // 2)
            )
            self.width[is_short] *= 2
        places = torch.where(self.width == 0, 0.0, x / self.width).floor()
        places = (places.long() + middle).clamp(0, self.bins - 1)
        self.counts.scatter_add_(1, places, torch.ones_like(x))

    def centres(self) -> Tensor:
        """Return the middle of each bin, float64 of shape (blocks, bins)."""
        places = torch.arange(self.bins, device=self.width.device)
        return (places + 0.5 - self.bins // 2) * self.width

    def quantile(self, share: float) -> Tensor:
        """Return below which number a share of the counts lies, of shape (blocks,).

        Inside a bin the numbers are taken to be spread evenly.

        Args:
            share: In [0, 1].
        """
        total = self.counts.cumsum(1)
        wanted = share * total[:, -1:]
        place = torch.searchsorted(total, wanted).clamp(max=self.bins - 1)
        inside = self.counts.gather(1, place)
        before = total.gather(1, place) - inside
        fraction = torch.where(inside > 0, (wanted - before) / inside, 0.0)
        return ((place + fraction - self.bins // 2) * self.width).flatten()
