r"""Checkpoints that p ranks save and q ranks restore.

    folder/latest                 "save-4": the one that counts
    folder/save-4/contents.json   names, shapes, which file has which part, your values
    folder/save-4/rank-0.safetensors ...

Each rank saves the pieces that it holds, as ranges of flattened tensors. A reader asks
for any range of a name and gets it from whatever files hold parts of it, so that the
number of ranks may change between the save and the restore.

A save writes a new folder and, when all ranks are done, replaces `latest` in one atomic
step. A save that is interrupted, at whatever moment, leaves the one before.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_LATEST = "latest"
_CONTENTS = "contents.json"


@dataclass(frozen=True)
class Piece:
    """A range of a flattened tensor.

    Attributes:
        tensor: The numbers, shape (n,).
        start: Index of the first of them in the flattened whole.
        shape: Shape of the whole.
    """

    tensor: Tensor
    start: int
    shape: tuple[int, ...]

    @staticmethod
    def whole(tensor: Tensor) -> "Piece":
        """Return a tensor as its only piece."""
        return Piece(tensor.detach().flatten(), 0, tuple(tensor.shape))


def save_checkpoint(
    folder: Path | str,
    pieces: Mapping[str, Piece],
    *,
    values: dict[str, Any] | None = None,
    group: dist.ProcessGroup | None = None,
) -> None:
    """Save the pieces of all ranks as one checkpoint; all must call.

    The checkpoint before it is removed once the new one counts.

    Args:
        folder: Folder of checkpoints on a disk that all ranks share; made if missing.
        pieces: What this rank saves, by name. What all ranks hold alike (a step count,
            a whole tensor) one rank saves.
        values: What JSON can hold, from rank 0: step, epoch, hyper-parameters.
        group: Process group; None for all ranks.

    Raises:
        ModuleNotFoundError: If safetensors is not installed.
        RuntimeError: On every rank, if one of them could not save.
    """
    _, save_file = _safetensors()
    folder, rank = Path(folder), dist.get_rank(group)
    name: list[Any] = [None]
    if rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        numbers = [int(old.name[5:]) for old in folder.glob("save-*")]
        name = [f"save-{max(numbers, default=0) + 1}"]
        (folder / name[0]).mkdir()
    dist.broadcast_object_list(name, group=group, group_src=0)
    new = folder / name[0]

    failure = None
    try:
        # Of its own memory: safetensors refuses tensors that share a storage.
        tensors = {
            key: one.tensor.detach().cpu().clone() for key, one in pieces.items()
        }
        save_file(tensors, new / f"rank-{rank}.safetensors")
        _flush(new / f"rank-{rank}.safetensors")
        json.dumps(values)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    parts = {
        key: (one.start, len(one.tensor), one.shape) for key, one in pieces.items()
    }
    reports: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(reports, (failure, parts), group=group)
    for other, (problem, _) in enumerate(reports):
        if problem is not None:
            raise RuntimeError(f"rank {other} could not save its pieces: {problem}")
    contents = _contents([parts for _, parts in reports], values or {})

    if rank == 0:
        (new / _CONTENTS).write_text(json.dumps(contents))
        _flush(new / _CONTENTS)
        _flush(new)
        pointer = folder / f"{_LATEST}.new"
        pointer.write_text(new.name)
        _flush(pointer)
        pointer.replace(folder / _LATEST)
        _flush(folder)
        for old in folder.glob("save-*"):
            if old != new:
                shutil.rmtree(old)
    dist.barrier(group=group)


class Checkpoint:
    """The latest complete checkpoint of a folder, read in ranges.

    Needs no process group: it opens in a plain script as well.

    Args:
        folder: Folder that `save_checkpoint` was given.

    Attributes:
        values: The values that were saved with it.
        shapes: Shape of each whole tensor, by name.

    Raises:
        FileNotFoundError: If no save was ever completed there.
        ModuleNotFoundError: If safetensors is not installed.
    """

    def __init__(self, folder: Path | str) -> None:
        self._open, _ = _safetensors()
        pointer = Path(folder) / _LATEST
        if not pointer.exists():
            raise FileNotFoundError(
                f"folder must hold a complete checkpoint, got {folder} without one"
            )
        self._folder = Path(folder) / pointer.read_text()
        contents = json.loads((self._folder / _CONTENTS).read_text())
        self.values: dict[str, Any] = contents["values"]
        self.shapes = {key: tuple(shape) for key, shape in contents["shapes"].items()}
        self._parts: dict[str, list[tuple[int, int, str]]] = contents["parts"]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Return a range of a flattened tensor, read from the files that hold it.

        Args:
            name: Name it was saved under.
            start: First index, in [0, numel].
            stop: Index after the last, at most numel; None for the end.

        Returns:
            Tensor of shape (stop - start,), of the saved dtype, on the CPU.

        Raises:
            KeyError: If nothing was saved under this name.
            ValueError: If the range is not part of the tensor, or no rank saved all of
                it.
        """
        if name not in self.shapes:
            raise KeyError(f"name must be a tensor of the checkpoint, got {name!r}")
        numel = torch.Size(self.shapes[name]).numel()
        stop = numel if stop is None else stop
        if not 0 <= start <= stop <= numel:
            raise ValueError(
                f"start and stop must lie in order in [0, {numel}] for {name!r}, "
                f"got {start} and {stop}"
            )
        found, position = [], start
        for first, length, file in self._parts[name]:
            lower, upper = max(position, first), min(stop, first + length)
            if lower == position and (lower < upper or (lower == upper == stop)):
                with self._open(self._folder / file, framework="pt") as tensors:
                    piece = tensors.get_slice(name)[lower - first : upper - first]
                found.append(piece)
                position = upper
        if position < stop or not found:
            raise ValueError(
                f"the checkpoint must hold all of {name!r}, got none of its entries "
                f"from {position} on"
            )
        return torch.cat(found)

    def tensor(self, name: str) -> Tensor:
        """Return a whole tensor in its shape."""
        return self.read(name).reshape(self.shapes[name])


def _contents(
    parts: list[dict[str, tuple[int, int, tuple[int, ...]]]], values: dict[str, Any]
) -> dict[str, Any]:
    """Return what contents.json holds: of each name its shape and its parts."""
    shapes: dict[str, tuple[int, ...]] = {}
    ranges: dict[str, list[tuple[int, int, str]]] = {}
    for rank, mine in enumerate(parts):
        for name, (start, length, shape) in mine.items():
            if shapes.setdefault(name, shape) != shape:
                raise ValueError(
                    f"{name!r} must have one shape on all ranks, got {shapes[name]} "
                    f"and {shape}"
                )
            ranges.setdefault(name, []).append(
                (start, length, f"rank-{rank}.safetensors")
            )
    for name in ranges:
        ranges[name].sort()
    return {"values": values, "shapes": shapes, "parts": ranges}


def _flush(path: Path) -> None:
    """Have a file or a folder on the disk before anything points to it."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders, and keeps their order itself
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _safetensors() -> tuple[Any, Any]:
    """Return the library's safe_open and save_file."""
    try:
        from safetensors import safe_open
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'checkpoints need safetensors: pip install "mlopt-edu[export]"'
        ) from error
    return safe_open, save_file
