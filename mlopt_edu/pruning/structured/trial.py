"""Try a removal on a copy: does the model still run, and do the same channels meet?

The copy is cut and run again, every channel labelled with its unit. Then nothing may
merge any more: where two different channels meet, or a channel meets what has none, the
model's own code counted on the old size. This is what makes a removal safe in a model
that nobody has seen before.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from mlopt_edu.pruning.structured.atoms import IntArray, Mismatch, SettledAtoms
from mlopt_edu.pruning.structured.cut import cut_
from mlopt_edu.pruning.structured.groups import Graph, Group
from mlopt_edu.pruning.structured.run import follow, keep_outputs, twin
from mlopt_edu.pruning.structured.tracker import Tracker


def check(model: nn.Module, graph: Graph, removed: IntArray) -> str:
    """Remove units from a copy and run it, every channel labelled.

    Returns:
        What went wrong, or an empty string.
    """
    copied = twin(model)
    classes = cut_(copied, graph.classes, graph.sizes, removed)
    tensors = tensors_of(copied)
    labels = [(tensor, classes[name]) for name, tensor in tensors.items()]
    for training in graph.modes:
        tracker = Tracker(SettledAtoms(0), labels, dimension_of=np.array([]))
        try:
            output = follow(copied, graph.inputs, tracker, training=training)
            shapes = tuple(keep_outputs(tracker, output))
        except Mismatch as mismatch:
            return str(mismatch)
        except Exception as error:
            layer = tracker.running[-1][0] if tracker.running else ""
            return f"{layer or type(model).__name__} fails with {first_line(error)}"
        if shapes != graph.shapes and not training:
            return f"the output shapes become {shapes}"
    return ""


def rejected_groups(model: nn.Module, graph: Graph) -> list[tuple[Group, str]]:
    """Return the groups that cannot lose a unit, and why."""
    accepted: list[Group] = []
    failed: list[tuple[Group, str]] = []

    def add(groups: Sequence[Group]) -> None:
        if not groups:
            return
        firsts = [group.classes[0] for group in (*accepted, *groups)]
        why = check(model, graph, np.array(firsts))
        if not why:
            accepted.extend(groups)
        elif len(groups) == 1:
            failed.append((groups[0], why))
        else:
            half = len(groups) // 2
            add(groups[:half])
            add(groups[half:])

    add(graph.groups)
    return failed


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name, shared ones once."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def first_line(error: Exception) -> str:
    """Return what an error says, without its traceback of operators."""
    return (str(error).splitlines() or [type(error).__name__])[0]
