"""A unit of ZeRO: parameters laid end to end, padded, and cut into equal shards."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Unit:
    """Parameters of one dtype in a flat buffer, of which this rank owns a shard.

    Args:
        params: Parameters by name, all of one dtype and all trained or all frozen.
        stage: 1 or 2: the parameters are views of the buffer, and the shard too. 3: the
            shard has its own memory, the buffer has some only while it is gathered.
        group: Process group; None for all ranks.
    """

    def __init__(
        self,
        params: dict[str, nn.Parameter],
        stage: int,
        group: dist.ProcessGroup | None,
    ) -> None:
        self.params = params
        self.stage = stage
        self.group = group
        self.world_size = dist.get_world_size(group)
        self.rank = dist.get_rank(group)
        first = next(iter(params.values()))
        self.trained = first.requires_grad
        self.shapes = [param.shape for param in params.values()]
        self.sizes = [param.numel() for param in params.values()]
        self.shard_size = -(-sum(self.sizes) // self.world_size)
        self.flat = self._flatten(params.values())
        self.start = self.rank * self.shard_size
        mine = self.flat[self.start : self.start + self.shard_size]
        self.shard = nn.Parameter(
            mine.clone() if stage == 3 else mine, requires_grad=self.trained
        )
        self.missing = set(params.values())
        self.gathered = True
        self._point(self.flat)
        if stage == 3:
            self.release()

    def _flatten(self, tensors: Iterable[Tensor]) -> Tensor:
        parts = [tensor.detach().flatten() for tensor in tensors]
        padding = self.shard_size * self.world_size - sum(self.sizes)
        return torch.cat([*parts, parts[0].new_zeros(padding)])

    def _point(self, flat: Tensor) -> None:
        """Let the parameters be views of the flat buffer."""
        views = flat[: sum(self.sizes)].split_with_sizes(self.sizes)
        for param, view, shape in zip(
            self.params.values(), views, self.shapes, strict=True
        ):
            param.data = view.view(shape)

    def _shards_of(self, flat: Tensor) -> list[Tensor]:
        return list(flat.view(self.world_size, self.shard_size).unbind())

    def gather(self) -> None:
        """Fill the buffer with all ranks' shards, unless it is full."""
        if self.gathered:
            return
        self.flat.untyped_storage().resize_(self.flat.numel() * self.flat.itemsize)
        self.all_gather()
        self._point(self.flat)
        self.gathered = True

    def all_gather(self) -> None:
        """Fill the buffer with all ranks' shards."""
        with torch.no_grad():
            mine = self.shard.detach()
            mine = mine if self.stage == 3 else mine.clone()  # it lies in the buffer
            dist.all_gather(self._shards_of(self.flat), mine, group=self.group)

    def release(self) -> None:
        """Give the buffer's memory back; the shard stays."""
        # Views that backward has saved keep the storage itself: `gather` fills it again
        # before they are read.
        self.flat.untyped_storage().resize_(0)
        for param in self.params.values():
            param.data = self.flat.new_empty(0)
        self.gathered = False

    def reduce(self) -> None:
        """Add the ranks' mean gradient to the shard's and drop the whole one."""
        grads = [
            self.flat.new_zeros(size) if param.grad is None else param.grad
            for param, size in zip(self.params.values(), self.sizes, strict=True)
        ]
        whole = self._flatten(grads).div_(self.world_size)
        for param in self.params.values():
            param.grad = None
        mine = torch.empty_like(self.shard)
        dist.reduce_scatter(mine, self._shards_of(whole), group=self.group)
        if self.shard.grad is None:
            self.shard.grad = mine
        else:
            self.shard.grad.add_(mine)

    def ranges(self) -> Iterator[tuple[str, torch.Size, int, int, int]]:
        """Yield what of each parameter lies in the shard, as far as any does.

        Name, shape, where it begins in the parameter and in the shard, and how long.
        """
        offset = 0
        for name, shape, size in zip(self.params, self.shapes, self.sizes, strict=True):
            lower = max(offset, self.start)
            upper = min(offset + size, self.start + self.shard_size)
            if lower < upper:
                yield name, shape, lower - offset, lower - self.start, upper - lower
            offset += size


def share_out(
    model: nn.Module, modules: list[nn.Module]
) -> list[tuple[nn.Module, dict[str, nn.Parameter]]]:
    """Share the parameters out among modules; the model takes what is left."""
    owners: dict[nn.Parameter, list[nn.Module]] = {}
    for module in modules:
        for param in module.parameters():
            owners.setdefault(param, []).append(module)
    shares: dict[nn.Module, dict[str, nn.Parameter]] = {model: {}}
    shares.update({module: {} for module in modules})
    for name, param in model.named_parameters():
        own = owners.get(param, [])
        shares[own[0] if len(own) == 1 else model][name] = param
    return list(shares.items())


def by_kind(params: dict[str, nn.Parameter]) -> list[dict[str, nn.Parameter]]:
    """Part parameters by dtype, and by whether they are trained."""
    kinds: dict[Any, dict[str, nn.Parameter]] = {}
    for name, param in params.items():
        kinds.setdefault((param.dtype, param.requires_grad), {})[name] = param
    return list(kinds.values())
