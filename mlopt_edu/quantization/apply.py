r"""Quantize the layers of a model, in place.

    quantize_(model, Int8Dynamic())                        fast: int8 times int8
    quantize_(model, Int8Static(inputs=batches))           the same, input scales fixed
    quantize_(model, WeightOnly(bits=4, group_size=64))    small: 4 bits and a scale
    quantize_(model, NF4()), Ternary(), Binary(), Codebook(bits=5)

Each method is a small object that says how one layer is replaced. The rest of the model
stays as it is, and the model an ordinary module. Biases, norms and embeddings are left
alone: they are small, and errors there cost most.
"""

import copy
from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import nn
from torch.nn.utils import parametrize

from mlopt_edu.quantization.methods import Layer, Quantization

Filter = Callable[[str, nn.Module], bool]
M = TypeVar("M", bound=nn.Module)


def is_linear(name: str, module: nn.Module) -> bool:
    """Say whether a module is a linear layer of torch's own."""
    return isinstance(module, nn.Linear)


def is_linear_or_conv(name: str, module: nn.Module) -> bool:
    """Say whether a module is a linear layer or a convolution of torch's own."""
    return isinstance(module, Layer)


def quantize_(
    model: nn.Module, method: Quantization, *, filter_fn: Filter = is_linear
) -> None:
    """Replace layers by quantized ones, in place.

    A layer that occurs at several places is replaced at all of them. Masks and other
    parametrizations end in the weights. Tied weights are no longer tied.

    Args:
        model: Any module that holds the layers; not a single layer itself.
        method: What to do, one of this package's classes.
        filter_fn: Says of a name and a module whether it is quantized.

    Raises:
        TypeError: If the filter chooses a module that cannot be quantized.
        ValueError: If it chooses none, the model is itself a layer, or a weight is not
            finite. Then the model is as it was.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> from mlopt_edu.quantization.methods import WeightOnly
        >>> quantize_(model, WeightOnly(bits=4))
        >>> [type(layer).__name__ for layer in model]
        ['WeightOnlyLinear', 'ReLU', 'WeightOnlyLinear']
    """
    layers = choose_layers(model, filter_fn)
    replace_modules_(model, method.replacements(model, layers))


def choose_layers(model: nn.Module, filter_fn: Filter) -> dict[str, Layer]:
    """Return the layers that a filter chooses, by name.

    Raises:
        TypeError: If it chooses a module that cannot be quantized.
        ValueError: If it chooses none, or one without weights, or the model is itself a
            layer.
    """
    chosen = {
        name: module
        for name, module in model.named_modules()
        if filter_fn(name, module)
    }
    if not chosen:
        raise ValueError("filter_fn must choose at least 1 layer, got none")
    if "" in chosen:
        raise ValueError(
            f"model must hold the layers, got a single {type(model).__name__}: put it "
            "into nn.Sequential"
        )
    layers: dict[str, Layer] = {}
    for name, layer in chosen.items():
        if not isinstance(layer, Layer):
            raise TypeError(
                "filter_fn must choose linear layers and convolutions, "
                f"got {type(layer).__name__} at {name!r}"
            )
        if layer.weight.numel() == 0:
            raise ValueError(f"layer {name!r} must have weights, got none")
        layers[name] = layer
    return layers


def replace_modules_(model: nn.Module, new: Mapping[str, nn.Module]) -> None:
    """Put modules in the places of others, and in all further places of those."""
    by_old = {model.get_submodule(name): module for name, module in new.items()}
    for old, module in by_old.items():
        module.train(old.training)
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child in by_old:
                parent._modules[name] = by_old[child]


def without_parametrizations(layer: M) -> M:
    """Return the layer itself, or a copy of plain parameters that computes the same."""
    if not parametrize.is_parametrized(layer):
        return layer
    plain = copy.deepcopy(layer)
    make_plain_(plain)
    return plain


def make_plain_(layer: nn.Module) -> None:
    """Write what parametrizations make into plain parameters.

    torch's own removal would also break every copy of the layer: they share a class.
    """
    if not parametrize.is_parametrized(layer):
        return
    parametrized = {
        name: nn.Parameter(getattr(layer, name).detach().clone())
        for name in layer.parametrizations  # type: ignore[union-attr]
    }
    layer.__class__ = type(layer).__mro__[1]
    del layer.parametrizations
    for name, parameter in parametrized.items():
        layer.register_parameter(name, parameter)
