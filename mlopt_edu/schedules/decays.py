r"""Schedules that only fall: they follow the step and never look at a gradient.

    constant      f(t) = value
    inverse_sqrt  f(t) = 1 / sqrt(1 + t / timescale)
    step_decay    f(t) = gamma^floor(t / every)
    exponential   f(t) = gamma^t
    polynomial    f(t) = final + (1 - final) (1 - t/T)^power
    cosine        f(t) = final + (1 - final) (1 + cos(pi t/T)) / 2

with T = `total_steps`, and t/T held at 1 beyond it.

Papers: Robbins and Monro, "A Stochastic Approximation Method", 1951, for 1/t and what
is between it and 1/sqrt(t); Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent
with Warm Restarts", 2016, arXiv:1608.03983, eq. 5, for the cosine.
Differs from the papers: nothing.
"""

import numpy as np

from mlopt_edu.schedules.elementwise import Floats, elementwise


@elementwise
def constant(step: Floats, *, value: float = 1.0) -> Floats:
    """Return `value`, at least 0, at every step.

    Example:
        >>> constant(7)
        1.0
    """
    if not 0 <= value < np.inf:
        raise ValueError(f"value must be finite and at least 0, got {value}")
    return np.full_like(step, value)


@elementwise
def inverse_sqrt(step: Floats, *, timescale: float = 1.0) -> Floats:
    """Return 1 / sqrt(1 + step / timescale), without an end.

    Args:
        step: Updates already made, a number or an array of them, at least 0.
        timescale: Steps until the factor is 1 / sqrt(2), above 0. With the length of
            the warm-up that goes before it, this is the transformer's first schedule.

    Raises:
        ValueError: If `timescale` is not above 0.

    Example:
        >>> inverse_sqrt(3)
        0.5
    """
    if not 0 < timescale < np.inf:
        raise ValueError(f"timescale must be finite and above 0, got {timescale}")
    return 1 / np.sqrt(1 + step / timescale)


@elementwise
def step_decay(step: Floats, *, every: int, gamma: float = 0.1) -> Floats:
    """Return a factor that is multiplied by `gamma` once `every` so many steps.

    Args:
        step: Updates already made, a number or an array of them, at least 0.
        every: Steps between two drops, at least 1; the first is at step `every`.
        gamma: Factor of one drop, in (0, 1].

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> [step_decay(t, every=2, gamma=0.5) for t in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    if not every >= 1:
        raise ValueError(f"every must be at least 1, got {every}")
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma must lie in (0, 1], got {gamma}")
    return gamma ** np.floor(step / every)


@elementwise
def exponential(step: Floats, *, gamma: float) -> Floats:
    """Return gamma ** step, without an end.

    Args:
        step: Updates already made, a number or an array of them, at least 0.
        gamma: Factor of one step, in (0, 1].

    Raises:
        ValueError: If `gamma` is out of its range.

    Example:
        >>> exponential(3, gamma=0.5)
        0.125
    """
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma must lie in (0, 1], got {gamma}")
    return gamma**step


@elementwise
def polynomial(
    step: Floats, *, total_steps: int, power: float = 1.0, final: float = 0.0
) -> Floats:
    """Return a power of the share of steps that are left: with power 1, a line.

    Args:
        step: Updates already made, a number or an array of them, at least 0.
        total_steps: Step at which the factor reaches `final`, at least 1.
        power: Exponent, above 0: higher ones fall sooner.
        final: Factor at `total_steps` and beyond, in [0, 1].

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> [polynomial(t, total_steps=4, power=2) for t in (0, 2, 4, 9)]
        [1.0, 0.25, 0.0, 0.0]
    """
    _require(total_steps, final)
    if not 0 < power < np.inf:
        raise ValueError(f"power must be finite and above 0, got {power}")
    left = 1 - np.minimum(step / total_steps, 1)
    return final + (1 - final) * left**power


@elementwise
def cosine(step: Floats, *, total_steps: int, final: float = 0.0) -> Floats:
    """Return half a cosine wave: slow at both ends, fast between.

    Args:
        step: Updates already made, a number or an array of them, at least 0.
        total_steps: Step at which the factor reaches `final`, at least 1.
        final: Factor at `total_steps` and beyond, in [0, 1].

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> cosine(np.array([0, 5, 10, 99]), total_steps=10).round(9)
        array([1. , 0.5, 0. , 0. ])
    """
    _require(total_steps, final)
    done = np.minimum(step / total_steps, 1)
    return final + (1 - final) * (1 + np.cos(np.pi * done)) / 2


def _require(total_steps: int, final: float) -> None:
    if not total_steps >= 1:
        raise ValueError(f"total_steps must be at least 1, got {total_steps}")
    if not 0 <= final <= 1:
        raise ValueError(f"final must lie in [0, 1], got {final}")
