"""See activations where weights read them, unit by unit, in whatever model it is.

The run is the same that finds the groups (see `run`), with every channel labelled: at
each product of activations and weights it is known which unit every activation is.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mlopt_edu.pruning.structured.atoms import (
    FIRST,
    IntArray,
    SettledAtoms,
)
from mlopt_edu.pruning.structured.groups import Graph
from mlopt_edu.pruning.structured.run import follow, twin
from mlopt_edu.pruning.structured.tracker import Tracker
from mlopt_edu.pruning.structured.trial import first_line, tensors_of


@dataclass(frozen=True)
class UnitReading:
    """Activations of a group's units where a weight reads them.

    Attributes:
        samples: Shape (samples, positions, entries): one sample for each row of a
            matrix or each image, one position for each pixel.
        fan_out: Sum of the absolute weights on each entry, shape (entries,).
        unit: The unit that each entry belongs to, shape (entries,).
        units: Number of units in the group.
    """

    samples: Tensor
    fan_out: Tensor
    unit: Tensor
    units: int

    def per_unit(self, entries: Tensor) -> Tensor:
        """Add up the last dimension, (..., entries), to (..., units)."""
        total = entries.new_zeros(*entries.shape[:-1], self.units)
        return total.index_add_(-1, self.unit, entries)


@torch.no_grad()
def observe(
    model: nn.Module,
    graph: Graph,
    inputs: Iterable[object],
    measure: Callable[[UnitReading], Tensor],
) -> list[list[list[Tensor]]]:
    """Run batches in evaluation mode, and measure at each place that reads a group.

    Args:
        model: The model that was traced; it stays as it is.
        graph: Its groups.
        inputs: Batches, each a tensor or a tuple of positional arguments.
        measure: What to keep of a reading.

    Returns:
        For each group, for each place that reads it, one measurement a batch.

    Raises:
        ValueError: If there is no batch, the model cannot run on one, or a group is
            read nowhere.
    """
    copied = twin(model)
    labels = [(t, graph.classes[name]) for name, t in tensors_of(copied).items()]
    places: list[dict[int, list[Tensor]]] = [{} for _ in graph.groups]
    batches = 0
    for batch in inputs:
        batches += 1
        watcher = _Watcher(graph, labels, measure)
        arguments = batch if isinstance(batch, tuple) else (batch,)
        try:
            follow(copied, arguments, watcher, training=False)
        except Exception as error:
            raise ValueError(
                "inputs must be batches that model can be run on, tensors or tuples of "
                f"arguments, got {type(error).__name__}: {first_line(error)}"
            ) from error
        for (group, place), measured in watcher.found.items():
            places[group].setdefault(place, []).append(measured)
    if not batches:
        raise ValueError("inputs must hold at least 1 batch, got none")
    for group_places, its_group in zip(places, graph.groups, strict=True):
        if not group_places:
            raise ValueError(
                f"group {its_group.name!r} must be read by a layer's weight for its "
                "activations to be seen; leave its layers out by filter_fn, or use "
                "L2Norm"
            )
    return [list(group_places.values()) for group_places in places]


class _Watcher(Tracker):
    """A tracker that measures what weights read."""

    def __init__(
        self,
        graph: Graph,
        labels: list[tuple[Tensor, tuple[IntArray, ...]]],
        measure: Callable[[UnitReading], Tensor],
    ) -> None:
        super().__init__(SettledAtoms(0), labels, dimension_of=np.array([]))
        self.measure = measure
        self.found: dict[tuple[int, int], Tensor] = {}
        self._readings = 0
        most = max((int(g.classes.max()) for g in graph.groups), default=0) + 1
        self._group = np.full(most, -1)
        self._unit = np.full(most, -1)
        self._units = [group.units for group in graph.groups]
        for number, group in enumerate(graph.groups):
            self._group[group.classes] = number
            self._unit[group.classes] = np.arange(group.units)

    def read(
        self, samples: Tensor, fan_out: Callable[[], Tensor], atoms: IntArray
    ) -> None:
        self._readings += 1
        known = np.where((atoms >= FIRST) & (atoms < len(self._group)), atoms, 0)
        group = np.where(known > 0, self._group[known], -1)
        for number in np.unique(group[group >= 0]).tolist():
            entries = torch.from_numpy(np.nonzero(group == number)[0])
            unit = torch.from_numpy(self._unit[known[group == number]])
            entries, unit = entries.to(samples.device), unit.to(samples.device)
            self.found[number, self._readings] = self.measure(
                UnitReading(
                    samples[..., entries], fan_out()[entries], unit, self._units[number]
                )
            )
