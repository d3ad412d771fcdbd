r"""Early stopping: stop when the validation score no longer improves, keep the best.

    improved at t    if score_t < best - min_delta
    stop             after `patience` scores in a row without improvement

The score must come from a validation set. A test set that chooses the moment to stop
has been trained on, and what it says afterwards is too good.

Paper: Prechelt, "Early Stopping - But When?", 1998. Differs from the paper: patience
counts scores without improvement on the best one (its criterion UP counts rises in a
row).
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn


class EarlyStopping:
    """Watch a validation score, hold the best weights, say when to stop.

    Memory: one copy of the model's parameters and buffers.

    Args:
        model: The model in training; weights are copied from it and restored to it.
        patience: Scores in a row without improvement before stopping, at least 1.
        min_delta: How much better than the best a score must be, at least 0.
        maximize: The score is an accuracy, not a loss.

    Attributes:
        best: The best score so far; None before the first that is a number.
        best_step: Which score that was, counted from 0; None before.
        step: How many scores have been seen.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> stopping = EarlyStopping(nn.Linear(2, 1), patience=2)
        >>> [stopping.update(loss) for loss in (3.0, 1.0, 1.5, 1.2)]
        [False, False, False, True]
        >>> stopping.restore_(); stopping.best, stopping.best_step
        (1.0, 1)
    """

    def __init__(
        self,
        model: nn.Module,
        patience: int = 5,
        *,
        min_delta: float = 0.0,
        maximize: bool = False,
    ) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        if not 0 <= min_delta < math.inf:
            raise ValueError(
                f"min_delta must be finite and at least 0, got {min_delta}"
            )
        self.model = model
        self.patience = patience
        self.min_delta = min_delta
        self.maximize = maximize
        self.best: float | None = None
        self.best_step: int | None = None
        self.step = 0
        self._waited = 0
        self._weights: dict[str, Any] | None = None

    def update(self, score: float | Tensor) -> bool:
        """Take the next validation score; return whether to stop.

        A score that is NaN is no improvement.
        """
        score = float(score)
        if self._is_improvement(score):
            self.best, self.best_step, self._waited = score, self.step, 0
            self._weights = _copied(self.model.state_dict())
        else:
            self._waited += 1
        self.step += 1
        return self._waited >= self.patience

    def restore_(self) -> None:
        """Put the best weights and buffers back into the model.

        Raises:
            RuntimeError: If no score has been a number yet.
        """
        if self._weights is None:
            raise RuntimeError(
                "restore_ must follow an update with a score that is a number, "
                f"got {self.step} scores and none"
            )
        self.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to go on later, best weights included."""
        return {
            "best": self.best,
            "best_step": self.best_step,
            "step": self.step,
            "waited": self._waited,
            "weights": _copied(self._weights),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned; options stay those of this object."""
        self.best = state_dict["best"]
        self.best_step = state_dict["best_step"]
        self.step = state_dict["step"]
        self._waited = state_dict["waited"]
        self._weights = _copied(state_dict["weights"])

    def _is_improvement(self, score: float) -> bool:
        if math.isnan(score) or self.best is None:
            return not math.isnan(score)
        gain = score - self.best if self.maximize else self.best - score
        return gain > self.min_delta


def _copied(weights: dict[str, Any] | None) -> Any:
    # A state_dict shares memory with the model, and may hold more than tensors.
    if weights is None:
        return None
    return {
        name: value.detach().clone()
        if isinstance(value, torch.Tensor)
        else copy.deepcopy(value)
        for name, value in weights.items()
    }
