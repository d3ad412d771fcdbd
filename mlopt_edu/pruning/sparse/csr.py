r"""Compressed sparse rows (CSR): the nonzeros, their columns, and where rows begin.

    values   w of each nonzero, row by row        nonzeros numbers
    columns  its column                           nonzeros indices
    starts   where each row begins in both        rows + 1 indices

    bytes = nonzeros * (value + index) + (rows + 1) * pointer

against rows * columns * value for the dense matrix. In float32 with two-byte columns
CSR is smaller below a density of about 4 / (4 + 2) = 2/3, with the four-byte columns of
most libraries below 1/2. Faster is another matter: see `break_even`.
"""

import warnings
from functools import cache

import torch
from torch import Tensor

from mlopt_edu.pruning.sparse.packed import Packed, index_dtype


class CSR(Packed):
    """A matrix as compressed sparse rows, multiplied by torch's sparse kernel.

    Indices take the smallest type that holds them and become the kernel's int32 at each
    call. In float16 and bfloat16 a CPU has no sparse kernel: there the matrix is
    unpacked at each call.

    Args:
        weight: Shape (out_features, in_features); its zeros are left out.

    Example:
        >>> weight = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [5.0, 0.0, 1.0]])
        >>> csr = CSR(weight)
        >>> csr.values, csr.columns, csr.starts
        (tensor([2., 5., 1.]), tensor([1, 0, 2], dtype=torch.uint8),
         tensor([0, 1, 1, 3], dtype=torch.uint8))
    """

    columns: Tensor
    starts: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        weight = weight.detach()
        nonzero = weight != 0
        columns = nonzero.nonzero()[:, 1]
        self.register_buffer("values", weight[nonzero])
        self.register_buffer("columns", columns.to(index_dtype(weight.shape[1] - 1)))
        self.register_buffer("starts", row_starts(nonzero.sum(dim=1)))

    def dense(self) -> Tensor:
        """Return the matrix, of shape (out_features, in_features)."""
        matrix = self.values.new_zeros(self.out_features, self.in_features)
        rows = torch.repeat_interleave(self.starts.long().diff())
        return matrix.index_put_((rows, self.columns.long()), self.values)

    def multiply(self, rows: Tensor) -> Tensor:
        """Return rows @ W.T, from shape (rows, in_features)."""
        if not has_kernel(self.values):
            return super().multiply(rows)
        quieten()
        matrix = torch.sparse_csr_tensor(
            self.starts.int(),
            self.columns.int(),
            self.values,
            (self.out_features, self.in_features),
            check_invariants=False,
        )
        # The kernel for a vector is three times as fast as the one for a matrix.
        return (matrix @ rows[0])[None] if len(rows) == 1 else (matrix @ rows.T).T


def row_starts(counts: Tensor) -> Tensor:
    """Return where each row begins, and the end, from what each holds."""
    ends = counts.cumsum(0)
    starts = torch.cat([ends.new_zeros(1), ends])
    return starts.to(index_dtype(int(starts[-1])))


def has_kernel(values: Tensor) -> bool:
    """Can torch multiply sparse matrices of this type on this device?"""
    return values.dtype in (torch.float32, torch.float64) or not values.is_cpu


@cache
def quieten() -> None:
    """Let torch say once, to nobody, that these layouts are in beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.zeros(1, 1).to_sparse_csr()
