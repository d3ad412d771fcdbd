"""Whole steps by torch's fused primitives, for classes that take `fused=True`.

The equation is the one of the update function beside the class. A primitive applies it
element by element in one pass over memory, where the function makes a pass for every
operation.
"""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mlopt_edu.optim.multi_tensor import Tensors


def require_fusible(optimizer: Optimizer) -> None:
    """Check that the primitives can serve the group added last; remove it if not.

    Raises:
        ValueError: If a parameter is not real floating point on a CPU or CUDA device.
    """
    for param in optimizer.param_groups[-1]["params"]:
        if param.device.type not in ("cpu", "cuda") or not param.is_floating_point():
            optimizer.param_groups.pop()
            raise ValueError(
                "fused must be False for parameters that are not of a real floating-"
                "point type on a CPU or CUDA device, got True with one of "
                f"{param.dtype} on {param.device}"
            )


def takes_fused(group: dict[str, Any]) -> bool:
    """Whether a group is to be served by a primitive.

    Not while compiling: the compiler fuses the equation, and can't see into primitives.
    """
    return bool(group["fused"]) and not torch.compiler.is_compiling()


def fused_step_(
    primitive: Callable[..., None], *lists: Tensors, **options: Any
) -> None:
    """Call a primitive such as `torch._fused_adam_`, in place, on any memory layout.

    On a CPU the primitives walk through memory and silently pair the wrong elements
    where a gradient or buffer has other strides than its parameter. Such tensors are
    updated in a contiguous copy.

    Args:
        primitive: The primitive; takes lists of tensors, then options by name.
        *lists: Parameters, gradients, buffers and step counts as it takes them, an
            empty one where it is to do without.
        **options: The hyper-parameters by its names.
    """
    entries = [tensors.entries for tensors in lists]
    copies: Any = entries
    if not (
        all(map(Tensor.is_contiguous, itertools.chain(*entries)))
        or all(map(_walk_alike, zip(*filter(None, entries), strict=True)))
    ):
        copies = [[tensor.contiguous() for tensor in column] for column in entries]
    primitive(
        *copies,
        **options,
        maximize=False,  # grads come negated
        grad_scale=None,
        found_inf=None,
    )
    if copies is not entries:
        written = [0, *range(2, len(entries))]  # all but the gradients
        for index in written:
            for tensor, copy in zip(entries[index], copies[index], strict=True):
                if copy is not tensor:
                    tensor.copy_(copy)


def _walk_alike(row: tuple[Tensor, ...]) -> bool:
    """Whether the n-th number in memory is the same element of each tensor.

    But of a step count, which has no dimensions.
    """
    if all(tensor.is_contiguous() for tensor in row):
        return True
    strides = row[0].stride()
    # empty_like keeps strides exactly where they leave no gaps.
    return torch.empty_like(row[0]).stride() == strides and all(
        tensor.stride() == strides for tensor in row if tensor.dim()
    )
