r"""Granularity: which entries of a tensor share a scale.

    PerTensor()        all of them                       1 block
    PerChannel(axis)   those with one index of the axis  one block per channel
    PerGroup(size)     `size` neighbours of one row      ⌈entries of a row / size⌉ a row

The first dimension of a weight counts its outputs, so a row is what one output reads;
the groups of a row cut up the input. The smaller a block, the closer its scale fits and
the more scales must be stored: 32 bits for each group of 64 are half a bit a weight.

Each granularity is one rule of reshaping, `blocks`, and its inverse, `join`: whoever
works on blocks of shape (blocks, entries) with scales of shape (blocks, 1) works for
all three.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn.functional import pad


class Granularity(Protocol):
    """A rule that cuts a tensor into blocks."""

    def blocks(self, x: Tensor) -> Tensor:
        """Return the entries of `x` as a tensor of shape (blocks, entries)."""
        ...

    def join(self, blocks: Tensor, shape: Sequence[int]) -> Tensor:
        """Undo `blocks`: return the tensor of the given shape."""
        ...


@dataclass(frozen=True)
class PerTensor:
    """One block.

    Example:
        >>> import torch
        >>> PerTensor().blocks(torch.zeros(4, 3, 2)).shape
        torch.Size([1, 24])
    """

    def blocks(self, x: Tensor) -> Tensor:
        """Return shape (1, entries)."""
        return x.reshape(1, -1)

    def join(self, blocks: Tensor, shape: Sequence[int]) -> Tensor:
        """Undo `blocks`."""
        return blocks.reshape(*shape)


@dataclass(frozen=True)
class PerChannel:
    """One block for each index of a dimension.

    Args:
        axis: The dimension that counts the channels: 0 for a weight of torch's layers,
            1 for images of shape (n, channels, height, width).

    Example:
        >>> import torch
        >>> PerChannel(1).blocks(torch.zeros(4, 3, 2)).shape
        torch.Size([3, 8])
    """

    axis: int = 0

    def blocks(self, x: Tensor) -> Tensor:
        """Return shape (channels, entries of a channel)."""
        self._check(x.ndim)
        channels_first = x.movedim(self.axis, 0)
        return channels_first.reshape(len(channels_first), -1)

    def join(self, blocks: Tensor, shape: Sequence[int]) -> Tensor:
        """Undo `blocks`."""
        self._check(len(shape))
        rest = list(shape)
        channels = rest.pop(self.axis)
        return blocks.reshape(channels, *rest).movedim(0, self.axis)

    def _check(self, ndim: int) -> None:
        if not -ndim <= self.axis < ndim:
            raise ValueError(
                f"axis must be a dimension of a tensor of {ndim}, got {self.axis}"
            )


@dataclass(frozen=True)
class PerGroup:
    """One block for each `size` neighbouring entries of a row.

    The last group of a row may be ragged: zeros fill it up and `join` drops them. They
    never widen a range, which contains 0 anyway.

    Args:
        size: Entries of a group, at least 1.

    Raises:
        ValueError: If `size` is below 1.

    Example:
        >>> import torch
        >>> PerGroup(4).blocks(torch.zeros(5, 10)).shape
        torch.Size([15, 4])
    """

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")

    def blocks(self, x: Tensor) -> Tensor:
        """Return shape (rows * groups of a row, size)."""
        rows = x.reshape(len(x), -1)
        lacking = -rows.shape[1] % self.size
        if lacking:  # pad would copy even if there is nothing to add
            rows = pad(rows, (0, lacking))
        return rows.reshape(-1, self.size)

    def join(self, blocks: Tensor, shape: Sequence[int]) -> Tensor:
        """Undo `blocks`."""
        rows = blocks.reshape(shape[0], -1)
        return rows[:, : math.prod(shape[1:])].reshape(*shape)
