"""How large a model is: its parameters, and the bytes that it holds in memory."""

import torch
from torch import Tensor, nn


def count_parameters(model: nn.Module, *, trainable_only: bool = False) -> int:
    """Return the number of parameters; shared ones count once, buffers not at all.

    Args:
        model: Any module.
        trainable_only: Leave out parameters that do not require gradients.

    Raises:
        ValueError: If a parameter is lazy and has no shape yet.

    Example:
        >>> from torch import nn
        >>> count_parameters(nn.Linear(3, 5))
        20
    """
    total = 0
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise ValueError(
                f"parameter {name!r} must have a shape, got a lazy one; run one batch "
                "through the model first"
            )
        if parameter.requires_grad or not trainable_only:
            total += parameter.numel()
    return total


def bytes_of(model: nn.Module) -> int:
    """Return the bytes of memory that parameters and buffers hold; shared ones once.

    A zero takes as many bytes as any other number, so a mask saves nothing here. Sparse
    tensors count their values and indices, tensor subclasses the tensors inside, and
    views the part of memory that they span.

    Example:
        >>> from torch import nn
        >>> bytes_of(nn.Linear(3, 5).half())
        40
    """
    total = 0
    spans: dict[torch.device, list[tuple[int, int]]] = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        for part in _parts(tensor):
            if part.is_meta:  # It has no address.
                total += part.nbytes
            elif part.numel():
                reach = zip(part.shape, part.stride(), strict=True)
                last = sum((size - 1) * stride for size, stride in reach)
                start = part.data_ptr()
                end = start + (last + 1) * part.itemsize
                spans.setdefault(part.device, []).append((start, end))
    return total + sum(map(_union, spans.values()))


def _union(spans: list[tuple[int, int]]) -> int:
    """Return how many addresses lie in at least one span."""
    covered, reached = 0, 0
    for start, end in sorted(spans):
        covered += max(0, end - max(start, reached))
        reached = max(reached, end)
    return covered


def _parts(tensor: Tensor) -> list[Tensor]:
    """Return the plain tensors that hold a tensor's numbers."""
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return [part for name in names for part in _parts(getattr(tensor, name))]
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    return [tensor]
