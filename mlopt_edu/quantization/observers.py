r"""Observers: watch activations pass, then say which range to quantize.

    observer.observe(x)          for each batch
    low, high = observer.range()

    MinMaxObserver          all that was seen; one outlier coarsens everything
    MovingAverageObserver   low += momentum * (batch low - low); forgets old outliers
    PercentileObserver      cuts off a fixed share
    MSEObserver             the least squared error of rounding
    EntropyObserver         the least loss of information

The last three hold a histogram, not the data. Papers: the moving average is that of
Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2017, arXiv:1712.05877, section 3.1; the others are
compared by Wu et al., "Integer Quantization for Deep Learning Inference: Principles and
Empirical Evaluation", 2020, arXiv:2004.09602. Differs from the papers: nothing.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from mlopt_edu.quantization.affine import integer_range
from mlopt_edu.quantization.granularity import Granularity, PerTensor
from mlopt_edu.quantization.histogram import Histogram
from mlopt_edu.quantization.ranges import entropy_range, min_max_range, mse_range

_PER_TENSOR = PerTensor()


class Observer(ABC):
    """What watches numbers and names a range for each block of them.

    Args:
        granularity: Which entries share a range.
    """

    def __init__(self, *, granularity: Granularity = _PER_TENSOR) -> None:
        self.granularity = granularity
        self.low: Tensor | None = None
        self.high: Tensor | None = None

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Take in a batch of any shape; batches without entries are left out.

        Raises:
            ValueError: If an entry is not finite, or the number of blocks changed.
        """
        if not x.numel():
            return
        blocks = self.granularity.blocks(x.float())
        low, high = min_max_range(blocks)
        if self.low is not None and len(self.low) != len(low):
            raise ValueError(
                f"x must have {len(self.low)} blocks as the batches before, "
                f"got {len(low)}"
            )
        self._take(blocks, low, high)

    def range(self) -> tuple[Tensor, Tensor]:
        """Return the lowest and highest numbers, each of shape (blocks,).

        Raises:
            RuntimeError: If nothing was observed.
        """
        if self.low is None or self.high is None:
            raise RuntimeError("observe at least one batch before asking for the range")
        return self._range(self.low, self.high)

    def _take(self, blocks: Tensor, low: Tensor, high: Tensor) -> None:
        if self.low is None or self.high is None:
            self.low, self.high = low, high
        else:
            self.low = torch.minimum(self.low, low)
            self.high = torch.maximum(self.high, high)

    @abstractmethod
    def _range(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]: ...


class MinMaxObserver(Observer):
    """The smallest and the largest number of all batches.

    Example:
        >>> observer = MinMaxObserver()
        >>> observer.observe(torch.tensor([1.0, 5.0]))
        >>> observer.observe(torch.tensor([-2.0]))
        >>> observer.range()
        (tensor([-2.]), tensor([5.]))
    """

    def _range(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return low, high


class MovingAverageObserver(Observer):
    """The running means of each batch's smallest and largest number.

    Args:
        momentum: Weight of the new batch, in (0, 1].
        granularity: Which entries share a range.

    Raises:
        ValueError: If `momentum` is out of its range.
    """

    def __init__(
        self, *, momentum: float = 0.1, granularity: Granularity = _PER_TENSOR
    ) -> None:
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must lie in (0, 1], got {momentum}")
        super().__init__(granularity=granularity)
        self.momentum = momentum

    def _take(self, blocks: Tensor, low: Tensor, high: Tensor) -> None:
        if self.low is None or self.high is None:
            self.low, self.high = low, high
        else:
            self.low = torch.lerp(self.low, low, self.momentum)
            self.high = torch.lerp(self.high, high, self.momentum)

    def _range(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return low, high


class HistogramObserver(Observer):
    """What holds a histogram; the next three differ in where they cut it.

    Args:
        bins: Bins of each block, a multiple of 4.
        granularity: Which entries share a range.
    """

    def __init__(
        self, *, bins: int = 2048, granularity: Granularity = _PER_TENSOR
    ) -> None:
        super().__init__(granularity=granularity)
        self.histogram = Histogram(bins)

    def _take(self, blocks: Tensor, low: Tensor, high: Tensor) -> None:
        super()._take(blocks, low, high)
        self.histogram.add(blocks)


class PercentileObserver(HistogramObserver):
    """The range that holds a share of the numbers, with equal tails cut off.

    Args:
        share: Share that is kept, in (0, 1].
        bins: Bins of each block, a multiple of 4.
        granularity: Which entries share a range.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        *,
        share: float = 0.9999,
        bins: int = 2048,
        granularity: Granularity = _PER_TENSOR,
    ) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share must lie in (0, 1], got {share}")
        super().__init__(bins=bins, granularity=granularity)
        self.share = share

    def _range(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        tail = (1 - self.share) / 2
        cut_low = self.histogram.quantile(tail).to(low.dtype).clamp(max=0)
        cut_high = self.histogram.quantile(1 - tail).to(high.dtype).clamp(min=0)
        return torch.maximum(low, cut_low), torch.minimum(high, cut_high)


class _FormatObserver(HistogramObserver):
    """An observer whose range depends on the integers that will be used."""

    def __init__(
        self,
        *,
        bits: int = 8,
        symmetric: bool = False,
        bins: int = 2048,
        granularity: Granularity = _PER_TENSOR,
    ) -> None:
        integer_range(bits)
        super().__init__(bins=bins, granularity=granularity)
        self.bits, self.symmetric = bits, symmetric


class MSEObserver(_FormatObserver):
    """The range with the least squared error, as far as the histogram can tell.

    Args:
        bits: Bits of an integer, from 2 to 16.
        symmetric: The format that will be used.
        bins: Bins of each block, a multiple of 4.
        granularity: Which entries share a range.

    Raises:
        ValueError: If a number is out of its range.
    """

    def _range(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        # Centres of outer bins may lie half a bin outside of what was seen.
        centres = self.histogram.centres().clamp(low[:, None], high[:, None])
        found = mse_range(
            centres,
            counts=self.histogram.counts,
            bits=self.bits,
            symmetric=self.symmetric,
        )
        return found[0].to(low.dtype), found[1].to(high.dtype)


class EntropyObserver(_FormatObserver):
    """The range that loses the least information, as TensorRT calibrates.

    Args:
        bits: Bits of an integer, from 2 to 16.
        symmetric: The format that will be used.
        bins: Bins of each block, a multiple of 4 and above 2^bits.
        granularity: Which entries share a range.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        *,
        bits: int = 8,
        symmetric: bool = False,
        bins: int = 2048,
        granularity: Granularity = _PER_TENSOR,
    ) -> None:
        super().__init__(
            bits=bits, symmetric=symmetric, bins=bins, granularity=granularity
        )
        if bins <= 2**bits:
            raise ValueError(f"bins must be above 2^bits = {2**bits}, got {bins}")

    def _range(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        cut_low, cut_high = entropy_range(
            self.histogram.centres(),
            self.histogram.counts,
            bits=self.bits,
            symmetric=self.symmetric,
        )
        return (
            torch.maximum(low, cut_low.to(low.dtype)),
            torch.minimum(high, cut_high.to(high.dtype)),
        )
