"""Reads a table that says what files alone do not: whose they are, and when they came.

    found,student,submitted
    ada.l,Ada Lovelace,2026-11-13T22:10:00+01:00
    s1002,Alan Turing,

`found` is the name that `mlopt grade` gives who handed in, as in `class.csv`. Both
other columns may be missing or empty: then what was found stays.
"""

import csv
import difflib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from .labels import safe
from .submissions import Found

COLUMNS = ("found", "student", "submitted")


@dataclass(frozen=True)
class Known:
    """What is known of one who handed in; empty if it is not."""

    student: str
    submitted: datetime | None


def read_students(path: Path) -> dict[str, Known]:
    """Return what a CSV file says, by the name that is found.

    Raises:
        ValueError: If the file is not such a table, names someone twice, or has a time
            without an offset.
        OSError: If it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} must be UTF-8; save it as CSV UTF-8") from None
    rows = csv.DictReader(io.StringIO(text, newline=""), restval="")
    head = rows.fieldnames or ()
    if "found" not in head or len(head) < 2 or not set(head) <= set(COLUMNS):
        raise ValueError(
            f"{path.name} must have the columns {', '.join(COLUMNS)}, "
            f"got {', '.join(head) or 'none'}"
        )
    known: dict[str, Known] = {}
    for row in rows:
        name = safe(row["found"].strip())
        place = f"{path.name}, line {rows.line_num}"
        if name in known:
            raise ValueError(f"{place}: {name!r} must stand there once, got it twice")
        student = row.get("student", "").strip()
        time = _time(row.get("submitted", "").strip(), place)
        known[name] = Known(safe(student) if student else "", time)
    return known


def with_students(found: Sequence[Found], known: dict[str, Known]) -> list[Found]:
    """Return what was found under the names and times that are known.

    Raises:
        ValueError: If nobody of the table handed in: it is that of another class, or
            its first column holds other names.
    """
    names = [one.student for one in found]
    if known and not known.keys() & set(names):
        name = next(iter(known))
        near = (*difflib.get_close_matches(name, names, n=1, cutoff=0), *names)[0]
        raise ValueError(
            f"the column found must hold names as in class.csv, like {near!r}, "
            f"got {name!r}"
        )
    nobody = Known("", None)
    return [
        replace(
            one,
            student=known.get(one.student, nobody).student or one.student,
            submitted=known.get(one.student, nobody).submitted or one.submitted,
        )
        for one in found
    ]


def _time(text: str, place: str) -> datetime | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(
            f"{place}: submitted must be a time with an offset like "
            f"2026-11-13T22:10:00+01:00, got {text!r}"
        )
    return time
