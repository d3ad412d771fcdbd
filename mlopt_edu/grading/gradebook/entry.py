"""What the gradebook keeps of a record, the JSON of one graded submission."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

RECORD_FORMAT = 2
LONGEST_NAME = 500  # characters: an index of PostgreSQL takes some 2,700 bytes
WITHDRAWN = "withdrawn"  # status of a score whose task left the exercise


@dataclass(frozen=True)
class Earned:
    """What one answer earned."""

    points: int
    max_points: int
    status: str
    mistake: str = ""
    message: str = ""

    def __str__(self) -> str:
        named = f" ({self.mistake})" if self.mistake else ""
        return f"{self.points} of {self.max_points}, {self.status}{named}"


@dataclass(frozen=True)
class Entry:
    """A record in the gradebook's own terms.

    Attributes:
        student: Who handed it in; the label if nobody can tell.
        label: Its path in the folder that was graded.
        sha256: Digest of its file, or "".
        submitted: When, as ISO 8601 with an offset, or "".
        answers: Digest of the exercise and its answers, or "".
        exercise: Stem of the exercise, or "" if nobody could tell.
        status: "graded", "unreadable" or "error".
        reason: A sentence that says why.
        seed: Seed of the hidden cases.
        isolation: What kept its answers from everything else.
        scores: What each answer earned, by task.
    """

    student: str
    label: str
    sha256: str
    submitted: str
    answers: str
    exercise: str
    status: str
    reason: str
    seed: str
    isolation: str
    scores: Mapping[str, Earned]

    @property
    def key(self) -> str:
        """What makes it this submission and no other, as a digest."""
        return _digest([self.student, self.label, self.sha256, self.submitted])

    @property
    def digest(self) -> str:
        """A digest of all of it: the same for the same outcome."""
        scores = {task: astuple(earned) for task, earned in self.scores.items()}
        return _digest([self.key, *self.outcome.values(), scores])

    @property
    def outcome(self) -> dict[str, str]:
        """What grading it again may change, by name."""
        return {
            "answers": self.answers,
            "exercise": self.exercise,
            "status": self.status,
            "reason": self.reason,
            "seed": self.seed,
            "isolation": self.isolation,
        }

    def __str__(self) -> str:
        if self.status != "graded":
            return f"{self.status}: {self.reason}"
        earned = sum(one.points for one in self.scores.values())
        possible = sum(one.max_points for one in self.scores.values())
        return f"{earned} of {possible} points"


def entry(record: Mapping[str, Any], name: str) -> Entry:
    """Read a record.

    Args:
        record: What `mlopt grade` wrote about one submission.
        name: What error messages call it.

    Raises:
        ValueError: If it is none, or of another format.
    """
    found = record.get("format")
    if found != RECORD_FORMAT:
        raise ValueError(
            f"{name} must be a record of format {RECORD_FORMAT}, got {found!r}; "
            "grade the submissions again"
        )
    try:
        return Entry(
            student=_name(record["student"] or record["submission"]),
            label=_text(record["submission"]),
            sha256=_text(record["sha256"]),
            submitted=_text(record["submitted"]),
            answers=_text(record["answers"]),
            exercise=_text(record["exercise"]),
            status=_text(record["status"]),
            reason=_text(record["reason"]),
            seed=_text(str(record["seed"])),
            isolation=_text(record["isolation"]),
            scores={_text(r["task"]): _earned(r) for r in record["reports"]},
        )
    except KeyError as error:
        raise ValueError(f"{name} is no record: it lacks {error}") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{name} is no record: {error}") from None


def entries(out: Path) -> Iterator[Entry | str]:
    """Read the records in a folder of results one by one, in the order of their names.

    Yields:
        An entry, or a sentence about a file that holds none.

    Raises:
        ValueError: If it is no folder of results.
    """
    results = out / "results"
    if not results.is_dir():
        raise ValueError(f"{out} must be a folder of results, as `mlopt grade` makes")
    for folder, folders, files in os.walk(results):
        folders.sort()
        for file in sorted(files):
            if file.endswith(".json") and not file.startswith("."):
                path = Path(folder, file)
                name = path.relative_to(out).as_posix()
                try:
                    record = json.loads(path.read_text(encoding="utf-8"))
                    if not isinstance(record, dict):
                        raise ValueError(f"{name} is no record: it is no JSON object")
                    yield entry(record, name)
                except (RecursionError, UnicodeError, json.JSONDecodeError):
                    yield f"{name} is no record: it is not JSON"
                except ValueError as error:
                    yield str(error)


def _digest(parts: Sequence[object]) -> str:
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _earned(report: Mapping[str, Any]) -> Earned:
    points, most = report["points"], report["max_points"]
    if type(points) is not int or type(most) is not int or not 0 <= points <= most:
        raise ValueError(f"points must be whole, 0 to {most!r}, got {points!r}")
    return Earned(
        points,
        most,
        _text(report["status"]),
        _text(report["mistake"]),
        _text(report["message"]),
    )


def _name(value: object) -> str:
    name = _text(value)
    if len(name) > LONGEST_NAME:
        raise ValueError(
            f"student must have at most {LONGEST_NAME} characters, got {len(name)}"
        )
    return name


def _text(value: object) -> str:
    """Return a text that every database takes: no NUL, no half of a character."""
    if not isinstance(value, str):
        raise TypeError(f"a text was expected, got {value!r}"[:200])
    return value.encode("utf-8", "replace").decode().replace("\0", "?")
