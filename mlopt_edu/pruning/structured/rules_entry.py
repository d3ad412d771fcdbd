"""Rules of the operators that compute entries: one by one, along dimensions, over them.

A rule gets the tracker, the operator's arguments by name and its output, and returns
the dimensions of the output: once if all outputs are alike, else a list. Dimensions may
be counted from the end, as in torch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from mlopt_edu.pruning.structured.atoms import ANY, FIRST, FIXED
from mlopt_edu.pruning.structured.seen import Dims
from mlopt_edu.pruning.structured.tracker import Tracker

Args = dict[str, Any]
Rule = Callable[[Tracker, Args, Any], Dims | list[Dims]]

aten = torch.ops.aten


def entrywise(t: Tracker, a: Args, out: Any) -> Dims:
    """Unite the dimensions of all arguments."""
    tensors = [leaf for leaf in tree_leaves(a) if isinstance(leaf, Tensor)]
    first = next(leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
    weights = [t.dims(tensor) for tensor in tensors if t.is_weight(tensor)]
    if len(weights) > 1:
        for arrays in zip(*(reversed(dims) for dims in weights), strict=False):
            t.combine(*arrays)
    return t.broadcast([t.dims(tensor) for tensor in tensors], first.shape)


def equal_entries(t: Tracker, a: Args, out: Tensor) -> Dims:
    """A new tensor of equal or equally distributed entries fits any channel."""
    return tuple(np.full(size, ANY) for size in out.shape)


def whole_dim(t: Tracker, a: Args, out: Any) -> Dims:
    """Work along a dimension in which every entry depends on the others."""
    dims = list(t.dims(a["self"]))
    given = a.get("dim", a.get("dims", ()))
    for dim in (given,) if isinstance(given, int) else given or range(len(dims)):
        t.keep(dims[dim], "runs over all of its channels")
    first = next(leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
    pairs = zip(dims, first.shape, strict=True)
    return tuple(d if len(d) == n else np.full(n, FIXED) for d, n in pairs)


def reduce(t: Tracker, a: Args, out: Any) -> Dims:
    """Reduce over dimensions by a sum, to which zeros add nothing.

    Weights are summed to be divided by it, so that what reads a channel does matter.
    """
    dims = t.dims(a["self"])
    for dim in _reduced(a, len(dims)) if t.is_weight(a["self"]) else ():
        t.average(dims[dim])
    return _reduce(t, a)


def average(t: Tracker, a: Args, out: Any) -> Dims:
    """Reduce by a mean, or anything else in which a zero counts."""
    dims = t.dims(a["self"])
    for dim in _reduced(a, len(dims)):
        t.average(dims[dim])
    return _reduce(t, a)


def glu(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Multiply one half of a dimension with a gate from the other."""
    dims = list(t.dims(a["self"]))
    halves = dims[a["dim"]].reshape(2, -1)
    t.unite(halves[0], halves[1])
    dims[a["dim"]] = halves[0]
    return tuple(dims)


def weight_norm(t: Tracker, a: Args, out: Sequence[Tensor]) -> list[Dims]:
    """Give each row of a weight its length, over which its columns are averaged."""
    direction, length = t.dims(a["v"]), t.dims(a["g"])
    for dim, array in enumerate(direction):
        if len(array) == len(length[dim]):
            t.unite(array, length[dim])
            t.combine(array, length[dim])
        else:
            t.average(array)
    return [direction, length]


def _reduced(a: Args, ndim: int) -> list[int]:
    given = a.get("dim")
    dims = [given] if isinstance(given, int) else given or range(ndim)
    return [dim % ndim for dim in dims] if ndim else []


def _reduce(t: Tracker, a: Args) -> Dims:
    dims = t.dims(a["self"])
    reduced = _reduced(a, len(dims))
    if a.get("keepdim"):
        one = np.array([FIXED])
        return tuple(one if i in reduced else d for i, d in enumerate(dims))
    return tuple(d for i, d in enumerate(dims) if i not in reduced)


def has_channels(t: Tracker, tensor: Tensor) -> bool:
    """Say whether some dimension holds channels that may still go."""
    return any((t.atoms.live(array) >= FIRST).any() for array in t.dims(tensor))


def by_operator(table: Sequence[tuple[str, Rule]]) -> dict[Any, Rule]:
    """Return a table of rules by torch's operator, without those that it lacks."""
    return {
        getattr(aten, name): rule
        for names, rule in table
        for name in names.split()
        if hasattr(aten, name)
    }


# Entrywise operators are tagged as such in torch, but for these.
_ENTRYWISE = """
    _to_copy clone copy copy_ detach alias lift_fresh lift contiguous fill fill_ zero_
    masked_fill_ masked_scatter native_dropout bernoulli bernoulli_ normal_ uniform_
    exponential_ zeros_like ones_like empty_like full_like rand_like randn_like
    hardswish hardswish_ _prelu_kernel log_sigmoid_forward rrelu_with_noise
    rrelu_with_noise_ _conj positive isfinite
    alpha_dropout feature_dropout
"""
_TABLE: list[tuple[str, Rule]] = [
    (_ENTRYWISE, entrywise),
    ("zeros ones full empty rand randn new_zeros new_ones new_full new_empty",
     equal_entries),
    ("index_select", whole_dim),
    ("_softmax _log_softmax _safe_softmax cumsum cumprod logcumsumexp flip roll rot90"
     " sort topk", whole_dim),
    ("sum linalg_vector_norm norm any count_nonzero", reduce),
    ("mean var std var_mean std_mean prod amax amin max min argmax argmin all logsumexp"
     " median", average),
    ("glu", glu),
    ("_weight_norm_interface", weight_norm),
]  # fmt: skip
ENTRY_RULES = by_operator(_TABLE)
