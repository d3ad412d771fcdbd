"""`prune_(model, method)`: one verb, and methods that are small frozen objects.

    prune_(model, Magnitude(amount=0.8))           # masks, kept through training
    prune_(model, Channels(amount=0.5, ...))       # smaller layers, at once

What a method needs from data is one of its fields, so nothing here owns a training
loop: prune gradually by calling `prune_` with a growing amount from your own.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

FilterFn = Callable[[str, nn.Module], bool]
LossFn = Callable[[nn.Module], Tensor]


class Method(Protocol):
    """What `prune_` takes: an object that knows how to prune a model in place."""

    def prune_(self, model: nn.Module, filter_fn: FilterFn) -> None:
        """Prune the modules for which `filter_fn(name, module)` is True."""


def is_prunable(name: str, module: nn.Module) -> bool:
    """Say yes to linear, (transposed) convolution, recurrent and attention layers.

    Their matrices hold nearly all weights. Normalization layers and embeddings are left
    alone, and so are the biases of any layer: few numbers, and each matters.
    """
    return isinstance(
        module, nn.Linear | _ConvNd | nn.Bilinear | nn.RNNBase | nn.MultiheadAttention
    )


def prune_(
    model: nn.Module, method: Method, *, filter_fn: FilterFn = is_prunable
) -> None:
    """Prune a model in place.

    Pruning a second time only prunes further. If it fails, as for a layer that cannot
    be handled, the model is as it was.

    Args:
        model: Any module.
        method: How, and how much: `Magnitude(amount=0.5)`.
        filter_fn: Called with the name of a layer in the model and the layer; those
            for which it returns False stay whole.

    Raises:
        TypeError: If `method` is not a pruning method.
        ValueError: As the method says, or if no layer is chosen.

    Example:
        >>> import torch
        >>> from mlopt_edu.pruning import Magnitude, prune_, sparsity
        >>> model = torch.nn.Linear(10, 4)
        >>> prune_(model, Magnitude(amount=0.75))
        >>> sparsity(model).total
        0.75
    """
    run = getattr(method, "prune_", None)
    if isinstance(method, type) or not callable(run):
        got = method.__name__ if isinstance(method, type) else type(method).__name__
        raise TypeError(
            f"method must be a pruning method such as Magnitude(amount=0.5), got {got}"
        )
    method.prune_(model, filter_fn)
