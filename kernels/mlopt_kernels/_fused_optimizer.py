"""What the optimizers that step by a fused kernel share: checks, state, the loop."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def check_options(
    *, lr: float, betas: tuple[float, float], weight_decay: float, eps: float = 0.0
) -> None:
    """Raise a ValueError if an option is out of its range."""
    for name, value in {"lr": lr, "weight_decay": weight_decay, "eps": eps}.items():
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value}")
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must each lie in [0, 1), got {betas}")


def check_arrays(
    params: Sequence[Tensor], grads: Sequence[Tensor], **state: Sequence[Tensor]
) -> None:
    """Raise if the tensors of a parameter do not belong together."""
    for name, array in {"grads": grads, **state}.items():
        if len(array) != len(params):
            raise ValueError(
                f"{name} must be as many as params, {len(params)}, got {len(array)}"
            )
        for number, (param, tensor) in enumerate(zip(params, array, strict=True)):
            if param.dtype not in DTYPES:
                names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
                raise TypeError(
                    f"params[{number}] must have one of the dtypes {names}, "
                    f"got {param.dtype}"
                )
            dtype = param.dtype if name == "grads" else torch.float32
            if tensor.dtype != dtype:
                raise TypeError(
                    f"{name}[{number}] must have the dtype {dtype}, got {tensor.dtype}"
                )
            if tensor.shape != param.shape:
                raise ValueError(
                    f"{name}[{number}] must have the shape of its parameter, "
                    f"{tuple(param.shape)}, got {tuple(tensor.shape)}"
                )
            for of, device in (("params", param.device), (name, tensor.device)):
                if device != params[0].device:
                    raise ValueError(
                        f"{of}[{number}] must be on the device of params[0], "
                        f"{params[0].device}, got {device}"
                    )


class FusedOptimizer(Optimizer):
    """Steps all parameters of a group at once, with float32 averages.

    A subclass names its averages and steps them in `_update`.
    """

    _averages: tuple[str, ...] = ()

    def _update(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        averages: list[list[Tensor]],
        step: int,
        group: dict[str, Any],
    ) -> None:
        raise NotImplementedError

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, also one of the optimizer of this name that is not fused."""
        super().load_state_dict(state_dict)
        saved = state_dict["state"]
        numbers = [n for group in state_dict["param_groups"] for n in group["params"]]
        params = [param for group in self.param_groups for param in group["params"]]
        for number, param in zip(numbers, params, strict=True):
            for name in self._averages if number in saved else ():
                # Optimizer casts an average to the dtype of its parameter.
                self.state[param][name] = saved[number][name].to(
                    param.device, torch.float32, copy=True
                )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; return `closure`'s loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            # A launch has one count of steps and one device.
            launches: dict[tuple[int, torch.device], list[Tensor]] = {}
            for param in group["params"]:
                if param.grad is None:
                    continue
                state = self.state[param]
                if not state:
                    for name in self._averages:
                        state[name] = torch.zeros_like(param, dtype=torch.float32)
                # Torch's fused form counts on the device, Lion's authors not at all.
                state["step"] = state.get("step", torch.tensor(0.0)).cpu() + 1
                key = (int(state["step"]), param.device)
                launches.setdefault(key, []).append(param)
            for (step, _), params in launches.items():
                grads = [param.grad for param in params if param.grad is not None]
                averages = [
                    [self.state[param][name] for param in params]
                    for name in self._averages
                ]
                self._update(params, grads, averages, step, group)
        return loss
