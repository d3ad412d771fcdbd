"""The numbers of a class: what was earned, where it went wrong, what a task tells.

Records are read once, one after another, so that 10,000 of them need no memory: what
is kept are counts, and for each graded submission its points task by task.

A task discriminates well when those who are good at the others get it right. The
measure is the corrected item-total correlation: Pearson's r between "right" (1 or 0)
and the points of all *other* tasks, which for a 0/1 variable is the point-biserial
correlation (Crocker & Algina, "Introduction to Classical and Modern Test Theory",
1986, chapter 14). It does not exist when everybody or nobody is right.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .exercise import Exercise
from .similar import Compared

WEAK = 0.2  # below it a task says little about who understood
ENOUGH = 20  # submissions before a correlation is worth a word

Array = np.ndarray[Any, Any]


def class_numbers(
    records: Iterable[Mapping[str, Any]], *, exercise: Exercise
) -> dict[str, Any]:
    """Return what the class report of one exercise shows, as plain JSON values.

    Args:
        records: Results as written in JSON. Those of other exercises are left out;
            those that answer no exercise are counted. Every submission counts: to
            count each student once, pass only the attempt that counts.
        exercise: Of which the report is.
    """
    statuses: Counter[str] = Counter()
    seen: dict[str, Counter[str]] = {name: Counter() for name in exercise.tasks}
    mistakes: dict[str, Counter[str]] = {name: Counter() for name in exercise.tasks}
    right: list[list[bool]] = []
    points: list[list[int]] = []
    seconds: list[float] = []
    ungraded: list[dict[str, str]] = []
    compared = Compared(exercise.stubs)
    for record in records:
        if record["exercise"] not in ("", exercise.stem):
            continue
        statuses[record["status"]] += 1
        if record["status"] != "graded":
            name, reason = record["submission"], record["reason"]
            why = {"status": record["status"], "reason": reason}
            ungraded.append({"submission": name, **why})
            continue
        reports = {report["task"]: report for report in record["reports"]}
        own = [reports.get(name, _NONE) for name in exercise.tasks]
        right.append([report["status"] == "passed" for report in own])
        points.append([report["points"] for report in own])
        for name, report in zip(exercise.tasks, own, strict=True):
            seen[name][report["status"]] += 1
            if report["mistake"]:
                mistakes[name][report["mistake"]] += 1
        if "seconds" in record:
            seconds.append(float(record["seconds"]))
        compared.add(
            record["submission"],
            record.get("student") or record["submission"],
            record.get("sources", {}),
        )
    shape = (len(points), len(exercise.tasks))
    earned = np.array(points, dtype=np.int64).reshape(shape)
    passed = np.array(right, dtype=bool).reshape(shape)
    return {
        "exercise": exercise.stem,
        "submissions": sum(statuses.values()),
        "statuses": dict(statuses.most_common()),
        "points": _points(earned.sum(axis=1), exercise),
        "seconds": _quantiles(seconds),
        "tasks": [
            {
                "task": name,
                "section": task.section,
                "max_points": task.points,
                "statuses": dict(seen[name].most_common()),
                "share_right": _rounded(passed[:, i].mean()) if len(passed) else None,
                **_discrimination(passed[:, i], earned.sum(axis=1) - earned[:, i]),
                "mistakes": _explained(mistakes[name], exercise, name),
            }
            for i, (name, task) in enumerate(exercise.tasks.items())
        ],
        "alike": compared.groups(),
        "ungraded": ungraded,
    }


_NONE = {"status": "missing", "points": 0, "mistake": ""}


def item_rest_correlation(right: Array, rest: Array) -> float | None:
    """Return the correlation of one task with the points of the others.

    Args:
        right: Whether each submission got the task right, of shape (n,).
        rest: Its points on all other tasks, of shape (n,).

    Returns:
        A number in [-1, 1]; None where either does not vary.

    Example:
        >>> item_rest_correlation(np.array([0, 0, 1, 1]), np.array([1, 2, 8, 9]))
        0.99
    """
    if len(right) < 2 or np.ptp(right) == 0 or np.ptp(rest) == 0:
        return None
    return _rounded(float(np.corrcoef(right.astype(float), rest)[0, 1]))


def _discrimination(right: Array, rest: Array) -> dict[str, Any]:
    r = item_rest_correlation(right.astype(int), rest)
    remark = ""
    if r is None:
        remark = _why_undefined(right)
    elif len(right) < ENOUGH:
        remark = ""  # the page says once that they are too few
    elif r < 0:
        remark = "those who are good at the other tasks get it wrong: look at it"
    elif r < WEAK:
        remark = "hardly related to the other tasks: look at it"
    weak = r is not None and r < WEAK and len(right) >= ENOUGH
    return {"discrimination": r, "weak": weak, "remark": remark}


def _why_undefined(right: Array) -> str:
    if len(right) < 2:
        return "too few submissions"
    if right.all():
        return "undefined: all are right"
    if not right.any():
        return "undefined: none is right"
    return "undefined: all have the same points on the other tasks"


def _points(totals: Array, exercise: Exercise) -> dict[str, Any]:
    most = sum(task.points for task in exercise.tasks.values())
    counts = Counter(map(int, totals))
    summary = _quantiles(totals.tolist())
    return {
        "max": most,
        "mean": _rounded(float(totals.mean())) if len(totals) else None,
        "median": summary["median"] if summary else None,
        "counts": [counts[value] for value in range(most + 1)],
    }


def _quantiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    found = np.quantile(values, [0.5, 0.9, 1.0])
    names = ("median", "ninth_decile", "most")
    return {n: _rounded(float(v)) for n, v in zip(names, found, strict=True)}


def _explained(
    counts: Counter[str], exercise: Exercise, name: str
) -> list[dict[str, Any]]:
    known = {one.name: one.explanation for one in exercise.tasks[name].mistakes}
    return [
        {"mistake": mistake, "count": count, "explanation": known.get(mistake, "")}
        for mistake, count in counts.most_common()
    ]


def _rounded(value: float) -> float:
    return round(float(value), 3)
