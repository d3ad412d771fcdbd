"""Rules of the operators that layers are made of: products, convolutions, norms.

A product with a weight *reads* the channels of its input and *makes* new ones: these
are what pruning counts, ranks and removes. Norms, pools and biases only follow.
"""

import re
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from mlopt_edu.pruning.structured.atoms import FIRST, FIXED
from mlopt_edu.pruning.structured.known import fixed
from mlopt_edu.pruning.structured.rules_entry import Args, Rule, by_operator
from mlopt_edu.pruning.structured.seen import Choice, Dims
from mlopt_edu.pruning.structured.tracker import Tracker


def product(left_name: str, right_name: str, addend_name: str = "") -> Rule:
    """Multiply (..., n, k) by (..., k, m), where a vector lacks n or m."""

    def rule(t: Tracker, a: Args, out: Tensor) -> Dims:
        left, right = a[left_name], a[right_name]
        x, w = t.dims(left), t.dims(right)
        read = w[-2] if len(w) > 1 else w[-1]
        made = (*w[:-2], *w[-1:]) if len(w) > 1 else ()
        t.unite(x[-1], read)
        # One after another for each matrix of a batch.
        readers = np.tile(read, len(w[0]) if len(w) > 2 else 1)
        if t.product(right, left, made=made, read=[read]):
            samples = left.movedim(-2, 0) if len(x) > 1 else left[None]
            fan_out = partial(_column_sums, right, -1)
            t.read(samples.reshape(len(samples), 1, -1), fan_out, readers)
        if not (t.is_weight(left) or t.is_weight(right)):
            # Of activations with each other, often scaled by how many there are.
            t.average(read)
        if t.product(left, right, made=x[:-1], read=[read]):
            samples = right.movedim(-1, 0) if len(w) > 1 else right[None]
            fan_out = partial(_column_sums, left, -2)
            t.read(samples.reshape(len(samples), 1, -1), fan_out, readers)
        batch = t.broadcast([x[:-2], w[:-2]], out.shape[:-2]) if len(w) > 2 else ()
        dims = (*batch, *x[-2:-1], *(w[-1:] if len(w) > 1 else ()))
        if not addend_name:
            return dims
        return t.broadcast([t.dims(a[addend_name]), dims], out.shape)

    return rule


def _column_sums(weight: Tensor, dim: int) -> Tensor:
    sums = weight.abs().sum(dim=dim) if weight.ndim > 1 else weight.abs()
    return sums.flatten()


def convolution(t: Tracker, a: Args, out: Tensor) -> Dims:
    """A convolution of any rank, transposed or not, in groups or not."""
    x, weight, groups = a["input"], a["weight"], a["groups"]
    (batch, channels, *places), (first, second, *kernel) = t.dims(x), t.dims(weight)
    for array in (*places, *kernel):
        t.keep(array, "slides over it")
    read, made = (first, second) if a["transposed"] else (second, first)
    if groups == 1:
        t.unite(channels, read)
    else:
        # Channels go as whole groups, or as the same place of every group.
        finer = Choice.ROWS if groups * groups >= len(channels) else Choice.COLUMNS
        rows, columns = t.divide(channels, groups, finer)
        whole = (t.atoms.live(rows) >= FIRST).any()
        side = Choice.ROWS if whole else Choice.COLUMNS
        if a["transposed"]:
            # The weight is (in, out / groups, ...).
            t.unite(channels, read)
            if whole:
                t.keep(made)
                made = np.repeat(rows, len(made))
            else:
                made = np.tile(made, groups)
        else:
            t.unite(columns, read)
            made_rows, _ = t.divide(made, groups, side, forced=True)
            t.unite(rows, made_rows)
        t.count("groups", rows)
    if a["bias"] is not None:
        t.unite(made, t.dims(a["bias"])[0])
    if t.product(weight, x, made=[first if read is second else second], read=[read]):
        fan_out = partial(_fan_out, weight, groups, transposed=a["transposed"])
        t.read(x.flatten(2).transpose(1, 2), fan_out, channels)
    return (batch, made, *fixed(out.shape[2:]))


def _fan_out(weight: Tensor, groups: int, *, transposed: bool) -> Tensor:
    if transposed:
        return weight.abs().flatten(1).sum(dim=1)
    per_group = weight.abs().reshape(groups, -1, *weight.shape[1:]).flatten(3)
    return per_group.sum(dim=(1, 3)).flatten()


def embedding(t: Tracker, a: Args, out: Any) -> Dims:
    """Rows of a table by number; a row is no channel, a column is one."""
    rows, columns = t.dims(a["weight"])
    t.keep(rows, "looks rows up by number")
    t.product(a["weight"], a["indices"], made=[columns], read=[])
    first = out if isinstance(out, Tensor) else out[0]
    return (*fixed(first.shape[:-1]), columns)


