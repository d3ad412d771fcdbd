"""Remember what a learner has earned, in the learner's own folder.

One file a task, `.mlopt/progress/<task>.json`: written whole or not at all, so two
notebooks cannot spoil each other's and no crash loses more than the last check.
"""

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._catalog import tasks
from ._html import STYLE
from ._report import Report


def course_folder() -> Path:
    """Return the folder above the notebooks, else the current one.

    The environment variable `MLOPT_PROGRESS` names another.
    """
    if named := os.environ.get("MLOPT_PROGRESS"):
        return Path(named)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "lessons" / "00_start_here.ipynb").is_file():
            return folder
    return here


def record(report: Report) -> str:
    """Save the best result of a task; return a sentence on the points so far.

    A folder that cannot be written costs the memory, not the check: the sentence
    then says so.
    """
    file = _folder() / f"{report.task}.json"
    old = _read(file)
    entry: dict[str, Any] = {
        "points": max(report.points, _count(old, "points")),
        "attempts": _count(old, "attempts") + 1,
        "last": report.status,
    }
    try:
        _write(file, entry)
    except OSError as error:
        return f"Your progress could not be saved in {file.parent}: {error.strerror}."
    earned, possible = progress(report.exercise).total(report.exercise)
    return f"{earned} of {possible} points in {report.exercise} so far."


@dataclass(frozen=True)
class Progress:
    """Points earned and possible, by exercise and task; shows itself in a notebook."""

    exercises: dict[str, dict[str, tuple[int, int]]]

    def total(self, exercise: str) -> tuple[int, int]:
        """Return the points earned and possible in one exercise."""
        earned, possible = zip(*self.exercises[exercise].values(), strict=True)
        return sum(earned), sum(possible)

    def __str__(self) -> str:
        lines = []
        for stem, points in self.exercises.items():
            earned, possible = self.total(stem)
            lines.append(f"{stem}: {earned} of {possible} points")
            for task, (got, most) in points.items():
                lines.append(f"  {'✓' if got == most else '·'} {task}: {got} of {most}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = []
        for stem, points in self.exercises.items():
            earned, possible = self.total(stem)
            left = [task for task, (got, most) in points.items() if got < most]
            todo = "all done" if not left else "next: " + left[0]
            rows.append(
                f'<tr><th scope="row">{stem}</th><td><progress max="{possible}" '
                f'value="{earned}" aria-label="{stem}"></progress></td>'
                f"<td>{earned} of {possible}</td><td>{todo}</td></tr>"
            )
        table = f"<table>{''.join(rows)}</table>"
        return f'{STYLE}<div class="mlopt-report mlopt-passed">{table}</div>'


def progress(exercise: str | None = None) -> Progress:
    """Return the points so far, of one exercise (by its stem) or of all."""
    folder = _folder()
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for name, task in tasks(exercise).items():
        if task.points == 0:
            continue
        earned = _count(_read(folder / f"{name}.json"), "points")
        found.setdefault(task.exercise, {})[name] = (
            min(earned, task.points),
            task.points,
        )
    return Progress(found)


def _folder() -> Path:
    return course_folder() / ".mlopt" / "progress"


def _read(file: Path) -> dict[str, Any]:
    """A file that is missing or spoilt counts as no attempt."""
    try:
        entry = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _count(entry: dict[str, Any], key: str) -> int:
    value = entry.get(key)
    return value if type(value) is int and value >= 0 else 0


def _write(file: Path, entry: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    try:
        with open(handle, "w", encoding="utf-8") as stream:
            json.dump(entry, stream)
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
