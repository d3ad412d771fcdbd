r"""SmoothQuant: make inputs easier to quantize, and weights a little harder.

    s_j = max|X_j|^alpha / max|W_j|^(1 - alpha)
    W x = (W diag(s)) (diag(s)⁻¹ x)

Some features of a transformer's inputs are a hundred times larger than the others, and
always the same ones. One scale for the whole input then rounds the others to 0. Divided
by s, all features are about as large; the weights, which had no outliers, take over a
part of the spread. At alpha = 1 all of it moves into the weights, at 0 the weights'
own spread moves into the inputs.

Paper: Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for
Large Language Models", 2022, arXiv:2211.10438, equations 3 and 4. Differs from the
paper: a layer whose input no norm or linear layer can divide gets a division of its
own; a feature that was always 0 keeps the factor 1.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mlopt_edu.quantization.apply import Filter, choose_layers, is_linear
from mlopt_edu.quantization.calibration import Batch, watch_inputs
from mlopt_edu.quantization.rescaling import find_families, rescale_


def smoothing_scale(
    input_max: Tensor, weight_max: Tensor, *, alpha: float = 0.5
) -> Tensor:
    """Return the factor by which each input is divided and each column multiplied.

    Args:
        input_max: Largest |x| of each feature, shape (in_features,).
        weight_max: Largest |w| of each column, same shape.
        alpha: How much of the inputs' spread moves into the weights, in [0, 1].

    Returns:
        Factors above 0, same shape; 1 where a maximum is 0.

    Raises:
        ValueError: If `alpha` is out of its range, or a maximum not finite.

    Example:
        >>> smoothing_scale(torch.tensor([100.0, 1.0]), torch.tensor([1.0, 1.0]))
        tensor([10.,  1.])
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    if not (input_max.isfinite() & weight_max.isfinite()).all():
        raise ValueError("input_max and weight_max must be finite, got inf or nan")
    scale = input_max**alpha / weight_max ** (1 - alpha)
    return torch.where((input_max == 0) | (weight_max == 0), 1.0, scale)


def smooth_(
    model: nn.Module,
    *,
    inputs: Iterable[Batch],
    alpha: float = 0.5,
    filter_fn: Filter = is_linear,
) -> None:
    """Move outliers from the inputs of linear layers into their weights, in place.

    The model computes the same. Quantize it afterwards, with
    `quantize_(model, Int8Static(inputs=batches))`.

    The division is done by the norm or linear layer in front where the first batch
    shows that nobody else reads what it makes; else by a `ScaledInput`, and the layer
    "name" is then "name.layer".

    Args:
        model: Any module that holds the layers; not a single layer itself.
        inputs: Batches: each a tensor, or a tuple of positional arguments.
        alpha: How much of the inputs' spread moves into the weights, in [0, 1].
        filter_fn: Says of a name and a module whether it is smoothed.

    Raises:
        TypeError: If the filter chooses a module that is no linear layer.
        ValueError: If it chooses none, a batch does not reach one, or a number is not
            finite or out of its range. Then the model is as it was.
    """
    layers = choose_layers(model, filter_fn)
    batches = list(inputs)
    largest: dict[str, Tensor] = {}

    def see(name: str, x: Tensor) -> None:
        most = x.detach().abs().reshape(-1, x.shape[-1]).amax(0)
        largest[name] = torch.maximum(largest.get(name, most), most)

    watch_inputs(model, layers, see, inputs=batches)
    rescaled = []
    for family in find_families(model, layers, batches[0]):
        weights = torch.cat([layers[name].weight.detach() for name in family.layers])
        scale = smoothing_scale(
            largest[family.layers[0]].double(),
            weights.abs().amax(0).double(),
            alpha=alpha,
        )
        rescaled.append((family, scale))
    for family, scale in rescaled:
        rescale_(model, family, scale)
