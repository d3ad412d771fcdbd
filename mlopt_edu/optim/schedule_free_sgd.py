"""Schedule-free SGD: the direction is the gradient, and a weight decay at y.

    d_t = g_t + weight_decay * y_t

For z, x and y see schedule_free.py.
"""

from typing import Any

from torch.optim.optimizer import ParamsT

from mlopt_edu.optim.batches import Batch
from mlopt_edu.optim.multi_tensor import Tensors
from mlopt_edu.optim.schedule_free import ScheduleFree


class ScheduleFreeSGD(ScheduleFree):
    """Schedule-free stochastic gradient descent.

    Call `eval()` before you evaluate or store the model and `train()` before you go
    on: in between, the parameters hold x, otherwise y.

    Try a larger lr than you would with a schedule. With batch normalization, pass some
    training batches through the model after `eval()`, before you evaluate it: its
    running statistics are those of y.
    Memory: one buffer of the parameter's size and dtype, as SGD with momentum.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size after the warm-up, at least 0.
        momentum: Share of x in y, in (0, 1).
        weight_decay: L2 penalty added to the gradient at y, at least 0.
        warmup_steps: Steps in which the step size grows linearly to `lr`; at least 0.
        maximize: Climb instead of descend.

    Raises:
        ValueError: If a hyper-parameter, or one of a group's own, is out of its range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "warmup_steps": warmup_steps,
            "maximize": maximize,
            "train_mode": True,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        momentum = {**self.defaults, **param_group}["momentum"]
        if not 0 < momentum < 1:
            raise ValueError(f"momentum must lie in (0, 1), got {momentum}")
        super().add_param_group(param_group)

    def _momentum(self, group: dict[str, Any]) -> float:
        return float(group["momentum"])

    def _direction(self, batch: Batch, step: float) -> Tensors:
        decay = batch.group["weight_decay"]
        return batch.grads.add(batch.params, alpha=decay) if decay else batch.grads
