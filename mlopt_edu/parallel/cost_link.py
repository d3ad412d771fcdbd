r"""What a link costs: latency and bandwidth, fitted to measured all-reduces.

    send         latency + n / bandwidth
    all-reduce   2 (p - 1) (latency + n / (p · bandwidth))    a ring of p ranks

A send's time is affine in its bytes (Hockney's model, 1994). The ring's 2 (p - 1) sends
of n / p bytes each wait for the one before: with many ranks the latency takes over,
whatever the bandwidth.

Source: Chan et al., "Collective communication: theory, practice, and experience", 2007,
which writes alpha for the latency and beta for 1 / bandwidth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Link:
    """What a send costs: latency in seconds, then bytes a second for each device."""

    latency: float
    bandwidth: float


def all_reduce_seconds(n_bytes: float, world_size: int, link: Link) -> float:
    """Return the time of a ring all-reduce: 2 (p - 1) sends of n / p bytes.

    Example:
        >>> all_reduce_seconds(8e9, 4, Link(latency=0.0, bandwidth=1e9))
        12.0
    """
    sends = 2 * (world_size - 1)
    return sends * (link.latency + n_bytes / world_size / link.bandwidth)


def all_reduce_bytes(n_bytes: float, world_size: int) -> float:
    """Return the bytes that a rank sends: 2 (p - 1) / p · n."""
    return 2 * (world_size - 1) / world_size * n_bytes


def fit_link(
    n_bytes: Sequence[float], world_sizes: Sequence[int], seconds: Sequence[float]
) -> Link:
    """Return the link whose ring all-reduces come closest to measured times.

    Least squares of the relative errors, so that the short times, which alone know
    the latency, count as much as the long ones.

    Args:
        n_bytes: Bytes of the tensor in each measurement.
        world_sizes: Ranks in each measurement, at least 2.
        seconds: Time measured, above 0.

    Returns:
        Link; its latency is 0 where the best one would be below.

    Raises:
        ValueError: If the lengths differ, or the measurements leave latency or
            bandwidth open.

    Example:
        >>> sizes = [1e3, 1e6, 1e8]
        >>> truth = Link(latency=1e-5, bandwidth=1e9)
        >>> times = [all_reduce_seconds(size, 4, truth) for size in sizes]
        >>> link = fit_link(sizes, [4, 4, 4], times)
        >>> round(link.latency, 12), round(link.bandwidth)
        (1e-05, 1000000000)
    """
    n, p, t = (np.asarray(x, dtype=np.float64) for x in (n_bytes, world_sizes, seconds))
    if not len(n) == len(p) == len(t) >= 2:
        raise ValueError(
            "n_bytes, world_sizes and seconds must have one length of at least 2, "
            f"got {len(n)}, {len(p)} and {len(t)}"
        )
    if p.min() < 2 or t.min() <= 0:
        raise ValueError("world_sizes must be at least 2 and seconds above 0")
    sends = 2 * (p - 1)
    columns = np.stack([sends / t, sends * n / p / t], axis=1)
    # Seconds and seconds a byte differ by nine orders: let both columns weigh alike.
    scales = np.linalg.norm(columns, axis=0)
    if scales.min() == 0 or np.linalg.cond(columns / scales) > 1e8:
        raise ValueError("n_bytes must differ, or latency and bandwidth stay open")
    solution = np.linalg.lstsq(columns / scales, np.ones(len(t)), rcond=None)[0]
    latency, per_byte = solution / scales
    if latency < 0:
        latency, per_byte = 0.0, columns[:, 1].sum() / (columns[:, 1] ** 2).sum()
    if per_byte <= 0:
        raise ValueError("seconds must grow with n_bytes, or there is no bandwidth")
    return Link(float(latency), float(1 / per_byte))
