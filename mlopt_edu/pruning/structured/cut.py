"""Cut units out of a model: shorter tensors, and the numbers that modules keep.

One generic step serves every kind of layer: a tensor keeps the indices whose unit
stays. Special to a kind is only how its attributes are called: a table, below.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from mlopt_edu.pruning.structured.atoms import IntArray
from mlopt_edu.pruning.structured.seen import Dims, Size


@torch.no_grad()
def cut_(
    model: nn.Module,
    classes: Mapping[str, Dims],
    sizes: Sequence[Size],
    removed: IntArray,
) -> dict[str, Dims]:
    """Cut units out, whatever the model makes of it.

    Parameters become new objects where they get shorter, without gradients.

    Args:
        model: The model, changed in place.
        classes: The unit at each index of each dimension, as in `Graph`.
        sizes: Attributes that count channels.
        removed: The units.

    Returns:
        The units that are left at each index of each dimension.
    """
    left = {
        name: tuple(units[~np.isin(units, removed)] for units in dims)
        for name, dims in classes.items()
    }
    shorter: dict[int, Tensor] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        cut = tensor.detach()
        for dim, units in enumerate(classes[name]):
            stay = np.nonzero(~np.isin(units, removed))[0]
            if len(stay) < len(units):
                places = torch.from_numpy(stay).to(tensor.device)
                cut = cut.index_select(dim, places)
        if cut.shape != tensor.shape:
            shorter[id(tensor)] = (
                nn.Parameter(cut, requires_grad=tensor.requires_grad)
                if isinstance(tensor, nn.Parameter)
                else cut
            )
    modules = dict(model.named_modules())
    changed = [
        module
        for module in modules.values()
        if any(id(t) in shorter for t in (*module.parameters(), *module.buffers()))
    ]
    for module in changed:
        # A shared tensor has several names: all of them get the new one.
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if id(tensor) in shorter:
                setattr(module, name, shorter[id(tensor)])
    for size in sizes:
        module, units = modules[size.module], size.atoms
        value = int((~np.isin(units, removed)).sum())
        if size.position is None:
            setattr(module, size.attribute, value)
        else:
            values = list(getattr(module, size.attribute))
            values[size.position] = value
            setattr(module, size.attribute, tuple(values))
    for module in changed:
        for kind, describe in _ATTRIBUTES:
            if isinstance(module, kind):
                for attribute, value in describe(module).items():
                    setattr(module, attribute, value)
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()
    return left


def _convolution(m: Any) -> dict[str, Any]:
    first, second = m.weight.shape[:2]
    wide, narrow = second * m.groups, first
    channels = (narrow, wide) if m.transposed else (wide, narrow)
    return {"in_channels": channels[0], "out_channels": channels[1]}


def _batch_norm(m: Any) -> dict[str, Any]:
    known = m.weight if m.weight is not None else m.running_mean
    return {} if known is None else {"num_features": len(known)}


def _recurrent(m: Any) -> dict[str, Any]:
    sizes = {"input_size": m.weight_ih_l0.shape[1]}
    if m.proj_size:
        hidden, projected = m.weight_hr_l0.shape[1], m.weight_hr_l0.shape[0]
        return sizes | {"hidden_size": hidden, "proj_size": projected}
    return sizes | {"hidden_size": m.weight_hh_l0.shape[1]}


def _attention(m: Any) -> dict[str, Any]:
    width = m.out_proj.weight.shape[0]
    if not m._qkv_same_embed_dim:
        return {}
    widths = dict.fromkeys(("embed_dim", "kdim", "vdim"), width)
    return widths | {"head_dim": width // m.num_heads}


_ATTRIBUTES: list[tuple[Any, Callable[[Any], dict[str, Any]]]] = [
    (nn.Linear, lambda m: {
        "in_features": m.weight.shape[1], "out_features": m.weight.shape[0],
    }),
    (_ConvNd, _convolution),
    (_NormBase, _batch_norm),
    (nn.GroupNorm, lambda m: {} if m.weight is None else {
        "num_channels": len(m.weight),
    }),
    (nn.Embedding | nn.EmbeddingBag, lambda m: {"embedding_dim": m.weight.shape[1]}),
    (nn.LayerNorm | nn.RMSNorm, lambda m: {} if m.weight is None else {
        "normalized_shape": tuple(m.weight.shape),
    }),
    (nn.PReLU, lambda m: {"num_parameters": len(m.weight)}),
    (nn.RNNBase, _recurrent),
    (nn.RNNCellBase, lambda m: {
        "input_size": m.weight_ih.shape[1], "hidden_size": m.weight_hh.shape[1],
    }),
    (nn.MultiheadAttention, _attention),
]  # fmt: skip
