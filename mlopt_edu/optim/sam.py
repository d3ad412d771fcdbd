r"""SAM: descend along the gradient at the worst point nearby.

    e_t = rho * g(w_{t-1}) / |g(w_{t-1})|       the climb, g over all parameters
    w_t = w_{t-1} + one step of the inner optimizer on g(w_{t-1} + e_t)

To first order w + e has the largest loss within the distance rho: a minimum that
survives is flat. Each step takes two gradients, so it costs twice the time.

Paper: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving
Generalization", 2020, arXiv:2010.01412, algorithm 1 with p = 2. Differs from the paper:
nothing.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim.optimizer import Optimizer

from mlopt_edu.optim.batches import batches
from mlopt_edu.optim.multi_tensor import T
from mlopt_edu.optim.ranges import require_non_negative
from mlopt_edu.optim.wrapper import Wrapper


def sam_update(param: T, grad: T, *, rho: float, grad_norm: Tensor | float) -> None:
    """Move `param` in place to the worst point nearby.

    Args:
        param: Parameter w, a tensor of any shape, or `Tensors`; becomes w + e.
        grad: Gradient of the loss at w, same shape as `param`.
        rho: Distance, at least 0.
        grad_norm: Euclidean norm of the gradient over *all* parameters.

    Example:
        >>> w, g = torch.zeros(2), torch.tensor([3.0, 4.0])
        >>> sam_update(w, g, rho=0.5, grad_norm=5.0)
        >>> w
        tensor([0.3000, 0.4000])
    """
    # 1e-12 as in the authors' code: where the gradient is zero there is no climb.
    param.add_(grad.mul(rho / (grad_norm + 1e-12)))


class SAM(Wrapper):
    """Sharpness-aware minimization around any optimizer.

    `step(closure)` calls the closure twice. Without one, call `first_step()` after the
    first backward pass and `second_step()` after the second. The second pass counts
    for batch normalization, too: its running statistics see the perturbed weights.
    Memory: during a step a copy of the parameters, and what the inner optimizer has.

    Args:
        optimizer: The inner optimizer, of any class.
        rho: Distance of the climb, at least 0.

    A group may have its own, as `sam_rho`: Adadelta has an option called `rho`, too.

    Raises:
        ValueError: If `rho`, or a group's own, is out of its range.
    """

    def __init__(self, optimizer: Optimizer, *, rho: float = 0.05) -> None:
        super().__init__(optimizer, {"sam_rho": rho})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        rho = {**self.defaults, **param_group}["sam_rho"]
        require_non_negative({"rho": rho}, "rho")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Climb, descend from there, and return the loss before the climb.

        Args:
            closure: Clears the gradients, computes the loss and its gradients, and
                returns the loss. It is called twice.

        Raises:
            ValueError: Without a closure.
        """
        if closure is None:
            raise ValueError(
                "closure must be given to step, got None: without one, call "
                "first_step() and second_step() after a backward pass each"
            )
        with torch.enable_grad():
            loss = closure()
        self.first_step()
        with torch.enable_grad():
            closure()
        self.second_step()
        return loss

    @torch.no_grad()
    def first_step(self) -> None:
        """Move the parameters to the worst point nearby, by their gradients."""
        found = batches(self)
        total = get_total_norm(
            [grad for batch in found for grad in batch.grads.entries]
        )
        for batch in found:
            batch.buffers("unperturbed", fill=None)
            sam_update(
                batch.params,
                batch.grads,
                rho=batch.group["sam_rho"],
                grad_norm=total.to(batch.params.entries[0].device),
            )

    @torch.no_grad()
    def second_step(self) -> None:
        """Move the parameters back and let the inner optimizer step from there."""
        for group in self.param_groups:
            for param in group["params"]:
                if "unperturbed" in self.state.get(param, {}):
                    param.copy_(self.state[param].pop("unperturbed"))
        self.optimizer.step()
