r"""Rescaling: move a factor of each feature from a layer's input into its weight.

    W x = (W diag(s)) (diag(s)⁻¹ x)

The function stays the same, but what is rounded does not: an input with outliers gets
smaller, or a weight that matters gets larger than its neighbours. The division costs
nothing if what makes x can do it: a norm's or a linear layer's own weight and bias are
divided, also through a ReLU, which lets positive factors pass. That is allowed only if
nobody else reads x, and all its readers must then share s: a family. Else a
`ScaledInput` divides.

Who reads what is taken from the graph that `torch.export` records of one batch, which
shows every use of every tensor and weight.
"""

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node

from mlopt_edu.quantization.apply import replace_modules_, without_parametrizations
from mlopt_edu.quantization.calibration import Batch
from mlopt_edu.quantization.scaled_input import ScaledInput

_ATEN = torch.ops.aten
# f(x / s) = f(x) / s for s > 0
_HOMOGENEOUS = (
    _ATEN.relu.default,
    _ATEN.relu_.default,
    _ATEN.leaky_relu.default,
    _ATEN.leaky_relu_.default,
    _ATEN.dropout.default,
)
_LINEAR = _ATEN.linear.default
_NORMS = (_ATEN.layer_norm.default, _ATEN.rms_norm.default)


@dataclass(frozen=True)
class Family:
    """Linear layers that share the scale of their input.

    Attributes:
        layers: Their names.
        source: Name of the module that can divide the input, or None.
    """

    layers: tuple[str, ...]
    source: str | None = None


def find_families(
    model: nn.Module, layers: Mapping[str, nn.Module], batch: Batch
) -> list[Family]:
    """Group layers by the source that can divide their input; the others stand alone.

    Args:
        model: The model; it stays as it is.
        layers: Linear layers in it, by name.
        batch: What the model is recorded with: a tensor, or a tuple of arguments. Its
            other paths, if it has some, are not seen.

    Raises:
        TypeError: If a layer is not linear.
    """
    for name, layer in layers.items():
        if not isinstance(layer, nn.Linear):
            raise TypeError(
                "filter_fn must choose linear layers, whose inputs can be rescaled, "
                f"got {type(layer).__name__} at {name!r}"
            )
    recorded = _Recording.of(model, batch)
    families = recorded.families(layers) if recorded else []
    known = {name for family in families for name in family.layers}
    for name in layers:
        if name not in known:
            parent = name.rpartition(".")[0]
            divides = isinstance(model.get_submodule(parent), ScaledInput)
            families.append(Family((name,), parent if divides else None))
    return families


@torch.no_grad()
def rescale_(model: nn.Module, family: Family, scale: Tensor) -> None:
    """Multiply the columns of the layers' weights, and divide their input.

    Tied weights are no longer tied; masks and other parametrizations end in the
    weights.

    Args:
        model: Holds the family.
        family: One of `find_families`.
        scale: Above 0, shape (in_features,).
    """
    for name in family.layers:
        layer = model.get_submodule(name)
        new: nn.Module = without_parametrizations(layer)
        _multiply_(new, "weight", scale)
        if family.source is None:
            new = ScaledInput(new, scale.to(new.get_parameter("weight")))
        if new is not layer:
            replace_modules_(model, {name: new})
    if family.source is None:
        return
    source = model.get_submodule(family.source)
    if isinstance(source, ScaledInput):
        source.scale = source.scale * scale.to(source.scale)
        return
    is_linear = isinstance(source, nn.Linear)
    _multiply_(source, "weight", 1 / (scale[:, None] if is_linear else scale))
    if getattr(source, "bias", None) is not None:
        _multiply_(source, "bias", 1 / scale)


def _multiply_(module: nn.Module, name: str, factor: Tensor) -> None:
    old = module.get_parameter(name)
    product = (old.double() * factor.double()).to(old.dtype)
    setattr(module, name, nn.Parameter(product, requires_grad=old.requires_grad))


@dataclass(frozen=True)
class _Recording:
    """The graph of a model, and whose parameter each of its inputs is."""

    graph: Graph
    parameters: Mapping[str, str]
    model: nn.Module

    @classmethod
    def of(cls, model: nn.Module, batch: Batch) -> "_Recording | None":
        args = batch if isinstance(batch, tuple) else (batch,)
        copied = copy.deepcopy(model).eval()
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.export(copied, args)
        except Exception:
            # Python that depends on numbers cannot be recorded, and torch says so by
            # errors of many types. Then every layer divides its own input.
            return None
        signature = program.graph_signature
        return cls(program.graph, signature.inputs_to_parameters, copied)

    def families(self, layers: Mapping[str, nn.Module]) -> list[Family]:
        readers: dict[Node, dict[Node, str]] = {}
        for node in self.graph.nodes:
            if node.target is _LINEAR:
                owner = self._owner(node.args[1], "weight")
                if owner is not None and owner in layers:
                    readers.setdefault(node.args[0], {})[node] = owner
        found = []
        for x, users in readers.items():
            source = self._source(x) if x.users.keys() == users.keys() else None
            if source is not None:
                found.append(Family(tuple(users.values()), source))
        return found

    def _source(self, x: Node) -> str | None:
        """Return the name of the module that can divide x."""
        while x.target in _HOMOGENEOUS:
            x = x.args[0]  # type: ignore[assignment]
            if len(x.users) > 1:
                return None
        if x.target in _NORMS:
            if len(x.args[1]) > 1:  # type: ignore[arg-type]
                return None
            weight, *bias = x.args[2 : 4 if x.target is _NORMS[0] else 3] or (None,)
        elif x.target is _LINEAR:
            weight, *bias = x.args[1:]
        else:
            return None
        owner = self._owner(weight, "weight")
        if owner is None or not isinstance(
            self.model.get_submodule(owner), nn.LayerNorm | nn.RMSNorm | nn.Linear
        ):
            return None
        if any(node and self._owner(node, "bias") != owner for node in bias):
            return None
        return owner

    def _owner(self, node: Any, attribute: str) -> str | None:
        """Return the module whose parameter this is, if it is used only here."""
        if not isinstance(node, Node) or len(node.users) > 1:
            return None
        if node.name not in self.parameters:
            return None
        parameter = self.model.get_parameter(self.parameters[node.name])
        owners = [
            (owner, key)
            for owner, module in self.model.named_modules()
            for key, other in module.named_parameters(recurse=False)
            if other is parameter
        ]
        (owner, key), *others = owners
        return owner if key == attribute and not others else None
