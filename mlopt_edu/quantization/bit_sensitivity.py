r"""How much the loss rises when a layer gets few bits, measured or estimated.

Measured (`bit_sensitivity`): round this layer alone, and look. Estimated
(`hessian_sensitivity`) from one number of each layer, the trace of the loss's Hessian H
by its weight W:

    rise = ½ · (tr H / weights) · ‖W - W'‖²

the second-order rise for a change of that size in an average direction. The trace is
the mean of vᵀ H v over vectors v of random signs.

Paper: Dong et al., "HAWQ-V2: Hessian Aware trace-Weighted Quantization of Neural
Networks", 2019, arXiv:1911.03852 (mean trace times squared error, traces by random
signs); sensitivity by Hessians: HAWQ, 2019, arXiv:1905.03696. Differs from the paper:
the factor ½; any method of rounding; activations stay real.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mlopt_edu.quantization.apply import (
    Filter,
    choose_layers,
    is_linear,
    replace_modules_,
    without_parametrizations,
)
from mlopt_edu.quantization.methods import Quantization, WeightOnly

Loss = Callable[[nn.Module], Tensor | float]


def bit_sensitivity(
    model: nn.Module,
    loss: Loss,
    *,
    bits: Sequence[int] = (2, 3, 4, 8),
    method: Callable[[int], Quantization] = lambda bits: WeightOnly(bits=bits),
    filter_fn: Filter = is_linear,
) -> dict[str, dict[int, float]]:
    """Quantize one layer at a time, on copies, and measure how much the loss rises.

    Args:
        model: Left as it is.
        loss: Called with a model, returns a scalar; always on the same data.
        bits: Widths to try.
        method: Makes the method from a width:
            `lambda bits: GPTQ(inputs=batches, bits=bits)`.
        filter_fn: Says of a name and a module whether it is scanned.

    Returns:
        For each layer's name and each width the loss less that of the float model.

    Raises:
        TypeError, ValueError: As `quantize_`.
    """
    layers = choose_layers(model, filter_fn)
    start = _value(loss, copy.deepcopy(model))
    rises: dict[str, dict[int, float]] = {}
    for name in layers:
        rises[name] = {}
        for width in bits:
            rounded = copy.deepcopy(model)
            alone = {name: choose_layers(rounded, filter_fn)[name]}
            replace_modules_(rounded, method(width).replacements(rounded, alone))
            rises[name][width] = _value(loss, rounded) - start
    return rises


@torch.no_grad()
def _value(loss: Loss, model: nn.Module) -> float:
    return float(loss(model))


def hessian_sensitivity(
    model: nn.Module,
    loss: Callable[[nn.Module], Tensor],
    *,
    bits: Sequence[int] = (2, 3, 4, 8),
    method: Callable[[int], Quantization] = lambda bits: WeightOnly(bits=bits),
    filter_fn: Filter = is_linear,
    samples: int = 32,
    generator: torch.Generator | None = None,
) -> dict[str, dict[int, float]]:
    """Estimate how much the loss rises when one layer is quantized.

    It costs a gradient for each layer and sample, however many widths there are. The
    loss should be at its minimum: the gradient is left out.

    Args:
        model: Left as it is.
        loss: Called with a model, returns a scalar that can be differentiated twice.
        bits: Widths to try.
        method: Makes the method from a width; one that changes weights alone.
        filter_fn: Says of a name and a module whether it is scanned.
        samples: Random sign vectors, at least 1.
        generator: Draws the signs.

    Returns:
        For each layer's name and each width the estimated rise.

    Raises:
        TypeError, ValueError: As `quantize_`; ValueError if the loss does not depend on
            a layer or `samples` is below 1.
    """
    traces = hessian_traces(
        model, loss, filter_fn=filter_fn, samples=samples, generator=generator
    )
    layers = choose_layers(model, filter_fn)
    rises: dict[str, dict[int, float]] = {name: {} for name in layers}
    for width in bits:
        rounded = method(width).replacements(model, layers)
        for name, layer in layers.items():
            weight, new = layer.weight.detach().double(), rounded[name].weight
            change = new.double() - weight  # type: ignore[operator]
            curvature = traces[name] / weight.numel()
            rises[name][width] = curvature * change.square().sum().item() / 2
    return rises


def hessian_traces(
    model: nn.Module,
    loss: Callable[[nn.Module], Tensor],
    *,
    filter_fn: Filter = is_linear,
    samples: int = 32,
    generator: torch.Generator | None = None,
) -> dict[str, float]:
    """Estimate the trace of the loss's Hessian by each layer's weight (Hutchinson).

    Exact if that Hessian is diagonal; else the error falls as 1 / sqrt(samples). One
    layer at a time: the others' parts are 0 on average, but would add noise.

    Args:
        model: Left as it is.
        loss: Called with a model, returns a scalar that can be differentiated twice.
        filter_fn: Says of a name and a module whether it is scanned.
        samples: Random sign vectors, at least 1.
        generator: Draws the signs.

    Returns:
        The trace for each layer's name.

    Raises:
        ValueError: If `samples` is below 1, or the loss does not depend on a layer.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    copied = copy.deepcopy(model)
    layers = {
        name: without_parametrizations(layer)
        for name, layer in choose_layers(copied, filter_fn).items()
    }
    replace_modules_(copied, layers)
    weights = [layer.weight.requires_grad_(True) for layer in layers.values()]
    # The fused attention kernels have no second derivative.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        grads = torch.autograd.grad(
            loss(copied), weights, create_graph=True, allow_unused=True
        )
    for name, grad in zip(layers, grads, strict=True):
        if grad is None:
            raise ValueError(
                f"loss must depend on every chosen layer, but not on {name!r}; leave "
                "it out by filter_fn"
            )
    traces = {}
    for name, weight, grad in zip(layers, weights, grads, strict=True):
        traces[name] = 0.0
        for _ in range(samples if grad.requires_grad else 0):  # else it is constant
            v = _signs(weight, generator)
            (product,) = torch.autograd.grad(
                grad, weight, v, retain_graph=True, materialize_grads=True
            )
            traces[name] += (product * v).sum().item() / samples
    return traces


def _signs(weight: Tensor, generator: torch.Generator | None) -> Tensor:
    half = torch.full(weight.shape, 0.5, dtype=weight.dtype)
    return (2 * torch.bernoulli(half, generator=generator) - 1).to(weight.device)
