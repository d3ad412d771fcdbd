"""Takes the answers out of a submitted notebook, and nothing else.

Only the source of cells that carry the name of a known task is used. Tests, points,
outputs, kernel and every other cell of the file are ignored, so forging them gains
nothing. The reader believes nothing about the file: it may be no file, no JSON, no
notebook, or all too big.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .exercise import Exercise
from .notebook import Cell, parse, source

MAX_FILE = 20 * 2**20  # bytes: a notebook without pictures has some 50,000
MAX_ANSWER = 20_000  # characters


class UnreadableError(ValueError):
    """A submission that cannot be graded; the message is the reason."""


@dataclass(frozen=True)
class Submission:
    """The answers of one learner to one exercise.

    Attributes:
        exercise: The exercise that it answers.
        answers: Source by task name, in the order of the notebook.
        notes: What a person should know about how the answers were found.
    """

    exercise: Exercise
    answers: Mapping[str, str]
    notes: Sequence[str] = field(default=())


def read_submission(path: Path, exercises: Sequence[Exercise]) -> Submission:
    """Read a submitted notebook.

    The exercise is the one of which most task names occur. When several cells carry
    the same name (a copied cell keeps it), the last one counts that is not as it was
    released: what running the notebook from top to bottom would leave defined.

    Raises:
        UnreadableError: If it is not a notebook, or answers no exercise of the course.
    """
    try:
        notebook = parse(_text(path), "the file")
    except ValueError as error:
        raise UnreadableError(str(error)) from None
    cells: dict[str, list[str]] = {}
    for cell in notebook["cells"]:
        if cell.get("cell_type") == "code":
            cells.setdefault(_name(cell), []).append(source(cell))
    exercise = max(exercises, key=lambda one: len(one.tasks.keys() & cells.keys()))
    if not exercise.tasks.keys() & cells.keys():
        raise UnreadableError(
            "the notebook holds no answer cell of any exercise of this course"
        )
    answers, notes = {}, []
    for name in cells:
        if name not in exercise.tasks:
            continue
        stub = exercise.stubs.get(name, "").strip()
        written = [text for text in cells[name] if text.strip() not in ("", stub)]
        if len(written) > 1:
            notes.append(f"{len(written)} cells answer {name!r}; the last one counts")
        chosen = (written or cells[name])[-1]
        if len(chosen) > MAX_ANSWER:
            notes.append(
                f"the answer to {name!r} has more than {MAX_ANSWER:,} characters "
                "and was not run"
            )
        else:
            answers[name] = chosen
    return Submission(exercise, answers, notes)


def label(path: Path, folder: Path) -> str:
    """Return the name of a submission in results: its path without the suffix."""
    raw = os.fsencode(path.relative_to(folder).with_suffix(""))
    return raw.decode("utf-8", "backslashreplace")


def find_submissions(folder: Path, out: Path) -> list[Path]:
    """Return the notebooks in a folder and in its folders, links included.

    Args:
        folder: Where the submissions are.
        out: A folder to leave out, even if it lies inside.

    Raises:
        ValueError: If it is not a folder, or holds no notebook.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder of submitted notebooks")
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry == out:
            continue
        # A folder that is a link may lead anywhere: it is not followed.
        nested = entry.is_dir() and not entry.is_symlink()
        for path in sorted(entry.iterdir()) if nested else [entry]:
            if path.suffix == ".ipynb" and not path.name.startswith("."):
                found.append(path)
    if not found:
        raise ValueError(f"{folder} holds no notebooks (*.ipynb) to grade")
    return found


def _text(path: Path) -> str:
    try:
        # Not through a link, and without waiting for a named pipe to be written.
        flags = (
            os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        )
        if path.is_symlink():
            raise UnreadableError("the file is a symbolic link, not a notebook")
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnreadableError("it is not a file")
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise UnreadableError(f"the file cannot be read: {reason}") from None
    if len(data) > MAX_FILE:
        raise UnreadableError(f"the file is larger than {MAX_FILE // 2**20} MB")
    if not data.strip():
        raise UnreadableError("the file is empty")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableError("the file is not a notebook: not UTF-8 text") from None


def _name(cell: Cell) -> str:
    """Return the task a cell says it answers; old editors drop the cell's own id."""
    metadata = cell.get("metadata")
    grader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = grader.get("grade_id") if isinstance(grader, dict) else None
    return name if isinstance(name, str) else str(cell.get("id", ""))
