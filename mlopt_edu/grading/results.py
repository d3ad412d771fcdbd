"""The folder of results: one file a submission, written whole or not at all.

What is in it is never wrong, only incomplete: a run that was killed goes on where it
stopped, and one grader at a time writes.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlopt_edu.checks import Report

from .html import page
from .notebook import write_atomically
from .table import COLUMNS, class_csv

MARKER = "class.json"  # says that a folder holds results of ours
FORMAT = 2

Record = dict[str, Any]


class Results:
    """Results in a folder; a context that keeps other graders out of it.

    Args:
        out: A new or empty folder, or earlier results.
        submissions: Where the submissions are, which must be another folder.
        note: Plain text for the end of each page.

    Raises:
        ValueError: If it cannot be the folder, or another grader is at work in it.
    """

    def __init__(self, out: Path, submissions: Path, *, note: str = "") -> None:
        if out.resolve() == submissions.resolve():
            raise ValueError("out must be another folder than the submissions' own")
        if out.exists() and not out.is_dir():
            raise ValueError(f"out must be a folder, and {out} is a file")
        if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
            raise ValueError(
                f"out must be a new or empty folder or earlier results, and {out} "
                "holds something else; give another name"
            )
        self._out, self._folder, self._note = out, out / "results", note

    def __enter__(self) -> "Results":
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._out / MARKER).exists():
            write_atomically(self._out / MARKER, _json({"format": FORMAT}))
        self._lock = _lock(self._out)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def settings(self) -> Record:
        """Return how the class was graded before; little, or nothing, if it was not."""
        return read_record(self._out / MARKER) or {}

    def keep_settings(self, settings: Mapping[str, Any]) -> None:
        """Write how the class is graded."""
        write_atomically(self._out / MARKER, _json({"format": FORMAT, **settings}))

    def find(self, label: str) -> Record | None:
        """Return the record of a submission, or None if there is no whole one."""
        return read_record(self._file(label, ".json"))

    def keep(self, record: Record) -> None:
        """Write the record of a submission, and its page before it.

        The record counts: who finds it finds the page, too.
        """
        label = record["submission"]
        reports = [Report.from_dict(report) for report in record["reports"]]
        self._file(label, "").parent.mkdir(parents=True, exist_ok=True)
        write_atomically(
            self._file(label, ".html"), page(record, reports, note=self._note)
        )
        write_atomically(self._file(label, ".json"), _json(record))

    def finish(self, labels: list[str]) -> None:
        """Write the table of the class, one row for each label."""
        rows = []
        for label in labels:
            record = self.find(label)
            if record is not None:  # of ten thousand, only what the table shows
                reports = [
                    {n: r[n] for n in ("task", "points")} for r in record["reports"]
                ]
                rows.append({n: record[n] for n in COLUMNS} | {"reports": reports})
        write_atomically(self._out / "class.csv", class_csv(rows))

    def _file(self, label: str, suffix: str) -> Path:
        return self._folder / f"{label}{suffix}"


def _lock(folder: Path) -> int:
    """Lock a folder until this process closes what is returned, or ends."""
    import fcntl

    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise ValueError(
            f"another grader is at work in {folder}; wait for it, or give another out"
        ) from None
    return handle


def read_record(path: Path) -> Record | None:
    """Return what a file holds, or None if it is not whole."""
    with contextlib.suppress(OSError, ValueError):
        record = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(record, dict):
            return record
    return None


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
