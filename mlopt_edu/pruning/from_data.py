r"""What criteria need from data: gradients of losses, and norms of inputs.

    ‖x_j‖² = sum over examples and positions of x_j²

For a convolution, x_j is what the weight j of a filter is multiplied by as the filter
slides: the sum is the gradient of sum(layer(x²)) by the weight, whatever the stride,
padding, dilation and groups. Both measure and leave no trace in the model.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from mlopt_edu.pruning.masked import Target
from mlopt_edu.pruning.prune import LossFn


def gradients(
    model: nn.Module, targets: Sequence[Target], loss: LossFn, *, scalar: bool = False
) -> list[Tensor]:
    """Return the gradients of one or several losses by each target's weight.

    Args:
        model: Its gradients and buffers are left as they are.
        targets: Weights in it.
        loss: Called with the model, returns a scalar or losses of shape (k,).
        scalar: Refuse several losses.

    Returns:
        For each target a tensor of shape (k, *weight.shape), k = 1 for a scalar; a
        masked weight's gradient is 0.

    Raises:
        ValueError: If the loss has another shape or does not depend on a weight.
    """
    parameters = [target.parameter for target in targets]
    with _untouched(model), torch.enable_grad(), ExitStack() as undo:
        for parameter in parameters:
            undo.callback(parameter.requires_grad_, parameter.requires_grad)
            parameter.requires_grad_(True)
        losses = loss(model)
        if not isinstance(losses, Tensor):
            raise TypeError(
                f"loss must return a tensor, got {type(losses).__name__}; do not call "
                "item()"
            )
        if losses.ndim > (0 if scalar else 1) or not losses.numel():
            wanted = "a scalar" if scalar else "losses of shape (k,)"
            raise ValueError(f"loss must return {wanted}, got {tuple(losses.shape)}")
        rows = [
            torch.autograd.grad(one, parameters, retain_graph=True, allow_unused=True)
            for one in losses.reshape(-1)
        ]
    for target, grad in zip(targets, rows[0], strict=True):
        if grad is None:
            raise ValueError(
                f"loss must depend on {target.name}, got no gradient; let filter_fn "
                "leave it out"
            )
    return [torch.stack(grads) for grads in zip(*rows, strict=True)]


def input_norms(
    model: nn.Module,
    targets: Sequence[Target],
    inputs: Iterable[Tensor | tuple[Tensor, ...]],
) -> list[Tensor]:
    """Return the norm of what each weight is multiplied by, over all batches.

    Args:
        model: Runs in evaluation mode, without gradients, and is left as it was.
        targets: Weights of linear and convolution layers.
        inputs: Batches, each a tensor or a tuple of the model's arguments.

    Returns:
        For each target a tensor that broadcasts to its weight's shape.

    Raises:
        ValueError: If there is no batch, or a layer never ran.
    """
    sums: dict[str, Tensor] = {}
    with _untouched(model), torch.no_grad(), ExitStack() as undo:
        for module in model.modules():
            undo.callback(setattr, module, "training", module.training)
            module.training = False
        for target in targets:
            for module, _ in target.owners:

                def add(
                    module: nn.Module,
                    args: tuple[Tensor, ...],
                    kwargs: dict[str, Tensor],
                    name: str = target.name,
                ) -> None:
                    squares = _squares(module, [*args, *kwargs.values()][0])
                    sums[name] = sums[name] + squares if name in sums else squares

                handle = module.register_forward_pre_hook(add, with_kwargs=True)
                undo.callback(handle.remove)
        for batch in inputs:
            model(*batch) if isinstance(batch, tuple) else model(batch)
    for target in targets:
        if target.name not in sums:
            raise ValueError(
                f"inputs must be batches that run through {target.name}, but none did"
            )
    return [sums[target.name].sqrt() for target in targets]


def _squares(module: nn.Module, x: Tensor) -> Tensor:
    """Return the sum of squares of what each weight sees, in at least float32."""
    squares = x.detach().to(torch.promote_types(x.dtype, torch.float32)).square()
    if not isinstance(module, _ConvNd):
        return squares.reshape(-1, x.shape[-1]).sum(dim=0)
    kernel = torch.ones_like(module.weight, dtype=squares.dtype, requires_grad=True)
    with torch.enable_grad():
        total = module._conv_forward(squares, kernel, None).sum()
    return torch.autograd.grad(total, kernel)[0]


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Give the buffers back their values, as those of batch normalization."""
    saved = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in saved:
                buffer.copy_(value)
