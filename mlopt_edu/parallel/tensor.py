r"""Tensor parallelism: one layer's matrix lies on several ranks.

    column   y_r = x W_rᵀ + b_r        rank r has rows of W: a part of the outputs
    row      y = Σ_r x_r W_rᵀ + b      rank r has columns of W: a part of the inputs

A column layer followed by a row layer needs no exchange between them, whatever is done
to single features in between: an activation function, or attention where each rank has
whole heads. What remains are two functions, each other's backward:

    f = copy_to_group       forward nothing        backward all-reduce
    g = reduce_from_group   forward all-reduce     backward nothing

So a pair of layers costs one all-reduce of its output in the forward and one of its
input's gradient in the backward: 2 (p - 1) / p · n bytes that a rank sends in a ring,
twice, for n bytes of a whole activation.

What every rank has whole (normalization, biases of row layers) gets the same gradient
on all, and stays equal. Dropout between the two layers must be drawn differently on
each rank, and elsewhere alike. The norm of all gradients is not that of one rank's.

Paper: Shoeybi et al., "Megatron-LM", 2019, arXiv:1909.08053, section 3 and figure 3.
Differs from the paper: the parts may be unequal.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

Group = dist.ProcessGroup | None


def shard_range(
    size: int, world_size: int, rank: int, *, multiple_of: int = 1
) -> range:
    """Return a rank's part of `size` features; the first ranks have what is left over.

    Args:
        size: Features, at least 0, a multiple of `multiple_of`.
        world_size: Ranks, at least 1.
        rank: From 0 to `world_size - 1`.
        multiple_of: Features that stay together: the size of a head.

    Example:
        >>> [shard_range(7, 3, rank) for rank in range(3)]
        [range(0, 3), range(3, 5), range(5, 7)]
    """
    if world_size < 1:
        raise ValueError(f"world_size must be at least 1, got {world_size}")
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be from 0 to {world_size - 1}, got {rank}")
    if multiple_of < 1 or size < 0 or size % multiple_of:
        raise ValueError(
            f"size must be a multiple of multiple_of, got {size} and {multiple_of}"
        )
    share, left = divmod(size // multiple_of, world_size)
    start = rank * share + min(rank, left)
    end = start + share + (rank < left)
    return range(start * multiple_of, end * multiple_of)


class _CopyToGroup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _all_reduced(grad, ctx.group), None


class _ReduceFromGroup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        return _all_reduced(x, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class _GatherFromGroup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], group: Group) -> Tensor:
        ctx.sizes, ctx.rank = sizes, dist.get_rank(group)
        # A collective wants equal sizes: fill up to the largest.
        filled = functional.pad(x, (0, max(sizes) - x.shape[-1])).contiguous()
        parts = [torch.empty_like(filled) for _ in sizes]
        dist.all_gather(parts, filled, group=group)
        return torch.cat(
            [part[..., :size] for part, size in zip(parts, sizes, strict=True)], -1
        )

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return torch.split(grad, ctx.sizes, dim=-1)[ctx.rank].contiguous(), None, None


def copy_to_group(x: Tensor, *, group: Group = None) -> Tensor:
    """Return `x`; in the backward, sum its gradient over the ranks: Megatron's f."""
    return _CopyToGroup.apply(x, group)  # type: ignore[no-any-return,no-untyped-call]


def reduce_from_group(x: Tensor, *, group: Group = None) -> Tensor:
    """Return the sum of `x` over the ranks; the gradient passes: Megatron's g.

    Every rank must go on with the same computation: then each has the whole gradient
    of the sum already, and a second sum would multiply it by the number of ranks.
    """
    return _ReduceFromGroup.apply(x, group)  # type: ignore[no-any-return,no-untyped-call]


def gather_from_group(x: Tensor, sizes: list[int], *, group: Group = None) -> Tensor:
    """Return the ranks' parts side by side along the last dimension.

    Args:
        x: Tensor of shape (..., sizes[rank]).
        sizes: Width of each rank's part.
        group: Ranks that have the parts, all by default.

    Returns:
        Tensor of shape (..., sum of sizes), the same on every rank.
    """
    return _GatherFromGroup.apply(x, sizes, group)  # type: ignore[no-any-return,no-untyped-call]


class ColumnParallelLinear(nn.Module):
    """A rank's rows of a linear layer: whole input in, a part of the outputs out.

    Args:
        linear: The whole layer, the same on every rank.
        blocks: Equal blocks that the outputs consist of, each cut for itself: 3 where
            one layer makes query, key and value.
        multiple_of: Outputs that stay together: the size of a head.
        gather_output: Whether to return all outputs, with one all-gather.
        group: Ranks that share the layer, all by default.

    Shape:
        (..., in_features) to (..., this rank's outputs), or (..., out_features).
    """

    def __init__(
        self,
        linear: nn.Linear,
        *,
        blocks: int = 1,
        multiple_of: int = 1,
        gather_output: bool = False,
        group: Group = None,
    ) -> None:
        super().__init__()
        if blocks < 1 or linear.out_features % blocks:
            raise ValueError(
                f"blocks must divide out_features {linear.out_features}, got {blocks}"
            )
        if gather_output and blocks > 1:
            raise ValueError(f"gather_output must be False with {blocks} blocks")
        self.group, self.gather_output = group, gather_output
        block, p = linear.out_features // blocks, dist.get_world_size(group)
        mine = [shard_range(block, p, r, multiple_of=multiple_of) for r in range(p)]
        self.sizes = [blocks * len(rows) for rows in mine]
        self.rows = [
            [b * block + row for b in range(blocks) for row in rows] for rows in mine
        ]
        rows = self.rows[dist.get_rank(group)]
        self.weight = shard_of(linear.weight, rows, 0)
        self.bias = None if linear.bias is None else shard_of(linear.bias, rows, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Return this rank's outputs, or all."""
        y = functional.linear(
            copy_to_group(x, group=self.group), self.weight, self.bias
        )
        if self.gather_output:
            return gather_from_group(y, self.sizes, group=self.group)
        return y


class RowParallelLinear(nn.Module):
    """A rank's columns of a linear layer: a part of the inputs in, whole output out.

    Args:
        linear: The whole layer, the same on every rank.
        multiple_of: Inputs that stay together: the size of a head.
        group: Ranks that share the layer, all by default.

    Shape:
        (..., this rank's inputs) to (..., out_features).
    """

    def __init__(
        self, linear: nn.Linear, *, multiple_of: int = 1, group: Group = None
    ) -> None:
        super().__init__()
        self.group = group
        p = dist.get_world_size(group)
        self.columns = [
            list(shard_range(linear.in_features, p, r, multiple_of=multiple_of))
            for r in range(p)
        ]
        self.weight = shard_of(linear.weight, self.columns[dist.get_rank(group)], 1)
        self.bias = None
        if linear.bias is not None:
            self.bias = nn.Parameter(linear.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the whole output."""
        y = reduce_from_group(functional.linear(x, self.weight), group=self.group)
        # Added after the sum: before it, the bias would count once a rank.
        return y if self.bias is None else y + self.bias


def shard_of(whole: Tensor, indices: list[int], dim: int) -> nn.Parameter:
    """Return a parameter: the rows (`dim` 0) or columns (1) at `indices`, copied."""
    where = torch.tensor(indices, dtype=torch.int64, device=whole.device)
    return nn.Parameter(
        whole.detach().index_select(dim, where), requires_grad=whole.requires_grad
    )


def _all_reduced(x: Tensor, group: Group) -> Tensor:
    total = x.contiguous().clone()
    dist.all_reduce(total, group=group)
    return total
