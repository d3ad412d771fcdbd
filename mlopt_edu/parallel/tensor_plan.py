"""A model made tensor-parallel by a plan: which layer is cut, and how.

    shard_(model, {"*.mlp_in": Column(), "*.mlp_out": Row()})

Each rank makes the whole model first, with the same weights, and keeps its part.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from mlopt_edu.parallel.tensor import (
    ColumnParallelLinear,
    Group,
    RowParallelLinear,
    gather_from_group,
)
from mlopt_edu.parallel.tensor_vocabulary import VocabularyParallelEmbedding


@dataclass(frozen=True)
class Column:
    """Make a linear layer column-parallel: see `ColumnParallelLinear`."""

    blocks: int = 1
    multiple_of: int = 1
    gather_output: bool = False


@dataclass(frozen=True)
class Row:
    """Make a linear layer row-parallel: see `RowParallelLinear`."""

    multiple_of: int = 1


@dataclass(frozen=True)
class Vocabulary:
    """Cut an embedding along its ids: see `VocabularyParallelEmbedding`."""


Plan = Mapping[str, Column | Row | Vocabulary]


def shard_(model: nn.Module, plan: Plan, *, group: Group = None) -> None:
    """Replace the layers that a plan names by this rank's part of them.

    A module that splits features into heads must be told how many are left to it:
    `block.heads = len(shard_range(block.heads, world_size, rank))`.

    Args:
        model: Module with the same weights on every rank; changed in place.
        plan: Pattern of qualified names, with `*` for anything, and what to do; the
            first pattern that fits counts.
        group: Ranks that share the model, all by default.

    Raises:
        ValueError: If a pattern fits no layer.
        TypeError: If a layer is not of the kind that its entry is for.
    """
    names = [name for name, _ in model.named_modules()]
    for pattern in plan:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"plan must name layers of the model, but none is {pattern!r}"
            )
    for name in names:
        entry = next((plan[key] for key in plan if fnmatchcase(name, key)), None)
        if entry is not None:
            layer = _sharded(name, model.get_submodule(name), entry, group)
            model.set_submodule(name, layer)


def _sharded(
    name: str, layer: nn.Module, entry: Column | Row | Vocabulary, group: Group
) -> nn.Module:
    kind = nn.Embedding if isinstance(entry, Vocabulary) else nn.Linear
    if not isinstance(layer, kind):
        raise TypeError(
            f"plan must have {type(entry).__name__} for {kind.__name__} layers, "
            f"but {name!r} is {type(layer).__name__}"
        )
    if isinstance(layer, nn.Embedding):
        return VocabularyParallelEmbedding(layer, group=group)
    assert isinstance(layer, nn.Linear)
    if isinstance(entry, Column):
        return ColumnParallelLinear(
            layer,
            blocks=entry.blocks,
            multiple_of=entry.multiple_of,
            gather_output=entry.gather_output,
            group=group,
        )
    assert isinstance(entry, Row)
    return RowParallelLinear(layer, multiple_of=entry.multiple_of, group=group)


@torch.no_grad()
def full_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of the whole model, gathered from all ranks.

    The ranks must call it together. Its names and shapes are those of the model
    before `shard_`.

    Args:
        model: Module with parallel layers anywhere inside.
    """
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    for prefix, name, dim, parts, group in _cuts(model):
        key = f"{prefix}.{name}" if prefix else name
        state[key] = _assembled(state[key], dim, parts, group)
    return state


def _cuts(
    model: nn.Module,
) -> Iterator[tuple[str, str, int, list[list[int]], Group]]:
    """Yield every cut parameter: where it is, along what, and who has what."""
    for prefix, module in model.named_modules():
        if isinstance(module, ColumnParallelLinear):
            yield prefix, "weight", 0, module.rows, module.group
            if module.bias is not None:
                yield prefix, "bias", 0, module.rows, module.group
        elif isinstance(module, RowParallelLinear):
            yield prefix, "weight", 1, module.columns, module.group
        elif isinstance(module, VocabularyParallelEmbedding):
            yield prefix, "weight", 0, module.rows, module.group


def _assembled(
    part: Tensor, dim: int, indices: list[list[int]], group: Group
) -> Tensor:
    sizes = [len(mine) for mine in indices]
    together = gather_from_group(part.movedim(dim, -1), sizes, group=group)
    whole = torch.empty_like(together)
    whole[..., [index for mine in indices for index in mine]] = together
    return whole.movedim(-1, dim).contiguous()
