"""Decide whether answers are right. Nothing here calls what the learner wrote.

The judge sees the inputs and the values that came back. In a notebook both sides run
in one process; when a class is graded the answers come from another one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._answer import Answer
from ._compare import as_array, difference, show
from ._forbid import forbidden_name
from ._key import AnswerKey
from ._report import Report, Verdict, sentence
from ._task import Case, Law, Mistake, Task

_IN_PLACE = "it changed its input"


def judge(key: AnswerKey, answers: Sequence[Answer], *, source: str = "") -> Report:
    """Compare one answer for each case with the key.

    Args:
        key: What was asked, with its cases.
        answers: What came back, one for each case.
        source: The learner's program, to look for names that the task forbids.

    Returns:
        A report with all the points if every case is right, else none.
    """
    task, cases = key.task, key.cases
    used = forbidden_name(source, task.forbid)
    if used:
        text = (
            f"This task asks you to write it yourself, and your answer uses `{used}`."
        )
        return _report(task, "forbidden", text)
    if task.is_value and _is_blank(answers[0]):
        return _report(task, "blank", "There is no answer yet.", hints=task.hints)
    if len(answers) != len(cases):
        raise ValueError(f"answers must be {len(cases)}, got {len(answers)}")
    faults = [_fault(key, i, answer) for i, answer in enumerate(answers)]
    failed = [i for i, fault in enumerate(faults) if fault]
    good = tuple(c.label for c, fault in zip(cases, faults, strict=True) if not fault)
    if not failed:
        note = _printed(answers)
        return _report(
            task, "passed", _praise(task, cases), passed_cases=good, note=note
        )
    bad = tuple(dict.fromkeys(cases[i].label for i in failed))
    worst = min(failed, key=lambda i: _size(cases[i]))
    status, message, mistake = _diagnosis(key, answers, faults, worst)
    shown = None
    if status in ("wrong", "raised") and not task.is_value:
        fault = "" if faults[worst] in message else faults[worst]
        shown = _shown(key, worst, answers[worst], fault)
    return _report(
        task,
        status,
        sentence(message),
        mistake=mistake,
        passed_cases=tuple(dict.fromkeys(good)),
        failed_cases=bad,
        case=shown,
        picture=_picture(key, worst, answers[worst]) if shown else None,
        hints=task.hints,
        note=_printed(answers),
    )


def _diagnosis(
    key: AnswerKey, answers: Sequence[Answer], faults: Sequence[str], worst: int
) -> tuple[Verdict, str, str]:
    """Return status, message and name of the mistake: the surest finding first."""
    task, cases = key.task, key.cases
    for answer in answers:
        if answer.status in ("blank", "missing", "timeout", "crashed"):
            return answer.status, f"`{task.name}`: {answer.error}", ""
    mistake = _recognise(key, answers)
    if mistake:
        return "wrong", mistake.explanation, mistake.name
    if answers[worst].status == "raised":
        text = f"On the case “{cases[worst].label}” {answers[worst].error}"
        return "raised", text, ""
    if _IN_PLACE in faults[worst]:
        return "wrong", f"The values are right, but {faults[worst]}", ""
    failed = sum(map(bool, faults))
    return "wrong", _summary(task, answers[0], failed, len(cases)), ""


def _is_blank(answer: Answer) -> bool:
    value = answer.value
    if answer.status != "returned":
        return False
    return (
        value is None or value is ... or (isinstance(value, str) and not value.strip())
    )


def _fault(key: AnswerKey, i: int, answer: Answer) -> str:
    """Say what is wrong with one answer, or "" if nothing is."""
    task, case = key.task, key.cases[i]
    if answer.status != "returned":
        return answer.error
    changed = [name for name in answer.mutated if name not in task.mutates]
    if task.kind == "law":
        if answer.value is None:
            return "it returned None; is the `return` missing?"
        for law in task.laws:
            seen = _breach(law, case.inputs, answer.value)
            if seen:
                statement = law.statement[0].lower() + law.statement[1:].rstrip(".")
                return f"{statement}, but {seen}"
    else:
        text = difference(key.expected(i), answer.value, rtol=task.rtol)
        if text:
            return text
    if changed:
        return f"{_IN_PLACE} `{changed[0]}` in place; work on a copy"
    return ""


def _breach(law: Law, inputs: Mapping[str, Any], value: Any) -> str:
    """A value of the wrong type or shape breaks a law; it does not break the judge."""
    array = as_array(value)
    if array is None or array.dtype.kind not in "iuf":
        kind = type(value).__name__ if array is None else str(array.dtype)
        return f"yours is of type {kind}, not an array of real numbers"
    try:
        with np.errstate(all="ignore"):
            return law.breach(inputs, array)
    except (TypeError, ValueError, IndexError, np.linalg.LinAlgError):
        return f"yours has shape {array.shape}"


def _recognise(key: AnswerKey, answers: Sequence[Answer]) -> Mistake | None:
    """Return the first mistake that gives the same results on every case."""
    for mistake in key.task.mistakes:
        if all(_same(key, mistake, i, answer) for i, answer in enumerate(answers)):
            return mistake
    return None


def _same(key: AnswerKey, mistake: Mistake, i: int, answer: Answer) -> bool:
    if answer.status != "returned":
        return False
    other = key.mistaken(mistake, i)
    if other.status != "returned":
        return False
    # A number may be a known wrong one that was rounded to a few digits.
    rtol = 5e-4 if key.task.kind == "number" else key.task.rtol
    return not difference(other.value, answer.value, rtol=rtol)


def _size(case: Case) -> int:
    arrays = [as_array(value) for value in case.inputs.values()]
    return sum(1 if array is None else array.size for array in arrays)


def _shown(key: AnswerKey, i: int, answer: Answer, fault: str) -> dict[str, str]:
    case = key.cases[i]
    inputs = "\n".join(f"{name} = {show(value)}" for name, value in case.inputs.items())
    expected = "any value with the properties asked for"
    if key.task.kind != "law":
        expected = show(key.expected(i))
    got = show(answer.value) if answer.status == "returned" else "an error"
    return {
        "label": case.label,
        "inputs": inputs,
        "expected": expected,
        "got": got,
        "difference": fault,
    }


def _picture(key: AnswerKey, i: int, answer: Answer) -> dict[str, Any] | None:
    """Return both curves if the answer has a curve that can be drawn."""
    task, case = key.task, key.cases[i]
    if task.picture is None or as_array(answer.value) is None:
        return None
    curves: dict[str, Any] = {"axes": list(task.axes), "label": case.label}
    right = as_array(key.expected(i))
    for name, value in (("right", right), ("yours", as_array(answer.value))):
        try:
            with np.errstate(all="ignore"):  # a wrong path may diverge
                x, y = task.picture(case.inputs, value)
            points = np.column_stack([x, y]).astype(float)
        except (TypeError, ValueError, IndexError):
            return None
        if len(points) < 2 or not np.isfinite(points).all():
            return None
        curves[name] = points.tolist()
    return curves


def _summary(task: Task, answer: Answer, failed: int, total: int) -> str:
    if task.kind == "number":
        array = as_array(answer.value)
        if array is None or array.ndim or array.dtype.kind not in "iuf":
            return "The answer must be a plain number, without text or brackets."
    if task.kind == "choice" and not any(
        not difference(key, answer.value, rtol=0) for key in task.options
    ):
        return f"The answer must be one letter of {', '.join(task.options)}, as text."
    if task.is_value:
        return "That is not the right answer."
    return f"`{task.name}` is not right yet: it fails on {failed} of {total} cases."


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
