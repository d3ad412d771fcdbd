"""Structured pruning: filters, neurons, channels and heads removed for real.

    from mlopt_edu.pruning import prune_
    from mlopt_edu.pruning.structured import Channels

    prune_(model, Channels(amount=0.5, example_inputs=x))     # a smaller model

Read `scores` first: what makes a unit important, as equations. `channels` and
`importance` are what an engineer calls, with `trace` to look at the groups before and
`remove_` to choose the units oneself. How the dependencies are found is told from
`atoms` (single channels, united) over `tracker` and the three files of rules (what each
operator does to channels) to `run`, `tracing` and `trial`.
"""

from mlopt_edu.pruning.structured.channels import Channels
from mlopt_edu.pruning.structured.data_importance import (
    ActivationEntropy,
    Nonzeros,
    UnitTaylor,
    UnitWanda,
)
from mlopt_edu.pruning.structured.groups import Graph, Group, Member, Role
from mlopt_edu.pruning.structured.importance import (
    BatchNormScale,
    Importance,
    L1Norm,
    L2Norm,
    RandomUnits,
)
from mlopt_edu.pruning.structured.remove import remove_
from mlopt_edu.pruning.structured.scores import (
    activation_entropy,
    unit_norms,
    unit_taylor_scores,
)
from mlopt_edu.pruning.structured.select import lowest_units
from mlopt_edu.pruning.structured.sensitivity import channel_sensitivity
from mlopt_edu.pruning.structured.tracing import trace

__all__ = [
    "ActivationEntropy",
    "BatchNormScale",
    "Channels",
    "Graph",
    "Group",
    "Importance",
    "L1Norm",
    "L2Norm",
    "Member",
    "Nonzeros",
    "RandomUnits",
    "Role",
    "UnitTaylor",
    "UnitWanda",
    "activation_entropy",
    "channel_sensitivity",
    "lowest_units",
    "remove_",
    "trace",
    "unit_norms",
    "unit_taylor_scores",
]
