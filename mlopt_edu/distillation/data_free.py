r"""Distillation without the training data: inputs that are drawn or made.

    noise     x = mean + std · n, or with the data's covariance:
              x = mean + (data - mean)' n / sqrt(N - 1),   n normal
    made      minimize over x:  cross_entropy(teacher(x), label)
              + statistics_weight · sum over batch norms (‖mean(h) - running_mean‖
                                                        + ‖var(h) - running_var‖)
              + variation_weight · total variation(x) + norm_weight · mean x²

h is what enters a batch norm. A trained net remembers in these layers how its training
data looked on the inside; inputs that look so too are inputs it knows.

Paper: Yin et al., "Dreaming to Distill: Data-free Knowledge Transfer via
DeepInversion", 2019, arXiv:1912.08795, equations 1 to 4. Differs from the paper: the
total variation is a mean of absolute differences; no random shifts of the images while
they are made, and no term for what the student gets wrong.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from mlopt_edu.distillation.logits import check_factor, check_positive
from mlopt_edu.distillation.teacher import frozen


def matched_noise(
    data: Tensor,
    count: int,
    *,
    covariance: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw normal noise with the mean and spread of every entry of some data.

    Args:
        data: Floating-point tensor of shape (samples, ...), at least 2 samples.
        count: Number of inputs to draw, at least 0.
        covariance: Match the covariance of all entries as well: neighbouring pixels
            then agree as they do in the data.
        generator: Draws the noise.

    Returns:
        Tensor of shape (count, ...), type and device of `data`.

    Raises:
        ValueError: If there are fewer than 2 samples or `count` is negative.

    Example:
        >>> data = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
        >>> noise = matched_noise(data, 1000, generator=torch.manual_seed(0))
        >>> noise.mean(0).round(), noise.std(0).round(decimals=1)
        (tensor([2., 5.]), tensor([1.4000, 0.0000]))
    """
    if data.ndim < 1 or len(data) < 2 or not data.is_floating_point():
        raise ValueError(
            "data must be a floating-point tensor of at least 2 samples, got "
            f"{data.dtype} of shape {tuple(data.shape)}"
        )
    if count < 0:
        raise ValueError(f"count must be at least 0, got {count}")
    draw = partial(
        torch.randn, generator=generator, dtype=data.dtype, device=data.device
    )
    mean = data.mean(0)
    if not covariance:
        noise: Tensor = draw(count, *data.shape[1:])
        return mean + data.std(0) * noise
    centered = (data - mean).flatten(1) / math.sqrt(len(data) - 1)
    noise = draw(count, len(data)) @ centered
    return mean + noise.reshape(count, *data.shape[1:])


def statistics_gap(features: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """Return how far a batch's statistics of channels are from given ones.

    Args:
        features: Tensor of shape (batch, channels, ...).
        mean: Means to match, shape (channels,).
        var: Variances to match, shape (channels,).

    Returns:
        Scalar: the length of the difference of the means plus that of the variances.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [1.0, 8.0]])
        >>> mean, var = torch.tensor([4.0, 0.0]), torch.tensor([0.0, 16.0])
        >>> statistics_gap(features, mean, var)
        tensor(5.)
    """
    dims = [dim for dim in range(features.ndim) if dim != 1]
    batch_var, batch_mean = torch.var_mean(features, dim=dims, correction=0)
    return torch.dist(batch_mean, mean) + torch.dist(batch_var, var)


def total_variation(images: Tensor) -> Tensor:
    """Return the mean absolute difference of vertical and of horizontal neighbours.

    Args:
        images: Tensor of shape (..., height, width), both at least 2.

    Example:
        >>> total_variation(torch.tensor([[0.0, 1.0], [0.0, 3.0]]))
        tensor(3.)
    """
    if images.ndim < 2 or min(images.shape[-2:]) < 2:
        raise ValueError(
            "images must have shape (..., height, width) with both at least 2, "
            f"got {tuple(images.shape)}"
        )
    return images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean()


@contextmanager
def statistics_gaps(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect `statistics_gap` at every batch norm that runs, within the block.

    Yields:
        A list to which each forward pass appends a scalar for each batch norm, in the
        order in which they run; clear it between passes.

    Raises:
        ValueError: If the model has no batch norm with running statistics.
    """
    gaps: list[Tensor] = []

    def note(module: _BatchNorm, args: tuple[Tensor, ...]) -> None:
        assert module.running_mean is not None
        assert module.running_var is not None
        gaps.append(statistics_gap(args[0], module.running_mean, module.running_var))

    norms = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]
    if not norms:
        raise ValueError(
            "model must have batch norms with running statistics to be matched, got "
            f"{type(model).__name__} without; set statistics_weight=0"
        )
    handles = [norm.register_forward_pre_hook(note) for norm in norms]
    try:
        yield gaps
    finally:
        for handle in handles:
            handle.remove()


def synthesize_inputs(
    teacher: nn.Module,
    start: Tensor,
    labels: Tensor | None = None,
    *,
    steps: int = 200,
    lr: float = 0.05,
    statistics_weight: float = 1.0,
    variation_weight: float = 0.0,
    norm_weight: float = 0.0,
    bounds: tuple[float, float] | None = None,
) -> Tensor:
    """Change inputs by Adam until the frozen teacher takes them for its own data.

    Args:
        teacher: Classifier of one input tensor. It is left as it was.
        start: Inputs to start from, usually noise, shape (batch, ...); not changed.
        labels: Class that the teacher shall see in each, int64 of shape (batch,); None
            to match the statistics alone.
        steps: Steps of Adam, at least 0.
        lr: Its step size, above 0.
        statistics_weight: Factor of the batch norms' statistics, at least 0; 0 for a
            teacher without batch norm, where only the labels guide.
        variation_weight: Factor of `total_variation`, at least 0; images only.
        norm_weight: Factor of the mean square of the inputs, at least 0.
        bounds: Least and largest value of an entry, kept after every step.

    Returns:
        Tensor of the shape of `start`.

    Raises:
        ValueError: If a number is out of range, or there is nothing to match.
    """
    factors = {
        "statistics_weight": statistics_weight,
        "variation_weight": variation_weight,
        "norm_weight": norm_weight,
    }
    for name, factor in factors.items():
        check_factor(name, factor)
    check_positive("lr", lr)
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps}")
    if bounds is not None and not bounds[0] < bounds[1]:
        raise ValueError(f"bounds must be (least, largest), got {bounds}")
    if labels is None and statistics_weight == 0:
        raise ValueError(
            "labels must be given where statistics_weight is 0, got None: nothing "
            "would be left to match"
        )
    inputs = start.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([inputs], lr=lr)
    with (
        frozen(teacher),
        torch.enable_grad(),
        _maybe_gaps(teacher, statistics_weight) as (gaps),
    ):
        for _ in range(steps):
            gaps.clear()
            # A clone, because an in-place first layer may not write into a leaf.
            logits = teacher(inputs.clone())
            loss = norm_weight * inputs.square().mean()
            if labels is not None:
                loss = loss + functional.cross_entropy(logits, labels)
            if gaps:
                loss = loss + statistics_weight * torch.stack(gaps).sum()
            if variation_weight:
                loss = loss + variation_weight * total_variation(inputs)
            (inputs.grad,) = torch.autograd.grad(loss, inputs)
            optimizer.step()
            if bounds is not None:
                inputs.data.clamp_(*bounds)
    return inputs.detach()


@contextmanager
def _maybe_gaps(model: nn.Module, weight: float) -> Iterator[list[Tensor]]:
    if weight == 0:
        yield []
    else:
        with statistics_gaps(model) as gaps:
            yield gaps
