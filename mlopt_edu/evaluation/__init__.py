"""How good, how sure, how expensive: what a claim about a model must be measured by."""

from mlopt_edu.evaluation.stability import mean_interval

__all__ = ["mean_interval"]
