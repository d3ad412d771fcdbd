"""What stands between the marks of a solution, and whether its cells are in order.

In a solution, an answer stands between marks, and what the learner starts from may
follow it as a comment:

    ### BEGIN SOLUTION
    w = w - lr * grad(w)
    ### END SOLUTION
    ### BEGIN STUB
    # w = None
    ### END STUB

The id of the answer's cell is the name of its task, and the cell that checks it
follows. A markdown cell tagged `solution` is left out of the exercise.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from .cell_ids import check_id
from .leaks import answers_of, sentences_of
from .notebook import Cell, Notebook, source, tags

STUB = "# YOUR CODE HERE\nraise NotImplementedError()"

_REGION = re.compile(
    r"^(?P<indent>[ \t]*)### BEGIN SOLUTION\n(?P<answer>.*?)^[ \t]*### END SOLUTION$"
    r"(?:\n[ \t]*### BEGIN STUB\n(?P<stub>.*?)^[ \t]*### END STUB$)?",
    re.DOTALL | re.MULTILINE,
)
_MARK = re.compile(r"(BEGIN|END) (SOLUTION|STUB)")


class Graded(Protocol):
    """What release needs to know about a task."""

    @property
    def points(self) -> int:
        """Points for a right answer."""


Tasks = Mapping[str, Graded]


def without_answer(text: str) -> str:
    r"""Return what the learner starts from.

    Example:
        >>> print(without_answer("### BEGIN SOLUTION\nw = 2\n### END SOLUTION"))
        # YOUR CODE HERE
        raise NotImplementedError()
    """
    return _REGION.sub(_stub, text)


def secrets(solution: Notebook) -> dict[str, str]:
    """Return what the exercise must not give away; see `leaks.leaks`."""
    found: dict[str, str] = {}
    for cell in solution["cells"]:
        if cell["cell_type"] == "markdown" and "solution" in tags(cell):
            found |= sentences_of(source(cell))
        for region in _REGION.finditer(source(cell)):
            stub = _stub(region) if region["stub"] is not None else ""
            found |= answers_of(region["answer"], stub)
    return found


def structure(solution: Notebook, tasks: Tasks) -> list[str]:
    """Return what is wrong with the answer and check cells of a solution."""
    found = []
    if not tasks:
        return ["no module of mlopt_edu/checks holds its tasks"]
    cells: Sequence[Cell] = [c for c in solution["cells"] if c["cell_type"] == "code"]
    ids = [str(cell.get("id")) for cell in cells]
    for cell, cell_id in zip(cells, ids, strict=True):
        marks = _MARK.findall(_REGION.sub("", source(cell)))
        if marks:
            found.append(
                f"cell {cell_id!r} has a mark {' '.join(marks[0])} without its other "
                "half, or not on a line of its own as ### BEGIN SOLUTION"
            )
        if _REGION.search(source(cell)) and cell_id not in tasks:
            found.append(
                f"cell {cell_id!r} holds an answer, but no task has this name; "
                f"the tasks are {', '.join(tasks)}"
            )
        if cell["metadata"].get("nbgrader"):
            found.append(
                f"cell {cell_id!r} has nbgrader metadata; remove it: release derives it"
            )
    order = [cell_id for cell_id in ids if cell_id in tasks]
    for name in tasks:
        found += _task_cells(name, cells, ids)
    expected = [name for name in tasks if name in order]
    if not found and order != expected:
        found.append(
            f"the answers come in the order {', '.join(order)}, "
            f"the tasks in the order {', '.join(expected)}"
        )
    return found


def _task_cells(name: str, cells: Sequence[Cell], ids: list[str]) -> list[str]:
    if name not in ids:
        return [f"task {name!r} has no answer cell: a code cell with the id {name!r}"]
    position = ids.index(name)
    if not _REGION.search(source(cells[position])):
        return [f"the answer cell {name!r} has no ### BEGIN SOLUTION region"]
    if ids[position + 1 : position + 2] != [check_id(name)]:
        return [
            f"task {name!r} has no check: the code cell after its answer must have "
            f"the id {check_id(name)!r}"
        ]
    call = source(cells[position + 1])
    if not re.search(rf"""^check\(\s*["']{name}["'][,)\s]""", call, re.MULTILINE):
        return [f'the cell {check_id(name)!r} must call check("{name}"), got {call!r}']
    return []


def _stub(region: re.Match[str]) -> str:
    if region["stub"] is None:
        return "\n".join(region["indent"] + line for line in STUB.split("\n"))
    lines = region["stub"].rstrip("\n").split("\n")
    return "\n".join(re.sub(r"^([ \t]*)# ?", r"\1", line) for line in lines)
