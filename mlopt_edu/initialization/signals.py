r"""Probe what runs through a model: activations forward, gradients back, per layer.

    forward   mean and standard deviation of each layer's output y
    back      mean and standard deviation of dL/dy
    dead      share of units that are 0 for every sample: nothing comes through, and
              where it holds for gradients, nothing is learnt
    flat      share of an activation's entries at which its slope |φ'| is small: there
              the gradient stops (saturated sigmoid and tanh, negative side of ReLU)

A unit is one entry of a layer's output for one sample; in a feature map every position
of every channel is a unit. The first dimension holds the samples.

Paper: Glorot and Bengio, "Understanding the difficulty of training deep feedforward
neural networks", AISTATS 2010, sections 3 and 4, who look at these. Differs from the
paper: saturation is measured by the slope itself, so that it means the same for every
activation.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

_ACTIVATIONS = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh,
    nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.ReLU, nn.SELU, nn.SiLU, nn.Sigmoid,
    nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip


@dataclass(frozen=True)
class Signal:
    """Numbers of one tensor.

    Attributes:
        mean: Mean of all entries.
        std: Standard deviation of all entries about their mean.
        dead: Share of units, in [0, 1], that are 0 for every sample.
    """

    mean: float
    std: float
    dead: float


@dataclass(frozen=True)
class LayerSignal:
    """What one call of one layer gave out and got back.

    Attributes:
        name: The layer's name in the model, empty for the model itself.
        kind: The layer's class.
        shape: Shape of the output.
        activation: Numbers of the output.
        gradient: Numbers of the loss's gradient for the output; None without a loss, or
            where the loss does not depend on the output.
        flat: Share of entries, in [0, 1], at which an activation's slope is small; None
            for a layer that is not one of torch's entrywise activations.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    activation: Signal
    gradient: Signal | None
    flat: float | None


def signal_statistics(
    model: nn.Module,
    inputs: Tensor | tuple[object, ...],
    *,
    loss: Callable[[object], Tensor] | None = None,
    filter_fn: Callable[[str, nn.Module], bool] | None = None,
    flat_slope: float = 0.01,
) -> list[LayerSignal]:
    """Run a batch through a model and report on every layer, in the order of calls.

    The model runs in the mode that it is in. Its parameters, their `.grad`, its buffers
    (running averages too) and torch's random state on the CPU are left as they were,
    and every hook is removed, also when the model raises. Activations that are called
    as functions (`F.relu`) cannot be seen; use modules.

    Args:
        model: Any module.
        inputs: The model's argument, or a tuple of its arguments.
        loss: Function of the model's output that returns a scalar tensor, for example
            `lambda logits: F.cross_entropy(logits, labels)`; None to look at
            activations alone.
        filter_fn: Called with a name and its module; says whether to report on it. None
            for all modules without children.
        flat_slope: Slope below which an activation counts as flat, above 0.

    Raises:
        ValueError: If `flat_slope` is not above 0, or `loss` returns something else
            than a scalar that depends on the model's inputs or parameters.

    Example:
        >>> import torch
        >>> relu = torch.nn.ReLU()
        >>> (layer,) = signal_statistics(relu, torch.tensor([[-1.0, 3.0], [-2.0, 1.0]]))
        >>> layer.activation, layer.flat
        (Signal(mean=1.0, std=1.224..., dead=0.5), 0.5)
    """
    if not flat_slope > 0:
        raise ValueError(f"flat_slope must be above 0, got {flat_slope}")
    report: list[LayerSignal] = []
    flat: dict[nn.Module, float] = {}
    with ExitStack() as undo:
        undo.enter_context(torch.random.fork_rng(devices=[]))
        undo.enter_context(torch.set_grad_enabled(loss is not None))
        for buffer in model.buffers():
            undo.callback(buffer.data.copy_, buffer.detach().clone())

        def watch(name: str, layer: nn.Module) -> None:
            def before(module: nn.Module, args: tuple[object, ...]) -> None:
                # Now, for an in-place activation overwrites its input.
                flat[module] = _flat_share(module, args[0], flat_slope)

            def after(module: nn.Module, args: object, output: object) -> None:
                values = _first_tensor(output)
                if values is None:
                    return
                place = len(report)
                kind, shape = type(module).__name__, tuple(values.shape)
                report.append(
                    LayerSignal(
                        name, kind, shape, _signal(values), None, flat.get(module)
                    )
                )

                def back(gradient: Tensor) -> None:
                    report[place] = replace(report[place], gradient=_signal(gradient))

                if values.requires_grad:
                    handle = values.register_hook(back)  # type: ignore[no-untyped-call]
                    undo.callback(handle.remove)

            if isinstance(layer, _ACTIVATIONS):
                undo.callback(layer.register_forward_pre_hook(before).remove)
            undo.callback(layer.register_forward_hook(after).remove)

        for name, layer in model.named_modules():
            if filter_fn(name, layer) if filter_fn else not any(layer.children()):
                watch(name, layer)
        arguments = inputs if isinstance(inputs, tuple) else (inputs,)
        if loss is None:
            model(*arguments)
        else:
            _run_there_and_back(model, arguments, loss)
    return report


def _run_there_and_back(
    model: nn.Module, arguments: tuple[object, ...], loss: Callable[[object], Tensor]
) -> None:
    starts = [
        argument.detach().requires_grad_()
        if isinstance(argument, Tensor) and argument.is_floating_point()
        else argument
        for argument in arguments
    ]
    # A clone, because an in-place first layer may not write into a leaf.
    value = loss(model(*[s.clone() if isinstance(s, Tensor) else s for s in starts]))
    if not (isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad):
        raise ValueError(
            "loss must return a scalar tensor that depends on the model's inputs or "
            f"parameters, got {value!r}"
        )
    leaves = [s for s in starts if isinstance(s, Tensor)] + list(model.parameters())
    # Not backward(): that would add to the parameters' .grad.
    torch.autograd.grad(
        value, [leaf for leaf in leaves if leaf.requires_grad], allow_unused=True
    )


def _signal(values: Tensor) -> Signal:
    entries = values.detach().double()
    samples = entries.reshape(len(entries) if entries.ndim else 1, -1)
    return Signal(
        mean=entries.mean().item(),
        std=entries.std(correction=0).item(),
        dead=(samples == 0).all(dim=0).double().mean().item(),
    )


def _flat_share(activation: nn.Module, value: object, slope: float) -> float:
    if not isinstance(value, Tensor):
        raise TypeError(f"inputs of an activation must be tensors, got {type(value)}")
    with torch.enable_grad():
        points = value.detach().clone().requires_grad_()
        # forward() itself, past the hooks; on a copy, for it may work in place.
        outputs = activation.forward(points.clone())
        (slopes,) = torch.autograd.grad(outputs.sum(), points)
    return (slopes.abs() < slope).double().mean().item()


def _first_tensor(output: object) -> Tensor | None:
    """Return a layer's output, or the first of several as recurrent layers give."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if isinstance(output, Tensor) and output.is_floating_point() and output.numel():
        return output
    return None
