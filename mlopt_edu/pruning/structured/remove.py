"""Remove units for real: every tensor that they touch gets shorter."""

from collections.abc import Iterable, Mapping

import numpy as np
from torch import nn

from mlopt_edu.pruning.structured.cut import cut_
from mlopt_edu.pruning.structured.groups import Graph
from mlopt_edu.pruning.structured.trial import check, tensors_of


def remove_(model: nn.Module, graph: Graph, units: Mapping[str, Iterable[int]]) -> None:
    """Remove units from a model in place; before it is touched, a copy is tried.

    Parameters that get shorter are new objects: make the optimizer afterwards, or anew.
    `graph` is then out of date.

    Args:
        model: The model that was traced.
        graph: What `trace(model, example_inputs)` returned.
        units: For each group's name, the numbers of the units to remove. At least one
            must stay.

    Raises:
        ValueError: If a group or a unit does not exist, none would stay, the model is
            not as it was traced, or it does not run without these units.

    Example:
        >>> import torch
        >>> from mlopt_edu.pruning.structured import trace
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> remove_(net, trace(net, torch.zeros(1, 4)), {"0": [1]})
        >>> net[0], net[2].weight.shape
        (Linear(in_features=4, out_features=2, bias=True), torch.Size([2, 2]))
    """
    groups = {group.name: group for group in graph.groups}
    classes = [np.array([], dtype=np.int64)]
    for name, chosen in units.items():
        if name not in groups:
            raise ValueError(
                f"units must name groups of the graph, {sorted(groups)}, got {name!r}"
            )
        group, numbers = groups[name], sorted(set(chosen))
        if numbers and not 0 <= numbers[0] <= numbers[-1] < group.units:
            raise ValueError(
                f"units of group {name!r} must lie in [0, {group.units}), got {numbers}"
            )
        if len(numbers) == group.units:
            raise ValueError(
                f"units of group {name!r} must leave at least one of {group.units}, "
                f"got {numbers}"
            )
        classes.append(group.classes[numbers])
    shapes = {name: tuple(map(len, dims)) for name, dims in graph.classes.items()}
    if shapes != {name: tuple(t.shape) for name, t in tensors_of(model).items()}:
        raise ValueError(
            "graph must be of the model as it is, got one of other shapes; trace again "
            "after each removal"
        )
    removed = np.concatenate(classes)
    why = check(model, graph, removed)
    if why:
        raise ValueError(
            f"units must be such that model runs without them, but {why}; remove fewer"
        )
    cut_(model, graph.classes, graph.sizes, removed)
