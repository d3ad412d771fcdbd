r"""Block sparse rows (BSR): CSR of whole blocks.

    values   the blocks that hold a nonzero       blocks * height * width numbers
    columns  each block's column of blocks        blocks indices
    starts   where each row of blocks begins      rows of blocks + 1 indices

One index serves a whole block, and a block is multiplied as a small dense matrix. But
the zeros inside a block are stored: single weights pruned anywhere leave hardly a block
empty. BSR pays where whole blocks were pruned.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mlopt_edu.pruning.sparse.csr import has_kernel, quieten, row_starts
from mlopt_edu.pruning.sparse.packed import Packed, index_dtype


class BSR(Packed):
    """A matrix as block sparse rows, multiplied by torch's sparse kernel.

    Sizes that the blocks do not divide are filled up with zeros, which count as bytes.

    Args:
        weight: Shape (out_features, in_features).
        block_size: Height and width of a block, at least 1.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> weight = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2))
        >>> bsr = BSR(weight, block_size=2)
        >>> bsr.values.shape, bsr.columns.tolist(), bsr.starts.tolist()
        (torch.Size([2, 2, 2]), [0, 1], [0, 1, 2])
    """

    columns: Tensor
    starts: Tensor

    def __init__(self, weight: Tensor, *, block_size: int = 8) -> None:
        super().__init__(weight)
        if block_size < 1:
            raise ValueError(f"block_size must be at least 1, got {block_size}")
        self.block_size = block_size
        self._grid = rows, columns = (
            -(-len(weight) // block_size),
            -(-weight.shape[1] // block_size),
        )
        missing = (
            columns * block_size - self.in_features,
            rows * block_size - self.out_features,
        )
        padded = functional.pad(weight.detach(), (0, missing[0], 0, missing[1]))
        blocks = padded.reshape(rows, block_size, columns, block_size).transpose(1, 2)
        kept = (blocks != 0).any(dim=-1).any(dim=-1)
        # Adding 0 turns -0 into +0.
        self.register_buffer("values", blocks[kept] + 0)
        self.register_buffer(
            "columns", kept.nonzero()[:, 1].to(index_dtype(columns - 1))
        )
        self.register_buffer("starts", row_starts(kept.sum(dim=1)))

    def dense(self) -> Tensor:
        """Return the matrix, of shape (out_features, in_features)."""
        rows, columns = self._grid
        blocks = self.values.new_zeros(rows, columns, *self.values.shape[1:])
        row = torch.repeat_interleave(self.starts.long().diff())
        blocks.index_put_((row, self.columns.long()), self.values)
        padded = blocks.transpose(1, 2).reshape(
            rows * self.block_size, columns * self.block_size
        )
        return padded[: self.out_features, : self.in_features].contiguous()

    def multiply(self, rows: Tensor) -> Tensor:
        """Return rows @ W.T, from shape (rows, in_features)."""
        if not has_kernel(self.values):
            return super().multiply(rows)
        quieten()
        size = tuple(blocks * self.block_size for blocks in self._grid)
        matrix = torch.sparse_bsr_tensor(
            self.starts.int(),
            self.columns.int(),
            self.values,
            size,
            check_invariants=False,
        )
        # On CPUs the kernel is many times slower for numbers of rows that are not
        # multiples of 16, but for a single one and large blocks.
        is_fast = len(rows) == 1 and self.block_size >= 16
        missing = 0 if is_fast else -len(rows) % 16
        padding = (0, size[1] - self.in_features, 0, missing)
        y = (matrix @ functional.pad(rows, padding).T).T
        return y[: len(rows), : self.out_features]
