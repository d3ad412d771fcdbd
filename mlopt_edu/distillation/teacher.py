"""The teacher: frozen while it teaches, or asked once and its answers kept.

A teacher in training mode answers with dropout noise, and its batch norms average the
student's batches into their statistics: it forgets while it teaches. And a gradient
through it costs a backward pass that nobody uses.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


@contextmanager
def frozen(model: Model) -> Iterator[Model]:
    """Hold a model in evaluation mode and its parameters free of gradients.

    On leaving, each module is in the mode it was in before and each parameter requires
    a gradient as it did. Gradients for the model's *inputs* still flow, so that inputs
    can be optimized. Parameters that the student shares are frozen for both.

    Args:
        model: Any module. Its weights and statistics are only read.

    Example:
        >>> teacher = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
        >>> with frozen(teacher):
        ...     answers = teacher(torch.ones(3, 2))
        >>> answers.requires_grad, teacher.training
        (False, True)
    """
    modes = [(module, module.training) for module in model.modules()]
    required = [(param, param.requires_grad) for param in model.parameters()]
    try:
        model.eval()
        for param, _ in required:
            param.requires_grad_(False)
        yield model
    finally:
        for module, mode in modes:
            module.training = mode
        for param, require in required:
            param.requires_grad_(require)


def cache_outputs(
    teacher: nn.Module,
    inputs: Iterable[Tensor | Sequence[object]],
    *,
    dtype: torch.dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Ask the teacher once for every input, and keep the answers on the CPU.

    Beyond the result, no more than one batch is held at a time; with `out` not even the
    result need fit into memory.

    Args:
        teacher: Model that returns one tensor, a row for each row of its input. It is
            frozen meanwhile.
        inputs: Batches in order, each a tensor or a tuple of positional arguments, as
            `images.split(256)` gives; on the teacher's device.
        dtype: Type to keep, as torch.float16 for half the memory; None for the type of
            the answers, or of `out`.
        out: Where to write, a CPU tensor of shape (samples, ...), as
            `torch.from_file` maps it to a file. None makes a new one.

    Returns:
        Tensor of shape (samples, ...), `out` itself if it was given.

    Raises:
        TypeError: If `inputs` is one tensor, or the teacher returns something else.
        ValueError: If there are no batches, an answer is too large for `dtype`, or
            `out` has another shape or type.

    Example:
        >>> images = torch.randn(10, 4)
        >>> cache_outputs(nn.Linear(4, 3), images.split(4), dtype=torch.float16).shape
        torch.Size([10, 3])
    """
    if isinstance(inputs, Tensor):
        raise TypeError(
            "inputs must be an iterable of batches, got one tensor; split it, as "
            "inputs.split(256) does"
        )
    if out is not None and dtype not in (None, out.dtype):
        raise ValueError(f"dtype must be that of out, {out.dtype}, got {dtype}")
    parts: list[Tensor] = []
    filled = 0
    with frozen(teacher), torch.no_grad():
        for batch in inputs:
            arguments = (batch,) if isinstance(batch, Tensor) else tuple(batch)
            answers = teacher(*arguments)
            if not isinstance(answers, Tensor) or answers.ndim == 0:
                raise TypeError(
                    "teacher must return one tensor with a row for each input, got "
                    f"{type(answers).__name__}"
                )
            kept = _narrowed(answers, dtype if out is None else out.dtype)
            end = filled + len(kept)
            if out is None:
                parts.append(kept)
            elif out.shape[1:] != kept.shape[1:] or len(out) < end:
                raise ValueError(
                    "out must have a row of the teacher's shape "
                    f"{tuple(kept.shape[1:])} for each of at least {end} inputs, got "
                    f"shape {tuple(out.shape)}"
                )
            else:
                out[filled:end] = kept
            filled = end
    if not filled:
        raise ValueError("inputs must hold at least one sample, got none")
    if out is None:
        return torch.cat(parts)
    if filled != len(out):
        raise ValueError(
            f"out must have as many rows as there are inputs, {filled}, got {len(out)}"
        )
    return out


def _narrowed(answers: Tensor, dtype: torch.dtype | None) -> Tensor:
    kept = answers.to("cpu", dtype or answers.dtype)
    lost = answers.isfinite().cpu() & ~kept.isfinite()
    if lost.any():
        largest = answers.abs()[lost.to(answers.device)].max().item()
        raise ValueError(
            f"dtype must hold the teacher's answers, got {kept.dtype} for one of size "
            f"{largest:g}; take torch.bfloat16 or torch.float32"
        )
    return kept
