"""Cell ids that mean something: a task, a check, or the section they stand in."""

import re
from collections.abc import Sequence
from typing import Any

_RANDOM_ID = re.compile(r"[0-9a-f]{8,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CHECK_CALL = re.compile(r"""^check\(\s*["'](\w+)["']""", re.MULTILINE)


def is_random_id(cell_id: object) -> bool:
    """Return whether an editor drew this cell id, so that it means nothing.

    Example:
        >>> is_random_id("3f2a91bc"), is_random_id("derive-the-bound")
        (True, False)
    """
    return not isinstance(cell_id, str) or bool(_RANDOM_ID.fullmatch(cell_id))


def check_id(task: str) -> str:
    """Return the id of the cell that checks a task.

    Example:
        >>> check_id("adam_step")
        'check-adam-step'
    """
    return f"check-{task.replace('_', '-')}"


def name_cells(cells: Sequence[dict[str, Any]]) -> None:
    """Give each cell whose id was drawn a name: its task, or the heading above it.

    Raises:
        ValueError: If two cells already have the same name.
    """
    taken = {str(cell["id"]) for cell in cells if not is_random_id(cell["id"])}
    named = [cell["id"] for cell in cells if not is_random_id(cell["id"])]
    for cell_id in named:
        if named.count(cell_id) > 1:
            raise ValueError(f"two cells have the id {cell_id!r}; rename one")
    section = "intro"
    for cell, following in zip(cells, [*cells[1:], {}], strict=True):
        heading = re.match(r"#+\s+(.+)", cell["source"])
        if cell["cell_type"] == "markdown" and heading:
            section = _slug(heading[1]) or section
        if is_random_id(cell["id"]):
            cell["id"] = _free(_task_id(cell, following) or section, taken)
            taken.add(cell["id"])


def _task_id(cell: dict[str, Any], following: dict[str, Any]) -> str:
    if own := _CHECK_CALL.search(cell["source"]):
        return check_id(own[1])
    if "BEGIN SOLUTION" in cell["source"]:
        check = _CHECK_CALL.search(following.get("source", ""))
        return check[1] if check else ""
    return ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:50]


def _free(name: str, taken: set[str]) -> str:
    candidates = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(c for c in candidates if c not in taken)
