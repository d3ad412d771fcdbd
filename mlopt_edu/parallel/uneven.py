r"""Uneven shares: each rank gets as many rows as its speed allows.

    rows_i ≈ n * speed_i / Σ speed        step time = max_i rows_i / speed_i

A step lasts as long as its slowest rank. With equal shares on unequal devices the fast
ones wait; with shares in proportion to speed all are done at once. Rows are whole, so
each share is rounded down and the rows left over go to the largest remainders (the
method of Hamilton). Ranks then hold unequal shards: their gradients count by rows,
which `mean_over_ranks` of `data_parallel` sees to.
"""

import math
import statistics
from collections.abc import Sequence

import torch
import torch.distributed as dist


def split_rows(n_rows: int, speeds: Sequence[float]) -> list[int]:
    """Split rows in proportion to speed, by largest remainder.

    Args:
        n_rows: Rows to share out, at least 0.
        speeds: Rows per second of each rank, or any numbers in proportion to them;
            finite, at least 0, not all 0.

    Returns:
        Rows of each rank. They sum to `n_rows`, and each lies less than one row from
        the exact share. Of equal remainders the lower rank gets the row.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> split_rows(10, [3.0, 1.0])
        [8, 2]
    """
    if n_rows < 0:
        raise ValueError(f"n_rows must be at least 0, got {n_rows}")
    if not all(math.isfinite(speed) and speed >= 0 for speed in speeds):
        raise ValueError(f"speeds must be finite and at least 0, got {list(speeds)}")
    top = max(speeds, default=0.0)
    if top == 0:
        raise ValueError(f"speeds must hold one above 0, got {list(speeds)}")
    weights = [speed / top for speed in speeds]  # their sum cannot overflow
    exact = [n_rows * weight / math.fsum(weights) for weight in weights]
    rows = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(rows)), key=lambda rank: rows[rank] - exact[rank])
    for rank in by_remainder[: n_rows - sum(rows)]:
        rows[rank] += 1
    return rows


def step_seconds(rows: Sequence[int], speeds: Sequence[float]) -> float:
    """Return how long a step lasts: as long as its slowest rank.

    Args:
        rows: Rows of each rank.
        speeds: Rows per second of each rank, above 0 where it has rows.

    Returns:
        Seconds, without communication.

    Example:
        >>> step_seconds([5, 5], [3.0, 1.0]), step_seconds([8, 2], [3.0, 1.0])
        (5.0, 2.6666666666666665)
    """
    pairs = zip(rows, speeds, strict=True)
    return max((count / speed for count, speed in pairs if count), default=0.0)


class Speedometer:
    """The speed of every rank, from the latest steps of each.

    Time the computation alone: the wait for other ranks in an all-reduce would make
    all look as slow as the slowest. The median forgives a step that was disturbed.

    Args:
        window: Number of latest steps that count, at least 1.
        group: Process group; None for all ranks.

    Raises:
        ValueError: If `window` is below 1.

    Example:
        >>> speed = Speedometer()
        >>> speed.add(rows=32, seconds=0.5)
        >>> speed.rows_per_second
        64.0
    """

    def __init__(
        self, window: int = 8, *, group: dist.ProcessGroup | None = None
    ) -> None:
        if window < 1:
            raise ValueError(f"window must be at least 1, got {window}")
        self.window = window
        self.group = group
        self._speeds: list[float] = []

    def add(self, rows: int, seconds: float) -> None:
        """Note that this rank computed so many rows in so many seconds, above 0.

        A step without rows tells nothing, and is left out.
        """
        if not seconds > 0:
            raise ValueError(f"seconds must be above 0, got {seconds}")
        if rows:
            self._speeds = [*self._speeds, rows / seconds][-self.window :]

    @property
    def rows_per_second(self) -> float:
        """The median speed of this rank's latest steps; 0 before the first."""
        return statistics.median(self._speeds) if self._speeds else 0.0

    def gather(self) -> list[float]:
        """Return the speed of every rank, the same list on each; all must call.

        Ranks that measured nothing yet count as fast as the mean of the others.
        """
        speeds = torch.zeros(dist.get_world_size(self.group), dtype=torch.float64)
        speeds[dist.get_rank(self.group)] = self.rows_per_second
        dist.all_reduce(speeds, group=self.group)
        known = speeds[speeds > 0]
        speeds[speeds == 0] = known.mean() if len(known) else 1.0
        return [float(speed) for speed in speeds]
