"""`Channels`: remove filters, neurons and heads for real, with all that needs them.

    prune_(model, Channels(amount=0.5, example_inputs=x))

What is left is an ordinary, smaller model: fewer parameters, fewer operations, less
time, in any framework. A mask saves none of these. Fine-tune afterwards, and make the
optimizer anew: parameters that got shorter are new objects.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor, nn

from mlopt_edu.pruning.prune import FilterFn
from mlopt_edu.pruning.structured.cut import cut_
from mlopt_edu.pruning.structured.groups import Graph, Group, Role
from mlopt_edu.pruning.structured.importance import Importance, L2Norm
from mlopt_edu.pruning.structured.remove import remove_
from mlopt_edu.pruning.structured.run import twin
from mlopt_edu.pruning.structured.select import lowest_units
from mlopt_edu.pruning.structured.tracing import trace


@dataclass(frozen=True, kw_only=True)
class Channels:
    """The least important units go, with everything that depends on them.

    A unit stays if a layer that makes it is left out by the filter: so the width of a
    residual stream goes only if all layers that add to it may lose outputs.

    Attributes:
        amount: What to remove, of what the model has now: a share in [0, 1) of the
            units or, with `cost`, of the cost; or a count of units, as an int.
        example_inputs: One batch for a run: a tensor, or a tuple of positional
            arguments.
        importance: How to rank: `L2Norm()`, `ActivationEntropy(inputs=batches)`, ...
        per_layer: The same amount from each group of layers; otherwise the least
            important of all together.
        round_to: Widths that are left are multiples of this where they can be; for
            that, fewer units go.
        min_units: Units to leave in each group, at least 1.
        cost: Called with a model, returns what the amount is a share of: MACs by
            `lambda model: count_macs(model, x).total`, parameters, seconds. The units
            are those that `per_layer` says, as few as save the amount.
    """

    amount: float | int
    example_inputs: object
    importance: Importance = field(default_factory=L2Norm)
    per_layer: bool = True
    round_to: int = 1
    min_units: int = 1
    cost: Callable[[nn.Module], float] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.amount, bool) or not isinstance(self.amount, int | float):
            raise TypeError(
                "amount must be a float (share) or an int (count), "
                f"got {type(self.amount).__name__}"
            )
        is_share = isinstance(self.amount, float)
        if not (0 <= self.amount < 1 if is_share else self.amount >= 0):
            raise ValueError(
                "amount must be a share in [0, 1) as a float or a count of at least 0 "
                f"as an int, got {self.amount}"
            )
        if self.cost is not None and not is_share:
            raise ValueError(
                "amount must be a share in [0, 1) where a cost is given, got the count "
                f"{self.amount}"
            )
        if self.round_to < 1 or self.min_units < 1:
            raise ValueError(
                "round_to and min_units must be at least 1, "
                f"got {self.round_to} and {self.min_units}"
            )

    def prune_(self, model: nn.Module, filter_fn: FilterFn) -> None:
        """Remove units of the chosen layers; see `mlopt_edu.pruning.prune_`.

        Raises:
            ValueError: If no channels of the chosen layers can go, the cost cannot be
                reached, or as `trace` and the importance say.
        """
        graph = choose_groups(trace(model, self.example_inputs), model, filter_fn)
        remove_(model, graph, self.plan(model, graph))

    def plan(self, model: nn.Module, graph: Graph) -> dict[str, list[int]]:
        """Return the units to remove, by group, without removing any.

        Args:
            model: The model that was traced.
            graph: What `choose_groups` left of its graph.
        """
        scores = self.importance.scores(model, graph)
        if not self.per_layer and not self.importance.comparable:
            scores = [score / score.mean().clamp(min=1e-12) for score in scores]
        if self.cost is None:
            return self._lowest(graph, scores, self.amount)
        cost, before = self.cost, self.cost(model)

        def cost_without(units: Mapping[str, list[int]]) -> float:
            smaller = twin(model)
            removed = [group.classes[units[group.name]] for group in graph.groups]
            cut_(smaller, graph.classes, graph.sizes, np.concatenate(removed))
            return cost(smaller)

        # As few units as save enough: too few below, enough at and above.
        total = sum(group.units for group in graph.groups)
        too_few, enough = -1, total
        units = self._lowest(graph, scores, 1.0)
        if (least := cost_without(units)) > (1 - self.amount) * before:
            raise ValueError(
                "amount must be a share of the cost that the chosen layers can save, "
                f"at most {1 - least / before:.3f}, got {self.amount}"
            )
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            fewer = self._lowest(graph, scores, middle / total)
            if cost_without(fewer) <= (1 - self.amount) * before:
                enough, units = middle, fewer
            else:
                too_few = middle
        return units

    def _lowest(
        self, graph: Graph, scores: list[Tensor], amount: float | int
    ) -> dict[str, list[int]]:
        units = lowest_units(
            scores,
            amount,
            per_group=self.per_layer,
            multiples=[_multiple(group, self.round_to) for group in graph.groups],
            min_units=self.min_units,
        )
        names = [group.name for group in graph.groups]
        return dict(zip(names, units, strict=True))


def choose_groups(graph: Graph, model: nn.Module, filter_fn: FilterFn) -> Graph:
    """Return the graph with those groups alone whose makers are all chosen.

    Raises:
        ValueError: If there is none.
    """
    modules = dict(model.named_modules())
    groups = tuple(
        group
        for group in graph.groups
        if all(filter_fn(layer, modules[layer]) for layer in group.layers)
    )
    if not groups:
        found = "; ".join(f"{layer}: {why}" for layer, why in graph.kept.items())
        raise ValueError(
            "filter_fn must choose layers whose channels can go, of "
            f"{[group.name for group in graph.groups]}, got none"
            + (f" (whole stay {found})" if found else "")
        )
    return replace(graph, groups=groups)


def _multiple(group: Group, round_to: int) -> int:
    """Return what the number of units must be a multiple of, for such a width."""
    makers = [member for member in group.members if member.role is Role.MAKES]
    return round_to // math.gcd(round_to, makers[0].index.shape[1])
