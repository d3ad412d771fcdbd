r"""L2 penalty and decoupled weight decay: the same under plain SGD, not under Adam.

    L2 penalty   loss + weight_decay / 2 * sum w²,  so  g <- g + weight_decay * w
    decoupled    w <- (1 - lr * weight_decay) * w - lr * direction(g)

With direction(g) = g the two are one. Adam divides by the size of recent gradients; a
penalty put into the gradient is divided as well, so weights with large gradients are
hardly decayed. Decoupled decay shrinks all by the same share.

Papers: Krogh and Hertz, "A Simple Weight Decay Can Improve Generalization", 1991;
Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017, arXiv:1711.05101,
Algorithm 2. Differs from the papers: lr multiplies the decay, as in torch's AdamW.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def l2_penalty(params: Iterable[Tensor], weight_decay: float) -> Tensor:
    """Return `weight_decay / 2` times the sum of squares, to be added to a loss.

    Its gradient is weight_decay * w, as an optimizer's coupled `weight_decay` adds it.

    Example:
        >>> l2_penalty([torch.tensor([3.0, 4.0]), torch.tensor([1.0])], 0.5)
        tensor(6.5000)
    """
    _check("weight_decay", weight_decay)
    squares = sum((param.square().sum() for param in params), torch.zeros(()))
    return weight_decay / 2 * squares


@torch.no_grad()
def decay_(params: Iterable[Tensor], weight_decay: float, *, lr: float) -> None:
    """Shrink parameters in place by the share lr * weight_decay.

    Run it before the step of an optimizer whose own `weight_decay` is 0.

    Args:
        params: Tensors of any shape.
        weight_decay: Decay per unit of `lr`, at least 0.
        lr: The step size of this step, at least 0.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> w = torch.tensor([10.0, -20.0])
        >>> decay_([w], 0.5, lr=0.1)
        >>> w
        tensor([  9.5000, -19.0000])
    """
    _check("weight_decay", weight_decay)
    _check("lr", lr)
    params = list(params)
    if params:
        torch._foreach_mul_(params, 1 - lr * weight_decay)


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split a model's parameters into those to decay and those to leave free.

    Free are biases, everything in a normalization layer, and whatever has fewer than
    two dimensions: they hardly overfit, and a decayed scale fights its layer. A
    parameter that several modules share counts once, where it is met first.

    Args:
        model: Its parameters that require a gradient are taken.
        weight_decay: Decay of the first group, at least 0.

    Returns:
        Two parameter groups for any optimizer with `weight_decay`, in this order:
        decayed, free (with 0). Either may be empty.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
        >>> [len(group["params"]) for group in decay_groups(model, 0.1)]
        [1, 3]
    """
    _check("weight_decay", weight_decay)
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    seen = set()
    for module in model.modules():
        for name, param in module.named_parameters(recurse=False):
            if not param.requires_grad or param in seen:
                continue
            seen.add(param)
            is_free = (
                param.ndim < 2 or name.startswith("bias") or isinstance(module, _NORMS)
            )
            (free if is_free else decayed).append(param)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


def _check(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and at least 0, got {value}")
