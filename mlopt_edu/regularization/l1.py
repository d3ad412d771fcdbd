r"""L1: a penalty on absolute values, and the proximal step that makes exact zeros.

    penalty         strength * sum |w|
    subgradient     w <- w - lr * (g + strength * sign(w))
    proximal step   w <- S(w - lr * g, lr * strength)
    S(x, t)         sign(x) * max(|x| - t, 0)            soft threshold

The subgradient step jumps over zero and back: a weight that should vanish swings about
zero by up to lr * strength and is exactly 0 only by chance. The proximal step stops at
zero: S(x, t) is the z that minimizes (z - x)² / 2 + t |z|. After plain gradient descent
it is ISTA, which reaches the Lasso's solution for lr at most 1 / L.

Papers: Tibshirani, "Regression Shrinkage and Selection via the Lasso", 1996; Beck and
Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse
Problems", 2009, equations 1.4 and 1.5. Differs from the papers: any optimizer may take
the gradient step. Under one that scales coordinates, as Adam does, all still share the
threshold lr * strength, and where it settles is no longer the penalty's exact minimum.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def soft_threshold(x: Tensor, threshold: float) -> Tensor:
    """Move every entry towards 0 by `threshold`, and stop there.

    Args:
        x: Real tensor of any shape.
        threshold: Distance to move, at least 0.

    Returns:
        Tensor of the shape of `x`; entries within `threshold` of 0 are exactly 0.

    Raises:
        ValueError: If the threshold is negative or NaN.

    Example:
        >>> soft_threshold(torch.tensor([3.0, -0.5, -2.0]), 1.0)
        tensor([ 2.,  0., -1.])
    """
    _check("threshold", threshold)
    # Within the threshold this is x - x: a zero without a sign.
    return x - x.clamp(-threshold, threshold)


def l1_penalty(params: Iterable[Tensor], strength: float) -> Tensor:
    """Return `strength` times the sum of absolute values, to be added to a loss.

    Its gradient is strength * sign(w), which does not make exact zeros.

    Example:
        >>> l1_penalty([torch.tensor([3.0, -4.0]), torch.tensor([1.0])], 0.5)
        tensor(4.)
    """
    _check("strength", strength)
    return strength * sum((param.abs().sum() for param in params), torch.zeros(()))


@torch.no_grad()
def l1_subgradient_(params: Iterable[Tensor], strength: float) -> None:
    """Add strength * sign(w) to each gradient: `l1_penalty` without a longer graph.

    Parameters without a gradient are left alone.
    """
    _check("strength", strength)
    for param in params:
        if param.grad is not None:
            param.grad.add_(param.sign(), alpha=strength)


@torch.no_grad()
def proximal_l1_(params: Iterable[Tensor], threshold: float) -> None:
    """Soft-threshold parameters in place, all in one multi-tensor operation.

    Args:
        params: Real tensors.
        threshold: The step size that was taken times the strength of the penalty.
    """
    _check("threshold", threshold)
    params = list(params)
    if params:
        inside = torch._foreach_clamp_max(params, threshold)
        torch._foreach_clamp_min_(inside, -threshold)
        torch._foreach_sub_(params, inside)


class ProximalL1:
    """Follow every step of an optimizer by the proximal step of an L1 penalty.

    It hooks itself to the optimizer, so the threshold is the `lr` of that very step,
    for each parameter group its own, whatever a scheduler does before or after, and a
    step that a gradient scaler skips is not thresholded either. Parameters without a
    gradient are left alone, as by the optimizer.

    Args:
        optimizer: Any optimizer whose groups have an `lr`; without an L1 penalty in
            its loss.
        strength: Weight of sum |w| in the loss, at least 0.
        params: The parameters to threshold; all of the optimizer's by default. Name
            the weights alone to keep biases free.

    Raises:
        ValueError: If the strength is out of range, a parameter is not one of the
            optimizer's, or a group has no `lr`.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([0.04, 3.0]))
        >>> optimizer = torch.optim.SGD([w], lr=0.1)
        >>> proximal = ProximalL1(optimizer, strength=0.5)
        >>> w.sum().mul(0).backward(); optimizer.step(); w.data
        tensor([0.0000, 2.9500])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        strength: float,
        *,
        params: Iterable[Tensor] | None = None,
    ) -> None:
        _check("strength", strength)
        groups = optimizer.param_groups
        owned = {id(param) for group in groups for param in group["params"]}
        chosen = owned if params is None else {id(param) for param in params}
        if not chosen <= owned:
            raise ValueError(
                "params must all belong to the optimizer, got "
                f"{len(chosen - owned)} that do not"
            )
        if not all("lr" in group for group in groups):
            raise ValueError(
                "optimizer must have an lr in every group, got one without"
            )
        self.strength = strength
        self._chosen = None if params is None else chosen
        self._hook = optimizer.register_step_post_hook(self._follow)

    def remove(self) -> None:
        """Leave the optimizer as it was."""
        self._hook.remove()

    def _follow(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # A fused optimizer is not skipped by a scaler, but told of the overflow.
        if float(getattr(optimizer, "found_inf", None) or 0):
            return
        for group in optimizer.param_groups:
            stepped = [
                param
                for param in group["params"]
                if param.grad is not None
                and (self._chosen is None or id(param) in self._chosen)
            ]
            proximal_l1_(stepped, float(group["lr"]) * self.strength)


def _check(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and at least 0, got {value}")
