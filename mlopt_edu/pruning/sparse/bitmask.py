r"""A bit for every weight, and the values of those that are there.

    bytes = nonzeros * value + size / 8

The index costs one bit a weight however many are zero: less than CSR's where more than
one weight in 16 is there (two-byte columns), and smaller than a dense float32 matrix up
to a density of 31/32. There is no kernel that multiplies it: it is unpacked at each
call, which saves memory, not time.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mlopt_edu.pruning.sparse.packed import Packed


class Bitmask(Packed):
    """A matrix as a bitmask and the nonzeros, row by row.

    Args:
        weight: Shape (out_features, in_features); its zeros are left out.

    Example:
        >>> packed = Bitmask(torch.tensor([[0.0, 2.0], [0.0, 3.0]]))
        >>> packed.values, f"{int(packed.bits):08b}"  # the first weight is the top bit
        (tensor([2., 3.]), '01010000')
    """

    bits: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        nonzero = weight.detach() != 0
        self.register_buffer("values", weight.detach()[nonzero])
        eights = functional.pad(nonzero.flatten(), (0, -nonzero.numel() % 8))
        powers = _powers(weight.device)
        bits = (eights.reshape(-1, 8) * powers).sum(dim=1, dtype=torch.uint8)
        self.register_buffer("bits", bits)

    def dense(self) -> Tensor:
        """Return the matrix, of shape (out_features, in_features)."""
        size = self.out_features * self.in_features
        nonzero = (self.bits[:, None] & _powers(self.bits.device)).ne(0).flatten()
        matrix = self.values.new_zeros(size)
        return matrix.masked_scatter_(nonzero[:size], self.values).reshape(
            self.out_features, self.in_features
        )


def _powers(device: torch.device) -> Tensor:
    """Return the value of each bit of a byte, the top one first."""
    return 2 ** torch.arange(7, -1, -1, dtype=torch.uint8, device=device)
