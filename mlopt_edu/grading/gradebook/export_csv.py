"""The grades as CSV: one row a student, or one row a student and exercise."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mlopt_edu.grading.notebook import write_atomically
from mlopt_edu.grading.table import as_csv

from .policies import Grade, Policies, grades, number
from .read import Attempted, attempts
from .store import Gradebook


def write_csv(
    book: Gradebook,
    path: Path,
    *,
    policies: Policies | None = None,
    details: bool = False,
) -> None:
    """Write the grades as CSV.

    Args:
        book: The gradebook.
        path: The file to write.
        policies: Which attempt counts, and what coming late costs.
        details: One row a student and exercise, which says how the grade came about,
            instead of one row a student.
    """
    found = attempts(book)
    given = grades(found, policies)
    write_atomically(path, details_csv(given) if details else class_csv(given, found))


def class_csv(given: Sequence[Grade], found: Iterable[Attempted]) -> str:
    """Return one row a student: the points in each exercise, the sum, and notes.

    An empty cell says that nothing was handed in; that is not the same as 0. Whoever
    handed in only what nobody could read has a row with a note.
    """
    notes: dict[str, list[str]] = {}
    for one in found:
        own = notes.setdefault(one.student, [])
        if not one.exercise:
            own.append(f"{one.label}: {one.reason}")
    points = {(one.student, one.exercise): one for one in given}
    possible = {one.exercise: one.max_points for one in given}
    for grade in given:
        notes[grade.student] += grade.notes
    stems = sorted(possible)
    total = number(sum(possible.values()))
    rows = [["points possible", *(number(possible[s]) for s in stems), total, ""]]
    for student in sorted(notes):
        own_grades = [points.get((student, stem)) for stem in stems]
        earned = [number(one.points) if one else "" for one in own_grades]
        sum_of = number(sum(one.points for one in own_grades if one))
        rows.append([student, *earned, sum_of, "; ".join(notes[student])])
    return as_csv(["student", *stems, "total", "notes"], rows)


def details_csv(given: Sequence[Grade]) -> str:
    """Return one row a student and exercise: what counts, and how it came about."""
    head = [
        *("student", "exercise", "points", "max_points", "earned", "days_late"),
        *("penalty", "submission", "submitted", "status", "attempts", "notes"),
    ]
    rows = []
    for one in given:
        submitted = one.attempt.submitted
        rows.append(
            [
                one.student,
                one.exercise,
                number(one.points),
                number(one.max_points),
                number(one.earned),
                str(one.late.days),
                number(one.penalty),
                one.attempt.label,
                submitted.isoformat() if submitted else "",
                one.attempt.status,
                str(one.attempts),
                "; ".join(one.notes),
            ]
        )
    return as_csv(head, rows)
