r"""Shared weights that are trained: the codebook is the parameter.

    w = c[index],    ∂L/∂c_k = Σ ∂L/∂w_i over the weights with index k

So any training loop fine-tunes the shared values, and no weight leaves its cluster.

Paper: Han, Mao and Dally, "Deep Compression: Compressing Deep Neural Networks with
Pruning, Trained Quantization and Huffman Coding", 2015, arXiv:1510.00149, section 3.3.
Differs from the paper: nothing.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mlopt_edu.quantization.codebook import kmeans_codebook


class SharedWeights(nn.Module):
    """A parametrization: the weight is looked up in a codebook that is trained.

    Register it with `torch.nn.utils.parametrize`, as `share_weights_` does. The
    parameter is then the codebook, so any optimizer trains the shared values; which
    weights share one stays as it is.

    Args:
        indices: Which value each weight takes, uint8 of the shape of the weight.
        codebook: Values of shape (values,).
        keep_zeros: Value 0 is fixed at 0.
    """

    def __init__(
        self, indices: Tensor, codebook: Tensor, *, keep_zeros: bool = False
    ) -> None:
        super().__init__()
        self.register_buffer("indices", indices)
        self.indices: Tensor
        self.keep_zeros = keep_zeros
        self._start = codebook[1:] if keep_zeros else codebook

    def forward(self, codebook: Tensor) -> Tensor:
        """Return the weight."""
        if self.keep_zeros:
            codebook = torch.cat([codebook.new_zeros(1), codebook])
        weight = codebook.index_select(0, self.indices.flatten().int())
        return weight.reshape(self.indices.shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the codebook of a weight: the mean of those that share a value."""
        count = len(self._start) + self.keep_zeros
        places = self.indices.flatten().long()
        # In float64 the mean of equal float32 numbers is that number.
        wide = weight.detach().double().flatten()
        sums = wide.new_zeros(count).index_add_(0, places, wide)
        sizes = torch.bincount(places, minlength=count)
        start = self._start.to(weight)
        if self.keep_zeros:
            sums, sizes = sums[1:], sizes[1:]
        means = (sums / sizes.clamp(min=1)).to(weight.dtype)
        return torch.where(sizes > 0, means, start)


def share_weights_(
    model: nn.Module,
    *,
    bits: int = 5,
    keep_zeros: bool = False,
    filter_fn: Callable[[str, nn.Module], bool] | None = None,
) -> None:
    """Replace each layer's weight by a trainable codebook, in place.

    The parameters change, so make the optimizer afterwards. End with
    `torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")`, or give the
    model to `quantize_` with `Codebook(bits)`, which then loses nothing.

    Args:
        model: Any module.
        bits: Bits of an index, from 1 to 8.
        keep_zeros: Zeros stay zero while training.
        filter_fn: Says of a name and a module whether its `weight` is shared; linear
            layers and convolutions by default.

    Raises:
        ValueError: If no layer is chosen, or a weight cannot be clustered; then nothing
            has changed.
    """
    layers = {
        name: module
        for name, module in model.named_modules()
        if (
            filter_fn(name, module)
            if filter_fn
            else isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))
        )
    }
    if not layers:
        raise ValueError("filter_fn must choose at least 1 layer, got none")
    found = {}
    for name, layer in layers.items():
        if not isinstance(getattr(layer, "weight", None), Tensor):
            raise ValueError(f"layer {name!r} must have a weight to share, got none")
        codebook, indices = kmeans_codebook(
            layer.weight, bits=bits, keep_zeros=keep_zeros
        )
        found[name] = SharedWeights(indices, codebook, keep_zeros=keep_zeros)
    for name, shared in found.items():
        layer = layers[name]
        if parametrize.is_parametrized(layer, "weight"):  # a mask, say, made permanent
            # Deep copies share the class that torch changes here, and keep the old one.
            old = type(layer)
            layer.__class__ = type(old.__name__, old.__bases__, dict(vars(old)))
            parametrize.remove_parametrizations(layer, "weight")
        parametrize.register_parametrization(layer, "weight", shared)
