"""The grades as a CSV file that Canvas imports.

Best is to fill in the file that Canvas itself exported (Grades, Export): there every
student and assignment has its id. Columns that are not ours stay as they are.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlopt_edu.grading.notebook import write_atomically
from mlopt_edu.grading.table import as_csv

from .policies import Grade, Policies, grades, number, ungraded
from .read import attempts
from .roster import Sheet, letters
from .store import Gradebook

POSSIBLE = "Points Possible"
KEYS = ("SIS Login ID", "SIS User ID", "ID", "Student")
LEFT_ALONE = ("EX", "N/A")  # excused, and not assigned to this student

_WITH_ID = re.compile(r"(?P<title>.*) \(\d+\)")


def write_canvas(
    book: Gradebook,
    path: Path,
    *,
    exported: Path | None = None,
    columns: Mapping[str, str] | None = None,
    policies: Policies | None = None,
) -> list[str]:
    """Write the grades for Canvas.

    Args:
        book: The gradebook.
        path: The file to write; it may be `exported` itself.
        exported: The gradebook as Canvas exported it, to be filled in.
        columns: Headers of Canvas by exercise, as "Exercise 1 (4711)"; where none is
            given, the column is taken that is called as the exercise.
        policies: Which attempt counts, and what coming late costs.

    Returns:
        One sentence for each grade that found no place, and for each student whose
        submissions nobody could read.
    """
    found = attempts(book)
    given = grades(found, policies)
    problems = ungraded(found, given)
    if exported is None:
        write_atomically(path, new_sheet(given, columns or {}))
        return problems
    sheet = Sheet(exported, keys=KEYS)
    problems += fill_sheet(sheet, given, columns or {})
    write_atomically(path, sheet.text())
    return problems


def fill_sheet(
    sheet: Sheet, given: Sequence[Grade], columns: Mapping[str, str]
) -> list[str]:
    """Fill grades into Canvas's own file; return what found no place."""
    problems = []
    places = {}
    for stem in dict.fromkeys(one.exercise for one in given):
        place = _column(sheet, stem, columns)
        if place is None:
            problems.append(
                f"{sheet.name}: no column is called {columns.get(stem, stem)!r}; name "
                "the one that Canvas has for this exercise"
            )
        else:
            places[stem] = place
    for stem, place in places.items():
        problems += _other_maximum(sheet, stem, place, given)
    for student in dict.fromkeys(one.student for one in given):
        row, why = sheet.row_of(student)
        if row is None:
            problems.append(why)
            continue
        for one in given:
            if one.student == student and one.exercise in places:
                place = places[one.exercise]
                old = sheet.cell(row, place)
                if old in LEFT_ALONE:
                    problems.append(
                        f"{sheet.name}: {student!r} has {old} in {one.exercise}, "
                        "which stays"
                    )
                else:
                    sheet.fill(row, place, one.points)
    return problems


def new_sheet(given: Sequence[Grade], columns: Mapping[str, str]) -> str:
    """Return a file for Canvas in which students go by their login."""
    possible = {one.exercise: one.max_points for one in given}
    stems = sorted(possible)
    points = {(one.student, one.exercise): one.points for one in given}
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    rows = [[POSSIBLE, *[""] * 4, *(number(possible[stem]) for stem in stems)]]
    for student in sorted({one.student for one in given}):
        earned = [points.get((student, stem)) for stem in stems]
        shown = ["" if one is None else number(one) for one in earned]
        rows.append([student, "", "", student, "", *shown])
    return as_csv([*head, *(columns.get(stem, stem) for stem in stems)], rows)


def _column(sheet: Sheet, stem: str, columns: Mapping[str, str]) -> int | None:
    if stem in columns:
        return sheet.column(columns[stem])
    found = [
        place
        for place, header in enumerate(sheet.header)
        if (named := _WITH_ID.fullmatch(header))
        and letters(named["title"]) == letters(stem)
    ]
    return found[0] if len(found) == 1 else None


def _other_maximum(
    sheet: Sheet, stem: str, place: int, given: Sequence[Grade]
) -> list[str]:
    ours = next(one.max_points for one in given if one.exercise == stem)
    for row, cells in enumerate(sheet.rows[:3]):
        if cells and cells[0].strip() == POSSIBLE:
            theirs = sheet.points(row, place)
            if theirs != ours:
                shown = sheet.cell(row, place) or "no"
                return [
                    f"{sheet.name}: {stem} has {shown} points possible in Canvas and "
                    f"{ours} in the gradebook; set it to {ours} in Canvas"
                ]
    return []
