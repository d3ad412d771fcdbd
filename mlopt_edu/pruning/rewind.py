r"""Rewinding: give a pruned network the weights of its youth, and train it again.

    w <- mask * w_k,    w_k the weights at an early step k

With k = 0 this is the lottery ticket experiment: the sparse network, trained alone from
its own initialization, learns as well as the dense one did, where a new random
initialization in the same mask learns worse. In larger networks that holds for a small
k > 0 only.

Papers: Frankle and Carbin, "The Lottery Ticket Hypothesis: Finding Sparse, Trainable
Neural Networks", 2018, arXiv:1803.03635; Frankle et al., "Linear Mode Connectivity and
the Lottery Ticket Hypothesis", 2019, arXiv:1912.05671. Differs from the papers:
nothing.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mlopt_edu.pruning.masked import Mask, layers_of


@torch.no_grad()
def rewind_(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy early weights and buffers into a masked model; the masks stay.

    Train, `prune_`, `rewind_`, and again: each round prunes a share of what is left.
    Make a new optimizer, its momentum belongs to the old weights.

    Args:
        model: Pruned by masks, or not.
        state: What `copy.deepcopy(model.state_dict())` was early on, before pruning or
            after.

    Raises:
        ValueError: If names or shapes do not fit; then nothing was copied.
    """
    fixed = {
        f"{name}.mask" if name else "mask"
        for name, module in model.named_modules()
        if isinstance(module, Mask)
    }
    early = {name: tensor for name, tensor in state.items() if name not in fixed}
    current = {
        name: tensor for name, tensor in model.state_dict().items() if name not in fixed
    }
    aliases = _names_before_pruning(model)
    source = {}
    for name, tensor in current.items():
        found = name if name in early else aliases.get(name, name)
        if found not in early:
            raise ValueError(f"state must hold every weight of the model, lacks {name}")
        if early[found].shape != tensor.shape:
            raise ValueError(
                f"state must fit the model: {found} must have shape "
                f"{tuple(tensor.shape)}, got {tuple(early[found].shape)}"
            )
        source[name] = found
    unknown = sorted(early.keys() - set(source.values()))
    if unknown:
        raise ValueError(f"state must fit the model, which has no {unknown[0]}")
    for name, tensor in current.items():
        tensor.copy_(early[source[name]])


def _names_before_pruning(model: nn.Module) -> dict[str, str]:
    """Return "0.weight" for each "0.parametrizations.weight.original"."""
    names = {}
    for prefix, module in layers_of(model):
        for name in getattr(module, "parametrizations", ()):
            start = f"{prefix}." if prefix else ""
            names[f"{start}parametrizations.{name}.original"] = f"{start}{name}"
    return names
