r"""AWQ: enlarge the weights that meet large inputs, so that rounding hurts them less.

    s = magnitude^alpha
    alpha = argmin over a grid in [0, 1] of ‖Q(W diag(s)) diag(s)⁻¹ X - W X‖²

A hundredth of the weights, those that meet the largest inputs, make most of the error.
Multiplied by s they are rounded more finely, while the scale of their group hardly
grows; alpha = 0 is plain rounding, so the error on the calibration data is never above
it. The input is divided by s in front of the layer, as in `rescaling`.

Paper: Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and
Acceleration", 2023, arXiv:2306.00978, equations 4 and 5. Differs from the paper: the
error is computed from the second moments of all inputs, not from a sample of them;
symmetric integers unless told otherwise; clipping is `search`, which is chosen for the
weight's error.
"""

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mlopt_edu.quantization.calibration import Batch
from mlopt_edu.quantization.granularity import PerGroup
from mlopt_edu.quantization.methods import (
    Layer,
    WeightOnly,
    check_group_size,
    size_of_groups,
)
from mlopt_edu.quantization.moments import input_moments
from mlopt_edu.quantization.rescaling import find_families, rescale_
from mlopt_edu.quantization.scaled_input import ScaledInput
from mlopt_edu.quantization.weights import dequantize_weight, quantize_weight


def awq_scale(
    weight: Tensor,
    hessian: Tensor,
    magnitude: Tensor,
    *,
    bits: int = 4,
    group_size: int | None = 128,
    symmetric: bool = True,
    search: bool = False,
    grid: int = 20,
) -> Tensor:
    """Return the factors of the columns with the least output error.

    Args:
        weight: Tensor of shape (out_features, in_features).
        hessian: Mean of x xᵀ over the inputs, shape (in_features, in_features).
        magnitude: Mean of |x| of each input, shape (in_features,).
        bits: Bits of an integer, from 2 to 16.
        group_size: Neighbours in a row that share a scale; None for the whole row.
        symmetric: Zero points 0.
        search: Clip each group where the squared error is least.
        grid: Steps of alpha between 0 and 1, at least 1.

    Returns:
        Factors above 0, float64 of shape (in_features,); the largest times the smallest
        is 1.

    Raises:
        ValueError: If a shape does not fit, or a number is not finite or out of its
            range.

    Example:
        >>> weight = torch.tensor([[0.3, 1.0]])
        >>> x = torch.tensor([100.0, 1.0])
        >>> awq_scale(weight, torch.outer(x, x), x, bits=2) > 1
        tensor([ True, False])
    """
    columns = weight.shape[-1]
    if (
        weight.ndim != 2
        or hessian.shape != (columns, columns)
        or magnitude.shape != (columns,)
    ):
        raise ValueError(
            "weight, hessian and magnitude must have shapes (m, n), (n, n) and (n,), "
            f"got {tuple(weight.shape)}, {tuple(hessian.shape)} and "
            f"{tuple(magnitude.shape)}"
        )
    if grid < 1:
        raise ValueError(f"grid must be at least 1, got {grid}")
    check_group_size(group_size)
    if not all(x.isfinite().all() for x in (weight, hessian, magnitude)):
        raise ValueError("weight, hessian and magnitude must be finite, got inf or nan")
    real, hessian = weight.detach().double(), hessian.double()
    groups = PerGroup(size_of_groups(weight, group_size))
    # An input that was always 0 may come all the same, so its weights must stay.
    magnitude = magnitude.double()
    magnitude = magnitude.clamp(min=1e-4 * magnitude.max())
    if not magnitude.max():
        magnitude = torch.ones_like(magnitude)
    best, least = torch.ones_like(magnitude), math.inf
    for step in range(grid + 1):
        scale = magnitude ** (step / grid)
        scale = scale / (scale.max() * scale.min()).sqrt()
        quantized = quantize_weight(
            real * scale,
            bits=bits,
            granularity=groups,
            symmetric=symmetric,
            search=search,
        )
        change = dequantize_weight(*quantized, granularity=groups) / scale - real
        error = ((change @ hessian) * change).sum().item()
        if error < least:
            best, least = scale, error
    return best


@dataclass(frozen=True, kw_only=True)
class AWQ:
    """Integer weights of few bits, rescaled so that those of large inputs stay exact.

    A norm or linear layer in front of a chosen layer takes over the division, where the
    first batch shows that nobody else reads what it makes, and is replaced too. Else
    the layer becomes a `ScaledInput` around a packed one.

    Args:
        inputs: Batches: each a tensor, or a tuple of the model's positional arguments.
        bits: Bits of a weight, from 2 to 8.
        group_size: Neighbours in a row that share a scale; None for the whole row.
        symmetric: Zero points 0; else one for each group.
        search: Clip each group where the squared error is least.
        grid: Steps of alpha between 0 and 1, at least 1.

    Raises:
        ValueError: If a number is out of its range.
    """

    inputs: Iterable[Batch]
    bits: int = 4
    group_size: int | None = 128
    symmetric: bool = True
    search: bool = False
    grid: int = 20

    def __post_init__(self) -> None:
        self._rounding()  # refuses what it cannot do
        if self.grid < 1:
            raise ValueError(f"grid must be at least 1, got {self.grid}")

    def replacements(
        self, model: nn.Module, layers: Mapping[str, Layer]
    ) -> dict[str, nn.Module]:
        """Run the batches through the model; return packed layers and their sources."""
        inputs = list(self.inputs)
        moments = input_moments(model, layers, inputs=inputs)
        rescaled = copy.deepcopy(model)
        families = find_families(model, layers, inputs[0])
        for family in families:
            first = moments[family.layers[0]]
            scale = awq_scale(
                torch.cat([layers[name].weight for name in family.layers]),
                first.hessian[0],
                first.magnitude[0],
                bits=self.bits,
                group_size=self.group_size,
                symmetric=self.symmetric,
                search=self.search,
                grid=self.grid,
            )
            rescale_(rescaled, family, scale)
        new = {
            family.source: rescaled.get_submodule(family.source)
            for family in families
            if family.source is not None
        }
        for name in layers:
            layer = rescaled.get_submodule(name)
            inner = cast(
                Layer, layer.layer if isinstance(layer, ScaledInput) else layer
            )
            packed = self._rounding().replacements(rescaled, {name: inner})[name]
            if isinstance(layer, ScaledInput):
                layer.layer = packed
                new[name] = layer
            else:
                new[name] = packed
        return new

    def _rounding(self) -> WeightOnly:
        return WeightOnly(
            bits=self.bits,
            group_size=self.group_size,
            symmetric=self.symmetric,
            search=self.search,
        )
