"""Mixed precision: 16-bit arithmetic where it is safe, float32 where it is not."""

from mlopt_edu.mixed_precision.formats import (
    FormatFacts,
    format_facts,
    round_to,
    spacing,
    underflow_share,
)
from mlopt_edu.mixed_precision.loss_scaler import LossScaler
from mlopt_edu.mixed_precision.master_weights import MasterWeights

__all__ = [
    "FormatFacts",
    "LossScaler",
    "MasterWeights",
    "format_facts",
    "round_to",
    "spacing",
    "underflow_share",
]
