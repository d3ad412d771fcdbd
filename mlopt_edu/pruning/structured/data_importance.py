"""How to rank units by what a model does with data: criteria as small frozen objects.

The equations stand in `scores`. What a criterion needs is a field: a loss, or batches
of inputs. The model, its gradients and its buffers stay as they are.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mlopt_edu.pruning.structured.groups import Graph, Role
from mlopt_edu.pruning.structured.observe import UnitReading, observe
from mlopt_edu.pruning.structured.run import twin
from mlopt_edu.pruning.structured.scores import activation_entropy, unit_taylor_scores


@dataclass(frozen=True, kw_only=True)
class UnitTaylor:
    """Squared change of the loss, to first order, if what reads a unit becomes 0.

    Attributes:
        loss: Called with a copy of the model on the same weights, in the same mode;
            returns a scalar or, better, losses of shape (k,), as of k examples.
    """

    comparable: ClassVar[bool] = True
    loss: Callable[[nn.Module], Tensor]

    def scores(self, model: nn.Module, graph: Graph) -> list[Tensor]:
        """Return the scores.

        Raises:
            TypeError: If the loss is no tensor.
            ValueError: If it has another shape, or does not depend on a group.
        """
        copied = twin(model)
        parameters = dict(copied.named_parameters())
        with torch.enable_grad():
            losses = self.loss(copied)
            if not isinstance(losses, Tensor):
                raise TypeError(
                    f"loss must return a tensor, got {type(losses).__name__}; do not "
                    "call item()"
                )
            if losses.ndim > 1 or not losses.numel() or not losses.requires_grad:
                raise ValueError(
                    "loss must return a scalar or losses of shape (k,) that depend on "
                    f"the model, got shape {tuple(losses.shape)}"
                )
            own = [p for p in parameters.values() if p.requires_grad]
            names = [name for name, p in parameters.items() if p.requires_grad]
            rows = [
                torch.autograd.grad(one, own, retain_graph=True, allow_unused=True)
                for one in losses.reshape(-1)
            ]
        found = []
        for group in graph.groups:
            reads = any(member.role is Role.READS for member in group.members)
            role = Role.READS if reads else Role.MAKES
            wanted = {m.tensor for m in group.members if m.role is role}
            if all(
                grad is None
                for name, grad in zip(names, rows[0], strict=True)
                if name in wanted
            ):
                raise ValueError(
                    f"loss must depend on group {group.name!r}, got no gradient; leave "
                    "its layers out by filter_fn"
                )
            grads = []
            for row in rows:
                known = {
                    name: torch.zeros_like(parameters[name]) if grad is None else grad
                    for name, grad in zip(names, row, strict=True)
                    if name in wanted
                }
                grads.append(group.parts(known, role))
            weights = group.parts(parameters, role)
            found.append(unit_taylor_scores(weights, torch.stack(grads)))
        return found


@dataclass(frozen=True, kw_only=True)
class UnitWanda:
    """Norm of a unit's activations times the absolute weights that read them.

    Attributes:
        inputs: Batches, each a tensor or a tuple of positional arguments.
    """

    comparable: ClassVar[bool] = False
    inputs: Iterable[object]

    def scores(self, model: nn.Module, graph: Graph) -> list[Tensor]:
        """Return the scores, added up over all places that read a unit."""

        def squares(reading: UnitReading) -> Tensor:
            # Activations at fixed weights: the weights can join now or later.
            power = reading.samples.square().sum(dim=(0, 1))
            return torch.stack([power, reading.fan_out, reading.unit.to(power)])

        found = []
        for group, places in zip(
            graph.groups, observe(model, graph, self.inputs, squares), strict=True
        ):
            total = torch.zeros(group.units)
            for batches in places:
                _, fan_out, unit = batches[0]
                power = torch.stack([batch[0] for batch in batches]).sum(dim=0)
                sent = (power.sqrt() * fan_out).to(total)
                total.index_add_(0, unit.long().to(total.device), sent)
            found.append(total)
        return found


@dataclass(frozen=True, kw_only=True)
class ActivationEntropy:
    """Entropy of a unit's mean activation over images: low entropy goes.

    Attributes:
        inputs: Batches, each a tensor or a tuple of positional arguments; some hundred
            images.
        bins: Bins of the histogram, at least 2.
    """

    comparable: ClassVar[bool] = True
    inputs: Iterable[object]
    bins: int = 100

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise ValueError(f"bins must be at least 2, got {self.bins}")

    def scores(self, model: nn.Module, graph: Graph) -> list[Tensor]:
        """Return the entropies in nats, the mean over all places that read a unit."""

        def pooled(reading: UnitReading) -> Tensor:
            means = reading.samples.mean(dim=1)
            entries = reading.per_unit(torch.ones_like(means[:1]))
            return reading.per_unit(means) / entries.clamp(min=1)

        return [
            torch.stack(
                [
                    activation_entropy(torch.cat(batches), bins=self.bins)
                    for batches in places
                ]
            ).mean(dim=0)
            for places in observe(model, graph, self.inputs, pooled)
        ]


@dataclass(frozen=True, kw_only=True)
class Nonzeros:
    """Share of a unit's activations that are not 0: those that ReLU silences go.

    Attributes:
        inputs: Batches, each a tensor or a tuple of positional arguments.
    """

    comparable: ClassVar[bool] = True
    inputs: Iterable[object]

    def scores(self, model: nn.Module, graph: Graph) -> list[Tensor]:
        """Return the shares in [0, 1], over all places that read a unit."""

        def counts(reading: UnitReading) -> Tensor:
            alive = (reading.samples != 0).sum(dim=(0, 1)).to(reading.fan_out)
            seen = torch.full_like(alive, reading.samples[..., 0].numel())
            return reading.per_unit(torch.stack([alive, seen]))

        found = []
        for places in observe(model, graph, self.inputs, counts):
            alive, seen = torch.stack([b for batches in places for b in batches]).sum(0)
            found.append(alive / seen.clamp(min=1))
        return found
