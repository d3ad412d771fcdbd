"""Pruning: which weights a network can do without, and what that saves.

Read `scores` and `masks` first: the equations, on plain tensors. Then `prune` and
`methods`, which an engineer calls:

    prune_(model, Magnitude(amount=0.9))     # masks, kept through training
    ... fine-tune ...
    make_permanent_(model)                   # zeros in plain weights
    sparsify_(model)                         # fewer bytes, and faster if sparse enough

`masked` is how masks live in a model; `schedule`, `rewind` and `movement` prune during
training. The subpackage `sparse` stores what is left, `structured` removes whole
neurons and channels.
"""

from mlopt_edu.pruning.masked import make_permanent_, masks_of
from mlopt_edu.pruning.masks import (
    keep_largest,
    keep_largest_global,
    keep_largest_per_row,
    n_m_mask,
)
from mlopt_edu.pruning.methods import NM, Magnitude, Random, Snip, Taylor, Wanda
from mlopt_edu.pruning.movement import Movement
from mlopt_edu.pruning.prune import Method, is_prunable, prune_
from mlopt_edu.pruning.report import Sparsity, WeightSparsity, sparsity
from mlopt_edu.pruning.rewind import rewind_
from mlopt_edu.pruning.schedule import cubic_sparsity
from mlopt_edu.pruning.scores import (
    magnitude_scores,
    movement_scores,
    snip_scores,
    taylor_scores,
    wanda_scores,
)
from mlopt_edu.pruning.sensitivity import sensitivity
from mlopt_edu.pruning.sparse import sparsify_

__all__ = [
    "NM",
    "Magnitude",
    "Method",
    "Movement",
    "Random",
    "Snip",
    "Sparsity",
    "Taylor",
    "Wanda",
    "WeightSparsity",
    "cubic_sparsity",
    "is_prunable",
    "keep_largest",
    "keep_largest_global",
    "keep_largest_per_row",
    "magnitude_scores",
    "make_permanent_",
    "masks_of",
    "movement_scores",
    "n_m_mask",
    "prune_",
    "rewind_",
    "sensitivity",
    "snip_scores",
    "sparsify_",
    "sparsity",
    "taylor_scores",
    "wanda_scores",
]
