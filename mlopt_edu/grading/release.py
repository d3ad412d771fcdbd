"""Build `exercises/` from `solutions/`: cut answers out, add nbgrader's metadata."""

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlopt_edu.checks import exercises

from .cell_ids import check_id
from .leaks import leaks
from .marks import Tasks, secrets, structure, without_answer
from .notebook import (
    CHECK_OUTPUT,
    Cell,
    Notebook,
    canonical,
    dumps,
    problems,
    read,
    source,
    tags,
    write_atomically,
)


def release(
    root: Path,
    *,
    check: bool = False,
    tasks: Mapping[str, Tasks] | None = None,
) -> list[str]:
    """Bring all notebooks into canonical form and build the exercises.

    Args:
        root: Folder that holds `lessons/`, `solutions/` and `exercises/`.
        check: Write nothing and only say what is wrong.
        tasks: Tasks by name, by exercise; those of `mlopt_edu.checks` when None.

    Returns:
        One sentence for each problem. Without `check`, nothing is written to
        `exercises/` for a solution that has one.
    """
    known = exercises() if tasks is None else tasks
    found = []
    for path in [*_notebooks(root / "lessons"), *_notebooks(root / "solutions")]:
        if check:
            found += problems(path)
        else:
            found += _make_canonical(path)
    built = {}
    for path in _notebooks(root / "solutions"):
        try:
            solution = read(path)
            wrong = structure(solution, known.get(path.stem, {}))
            exercise = build(solution, known.get(path.stem, {})) if not wrong else None
        except ValueError as error:
            found.append(_named(path, str(error)))
            continue
        if exercise is not None:
            wrong = leaks(exercise, secrets(solution))
        found += [f"solutions/{path.name}: {sentence}" for sentence in wrong]
        if exercise is not None and (check or not wrong):
            built[path.name] = exercise
    if check:
        return found + _stale(root, built)
    for name, exercise in built.items():
        (root / "exercises").mkdir(exist_ok=True)
        target, text = root / "exercises" / name, dumps(exercise)
        if not target.exists() or target.read_bytes() != text.encode():
            write_atomically(target, text)
    return found + _orphans(root)


def build(solution: Notebook, tasks: Tasks) -> Notebook:
    """Return the exercise of a solution, with nbgrader's metadata.

    Args:
        solution: Notebook with its answers between marks.
        tasks: The tasks of this exercise by name.
    """
    cells = []
    for cell in with_metadata(solution, tasks)["cells"]:
        if cell["cell_type"] == "markdown" and "solution" in tags(cell):
            continue
        cell = {**cell, "source": without_answer(source(cell))}
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
        cell["metadata"] = _released(cell, tasks)
        cells.append(cell)
    return canonical({**solution, "cells": cells})


def with_metadata(solution: Notebook, tasks: Tasks) -> Notebook:
    """Return a copy that nbgrader reads as the source of an assignment."""
    solution = copy.deepcopy(solution)
    checks = {check_id(name): task for name, task in tasks.items()}
    for cell in solution["cells"]:
        cell_id = cell["id"]
        marks: dict[str, Any] = {"grade": False, "solution": False, "locked": False}
        if cell_id in tasks:
            marks["solution"] = True
        elif cell_id in checks:
            marks |= {"grade": True, "locked": True, "points": checks[cell_id].points}
        elif "setup" in tags(cell):
            marks["locked"] = True
        else:
            continue
        cell["metadata"]["nbgrader"] = {
            **marks,
            "grade_id": cell_id,
            "schema_version": 3,
            "task": False,
        }
    return solution


def _released(cell: Cell, tasks: Tasks) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    # Nothing runs an exercise before the learner does: no output to compare.
    kept = [tag for tag in tags(cell) if tag != CHECK_OUTPUT]
    if kept:
        metadata["tags"] = kept
    grader = cell["metadata"].get("nbgrader")
    if grader:
        grader = {**grader, "cell_type": cell["cell_type"]}
        metadata["nbgrader"] = {**grader, "checksum": checksum(cell, grader)}
    return metadata


def checksum(cell: Cell, grader: Mapping[str, Any]) -> str:
    """Return nbgrader's checksum: md5 of source, type, flags, id and points."""
    parts = [
        source(cell),
        cell["cell_type"],
        # In nbgrader a cell to be graded is locked unless it is also an answer.
        *(str(bool(grader[flag])) for flag in ("grade", "solution", "locked")),
        grader["grade_id"],
    ]
    if grader["grade"]:
        parts.append(str(float(grader["points"])))
    return hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest()


def _stale(root: Path, built: Mapping[str, Notebook]) -> list[str]:
    found = []
    for name, exercise in built.items():
        path = root / "exercises" / name
        if not path.exists():
            found.append(f"exercises/{name} is missing; run `make exercises`")
        elif path.read_bytes() != dumps(exercise).encode():
            found.append(
                f"exercises/{name} is stale{_difference(path, exercise)}; "
                "it is built from solutions/: run `make exercises`"
            )
            found += _leaks_in_file(root, path)
    return found + _orphans(root)


def _leaks_in_file(root: Path, path: Path) -> list[str]:
    try:
        given = secrets(canonical(read(root / "solutions" / path.name)))
        return [f"exercises/{path.name}: {s}" for s in leaks(read(path), given)]
    except ValueError:
        return []


def _difference(path: Path, exercise: Notebook) -> str:
    try:
        cells = {cell["id"]: cell for cell in canonical(read(path))["cells"]}
    except ValueError as error:
        return f" ({error})"
    for cell in exercise["cells"]:
        other = cells.get(cell["id"])
        if other is None:
            return f" (it lacks the cell {cell['id']!r})"
        if other != cell:
            old, new = _points(other), _points(cell)
            if old != new:
                return f" (cell {cell['id']!r} says {old} points, not {new})"
            return f" (cell {cell['id']!r} differs)"
    return ""


def _points(cell: Cell) -> object:
    return cell["metadata"].get("nbgrader", {}).get("points")


def _orphans(root: Path) -> list[str]:
    solutions = {path.name for path in _notebooks(root / "solutions")}
    return [
        f"exercises/{path.name} has no solution: exercises are built from solutions/, "
        "so write one or delete it"
        for path in _notebooks(root / "exercises")
        if path.name not in solutions
    ]


def _make_canonical(path: Path) -> list[str]:
    try:
        text = dumps(canonical(read(path)))
    except ValueError as error:
        return [_named(path, str(error))]
    if path.read_bytes() != text.encode():
        write_atomically(path, text)
    return []


def _named(path: Path, sentence: str) -> str:
    return sentence if path.name in sentence else f"{path.name}: {sentence}"


def _notebooks(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.ipynb"))
