"""Taps: read what named layers of a model give out, without changing the model."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn


class Taps(Mapping[str, Tensor]):
    """The latest activation of each named layer, while the `with` block lasts.

    Each forward pass replaces the activations of the one before; a layer that runs
    twice in a pass keeps the second. They carry their graph, so that a loss on them
    trains the model. Of a layer that returns a tuple, as recurrent ones do, the first
    tensor counts. After the block the hooks are gone and the last activations stay.

    Args:
        model: Any module; its layers as `model.named_modules()` names them.
        names: Layers to tap, at least one.

    Raises:
        ValueError: If a name is not one of the model's layers.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 1))
        >>> with Taps(model, ["1"]) as taps:
        ...     output = model(torch.ones(3, 2))
        >>> taps["1"].shape, torch.equal(model[2](taps["1"]), output)
        (torch.Size([3, 5]), True)
    """

    def __init__(self, model: nn.Module, names: Iterable[str]) -> None:
        if isinstance(names, str):
            raise ValueError(f"names must be a list of names, got the string {names!r}")
        layers = dict(model.named_modules(remove_duplicate=False))
        self._layers: dict[str, nn.Module] = {}
        for name in names:
            if name not in layers:
                raise ValueError(_unknown(name, [known for known in layers if known]))
            self._layers[name] = layers[name]
        if not self._layers:
            raise ValueError("names must hold at least one name, got none")
        self._seen: dict[str, tuple[Tensor, int]] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        """Start to listen."""
        for name, layer in self._layers.items():

            def keep(
                module: nn.Module, args: object, output: object, name: str = name
            ) -> None:
                tensor = _first_tensor(output)
                if tensor is None:
                    raise TypeError(
                        f"layer {name!r} must return a tensor or a tuple that begins "
                        f"with one, got {type(output).__name__}"
                    )
                self._seen[name] = tensor, tensor._version

            self._handles.append(layer.register_forward_hook(keep))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the hooks away, also when the block raised."""
        while self._handles:
            self._handles.pop().remove()

    def __getitem__(self, name: str) -> Tensor:
        """Return the latest activation of a layer.

        Raises:
            KeyError: If the layer is not tapped or has not run yet.
            RuntimeError: If a later layer wrote into the activation.
        """
        if name not in self._layers:
            raise KeyError(_unknown(name, list(self._layers)))
        if name not in self._seen:
            raise KeyError(
                f"layer {name!r} must run before it is read, got no forward pass "
                "through it yet"
            )
        tensor, version = self._seen[name]
        if tensor._version != version:
            raise RuntimeError(
                f"the activation of {name!r} must stay as it was, got one that a later "
                "layer overwrote in place; tap that layer, or give it inplace=False"
            )
        return tensor

    def __iter__(self) -> Iterator[str]:
        """Yield the tapped names in the given order."""
        return iter(self._layers)

    def __len__(self) -> int:
        """Return how many layers are tapped."""
        return len(self._layers)


def _first_tensor(output: object) -> Tensor | None:
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=4, cutoff=0.5) or known[:8]
    return (
        f"name must be a layer of the model, got {name!r}; close are "
        + ", ".join(map(repr, close))
        if close
        else f"name must be a layer of the model, got {name!r}; it has no layers"
    )
