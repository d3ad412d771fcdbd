"""Tasks whose answer is a file of weights: the course names the model, never a program.

The learner trains the course's architecture and hands in `NAME.safetensors` beside the
notebook. It is judged on data that the learner has not seen, against a budget.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ._task import Case, Task

if TYPE_CHECKING:
    import torch

Model = Callable[[], "torch.nn.Module"]
Data = Callable[[np.random.Generator], "tuple[torch.Tensor, torch.Tensor]"]


class Artifact(Task):
    """A task that is answered by weights.

    Args:
        name: Name of the task, and of the file before `.safetensors`.
        section: Where a lesson teaches it: its number and heading.
        models: Builders by name. The file's metadata says which: {"model": name};
            without it, the first.
        data: Draws hidden inputs of shape (n, …) and labels of shape (n,) from a
            seeded generator.
        levels: Points by the accuracy that earns them, as {0.8: 2, 0.9: 5}: the
            accuracy is the share of right labels, in [0, 1].
        max_bytes: The largest file that earns points.
        hints: As for `Task`.

    Raises:
        ValueError: If there is no model or no level, or more accuracy earns less.
    """

    def __init__(
        self,
        name: str,
        *,
        section: str,
        models: Mapping[str, Model],
        data: Data,
        levels: Mapping[float, int],
        max_bytes: int,
        hints: tuple[str, ...] = (),
    ) -> None:
        if not models:
            raise ValueError("models must hold at least one builder, got none")
        earned = [points for _, points in sorted(levels.items())]
        if not earned or earned != sorted(set(earned)) or min(earned) < 1:
            raise ValueError(
                f"levels must give more points for more accuracy, got {dict(levels)}"
            )
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, got {max_bytes}")
        super().__init__(
            name,
            points=earned[-1],
            section=section,
            reference=next(iter(models.values())),
            draw=_nothing_to_answer,
            kind="artifact",
            hints=hints,
        )
        self.models = dict(models)
        self.data = data
        self.levels = dict(sorted(levels.items()))
        self.max_bytes = max_bytes


def _nothing_to_answer(_: np.random.Generator) -> Iterator[Case]:
    return iter(())
