"""Compares records with what the gradebook knows, and collects what is to be added."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, insert, select, update

from .entry import WITHDRAWN, Earned, Entry
from .schema import Attempt, Audit, Base, Exercise, Score, Seen, Student

Row = dict[str, Any]


class Comparison:
    """A batch of entries against what the gradebook knows of them.

    It collects the rows to add, and writes them at the end: some statements for a
    batch, not for a submission.
    """

    def __init__(
        self, connection: Connection, given: Sequence[Entry], stamp: Mapping[str, str]
    ) -> None:
        self.connection, self.given, self.stamp = connection, given, stamp
        self.attempts = self._attempts()
        self.exercises: dict[str, int] = {}
        self.new: set[str] = set()
        ids = [row["id"] for row in self.attempts.values()]
        seen = select(Seen.attempt_id, Seen.digest).where(Seen.attempt_id.in_(ids))
        self.seen = {(row.attempt_id, row.digest) for row in connection.execute(seen)}
        self.scores = self._scores(ids)
        self.changed: dict[int, Row] = {}
        self.added: dict[type[Base], list[Row]] = {Seen: [], Score: [], Audit: []}

    def add_missing(self) -> None:
        """Add the students, exercises and attempts that are not known yet."""
        missing: dict[str, Entry] = {}
        for one in self.given:
            if one.key not in self.attempts:
                missing.setdefault(one.key, one)
        if not missing:
            return
        names = sorted({one.student for one in missing.values()})
        known = select(Student.name).where(Student.name.in_(names))
        there = set(self.connection.scalars(known))
        self._insert(Student, [{"name": name} for name in names if name not in there])
        query = select(Student.name, Student.id).where(Student.name.in_(names))
        ids = {row.name: row.id for row in self.connection.execute(query)}
        self._insert(
            Attempt,
            [
                {
                    "key": key,
                    "student_id": ids[one.student],
                    "label": one.label,
                    "sha256": one.sha256,
                    "submitted": one.submitted,
                    **self._columns(one.outcome),
                }
                for key, one in missing.items()
            ],
        )
        self.attempts = self._attempts()
        self.new = set(missing)

    def take(self, one: Entry) -> str:
        """Compare an entry with its attempt; return "new", "changed" or "same"."""
        attempt = self.attempts[one.key]
        number: int = attempt["id"]
        if (number, one.digest) in self.seen:
            return "same"
        self.seen.add((number, one.digest))
        self.added[Seen].append({"attempt_id": number, "digest": one.digest})
        if one.key in self.new:
            self.new.remove(one.key)
            for task, earned in one.scores.items():
                self._version(number, task, earned)
            self._note(number, "submission", "", str(one))
            return "new"
        if attempt["status"] == "graded" and one.status != "graded":
            # What it earned stays: that grading failed now is no fault of the answers.
            self._note(number, "graded again in vain", "", str(one))
            return "changed"
        return "changed" if self._differences(number, attempt, one) else "same"

    def regrade(self, one: Entry, task: str) -> str:
        """Take over one score; return "changed", "same", or what is in the way."""
        attempt = self.attempts.get(one.key)
        if attempt is None:
            return f"{one.label} is not in the gradebook as it is now; record it first"
        if task not in one.scores:
            return f"{one.label} has no result of the task {task!r}: {one}"
        return (
            "changed"
            if self._replace(attempt["id"], task, one.scores[task])
            else "same"
        )

    def write(self) -> None:
        """Write what was collected."""
        for table, rows in self.added.items():
            self._insert(table, rows)
        for number, columns in self.changed.items():
            self.connection.execute(
                update(Attempt).where(Attempt.id == number).values(columns)
            )

    def _differences(self, number: int, attempt: Row, one: Entry) -> bool:
        """Collect every difference of one attempt; say whether there is any."""
        found = False
        for name, value in one.outcome.items():
            if attempt[name] != value:
                self._note(number, name, attempt[name], value)
                attempt[name], found = value, True
        if found:
            self.changed[number] = self._columns(one.outcome)
        for task, earned in one.scores.items():
            found |= self._replace(number, task, earned)
        for task in self.scores.get(number, {}).keys() - one.scores.keys():
            if one.status == "graded":
                gone = Earned(0, 0, WITHDRAWN, message="The exercise lost this task.")
                found |= self._replace(number, task, gone)
        return found

    def _replace(self, number: int, task: str, earned: Earned) -> bool:
        """Collect a new version of a score if it differs; say whether it does."""
        old = self.scores.get(number, {}).get(task)
        if old and old[1] == earned:
            return False
        what = f"task {task}"
        self._note(number, what, str(old[1]) if old else "", str(earned))
        self._version(number, task, earned)
        return True

    def _version(self, number: int, task: str, earned: Earned) -> None:
        versions = self.scores.setdefault(number, {})
        version = versions[task][0] + 1 if task in versions else 1
        versions[task] = version, earned
        row = {"attempt_id": number, "task": task, "version": version}
        self.added[Score].append(row | asdict(earned))

    def _note(self, number: int, what: str, old: str, new: str) -> None:
        row = {"attempt_id": number, "what": what, "old": old, "new": new}
        self.added[Audit].append({**row, **self.stamp})

    def _columns(self, outcome: Mapping[str, str]) -> Row:
        columns: Row = dict(outcome)
        columns["exercise_id"] = self._exercise(columns.pop("exercise"))
        return columns

    def _exercise(self, stem: str) -> int | None:
        if stem and stem not in self.exercises:
            query = select(Exercise.id).where(Exercise.stem == stem)
            if self.connection.scalar(query) is None:
                self._insert(Exercise, [{"stem": stem}])
            self.exercises[stem] = self.connection.scalars(query).one()
        return self.exercises.get(stem)

    def _attempts(self) -> dict[str, Row]:
        query = (
            select(
                Attempt.id,
                Attempt.key,
                Attempt.answers,
                Exercise.stem,
                Attempt.status,
                Attempt.reason,
                Attempt.seed,
                Attempt.isolation,
            )
            .outerjoin(Exercise, Exercise.id == Attempt.exercise_id)
            .where(Attempt.key.in_({one.key for one in self.given}))
        )
        return {
            row.key: {**row._mapping, "exercise": row.stem or ""}
            for row in self.connection.execute(query)
        }

    def _scores(self, ids: Sequence[int]) -> dict[int, dict[str, tuple[int, Earned]]]:
        query = select(Score).where(Score.attempt_id.in_(ids)).order_by(Score.version)
        found: dict[int, dict[str, tuple[int, Earned]]] = {}
        for row in self.connection.execute(query):
            earned = Earned(
                row.points, row.max_points, row.status, row.mistake, row.message
            )
            found.setdefault(row.attempt_id, {})[row.task] = row.version, earned
        return found

    def _insert(self, table: type[Base], rows: list[Row]) -> None:
        if rows:
            self.connection.execute(insert(table), rows)
