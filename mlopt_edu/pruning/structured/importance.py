"""How to rank units by what a model holds: criteria as small frozen objects.

The equations stand in `scores`; criteria that need data, in `data_importance`. Some are
comparable between layers as they are. Scores of others depend on how large a layer is,
and are divided by their mean over the group where units of all layers compete.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import ParametrizationList

from mlopt_edu.pruning.structured.groups import Graph, Role
from mlopt_edu.pruning.structured.scores import unit_norms


class Importance(Protocol):
    """What `Channels` takes as its `importance`.

    Attributes:
        comparable: Whether scores of different layers can be compared as they are.
    """

    comparable: ClassVar[bool]

    def scores(self, model: nn.Module, graph: Graph) -> list[Tensor]:
        """Return for each group of the graph a score of each unit, shape (units,)."""


@dataclass(frozen=True, kw_only=True)
class L1Norm:
    """Sum of the absolute weights that make a unit and that read it.

    Attributes:
        makers_only: Count the filter alone, as the paper does.
    """

    comparable: ClassVar[bool] = False
    makers_only: bool = False

    def scores(self, model: nn.Module, graph: Graph) -> list[Tensor]:
        """Return the norms."""
        return _norms(model, graph, 1, self.makers_only)


@dataclass(frozen=True, kw_only=True)
class L2Norm:
    """Euclidean norm of the weights that make a unit and that read it.

    Attributes:
        makers_only: Count the filter alone.
    """

    comparable: ClassVar[bool] = False
    makers_only: bool = False

    def scores(self, model: nn.Module, graph: Graph) -> list[Tensor]:
        """Return the norms."""
        return _norms(model, graph, 2, self.makers_only)


@dataclass(frozen=True, kw_only=True)
class BatchNormScale:
    """Absolute scale of the batch norm on a unit, the mean if there are several.

    Network slimming: train with an L1 penalty on the scales first, so that those which
    are not needed go to 0.

    Paper: Liu et al., "Learning Efficient Convolutional Networks through Network
    Slimming", 2017, arXiv:1708.06519. Differs from the paper: nothing.
    """

    comparable: ClassVar[bool] = True

    def scores(self, model: nn.Module, graph: Graph) -> list[Tensor]:
        """Return the scales.

        Raises:
            ValueError: If a group has no batch norm with a scale.
        """
        scales = {
            f"{name}.weight" if name else "weight": module.weight
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm) and module.weight is not None
        }
        found = []
        for group in graph.groups:
            rows = [
                scales[member.tensor].detach()[torch.from_numpy(member.index)]
                for member in group.members
                if member.tensor in scales
            ]
            if not rows:
                raise ValueError(
                    f"group {group.name!r} must have a batch norm for BatchNormScale, "
                    "got none; leave its layers out by filter_fn, or use L2Norm"
                )
            found.append(torch.cat(rows, dim=1).abs().mean(dim=1))
        return found


@dataclass(frozen=True, kw_only=True)
class RandomUnits:
    """Any units: the baseline that a criterion must beat.

    Attributes:
        generator: Draws them; None for torch's global one.
    """

    comparable: ClassVar[bool] = True
    generator: torch.Generator | None = field(default=None)

    def scores(self, model: nn.Module, graph: Graph) -> list[Tensor]:
        """Return random numbers in [0, 1)."""
        return [torch.rand(g.units, generator=self.generator) for g in graph.groups]


@torch.no_grad()
def _norms(
    model: nn.Module, graph: Graph, order: float, makers_only: bool
) -> list[Tensor]:
    weights = dict(model.named_parameters())
    for name, module in model.named_modules():
        # A masked weight counts as it is used, with its zeros.
        if isinstance(module, ParametrizationList) and name + ".original" in weights:
            used = module()
            if used.shape == weights[name + ".original"].shape:
                weights[name + ".original"] = used
    roles = (Role.MAKES,) if makers_only else (Role.MAKES, Role.READS)
    return [unit_norms(g.parts(weights, *roles), order=order) for g in graph.groups]
