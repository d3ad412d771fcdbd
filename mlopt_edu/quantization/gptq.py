r"""GPTQ: round one column after another, and let the later ones make up for the error.

    minimize  tr((W - W') H (W - W')ᵀ),  H = mean of x xᵀ over the inputs x
    H⁻¹ = Uᵀ U, U upper triangular
    for each column j:
        e = (W_j - round(W_j)) / U_jj
        W_k -= e U_jk for all later columns k

Given what is already rounded, that correction is the best one for the real columns that
are left. All rows go together, since they have the same H. A little damping of H, a
share of its mean diagonal, keeps it invertible.

The scale of a group is chosen when its first column is reached, from the weights as
they are then. `activation_order` takes the columns of the largest H_jj first; then the
columns of a group do not come together, so all scales come from the first weights.

Paper: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers", 2022, arXiv:2210.17323, Algorithm 1; the equations that it
speeds up are 2 and 3. Differs from the paper: everything in float64; an input that was
always 0 has its weights rounded to the nearest; convolutions by their windows.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mlopt_edu.quantization.affine import dequantize, integer_range, quantize
from mlopt_edu.quantization.apply import replace_modules_
from mlopt_edu.quantization.calibration import Batch, watch_inputs
from mlopt_edu.quantization.granularity import PerGroup
from mlopt_edu.quantization.methods import (
    Layer,
    check_group_size,
    pack_layers,
    size_of_groups,
)
from mlopt_edu.quantization.moments import input_moments
from mlopt_edu.quantization.packed_weight import PackedWeight
from mlopt_edu.quantization.weights import quantize_weight

_BLOCK = 128


def gptq_round(
    weight: Tensor,
    hessian: Tensor,
    *,
    bits: int = 4,
    group_size: int | None = None,
    symmetric: bool = True,
    search: bool = False,
    damping: float = 0.01,
    activation_order: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Round a weight to integers so that the layer's output changes little.

    Args:
        weight: Tensor of at least 2 dimensions; the first counts the outputs, the
            others together the columns.
        hessian: Mean of x xᵀ over the inputs, shape (columns, columns); its size does
            not matter.
        bits: Bits of an integer, from 2 to 16.
        group_size: Neighbours in a row that share a scale; None for the whole row.
        symmetric: Zero points 0.
        search: Clip each group where the squared error is least.
        damping: Share of the mean diagonal that is added to the diagonal, at least 0.
        activation_order: Take the columns of the largest inputs first.

    Returns:
        Integers of the shape of `weight`; scales and zero points of shape (blocks, 1),
        as `quantize_weight` with `PerGroup(group_size)` returns them.

    Raises:
        ValueError: If a shape does not fit, a number is not finite or out of its range,
            or the damped Hessian is not positive definite.

    Example:
        >>> weight = torch.tensor([[7.0, 2.4, 2.4]])  # the last two inputs are alike
        >>> hessian = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.9], [0.0, 0.9, 1.0]])
        >>> gptq_round(weight, hessian)[0]  # what the second lost, the third gets
        tensor([[7, 2, 3]], dtype=torch.int8)
    """
    integer_range(bits)  # refuses others
    check_group_size(group_size)
    real = weight.detach().flatten(1).double()
    columns = real.shape[1]
    if hessian.shape != (columns, columns):
        raise ValueError(
            f"hessian must have shape {(columns, columns)} for a weight of shape "
            f"{tuple(weight.shape)}, got {tuple(hessian.shape)}"
        )
    if not (real.isfinite().all() and hessian.isfinite().all()):
        raise ValueError("weight and hessian must be finite, got inf or nan")
    if not damping >= 0:
        raise ValueError(f"damping must be at least 0, got {damping}")
    size = size_of_groups(weight, group_size)
    diagonal = hessian.diagonal()
    order = torch.arange(columns, device=real.device)
    if activation_order:
        order = diagonal.argsort(descending=True, stable=True)
    correction = _correction(hessian[order][:, order], damping)

    def scales_of(part: Tensor) -> tuple[Tensor, Tensor]:
        _, scale, zero_point = quantize_weight(
            part,
            bits=bits,
            granularity=PerGroup(size),
            symmetric=symmetric,
            search=search,
        )
        shape = (len(part), -1)
        return scale.reshape(shape), zero_point.reshape(shape)

    scale, zero_point = scales_of(real)
    real = real[:, order]
    values = torch.empty_like(real, dtype=torch.int8 if bits <= 8 else torch.int16)
    # Within a block the columns are corrected one by one, the rest by one product when
    # it is done: 5 times as fast at 1024 columns. Blocks end where groups do, so that
    # the scale of a group sees all corrections.
    starts = sorted({*range(0, columns, _BLOCK), *range(0, columns, size)})
    for start, end in zip(starts, [*starts[1:], columns], strict=True):
        if start % size == 0 and not activation_order:
            group = start // size
            ends = scales_of(real[:, start : start + size])
            scale[:, group : group + 1], zero_point[:, group : group + 1] = ends
        errors = real.new_empty(len(real), end - start)
        for j in range(start, end):
            group = int(order[j]) // size
            grid = scale[:, group], zero_point[:, group]
            values[:, j] = quantize(real[:, j], *grid, bits=bits, symmetric=symmetric)
            error = real[:, j] - dequantize(values[:, j], *grid)
            error /= correction[j, j]
            real[:, j:end] -= error[:, None] * correction[j, j:end]
            errors[:, j - start] = error
        real[:, end:] -= errors @ correction[start:end, end:]
    in_place = torch.empty_like(values)
    in_place[:, order] = values
    scale = scale.to(torch.promote_types(weight.dtype, torch.float32))
    return (
        in_place.reshape(weight.shape),
        scale.reshape(-1, 1),
        zero_point.reshape(-1, 1),
    )


