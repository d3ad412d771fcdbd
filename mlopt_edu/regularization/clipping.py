r"""Gradient clipping: bound the step that one bad batch can cause.

    by value         g_i <- min(max(g_i, -max_value), max_value)     entry by entry
    by global norm   g <- g * min(1, max_norm / ‖g‖)                 all as one vector

Clipping by norm keeps the direction. Clipping by value turns it towards a diagonal.
With a loss scaler, unscale first: a clipped scaled gradient is clipped far too small.

Paper: Pascanu, Mikolov and Bengio, "On the difficulty of training Recurrent Neural
Networks", 2012, arXiv:1211.5063, Algorithm 1. Differs from the paper: nothing. Differs
from torch: no 1e-6 in the divisor, and 16-bit gradients are summed in float32.
"""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor


@torch.no_grad()
def clip_by_value_(params: Tensor | Iterable[Tensor], max_value: float) -> None:
    """Limit every entry of every gradient to [-max_value, max_value], in place.

    Infinities are limited like any other entry; NaN stays.

    Args:
        params: Parameters; those without a gradient are left out.
        max_value: Largest absolute value, above 0.

    Raises:
        ValueError: If `max_value` is out of range, or `params` is empty.
    """
    if not max_value > 0:
        raise ValueError(f"max_value must be above 0, got {max_value}")
    grads = _gradients(params)
    if grads:
        torch._foreach_clamp_max_(grads, max_value)
        torch._foreach_clamp_min_(grads, -max_value)


@torch.no_grad()
def global_norm(params: Tensor | Iterable[Tensor], *, norm_type: float = 2.0) -> Tensor:
    """Return the norm of all gradients, seen as one vector.

    Args:
        params: Parameters; those without a gradient are left out.
        norm_type: Order of the norm, above 0; `math.inf` for the largest entry.

    Returns:
        Scalar on the device of the first gradient; 0 if there are none.

    Raises:
        ValueError: If `norm_type` is out of range, `params` is empty, or a gradient
            is not dense.

    Example:
        >>> w = torch.zeros(2, requires_grad=True)
        >>> (w @ torch.tensor([3.0, 4.0])).backward()
        >>> global_norm([w])
        tensor(5.)
    """
    return _norm(_gradients(params), norm_type)


@torch.no_grad()
def clip_by_global_norm_(
    params: Tensor | Iterable[Tensor],
    max_norm: float,
    *,
    norm_type: float = 2.0,
    nonfinite: Literal["propagate", "raise", "zero"] = "propagate",
) -> Tensor:
    """Scale all gradients together, in place, so that their norm is at most `max_norm`.

    Args:
        params: Parameters; those without a gradient are left out.
        max_norm: Largest norm, above 0; `math.inf` to measure without clipping.
        norm_type: Order of the norm, above 0; `math.inf` for the largest entry.
        nonfinite: What to do when the norm is infinite or NaN. "propagate" scales by
            it, as torch does: every gradient becomes 0 or NaN, and a loss scaler that
            has unscaled already skips the step. "raise" raises and changes nothing.
            "zero" sets all gradients to 0, so that the batch is ignored (momentum and
            decay still act). The last two wait for a GPU to finish.

    Returns:
        The norm before clipping, a scalar on the device of the first gradient; 0 if
        there are no gradients.

    Raises:
        ValueError: If an argument is out of its range, `params` is empty, or a
            gradient is not dense.
        RuntimeError: If the norm is not finite and `nonfinite` is "raise".

    Example:
        >>> w = torch.zeros(2, requires_grad=True)
        >>> (w @ torch.tensor([3.0, 4.0])).backward()
        >>> clip_by_global_norm_([w], 1.0), w.grad
        (tensor(5.), tensor([0.6000, 0.8000]))
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, got {max_norm}")
    if nonfinite not in ("propagate", "raise", "zero"):
        raise ValueError(
            f'nonfinite must be "propagate", "raise" or "zero", got {nonfinite!r}'
        )
    grads = _gradients(params)
    norm = _norm(grads, norm_type)
    if nonfinite != "propagate" and not norm.isfinite():
        if nonfinite == "raise":
            raise RuntimeError(
                f"the norm of the gradients must be finite to be clipped, got {norm}: "
                "look for the first batch or layer with inf or nan"
            )
        torch._foreach_zero_(grads)
    elif max_norm < math.inf:
        factor = (max_norm / norm).clamp_(max=1)
        for device in {grad.device for grad in grads}:
            here = [grad for grad in grads if grad.device == device]
            torch._foreach_mul_(here, factor.to(device))
    return norm


def _gradients(params: Tensor | Iterable[Tensor]) -> list[Tensor]:
    params = [params] if isinstance(params, Tensor) else list(params)
    if not params:
        raise ValueError(
            "params must hold at least one tensor, got none: a generator is empty "
            "after its first use"
        )
    grads = [param.grad for param in params if param.grad is not None]
    for grad in grads:
        if grad.layout != torch.strided:
            raise ValueError(f"gradients must be dense, got layout {grad.layout}")
    return grads


def _norm(grads: list[Tensor], norm_type: float) -> Tensor:
    if not norm_type > 0:
        raise ValueError(f"norm_type must be above 0, got {norm_type}")
    grads = [grad for grad in grads if grad.numel()]  # nothing has no largest entry
    if not grads:
        return torch.zeros(())
    norms: list[Tensor] = []
    for device, dtype in {(grad.device, grad.dtype): None for grad in grads}:
        alike = [g for g in grads if g.device == device and g.dtype == dtype]
        wide = torch.promote_types(dtype, torch.float32)
        norms += torch._foreach_norm(alike, norm_type, dtype=wide)
    first = grads[0].device
    total: Tensor = torch.linalg.vector_norm(
        torch.stack([norm.to(first) for norm in norms]), norm_type
    )
    return total
