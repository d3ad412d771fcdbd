r"""Save a quantized model and load it again: packed, exact, without pickle.

The file is a safetensors file: every tensor of the state as it is in memory, and in the
header, as JSON, which layers are quantized and how. Loading needs a float model of the
same architecture: its layers are replaced first, then everything is filled.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlopt_edu.quantization.apply import replace_modules_
from mlopt_edu.quantization.conv import Int8Conv, WeightOnlyConv
from mlopt_edu.quantization.linear import Int8Linear, WeightOnlyLinear
from mlopt_edu.quantization.scaled_input import ScaledInput

_FORMAT = "mlopt_edu.quantization 1"
_LAYERS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (Int8Conv, Int8Linear, ScaledInput, WeightOnlyConv, WeightOnlyLinear)
}


def save_quantized(path: str | os.PathLike[str], model: nn.Module) -> None:
    """Write a model's state and the formats of its quantized layers.

    The file is either written whole or left as it was. Tensors that share memory are
    written once.

    Args:
        path: File to write.
        model: A model, quantized or not.

    Raises:
        ModuleNotFoundError: If safetensors is not installed.
        ValueError: If a tensor of the state is not dense.
    """
    save_file, _, _ = _safetensors()
    formats: dict[str, dict[str, Any]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        is_part = name.rpartition(".")[0] in formats  # its format is in the whole's
        if type(module) in _LAYERS.values() and not is_part:
            formats[name] = {"kind": type(module).__name__, "spec": module.spec()}
    tensors: dict[str, Tensor] = {}
    same: dict[str, str] = {}
    first: dict[tuple[object, ...], str] = {}
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided:
            raise ValueError(f"the state must hold dense tensors only, not {name!r}")
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        known = first.setdefault(place, name) if tensor.numel() else name
        if known == name:
            # Views of one memory would be refused, so each gets its own.
            tensors[name] = tensor.detach().cpu().clone().contiguous()
        else:
            same[name] = known
    metadata = {
        "format": _FORMAT,
        "layers": json.dumps(formats, sort_keys=True),
        "same": json.dumps(same, sort_keys=True),
    }
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
        written = Path(folder) / "model"
        save_file(tensors, written, metadata=metadata)
        os.replace(written, path)


def load_quantized(path: str | os.PathLike[str], model: nn.Module) -> None:
    """Make a float model the quantized one that a file holds, in place.

    Args:
        path: File that `save_quantized` wrote.
        model: A float model of the same architecture, on the CPU.

    Raises:
        ModuleNotFoundError: If safetensors is not installed.
        ValueError: If the file is of another kind, or the model does not fit it. Then
            the model is as it was.
    """
    _, safe_open, library_error = _safetensors()
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except library_error as error:
        raise ValueError(f"{path} must be a safetensors file: {error}") from error
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path} must be a file of save_quantized, got the format "
            f"{metadata.get('format')!r}"
        )
    for name, known in json.loads(metadata["same"]).items():
        tensors[name] = tensors[known]
    new: dict[str, nn.Module] = {}
    for name, layer in json.loads(metadata["layers"]).items():
        try:
            old = model.get_submodule(name)
        except AttributeError:
            raise ValueError(
                f"model must have the architecture of the file: no layer {name!r}"
            ) from None
        weight = getattr(old, "weight", None)
        if not isinstance(weight, Tensor):
            raise ValueError(
                "model must have the architecture of the file: "
                f"{type(old).__name__} at {name!r} has no weight"
            )
        empty = _LAYERS[layer["kind"]].from_spec(layer["spec"], dtype=weight.dtype)
        if weight.shape != empty.weight.shape:
            raise ValueError(
                f"{name}.weight must have shape {tuple(weight.shape)} as in the model, "
                f"the file has {tuple(empty.weight.shape)}"
            )
        new[name] = empty
    _check_fits(model, new, tensors)
    replace_modules_(model, new)
    model.load_state_dict(tensors, assign=False)


def _check_fits(
    model: nn.Module, new: dict[str, nn.Module], tensors: dict[str, Tensor]
) -> None:
    expected: dict[str, Tensor] = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not any(name.startswith(f"{layer}.") for layer in new)
    }
    for layer, module in new.items():
        for name, tensor in module.state_dict().items():
            expected[f"{layer}.{name}"] = tensor
    lacking, extra = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if lacking or extra:
        raise ValueError(
            "model must have the architecture of the file: the file lacks "
            f"{sorted(lacking)[:3]} and has {sorted(extra)[:3]} besides"
        )
    for name, tensor in expected.items():
        if tensor.shape != tensors[name].shape:
            raise ValueError(
                f"{name} must have shape {tuple(tensor.shape)} as in the model, the "
                f"file has {tuple(tensors[name].shape)}"
            )


def _safetensors() -> tuple[Any, Any, Any]:
    """Return the library's save_file, safe_open and error."""
    try:
        from safetensors import SafetensorError, safe_open
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'saving needs safetensors: pip install "mlopt-edu[export]"'
        ) from error
    return save_file, safe_open, SafetensorError
