"""`check`, the one call that a learner makes."""

import ast
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from ._answer import Answer, answer_cases
from ._catalog import CheckError, find_task, tasks
from ._html import report_html
from ._judge import judge
from ._key import AnswerKey
from ._progress import progress, record
from ._report import Report
from ._task import Task

__all__ = ["Checked", "check", "progress", "quiz"]

PUBLIC_SEED = 20  # the same cases at every check; a class is graded on other ones
_NOTHING = object()


@dataclass(frozen=True, repr=False)
class Checked:
    """The reports of one `check`, shown one below the other."""

    reports: tuple[Report, ...]
    points_so_far: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every task was answered right."""
        return all(report.passed for report in self.reports)

    def __repr__(self) -> str:
        if "NBGRADER_EXECUTION" in os.environ:  # see Report.__repr__
            return str(sum(report.points for report in self.reports))
        return "\n".join(map(str, self.reports))

    def _repr_html_(self) -> str:
        pairs = zip(self.reports, self.points_so_far, strict=True)
        return "".join(report_html(r, points_so_far=text) for r, text in pairs)


def check(name: str = "", answer: object = _NOTHING) -> Checked:
    """Check an answer and show what is right, what is not, and what may help.

    Without an answer, the one that the notebook has defined is taken. Without a name,
    the tasks that this cell defines are checked; in a cell of its own, `check()`
    checks every task that the notebook has defined so far.

    Args:
        name: Name of the task, as "descend".
        answer: The learner's function or value.

    Raises:
        CheckError: If there is no task of that name (the nearest is suggested), or
            outside a notebook if there is no answer.
    """
    if name:
        task = find_task(name)
        if answer is _NOTHING:
            answer = _notebook().get(name, _NOTHING)
        chosen = {task: answer}
    else:
        chosen = _defined_tasks()
    reports = tuple(check_answer(task, value) for task, value in chosen.items())
    return Checked(reports, tuple(record(report) for report in reports))


class Quiz(TypedDict):
    """What a quiz in a lesson needs; the right answer stays with `check`."""

    question: str
    options: Mapping[str, str]
    check: Callable[[str], Report]


def quiz(name: str) -> Quiz:
    """Return a choice task as arguments of the quiz widget: `Quiz(**quiz("name"))`.

    Raises:
        CheckError: If there is no choice task of that name.
    """
    task = find_task(name)
    if task.kind != "choice":
        raise CheckError(f"{name!r} must be a choice task for a quiz, is a {task.kind}")

    def judged(key: str) -> Report:
        report = check_answer(task, key)
        if task.points:
            record(report)
        return report

    return {"question": task.question, "options": task.options, "check": judged}


def check_answer(task: Task, answer: object) -> Report:
    """Answer and judge the public cases of one task, in this process."""
    cases = task.cases(PUBLIC_SEED)
    if answer is _NOTHING:
        text = f"there is no `{task.name}` yet; run the cell that defines it first"
        answers = [Answer(status="missing", error=text)] * len(cases)
    else:
        inputs = [case.inputs for case in cases]
        answers = answer_cases(answer, inputs, seconds=task.seconds)
    return judge(AnswerKey(task, cases), answers, source=_source(answer))


def _notebook() -> Mapping[str, Any]:
    """Return the names that the notebook has defined."""
    # Not imported: outside a notebook there is none, and no reason to load it.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        raise CheckError(
            'answer must be given outside a notebook: check("name", answer)'
        )
    names: Mapping[str, Any] = shell.user_ns
    return names


def _defined_tasks() -> dict[Task, object]:
    names, everything = _notebook(), tasks()
    cell = str(names.get("In", [""])[-1])
    here = [everything[name] for name in _assigned(cell) if name in everything]
    found = here or [task for name, task in everything.items() if name in names]
    if not found:
        raise CheckError(
            "check() found no answer in this notebook; run the cell that defines one, "
            'or name the task: check("name")'
        )
    return {task: names.get(task.name, _NOTHING) for task in found}


def _assigned(cell: str) -> list[str]:
    r"""Return the names that a cell defines at its top level.

    Example:
        >>> _assigned("def f(): pass\nx = 1")
        ['f', 'x']
    """
    lines = [line for line in cell.split("\n") if not line.startswith(("%", "!"))]
    try:
        body = ast.parse("\n".join(lines)).body
    except SyntaxError:
        return []
    names: list[str] = []
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            inside = [name for target in targets for name in ast.walk(target)]
            names += [
                name.id
                for name in inside
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
            ]
    return names


def _source(answer: object) -> str:
    """Return the program's text, after the imports in other cells that it relies on."""
    try:
        text = inspect.cleandoc("\n" + inspect.getsource(answer))  # type: ignore[arg-type]
    except (TypeError, OSError):
        return ""
    imports = []
    for name in getattr(getattr(answer, "__code__", None), "co_names", ()):
        used = getattr(answer, "__globals__", {}).get(name)
        if inspect.ismodule(used):
            imports.append(f"import {used.__name__} as {name}")
        elif inspect.isclass(used):
            imports.append(f"from {used.__module__} import {used.__name__} as {name}")
    return "\n".join([*imports, text])
