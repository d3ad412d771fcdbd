"""Initialize a whole model: every Linear and convolution layer, biases at 0."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

from mlopt_edu.initialization.kaiming import kaiming_normal_


class Initializer(Protocol):
    """What every `*_` function of this package looks like."""

    def __call__(
        self,
        weight: Tensor,
        *,
        groups: int,
        transposed: bool,
        generator: Generator | None,
    ) -> None:
        """Fill `weight` in place."""


@torch.no_grad()
def initialize_(
    model: nn.Module,
    initializer: Initializer = kaiming_normal_,
    *,
    filter_fn: Callable[[str, nn.Module], bool] | None = None,
    generator: Generator | None = None,
) -> None:
    """Initialize all Linear and (transposed) convolution layers of a model in place.

    Their biases become 0. Normalization, embeddings, recurrent layers and the stacked
    input projection of `nn.MultiheadAttention` stay as they are. A weight that several
    layers share is drawn once, for the first of them.

    Args:
        model: Any module.
        initializer: One of this package's functions; bind options with
            `functools.partial(kaiming_normal_, activation="tanh")`.
        filter_fn: Called with the name of a layer and the layer; those for which it
            returns False stay as they are.
        generator: Source of randomness; None for torch's global one.

    Raises:
        ValueError: If a layer's weight is parametrized, as by weight normalization, or
            lazy, so that there is no tensor to fill yet.
    """
    filled = set()
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Linear | _ConvNd):
            continue
        if filter_fn is not None and not filter_fn(name, layer):
            continue
        if parametrize.is_parametrized(layer, "weight"):
            raise ValueError(
                f"weight of layer {name!r} must be a plain parameter, got a "
                "parametrized one; initialize before you parametrize"
            )
        if isinstance(layer.weight, nn.UninitializedParameter):
            raise ValueError(
                f"weight of layer {name!r} must have a shape, got a lazy one; run one "
                "batch through the model first"
            )
        if layer.weight not in filled:
            filled.add(layer.weight)
            initializer(
                layer.weight,
                groups=getattr(layer, "groups", 1),
                transposed=isinstance(layer, _ConvTransposeNd),
                generator=generator,
            )
        if layer.bias is not None:
            layer.bias.zero_()
