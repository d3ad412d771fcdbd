"""Linear layers on packed weights, and the call that puts them into a model."""

from collections import Counter
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from mlopt_edu.pruning.masked import layers_of
from mlopt_edu.pruning.prune import FilterFn
from mlopt_edu.pruning.sparse.csr import CSR
from mlopt_edu.pruning.sparse.packed import Packed


class SparseLinear(nn.Module):
    """A linear layer for inference: y = x @ W.T + b with W packed.

    The weight cannot be trained any more; bias and input pass gradients.

    Args:
        linear: The layer to take weight and bias from; masks count as zeros.
        form: Packs the weight: `CSR`, or `partial(BSR, block_size=16)`.
    """

    def __init__(
        self, linear: nn.Linear, form: Callable[[Tensor], Packed] = CSR
    ) -> None:
        super().__init__()
        self.packed = form(linear.weight.detach())
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        y: Tensor = self.packed(x)
        return y if self.bias is None else y + self.bias


def is_linear(name: str, module: nn.Module) -> bool:
    """Say yes to `nn.Linear` itself; a subclass may do more than multiply."""
    return type_before_parametrizations(module) is nn.Linear


def sparsify_(
    model: nn.Module,
    form: Callable[[Tensor], Packed] = CSR,
    *,
    filter_fn: FilterFn = is_linear,
) -> None:
    """Replace linear layers by packed ones, wherever that takes fewer bytes.

    For inference, after pruning: the model that is evaluated from here on is the sparse
    one. A layer that is not sparse enough stays dense, and so does one whose weight
    another layer also uses.

    Args:
        model: Holds the layers; changed in place.
        form: Packs a weight: `CSR`, `Bitmask`, `TwoFour`, or
            `partial(BSR, block_size=16)`.
        filter_fn: Called with the name of a layer in the model and the layer.

    Raises:
        ValueError: If a chosen layer with a weight is not linear, the model is itself
            the layer, or `form` refuses a weight; then nothing was replaced.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(64, 64, bias=False))
        >>> model[0].weight.data.mul_(torch.eye(64)).requires_grad_(True).shape
        torch.Size([64, 64])
        >>> sparsify_(model)
        >>> model[0].packed.nbytes  # 64 values, 64 columns, 65 starts; it was 16384
        385
    """
    users = Counter(
        parameter
        for module in model.modules()
        for parameter in module.parameters(recurse=False)
    )
    packed: dict[nn.Module, SparseLinear] = {}
    for name, module in layers_of(model):
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or not filter_fn(name, module):
            continue
        if not (isinstance(module, nn.Linear) and is_linear(name, module)):
            raise ValueError(
                f"{name or 'model'} must be an nn.Linear, got "
                f"{type_before_parametrizations(module).__name__}; let filter_fn leave "
                "it out"
            )
        if module is model:
            raise ValueError(
                "model must hold the layers to replace, got a Linear itself; use "
                "SparseLinear(model)"
            )
        own = next(p for p in module.parameters() if p.shape == weight.shape)
        if users[own] > 1:
            continue
        sparse = SparseLinear(module, form)
        if sparse.packed.nbytes < weight.nbytes:
            packed[module] = sparse.train(module.training)
    for parent in list(model.modules()):
        for name, child in parent._modules.items():  # named_children skips repetitions
            if child in packed:
                setattr(parent, name, packed[child])
