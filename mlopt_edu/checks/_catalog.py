"""Where tasks are found: the public modules of this package are the exercises."""

import difflib
import importlib
import pkgutil
from functools import cache
from pathlib import Path

from ._task import Task


class CheckError(ValueError):
    """A check that cannot be made; a notebook shows its sentence and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


@cache
def _all_tasks() -> dict[str, Task]:
    found: dict[str, Task] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("_"):
            continue
        contents = vars(importlib.import_module(f"{__package__}.{module.name}"))
        for task in contents.values():
            if isinstance(task, Task):
                if task.name in found:
                    raise ValueError(f"two tasks are called {task.name!r}; rename one")
                found[task.name] = task
    return dict(sorted(found.items(), key=lambda item: item[1].exercise))


def tasks(exercise: str | None = None) -> dict[str, Task]:
    """Return the tasks by name, in the order in which an exercise asks them.

    Args:
        exercise: Stem as "01_gradient_descent"; all exercises when None.

    Raises:
        CheckError: If there is no such exercise; names the nearest.
    """
    everything = _all_tasks()
    if exercise is None:
        return dict(everything)
    stems = sorted({task.exercise for task in everything.values()})
    if exercise not in stems:
        raise CheckError(_unknown("exercise", exercise, stems))
    return {
        name: task for name, task in everything.items() if task.exercise == exercise
    }


def exercises() -> dict[str, dict[str, Task]]:
    """Return the tasks that earn points, by exercise and name."""
    found: dict[str, dict[str, Task]] = {}
    for name, task in _all_tasks().items():
        if task.points:
            found.setdefault(task.exercise, {})[name] = task
    return found


def find_task(name: str) -> Task:
    """Return the task of this name.

    Raises:
        CheckError: If there is none; suggests the nearest name.
    """
    everything = _all_tasks()
    if name not in everything:
        raise CheckError(_unknown("task", name, list(everything)))
    return everything[name]


def _unknown(what: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
    advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    return f"{name!r} is not the name of any {what}; {advice}"
