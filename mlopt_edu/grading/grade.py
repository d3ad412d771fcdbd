"""Grade a folder of submissions: answer elsewhere, judge here, write results.

This process never executes what a learner wrote. It draws the inputs, gets values
back from answer processes (`run`) and judges them.
"""

import hashlib
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from mlopt_edu.checks import Case, Report
from mlopt_edu.checks._answer import Answer
from mlopt_edu.checks._judge import judge

from . import wire
from .exercise import Exercise, course_exercises
from .extract import (
    MAX_FILE,
    Submission,
    UnreadableError,
    find_submissions,
    label,
    read_submission,
)
from .html import page
from .notebook import write_atomically
from .process import Limits
from .progress import Progress
from .run import answer_tasks
from .table import class_csv

MARKER = "class.json"  # says that a folder holds results of ours
FORMAT = 1


@dataclass(frozen=True)
class Drawn:
    """The hidden cases of an exercise, the same for everyone in the class."""

    cases: Mapping[str, list[Case]]
    inputs: Mapping[str, list[Any]]

    @classmethod
    def of(cls, exercise: Exercise, seed: int) -> "Drawn":
        """Draw them, and encode the inputs once for all answer processes."""
        cases = {name: task.cases(seed) for name, task in exercise.tasks.items()}
        inputs = {
            name: [wire.encode(dict(case.inputs)) for case in drawn]
            for name, drawn in cases.items()
        }
        return cls(cases, inputs)


@dataclass(frozen=True)
class Answered:
    """What came of one file before it is judged."""

    submission: Submission | None
    answers: Mapping[str, list[Answer]] = field(default_factory=dict)
    status: str = "graded"
    reason: str = ""


def grade_folder(
    folder: Path,
    *,
    out: Path | None = None,
    seed: int | None = None,
    seconds: float = 60.0,
    memory_mb: int = 2048,
    exercises: Sequence[Exercise] | None = None,
    progress: TextIO | None = None,
) -> Path:
    """Grade every notebook in a folder, and in the folders in it.

    Writes `results/NAME.json` and `results/NAME.html` for each submission as it is
    done, then `class.csv`. Nothing in `folder` is changed.

    Args:
        folder: Where the submissions are.
        out: Where results go: a new or empty folder, or earlier results;
            `folder/graded` when None.
        seed: Seed of the hidden cases; drawn when None, and written in the results.
        seconds: Wall time for one submission.
        memory_mb: Memory for one submission, in megabytes.
        exercises: What may be submitted; the course's exercises when None.
        progress: Where to tell how far it is; standard error when None.

    Returns:
        The folder of the results.

    Raises:
        ValueError: If a folder or limit is not usable.
    """
    if os.name != "posix":
        raise ValueError("grading needs Linux or macOS: its limits are POSIX's")
    if not seconds > 0:
        raise ValueError(f"seconds must be above 0, got {seconds:g}")
    if memory_mb < 256:
        raise ValueError(f"memory_mb must be at least 256, got {memory_mb}")
    target = folder / "graded" if out is None else out
    paths = find_submissions(folder, target)
    _check_out(target, folder)
    known = course_exercises() if exercises is None else exercises
    seed = secrets.randbits(48) if seed is None else seed
    drawn = {one.stem: Drawn.of(one, seed) for one in known}
    limits = Limits(seconds, seconds / 3, memory_mb)
    results = target / "results"
    results.mkdir(parents=True, exist_ok=True)
    head = {"format": FORMAT, "seed": seed, "seconds": seconds, "memory_mb": memory_mb}
    write_atomically(target / MARKER, _json(head))
    told = Progress(len(paths), sys.stderr if progress is None else progress)
    rows = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = {
            pool.submit(_answer, path, known, drawn, limits): path for path in paths
        }
        try:
            for done in as_completed(waiting):
                path = waiting.pop(done)
                record, reports = _judge(path, folder, done.result(), drawn, seed)
                base = results / label(path, folder)
                base.parent.mkdir(exist_ok=True)
                write_atomically(_suffixed(base, ".json"), _json(record))
                write_atomically(_suffixed(base, ".html"), page(record, reports))
                rows[path] = record
                told.step(failed=record["status"] != "graded")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    write_atomically(target / "class.csv", class_csv([rows[path] for path in paths]))
    return target


