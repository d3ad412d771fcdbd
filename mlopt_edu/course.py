"""Where the course is, and how a learner gets a copy of it.

A course is a folder with `lessons/` and `exercises/`. A checkout has both beside
`mlopt_edu/`; an installed wheel carries them inside, as `mlopt_edu/_course/`.
"""

import os
import tempfile
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

FOLDERS = ("lessons", "exercises")
FIRST_LESSON = "lessons/00_start_here.ipynb"


def find_course(start: Path | None = None) -> Path | None:
    """Return the nearest folder at or above `start` that holds the first lesson.

    Args:
        start: Folder to begin at; the current folder if not given.

    Returns:
        The course's folder, or `None` if there is none up to the root.
    """
    here = (Path.cwd() if start is None else start).resolve()
    return next(
        (
            folder
            for folder in (here, *here.parents)
            if (folder / FIRST_LESSON).is_file()
        ),
        None,
    )


def checkout() -> Path | None:
    """Return the checkout that this package runs from, `None` in an installed wheel."""
    root = Path(__file__).resolve().parents[1]
    is_checkout = (root / "pyproject.toml").is_file() and (root / "lessons").is_dir()
    return root if is_checkout else None


def bundled_course() -> dict[str, Traversable]:
    """Return the course's folders as they came with the package, by name.

    Raises:
        FileNotFoundError: If this installation carries no lessons.
    """
    root = checkout() or files("mlopt_edu").joinpath("_course")
    if not root.joinpath(FIRST_LESSON).is_file():
        raise FileNotFoundError(
            "this installation of mlopt-edu carries no lessons; install it again"
        )
    return {
        name: root.joinpath(name) for name in FOLDERS if root.joinpath(name).is_dir()
    }


def start_course(directory: Path) -> Path:
    """Copy the lessons and exercises into a new folder; overwrite nothing.

    The copy is made aside and moved into place at the end, so that a failure
    leaves the disk as it was.

    Args:
        directory: Folder to make; it may exist if it is empty.

    Returns:
        The course's folder, absolute.

    Raises:
        FileExistsError: If `directory` is a file, or a folder with something in it.
        FileNotFoundError: If its parent does not exist, or there are no lessons here.
    """
    course = directory.expanduser().resolve()
    empty_folder = course.is_dir() and not any(course.iterdir())
    if course.exists() and not empty_folder:
        raise FileExistsError(
            f"{directory} must be a new or empty folder, and it is there already; "
            "give another name"
        )
    if not course.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {course.parent} does not exist; make it first"
        )
    folders = bundled_course()
    with tempfile.TemporaryDirectory(
        prefix=".mlopt-", dir=course if empty_folder else course.parent
    ) as scratch:
        copy = Path(scratch) / "course"
        copy.mkdir()
        for name, source in folders.items():
            _copy_tree(source, copy / name)
        if empty_folder:
            # The folder itself stays: a shell may be standing in it.
            for name in folders:
                os.rename(copy / name, course / name)
        else:
            os.rename(copy, course)
    return course


def _copy_tree(source: Traversable, target: Path) -> None:
    # importlib.resources.as_file cannot give a folder on Python 3.11.
    target.mkdir()
    for entry in source.iterdir():
        # A checkout may have been worked in: checkpoints and caches stay behind.
        if entry.name.startswith(".") or entry.name == "__pycache__":
            continue
        if entry.is_dir():
            _copy_tree(entry, target / entry.name)
        else:
            (target / entry.name).write_bytes(entry.read_bytes())
