r"""Stochastic gradient descent with momentum, Nesterov's or heavy ball.

    d_t = g_t + weight_decay * w_{t-1}
    v_t = momentum * v_{t-1} + (1 - dampening) * d_t,   v_1 = d_1
    w_t = w_{t-1} - lr * v_t                            heavy ball
    w_t = w_{t-1} - lr * d_t - lr * momentum * v_t      Nesterov

Papers: Polyak, "Some methods of speeding up the convergence of iteration methods",
1964; Nesterov, "A method for solving the convex programming problem with convergence
rate O(1/k^2)", 1983, in the form of Sutskever et al., "On the importance of
initialization and momentum in deep learning", 2013.
Differs from the papers: lr multiplies the velocity instead of entering it, as in torch.
The two agree while lr is constant; when it changes, this one acts on the whole
velocity at once. Nesterov's gradient is taken at the look-ahead point: w_t here is it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer, ParamsT

from mlopt_edu.optim.batches import batches
from mlopt_edu.optim.fused import fused_step_, require_fusible, takes_fused
from mlopt_edu.optim.multi_tensor import T, Tensors
from mlopt_edu.optim.ranges import require_non_negative, require_share


def sgd_update(
    param: T,
    grad: T,
    velocity: T | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:
    """Move `param` by one step and advance `velocity`, both in place.

    Before the first step `velocity` is zeros. Pass `dampening=0` in that step to begin
    with v_1 = d_1, as `SGD` does.

    Args:
        param: Parameter w_{t-1}, a tensor of any shape, or `Tensors`; becomes w_t.
        grad: Gradient of the loss at w_{t-1}, same shape as `param`.
        velocity: Velocity v_{t-1}, same shape as `param`, becomes v_t; None for a step
            without momentum.
        lr: Step size, at least 0.
        momentum: Share of the old velocity that is kept, in [0, 1).
        dampening: Share of the gradient kept out of the velocity, in [0, 1].
        nesterov: Look ahead along the new velocity.
        weight_decay: L2 penalty added to the gradient, at least 0.

    Example:
        >>> w, v = torch.tensor([1.0]), torch.tensor([2.0])
        >>> sgd_update(w, torch.tensor([3.0]), v, lr=0.5, momentum=0.5)
        >>> w, v
        (tensor([-1.]), tensor([4.]))
    """
    if weight_decay:
        grad = grad.add(param, alpha=weight_decay)
    if velocity is None:
        param.add_(grad, alpha=-lr)
        return
    velocity.mul_(momentum).add_(grad, alpha=1 - dampening)
    if nesterov:
        param.add_(grad, alpha=-lr).add_(velocity, alpha=-lr * momentum)
    else:
        param.add_(velocity, alpha=-lr)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    Its `state_dict` is interchangeable with that of `torch.optim.SGD`.
    Memory: with momentum one buffer of the parameter's size and dtype, else nothing.

    Args:
        params: Parameters or parameter groups, as for any `torch.optim` optimizer.
        lr: Step size, at least 0.
        momentum: Share of the old velocity that is kept, in [0, 1).
        dampening: Share of the gradient kept out of the velocity from the second step
            on, in [0, 1].
        weight_decay: L2 penalty added to the gradient, at least 0.
        nesterov: Look ahead along the new velocity; needs momentum and no dampening.
        maximize: Climb instead of descend.
        fused: Step by torch's fused primitive: the same step in one pass over memory.

    Raises:
        ValueError: If a hyper-parameter, or one of a group's own, is out of its range,
            or a parameter's dtype or device has no fused primitive.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
        fused: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        options = {**self.defaults, **param_group}
        momentum, dampening = options["momentum"], options["dampening"]
        require_non_negative(options, "lr", "weight_decay")
        require_share(options, "momentum")
        if not 0 <= dampening <= 1:
            raise ValueError(f"dampening must lie in [0, 1], got {dampening}")
        if options["nesterov"] and (momentum == 0 or dampening != 0):
            raise ValueError(
                "nesterov must go with momentum above 0 and dampening 0, "
                f"got momentum {momentum} and dampening {dampening}"
            )
        super().add_param_group(param_group)
        if options["fused"]:
            require_fusible(self)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; return `closure`'s loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # Only dampening makes the first step another one.
        is_damped = any(group["dampening"] for group in self.param_groups)
        key = bool if is_damped else None
        for batch in batches(self, key=key, split_large=False):
            group, is_first_step = batch.group, not batch.states[0]
            velocity = batch.buffers("momentum_buffer") if group["momentum"] else None
            names = ("lr", "momentum", "nesterov", "weight_decay")
            options = {name: group[name] for name in names}
            options["dampening"] = 0.0 if is_first_step else group["dampening"]
            if takes_fused(group):
                lists = [batch.params, batch.grads, velocity or Tensors([])]
                # A velocity of zeros and no dampening make torch's own first step.
                fused_step_(torch._fused_sgd_, *lists, **options, is_first_step=False)
            else:
                sgd_update(batch.params, batch.grads, velocity, **options)
        return loss