def _correction(hessian: Tensor, damping: float) -> Tensor:
    """Return the upper Cholesky factor of the inverse of the damped Hessian."""
    damped = hessian.double().clone()
    diagonal = damped.diagonal()  # a view
    diagonal += damping * diagonal.mean()
    diagonal[diagonal == 0] = 1  # such a column is connected with no other
    try:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
        upper: Tensor = torch.linalg.cholesky(inverse, upper=True)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise ValueError(
            "hessian must be positive definite once it is damped, and is not at "
            f"damping {damping}: take more"
        ) from error
    return upper


@dataclass(frozen=True, kw_only=True)
class GPTQ:
    """Integer weights of few bits, rounded so that outputs change little.

    The layers are taken in the order in which they are called, and each sees the inputs
    that come from those that are already rounded: all batches run once for each layer.

    Args:
        inputs: Batches: each a tensor, or a tuple of the model's positional arguments.
        bits: Bits of a weight, from 2 to 8.
        group_size: Neighbours in a row that share a scale; None for the whole row.
        symmetric: Zero points 0; else one for each group.
        search: Clip each group where the squared error is least.
        damping: Share of the mean diagonal that is added to the Hessian's diagonal.
        activation_order: Take the columns of the largest inputs first.

    Raises:
        ValueError: If a number is out of its range.
    """

    inputs: Iterable[Batch]
    bits: int = 4
    group_size: int | None = None
    symmetric: bool = True
    search: bool = False
    damping: float = 0.01
    activation_order: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits must lie between 2 and 8, got {self.bits}")
        check_group_size(self.group_size)
        if not self.damping >= 0:
            raise ValueError(f"damping must be at least 0, got {self.damping}")

    def replacements(
        self, model: nn.Module, layers: Mapping[str, Layer]
    ) -> dict[str, nn.Module]:
        """Run the batches through a copy of the model, and return packed layers."""
        inputs = list(self.inputs)
        order: dict[str, None] = {}
        watch_inputs(
            model, layers, lambda name, x: order.setdefault(name), inputs=inputs
        )
        rounded = copy.deepcopy(model)
        for name in order:
            layer = layers[name]
            here = {name: cast(Layer, rounded.get_submodule(name))}
            moments = input_moments(rounded, here, inputs=inputs)[name]

            def pack(
                weight: Tensor, hessians: Tensor = moments.hessian
            ) -> PackedWeight:
                return self.pack(weight, hessians)

            try:
                replace_modules_(rounded, pack_layers({name: layer}, pack))
            except ValueError as error:
                raise ValueError(f"layer {name!r}: {error}") from error
        return {name: rounded.get_submodule(name) for name in layers}

    def pack(self, weight: Tensor, hessian: Tensor) -> PackedWeight:
        """Return the weight, packed.

        Args:
            weight: Tensor of at least 2 dimensions.
            hessian: Shape (columns, columns), or (groups, columns, columns) for a
                convolution of so many groups.
        """
        size = size_of_groups(weight, self.group_size)
        hessians = hessian[None] if hessian.ndim == 2 else hessian
        parts = [
            gptq_round(
                rows,
                hessian,
                bits=self.bits,
                group_size=size,
                symmetric=self.symmetric,
                search=self.search,
                damping=self.damping,
                activation_order=self.activation_order,
            )
            for rows, hessian in zip(weight.chunk(len(hessians)), hessians, strict=True)
        ]
        values, scale, zero_point = map(torch.cat, zip(*parts, strict=True))
        return PackedWeight.pack(
            values,
            bits=self.bits,
            block_size=size,
            scale=scale,
            zero_point=zero_point,
            dtype=weight.dtype,
        )
