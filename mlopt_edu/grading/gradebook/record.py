"""Takes the records of a graded class into the gradebook.

A record that was seen before changes nothing. So an import may be stopped anywhere
and repeated, and old results that come again do not undo newer ones.
"""

import getpass
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from .comparison import Comparison
from .entry import Entry, entries, entry
from .read import check_task
from .store import Gradebook

BATCH = 200  # records in one transaction: few enough to hold in memory


@dataclass(frozen=True)
class Recorded:
    """What an import did.

    Attributes:
        new: Submissions that the gradebook did not know.
        changed: Submissions of which something is different now.
        same: Submissions of which nothing is.
        problems: One sentence for each record that was left out.
    """

    new: int = 0
    changed: int = 0
    same: int = 0
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.new} new, {self.changed} changed, {self.same} as they were"


def record_class(
    book: Gradebook, out: Path, *, why: str = "graded again", by: str = ""
) -> Recorded:
    """Take over the results of a graded class.

    Args:
        book: The gradebook.
        out: Folder of results, as `mlopt grade` makes it.
        why: Reason of whatever changes in submissions that are known already.
        by: Who does it; the user of this process when empty.

    Raises:
        ValueError: If `out` is no folder of results.
        GradebookError: If the database fails; what was taken over until then stays.
    """
    return _import(book, entries(out), _stamp(why, by))


def regrade(
    book: Gradebook,
    records: Path | Iterable[Mapping[str, Any]],
    *,
    task: str,
    why: str,
    by: str = "",
) -> Recorded:
    """Replace the scores of one task, after its check was mended; the old ones stay.

    Args:
        book: The gradebook; it must know the submissions.
        records: Folder of the new results, or the records in it.
        task: The only task whose scores may change.
        why: The reason, which the audit keeps.
        by: Who does it; the user of this process when empty.

    Raises:
        ValueError: If there is no reason, `records` is no folder of results, or the
            gradebook has no such task.
        GradebookError: If the database fails; what was replaced until then stays.
    """
    if not why.strip():
        raise ValueError("why must say for what reason the task is graded again")
    check_task(book, task)
    found: Iterator[Entry | str] = (
        entries(records)
        if isinstance(records, Path)
        else (entry(record, "the record") for record in records)
    )
    return _import(book, found, _stamp(why, by), only=task)


def _import(
    book: Gradebook,
    found: Iterator[Entry | str],
    stamp: Mapping[str, str],
    *,
    only: str = "",
) -> Recorded:
    count = {"new": 0, "changed": 0, "same": 0}
    problems: list[str] = []
    while batch := list(islice(found, BATCH)):
        problems += [sentence for sentence in batch if isinstance(sentence, str)]
        given = [one for one in batch if isinstance(one, Entry)]
        with book.writing() as connection:
            comparison = Comparison(connection, given, stamp)
            if not only:
                comparison.add_missing()
            for one in given:
                said = comparison.regrade(one, only) if only else comparison.take(one)
                if said in count:
                    count[said] += 1
                else:
                    problems.append(said)
            comparison.write()
    return Recorded(**count, problems=tuple(problems))


def _stamp(why: str, by: str) -> dict[str, str]:
    """Return when, who and why, the same for all rows of one import."""
    if not by:
        try:
            by = getpass.getuser()
        except (KeyError, OSError, ImportError):
            by = "unknown"
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "by": by, "why": why}
