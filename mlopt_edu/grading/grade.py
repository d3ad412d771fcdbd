"""Grade a folder of submissions: read, answer elsewhere, judge, write results.

Every submission gets a record with a status and a reason, whatever it holds. Answers
that are equal to another's are not run again, nor is what an earlier run graded by
the same rules: a run that was stopped goes on where it was.
"""

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from mlopt_edu.checks import Artifact

from .batch import Batch
from .exercise import Exercise, course_exercises
from .extract import read_submission
from .grader import Grader, Rules
from .hidden import load_hidden
from .isolation import choose
from .process import Limits
from .progress import Progress
from .results import Results
from .students import read_students, with_students
from .submissions import find
from .untrusted import UnreadableError
from .weights import SUFFIX
from .workers import InProcess, Workers, on_cluster, on_cores

FEW = 8  # submissions that are not worth another worker


def grade_folder(
    folder: Path,
    *,
    out: Path | None = None,
    seed: int | None = None,
    hidden: Path | None = None,
    students: Path | None = None,
    note: str = "",
    seconds: float = 60.0,
    memory_mb: int = 2048,
    workers: int | None = None,
    scheduler: str | None = None,
    isolation: str | None = None,
    allow_weak_isolation: bool = False,
    exercises: Sequence[Exercise] | None = None,
    progress: TextIO | None = None,
) -> Path:
    """Grade every submission in a folder, in its folders and archives.

    Writes `results/NAME.json` and `results/NAME.html` for each submission as it is
    done, then `class.csv`. Nothing in `folder` is changed.

    Args:
        folder: Where the submissions are; may be an archive of them.
        out: Where results go: a new or empty folder, or earlier results. When None
            `folder/graded`, or beside an archive.
        seed: Seed of the hidden cases. When None that of the earlier results, else
            drawn; it is written in the results.
        hidden: The instructor's folder of hidden checks, which has a seed of its own.
        students: A table of names and times that the files do not say (`students`).
        note: Plain text for the end of each student's page.
        seconds: Wall time for one submission.
        memory_mb: Memory for one submission, in megabytes.
        workers: Processes that grade; one a core, or fewer for few submissions, when
            None.
        scheduler: Address of a Dask scheduler whose workers grade, as
            "tcp://10.0.0.5:8786"; this machine alone when None.
        isolation: Name of the isolation, as `mlopt doctor` lists it; the strongest
            there is when None.
        allow_weak_isolation: Whether to go on where nothing keeps what a submission
            runs from other files and processes.
        exercises: What may be submitted, for one worker; the course's when None.
        progress: Where to tell how far it is; standard error when None.

    Returns:
        The folder of the results.

    Raises:
        ValueError: If a folder or limit is not usable, or the isolation too weak.
    """
    if os.name != "posix":
        raise ValueError("grading needs Linux or macOS: its limits are POSIX's")
    if not seconds > 0:
        raise ValueError(f"seconds must be above 0, got {seconds:g}")
    if memory_mb < 256:
        raise ValueError(f"memory_mb must be at least 256, got {memory_mb}")
    if seed is not None and hidden is not None:
        raise ValueError("seed must be left out: the folder of hidden checks has one")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    beside = folder.with_name(f"{folder.stem}_graded")
    target = out or (folder / "graded" if folder.is_dir() else beside)
    opened = Results(target, folder, note=note)
    known_students = read_students(students) if students else {}
    found = with_students(find(folder, target), known_students)
    confined = choose(isolation, allow_weak=allow_weak_isolation)
    with opened as results:
        known = course_exercises() if exercises is None else exercises
        if hidden is not None:
            known, seed = load_hidden(hidden, known)
        elif seed is None:
            seed = results.settings().get("seed", secrets.randbits(48))
        limits = Limits(seconds, seconds / 3, memory_mb)
        rules = Rules(seed, limits, confined.name, hidden)
        results.keep_settings({"seed": seed, "isolation": confined.name, "note": note})
        told = Progress(len(found), sys.stderr if progress is None else progress)
        work = Batch(results, rules, known, told)
        count = workers or min(os.cpu_count() or 1, -(-len(found) // FEW))
        with _workers(rules, exercises, count, scheduler) as grading:
            for job, outcome in grading.grade(work.jobs(found)):
                work.done(job, outcome)
        results.finish([one.label for one in found])
    return target


def check_notebook(
    path: Path, *, exercises: Sequence[Exercise] | None = None
) -> tuple[str, bool]:
    """Check the answers in one notebook as a class would be graded.

    They are the user's own: how they are confined is not asked.

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
    stem = submission.exercise.stem
    grader = Grader(Rules(secrets.randbits(48)), exercises=[submission.exercise])
    weights: dict[str, bytes | str] = {}
    for name, task in submission.exercise.tasks.items():
        file = path.with_name(f"{name}{SUFFIX}")
        if isinstance(task, Artifact) and file.is_file():
            weights[name] = file.read_bytes()
    with contextlib.closing(grader):
        reports = grader.grade(stem, submission.answers, weights).reports
    earned = sum(report.points for report in reports)
    possible = sum(report.max_points for report in reports)
    lines = [*map(str, reports), *submission.notes]
    lines.append(f"{stem}: {earned} of {possible} points")
    return "\n".join(lines), all(report.passed for report in reports)


@contextlib.contextmanager
def _workers(
    rules: Rules,
    exercises: Sequence[Exercise] | None,
    count: int,
    scheduler: str | None,
) -> Iterator[Workers]:
    if scheduler is not None:
        with on_cluster(rules, scheduler) as pool:
            yield pool
    elif count > 1 and exercises is None:
        yield on_cores(rules, count)
    else:
        with contextlib.closing(Grader(rules, exercises=exercises)) as grader:
            yield InProcess(grader)
