"""Sort classes of atoms into units, and units that are alike into groups."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mlopt_edu.pruning.structured.atoms import FIRST, FIXED, Atoms, IntArray
from mlopt_edu.pruning.structured.groups import Group, Member, Role
from mlopt_edu.pruning.structured.known import fixed
from mlopt_edu.pruning.structured.seen import Dims, Seen


def sort_into_groups(
    labels: Mapping[str, Dims],
    dimensions: Sequence[tuple[str, int]],
    atoms: Atoms,
    seen: Seen,
) -> tuple[tuple[Group, ...], dict[str, str]]:
    """Return the groups, and for each layer that makes channels in none of them, why.

    Args:
        labels: For every parameter and buffer, the atoms of its dimensions.
        dimensions: Tensor and dimension of each number that `seen` uses.
        atoms: Their classes.
        seen: What the run has shown.
    """
    makes, reads = set(seen.makes), set(seen.reads)
    for together in seen.together:
        for found in (makes, reads):
            if found & together:
                found |= together

    def role(number: int) -> Role:
        if number in makes:
            return Role.MAKES
        return Role.READS if number in reads else Role.FOLLOWS

    averaged = [atoms.live(array) for array in seen.averaged]
    of_averaged = np.unique(np.concatenate([*averaged, np.array([FIXED])]))
    groups: list[Group] = []
    names: dict[str, int] = {}
    for units, places in _alike([atoms.live(labels[t][dim]) for t, dim in dimensions]):
        members = tuple(
            Member(tensor, _layer_of(tensor), dim, index, role(number))
            for number, index in places
            for tensor, dim in [dimensions[number]]
        )
        layers = tuple(dict.fromkeys(m.layer for m in members if m.role is Role.MAKES))
        if len(units) < 2 or not layers:
            continue
        name = layers[0] or members[0].tensor
        names[name] = names.get(name, 0) + 1
        suffix = f" ({names[name]})" if names[name] > 1 else ""
        is_averaged = bool(np.isin(units, of_averaged).any())
        groups.append(
            Group(name + suffix, len(units), layers, members, is_averaged, units)
        )
    pruned = {layer for group in groups for layer in group.layers}
    kept = {}
    for number in sorted(makes):
        tensor, dim = dimensions[number]
        if _layer_of(tensor) not in pruned:
            why = atoms.why_frozen(labels[tensor][dim])
            kept[_layer_of(tensor)] = why or "they can only go all together"
    return tuple(groups), kept


def _alike(
    arrays: Sequence[IntArray],
) -> Iterator[tuple[IntArray, list[tuple[int, IntArray]]]]:
    """Yield units that touch as many indices of the same dimensions, and which.

    Args:
        arrays: For each dimension the class at each index.
    """
    unit = np.concatenate([*arrays, fixed([0])[0]])
    number = np.repeat(np.arange(len(arrays)), [len(array) for array in arrays])
    index = np.concatenate([np.arange(len(a)) for a in arrays] + [fixed([0])[0]])
    real = unit >= FIRST
    unit, number, index = unit[real], number[real], index[real]
    order = np.lexsort((index, number, unit))
    unit, number, index = unit[order], number[order], index[order]
    if not len(unit):
        return
    # A run: the indices of one unit in one dimension.
    new = np.diff(unit, prepend=-1).astype(bool) | (np.diff(number, prepend=-1) != 0)
    start = np.nonzero(new)[0]
    count = np.diff(start, append=len(unit))
    first_run = np.nonzero(np.diff(unit[start], prepend=-1))[0]
    alike: dict[tuple[bytes, bytes], list[int]] = {}
    for begin, end in zip(first_run, [*first_run[1:], len(start)], strict=True):
        numbers = number[start[begin:end]]
        key = (numbers.tobytes(), count[begin:end].tobytes())
        alike.setdefault(key, []).append(int(begin))
    for (numbers_key, counts_key), begins in alike.items():
        runs = np.array(begins)
        shape = zip(
            np.frombuffer(numbers_key, dtype=np.int64).tolist(),
            np.frombuffer(counts_key, dtype=np.int64).tolist(),
            strict=True,
        )
        places = [
            (dimension, index[start[runs + place][:, None] + np.arange(size)])
            for place, (dimension, size) in enumerate(shape)
        ]
        yield unit[start[runs]], places


def _layer_of(tensor: str) -> str:
    """Return the name of the layer that a parameter belongs to."""
    layer, parametrized, _ = tensor.partition(".parametrizations.")
    if tensor.startswith("parametrizations."):
        return ""
    return layer if parametrized else tensor.rpartition(".")[0]
