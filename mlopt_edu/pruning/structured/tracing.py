"""Find out which channels of a model can go: run it, sort, and try.

A run (see `run`) shows which single channels are the same; `trace` sorts them into
groups of units. Then one unit of each group is removed from a copy (see `trial`).
Groups for which that fails, because the model's own code counts on their size, are
split another way, or else stay whole.

Paper: Fang et al., "DepGraph: Towards Any Structural Pruning", 2023, arXiv:2301.12900.
Differs from the paper: dependencies are found channel by channel from the operators
that ran, instead of layer by layer from rules for kinds of layers; and they are tried.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from mlopt_edu.pruning.structured.atoms import FIRST, FIXED, Atoms, IntArray
from mlopt_edu.pruning.structured.grouping import sort_into_groups
from mlopt_edu.pruning.structured.groups import Graph
from mlopt_edu.pruning.structured.run import (
    DataDependentError,
    follow,
    keep_outputs,
    twin,
)
from mlopt_edu.pruning.structured.seen import Choice, Dims
from mlopt_edu.pruning.structured.tracker import Tracker
from mlopt_edu.pruning.structured.trial import (
    first_line,
    rejected_groups,
    tensors_of,
)


def trace(model: nn.Module, example_inputs: object) -> Graph:
    """Run a model and find out which channels can be removed.

    It runs without gradients, in evaluation mode and once more with the branches that
    are for training alone; its parameters, buffers and modes stay as they are. A branch
    that the example does not take is not seen.

    Args:
        model: Any module made of ordinary tensors.
        example_inputs: One batch: a tensor, or a tuple of positional arguments. For a
            recurrent model at least two steps long.

    Raises:
        TypeError: If `model` is compiled by TorchScript.
        ValueError: If it cannot be run or copied, or decides by what it computed.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> print(trace(net, torch.zeros(1, 4)))
        group                              units  made by
        0                                      3  0
        2                                  whole  model returns it
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            "model must be an ordinary module, got one compiled by TorchScript; prune "
            "it before you compile it"
        )
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise ValueError(
                f"parameter {name!r} must have a shape, got a lazy one; run one batch "
                "through the model first"
            )
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    choices = _Choices()
    whole: list[tuple[IntArray, str]] = []
    while True:
        plan = _Plan(model, inputs, choices.against(), whole)
        graph = plan.graph()
        rejected = rejected_groups(model, graph)
        stuck = plan.stuck_splits()
        if not rejected and not any([choices.change(split) for split in stuck]):
            return graph
        for group, why in rejected:
            if not choices.change(plan.splits_of(group.classes)):
                whole.append((group.classes, f"with one fewer, {why}"))


class _Plan:
    """The classes that two runs show."""

    def __init__(
        self,
        model: nn.Module,
        inputs: tuple[Any, ...],
        against: frozenset[int],
        whole: list[tuple[IntArray, str]],
    ) -> None:
        try:
            copied = twin(model)
        except Exception as error:
            raise ValueError(
                f"model must be one that copy.deepcopy can copy, got {error}"
            ) from error
        self.inputs = inputs
        tensors = tensors_of(copied)
        self.labels: dict[str, Dims] = {}
        self.dimensions: list[tuple[str, int]] = []
        dimension_of: list[IntArray] = [np.full(FIRST, -1)]
        begin = FIRST
        for name, tensor in tensors.items():
            dims = []
            for dim, size in enumerate(tensor.shape):
                # A single index is no channel that could be removed.
                atoms = np.arange(begin, begin + size)
                dims.append(atoms if size > 1 else np.full(size, FIXED))
                begin += size
                dimension_of.append(np.full(size, len(self.dimensions)))
                self.dimensions.append((name, dim))
            self.labels[name] = tuple(dims)
        self.atoms = Atoms(begin - FIRST)
        self.tracker = Tracker(
            self.atoms,
            [(tensor, self.labels[name]) for name, tensor in tensors.items()],
            dimension_of=np.concatenate(dimension_of),
            against=against,
        )
        for atoms, why in whole:
            self.atoms.freeze(atoms, why)
        self._run(copied)

    def _run(self, model: nn.Module) -> None:
        try:
            output = follow(model, self.inputs, self.tracker, training=False)
        except DataDependentError as error:
            layer = self.tracker.running[-1][0] if self.tracker.running else ""
            raise ValueError(
                "model must take the same way for all inputs, but "
                f"{f'layer {layer!r}' if layer else 'it'} decides by numbers that it "
                "computed; prune its parts one by one"
            ) from error
        except Exception as error:
            raise ValueError(
                "example_inputs must be a batch that model can be run on, a tensor or "
                f"a tuple of arguments, got {type(error).__name__}: {first_line(error)}"
            ) from error
        self.shapes = tuple(keep_outputs(self.tracker, output))
        self.modes: tuple[bool, ...] = (False, True)
        try:
            output = follow(model, self.inputs, self.tracker, training=True)
            keep_outputs(self.tracker, output)
        except Exception:
            # Training may need arguments that evaluation does not: targets, say.
            self.modes = (False,)
        unseen = [
            name
            for name, parameter in model.named_parameters()
            if id(parameter) in self.tracker.untouched
        ]
        if self.tracker.looked_at_inputs and unseen:
            raise ValueError(
                "model must run all of its layers on example_inputs if it decides by "
                f"their values, but {unseen[0]!r} was not used; prune its parts one by "
                "one"
            )

    def graph(self) -> Graph:
        """Sort the classes into groups."""
        groups, kept = sort_into_groups(
            self.labels, self.dimensions, self.atoms, self.tracker.seen
        )
        classes = {
            name: tuple(self.atoms.live(atoms) for atoms in dims)
            for name, dims in self.labels.items()
        }
        sizes = tuple(
            replace(size, atoms=self.atoms.live(size.atoms))
            for size in self.tracker.seen.sizes
        )
        return Graph(groups, kept, classes, sizes, self.inputs, self.modes, self.shapes)

    def splits_of(self, classes: IntArray) -> dict[int, Choice]:
        """Return the splits that these units pass, and the choices preferred."""
        return {
            number: prefer
            for number, (atoms, prefer) in self.tracker.seen.splits.items()
            if np.isin(self.atoms.live(atoms), classes).any()
        }

    def stuck_splits(self) -> list[dict[int, Choice]]:
        """Return the splits through which nothing can go as they were made."""
        return [
            {number: prefer}
            for number, (atoms, prefer) in self.tracker.seen.splits.items()
            if not (self.atoms.live(atoms) >= FIRST).any()
        ]


class _Choices:
    """Which splits not to make as preferred, after groups that failed.

    A group's splits into heads (rows) are turned first, then the others, then both.
    """

    def __init__(self) -> None:
        self._turned: dict[int, int] = {}
        self._preferred: dict[int, Choice] = {}

    def against(self) -> frozenset[int]:
        """Return the numbers of the splits that are turned."""
        return frozenset(
            number
            for number, bits in self._turned.items()
            if bits & _BITS[self._preferred[number]]
        )

    def change(self, splits: dict[int, Choice]) -> bool:
        """Turn splits that a group passes, or return False if all was tried."""
        possible = 0
        for prefer in splits.values():
            possible |= _BITS[prefer]
        tried = max((self._turned.get(number, 0) for number in splits), default=0)
        untried = [bits for bits in (1, 2, 3) if bits > tried and bits & ~possible == 0]
        if untried:
            self._turned |= dict.fromkeys(splits, untried[0])
            self._preferred |= splits
        return bool(untried)


_BITS = {Choice.ROWS: 1, Choice.COLUMNS: 2}
