r"""Gradual pruning: fast at first, when weights are many, and slowly at the end.

    s_t = s_f + (s_i - s_f) * (1 - (t - t_0) / T)³,    t_0 <= t <= t_0 + T

from the sparsity s_i at step t_0 to s_f after T steps; before it s_i, after it s_f.

Paper: Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for
model compression", 2017, arXiv:1710.01878, equation 1. Differs from the paper: it is
defined at every step; whoever calls it decides how often the masks follow.
"""


def cubic_sparsity(
    step: int,
    *,
    final: float,
    steps: int,
    initial: float = 0.0,
    begin: int = 0,
) -> float:
    """Return the share of weights that shall be zero at a step.

    Call `prune_(model, Magnitude(amount=cubic_sparsity(step, ...)))` in any training
    loop, every hundred steps or so: between two calls the rest has time to recover.

    Args:
        step: At least 0.
        final: Share at the end, in [initial, 1].
        steps: Number of steps T from `begin` to the end, at least 1.
        initial: Share at the beginning, in [0, 1].
        begin: Step t_0 at which pruning begins, at least 0.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> [cubic_sparsity(step, final=0.5, steps=2) for step in (0, 1, 2, 9)]
        [0.0, 0.4375, 0.5, 0.5]
    """
    if not 0 <= initial <= final <= 1:
        raise ValueError(
            "initial and final must satisfy 0 <= initial <= final <= 1, "
            f"got {initial} and {final}"
        )
    if step < 0 or begin < 0 or steps < 1:
        raise ValueError(
            "step and begin must be at least 0 and steps at least 1, "
            f"got {step}, {begin} and {steps}"
        )
    left = 1 - min(max((step - begin) / steps, 0.0), 1.0)
    return final + (initial - final) * left**3
