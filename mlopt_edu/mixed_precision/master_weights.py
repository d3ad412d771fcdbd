r"""Master weights: compute with 16-bit weights, update a float32 copy of them.

    forward, backward   with 16-bit weights w16
    gradients           g32 <- g32 + float32(g16)
    step                w32 <- optimizer(w32, g32)
    weights             w16 <- round(w32)

A 16-bit weight does not move when lr * g is below half the distance to its neighbour:
for bfloat16, 2^-9 of the weight. The float32 copy adds such steps up.

Paper: Micikevicius et al., "Mixed Precision Training", 2017, arXiv:1710.03740, section
3.1. Differs from the paper: gradients of several backward passes add up in float32.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_SHORT = (torch.float16, torch.bfloat16)


class MasterWeights:
    """Let any optimizer update float32 copies of a model's 16-bit parameters.

        model.to(torch.float16)
        optimizer = MasterWeights(torch.optim.Adam(model.parameters(), lr=1e-3))
        scaler.scale(loss_of(model)).backward()
        scaler.unscale_(optimizer)
        clip_by_global_norm_(optimizer.params(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    Whoever reads `param_groups` or `params()` finds the gradients collected there, and
    the model's own gone. Schedulers take the optimizer inside, `.optimizer`.
    Parameters that are not 16-bit are updated as they are.

    Memory: 4 bytes for each 16-bit number and 4 for its gradient, and the optimizer's
    state in float32.

    Args:
        optimizer: An optimizer over the model's parameters that has not stepped yet.
            From here on its groups hold the float32 copies.

    Raises:
        ValueError: If the optimizer has stepped already.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if optimizer.state:
            raise ValueError(
                "optimizer must not have stepped yet, got one with state for "
                f"{len(optimizer.state)} parameters: wrap it right after making it"
            )
        self.optimizer = optimizer
        self._pairs: list[tuple[Tensor, Tensor]] = []  # 16-bit, its float32 copy
        for group in optimizer.param_groups:
            for place, param in enumerate(group["params"]):
                if param.dtype in _SHORT:
                    master = param.detach().float().requires_grad_()
                    self._pairs.append((param, master))
                    group["params"][place] = master

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimizer's groups: float32 copies with their gradients."""
        self.collect_grads_()
        return self.optimizer.param_groups

    def params(self) -> list[Tensor]:
        """Return what the optimizer updates: copies, and what was not 16-bit."""
        return [param for group in self.param_groups for param in group["params"]]

    @torch.no_grad()
    def collect_grads_(self) -> None:
        """Move the 16-bit gradients to the float32 copies, adding to what is there."""
        for param, master in self._pairs:
            if param.grad is None:
                continue
            if master.grad is None:
                master.grad = param.grad.float()
            else:
                master.grad += param.grad
            param.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Collect gradients, step in float32, round the result into the model."""
        self.collect_grads_()
        self.optimizer.step()
        self._write_weights_()

    def zero_grad(self) -> None:
        """Drop all gradients, the copies' and the model's."""
        self.optimizer.zero_grad(set_to_none=True)
        for param, _ in self._pairs:
            param.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state and the float32 copies."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "masters": [master.detach().clone() for _, master in self._pairs],
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned, and round the copies into the model.

        Raises:
            ValueError: If the copies are not as many or not of the shapes here.
        """
        masters = state_dict["masters"]
        given = [tuple(master.shape) for master in masters]
        here = [tuple(master.shape) for _, master in self._pairs]
        if given != here:
            raise ValueError(
                f"state_dict must hold {len(here)} copies with the shapes of the "
                f"model's 16-bit parameters, got {len(given)} with shapes {given[:4]}"
            )
        self.optimizer.load_state_dict(state_dict["optimizer"])
        for (_, master), value in zip(self._pairs, masters, strict=True):
            master.copy_(value)
        self._write_weights_()

    def _write_weights_(self) -> None:
        if self._pairs:
            params, masters = zip(*self._pairs, strict=True)
            torch._foreach_copy_(params, masters)
