"""The grades of one exercise in the worksheet that Moodle exports for offline grading.

In the assignment, turn on "Offline grading worksheet" and "Feedback comments", download
the worksheet, fill it in here, and upload it again. Moodle reads the columns
Identifier, Grade and "Feedback comments"; the others stay as they are.
"""

import html
from pathlib import Path

from mlopt_edu.grading.notebook import write_atomically

from .policies import Grade, Policies, grades, ungraded
from .read import attempts
from .roster import Sheet
from .store import Gradebook

KEYS = ("Username", "ID number", "Email address", "Full name", "Identifier")


def write_moodle(
    book: Gradebook,
    path: Path,
    *,
    worksheet: Path,
    exercise: str,
    policies: Policies | None = None,
) -> list[str]:
    """Fill Moodle's worksheet of one assignment.

    Args:
        book: The gradebook.
        path: The file to write; it may be `worksheet` itself.
        worksheet: The file that Moodle exported.
        exercise: Stem of the exercise.
        policies: Which attempt counts, and what coming late costs.

    Returns:
        One sentence for each grade that found no place, and for each student whose
        submissions nobody could read.

    Raises:
        ValueError: If it is no such worksheet, or there are no grades.
    """
    found = attempts(book)
    every = grades(found, policies)
    given = [one for one in every if one.exercise == exercise]
    if not given:
        known = ", ".join(sorted({one.exercise for one in every})) or "no exercise"
        raise ValueError(
            f"exercise must be one in the gradebook, which has {known}, "
            f"got {exercise!r}"
        )
    sheet = Sheet(worksheet, keys=KEYS)
    grade = sheet.column("Grade")
    if grade is None or sheet.column("Identifier") is None:
        raise ValueError(
            f"{worksheet.name} must be Moodle's worksheet, with the columns "
            "Identifier and Grade"
        )
    comments = sheet.column("Feedback comments")
    maximum = sheet.column("Maximum Grade")
    problems = ungraded(found, given)
    for one in given:
        row, why = sheet.row_of(one.student)
        if row is None:
            problems.append(why)
            continue
        theirs = None if maximum is None else sheet.points(row, maximum)
        if theirs is not None and theirs != one.max_points:
            problems.append(
                f"{sheet.name}: {one.student!r} has another maximum grade in Moodle "
                f"than {one.max_points}; set the assignment's to {one.max_points}"
            )
        sheet.fill(row, grade, one.points)
        if comments is not None:
            sheet.fill(row, comments, comment(one))
    write_atomically(path, sheet.text())
    return problems


def comment(grade: Grade) -> str:
    """Return the feedback as HTML; what a learner's program said is escaped."""
    lines = [
        f"{task}: {earned.points} of {earned.max_points}. {earned.message}"
        for task, earned in grade.scores.items()
    ]
    if days := grade.late.days:
        late = "1 day" if days == 1 else f"{days} days"
        lines.append(f"Late by {late}: {grade.late.percent:g} % taken off.")
    lines += grade.notes
    return "<br>".join(html.escape(" ".join(line.split())) for line in lines)
