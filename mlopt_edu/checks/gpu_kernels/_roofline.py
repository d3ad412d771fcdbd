"""Task 2: the least time that a device needs for a kernel."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task

Roof = tuple[float, float]


def roofline_reference(
    operations: float, bytes_moved: float, peak: float, bandwidth: float
) -> Roof:
    """Both go on at the same time, and the slower one decides."""
    seconds = max(bytes_moved / bandwidth, operations / peak)
    return seconds, operations / seconds / peak


def _kernels(rng: np.random.Generator) -> Iterator[Case]:
    names = ("operations", "bytes_moved", "peak", "bandwidth")
    for label, *values in (
        ("bound by memory", 1e9, 12e9, 20e12, 2e12),
        ("bound by arithmetic", 1.4e14, 1e11, 1e15, 3.35e12),
        ("in the corner of the roof", 1e12, 1e11, 1e13, 1e12),
        ("hardly anything computed", 1e3, 8e9, 20e12, 2e12),
    ):
        yield Case(label, dict(zip(names, values, strict=True)))
    for number in range(4):
        drawn = (10 ** rng.uniform([9, 9, 12, 11], [14, 11, 15, 12.5])).tolist()
        yield Case(f"drawn {number + 1}", dict(zip(names, drawn, strict=True)))


roofline = Task(
    "roofline",
    points=1,
    section="15 · Derive",
    reference=roofline_reference,
    draw=_kernels,
    rtol=1e-9,
    hints=(
        "How long would the bytes alone take, and how long the operations alone?",
        "The device loads and computes at the same time: the longer of the two times "
        "is the least that the kernel can need.",
        "Reached are `operations / seconds`; divide them by `peak` for the share.",
    ),
)


@roofline.mistake
def one_after_the_other(
    operations: float, bytes_moved: float, peak: float, bandwidth: float
) -> Roof:
    """You add the two times. They overlap: the longer one is the least time."""
    seconds = bytes_moved / bandwidth + operations / peak
    return seconds, operations / seconds / peak


@roofline.mistake
def shorter_one(
    operations: float, bytes_moved: float, peak: float, bandwidth: float
) -> Roof:
    """You take the shorter of the two times, but neither can be left out."""
    seconds = min(bytes_moved / bandwidth, operations / peak)
    return seconds, operations / seconds / peak


@roofline.mistake
def memory_alone(
    operations: float, bytes_moved: float, peak: float, bandwidth: float
) -> Roof:
    """You count the time of the bytes alone; the operations may take longer."""
    seconds = bytes_moved / bandwidth
    return seconds, operations / seconds / peak


@roofline.mistake
def arithmetic_alone(
    operations: float, bytes_moved: float, peak: float, bandwidth: float
) -> Roof:
    """You count the time of the operations alone; the bytes may take longer."""
    return operations / peak, 1.0


@roofline.mistake
def operations_per_second(
    operations: float, bytes_moved: float, peak: float, bandwidth: float
) -> Roof:
    """The second value is a share of the peak: divide the speed by `peak`."""
    seconds, share = roofline_reference(operations, bytes_moved, peak, bandwidth)
    return seconds, share * peak


@roofline.mistake
def share_of_bandwidth(
    operations: float, bytes_moved: float, peak: float, bandwidth: float
) -> Roof:
    """You give the share of the *bandwidth* that is used; asked is that of `peak`."""
    seconds, _ = roofline_reference(operations, bytes_moved, peak, bandwidth)
    return seconds, bytes_moved / seconds / bandwidth
