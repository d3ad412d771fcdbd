"""Decide whether answers are right. Nothing here calls what the learner wrote.

The judge sees the inputs and the values that came back. In a notebook both sides run
in one process; when a class is graded the answers come from another one.
"""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._answer import Answer, answer_case
from ._compare import as_array, difference, show
from ._report import Report, Verdict
from ._task import Case, Mistake, Task

_NO_ANSWER = (None, "", ...)
_IN_PLACE = "it changed its input"


def judge(
    task: Task, cases: Sequence[Case], answers: Sequence[Answer], *, source: str = ""
) -> Report:
    """Compare one answer for each case with the task.

    Args:
        task: What was asked.
        cases: The inputs, from `task.cases`.
        answers: What came back, one for each case.
        source: The learner's program, to look for names that the task forbids.

    Returns:
        A report with all the points if every case is right, else none.
    """
    used = forbidden_name(source, task.forbid)
    if used:
        text = (
            f"This task asks you to write it yourself, and your answer uses `{used}`."
        )
        return _report(task, "forbidden", text)
    if task.is_value and answers[0].value in _NO_ANSWER:
        return _report(task, "blank", "There is no answer yet.", hints=task.hints)
    faults = [_fault(task, c, a) for c, a in zip(cases, answers, strict=True)]
    ended = [a for a in answers if a.status != "returned"]
    failed = [i for i, fault in enumerate(faults) if fault]
    good = tuple(c.label for c, fault in zip(cases, faults, strict=True) if not fault)
    if not failed:
        note = _printed(answers)
        return _report(
            task, "passed", _praise(task, cases), passed_cases=good, note=note
        )
    worst = min(failed, key=lambda i: _size(cases[i]))
    common: dict[str, Any] = {
        "passed_cases": tuple(dict.fromkeys(good)),
        "failed_cases": tuple(dict.fromkeys(cases[i].label for i in failed)),
        "note": _printed(answers),
        "hints": task.hints,
    }
    if ended and ended[0].status in ("blank", "missing", "timeout", "crashed"):
        text = f"`{task.name}`: {ended[0].error}."
        return _report(task, ended[0].status, text, **common)
    mistake = _recognise(task, cases, answers)
    if mistake:
        common |= {"message": mistake.explanation, "mistake": mistake.name}
    elif answers[worst].status == "raised":
        common["message"] = (
            f"On the case “{cases[worst].label}” {answers[worst].error}."
        )
    elif _IN_PLACE in faults[worst]:
        common["message"] = f"The values are right, but {faults[worst]}."
    else:
        common["message"] = _summary(task, len(failed), len(cases))
    status: Verdict = "raised" if answers[worst].status == "raised" else "wrong"
    if not task.is_value:
        common["case"] = _shown(task, cases[worst], answers[worst], faults[worst])
        common["picture"] = _picture(task, cases[worst], answers[worst])
    return _report(task, status, **common)


def forbidden_name(source: str, forbid: Sequence[str]) -> str:
    """Return the first forbidden dotted name that a program uses, or "".

    Example:
        >>> forbidden_name("from torch import optim as o", ["torch.optim"])
        'torch.optim'
    """
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    for node in nodes:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        for name in names:
            for bad in forbid:
                if name == bad or name.startswith(bad + "."):
                    return bad
    return ""


def _fault(task: Task, case: Case, answer: Answer) -> str:
    """Say what is wrong with one answer, or "" if nothing is."""
    if answer.status != "returned":
        return answer.error
    changed = [name for name in answer.mutated if name not in task.mutates]
    if task.kind == "law":
        if answer.value is None:
            return "it returned None; is the `return` missing?"
        for law in task.laws:
            if not _holds(law.holds, case.inputs, answer.value):
                statement = law.statement[0].lower() + law.statement[1:].rstrip(".")
                return f"one property fails: {statement}"
    else:
        expected = task.reference(*case.inputs.values())
        text = difference(expected, answer.value, rtol=task.rtol)
        if text:
            return text
    if changed:
        return f"{_IN_PLACE} `{changed[0]}` in place; work on a copy"
    return ""


def _holds(law: Any, inputs: Mapping[str, Any], value: Any) -> bool:
    """A value of the wrong type or shape breaks a law; it does not break the judge."""
    array = as_array(value)
    if array is None:
        return False
    try:
        with np.errstate(all="ignore"):
            return bool(law(inputs, array))
    except (TypeError, ValueError, IndexError, np.linalg.LinAlgError):
        return False


def _recognise(
    task: Task, cases: Sequence[Case], answers: Sequence[Answer]
) -> Mistake | None:
    """Return the first mistake that gives the same results on every case."""
    for mistake in task.mistakes:
        if all(_same(task, mistake, c, a) for c, a in zip(cases, answers, strict=True)):
            return mistake
    return None


def _same(task: Task, mistake: Mistake, case: Case, answer: Answer) -> bool:
    other = answer_case(mistake.program, case.inputs, seconds=task.seconds)
    if other.status != "returned" or answer.status != "returned":
        return False
    if set(other.mutated) != set(answer.mutated):
        return False
    expected = other.value
    expected = tuple(expected) if isinstance(expected, list) else expected
    return not difference(expected, answer.value, rtol=task.rtol)


def _size(case: Case) -> int:
    arrays = [as_array(value) for value in case.inputs.values()]
    return sum(1 if array is None else array.size for array in arrays)


def _shown(task: Task, case: Case, answer: Answer, fault: str) -> dict[str, str]:
    inputs = "\n".join(f"{name} = {show(value)}" for name, value in case.inputs.items())
    expected = "any value with the properties asked for"
    if task.kind != "law":
        expected = show(task.reference(*case.inputs.values()))
    got = show(answer.value) if answer.status == "returned" else answer.error
    return {
        "label": case.label,
        "inputs": inputs,
        "expected": expected,
        "got": got,
        "difference": fault,
    }


def _picture(task: Task, case: Case, answer: Answer) -> dict[str, Any] | None:
    """Return both curves if the answer has a curve that can be drawn."""
    if task.picture is None or as_array(answer.value) is None:
        return None
    curves: dict[str, Any] = {"axes": list(task.axes), "label": case.label}
    right = as_array(task.reference(*case.inputs.values()))
    for name, value in (("right", right), ("yours", as_array(answer.value))):
        try:
            x, y = task.picture(case.inputs, value)
            points = np.column_stack([x, y]).astype(float)
        except (TypeError, ValueError, IndexError):
            return None
        if len(points) < 2 or not np.isfinite(points).all():
            return None
        curves[name] = points.tolist()
    return curves


def _summary(task: Task, failed: int, total: int) -> str:
    if task.is_value:
        return "That is not the right answer."
    if failed == total:
        return f"`{task.name}` is not right yet: none of the {total} cases agrees."
    return f"`{task.name}` is not right yet: {failed} of {total} cases differ."


def _praise(task: Task, cases: Sequence[Case]) -> str:
    if task.kind == "choice":
        return task.reference.__doc__ or "Right."
    if task.is_value:
        return "Right."
    return f"All {len(cases)} cases agree."


def _printed(answers: Sequence[Answer]) -> str:
    total = sum(answer.printed for answer in answers)
    if total < 2000:
        return ""
    return (
        f"Your code printed {total:,} characters during the check; they were dropped."
    )


def _report(task: Task, status: Verdict, message: str, **fields: Any) -> Report:
    earned = task.points if status == "passed" else 0
    return Report(
        task=task.name,
        exercise=task.exercise,
        points=earned,
        max_points=task.points,
        status=status,
        message=message,
        section=task.section,
        **fields,
    )
