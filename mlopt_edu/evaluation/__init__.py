"""How good, how sure, how expensive: what a claim about a model must be measured by."""

from mlopt_edu.evaluation.cost import LayerCost, Macs, count_macs
from mlopt_edu.evaluation.size import bytes_of, count_parameters
from mlopt_edu.evaluation.stability import mean_interval
from mlopt_edu.evaluation.timing import Compared, Spread, compare_latency, latency

__all__ = [
    "Compared",
    "LayerCost",
    "Macs",
    "Spread",
    "bytes_of",
    "compare_latency",
    "count_macs",
    "count_parameters",
    "latency",
    "mean_interval",
]
