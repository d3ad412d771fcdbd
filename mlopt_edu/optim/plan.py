"""How a step is split into batches: planned once, and looked up after that.

To see that a plan still holds is much faster than to plan. Nothing depends on it but
speed: whatever changes between steps, the plan is made anew.
"""

import operator
from collections.abc import Callable, Collection, Hashable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

Kind = Callable[[Tensor], Hashable] | None


class Plan:
    """The states of all parameters with gradients, and what may share a batch.

    It holds while the same parameters have gradients and the same objects are in the
    optimizer's state.

    Args:
        optimizer: The optimizer; parameters new to its state enter it, empty.
        live: The parameters with gradients, of each group.
        kind: What must agree in a batch besides device and dtype, from the parameter.
    """

    def __init__(
        self, optimizer: Optimizer, live: list[list[Tensor]], kind: Kind
    ) -> None:
        self.live, self.kind = live, kind
        self.states = [[optimizer.state[param] for param in params] for params in live]
        self.pieces = [
            alike(
                [
                    _trait(index, param, group, kind)
                    for index, param in enumerate(params)
                ]
            )
            for group, params in zip(optimizer.param_groups, live, strict=True)
        ]
        self._known = list(optimizer.state.values())

    def holds(self, optimizer: Optimizer, live: list[list[Tensor]], kind: Kind) -> bool:
        """Whether it would be the same if it were made now."""
        return (
            self.kind is kind
            and _same(self._known, optimizer.state.values())
            and len(self.live) == len(live)
            and all(map(_same, self.live, live))
        )


def plan_for(optimizer: Optimizer, live: list[list[Tensor]], kind: Kind) -> Plan:
    """Return the plan of the step before if it holds, else a new one."""
    if torch.compiler.is_compiling():
        return Plan(optimizer, live, kind)
    plan: Plan | None = optimizer.__dict__.get("_plan")
    if plan is None or not plan.holds(optimizer, live, kind):
        plan = optimizer.__dict__["_plan"] = Plan(optimizer, live, kind)
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


def _trait(index: int, param: Tensor, group: dict[str, Any], kind: Kind) -> Hashable:
    """What must agree within a batch."""
    is_alone = _is_large(param) and not group.get("fused")
    return (
        param.device,
        param.dtype,
        kind(param) if kind else None,
        index if is_alone else None,
    )


def _is_large(param: Tensor) -> bool:
    """Whether a parameter is updated faster alone than in a list.

    Alone, each operation finds the tensor in the cache where the one before left it:
    on a CPU an Adam step on tensors of this size took 20 to 30 % less time.
    """
    if torch.compiler.is_compiling() or not param.is_cpu:
        return False
    return param.numel() >= 2**18


def _same(ones: Collection[object], others: Collection[object]) -> bool:
    return len(ones) == len(others) and all(map(operator.is_, ones, others))
