"""How a step is split into batches: planned once, and looked up after that.

To see that a plan still holds is much faster than to plan. Nothing depends on it but
speed: whatever changes between steps, the plan is made anew.
"""

import operator
from collections.abc import Callable, Collection, Hashable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

Live = list[list[Tensor]]


class Split(NamedTuple):
    """What must agree within a batch besides device and dtype.

    Args:
        kind: What must agree, from the parameter; None for nothing.
        large: Whether a large parameter is a batch of its own.
    """

    kind: Callable[[Tensor], Hashable] | None
    large: bool

    def trait(self, index: int, param: Tensor, group: dict[str, Any]) -> Hashable:
        """Return what is equal for parameters that may share a batch."""
        is_large = param.is_cpu and param.numel() >= 2**18
        is_alone = self.large and is_large and not group.get("fused")
        return (
            param.device,
            param.dtype,
            self.kind(param) if self.kind else None,
            index if is_alone else None,
        )


class Plan:
    """The states of all parameters with gradients, and what may share a batch.

    Args:
        optimizer: The optimizer; parameters new to its state enter it, empty.
        live: The parameters with gradients, of each group.
        split: What must agree within a batch.
    """

    def __init__(self, optimizer: Optimizer, live: Live, split: Split) -> None:
        self.states = [[optimizer.state[param] for param in params] for params in live]
        self.pieces = [
            alike([split.trait(index, p, group) for index, p in enumerate(params)])
            for group, params in zip(optimizer.param_groups, live, strict=True)
        ]
        self._live, self._split = live, split
        self._known = list(optimizer.state.values())

    def holds(self, optimizer: Optimizer, live: Live, split: Split) -> bool:
        """Whether the same parameters have gradients, and the same states."""
        return (
            self._split == split
            and _same(self._known, optimizer.state.values())
            and len(self._live) == len(live)
            and all(map(_same, self._live, live))
        )


def plan_for(optimizer: Optimizer, live: Live, split: Split) -> Plan:
    """Return the plan of the step before if it holds, else a new one."""
    if torch.compiler.is_compiling():
        return Plan(optimizer, live, Split(split.kind, large=False))
    plan: Plan | None = optimizer.__dict__.get("_plan")
    if plan is None or not plan.holds(optimizer, live, split):
        plan = optimizer.__dict__["_plan"] = Plan(optimizer, live, split)
    return plan


def alike(values: list[Any]) -> list[list[int]]:
    """Group the indices of equal values, in the order of their first ones.

    Example:
        >>> alike(["a", "b", "a"])
        [[0, 2], [1]]
    """
    groups: dict[Hashable, list[int]] = {}
    for index, value in enumerate(values):
        groups.setdefault(value, []).append(index)
    return list(groups.values())


def _same(ones: Collection[object], others: Collection[object]) -> bool:
    return len(ones) == len(others) and all(map(operator.is_, ones, others))
