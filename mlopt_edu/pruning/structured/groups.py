"""Units and groups: what `trace` finds, as plain data.

A *unit* is the smallest thing that can be removed: a channel with everything that must
follow it, such as filter 3 of a convolution, entry 3 of its bias and its batch norm,
and column 3 of the layer that reads it. Units that touch the same layers in the same
way form a *group*: they are alike, so they are ranked together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlopt_edu.pruning.structured.atoms import IntArray
from mlopt_edu.pruning.structured.seen import Dims, Size


class Role(Enum):
    """What the part of a tensor that belongs to a unit does for it."""

    MAKES = "computes it, as a filter does"
    READS = "computes with it, as a column of the next layer's weight does"
    FOLLOWS = "has a number for it, as a bias or a batch norm does"


@dataclass(frozen=True)
class Member:
    """A dimension of a tensor that a group shortens.

    Attributes:
        tensor: Name of a parameter or buffer, as in `model.state_dict()`.
        layer: Name of the module that holds it.
        dim: The dimension.
        index: For each unit, its indices there: integers of shape (units, n).
        role: What they do for the unit.
    """

    tensor: str
    layer: str
    dim: int
    index: IntArray
    role: Role


@dataclass(frozen=True)
class Group:
    """Units that are alike: any of them can be removed.

    Attributes:
        name: Name of the first layer that makes them; numbered where it makes several
            kinds.
        units: How many there are, at least 2.
        layers: Names of all layers that make them.
        members: What is shortened.
        averaged: Whether a layer norm, a mean or a scale over the units depends on how
            many there are, so that removing even a unit of zeros changes the output.
        classes: Number of each unit in the graph.
    """

    name: str
    units: int
    layers: tuple[str, ...]
    members: tuple[Member, ...]
    averaged: bool
    classes: IntArray

    def parts(self, tensors: Mapping[str, Tensor], *roles: Role) -> Tensor:
        """Return what belongs to each unit, as rows of shape (units, entries).

        Args:
            tensors: Parameters and buffers by name, or their gradients.
            *roles: Which members to take; by default all. Those without a tensor in
                `tensors` are left out.
        """
        rows = []
        for member in self.members:
            wanted = not roles or member.role in roles
            if wanted and member.tensor in tensors:
                tensor = tensors[member.tensor].detach().movedim(member.dim, 0)
                index = torch.from_numpy(member.index).to(tensor.device)
                rows.append(tensor[index].reshape(self.units, -1))
        return torch.cat(rows, dim=1) if rows else torch.zeros(self.units, 0)


@dataclass(frozen=True)
class Graph:
    """What `trace` found; as a string, a table. It is out of date after a removal.

    Attributes:
        groups: What can be removed.
        kept: For each layer whose channels stay whole, why.
        classes: For every parameter and buffer, the unit at each index of each
            dimension, 0 where there is none.
        sizes: Numbers in modules that change when units go.
        inputs: The arguments with which the model was run.
        modes: Whether it ran as in evaluation (False) and as in training (True).
        shapes: Shapes of its outputs.
    """

    groups: tuple[Group, ...]
    kept: Mapping[str, str]
    classes: Mapping[str, Dims]
    sizes: tuple[Size, ...]
    inputs: tuple[Any, ...]
    modes: tuple[bool, ...]
    shapes: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        head = f"{'group':32}{'units':>8}  made by"
        rows = [f"{g.name:32}{g.units:>8}  {', '.join(g.layers)}" for g in self.groups]
        kept = [f"{layer:32}{'whole':>8}  {why}" for layer, why in self.kept.items()]
        return "\n".join([head, *rows, *kept])

    def units_of(self, layer: str, channels: Iterable[int]) -> dict[str, list[int]]:
        """Return the units, by group, that output channels of a layer belong to.

        Args:
            layer: Name of a layer that makes channels.
            channels: Indices into the first dimension of its weight that makes them;
                for a transposed convolution and an embedding, the second.

        Raises:
            ValueError: If one of them must stay.
        """
        wanted = list(channels)
        found: dict[str, list[int]] = {}
        left = set(wanted)
        for group in self.groups:
            for member in group.members:
                if member.layer == layer and member.role is Role.MAKES:
                    rows = np.isin(member.index, wanted)
                    if rows.any():
                        units = np.nonzero(rows.any(axis=1))[0].tolist()
                        found[group.name] = units
                        left -= set(member.index[rows].tolist())
        if left:
            why = self.kept.get(layer, "it has no such channels that can go")
            raise ValueError(
                f"channels of layer {layer!r} must be removable, got {sorted(left)}: "
                f"{why}"
            )
        return found
