r"""2:4 sparsity, packed: of every four neighbours two values and two 2-bit places.

    bytes = size / 2 * value + size / 8,    size = out_features * in_features

so 53 % of a dense float32 matrix and 56 % of a float16 one, whatever the weights are,
and no index at all to follow: that regularity is what hardware can use. Sparse tensor
cores of NVIDIA GPUs multiply this pattern at up to twice the dense speed; CPUs have no
such unit, so here the matrix is unpacked at each call, which saves memory, not time.

Paper: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021,
arXiv:2104.08378, section 3. Differs from the paper: places are packed in row-major
order, the earlier group in the low half of a byte, not in the order of the hardware.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mlopt_edu.pruning.sparse.packed import Packed


class TwoFour(Packed):
    """A matrix with at most 2 nonzeros in every 4 neighbours of a row.

    A last group of fewer than four is filled up with zeros.

    Args:
        weight: Shape (out_features, in_features), as `prune_(model, NM())` makes it.

    Raises:
        ValueError: If four neighbours hold more than 2 nonzeros.

    Example:
        >>> packed = TwoFour(torch.tensor([[0.0, 5.0, 0.0, 7.0]]))
        >>> packed.values, bin(packed.places)  # places 1 and 3, the first one lowest
        (tensor([[[5., 7.]]]), '0b1101')
    """

    places: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        padded = functional.pad(weight.detach(), (0, -weight.shape[1] % 4))
        groups = padded.reshape(len(weight), padded.shape[1] // 4, 4)
        zero = groups == 0
        most = 0 if not groups.numel() else 4 - int(zero.sum(dim=-1).min())
        if most > 2:
            raise ValueError(
                "weight must have at most 2 nonzeros in every 4 neighbours of a row, "
                f"got {most}; prune_(model, NM()) makes it so"
            )
        # Nonzeros sort first, and a stable sort takes the earliest zeros beside them.
        order = zero.to(torch.uint8).argsort(dim=-1, stable=True)
        places = order[..., :2].sort(dim=-1).values
        self.register_buffer("values", groups.gather(-1, places) + 0)
        nibbles = (places[..., 0] + 4 * places[..., 1]).flatten()
        even = functional.pad(nibbles, (0, len(nibbles) % 2))
        low, high = even[0::2], even[1::2]
        self.register_buffer("places", (low + 16 * high).to(torch.uint8))

    def dense(self) -> Tensor:
        """Return the matrix, of shape (out_features, in_features)."""
        rows, groups, _ = self.values.shape
        nibbles = torch.stack([self.places & 15, self.places >> 4], dim=1).flatten()
        nibbles = nibbles[: rows * groups].reshape(rows, groups)
        places = torch.stack([nibbles & 3, nibbles >> 2], dim=-1).long()
        matrix = self.values.new_zeros(rows, groups, 4).scatter_(
            -1, places, self.values
        )
        return matrix.reshape(rows, 4 * groups)[:, : self.in_features].contiguous()
