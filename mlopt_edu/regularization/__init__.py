"""Regularization: what keeps a network from learning its training set by heart."""

from mlopt_edu.regularization.clipping import (
    clip_by_global_norm_,
    clip_by_value_,
    global_norm,
)
from mlopt_edu.regularization.drop_connect import DropConnect
from mlopt_edu.regularization.dropout import Dropout, SpatialDropout, dropout
from mlopt_edu.regularization.early_stopping import EarlyStopping
from mlopt_edu.regularization.l1 import (
    ProximalL1,
    l1_penalty,
    l1_subgradient_,
    proximal_l1_,
    soft_threshold,
)
from mlopt_edu.regularization.label_smoothing import (
    label_smoothing_loss,
    smooth_labels,
)
from mlopt_edu.regularization.max_norm import max_norm_
from mlopt_edu.regularization.moving_average import ExponentialMovingAverage
from mlopt_edu.regularization.stochastic_depth import (
    StochasticDepth,
    linear_drop_probabilities,
)
from mlopt_edu.regularization.weight_decay import decay_, decay_groups, l2_penalty

__all__ = [
    "DropConnect",
    "Dropout",
    "EarlyStopping",
    "ExponentialMovingAverage",
    "ProximalL1",
    "SpatialDropout",
    "StochasticDepth",
    "clip_by_global_norm_",
    "clip_by_value_",
    "decay_",
    "decay_groups",
    "dropout",
    "global_norm",
    "l1_penalty",
    "l1_subgradient_",
    "l2_penalty",
    "label_smoothing_loss",
    "linear_drop_probabilities",
    "max_norm_",
    "proximal_l1_",
    "smooth_labels",
    "soft_threshold",
]
