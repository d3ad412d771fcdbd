r"""How long a function takes: warmed up, repeated, synchronised; and compared fairly.

    warm-up    the first calls pay for allocation, caches and compilation: not counted
    median     a busy machine only ever adds time; a mean would carry its outliers
    spread     the quartiles, between which half of the measurements lie
    ratio      measured in pairs, one of each function in every round, in changing
               order: what slows the machine for a while slows both, and cancels

Operations on an accelerator return before they are done, so the clock waits for it.
"""

import gc
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeated measurements.

    Attributes:
        median: Half of the measurements lie below.
        low: Lower quartile.
        high: Upper quartile.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: ArrayLike) -> "Spread":
        """Return median and quartiles of `values`, an array of shape (n,), n >= 1."""
        low, median, high = np.quantile(
            np.asarray(values, dtype=float), [0.25, 0.5, 0.75]
        )
        return cls(float(median), float(low), float(high))


@dataclass(frozen=True)
class Compared:
    """One function of a comparison.

    Attributes:
        seconds: Time of one call, in seconds.
        ratio: Its time over the baseline's in the same round.
    """

    seconds: Spread
    ratio: Spread


def latency(
    function: Callable[[], object],
    *,
    rounds: int = 25,
    warmup: int = 3,
    min_seconds: float = 1e-3,
) -> Spread:
    """Measure the seconds that one call of `function` takes.

    Gradients and threads are the caller's business: wrap the call in `torch.no_grad()`
    and set `torch.set_num_threads` as in the place where it shall run.

    Args:
        function: What to time, called without arguments.
        rounds: Number of measurements, at least 1.
        warmup: Calls before them, at least 1.
        min_seconds: Calls are repeated within a measurement until it takes about this
            long, so that the clock's own time does not count; seconds, at least 0.

    Raises:
        ValueError: If a number is out of its range.
    """
    only = compare_latency(
        {"": function}, rounds=rounds, warmup=warmup, min_seconds=min_seconds
    )
    return only[""].seconds


def compare_latency(
    functions: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 25,
    warmup: int = 3,
    min_seconds: float = 1e-3,
) -> dict[str, Compared]:
    """Time several functions in turns, and their ratios to the first.

    A ratio above 1 is slower than the first function, the baseline.

    Args:
        functions: What to time, by name; called without arguments.
        rounds: Number of measurements of each, at least 1.
        warmup: Calls of each before them, at least 1.
        min_seconds: Calls are repeated within a measurement until it takes about this
            long; seconds, at least 0.

    Raises:
        ValueError: If `functions` is empty or a number is out of its range.

    Example:
        >>> import torch
        >>> x = torch.ones(1000)
        >>> report = compare_latency({"add": lambda: x + x, "twice": lambda: x + x + x})
        >>> list(report), report["add"].ratio
        (['add', 'twice'], Spread(median=1.0, low=1.0, high=1.0))
    """
    if not functions:
        raise ValueError("functions must hold at least 1 function, got none")
    if rounds < 1 or warmup < 1:
        raise ValueError(
            f"rounds and warmup must be at least 1, got {rounds} and {warmup}"
        )
    if not 0 <= min_seconds < 60:
        raise ValueError(f"min_seconds must lie in [0, 60), got {min_seconds}")
    order = list(functions)
    # Its own source of randomness: measuring must not change what the caller draws.
    shuffle = random.Random(0).shuffle
    with _no_garbage_collection():
        calls = {
            name: _calls_needed(function, warmup, min_seconds)
            for name, function in functions.items()
        }
        seconds: dict[str, list[float]] = {name: [] for name in functions}
        for _ in range(rounds):
            shuffle(order)
            for name in order:
                spent = _time(functions[name], calls[name])
                seconds[name].append(spent / calls[name])
    baseline = np.array(next(iter(seconds.values())))
    return {
        name: Compared(Spread.of(spent), Spread.of(np.array(spent) / baseline))
        for name, spent in seconds.items()
    }


def _calls_needed(
    function: Callable[[], object], warmup: int, min_seconds: float
) -> int:
    _time(function, warmup)
    calls, spent = 1, _time(function, 1)
    while spent < min_seconds:
        calls *= 2
        spent = _time(function, calls)
    return calls


def _time(function: Callable[[], object], calls: int) -> float:
    _synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        function()
    _synchronize()
    return time.perf_counter() - start


def _synchronize() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
