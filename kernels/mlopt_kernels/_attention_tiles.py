"""The tiles that a program of attention holds of one head."""

# ruff: noqa: N803  a constexpr is in capitals

from typing import Any, NamedTuple

import torch

from mlopt_kernels._triton import tl, triton


@triton.jit
def head_rows(start, length, head, head_dim, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Return offsets and mask of BLOCK rows of one head, (BLOCK, WIDTH)."""
    rows = start + tl.arange(0, BLOCK)
    place = tl.arange(0, WIDTH)
    # int64: all heads of all sequences may pass 2^31 elements.
    offsets = (head.to(tl.int64) * length + rows)[:, None] * head_dim + place[None, :]
    return offsets, (rows[:, None] < length) & (place[None, :] < head_dim)


def width_of(head_dim: int) -> int:
    """Return the power of two, at least 16, that holds a row of a head."""
    return max(16, 1 << (head_dim - 1).bit_length())


class Blocks(NamedTuple):
    """What one program holds of a head, and with what.

    Attributes:
        queries: Queries of a program or a step, a power of two of at least 16.
        keys: Keys of a step or a program, likewise.
        num_warps: Warps of 32 threads of a program.
        num_stages: Steps that are loaded ahead while one is multiplied.
    """

    queries: int
    keys: int
    num_warps: int
    num_stages: int

    def options(self) -> dict[str, Any]:
        """Return the blocks as keyword arguments of a kernel's launch."""
        return {
            "BLOCK_QUERIES": self.queries,
            "BLOCK_KEYS": self.keys,
            "num_warps": self.num_warps,
            "num_stages": self.num_stages,
        }


def choose_blocks(dtype: torch.dtype, width: int) -> tuple[Blocks, Blocks, Blocks]:
    """Return the largest blocks seen to fit the registers of an A100 and an H100.

    Float32 stays off the tensor core and takes its factors into registers whole.

    Args:
        dtype: Of the inputs.
        width: head_dim, filled up to a power of two.

    Returns:
        The blocks of the forward kernel, and backward of that of the keys and that of
        the queries.
    """
    wide = width > 64
    if dtype == torch.float32:
        narrow = Blocks(32, 32, num_warps=4, num_stages=2)
        forward = Blocks(32, 16, num_warps=8, num_stages=2) if wide else narrow
        return forward, narrow._replace(num_warps=8) if wide else narrow, narrow
    forward = Blocks(128, 32 if wide else 64, num_warps=8, num_stages=3)
    backward = Blocks(64, 64, num_warps=8, num_stages=2)
    return forward, backward, backward
