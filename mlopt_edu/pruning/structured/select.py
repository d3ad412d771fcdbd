"""Which units go: the lowest of each group, or of all groups together."""

from collections.abc import Sequence

import torch
from torch import Tensor


def lowest_units(
    scores: Sequence[Tensor],
    amount: float | int,
    *,
    per_group: bool = True,
    multiples: Sequence[int] | None = None,
    min_units: int = 1,
) -> list[list[int]]:
    """Return the units with the lowest scores; of equal ones, the first.

    Args:
        scores: For each group a score of each unit, shape (units,).
        amount: Share in [0, 1] as a float, rounded as by `round`, or a count as an int.
        per_group: The amount is of each group; otherwise of all units, whose scores
            compete as they are.
        multiples: For each group, what the number of units that stay is rounded up to
            a multiple of, where there are so many.
        min_units: Units that stay in each group, at least 1.

    Returns:
        For each group the numbers of the units to remove, in order.

    Raises:
        ValueError: If a score is not finite.

    Example:
        >>> a, b = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.5, 0.4])
        >>> lowest_units([a, b], 2, per_group=False)
        [[1], [1]]
    """
    for number, score in enumerate(scores):
        if not score.isfinite().all():
            raise ValueError(
                f"scores must be finite, got inf or NaN in group {number}; is there an "
                "inf or NaN in the weights or inputs?"
            )
    orders = [torch.argsort(score, stable=True) for score in scores]
    if per_group:
        counts = [_count(amount, len(score)) for score in scores]
    else:
        # What may go of each group, lowest first; its last ones are no candidates.
        open_scores = [
            score[order][: max(0, len(score) - min_units)].double().cpu()
            for score, order in zip(scores, orders, strict=True)
        ]
        owner = [torch.full((len(s),), i) for i, s in enumerate(open_scores)]
        total = _count(amount, sum(map(len, scores)))
        chosen = torch.argsort(torch.cat(open_scores), stable=True)[:total]
        counts = torch.bincount(
            torch.cat(owner)[chosen], minlength=len(scores)
        ).tolist()
    removed = []
    for order, count, multiple in zip(
        orders, counts, multiples or [1] * len(scores), strict=True
    ):
        stay = max(len(order) - count, min(min_units, len(order)))
        stay = min(len(order), -(-stay // multiple) * multiple)
        removed.append(sorted(order[: len(order) - stay].tolist()))
    return removed


def _count(amount: float | int, size: int) -> int:
    return round(amount * size) if isinstance(amount, float) else min(amount, size)
