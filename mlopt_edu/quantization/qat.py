r"""Quantization-aware training: train the weights that rounding leaves.

    fold_batch_norms_(model)                              first, if it has norms
    train_quantized_(model, WeightOnly(bits=2))           or LearnedStep(bits=2)
    ... any loop, with an optimizer made now ...
    finish_training_(model)                               small layers, same results

Each layer keeps its real weight as the parameter and computes with the rounded one, so
the loss is that of the quantized model; gradients go straight through the rounding.
Where rounding to the nearest fails, below 4 bits, the other weights learn to make up
for it.

The gradient is passed for every weight. For binary weights Courbariaux et al. stop it
outside of [-1, 1]; here the scale is the mean of |w| and follows the weights, so that
1 would mean nothing.

Papers: Jacob et al., 2017, arXiv:1712.05877, section 3; Courbariaux, Bengio and David,
"BinaryConnect: Training Deep Neural Networks with binary weights during propagations",
2015, arXiv:1511.00363. Differs from the papers: inputs are rounded from the first batch
on; norms are folded before training, or left as they are.
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mlopt_edu.quantization.apply import (
    Filter,
    choose_layers,
    is_linear_or_conv,
    replace_modules_,
)
from mlopt_edu.quantization.conv import ConvFormat, Int8Conv
from mlopt_edu.quantization.input_quantizer import quantize_inputs_
from mlopt_edu.quantization.learned_step import LearnedStep, LearnedStepWeight
from mlopt_edu.quantization.linear import Int8Linear
from mlopt_edu.quantization.methods import Layer, weight_only
from mlopt_edu.quantization.packed_weight import PackedWeight
from mlopt_edu.quantization.straight_through import straight_through


class Packing(Protocol):
    """A method that can be asked for one weight: WeightOnly, NF4, Ternary, ..."""

    def pack(self, weight: Tensor) -> PackedWeight:
        """Return the weight, packed."""
        ...


class StraightThroughWeight(nn.Module):
    """A parametrization: the weight as a method packs it, with the gradient of itself.

    Args:
        method: Such as `WeightOnly(bits=4)`.
    """

    def __init__(self, method: Packing) -> None:
        super().__init__()
        self.method = method

    def forward(self, weight: Tensor) -> Tensor:
        """Return the rounded weight."""
        return straight_through(self.pack(weight).unpack(), weight)

    def pack(self, weight: Tensor) -> PackedWeight:
        """Return the rounded weight, packed."""
        return self.method.pack(weight.detach())

    def extra_repr(self) -> str:
        """Show the method."""
        return repr(self.method)


def train_quantized_(
    model: nn.Module,
    method: Packing | LearnedStep,
    *,
    input_bits: int | None = None,
    filter_fn: Filter = is_linear_or_conv,
) -> None:
    """Let layers compute with quantized weights while they are trained, in place.

    The model's parameters keep their identity, so an optimizer made before goes on; but
    for the steps of `LearnedStep`, which are new. Masks that are there already go on
    too: zeros stay zeros, except under `Binary`, and under `Codebook` unless it keeps
    them. Everything is in the state_dict; load it after the same call.

    A codebook is found anew on each call: slow, see `share_weights_`.

    Args:
        model: Any module that holds the layers; not a single layer itself.
        method: How weights are rounded: `LearnedStep`, or a method with `pack`.
        input_bits: 8 to round the layers' inputs as well, in a range that follows the
            batches of training. The weights must then be integers with a scale for
            each row, and layers take a byte a weight after training, whatever the bits.
        filter_fn: Says of a name and a module whether it is quantized.

    Raises:
        TypeError: If the filter chooses a module, or the method is one, that cannot be
            trained so.
        ValueError: If it chooses none, a weight is not finite, a layer is quantized
            already, or `input_bits` does not fit. Then the model is as it was.

    Example:
        >>> from mlopt_edu.quantization import WeightOnly
        >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> train_quantized_(model, WeightOnly(bits=2))
        >>> len(model[0].weight[0].unique()) <= 3
        True
    """
    if not isinstance(method, LearnedStep) and not hasattr(method, "pack"):
        raise TypeError(
            "method must be LearnedStep or one with pack, such as WeightOnly(bits=8), "
            f"got {type(method).__name__}"
        )
    if input_bits not in (None, 8):
        raise ValueError(f"input_bits must be 8 or None, got {input_bits}")
    quantizers: dict[str, LearnedStepWeight | StraightThroughWeight] = {}
    layers = choose_layers(model, filter_fn)
    for name, layer in layers.items():
        if _find_quantizer(layer) is not None:
            raise ValueError(
                f"layer {name!r} must not be quantized already; call finish_training_ "
                "first"
            )
        weight = layer.weight.detach()
        if not weight.isfinite().all():
            raise ValueError(f"layer {name!r}: weight must be finite, got inf or nan")
        quantizer = (
            method.parametrization(weight)
            if isinstance(method, LearnedStep)
            else StraightThroughWeight(method)
        )
        packed = quantizer.pack(weight)
        if input_bits is not None:
            _check_rows(name, packed)
        quantizers[name] = quantizer
    for name, layer in layers.items():
        parametrize.register_parametrization(layer, "weight", quantizers[name])
        if input_bits is not None:
            quantize_inputs_(layer)


def finish_training_(model: nn.Module) -> None:
    """Replace what `train_quantized_` prepared by layers that are really small.

    Weights are those that the layers computed with, bit for bit: `WeightOnlyLinear` and
    `WeightOnlyConv`, or with `input_bits=8` `Int8Linear` and `Int8Conv`, whose sums are
    exact and so differ from the trained ones by what float arithmetic rounds.
    Masks end in the weights. Tied weights are no longer tied.

    Args:
        model: A model after `train_quantized_`.

    Raises:
        ValueError: If no layer is prepared, a layer was parametrized afterwards, or one
            that rounds its inputs never saw any. Then the model is as it was.

    Example:
        >>> from mlopt_edu.quantization import WeightOnly
        >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> train_quantized_(model, WeightOnly(bits=2))
        >>> finish_training_(model)
        >>> type(model[0]).__name__
        'WeightOnlyLinear'
    """
    new = {
        name: _finished(name, layer, quantizer)
        for name, layer in model.named_modules()
        if isinstance(layer, Layer)
        and (quantizer := _find_quantizer(layer)) is not None
    }
    if not new:
        raise ValueError(
            "model must have a layer to finish, got none; call train_quantized_ first"
        )
    replace_modules_(model, new)


@torch.no_grad()
def _finished(
    name: str, layer: Layer, quantizer: LearnedStepWeight | StraightThroughWeight
) -> nn.Module:
    chain: Any = layer.parametrizations["weight"]  # type: ignore[index]
    *before, last = chain
    if last is not quantizer:
        raise ValueError(
            f"layer {name!r} must be quantized last, but {type(last).__name__} was "
            "registered after that; prune before train_quantized_"
        )
    originals = (
        [chain.original]
        if chain.is_tensor
        else [getattr(chain, f"original{i}") for i in range(chain.ntensors)]
    )
    for module in before:
        originals = [module(*originals)]
    packed = quantizer.pack(originals[0])
    inputs = getattr(layer, "input_quantizer", None)
    if inputs is None:
        return weight_only(layer, packed)
    if not inputs.batches:
        raise ValueError(
            f"layer {name!r} must have seen inputs in training mode, got none; train "
            "it, or leave it out by filter_fn"
        )
    _check_rows(name, packed)
    bias = None if layer.bias is None else layer.bias.detach().clone()
    values, scale = packed.values(), packed.scale.flatten()
    if isinstance(layer, nn.Linear):
        return Int8Linear(values, scale, bias, **inputs.format())
    return Int8Conv(values, scale, bias, ConvFormat.of(layer), **inputs.format())


def _find_quantizer(
    layer: nn.Module,
) -> LearnedStepWeight | StraightThroughWeight | None:
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    for module in layer.parametrizations["weight"]:  # type: ignore[index]
        if isinstance(module, LearnedStepWeight | StraightThroughWeight):
            return module
    return None


def _check_rows(name: str, packed: PackedWeight) -> None:
    """Raise unless a layer of int8 products can hold the weight."""
    format = packed.format
    is_plain = not (
        format.has_levels or format.has_zero_point or format.has_double_scale
    )
    if not is_plain or format.block_size < format.row:
        raise ValueError(
            "input_bits=8 needs integer weights with zero points of 0 and one scale a "
            f"row, which layer {name!r} would not have; leave out group_size, or "
            "choose WeightOnly, Ternary or LearnedStep"
        )
