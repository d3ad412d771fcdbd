"""The class as a table that a spreadsheet opens without running anything."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .document import visible

COLUMNS = (
    *("submission", "student", "submitted", "exercise"),
    *("status", "reason", "points", "max_points"),
)
# With the wide forms that a spreadsheet with an East Asian keyboard takes as well.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def class_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the class as CSV, one row a submission, one column a task."""
    names = list(
        dict.fromkeys(
            f"{record['exercise']}/{report['task']}"
            for record in sorted(records, key=lambda one: one["exercise"])
            for report in record["reports"]
        )
    )

    def row(record: Mapping[str, Any]) -> list[object]:
        earned = {
            f"{record['exercise']}/{report['task']}": report["points"]
            for report in record["reports"]
        }
        cells = [record.get(name, "") for name in COLUMNS]
        return cells + [earned.get(name, "") for name in names]

    return as_csv([*COLUMNS, *names], map(row, records))


def as_csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Return rows of numbers and texts as CSV.

    A text that a spreadsheet would take for a formula gets an apostrophe in front;
    what is no character to read is spelt out, a line break becomes a space.

    Example:
        >>> as_csv(["name"], [["=1+1"]])
        "name\n'=1+1\n"
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (head, *rows):
        writer.writerow([_plain(cell) for cell in row])
    return text.getvalue()


def _plain(cell: object) -> object:
    if isinstance(cell, str):
        cell = visible(" ".join(cell.split()))
        return f"'{cell}" if cell.startswith(_FORMULA) else cell
    return cell
