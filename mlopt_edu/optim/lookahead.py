r"""Lookahead: k steps of any optimizer forward, one step of its slow weights after it.

    θ_{t,0} = φ_{t-1}
    θ_{t,i} = θ_{t,i-1} + one step of the inner optimizer      for i = 1 to k
    φ_t     = φ_{t-1} + alpha * (θ_{t,k} - φ_{t-1})

Paper: Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", 2019,
arXiv:1907.08610, algorithm 1. Differs from the paper: nothing. The inner optimizer
keeps its momentum over a synchronization, which the paper leaves open.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from mlopt_edu.optim.multi_tensor import T, Tensors
from mlopt_edu.optim.wrapper import Wrapper


def lookahead_update(param: T, slow_param: T, *, alpha: float) -> None:
    """Move `slow_param` towards `param` and `param` onto it, both in place.

    Args:
        param: Fast weights θ_{t,k}, a tensor of any shape, or `Tensors`; become φ_t.
        slow_param: Slow weights φ_{t-1}, same shape as `param`; become φ_t.
        alpha: Share of the way, in (0, 1].

    Example:
        >>> fast, slow = torch.tensor([4.0]), torch.tensor([0.0])
        >>> lookahead_update(fast, slow, alpha=0.25)
        >>> fast, slow
        (tensor([1.]), tensor([1.]))
    """
    slow_param.lerp_(param, alpha)
    param.copy_(slow_param)


class Lookahead(Wrapper):
    """Lookahead around any optimizer.

    Evaluate and store the model after a multiple of `k` steps: there the parameters
    are the slow weights.
    Memory: one buffer of the parameter's size and dtype, and that of the inner one.

    Args:
        optimizer: The inner optimizer, of any class.
        k: Steps between synchronizations, at least 1.
        alpha: Share of the way that the slow weights go, in (0, 1].

    A group may have its own, as `lookahead_k` and `lookahead_alpha`: inner optimizers
    have options called `alpha`, too.

    Raises:
        ValueError: If `k` or `alpha`, or a group's own, is out of its range.
    """

    def __init__(self, optimizer: Optimizer, *, k: int = 5, alpha: float = 0.5) -> None:
        defaults = {"lookahead_k": k, "lookahead_alpha": alpha, "lookahead_step": 0}
        super().__init__(optimizer, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        k, alpha = options["lookahead_k"], options["lookahead_alpha"]
        if not 1 <= k < math.inf:
            raise ValueError(f"k must be a count of at least 1, got {k}")
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha must lie in (0, 1], got {alpha}")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step of the inner optimizer, and every k-th time the slow one's."""
        starts = self._starts(may_get_gradients=closure is not None)
        loss = self.optimizer.step(closure)
        for param, start in starts.items():
            # A gradient has moved it, and its state was set up by the inner optimizer.
            if param.grad is not None:
                self.state[param]["slow_param"] = start
        for group in self.param_groups:
            ahead = (group["lookahead_step"] + 1) % group["lookahead_k"]
            group["lookahead_step"] = ahead
            if ahead == 0:
                self._synchronize(group)
        return loss

    def _starts(self, *, may_get_gradients: bool) -> dict[Tensor, Tensor]:
        """Copy what may move now for the first time: its slow weights begin there."""
        return {
            param: param.clone()
            for group in self.param_groups
            for param in group["params"]
            if "slow_param" not in self.state.get(param, {})
            and (param.grad is not None or may_get_gradients)
        }

    def _synchronize(self, group: dict[str, Any]) -> None:
        ahead = [
            param
            for param in group["params"]
            if "slow_param" in self.state.get(param, {})
        ]
        if ahead:
            slow_params = [self.state[param]["slow_param"] for param in ahead]
            lookahead_update(
                Tensors(ahead), Tensors(slow_params), alpha=group["lookahead_alpha"]
            )
