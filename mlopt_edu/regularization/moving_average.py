r"""EMA: evaluate a running average of the weights instead of the last ones.

    a_0 = w_0;   a_t = decay * a_{t-1} + (1 - decay) * w_t                   plain
    m_0 = 0;     m_t = decay * m_{t-1} + (1 - decay) * w_t,
                 a_t = m_t / (1 - decay^t)                                   corrected

The average looks back about 1 / (1 - decay) steps and smooths the noise of the steps.
The plain form remembers the initial weights with weight decay^t (0.74 after 300 steps
at 0.999); the corrected one is an average of trained weights alone from the first step.

Papers: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging",
1992; the correction: Kingma and Ba, "Adam", 2014, arXiv:1412.6980, section 3.
Differs from the papers: exponential instead of equal weights; the correction is folded
into the rate, (1 - decay) / (1 - decay^t), which gives the same a_t.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Average a model's weights, and lend the average to the model on demand.

    Call `update` after each optimizer step, evaluate within `with ema.averaged():`.
    The average of 16-bit weights is kept in float32, where small changes are not
    rounded away. Memory: one copy of the parameters, a second one within `averaged`.

    Args:
        model: The model in training.
        decay: Share of the old average that is kept, in [0, 1).
        bias_correction: Leave the initial weights out of the average.
        average_buffers: Average floating-point buffers (batch-norm statistics) too;
            otherwise the model's own are used. Integer buffers are never averaged.

    Raises:
        ValueError: If `decay` is out of range.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> ema = ExponentialMovingAverage(model, decay=0.5)
        >>> for weight in (1.0, 4.0):
        ...     nn.init.constant_(model.weight, weight) and ema.update()
        >>> with ema.averaged():
        ...     round(model.weight.item(), 4), round((0.5 * 1 + 4) / 1.5, 4)
        (3.0, 3.0)
    """

    def __init__(
        self,
        model: nn.Module,
        decay: float = 0.999,
        *,
        bias_correction: bool = True,
        average_buffers: bool = False,
    ) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1), got {decay}")
        self.model = model
        self.decay = decay
        self.bias_correction = bias_correction
        self.average_buffers = average_buffers
        self.step = 0
        self._averages = {
            name: _widened(tensor).clone() for name, tensor in self._tracked().items()
        }
        self._lent = False

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the model's present weights.

        Raises:
            RuntimeError: If called within `averaged`, where the model holds the
                average itself.
        """
        self._refuse_while_lent("update")
        self.step += 1
        rate = 1 - self.decay
        if self.bias_correction:
            rate /= 1 - self.decay**self.step
        tracked = self._tracked()
        alike: dict[Any, tuple[list[Tensor], list[Tensor]]] = {}
        for name, average in self._averages.items():
            key = (average.device, average.dtype)
            averages, tensors = alike.setdefault(key, ([], []))
            averages.append(average)
            tensors.append(_widened(tracked[name]).to(average.device))
        for averages, tensors in alike.values():
            torch._foreach_lerp_(averages, tensors, rate)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the model hold the average; give it its own weights back on leaving."""
        self._refuse_while_lent("averaged")
        own = {name: tensor.clone() for name, tensor in self._tracked().items()}
        self._lent = True
        try:
            self.copy_to_(self.model)
            yield
        finally:
            with torch.no_grad():
                for name, tensor in self._tracked().items():
                    tensor.copy_(own[name])
            self._lent = False

    @torch.no_grad()
    def copy_to_(self, model: nn.Module) -> None:
        """Write the average into a model of the same architecture, for good."""
        tracked = self._tracked(model)
        for name, average in self._averages.items():
            tracked[name].copy_(average)

    def state_dict(self) -> dict[str, Any]:
        """Return the averages by parameter name, and how many updates they took."""
        averages = {name: average.clone() for name, average in self._averages.items()}
        return {"step": self.step, "averages": averages}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned; options stay those of this object.

        Raises:
            ValueError: If names or shapes are not those of the model.
        """
        given = state_dict["averages"]
        shapes = {name: tensor.shape for name, tensor in self._averages.items()}
        if {name: tensor.shape for name, tensor in given.items()} != shapes:
            raise ValueError(
                "state_dict must hold averages with the names and shapes of the model, "
                f"got {len(given)} averages for {len(shapes)} tensors of the model"
            )
        self.step = state_dict["step"]
        for name, average in self._averages.items():
            average.copy_(given[name])

    def _tracked(self, model: nn.Module | None = None) -> dict[str, Tensor]:
        model = self.model if model is None else model
        tracked = {name: param.detach() for name, param in model.named_parameters()}
        if self.average_buffers:
            for name, buffer in model.named_buffers():
                if buffer.is_floating_point():
                    tracked[name] = buffer.detach()
        return tracked

    def _refuse_while_lent(self, method: str) -> None:
        if self._lent:
            raise RuntimeError(
                f"{method} must be called while the model holds its own weights, got "
                "a call within averaged()"
            )


def _widened(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