def attention(t: Tracker, a: Args, out: Any) -> Dims:
    """Scaled dot products: heads stay aligned; features enter the scale."""
    query, key, value = (t.dims(a[name]) for name in ("query", "key", "value"))
    if len(query[1]) != len(key[1]):
        raise NotImplementedError
    for other in (key, value):
        for one, two in zip(query[:-2], other[:-2], strict=True):
            t.unite(one, two)
    t.unite(key[-2], value[-2])
    t.unite(query[-1], key[-1])
    t.average(query[-1])
    return (*query[:-1], value[-1])


def batch_norm(t: Tracker, a: Args, out: Any) -> list[Dims]:
    """A norm with numbers of its own for every channel."""
    dims = t.dims(a["input"])
    for name in ("weight", "bias", "running_mean", "running_var"):
        if a.get(name) is not None:
            t.unite(dims[1], t.dims(a[name])[0])
    return [dims]


def layer_norm(t: Tracker, a: Args, out: Any) -> list[Dims]:
    """A norm over the last dimensions."""
    dims = t.dims(a["input"])
    last = dims[len(dims) - len(a["normalized_shape"]) :]
    for position, array in enumerate(last):
        t.average(array)
        t.count("normalized_shape", array, position)
    for name in ("weight", "bias"):
        if a.get(name) is not None:
            for one, two in zip(last, t.dims(a[name]), strict=True):
                t.unite(one, two)
    return [dims]


def group_norm(t: Tracker, a: Args, out: Any) -> list[Dims]:
    """A norm over groups of channels: whole groups go, or a place of each."""
    dims = t.dims(a["input"])
    groups = a["group"]
    finer = Choice.ROWS if groups * groups >= len(dims[1]) else Choice.COLUMNS
    rows, columns = t.divide(dims[1], groups, finer)
    t.average(columns)
    t.count("num_groups", rows)
    for name in ("weight", "bias"):
        if a.get(name) is not None:
            t.unite(dims[1], t.dims(a[name])[0])
    return [dims]


def places(spatial: int) -> Rule:
    """Pool, pad or resize the last `spatial` dimensions; channels stay."""

    def rule(t: Tracker, a: Args, out: Any) -> Dims:
        dims = t.dims(a["self"] if "self" in a else a["input"])
        for array in dims[-spatial:]:
            t.keep(array, "slides over it")
        first = out if isinstance(out, Tensor) else out[0]
        return (*dims[:-spatial], *fixed(first.shape[-spatial:]))

    return rule


def patches(t: Tracker, a: Args, out: Tensor) -> Dims:
    """Gather sliding patches: channels (c, kernel) by places."""
    *lead, channels, _, _ = t.dims(a["self"])
    repeats = out.shape[-2] // len(channels)
    return (*lead, np.repeat(channels, repeats), np.full(out.shape[-1], FIXED))


def unite_attention_widths(t: Tracker, modules: list[nn.Module]) -> None:
    """Tie the width inside `nn.MultiheadAttention` to the width outside.

    The module computes one from the other, so place i of queries, keys and values goes
    together with place i of the input and of the output.
    """
    for module in modules:
        if isinstance(module, nn.MultiheadAttention) and module._qkv_same_embed_dim:
            t.operator = "MultiheadAttention"
            inside, outside = t.dims(module.in_proj_weight)
            made, read = t.dims(module.out_proj.weight)
            for array in (*inside.reshape(3, -1), made, read):
                t.unite(outside, array)


_PLACES = """
    avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d
    max_pool2d_with_indices max_pool3d_with_indices
    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d upsample_linear1d upsample_bilinear2d upsample_bicubic2d
    upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
    replication_pad2d replication_pad3d fractional_max_pool2d max_unpool2d
"""
_TABLE: list[tuple[str, Rule]] = [
    ("mm bmm", product("self", "mat2")),
    ("addmm addmm_ _addmm_activation", product("mat1", "mat2", "self")),
    ("baddbmm baddbmm_", product("batch1", "batch2", "self")),
    ("mv", product("self", "vec")),
    ("addmv addmv_", product("mat", "vec", "self")),
    ("dot", product("self", "tensor")),
    ("vdot", product("self", "other")),
    ("convolution _convolution convolution_overrideable", convolution),
    ("embedding _embedding_bag _embedding_bag_forward_only", embedding),
    ("_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"
     " _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention",
     attention),
    ("native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training"
     " cudnn_batch_norm miopen_batch_norm _batch_norm_no_update"
     " _batch_norm_with_update", batch_norm),
    ("native_layer_norm _fused_rms_norm", layer_norm),
    ("native_group_norm", group_norm),
    ("im2col", patches),
]  # fmt: skip
_PLACES_TABLE = [
    (name, places(int(re.findall(r"(\d)d", name)[0]))) for name in _PLACES.split()
]
LAYER_RULES = by_operator([*_TABLE, *_PLACES_TABLE])