def check_notebook(
    path: Path, *, exercises: Sequence[Exercise] | None = None
) -> tuple[str, bool]:
    """Check the answers in one notebook as a class would be graded.

    Returns:
        A text for a person, and whether every answer is right.

    Raises:
        ValueError: If it is not a notebook, or answers no exercise of the course.
    """
    known = course_exercises() if exercises is None else exercises
    try:
        submission = read_submission(path, known)
    except UnreadableError as error:
        raise ValueError(f"{path}: {error}") from None
    drawn = Drawn.of(submission.exercise, secrets.randbits(48))
    answers = _run(submission, drawn, Limits())
    reports = _reports(submission, answers, drawn)
    earned = sum(report.points for report in reports)
    possible = sum(report.max_points for report in reports)
    lines = [*map(str, reports), *submission.notes]
    lines.append(f"{submission.exercise.stem}: {earned} of {possible} points")
    return "\n".join(lines), all(report.passed for report in reports)


def _answer(
    path: Path,
    exercises: Sequence[Exercise],
    drawn: Mapping[str, Drawn],
    limits: Limits,
) -> Answered:
    try:
        submission = read_submission(path, exercises)
    except UnreadableError as error:
        return Answered(None, status="unreadable", reason=str(error))
    try:
        answers = _run(submission, drawn[submission.exercise.stem], limits)
    except Exception as error:  # ours or the machine's fault; the class goes on
        text = f"the grader failed: {type(error).__name__}: {error}"
        return Answered(submission, status="error", reason=text[:500])
    return Answered(submission, answers)


def _run(
    submission: Submission, drawn: Drawn, limits: Limits
) -> dict[str, list[Answer]]:
    exercise = submission.exercise
    return answer_tasks(
        exercise.setup, submission.answers, exercise.tasks, drawn.inputs, limits
    )


def _reports(
    submission: Submission, answers: Mapping[str, list[Answer]], drawn: Drawn
) -> list[Report]:
    reports = []
    for name, task in submission.exercise.tasks.items():
        cases = drawn.cases[name]
        missing = Answer(status="missing", error="the notebook has no answer to it")
        given = answers.get(name, [missing] * len(cases))
        source = submission.answers.get(name, "")
        reports.append(judge(task, cases, given, source=source))
    return reports


def _judge(
    path: Path, folder: Path, answered: Answered, drawn: Mapping[str, Drawn], seed: int
) -> tuple[dict[str, Any], list[Report]]:
    """Return the record of one submission, whatever came of it."""
    submission, status, reason = answered.submission, answered.status, answered.reason
    stem = submission.exercise.stem if submission else ""
    reports: list[Report] = []
    if submission and status == "graded":
        try:
            reports = _reports(submission, answered.answers, drawn[stem])
        except Exception as error:
            status = "error"
            reason = f"the judge failed: {type(error).__name__}: {error}"[:500]
    if status == "graded":
        right = sum(report.passed for report in reports)
        reason = f"{right} of {len(reports)} answers are right"
    possible = 0
    if submission:
        possible = sum(task.points for task in submission.exercise.tasks.values())
    record = {
        "format": FORMAT,
        "submission": label(path, folder),
        "sha256": _digest(path),
        "exercise": stem,
        "status": status,
        "reason": reason,
        "points": sum(report.points for report in reports),
        "max_points": possible,
        "seed": seed,
        "notes": list(submission.notes) if submission else [],
        "reports": [report.to_dict() for report in reports],
    }
    return record, reports


def _check_out(out: Path, folder: Path) -> None:
    if out.resolve() == folder.resolve():
        raise ValueError("out must be another folder than the submissions' own")
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must be a folder, and {out} is a file")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise ValueError(
            f"out must be a new or empty folder or earlier results, and {out} holds "
            "something else; give another name"
        )


def _digest(path: Path) -> str:
    """Return the sha256 of a file that was small enough to be read, else ""."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_FILE:
            return ""
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _suffixed(base: Path, suffix: str) -> Path:
    return base.with_name(base.name + suffix)


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
