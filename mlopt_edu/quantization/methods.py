r"""Methods: each says how a layer is replaced, and holds its settings.

What a setting means stands with its equation: `affine` and `weights` for integers,
`nf4`, `ternary`, `binary` and `codebook` for the others. A method with `pack` keeps the
inputs real and can be asked for a single weight: `NF4().pack(weight).unpack()`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from mlopt_edu.quantization.binary import binarize
from mlopt_edu.quantization.calibration import Batch, observe_inputs
from mlopt_edu.quantization.codebook import kmeans_codebook
from mlopt_edu.quantization.conv import Conv, ConvFormat, Int8Conv, WeightOnlyConv
from mlopt_edu.quantization.granularity import PerGroup
from mlopt_edu.quantization.linear import Int8Linear, WeightOnlyLinear
from mlopt_edu.quantization.nf4 import nf4_levels, nf4_quantize
from mlopt_edu.quantization.observers import MinMaxObserver, Observer
from mlopt_edu.quantization.packed_weight import PackedWeight
from mlopt_edu.quantization.ternary import optimal_ternary, ternarize
from mlopt_edu.quantization.weights import quantize_weight

Layer = nn.Linear | Conv


class Quantization(Protocol):
    """A method: how the chosen layers of a model are replaced."""

    def replacements(
        self, model: nn.Module, layers: Mapping[str, Layer]
    ) -> dict[str, nn.Module]:
        """Return what each layer becomes; the model stays as it is."""
        ...


@dataclass(frozen=True)
class Int8Dynamic:
    """8-bit weights times 8-bit inputs, with scales taken from each input as it comes.

    Linear layers have a scale for each row, convolutions one for each example.
    """

    def replacements(
        self, model: nn.Module, layers: Mapping[str, Layer]
    ) -> dict[str, nn.Module]:
        """Return int8 layers."""
        return {name: _int8(name, layer, None) for name, layer in layers.items()}


@dataclass(frozen=True, kw_only=True)
class Int8Static:
    """8-bit weights times 8-bit inputs, with fixed scales from calibration.

    Saves looking at each input, and costs accuracy where inputs leave what was seen.

    Args:
        inputs: Batches: each a tensor, or a tuple of the model's positional arguments.
        observer: Makes what chooses the range of a layer's inputs.
    """

    inputs: Iterable[Batch]
    observer: Callable[[], Observer] = MinMaxObserver

    def replacements(
        self, model: nn.Module, layers: Mapping[str, Layer]
    ) -> dict[str, nn.Module]:
        """Run the batches through the model, and return int8 layers."""
        ranges = observe_inputs(
            model, layers, inputs=self.inputs, observer=self.observer
        )
        return {
            name: _int8(name, layer, ranges[name]) for name, layer in layers.items()
        }


@dataclass(frozen=True, kw_only=True)
class WeightOnly:
    """Integer weights of few bits, inputs as they are.

    Args:
        bits: Bits of a weight, from 2 to 8.
        group_size: Neighbours in a row that share a scale; None for the whole row.
        symmetric: Zero points 0; else one for each group.
        search: Clip each group where the squared error is least.

    Raises:
        ValueError: If a number is out of its range.
    """

    bits: int = 8
    group_size: int | None = None
    symmetric: bool = True
    search: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits must lie between 2 and 8, got {self.bits}")
        check_group_size(self.group_size)

    def pack(self, weight: Tensor) -> PackedWeight:
        """Return the weight, packed."""
        size = size_of_groups(weight, self.group_size)
        values, scale, zero_point = quantize_weight(
            weight,
            bits=self.bits,
            granularity=PerGroup(size),
            symmetric=self.symmetric,
            search=self.search,
        )
        return PackedWeight.pack(
            values,
            bits=self.bits,
            block_size=size,
            scale=scale,
            zero_point=zero_point,
            dtype=weight.dtype,
        )

    def replacements(
        self, model: nn.Module, layers: Mapping[str, Layer]
    ) -> dict[str, nn.Module]:
        """Return layers with packed weights."""
        return pack_layers(layers, self.pack)


@dataclass(frozen=True, kw_only=True)
class NF4:
    """16 levels that suit normally distributed weights, and a scale for each block.

    Args:
        block_size: Neighbours in a row that share a scale, at least 1.
        double: Quantize the scales as well.

    Raises:
        ValueError: If `block_size` is out of its range.
    """

    block_size: int = 64
    double: bool = False

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise ValueError(f"block_size must be at least 1, got {self.block_size}")

    def pack(self, weight: Tensor) -> PackedWeight:
        """Return the weight, packed."""
        size = size_of_groups(weight, self.block_size)
        codes, scale = nf4_quantize(weight, block_size=size)
        return PackedWeight.pack(
            codes,
            bits=4,
            block_size=size,
            levels=nf4_levels(),
            scale=scale,
            double=self.double,
            dtype=weight.dtype,
        )

    def replacements(
        self, model: nn.Module, layers: Mapping[str, Layer]
    ) -> dict[str, nn.Module]:
        """Return layers with packed weights."""
        return pack_layers(layers, self.pack)


@dataclass(frozen=True, kw_only=True)
class Ternary:
    """Weights -scale, 0 and scale: 2 bits each.

    Args:
        threshold: Share of a block's mean absolute value below which weights become 0,
            at least 0; None looks for the best one.
        group_size: Neighbours in a row that share a scale; None for the whole row.

    Raises:
        ValueError: If a number is out of its range.
    """

    threshold: float | None = 0.75
    group_size: int | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not self.threshold >= 0:
            raise ValueError(f"threshold must be at least 0, got {self.threshold}")
        check_group_size(self.group_size)

    def pack(self, weight: Tensor) -> PackedWeight:
        """Return the weight, packed."""
        size = size_of_groups(weight, self.group_size)
        groups = PerGroup(size)
        codes, scale = (
            optimal_ternary(weight, granularity=groups)
            if self.threshold is None
            else ternarize(weight, threshold=self.threshold, granularity=groups)
        )
        return PackedWeight.pack(
            codes, bits=2, block_size=size, scale=scale, dtype=weight.dtype
        )

    def replacements(
        self, model: nn.Module, layers: Mapping[str, Layer]
    ) -> dict[str, nn.Module]:
        """Return layers with packed weights."""
        return pack_layers(layers, self.pack)


@dataclass(frozen=True, kw_only=True)
class Binary:
    """Weights -scale and scale: 1 bit each.

    Args:
        group_size: Neighbours in a row that share a scale; None for the whole row.

    Raises:
        ValueError: If `group_size` is out of its range.
    """

    group_size: int | None = None

    def __post_init__(self) -> None:
        check_group_size(self.group_size)

    def pack(self, weight: Tensor) -> PackedWeight:
        """Return the weight, packed."""
        size = size_of_groups(weight, self.group_size)
        signs, scale = binarize(weight, granularity=PerGroup(size))
        return PackedWeight.pack(
            (signs > 0).to(torch.uint8),
            bits=1,
            block_size=size,
            levels=torch.tensor([-1.0, 1.0]),
            scale=scale,
            dtype=weight.dtype,
        )

    def replacements(
        self, model: nn.Module, layers: Mapping[str, Layer]
    ) -> dict[str, nn.Module]:
        """Return layers with packed weights."""
        return pack_layers(layers, self.pack)


@dataclass(frozen=True, kw_only=True)
class Codebook:
    """2^bits values for each layer, found by k-means.

    Args:
        bits: Bits of an index, from 1 to 8.
        keep_zeros: Keep pruned weights exactly 0.

    Raises:
        ValueError: If `bits` is out of its range.
    """

    bits: int = 5
    keep_zeros: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise ValueError(f"bits must lie between 1 and 8, got {self.bits}")

    def pack(self, weight: Tensor) -> PackedWeight:
        """Return the weight, packed."""
        levels, indices = kmeans_codebook(
            weight, bits=self.bits, keep_zeros=self.keep_zeros
        )
        return PackedWeight.pack(
            indices, bits=self.bits, levels=levels, dtype=weight.dtype
        )

    def replacements(
        self, model: nn.Module, layers: Mapping[str, Layer]
    ) -> dict[str, nn.Module]:
        """Return layers with packed weights."""
        return pack_layers(layers, self.pack)


def _int8(
    name: str, layer: Layer, input_range: tuple[Tensor, Tensor] | None
) -> nn.Module:
    try:
        if isinstance(layer, nn.Linear):
            return Int8Linear.from_linear(layer, input_range=input_range)
        return Int8Conv.from_conv(layer, input_range=input_range)
    except ValueError as error:
        raise ValueError(f"layer {name!r}: {error}") from error


def pack_layers(
    layers: Mapping[str, Layer], pack: Callable[[Tensor], PackedWeight]
) -> dict[str, nn.Module]:
    """Return layers with the weights that `pack` makes, and the biases as they are."""
    new: dict[str, nn.Module] = {}
    for name, layer in layers.items():
        if not layer.weight.isfinite().all():
            raise ValueError(f"layer {name!r}: weight must be finite, got inf or nan")
        new[name] = weight_only(layer, pack(layer.weight.detach()))
    return new


def weight_only(layer: Layer, packed: PackedWeight) -> nn.Module:
    """Return the layer with a packed weight, and the bias as it is."""
    bias = None if layer.bias is None else layer.bias.detach().clone()
    if isinstance(layer, nn.Linear):
        return WeightOnlyLinear(packed, bias)
    return WeightOnlyConv(packed, bias, ConvFormat.of(layer))


def size_of_groups(weight: Tensor, size: int | None) -> int:
    """Return how many entries of a row share a scale: no more than it has."""
    row = weight[0].numel()
    return row if size is None else min(size, row)


def check_group_size(size: int | None) -> None:
    """Refuse a size that no group can have."""
    if size is not None and size < 1:
        raise ValueError(f"group_size must be at least 1, got {size}")
