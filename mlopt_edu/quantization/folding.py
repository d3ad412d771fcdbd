r"""Batch-norm folding: a trained norm disappears into the layer before it.

    norm(W x + b) = γ (W x + b - μ) / √(σ² + ε) + β = (f W) x + f (b - μ) + β
    f = γ / √(σ² + ε),  one factor for each output

In evaluation mode μ and σ² are fixed, so the norm is one more affine map, which costs
time and memory for nothing. Fold before quantizing: it is f W, not W, that is rounded,
and its rows have other ranges than those of W.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2017, arXiv:1712.05877, equation 14. Differs from
the paper: the bias is folded as well, and a norm is folded for good, not anew at each
step of training.
"""

import torch
from torch import Tensor, nn

from mlopt_edu.quantization.apply import replace_modules_
from mlopt_edu.quantization.foldable import (
    NORMS,
    Affine,
    Transposed,
    find_foldable,
    set_parameters_,
)


def fold_batch_norm(
    weight: Tensor,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    eps: float = 1e-5,
    transposed: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the weight and the bias that do a layer's and its norm's work.

    Args:
        weight: Weight of a linear layer or convolution, shape (outputs, ...); of a
            transposed convolution (inputs, outputs / groups, ...).
        bias: Shape (outputs,), or None for zeros.
        mean: The norm's running mean, shape (outputs,).
        variance: Its running variance, at least 0, shape (outputs,).
        gamma: Its weight, shape (outputs,), or None for ones.
        beta: Its bias, shape (outputs,), or None for zeros.
        eps: What it adds to the variance.
        transposed: The weight is that of a transposed convolution.

    Returns:
        A weight and a bias of the type of `weight`, computed in float32 at least.

    Raises:
        ValueError: If a shape does not fit.

    Example:
        >>> weight, mean, variance = torch.ones(1, 2), torch.ones(1), torch.ones(1) * 4
        >>> fold_batch_norm(weight, None, mean, variance, eps=0.0)
        (tensor([[0.5000, 0.5000]]), tensor([-0.5000]))
    """
    outputs = mean.numel()
    named = {"bias": bias, "variance": variance, "gamma": gamma, "beta": beta}
    for name, tensor in {"mean": mean, **named}.items():
        if tensor is not None and tensor.shape != (outputs,):
            raise ValueError(
                f"{name} must have shape ({outputs},), one number for each output, "
                f"got {tuple(tensor.shape)}"
            )
    inputs, per_group = weight.shape[:2]
    groups = outputs // per_group if transposed and per_group else 1
    if transposed:
        fits = groups * per_group == outputs and groups and inputs % groups == 0
    else:
        fits = inputs == outputs
    if not fits:
        raise ValueError(
            f"weight must have {outputs} outputs as the mean has, "
            f"got shape {tuple(weight.shape)}"
        )
    wide = torch.promote_types(weight.dtype, torch.float32)
    factor = (variance.to(wide) + eps).rsqrt()
    if gamma is not None:
        factor = factor * gamma.to(wide)
    shift = -mean.to(wide) if bias is None else bias.to(wide) - mean.to(wide)
    folded_bias = shift * factor
    if beta is not None:
        folded_bias = folded_bias + beta.to(wide)
    if transposed:
        # A row belongs to one group of the inputs, and holds that group's outputs.
        rows = factor.reshape(groups, -1).repeat_interleave(inputs // groups, 0)
    else:
        rows = factor[:, None]
    rows = rows.reshape(*rows.shape, *[1] * (weight.ndim - 2))
    return (weight.to(wide) * rows).to(weight.dtype), folded_bias.to(weight.dtype)


def fold_batch_norms_(model: nn.Module) -> None:
    """Fold each batch norm that follows a linear layer or convolution, in place.

    A norm is folded where its only input is the output of a convolution (transposed
    ones too) or linear layer, and that output goes nowhere else; `nn.Identity` takes
    its place. It stays where folding would be wrong: after a layer that is called
    twice, has hooks or does more than its own affine map; without running statistics.

    Parameters are new ones, so tied weights are no longer tied, and an optimizer made
    before knows nothing of them. Masks and other parametrizations end in the weights.
    A linear layer must give (n, features), a convolution batches: where a norm of as
    many channels as features follows (n, channels, features), that is not seen.

    Args:
        model: A model in evaluation mode that torch.fx can trace.

    Raises:
        ValueError: If the model is in training mode or cannot be traced. Then it is as
            it was.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> fold_batch_norms_(model.eval())
        >>> [type(layer).__name__ for layer in model]
        ['Conv2d', 'Identity', 'ReLU']
    """
    norms = [norm for norm in model.modules() if type(norm) in NORMS]
    if not norms:
        return
    if model.training or any(norm.training for norm in norms):
        raise ValueError(
            "model must be in evaluation mode, got training mode, in which the "
            "statistics of its norms still move; call model.eval()"
        )
    folded: list[tuple[str, Affine, Tensor, Tensor]] = []
    for layer, name, norm in find_foldable(model):
        weight, bias = fold_batch_norm(
            layer.weight.detach(),
            None if layer.bias is None else layer.bias.detach(),
            norm.running_mean,
            norm.running_var,
            None if norm.weight is None else norm.weight.detach(),
            None if norm.bias is None else norm.bias.detach(),
            eps=norm.eps,
            transposed=isinstance(layer, Transposed),
        )
        folded.append((name, layer, weight, bias))
    for _, layer, weight, bias in folded:
        set_parameters_(layer, weight, bias)
    replace_modules_(model, {name: nn.Identity() for name, *_ in folded})
