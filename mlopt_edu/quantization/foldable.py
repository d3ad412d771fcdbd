"""Which batch norms may be folded: read off the graph of the model's calls."""

import copy
from typing import Any, get_args

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from mlopt_edu.quantization.apply import make_plain_

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Affine = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | Transposed
_AFFINE_FUNCTIONS = {
    functional.linear,
    functional.conv1d,
    functional.conv2d,
    functional.conv3d,
    functional.conv_transpose1d,
    functional.conv_transpose2d,
    functional.conv_transpose3d,
}


def find_foldable(model: nn.Module) -> list[tuple[Any, str, Any]]:
    """Return each layer, the name of the norm to fold into it, and the norm.

    Raises:
        ValueError: If torch.fx cannot trace the model.
    """
    nodes = list(_trace(model).nodes)
    calls: dict[nn.Module, int] = {}
    for node in nodes:
        if node.op == "call_module":
            module = model.get_submodule(node.target)
            calls[module] = calls.get(module, 0) + 1
    read = {node.target for node in nodes if node.op == "get_attr"}
    found = []
    for node in nodes:
        if node.op != "call_module":
            continue
        norm = model.get_submodule(node.target)
        inputs = node.all_input_nodes
        if type(norm) not in NORMS or len(inputs) != 1:
            continue
        before = inputs[0]
        if before.op != "call_module" or len(before.users) != 1:
            continue
        layer = model.get_submodule(before.target)
        if (
            isinstance(layer, Affine)
            and calls[layer] == calls[norm] == 1
            and norm.num_features == _outputs(layer)
            and norm.running_mean is not None
            and norm.running_var is not None
            and not (_has_hooks(layer) or _has_hooks(norm))
            and not any(
                name.startswith((f"{node.target}.", f"{before.target}."))
                for name in read
            )
            and _is_affine(layer)
        ):
            found.append((layer, node.target, norm))
    return found


def set_parameters_(layer: Any, weight: Tensor, bias: Tensor) -> None:
    """Give a layer new parameters instead of those it has, parametrized or not."""
    with torch.enable_grad():
        is_trained = layer.weight.requires_grad
    make_plain_(layer)
    layer.weight = nn.Parameter(weight, requires_grad=is_trained)
    layer.bias = nn.Parameter(bias, requires_grad=is_trained)


class _Tracer(fx.Tracer):
    """Sees each layer as one call, those of classes that extend torch's too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Affine) or super().is_leaf_module(m, module_qualified_name)


def _trace(model: nn.Module) -> fx.Graph:
    attributes = set(vars(model))
    try:
        return _Tracer().trace(model)
    except Exception as error:
        # Whatever the model's own code does with a stand-in for a tensor can fail.
        raise ValueError(
            "model must be one that torch.fx can trace, which failed with "
            f"{type(error).__name__}: {error}; fold its layers by fold_batch_norm"
        ) from error
    finally:
        for name in set(vars(model)) - attributes:
            delattr(model, name)  # constants that tracing leaves behind


def _is_affine(layer: Any) -> bool:
    """Say whether a layer ends in torch's function of its own weight and bias."""
    twin = copy.deepcopy(layer)
    # Would a bias be used, if there were one?
    set_parameters_(twin, twin.weight.detach(), twin.weight.new_zeros(_outputs(twin)))
    if type(twin) in get_args(Affine):
        return True
    try:
        graph = fx.Tracer().trace(twin)
    except Exception:
        return False
    last = graph.output_node().args[0]
    if not isinstance(last, fx.Node) or last.target not in _AFFINE_FUNCTIONS:
        return False
    own = [last.args[i] if len(last.args) > i else None for i in (1, 2)]
    return all(
        isinstance(node, fx.Node)
        and (node.op, node.target) == ("get_attr", name)
        and len(node.users) == 1
        for node, name in zip(own, ("weight", "bias"), strict=True)
    )


def _outputs(layer: Any) -> Any:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
