"""Calibration: run batches through a model and watch what its layers get."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mlopt_edu.quantization.observers import MinMaxObserver, Observer

Batch = Tensor | tuple[Any, ...]


@torch.no_grad()
def watch_inputs(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    see: Callable[[str, Tensor], None],
    *,
    inputs: Iterable[Batch],
) -> None:
    """Run batches through a model in evaluation mode and show each layer's inputs.

    Args:
        model: The model; its mode is restored, its buffers stay.
        layers: Layers to watch, by name.
        see: Called with the name of a layer and its input, each time that it is called.
        inputs: Batches: each a tensor, or a tuple of positional arguments.

    Raises:
        ValueError: If there are no batches, or a layer was never reached.
    """
    reached = set()
    were_training = {module: module.training for module in model.modules()}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            if args[0].numel():
                reached.add(name)
                see(name, args[0])

        return hook

    handles = [
        layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()
    ]
    try:
        model.eval()
        count = 0
        for batch in inputs:
            model(*batch) if isinstance(batch, tuple) else model(batch)
            count += 1
    finally:
        for handle in handles:
            handle.remove()
        for module, was_training in were_training.items():
            module.training = was_training
    if not count:
        raise ValueError(
            "inputs must hold at least 1 batch, got none: a generator is empty after "
            "its first use"
        )
    for name in layers:
        if name not in reached:
            raise ValueError(
                f"inputs must reach every chosen layer, but not one reached {name!r}; "
                "leave it out by filter_fn"
            )


def observe_inputs(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    *,
    inputs: Iterable[Batch],
    observer: Callable[[], Observer] = MinMaxObserver,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Run batches through a model in evaluation mode and observe the layers' inputs.

    Args:
        model: The model; its mode is restored, its buffers stay.
        layers: Layers to watch, by name.
        inputs: Batches: each a tensor, or a tuple of positional arguments.
        observer: Makes an observer for each layer.

    Returns:
        The range of each layer's input.

    Raises:
        ValueError: If there are no batches, or a layer was never reached.
    """
    observers = {name: observer() for name in layers}

    def see(name: str, x: Tensor) -> None:
        observers[name].observe(x)

    watch_inputs(model, layers, see, inputs=inputs)
    return {name: seen.range() for name, seen in observers.items()}
