"""Judge weights that a learner handed in, on data that the learner has not seen.

The architecture is the course's; the file brings numbers only (`weights`). They are
loaded with strict names and shapes, and the share of right labels earns the points.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlopt_edu.checks import Artifact, Report
from mlopt_edu.checks._report import Verdict

from .weights import SUFFIX, Weights, WeightsError, parse_weights

if TYPE_CHECKING:
    import torch

BATCH = 256


def judge_weights(task: Artifact, data: bytes | str | None, *, seed: int) -> Report:
    """Judge the content of a file of weights.

    Args:
        task: What was asked.
        data: The content; a reason if it cannot be read; None if there was no file.
        seed: Seed of the hidden data.

    Returns:
        A report whose metrics are "bytes", "accuracy" and "macs": multiplications and
        additions for one example.

    Raises:
        ModuleNotFoundError: If safetensors is not installed.
    """
    if data is None:
        text = f"There is no file {task.name}{SUFFIX} beside the notebook."
        return _report(task, "missing", text)
    if isinstance(data, str):
        return _report(task, "wrong", f"`{task.name}`: {data}.")
    try:
        weights = parse_weights(data, max_bytes=task.max_bytes)
        model = _loaded(task, weights)
    except WeightsError as error:
        return _report(task, "wrong", f"`{task.name}`: {error}.")
    inputs, labels = task.data(np.random.default_rng(seed))
    metrics = {
        "bytes": float(weights.size),
        "accuracy": _accuracy(model, inputs, labels),
        "macs": _macs(model, inputs[:1]),
    }
    return _scored(task, metrics)


def _loaded(task: Artifact, weights: Weights) -> "torch.nn.Module":
    import torch

    name = weights.metadata.get("model", next(iter(task.models)))
    if name not in task.models:
        raise WeightsError(
            f"the metadata must name a model of {', '.join(task.models)}, "
            f"got {name[:40]!r}"
        )
    with torch.random.fork_rng(devices=[]):
        model = task.models[name]()
    state = model.state_dict()
    if weights.tensors.keys() != state.keys():
        odd = sorted(weights.tensors.keys() ^ state.keys())[0]
        word = "missing" if odd in state else "not one of the model's"
        raise WeightsError(f"the tensor {odd[:60]!r} is {word}")
    converted = {
        key: _converted(key, weights.tensors[key], wanted)
        for key, wanted in state.items()
    }
    model.load_state_dict(converted, strict=True)
    return model.eval()


def _converted(
    name: str, tensor: "torch.Tensor", wanted: "torch.Tensor"
) -> "torch.Tensor":
    """Return a tensor in the model's type; a shorter floating type saves bytes."""
    if tensor.shape != wanted.shape:
        raise WeightsError(
            f"the tensor {name!r} must have shape {tuple(wanted.shape)}, "
            f"got {tuple(tensor.shape)}"
        )
    both_float = tensor.is_floating_point() and wanted.is_floating_point()
    if tensor.dtype != wanted.dtype and not both_float:
        raise WeightsError(
            f"the tensor {name!r} must be of type {_short(wanted)}, "
            f"got {_short(tensor)}"
        )
    found = tensor.to(wanted.dtype)
    if found.is_floating_point() and not found.isfinite().all():
        raise WeightsError(f"the tensor {name!r} holds numbers that are not finite")
    return found


def _short(tensor: "torch.Tensor") -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _accuracy(
    model: "torch.nn.Module", inputs: "torch.Tensor", labels: "torch.Tensor"
) -> float:
    import torch

    right = 0
    with torch.inference_mode():
        for start in range(0, len(inputs), BATCH):
            outputs = model(inputs[start : start + BATCH])
            # Not finite everywhere: no class is largest, and none is right.
            sound = outputs.isfinite().all(dim=1)
            same = outputs.argmax(dim=1) == labels[start : start + BATCH]
            right += int((same & sound).sum())
    return right / len(inputs)


def _macs(model: "torch.nn.Module", one: "torch.Tensor") -> float:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(one)
    return float(counter.get_total_flops()) / 2  # a multiplication and an addition


def _scored(task: Artifact, metrics: Mapping[str, float]) -> Report:
    accuracy = metrics["accuracy"]
    reached = [points for least, points in task.levels.items() if accuracy >= least]
    points = max(reached, default=0)
    size = f"{metrics['bytes']:,.0f} of {task.max_bytes:,} bytes"
    text = f"On hidden data {accuracy:.1%} of the labels are right, with {size}."
    if points == task.points:
        return _report(task, "passed", text, points=points, metrics=metrics)
    following = min(least for least in task.levels if least > accuracy)
    text += f" {following:.1%} earn {task.levels[following]} points."
    return _report(task, "wrong", text, points=points, metrics=metrics)


def _report(task: Artifact, status: Verdict, message: str, **fields: Any) -> Report:
    return Report(
        task=task.name,
        exercise=task.exercise,
        points=fields.pop("points", 0),
        max_points=task.points,
        status=status,
        message=message,
        section=task.section,
        hints=() if status == "passed" else task.hints,
        **fields,
    )
