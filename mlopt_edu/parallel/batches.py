"""Batches cut into shards: rank by rank what a single process would take whole."""

from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from torch.utils.data import Sampler

from mlopt_edu.parallel.uneven import split_rows


class ShardedBatches(Sampler[list[int]]):
    """Indices of this rank's shard of each batch, for `DataLoader(batch_sampler=...)`.

    The batch is cut, not the data: shards of step k together are batch k of a single
    process with the same seed, and every rank takes the same number of steps. Where a
    batch has fewer rows than ranks, some shards are empty.

    Args:
        n_rows: Rows of the data set, at least 1.
        batch_size: Rows of a batch over all ranks, at least 1.
        rank: This rank; None to ask torch.distributed.
        world_size: Number of ranks; None to ask torch.distributed.
        speeds: Shares in proportion to these numbers, one a rank; None for equal ones.
        shuffle: Draw a new order in each epoch, the same on all ranks.
        seed: Of the order.
        drop_last: Leave out a last batch that is smaller.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> for rank in range(2):
        ...     shard = ShardedBatches(5, 3, rank=rank, world_size=2, shuffle=False)
        ...     print(list(shard))
        [[0, 1], [3]]
        [[2], [4]]
    """

    def __init__(
        self,
        n_rows: int,
        batch_size: int,
        *,
        rank: int | None = None,
        world_size: int | None = None,
        speeds: Sequence[float] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if n_rows < 1:
            raise ValueError(f"n_rows must be at least 1, got {n_rows}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.world_size = dist.get_world_size() if world_size is None else world_size
        self.rank = dist.get_rank() if rank is None else rank
        if not 0 <= self.rank < self.world_size:
            raise ValueError(
                f"rank must lie in [0, {self.world_size}), got {self.rank}"
            )
        self.speeds = [1.0] * self.world_size if speeds is None else list(speeds)
        if len(self.speeds) != self.world_size:
            raise ValueError(
                f"speeds must hold one number a rank, {self.world_size}, "
                f"got {len(self.speeds)}"
            )
        self.n_rows = n_rows
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch before it begins; without this each has the same order."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        rows = self.n_rows if self.drop_last else self.n_rows + self.batch_size - 1
        return rows // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this rank's indices, step by step."""
        order = list(range(self.n_rows))
        if self.shuffle:
            draw = torch.Generator().manual_seed(self.seed + self.epoch)
            order = torch.randperm(self.n_rows, generator=draw).tolist()
        for step in range(len(self)):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            rows = split_rows(len(batch), self.speeds)
            start = sum(rows[: self.rank])
            yield batch[start : start + rows[self.rank]]
