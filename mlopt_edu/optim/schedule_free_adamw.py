"""Schedule-free AdamW: the direction is the gradient over its root mean square.

    v_t = beta2 * v_{t-1} + (1 - beta2) * g_t^2
    d_t = g_t / (sqrt(v_t / (1 - beta2^t)) + eps) + weight_decay * y_t

Its momentum is beta1. For z, x and y see schedule_free.py.

Paper: Defazio et al., "The Road Less Scheduled", 2024, arXiv:2405.15682, algorithm 1.
Differs from the paper: the root of 1 - beta2^t corrects v instead of entering lr_t,
as in the authors' code.
"""

from typing import Any

from torch.optim.optimizer import ParamsT

from mlopt_edu.optim.batches import Batch
from mlopt_edu.optim.multi_tensor import T, Tensors
from mlopt_edu.optim.ranges import require_betas, require_non_negative
from mlopt_edu.optim.schedule_free import ScheduleFree


def adamw_direction(
    param: T,
    grad: T,
    exp_avg_sq: T,
    *,
    step: float,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> T:
    """Return the direction of schedule-free AdamW; advance `exp_avg_sq` in place.

    Args:
        param: Parameter y_t, a tensor of any shape, or `Tensors`.
        grad: Gradient of the loss at y_t, same shape as `param`.
        exp_avg_sq: Average square v_{t-1}, same shape as `param`; becomes v_t.
        step: Which step t it is, counted from 1.
        beta2: Weight of the old average square, in [0, 1).
        eps: Added to the root, at least 0.
        weight_decay: Decay taken at y_t, at least 0.

    Returns:
        Direction d_t, of the shape of `param`.

    Example:
        >>> import torch
        >>> y, g, v = torch.ones(2), torch.tensor([4.0, -0.5]), torch.zeros(2)
        >>> adamw_direction(y, g, v, step=1, weight_decay=0.5)
        tensor([ 1.5000, -0.5000])
    """
    exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    denominator = exp_avg_sq.div(1 - beta2**step).sqrt_().add_(eps)
    direction = grad.div(denominator)
    return direction.add_(param, alpha=weight_decay) if weight_decay else direction


class ScheduleFreeAdamW(ScheduleFree):
    """Schedule-free AdamW.

    Call `eval()` before you evaluate or store the model and `train()` before you go
    on: in between, the parameters hold x, otherwise y.

    Try a larger lr than you would with a schedule. With batch normalization, pass some
    training batches through the model after `eval()`, before you evaluate it: its
    running statistics are those of y.
    Memory: two buffers of the parameter's size and dtype, as AdamW.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size after the warm-up, at least 0.
        betas: Share of x in y, in (0, 1), and weight of the old average square, in
            [0, 1).
        eps: Added to the root of the average square, at least 0.
        weight_decay: Decay at y, multiplied by `lr`; at least 0.
        warmup_steps: Steps in which the step size grows linearly to `lr`; at least 0.
        maximize: Climb instead of descend.

    Raises:
        ValueError: If a hyper-parameter, or one of a group's own, is out of its range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 2.5e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "warmup_steps": warmup_steps,
            "maximize": maximize,
            "train_mode": True,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        require_betas(options)
        if options["betas"][0] == 0:
            raise ValueError(
                f"betas must begin with one above 0, got {options['betas']}"
            )
        require_non_negative(options, "eps")
        super().add_param_group(param_group)

    def _momentum(self, group: dict[str, Any]) -> float:
        return float(group["betas"][0])

    def _direction(self, batch: Batch, step: float) -> Tensors:
        return adamw_direction(
            batch.params,
            batch.grads,
            batch.buffers("exp_avg_sq"),
            step=step,
            beta2=batch.group["betas"][1],
            eps=batch.group["eps"],
            weight_decay=batch.group["weight_decay"],
        )
