r"""Net2DeeperNet: a deeper net that computes the same function, to train further.

    φ(x)  ->  φ(I · φ(x))       equal wherever φ(φ(x)) = φ(x), as for ReLU
    with batch norm:  weight = sqrt(var + eps), bias = mean, statistics those of φ(x)

tanh, sigmoid and GELU are not idempotent: applied twice they bend the signal, so there
is no such layer for them.

Paper: Chen, Goodfellow and Shlens, "Net2Net: Accelerating Learning via Knowledge
Transfer", 2015, arXiv:1511.05641, section 2.3 and equation 2. Differs from the paper:
nothing.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlopt_edu.distillation.teacher import frozen

_IDEMPOTENT = (nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Hardshrink, nn.Identity)


@dataclass(frozen=True)
class Statistics:
    """What batches of activations are like.

    Attributes:
        ndim: Their number of dimensions, 2 for vectors and 4 for maps.
        mean: Mean of each channel, float64 of shape (channels,).
        var: Variance of each channel about its mean, float64 of shape (channels,).
        dtype: Their type.
        device: Where they are.
    """

    ndim: int
    mean: Tensor
    var: Tensor
    dtype: torch.dtype
    device: torch.device


def identity_layer(
    channels: int, *, kernel_size: int | None = None
) -> nn.Linear | nn.Conv2d:
    """Return a linear layer that changes nothing, or a convolution that does not.

    Args:
        channels: Features in and out, at least 1.
        kernel_size: Side of a convolution's kernel, odd; None for a linear layer.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> identity_layer(2).weight.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    if channels < 1:
        raise ValueError(f"channels must be at least 1, got {channels}")
    layer: nn.Linear | nn.Conv2d
    if kernel_size is None:
        layer = nn.Linear(channels, channels)
        nn.init.eye_(layer.weight)
    else:
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        layer = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2)
        nn.init.dirac_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


@torch.no_grad()
def deepen_(
    model: nn.Module,
    name: str,
    *,
    inputs: Iterable[Tensor | Sequence[object]],
    kernel_size: int = 3,
    batch_norm: bool = False,
) -> None:
    """Insert a layer after an activation in place, without changing the function.

    The activation becomes a Sequential of itself, an identity layer, a batch norm if
    wanted, and the activation once more.

    Args:
        model: Any module; it runs in evaluation mode and keeps its own statistics.
        name: The activation, a module with φ(φ(x)) = φ(x): ReLU, ReLU6, Hardtanh,
            Hardshrink or Identity.
        inputs: Batches, each a tensor or a tuple of positional arguments; they show the
            activation's shape, and to the batch norm its mean and variance.
        kernel_size: Side of the convolution's kernel after feature maps, odd.
        batch_norm: Put a batch norm after the layer, set so that it changes nothing in
            evaluation mode, and little in training mode on batches like `inputs`.

    Raises:
        ValueError: If the activation is another, works at two places, or gives neither
            vectors nor images; the model is then as it was.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.Hardtanh())
        >>> deepen_(model, "1", inputs=[torch.ones(1, 4)])
        >>> model[1]
        Sequential(
          (0): Hardtanh(min_val=-1.0, max_val=1.0)
          (1): Linear(in_features=3, out_features=3, bias=True)
          (2): Hardtanh(min_val=-1.0, max_val=1.0)
        )
    """
    activation = dict(model.named_modules()).get(name)
    if not name or type(activation) not in _IDEMPOTENT:
        raise ValueError(
            "name must be that of an activation that changes nothing when applied "
            "twice, as ReLU does and tanh, sigmoid and GELU do not, got "
            f"{activation or 'nothing'} for {name!r}"
        )
    assert activation is not None
    seen = _statistics(model, activation, name, inputs)
    channels = len(seen.mean)
    layers: list[nn.Module] = [
        identity_layer(channels, kernel_size=None if seen.ndim == 2 else kernel_size)
    ]
    if batch_norm:
        norm = (nn.BatchNorm1d if seen.ndim == 2 else nn.BatchNorm2d)(channels)
        norm.running_mean, norm.running_var = seen.mean, seen.var
        norm.weight.data = (seen.var + norm.eps).sqrt()
        norm.bias.data = seen.mean.clone()
        layers.append(norm)
    deeper = nn.Sequential(activation, *layers, copy.deepcopy(activation))
    deeper.to(seen.device, seen.dtype).train(activation.training)
    model.set_submodule(name, deeper)


def _statistics(
    model: nn.Module,
    activation: nn.Module,
    name: str,
    inputs: Iterable[Tensor | Sequence[object]],
) -> Statistics:
    """Run the batches and return what the activation gives, held one at a time."""
    outputs: list[Tensor] = []
    # A copy, because a later layer may write into it.
    handle = activation.register_forward_hook(
        lambda module, args, output: outputs.append(output.clone())
    )
    counts, means, vars_ = [], [], []
    try:
        with frozen(model):
            for batch in inputs:
                outputs.clear()
                model(*((batch,) if isinstance(batch, Tensor) else batch))
                if len(outputs) != 1:
                    raise ValueError(
                        f"activation {name!r} must run once in a pass, got "
                        f"{len(outputs)} times; give each place its own module"
                    )
                (last,) = outputs
                if last.ndim not in (2, 4):
                    raise ValueError(
                        f"activation {name!r} must give (n, features) or (n, "
                        f"channels, height, width), got shape {tuple(last.shape)}; "
                        "place an identity_layer there yourself"
                    )
                dims = [dim for dim in range(last.ndim) if dim != 1]
                var, mean = torch.var_mean(last.double(), dim=dims, correction=0)
                counts.append(last.numel() // len(mean))
                means.append(mean)
                vars_.append(var)
    finally:
        handle.remove()
    if not counts:
        raise ValueError("inputs must hold at least one batch, got none")
    shares = torch.tensor(counts, device=last.device).double().unsqueeze(1)
    shares /= shares.sum()
    mean = (shares * torch.stack(means)).sum(0)
    spread = torch.stack(vars_) + (torch.stack(means) - mean).square()
    return Statistics(
        last.ndim, mean, (shares * spread).sum(0), last.dtype, last.device
    )
