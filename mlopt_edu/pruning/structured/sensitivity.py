"""Which layers can spare their channels: prune each group alone, and look."""

import copy
from collections.abc import Callable, Sequence

from torch import nn

from mlopt_edu.pruning.prune import FilterFn, is_prunable
from mlopt_edu.pruning.structured.channels import choose_groups
from mlopt_edu.pruning.structured.importance import Importance, L2Norm
from mlopt_edu.pruning.structured.remove import remove_
from mlopt_edu.pruning.structured.select import lowest_units
from mlopt_edu.pruning.structured.tracing import trace


def channel_sensitivity(
    model: nn.Module,
    evaluate: Callable[[nn.Module], float],
    *,
    example_inputs: object,
    amounts: Sequence[float] = (0.25, 0.5, 0.75),
    importance: Importance | None = None,
    filter_fn: FilterFn = is_prunable,
) -> dict[str, tuple[float, ...]]:
    """Remove units of one group at a time, on copies, and evaluate each.

    Nothing is trained in between, so scores are lower than what fine-tuning reaches.

    Args:
        model: Left as it is.
        evaluate: Called with a smaller copy, returns its score, such as accuracy.
        example_inputs: One batch for a run: a tensor, or a tuple of positional
            arguments.
        amounts: Shares in [0, 1] of the group's units; at least one stays.
        importance: How to rank; by default `L2Norm()`.
        filter_fn: Called with the name of a layer and the layer; a group is scanned if
            all layers that make it are chosen.

    Returns:
        For each group's name the scores, one for each amount.

    Raises:
        ValueError: If an amount is out of its range or no group is chosen.
    """
    if not all(0 <= amount <= 1 for amount in amounts):
        raise ValueError(f"amounts must be shares in [0, 1], got {tuple(amounts)}")
    graph = choose_groups(trace(model, example_inputs), model, filter_fn)
    scores = (importance or L2Norm()).scores(model, graph)
    curves = {}
    for group, score in zip(graph.groups, scores, strict=True):
        curve = []
        for amount in amounts:
            smaller = copy.deepcopy(model)
            (units,) = lowest_units([score], float(amount))
            remove_(smaller, graph, {group.name: units})
            curve.append(evaluate(smaller))
        curves[group.name] = tuple(curve)
    return curves
