r"""Second moments of inputs: all that a layer's output error depends on.

    mean over inputs x of ‖W x - W' x‖² = Σ over rows d of W - W' of dᵀ H d
    H = mean of x xᵀ

Half the Hessian of the error by a row of W' is the same H for all rows, which is its
name in the literature. It has the size of the input, however many batches there were.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlopt_edu.quantization.calibration import Batch, watch_inputs
from mlopt_edu.quantization.conv import ConvFormat
from mlopt_edu.quantization.methods import Layer
from mlopt_edu.quantization.products import windows


@dataclass(frozen=True)
class InputMoments:
    """What a layer's inputs were on average.

    Attributes:
        hessian: Mean of x xᵀ, float64 of shape (groups, columns, columns); a column is
            an input of a row of the weight, and groups are those of a convolution.
        magnitude: Mean of |x|, float64 of shape (groups, columns).
    """

    hessian: Tensor
    magnitude: Tensor


def input_moments(
    model: nn.Module, layers: Mapping[str, Layer], *, inputs: Iterable[Batch]
) -> dict[str, InputMoments]:
    """Run batches through a model in evaluation mode and average over layers' inputs.

    Args:
        model: The model; its mode is restored, its buffers stay.
        layers: Linear layers and convolutions, by name.
        inputs: Batches: each a tensor, or a tuple of positional arguments.

    Raises:
        ValueError: If there are no batches, an input is not finite, or a layer was
            never reached.
    """
    hessians: dict[str, Tensor] = {}
    magnitudes: dict[str, Tensor] = {}
    counts = dict.fromkeys(layers, 0)

    def see(name: str, x: Tensor) -> None:
        rows = input_rows(layers[name], x)
        if not rows.isfinite().all():
            raise ValueError(f"layer {name!r}: inputs must be finite, got inf or nan")
        product, sums = (rows.mT @ rows).double(), rows.abs().sum(1).double()
        counts[name] += rows.shape[1]
        if name in hessians:
            hessians[name] += product
            magnitudes[name] += sums
        else:
            hessians[name], magnitudes[name] = product, sums

    watch_inputs(model, layers, see, inputs=inputs)
    return {
        name: InputMoments(hessians[name] / count, magnitudes[name] / count)
        for name, count in counts.items()
    }


def input_rows(layer: Layer, x: Tensor) -> Tensor:
    """Return what the rows of a layer's weight are multiplied by.

    Args:
        layer: A linear layer or a convolution.
        x: Its input.

    Returns:
        Tensor of shape (groups, inputs, columns), at least float32.

    Example:
        >>> input_rows(nn.Conv2d(6, 4, 3, groups=2), torch.zeros(5, 6, 7, 7)).shape
        torch.Size([2, 125, 27])
    """
    x = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    if isinstance(layer, nn.Linear):
        return x.reshape(1, -1, layer.in_features)
    if x.ndim == layer.weight.ndim - 1:
        x = x[None]
    format = ConvFormat.of(layer)
    patches = windows(
        format.pad(x),
        layer.weight.shape[2:],
        stride=format.stride,
        dilation=format.dilation,
    )
    # The channels of a group are neighbours.
    rows = patches.reshape(-1, format.groups, layer.weight[0].numel())
    return rows.movedim(1, 0)
