"""How sparse a model is: zeros counted in the weights that it computes with."""

from dataclasses import dataclass

import torch
from torch import nn

from mlopt_edu.pruning.masked import layers_of, parameter_of, weight_names
from mlopt_edu.pruning.prune import FilterFn, is_prunable


@dataclass(frozen=True)
class WeightSparsity:
    """One weight tensor.

    Attributes:
        name: Its name in the model.
        shape: Its shape.
        zeros: How many of its entries are 0.
        size: How many it has.
    """

    name: str
    shape: tuple[int, ...]
    zeros: int
    size: int

    @property
    def share(self) -> float:
        """Share of zeros, in [0, 1]."""
        return self.zeros / self.size if self.size else 0.0


@dataclass(frozen=True)
class Sparsity:
    """What `sparsity` saw; as a string, a table.

    Attributes:
        weights: Each weight tensor, in the model's order; a shared one once.
    """

    weights: tuple[WeightSparsity, ...]

    @property
    def total(self) -> float:
        """Share of zeros among all these weights together, in [0, 1]."""
        size = sum(weight.size for weight in self.weights)
        return sum(weight.zeros for weight in self.weights) / size if size else 0.0

    def __str__(self) -> str:
        rows = [
            f"{weight.name:32}{'x'.join(map(str, weight.shape)):>18}"
            f"{weight.size - weight.zeros:>12,}{weight.share:>10.1%}"
            for weight in self.weights
        ]
        kept = sum(weight.size - weight.zeros for weight in self.weights)
        head = f"{'weight':32}{'shape':>18}{'left':>12}{'zeros':>10}"
        return "\n".join([head, *rows, f"{'total':50}{kept:>12,}{self.total:>10.1%}"])


@torch.no_grad()
def sparsity(model: nn.Module, *, filter_fn: FilterFn = is_prunable) -> Sparsity:
    """Count the zeros in the weights, of 2 dimensions or more, of the chosen layers.

    Masked or permanent makes no difference. Zeros save nothing by themselves.

    Args:
        model: Any module.
        filter_fn: Called with the name of a layer in the model and the layer.

    Example:
        >>> model = nn.Linear(4, 2)
        >>> model.weight.data[0] = 0
        >>> print(sparsity(model))
        weight                                       shape        left     zeros
        weight                                         2x4           4     50.0%
        total                                                        4     50.0%
    """
    weights = []
    seen = set()
    for prefix, module in layers_of(model):
        if not filter_fn(prefix, module):
            continue
        for name in weight_names(module):
            weight = getattr(module, name)
            parameter = parameter_of(module, name)
            if weight.ndim < 2 or parameter in seen:
                continue
            seen.add(parameter)
            weights.append(
                WeightSparsity(
                    f"{prefix}.{name}" if prefix else name,
                    tuple(weight.shape),
                    int((weight == 0).sum()),
                    weight.numel(),
                )
            )
    return Sparsity(tuple(weights))
