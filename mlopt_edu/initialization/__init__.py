"""How a network starts, and how signals run through it before any training."""

from mlopt_edu.initialization.apply import initialize_
from mlopt_edu.initialization.fans import fan_in_and_fan_out
from mlopt_edu.initialization.gains import gain, mean_square
from mlopt_edu.initialization.kaiming import kaiming_normal_, kaiming_uniform_
from mlopt_edu.initialization.orthogonal import orthogonal_
from mlopt_edu.initialization.signals import LayerSignal, Signal, signal_statistics
from mlopt_edu.initialization.xavier import xavier_normal_, xavier_uniform_

__all__ = [
    "LayerSignal",
    "Signal",
    "fan_in_and_fan_out",
    "gain",
    "initialize_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "mean_square",
    "orthogonal_",
    "signal_statistics",
    "xavier_normal_",
    "xavier_uniform_",
]
