"""The class as a table that a spreadsheet opens without running anything."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any


def class_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the class as CSV, one row a submission, one column a task.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    names = list(
        dict.fromkeys(
            f"{record['exercise']}/{report['task']}"
            for record in sorted(records, key=lambda one: one["exercise"])
            for report in record["reports"]
        )
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["submission", "exercise", "status", "reason", "points", "max_points"]
    writer.writerow([*head, *map(_plain, names)])
    for record in records:
        earned = {
            f"{record['exercise']}/{report['task']}": report["points"]
            for report in record["reports"]
        }
        row = [record[name] for name in head] + [earned.get(n, "") for n in names]
        writer.writerow([_plain(cell) for cell in row])
    return text.getvalue()


def _plain(cell: object) -> object:
    if isinstance(cell, str):
        cell = " ".join(cell.split()) if cell.strip() != cell or "\n" in cell else cell
        return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
    return cell
