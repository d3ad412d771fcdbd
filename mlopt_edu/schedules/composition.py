"""Schedules made of schedules: one after another, or multiplied."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Step = TypeVar("Step", float, NDArray[Any])


def join(
    step: Step,
    *,
    schedules: Sequence[Callable[[Any], Any]],
    boundaries: Sequence[int],
) -> Step:
    """Return the factor of the schedule whose turn it is.

    Each schedule counts from its own beginning: at a boundary the next one is at its
    step 0. The last one goes on without an end.

    Args:
        step: Updates already made, a number or an array of them, at least 0.
        schedules: What gives the factor in each part, at least one.
        boundaries: First step of each schedule but the first, rising, above 0.

    Raises:
        ValueError: If there is not one boundary fewer than schedules, or they do not
            rise, or a step is negative.

    Example:
        >>> from functools import partial
        >>> from mlopt_edu.schedules import constant, linear_warmup
        >>> parts = (partial(linear_warmup, warmup_steps=1), partial(constant, value=2))
        >>> [join(t, schedules=parts, boundaries=[3]) for t in range(5)]
        [0.5, 1.0, 1.0, 2.0, 2.0]
    """
    if len(boundaries) != len(schedules) - 1:
        raise ValueError(
            "boundaries must be one fewer than schedules, "
            f"got {len(boundaries)} and {len(schedules)}"
        )
    starts = [0, *boundaries]
    if any(
        later <= earlier for earlier, later in zip(starts, boundaries, strict=False)
    ):
        raise ValueError(f"boundaries must rise from above 0, got {list(boundaries)}")
    if not np.all(np.asarray(step) >= 0):
        raise ValueError(f"step must be at least 0, got {np.min(step)}")
    if not isinstance(step, np.ndarray):
        turn = bisect_right(boundaries, step)
        return float(schedules[turn](step - starts[turn]))
    turns = np.searchsorted(boundaries, step, side="right")
    factors = np.empty(step.shape)
    for turn in np.unique(turns):
        here = turns == turn
        factors[here] = schedules[turn](step[here] - starts[turn])
    return factors


def product(step: Step, *, schedules: Sequence[Callable[[Any], Any]]) -> Step:
    """Return the product of the factors, all at the same step.

    Args:
        step: Updates already made, a number or an array of them, at least 0.
        schedules: What gives the factors, at least one.

    Raises:
        ValueError: If there is no schedule.

    Example:
        >>> from functools import partial
        >>> from mlopt_edu.schedules import inverse_sqrt, linear_warmup
        >>> warm = partial(linear_warmup, warmup_steps=3)
        >>> [product(t, schedules=(warm, inverse_sqrt)) for t in (0, 3)]
        [0.25, 0.5]
    """
    if not schedules:
        raise ValueError("schedules must hold at least one, got none")
    factors: Step = math.prod(schedule(step) for schedule in schedules)
    return factors
