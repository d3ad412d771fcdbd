"""Training that goes on after a rank fails.

torchrun watches the ranks. When one dies it ends the others and starts them all again,
up to `--max-restarts` times; the script begins anew and has to find its place itself.
`run_elastic` keeps that place in a file: what is lost is the work since the last save.

    torchrun --standalone --nproc-per-node 4 --max-restarts 3 train.py

A value that is not finite does not end a rank. It passes through one all-reduce into
the weights of all: `check_finite` stops it before, and names the rank it came from.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup


class Stateful(Protocol):
    """A model, an optimizer, a scheduler: whatever can save and load its state."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Take the state back."""
        ...


def run_elastic(
    step: Callable[[int], None],
    states: Mapping[str, Stateful],
    *,
    steps: int,
    path: Path,
    every: int = 1,
) -> int:
    """Call `step(0)`, `step(1)`, … and go on from the last save after a restart.

    The end equals that of an uninterrupted run if a step depends on nothing but its
    number and `states`: it draws its batch and its dropout from a seed made of the
    number.

    Args:
        step: One step of training. It must wait for all ranks, as an all-reduce does.
        states: What the steps change, the same on each rank, as under data parallelism.
        steps: Number of steps of the whole training.
        path: The checkpoint, on a disk that all ranks see. Rank 0 writes it.
        every: Steps from one save to the next, at least 1. The last step saves too.

    Returns:
        The step at which this run began: 0, or where the checkpoint stood.

    Raises:
        ValueError: If `steps` or `every` is out of its range.
    """
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps}")
    if every < 1:
        raise ValueError(f"every must be at least 1, got {every}")
    begin = 0
    if path.exists():
        saved = torch.load(path, weights_only=True, map_location="cpu")
        begin = saved["step"]
        for name, state in states.items():
            state.load_state_dict(saved["states"][name])
    dist.barrier()  # or a rank that starts late reads what the others have saved since
    for number in range(begin, steps):
        step(number)
        done = number + 1
        if dist.get_rank() == 0 and (done % every == 0 or done == steps):
            now = {name: state.state_dict() for name, state in states.items()}
            save_atomically({"step": done, "states": now}, path)
    return begin


def save_atomically(content: Any, path: Path) -> None:
    """Write a checkpoint that is there whole or not at all.

    It is written beside `path` and then renamed. Whoever is killed while it is written
    leaves the old one as it was.

    Args:
        content: What `torch.save` takes.
        path: The file, which is replaced if it exists.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "weights.pt"
        ...     save_atomically(torch.arange(3), path)
        ...     print(torch.load(path), os.listdir(folder))
        tensor([0, 1, 2]) ['weights.pt']
    """
    beside = path.with_name(path.name + ".part")
    with beside.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def check_finite(
    tensors: Iterable[tuple[str, Tensor]], *, group: ProcessGroup | None = None
) -> None:
    """Raise on every rank if a tensor of any rank is not finite.

    Call it between backward and the all-reduce of the gradients. It sends 8 bytes a
    rank, and no rank is left waiting for one that has raised.

    Args:
        tensors: Names and tensors, the same names in the same order on each rank:
            `((name, p.grad) for name, p in model.named_parameters())`.
        group: The ranks that take part; all of them by default.

    Raises:
        FloatingPointError: If there is a NaN or an infinity; names the first rank that
            has one and the first of its tensors.

    Example:
        >>> from mlopt_edu.parallel import launch
        >>> launch(lambda: check_finite([("weight", torch.ones(2))]), 2)
        [None, None]
    """
    names, finite = [], []
    for name, tensor in tensors:
        names.append(name)
        finite.append(bool(torch.isfinite(tensor).all()))
    first = finite.index(False) if not all(finite) else -1
    world_size = dist.get_world_size(group)
    found = [torch.empty(1, dtype=torch.int64) for _ in range(world_size)]
    dist.all_gather(found, torch.tensor([first]), group=group)
    for rank, index in enumerate(int(each) for each in found):
        if index >= 0:
            raise FloatingPointError(
                f"{names[index]} of rank {rank} of {world_size} is not finite: "
                f"look at that rank's batch and at the learning rate"
            )
