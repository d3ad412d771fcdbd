"""Distillation: losses and helpers that fit any training loop, and own none.

Read first: `soft_targets` (the equation), `teacher` (frozen, or asked once), then
`taps` and `features` (hints from inside). `data_free` needs no data, `generations` no
larger teacher. `transfer`, `net2wider` and `net2deeper` hand on weights instead of
answers: they are here for contrast.

    with frozen(teacher):
        for images, labels in batches:
            loss = distillation_loss(student(images), teacher(images), labels)
            ...
"""

from mlopt_edu.distillation.data_free import (
    matched_noise,
    statistics_gap,
    statistics_gaps,
    synthesize_inputs,
    total_variation,
)
from mlopt_edu.distillation.decoupled import decoupled_loss
from mlopt_edu.distillation.features import (
    Projector,
    attention_map,
    attention_transfer_loss,
    hint_loss,
)
from mlopt_edu.distillation.generations import Ensemble, Generation, born_again
from mlopt_edu.distillation.net2deeper import deepen_, identity_layer
from mlopt_edu.distillation.net2wider import (
    copy_shares,
    net2wider,
    replication_mapping,
    widen_,
)
from mlopt_edu.distillation.relational import (
    relational_angle_loss,
    relational_distance_loss,
)
from mlopt_edu.distillation.soft_targets import (
    distillation_loss,
    logit_regression_loss,
    soft_target_loss,
)
from mlopt_edu.distillation.taps import Taps
from mlopt_edu.distillation.teacher import cache_outputs, frozen
from mlopt_edu.distillation.transfer import (
    discriminative_groups,
    freeze_,
    replace_head_,
    unfreeze_,
)

__all__ = [
    "Ensemble",
    "Generation",
    "Projector",
    "Taps",
    "attention_map",
    "attention_transfer_loss",
    "born_again",
    "cache_outputs",
    "copy_shares",
    "decoupled_loss",
    "deepen_",
    "discriminative_groups",
    "distillation_loss",
    "freeze_",
    "frozen",
    "hint_loss",
    "identity_layer",
    "logit_regression_loss",
    "matched_noise",
    "net2wider",
    "relational_angle_loss",
    "relational_distance_loss",
    "replace_head_",
    "replication_mapping",
    "soft_target_loss",
    "statistics_gap",
    "statistics_gaps",
    "synthesize_inputs",
    "total_variation",
    "unfreeze_",
    "widen_",
]
