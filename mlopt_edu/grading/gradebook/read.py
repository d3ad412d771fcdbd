"""Reads a gradebook: every attempt with the scores that count, and its history."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from .entry import WITHDRAWN, Earned
from .schema import Attempt, Audit, Exercise, Score, Student
from .store import Gradebook


@dataclass(frozen=True)
class Attempted:
    """One submission as the gradebook has it now.

    Attributes:
        student: Who handed it in.
        exercise: Stem of the exercise, or "" if it was unreadable.
        label: Its path in the folder that was graded.
        submitted: When, with an offset; None if nobody knows.
        status: "graded", "unreadable" or "error".
        reason: A sentence that says why.
        scores: What each answer earned, by task in the exercise's order.
    """

    student: str
    exercise: str
    label: str
    submitted: datetime | None
    status: str
    reason: str
    scores: Mapping[str, Earned]


@dataclass(frozen=True)
class Change:
    """One line of the history: when, who, in which submission, what, and why."""

    at: datetime
    by: str
    student: str
    label: str
    what: str
    old: str
    new: str
    why: str

    def __str__(self) -> str:
        moved = f"{self.old} → {self.new}" if self.old else self.new
        why = f" ({self.why})" if self.old and self.why else ""
        head = f"{self.at:%Y-%m-%d %H:%M} {self.by}: {self.label}, {self.what}"
        return f"{head}: {moved}{why}"


def attempts(book: Gradebook) -> list[Attempted]:
    """Return every submission, by student and exercise, in the order they came in."""
    query = (
        select(
            Attempt.id,
            Student.name,
            Exercise.stem,
            Attempt.label,
            Attempt.submitted,
            Attempt.status,
            Attempt.reason,
        )
        .join(Student, Student.id == Attempt.student_id)
        .outerjoin(Exercise, Exercise.id == Attempt.exercise_id)
        .order_by(Attempt.id)
    )
    scores: dict[int, dict[str, Earned]] = {}
    with book.reading() as connection:
        rows = connection.execute(query).all()
        # A later version takes the place of the one before it, and keeps its order.
        for row in connection.execute(select(Score).order_by(Score.id)):
            scores.setdefault(row.attempt_id, {})[row.task] = Earned(
                row.points, row.max_points, row.status, row.mistake, row.message
            )
    found = [
        Attempted(
            student=row.name,
            exercise=row.stem or "",
            label=row.label,
            submitted=_time(row.submitted),
            status=row.status,
            reason=row.reason,
            scores={
                task: earned
                for task, earned in scores.get(row.id, {}).items()
                if earned.status != WITHDRAWN
            },
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: (one.student, one.exercise))


def history(book: Gradebook, *, student: str | None = None) -> list[Change]:
    """Return what was changed, oldest first, of one student or of all.

    Raises:
        ValueError: If there is no such student; suggests the nearest name.
    """
    query = (
        select(Audit, Student.name, Attempt.label)
        .join(Attempt, Attempt.id == Audit.attempt_id)
        .join(Student, Student.id == Attempt.student_id)
        .order_by(Audit.id)
    )
    if student is not None:
        query = query.where(Student.name == student)
    with book.reading() as connection:
        if student is not None:
            known = connection.scalars(select(Student.name)).all()
            _check_name("student", student, known)
        return [
            Change(
                at=datetime.fromisoformat(row.at),
                by=row.by,
                student=row.name,
                label=row.label,
                what=row.what,
                old=row.old,
                new=row.new,
                why=row.why,
            )
            for row in connection.execute(query)
        ]


def check_task(book: Gradebook, task: str) -> None:
    """Check that the gradebook has scores of a task.

    Raises:
        ValueError: If it has none; suggests the nearest name.
    """
    with book.reading() as connection:
        known = connection.scalars(select(Score.task).distinct()).all()
    _check_name("task", task, known)


def unknown_students(book: Gradebook, names: Iterable[str]) -> list[str]:
    """Return a sentence for each name that no student in the gradebook has."""
    with book.reading() as connection:
        known = connection.scalars(select(Student.name)).all()
    return [_no_such("student", name, known) for name in names if name not in known]


def _check_name(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ValueError(_no_such(kind, name, known))


def _no_such(kind: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    advice = f"; did you mean {near[0]!r}?" if near else ""
    return f"there is no {kind} {name!r} in the gradebook{advice}"


def _time(submitted: str) -> datetime | None:
    """A time without an offset could be anywhere on earth: it is as good as none."""
    try:
        found = datetime.fromisoformat(submitted)
    except ValueError:
        return None
    return found if found.tzinfo else None
