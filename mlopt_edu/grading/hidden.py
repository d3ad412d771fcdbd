"""The instructor's own folder of hidden checks, kept outside the course.

    hidden/
      seed.txt                 a secret phrase: every hidden case is drawn from it
      gradient_descent.py      tasks of the same form as `mlopt_edu.checks`
      95_exam.ipynb, exam.py   an extra exercise: its released notebook and its tasks

A task with the name of a released one adds its cases to it, and may add mistakes. The
reference and the laws stay the released ones, with which it must agree. Any other task
belongs to an extra exercise. The modules are executed by the judge, which is trusted;
the answer process must be unable to read the folder. `hidden_faults` proves the tasks.

Feedback on a hidden case shows no inputs, no values and no label. The cases of one
task come in order, released ones first, and one process answers them all: a program
could remember hidden inputs and show them in its answer to another task. That costs it
the points of that task, and only its writer's own feedback shows them.
"""

import copy
import hashlib
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import mlopt_edu
from mlopt_edu.checks import Case, Report, Task
from mlopt_edu.checks._answer import Answer
from mlopt_edu.checks._judge import judge
from mlopt_edu.checks._key import AnswerKey

from .exercise import Exercise
from .notebook import read

SEED = "seed.txt"
SHORTEST = 12  # characters of a secret
LABEL = "a hidden case"

_ENDS = {
    "raised": "raises an error",
    "timeout": "runs out of time",
    "crashed": "ends its process",
}


@dataclass(frozen=True)
class HiddenCase(Case):
    """A case of which feedback shows nothing."""


def load_hidden(
    folder: Path, exercises: Sequence[Exercise]
) -> tuple[list[Exercise], int]:
    """Return the exercises with the hidden tasks in them, and the secret seed.

    Args:
        folder: The instructor's folder.
        exercises: Those of the course.

    Raises:
        ValueError: If something in the folder cannot be used; says what.
    """
    _check_place(folder)
    seed = _seed(folder)
    found = {one.stem: one for one in exercises}
    homes = {name: one.stem for one in exercises for name in one.tasks}
    extra: dict[str, dict[str, Task]] = {}
    for task in own_tasks(folder, exercises):
        if task.name in homes:
            one = found[homes[task.name]]
            task = _extended(one.tasks[task.name], task)
            found[one.stem] = replace(one, tasks={**one.tasks, task.name: task})
        elif task.exercise in found:
            raise ValueError(
                f"{task.name!r} must be a task of {task.exercise}; there are "
                f"{', '.join(found[task.exercise].tasks)}"
            )
        else:
            extra.setdefault(task.exercise, {})[task.name] = task
    for stem, tasks in extra.items():
        path = folder / f"{stem}.ipynb"
        if not path.is_file():
            raise ValueError(
                f"{path} must hold the released notebook of {next(iter(tasks))!r}, "
                "and there is no such file"
            )
        found[stem] = Exercise.from_notebook(stem, read(path), tasks)
    return list(found.values()), seed


def judge_hidden(
    key: AnswerKey, answers: Sequence[Answer], *, source: str = ""
) -> Report:
    """Judge as `judge` does; feedback on hidden cases shows nothing of them.

    A fault on a released case is told in full, and then the hidden ones are left out.

    Args:
        key: What was asked, with its cases, the hidden ones last.
        answers: What came back, one for each case.
        source: The learner's program.
    """
    first = sum(not isinstance(case, HiddenCase) for case in key.cases)
    if first == len(key.cases):
        return judge(key, answers, source=source)
    released = copy.copy(key)  # shares what the references gave on the same cases
    released.cases = key.cases[:first]
    shown = judge(released, answers[:first], source=source)
    if not shown.passed:
        return shown
    whole = judge(key, answers, source=source)
    labels = (*shown.passed_cases, LABEL)
    if whole.passed:
        return replace(whole, passed_cases=labels, note=shown.note)
    name, status = key.task.name, whole.status
    message = whole.message  # of a mistake: the instructor's own words
    if not whole.mistake:
        # Nothing that the answer process sent: it has seen the hidden inputs.
        ends = _ENDS.get(status, "is wrong")
        message = f"`{name}` is right on the released cases and {ends} on {LABEL}."
    return replace(
        whole,
        message=message,
        passed_cases=shown.passed_cases,
        failed_cases=(LABEL,),
        case=None,
        picture=None,
        note=shown.note,
    )


def _check_place(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder of hidden checks")
    course = Path(mlopt_edu.__file__).resolve().parent.parent
    if folder.resolve().is_relative_to(course):
        raise ValueError(
            f"{folder} must lie outside the course, whose files answers may read, "
            f"and is in {course}"
        )


def _seed(folder: Path) -> int:
    """Return the seed in the folder: a digest, since a phrase is easier to keep."""
    path = folder / SEED
    try:
        phrase = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must hold the secret phrase: {error}") from None
    if len(phrase) < SHORTEST:
        raise ValueError(
            f"{path} must hold a secret phrase of at least {SHORTEST} characters, "
            f"got {len(phrase)}"
        )
    # 48 bits, as a drawn seed has: every database holds them in one integer.
    return int.from_bytes(hashlib.sha256(phrase.encode()).digest()[:6])


def own_tasks(folder: Path, exercises: Sequence[Exercise]) -> list[Task]:
    """Execute the modules of a folder; return their tasks, without imported ones.

    Raises:
        ValueError: If a module cannot be executed, or two tasks have one name.
    """
    released = {id(task) for one in exercises for task in one.tasks.values()}
    found: dict[str, Task] = {}
    for path in sorted(folder.glob("[!_]*.py")):
        for task in vars(_module(path)).values():
            if not isinstance(task, Task) or id(task) in released:
                continue
            if found.setdefault(task.name, task) is not task:
                raise ValueError(f"two hidden tasks are called {task.name!r}")
    return list(found.values())


def _module(path: Path) -> types.ModuleType:
    # A name below the checks: `Task.exercise` reads the exercise from it.
    name = f"mlopt_edu.checks.{path.stem}._hidden"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        # Not imported: that would leave compiled copies of the secrets beside it.
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    except Exception as error:
        kind = type(error).__name__
        raise ValueError(f"{path} cannot be executed: {kind}: {error}") from None
    return module


def _extended(released: Task, hidden: Task) -> Task:
    if released.is_value:
        raise ValueError(
            f"hidden task {hidden.name!r} must be one with cases, and is a "
            f"{released.kind} question"
        )
    for what in ("kind", "points"):
        ours, theirs = getattr(released, what), getattr(hidden, what)
        if ours != theirs:
            raise ValueError(
                f"{what} of hidden task {hidden.name!r} must be {ours!r} as released, "
                f"got {theirs!r}"
            )
    task = copy.copy(released)

    def draw(rng: np.random.Generator) -> Iterator[Case]:
        yield from released.draw(rng)
        for case in hidden.draw(rng):
            yield HiddenCase(case.label, case.inputs)

    task.draw = draw
    task.mistakes = [*released.mistakes, *hidden.mistakes]
    return task
