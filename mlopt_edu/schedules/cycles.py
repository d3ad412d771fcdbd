r"""Schedules that rise: warm-up, warm restarts, one cycle, and a long plateau.

    linear_warmup  f(t) = start + (1 - start) t/W,  then 1 from t = W on
    sgdr           f(t) = final + (1 - final) (1 + cos(pi t_i/T_i)) / 2, where cycle i
                   began t_i steps ago and lasts T_i = cycle_steps * growth^i
    one_cycle      half a cosine from start up to 1 in W steps, then one down to final
    wsd            linear_warmup, then 1, then a line to final over the last D steps

with W = `warmup_steps` and D = `decay_steps`.

Papers: Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
2017, arXiv:1706.02677, section 2.2 (warm-up); Loshchilov and Hutter, "SGDR: Stochastic
Gradient Descent with Warm Restarts", 2016, arXiv:1608.03983, eq. 5; Smith and Topin,
"Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates",
2017, arXiv:1708.07120 (one cycle); Hu et al., "MiniCPM: Unveiling the Potential of
Small Language Models with Scalable Training Strategies", 2024, arXiv:2404.06395 (WSD).
Differs from the papers: one cycle is drawn with cosines, as torch has it, and leaves
the momentum alone; the decay of WSD, which the paper leaves open, is a line.
"""

import numpy as np

from mlopt_edu.schedules.elementwise import Floats, elementwise


@elementwise
def linear_warmup(
    step: Floats, *, warmup_steps: int, start: float | None = None
) -> Floats:
    """Return a line from `start` to 1, and 1 from step `warmup_steps` on.

    Args:
        step: Updates already made, a number or an array of them, at least 0.
        warmup_steps: Updates with a factor below 1, at least 0.
        start: Factor at step 0, in [0, 1]. By default 1 / (warmup_steps + 1), so that
            no update is wasted: from 0 the first one would move nothing.

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> [linear_warmup(t, warmup_steps=3) for t in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    if not warmup_steps >= 0:
        raise ValueError(f"warmup_steps must be at least 0, got {warmup_steps}")
    if start is None:
        start = 1 / (warmup_steps + 1)
    _require_share("start", start)
    return start + (1 - start) * _done(step, warmup_steps)


@elementwise
def sgdr(
    step: Floats, *, cycle_steps: int, growth: float = 1.0, final: float = 0.0
) -> Floats:
    """Return cosines that fall from 1 towards `final` and start again, without an end.

    The step at which a cycle would reach `final` is the first of the next one, with
    the factor 1.

    Args:
        step: Updates already made, a number or an array of them, at least 0.
        cycle_steps: Length of the first cycle, T_0 in the paper; at least 1.
        growth: Length of a cycle divided by that of the one before, T_mult in the
            paper; at least 1.
        final: Factor that each cycle falls towards, in [0, 1].

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> sgdr(np.arange(7), cycle_steps=2, growth=2).round(2)
        array([1.  , 0.5 , 1.  , 0.85, 0.5 , 0.15, 1.  ])
    """
    if not cycle_steps >= 1:
        raise ValueError(f"cycle_steps must be at least 1, got {cycle_steps}")
    if not 1 <= growth < np.inf:
        raise ValueError(f"growth must be finite and at least 1, got {growth}")
    _require_share("final", final)
    if growth == 1:
        done = step % cycle_steps / cycle_steps
    else:
        # Cycle i begins at cycle_steps (growth^i - 1) / (growth - 1).
        cycle = np.floor(np.log1p(step * (growth - 1) / cycle_steps) / np.log(growth))
        # The logarithm can round to the wrong side of a beginning.
        cycle += step >= _beginning(cycle + 1, cycle_steps, growth)
        cycle -= step < _beginning(cycle, cycle_steps, growth)
        begun = _beginning(cycle, cycle_steps, growth)
        done = (step - begun) / (cycle_steps * growth**cycle)
    return final + (1 - final) * (1 + np.cos(np.pi * done)) / 2


@elementwise
def one_cycle(
    step: Floats,
    *,
    total_steps: int,
    warmup_steps: float,
    start: float = 0.04,
    final: float = 4e-6,
) -> Floats:
    """Return a rise from `start` to 1 and a longer fall to `final`.

    The base lr is the peak, so give the optimizer the largest rate that trains: an
    `lr_range_test` finds it.

    Args:
        step: Updates already made, a number or an array of them, at least 0.
        total_steps: Step at which the factor reaches `final`, at least 1.
        warmup_steps: Step at which the factor is 1, in [0, total_steps]; 30 % of
            `total_steps` is usual.
        start: Factor at step 0, in [0, 1].
        final: Factor at `total_steps` and beyond, in [0, 1].

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> steps = np.array([0, 15, 30, 65, 100, 200])
        >>> one_cycle(steps, total_steps=100, warmup_steps=30, final=0).round(9)
        array([0.04, 0.52, 1.  , 0.5 , 0.  , 0.  ])
    """
    if not total_steps >= 1:
        raise ValueError(f"total_steps must be at least 1, got {total_steps}")
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(
            f"warmup_steps must lie in [0, {total_steps}], got {warmup_steps}"
        )
    _require_share("start", start)
    _require_share("final", final)
    rise = np.cos(np.pi * _done(step, warmup_steps))
    fall = np.cos(np.pi * _done(step - warmup_steps, total_steps - warmup_steps))
    return np.where(
        step < warmup_steps,
        1 + (start - 1) * (1 + rise) / 2,
        final + (1 - final) * (1 + fall) / 2,
    )


@elementwise
def wsd(
    step: Floats,
    *,
    total_steps: int,
    warmup_steps: int,
    decay_steps: int,
    final: float = 0.0,
) -> Floats:
    """Return warm-up, a stable part at 1, and a decay in a line to `final`.

    The stable part can be made longer later, or left at any step for a decay: unlike a
    cosine it does not have to know the end.

    Args:
        step: Updates already made, a number or an array of them, at least 0.
        total_steps: Step at which the factor reaches `final`, at least 1.
        warmup_steps: Updates before the stable part, at least 0.
        decay_steps: Steps from the stable part to the end, at least 0; with
            `warmup_steps` at most `total_steps`.
        final: Factor at `total_steps` and beyond, in [0, 1].

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> wsd(np.arange(9), total_steps=8, warmup_steps=1, decay_steps=4)
        array([0.5 , 1.  , 1.  , 1.  , 1.  , 0.75, 0.5 , 0.25, 0.  ])
    """
    if not total_steps >= 1:
        raise ValueError(f"total_steps must be at least 1, got {total_steps}")
    if not (warmup_steps >= 0 and decay_steps >= 0):
        raise ValueError(
            "warmup_steps and decay_steps must be at least 0, "
            f"got {warmup_steps} and {decay_steps}"
        )
    if warmup_steps + decay_steps > total_steps:
        raise ValueError(
            f"warmup_steps + decay_steps must be at most total_steps {total_steps}, "
            f"got {warmup_steps} + {decay_steps}"
        )
    _require_share("final", final)
    rise = linear_warmup(step, warmup_steps=warmup_steps)
    fall = _done(step - (total_steps - decay_steps), decay_steps)
    return rise * (1 + (final - 1) * fall)


def _done(step: Floats, steps: float) -> Floats:
    """Return the share of a part of so many steps that is done, in [0, 1]."""
    return np.clip(step / steps, 0, 1) if steps else np.where(step < 0, 0.0, 1.0)


def _beginning(cycle: Floats, cycle_steps: int, growth: float) -> Floats:
    return cycle_steps * (growth**cycle - 1) / (growth - 1)


def _require_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {share}")
