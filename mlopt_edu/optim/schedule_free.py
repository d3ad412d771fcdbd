r"""Schedule-free SGD and AdamW: an average of the iterates in place of a schedule.

    y_t     = (1 - momentum) * z_t + momentum * x_t     where the gradient is taken
    z_{t+1} = z_t - lr_t * d_t                          d_t: the direction at y_t
    x_{t+1} = (1 - c_t) * x_t + c_t * z_{t+1}           what is evaluated, and shipped

with lr_t = lr * min(1, t / warmup_steps) and c_t = lr_t^2 / (lr_1^2 + ... + lr_t^2):
x is the mean of all z, those of the warm-up weighted down. What d_t is
stands in schedule_free_sgd.py and schedule_free_adamw.py.

The parameters hold y during training, z is stored, and x is what the two imply:
x = (y - (1 - momentum) * z) / momentum. Hence momentum must be above 0.

Paper: Defazio et al., "The Road Less Scheduled", 2024, arXiv:2405.15682, equations 3
to 5 and algorithm 1. Differs from the paper: c_t knows `warmup_steps` and no scheduler
around the optimizer, which this method is there to spare.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

from mlopt_edu.optim.batches import Batch, batches, step_count
from mlopt_edu.optim.multi_tensor import T, Tensors
from mlopt_edu.optim.ranges import require_non_negative


def schedule_free_update(
    param: T,
    direction: T,
    z: T,
    *,
    lr: float,
    momentum: float,
    averaging_weight: float,
) -> None:
    """Move `param`, which is y, and `z` by one step, both in place.

    x is eliminated: put x_{t+1} and z_{t+1} into the equation of y_{t+1}, and
    y_t + c_t * (z_t - y_t) - lr * (1 - momentum * (1 - c_t)) * d_t is left.

    Args:
        param: Parameter y_t, a tensor of any shape, or `Tensors`; becomes y_{t+1}.
        direction: Direction d_t at y_t, same shape as `param`.
        z: Iterate z_t, same shape as `param`; becomes z_{t+1}.
        lr: Step size lr_t, at least 0.
        momentum: Share of x in y, in (0, 1).
        averaging_weight: Weight c_t of the new iterate in the average, in [0, 1].

    Example:
        >>> y, z = torch.tensor([1.0]), torch.tensor([3.0])  # x is -1
        >>> d = torch.tensor([2.0])
        >>> schedule_free_update(y, d, z, lr=1.0, momentum=0.5, averaging_weight=0.5)
        >>> y, z  # x is 0
        (tensor([0.5000]), tensor([1.]))
    """
    lr_of_y = lr * (1 - momentum * (1 - averaging_weight))
    param.lerp_(z, averaging_weight).add_(direction, alpha=-lr_of_y)
    z.add_(direction, alpha=-lr)


def warmup(step: float, *, warmup_steps: int) -> tuple[float, float]:
    """Return the factor of lr and the averaging weight of one step.

    Args:
        step: Which step t it is, counted from 1.
        warmup_steps: Steps in which the factor grows linearly to 1; at least 0.

    Returns:
        lr_t / lr in (0, 1], and c_t in (0, 1].

    Example:
        >>> [warmup(t, warmup_steps=2) for t in (1, 2, 3)]
        [(0.5, 1.0), (1.0, 0.8), (1.0, 0.444...)]
    """
    ramp = max(1, warmup_steps)
    risen = min(step, ramp)
    # 1 + 4 + 9 + ... + risen^2 for the ramp, and 1 for every step after it.
    squares = risen * (risen + 1) * (2 * risen + 1) / 6 / ramp**2 + (step - risen)
    factor = risen / ramp
    return factor, factor**2 / squares


class ScheduleFree(Optimizer, ABC):
    """The modes and the loop that every schedule-free optimizer shares."""

    @abstractmethod
    def _momentum(self, group: dict[str, Any]) -> float: ...

    @abstractmethod
    def _direction(self, batch: Batch, step: float) -> Tensors: ...

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        require_non_negative(options, "lr", "weight_decay", "warmup_steps")
        super().add_param_group(param_group)

    def train(self) -> None:
        """Put y into the parameters: gradients are taken there. A new one has it so."""
        self._switch(train_mode=True)

    def eval(self) -> None:
        """Put x into the parameters, to be evaluated, stored or shipped."""
        self._switch(train_mode=False)

    @torch.no_grad()
    def _switch(self, *, train_mode: bool) -> None:
        for group in self.param_groups:
            if group["train_mode"] == train_mode:
                continue
            group["train_mode"] = train_mode
            moved = [param for param in group["params"] if self.state.get(param)]
            momentum = self._momentum(group)
            for param in moved:
                weight = 1 - momentum if train_mode else 1 - 1 / momentum
                param.lerp_(self.state[param]["z"], weight)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; return `closure`'s loss.

        Raises:
            RuntimeError: After `eval()`, until `train()` is called.
        """
        if not all(group["train_mode"] for group in self.param_groups):
            raise RuntimeError("step must be in train mode, got eval: call train()")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for batch in batches(self, key=step_count):
            group = batch.group
            step = batch.count_step()
            factor, weight = warmup(step, warmup_steps=group["warmup_steps"])
            schedule_free_update(
                batch.params,
                self._direction(batch, step),
                batch.buffers("z", fill=None),
                lr=group["lr"] * factor,
                momentum=self._momentum(group),
                averaging_weight=weight,
            )
        return loss
