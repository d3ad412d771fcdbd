"""Rules of the operators that move entries: views, joins, cuts, shuffles."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlopt_edu.pruning.structured.atoms import ANY, FIXED, IntArray
from mlopt_edu.pruning.structured.known import fixed
from mlopt_edu.pruning.structured.rules_entry import Args, Rule, by_operator
from mlopt_edu.pruning.structured.seen import Choice, Dims
from mlopt_edu.pruning.structured.tracker import Tracker


def view(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Follow a change of shape that keeps the order of entries."""
    return t.reshape(t.dims(a["self"]), out.shape)


def permute(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Reorder dimensions."""
    dims = t.dims(a["self"])
    return tuple(dims[dim] for dim in a["dims"])


def transpose(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Swap two dimensions, by default the first two."""
    dims = list(t.dims(a["self"]))
    if len(dims) > 1:
        i, j = a.get("dim0", 0), a.get("dim1", 1)
        dims[i], dims[j] = dims[j], dims[i]
    return tuple(dims)


def expand(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Stretch dimensions of size 1, and add new ones on the left."""
    dims = t.dims(a["self"])
    added = out.ndim - len(dims)
    return fixed(out.shape[:added]) + tuple(
        # Of one entry seen many times, any may go with any channel.
        array if len(array) == size else np.full(size, array[0] or ANY)
        for array, size in zip(dims, out.shape[added:], strict=True)
    )


def repeat(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Tile dimensions."""
    dims = t.dims(a["self"])
    dims = (*fixed([1] * (out.ndim - len(dims))), *dims)
    return tuple(
        np.full(times, d[0] or ANY) if len(d) == 1 < times else np.tile(d, times)
        for d, times in zip(dims, a["repeats"], strict=True)
    )


def select(t: Tracker, a: Args, out: Any) -> Dims:
    """Take one index, or each, of a dimension, which must stay whole then."""
    dims = list(t.dims(a["self"]))
    t.keep(dims.pop(a["dim"]), "takes entries of it by number")
    return tuple(dims)


def cut(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Take a range of a dimension, which must stay whole then, unless it is all."""
    dims = list(t.dims(a["self"]))
    dim = a["dim"]
    if len(dims[dim]) != out.shape[dim]:
        t.keep(dims[dim], "takes a range of it")
        dims[dim] = np.full(out.shape[dim], FIXED)
    return tuple(dims)


def split(t: Tracker, a: Args, out: Sequence[Tensor]) -> list[Dims]:
    """Cut a dimension in pieces: equal ones lose the same places, others nothing."""
    dims = list(t.dims(a["self"]))
    dim = a["dim"]
    flat, sizes = dims[dim], [piece.shape[dim] for piece in out]
    pieces: list[IntArray]
    if len(sizes) == 1:
        pieces = [flat]
    elif len(set(sizes)) == 1:
        # The same place of each piece: this is what chunk() leaves after removal.
        table = flat.reshape(len(sizes), -1)
        t.unite(table, np.broadcast_to(table[0], table.shape))
        pieces = list(table)
    else:
        t.keep(flat, "cuts it into pieces of unequal size")
        pieces = [np.full(size, FIXED) for size in sizes]
    return [tuple([*dims[:dim], piece, *dims[dim:][1:]]) for piece in pieces]


def cat(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Join along one dimension; the others are the same."""
    dim = a["dim"] % out.ndim
    parts = [t.dims(x) for x in a["tensors"] if x.ndim == out.ndim]
    others = [(*part[:dim], np.array([FIXED]), *part[dim + 1 :]) for part in parts]
    shape = [*out.shape[:dim], 1, *out.shape[dim + 1 :]]
    joined = list(t.broadcast(others, shape))
    joined[dim] = np.concatenate([part[dim] for part in parts])
    return tuple(joined)


def stack(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Join along a new dimension."""
    dim = a["dim"] % out.ndim
    parts = [t.dims(x) for x in a["tensors"]]
    joined = t.broadcast(parts, [*out.shape[:dim], *out.shape[dim + 1 :]])
    return (*joined[:dim], np.full(out.shape[dim], FIXED), *joined[dim:])


def pad(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Add constant entries at the ends of dimensions, from the last."""
    dims = list(t.dims(a["self"]))
    amounts = a["pad"]
    for position in range(1, len(amounts) // 2 + 1):
        before, after = amounts[2 * position - 2 : 2 * position]
        if min(before, after) < 0:
            t.keep(dims[-position], "takes a range of it")
            dims[-position] = np.full(out.shape[-position], FIXED)
        else:
            ends = fixed((before, after))
            dims[-position] = np.concatenate([ends[0], dims[-position], ends[1]])
    return tuple(dims)


def index(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Look entries up by tensors, in dimensions next to each other."""
    dims = t.dims(a["self"])
    indices = [*a["indices"], *[None] * (len(dims) - len(a["indices"]))]
    places = [i for i, tensor in enumerate(indices) if tensor is not None]
    if any(indices[i].dtype in (torch.bool, torch.uint8) for i in places):
        raise NotImplementedError
    if places != list(range(places[0], places[-1] + 1)):
        raise NotImplementedError
    for i in places:
        t.keep(dims[i], "looks entries of it up by number")
    left = len(dims) - len(places)
    looked_up = fixed(out.shape[places[0] : out.ndim - left + places[0]])
    return dims[: places[0]] + looked_up + dims[places[-1] + 1 :]


def pixel_shuffle(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Turn channels (c, r, r) into r times larger images."""
    *lead, channels, _, _ = t.dims(a["self"])
    rows, columns = t.divide(channels, out.shape[-3], Choice.ROWS)
    t.keep(columns)
    return (*lead, rows, *fixed(out.shape[-2:]))


def pixel_unshuffle(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Turn patches of r * r pixels into channels (c, r, r)."""
    *lead, channels, _, _ = t.dims(a["self"])
    repeats = out.shape[-3] // len(channels)
    return (*lead, np.repeat(channels, repeats), *fixed(out.shape[-2:]))


def channel_shuffle(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Reorder channels (groups, n) as (n, groups)."""
    batch, channels, *rest = t.dims(a["self"])
    rows, columns = t.divide(channels, a["groups"], Choice.COLUMNS)
    return (batch, t.flatten(columns, rows), *rest)


_VIEWS = (
    "view _unsafe_view reshape _reshape_alias unsqueeze unsqueeze_ squeeze squeeze_"
)
_TABLE: list[tuple[str, Rule]] = [
    (_VIEWS, view),
    ("permute", permute),
    ("transpose transpose_ t t_", transpose),
    ("expand", expand),
    ("repeat", repeat),
    ("select unbind", select),
    ("slice", cut),
    ("split unsafe_split split_with_sizes unsafe_split_with_sizes", split),
    ("cat", cat),
    ("stack", stack),
    ("constant_pad_nd", pad),
    ("index", index),
    ("pixel_shuffle", pixel_shuffle),
    ("pixel_unshuffle", pixel_unshuffle),
    ("native_channel_shuffle channel_shuffle", channel_shuffle),
]  # fmt: skip
SHAPE_RULES = by_operator(_TABLE)
