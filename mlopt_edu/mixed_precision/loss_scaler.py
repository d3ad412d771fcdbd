r"""Loss scaling: lift small gradients into the range of float16.

    backward of scale * loss            gradients come scale times larger
    grads <- grads / scale              before clipping and before the step
    any inf or NaN    skip the step,    scale <- scale * backoff_factor
    growth_interval steps without one   scale <- scale * growth_factor

The scale seeks the largest value that does not overflow, and probes again now and then.
bfloat16 has the range of float32 and needs none of this.

Paper: Micikevicius et al., "Mixed Precision Training", 2017, arXiv:1710.03740, sections
3.2 and 4. Differs from the paper: the scale is found while training, by the rule of
`torch.amp.GradScaler`, whose sequence of scales and steps this class repeats.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mlopt_edu.mixed_precision.master_weights import MasterWeights


class LossScaler:
    """Scale a loss, unscale gradients, skip steps that overflowed, adapt the scale.

    The interface of `torch.amp.GradScaler`, and its `state_dict`. For every iteration:

        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)      # only to clip or look at gradients
        scaler.step(optimizer)          # does nothing if a gradient is inf or NaN
        scaler.update()

    Several losses and optimizers may share a scaler: call `update` once, at the end.

    Args:
        init_scale: First scale, above 0.
        growth_factor: Factor after `growth_interval` good iterations, above 1.
        backoff_factor: Factor after an overflow, in (0, 1).
        growth_interval: Good iterations in a row before the scale grows, at least 1.
        enabled: False makes every method pass through, so that one loop serves all
            types.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        *,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if not 0 < init_scale < math.inf:
            raise ValueError(f"init_scale must be finite and above 0, got {init_scale}")
        if not 1 < growth_factor < math.inf:
            raise ValueError(
                f"growth_factor must be finite and above 1, got {growth_factor}"
            )
        if not 0 < backoff_factor < 1:
            raise ValueError(f"backoff_factor must lie in (0, 1), got {backoff_factor}")
        if growth_interval < 1:
            raise ValueError(
                f"growth_interval must be at least 1, got {growth_interval}"
            )
        self.growth_factor = growth_factor
        self.backoff_factor = backoff_factor
        self.growth_interval = growth_interval
        self.enabled = enabled
        self._scale = _float32(init_scale)
        self._good_iterations = 0
        # By id of the optimizer, since the last update: was a gradient inf or NaN?
        self._found_inf: dict[int, Tensor] = {}
        self._stepped: set[int] = set()

    def scale(self, loss: Tensor) -> Tensor:
        """Return `loss` times the scale; a 16-bit scalar comes back in float32."""
        if not self.enabled:
            return loss
        # A tensor, since times a Python number a float16 loss would overflow.
        scale = torch.tensor(self._scale, dtype=torch.float32, device=loss.device)
        return loss * scale

    @torch.no_grad()
    def unscale_(self, optimizer: Optimizer | MasterWeights) -> None:
        """Divide the gradients by the scale, in place, and look for inf and NaN.

        Optional, once between `backward` and `step`: clip after it.

        Raises:
            RuntimeError: If called twice, or after `step`, before an `update`.
            ValueError: If a gradient is float16 (dividing it would underflow again:
                use `MasterWeights`) or not dense, or there are no gradients.
        """
        if not self.enabled:
            return
        if id(optimizer) in self._stepped:
            raise RuntimeError("unscale_ must come before step, got a call after it")
        if id(optimizer) in self._found_inf:
            raise RuntimeError(
                "unscale_ must be called once before each update, got a second call"
            )
        grads = [
            param.grad
            for group in optimizer.param_groups
            for param in group["params"]
            if param.grad is not None and param.grad.numel()
        ]
        _check_gradients(grads)
        torch._foreach_mul_(grads, 1 / self._scale)
        # The largest entry of a tensor tells of any inf or NaN in it.
        largest = torch._foreach_norm(grads, math.inf)
        is_finite = [norm.isfinite().to(grads[0].device) for norm in largest]
        self._found_inf[id(optimizer)] = ~torch.stack(is_finite).all()

    def step(self, optimizer: Optimizer | MasterWeights) -> Any:
        """Unscale unless that is done, then step unless a gradient is inf or NaN.

        Returns:
            What `optimizer.step()` returned; None if it was skipped.

        Raises:
            RuntimeError: If called twice before an `update`.
        """
        if not self.enabled:
            return optimizer.step()
        if id(optimizer) in self._stepped:
            raise RuntimeError(
                "step must be called once before each update, got a second call"
            )
        if id(optimizer) not in self._found_inf:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        if self._found_inf[id(optimizer)]:
            return None
        return optimizer.step()

    def update(self, new_scale: float | None = None) -> None:
        """Adapt the scale to what this iteration's gradients showed.

        Args:
            new_scale: Set the scale by hand instead, above 0.

        Raises:
            RuntimeError: If no gradients were seen since the last update.
            ValueError: If `new_scale` is out of range.
        """
        if not self.enabled:
            return
        if new_scale is not None:
            if not 0 < new_scale < math.inf:
                raise ValueError(
                    f"new_scale must be finite and above 0, got {new_scale}"
                )
            self._scale = _float32(new_scale)
        elif not self._found_inf:
            raise RuntimeError(
                "update must follow step or unscale_, got no gradients since the last"
            )
        elif any(self._found_inf.values()):
            self._scale = _float32(self._scale * self.backoff_factor)
            self._good_iterations = 0
        else:
            self._good_iterations += 1
            if self._good_iterations == self.growth_interval:
                grown = _float32(self._scale * self.growth_factor)
                self._scale = grown if math.isfinite(grown) else self._scale
                self._good_iterations = 0
        self._found_inf.clear()
        self._stepped.clear()

    def get_scale(self) -> float:
        """Return the present scale; 1 if not enabled."""
        return self._scale if self.enabled else 1.0

    def is_enabled(self) -> bool:
        """Return whether this scaler scales."""
        return self.enabled

    def state_dict(self) -> dict[str, Any]:
        """Return the state, under the names that `torch.amp.GradScaler` gives it."""
        if not self.enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self.growth_factor,
            "backoff_factor": self.backoff_factor,
            "growth_interval": self.growth_interval,
            "_growth_tracker": self._good_iterations,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, this class's or torch's; nothing if not enabled.

        Raises:
            ValueError: If the state comes from a scaler that was not enabled.
        """
        if not self.enabled:
            return
        if not state_dict:
            raise ValueError(
                "state_dict must come from an enabled scaler, got an empty one"
            )
        self._scale = state_dict["scale"]
        self.growth_factor = state_dict["growth_factor"]
        self.backoff_factor = state_dict["backoff_factor"]
        self.growth_interval = state_dict["growth_interval"]
        self._good_iterations = state_dict["_growth_tracker"]


def _check_gradients(grads: list[Tensor]) -> None:
    if not grads:
        raise ValueError(
            "optimizer must have gradients to unscale, got none: call backward first"
        )
    for grad in grads:
        if grad.dtype == torch.float16:
            raise ValueError(
                "gradients must not be float16, got one: wrap the optimizer in "
                "MasterWeights"
            )
        if grad.layout != torch.strided:
            raise ValueError(f"gradients must be dense, got layout {grad.layout}")


def _float32(value: float) -> float:
    # Rounded as torch keeps it; a double would drift from its scales.
    return torch.tensor(value, dtype=torch.float32).item()
