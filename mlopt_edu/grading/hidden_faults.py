"""Prove an instructor's hidden tasks before a class is judged by them.

What the tests ask of the course's own tasks is asked of these: the same seed gives the
same cases, the reference passes, a blank answer fails, and each mistake fails with its
own message.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlopt_edu.checks import Case, Report, Task
from mlopt_edu.checks._answer import answer_cases
from mlopt_edu.checks._judge import judge
from mlopt_edu.checks._key import AnswerKey

from . import wire
from .exercise import Exercise, course_exercises
from .hidden import load_hidden, own_tasks

_TRIED = 20  # a seed for the proof, which needs no secret


def check_hidden(
    folder: Path, *, exercises: Sequence[Exercise] | None = None
) -> list[str]:
    """Return what is wrong with a folder of hidden checks, in one sentence each.

    Args:
        folder: The instructor's folder.
        exercises: Those of the course; read from it when None.
    """
    known = course_exercises() if exercises is None else exercises
    try:
        merged, _ = load_hidden(folder, known)
        own = own_tasks(folder, known)
    except ValueError as error:
        return [str(error)]
    tasks = {name: task for one in merged for name, task in one.tasks.items()}
    found: list[str] = []
    for hidden in own:
        try:
            found += _faults(tasks[hidden.name], hidden)
        except Exception as error:
            kind = type(error).__name__
            found.append(f"task {hidden.name!r} cannot be tried: {kind}: {error}")
    return found


def _faults(task: Task, hidden: Task) -> Iterator[str]:
    """Yield what is wrong with a hidden task, given the one it is now part of."""
    cases = task.cases(_TRIED)
    if not hidden.cases(_TRIED):
        yield f"hidden task {task.name!r} must draw at least one case"
        return
    sent = _sent(cases)
    if '"t": "unsupported"' in sent:
        yield f"the inputs of {task.name!r} must be numbers, arrays, texts or lists"
    if sent != _sent(task.cases(_TRIED)):
        yield f"the same seed must give the same cases of {task.name!r}"
    key = AnswerKey(task, cases)

    def tried(program: object) -> Report:
        inputs = [case.inputs for case in cases]
        return judge(key, answer_cases(program, inputs, seconds=10 * task.seconds))

    right = hidden.reference() if task.is_value else hidden.reference
    if not (report := tried(right)).passed:
        yield f"the reference of {task.name!r} must pass: {report.message}"
    if tried(None if task.is_value else _blank).passed:
        yield f"a blank answer to {task.name!r} must fail"
    for mistake in task.mistakes:
        wrong = mistake.program() if task.is_value else mistake.program
        report = tried(wrong)
        if report.passed:
            yield f"mistake {mistake.name!r} of {task.name!r} must fail on some case"
        elif report.mistake != mistake.name:
            got = f"that of {report.mistake!r}" if report.mistake else report.message
            yield (
                f"mistake {mistake.name!r} of {task.name!r} must get its own message, "
                f"got {got}"
            )


def _sent(cases: Sequence[Case]) -> str:
    """Return the cases as the answer process gets them."""
    return json.dumps([[c.label, wire.encode(dict(c.inputs))] for c in cases])


def _blank(*_: object) -> None:
    raise NotImplementedError
