"""The cells of a notebook of any version, or of a script.

Formats 1 to 3 call the source `input` and put cells into worksheets; everything else
that changed until 4.5 (outputs, metadata, ids) is not read. So the versions differ in
one line here, and nbformat's converters, which rebuild and validate the whole file,
are not needed: a notebook with a broken output still has readable answers.

Formats: nbformat.readthedocs.io, "The Notebook file format" and its changelog.
Scripts: jupytext's percent format, jupytext.readthedocs.io, "Notebooks as scripts".
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from .untrusted import UnreadableError

MAX_SCRIPT = 1_000_000  # characters
MAX_PARTS = 1_000_000  # lists and objects: each costs memory that its two bytes hide
AGAIN = "open it in JupyterLab, save it and hand it in again"

_PERCENT = re.compile(r"^#[ \t]*%%(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """A cell as a learner left it.

    Attributes:
        names: What it may be called, the surest first: the nbgrader id, the cell's
            id, and the id that Colab keeps in the metadata.
        is_code: Whether it is a code cell.
        source: Its text, with plain line ends.
    """

    names: tuple[str, ...]
    is_code: bool
    source: str


def notebook_cells(text: str) -> list[Cell]:
    """Return the cells of a notebook; what is no cell is left out.

    Raises:
        UnreadableError: If the text is no notebook.

    Example:
        >>> notebook_cells('{"worksheets": [{"cells": [{"cell_type": "code",'
        ...     ' "input": ["x = 1"]}]}], "nbformat": 3}')
        [Cell(names=(), is_code=True, source='x = 1')]
    """
    notebook = _load(text)
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    sheets = notebook.get("worksheets") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) and not isinstance(sheets, list):
        raise UnreadableError("the file is not a notebook: it is JSON without cells")
    found = list(cells) if isinstance(cells, list) else []
    for sheet in sheets if isinstance(sheets, list) else []:
        if isinstance(sheet, dict) and isinstance(sheet.get("cells"), list):
            found += sheet["cells"]
    return [_cell(cell) for cell in found if isinstance(cell, dict)]


def script_cells(text: str) -> list[Cell]:
    r"""Return the cells of a script: its `# %%` parts, or the whole of it.

    Example:
        >>> [cell.source for cell in script_cells("# %%\nx = 1\n# %%\ny = 2")]
        ['x = 1', 'y = 2']

    Raises:
        UnreadableError: If it is longer than any answers.
    """
    if len(text) > MAX_SCRIPT:
        raise UnreadableError(
            f"the script has more than {MAX_SCRIPT:,} characters; hand in the answers"
        )
    parts = _PERCENT.split(_plain(text))
    cells = [Cell((), True, parts[0].strip("\n"))]
    for head, body in zip(parts[1::2], parts[2::2], strict=True):
        is_code = "[markdown]" not in head and "[raw]" not in head
        cells.append(Cell((), is_code, body.strip("\n")))
    return [cell for cell in cells if cell.source]


def _load(text: str) -> Any:
    if text.count("[") + text.count("{") > MAX_PARTS:
        raise UnreadableError(
            f"the file holds more than {MAX_PARTS:,} parts; "
            "clear the notebook's outputs and hand it in again"
        )
    try:
        # No number of a notebook is of use here, however long it is.
        return json.loads(text.lstrip("\ufeff"), parse_int=lambda digits: 0)
    except RecursionError:
        raise UnreadableError(
            "the file is not a notebook: it is nested too deeply"
        ) from None
    except json.JSONDecodeError as error:
        if text[:500].lstrip("\ufeff \t\r\n").startswith("{") and (
            error.msg.startswith("Unterminated") or error.pos >= len(text.rstrip())
        ):
            raise UnreadableError(
                f"the file ends too early, at line {error.lineno}, and is not valid "
                f"JSON: it was cut off when it was saved or sent; {AGAIN}"
            ) from None
        raise UnreadableError(
            f"the file is not a notebook: not valid JSON at line {error.lineno}; "
            f"{AGAIN}"
        ) from None


def _cell(cell: dict[str, Any]) -> Cell:
    metadata = cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    grader = metadata.get("nbgrader")
    grader = grader if isinstance(grader, dict) else {}
    names = (grader.get("grade_id"), cell.get("id"), metadata.get("id"))
    text = cell.get("source", cell.get("input", ""))
    if isinstance(text, list):
        text = "".join(line for line in text if isinstance(line, str))
    return Cell(
        tuple(name for name in names if isinstance(name, str)),
        cell.get("cell_type") == "code",
        _plain(text) if isinstance(text, str) else "",
    )


def _plain(text: str) -> str:
    """Use one line end, as Python does, and no half of a surrogate pair."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    return text.encode("utf-8", "replace").decode()
