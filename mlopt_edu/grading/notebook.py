"""One canonical form of a notebook, so that a diff shows what an author changed.

Cells have ids that mean something and stay. Nothing else that running or opening a
notebook leaves behind is kept: no execution counts, time stamps, widget state or
kernel details. Outputs stay only where nbval compares them.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from .cell_ids import is_random_id, name_cells

Notebook = dict[str, Any]
Cell = dict[str, Any]

CHECK_OUTPUT = "nbval-check-output"
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}


def parse(text: str, name: str) -> Notebook:
    """Return the notebook in a JSON text.

    Args:
        text: Content of the file.
        name: What error messages call it, for example its file name.

    Raises:
        ValueError: If it is not JSON, not a notebook, or older than nbformat 4.
    """
    try:
        notebook = json.loads(text)
    except RecursionError:
        raise ValueError(f"{name} is not a notebook: it is nested too deeply") from None
    except ValueError as error:
        # Python's own sentence about a huge integer advises a setting; ours does not.
        where = f" at line {error.lineno}" if hasattr(error, "lineno") else ""
        raise ValueError(f"{name} is not a notebook: not valid JSON{where}") from None
    if not isinstance(notebook, dict) or "nbformat" not in notebook:
        raise ValueError(f"{name} is not a notebook: it is JSON without `nbformat`")
    version = notebook["nbformat"]
    if version != 4:
        raise ValueError(
            f"{name} must be in notebook format 4, got {str(version)[:20]!r}; "
            "open it in JupyterLab and save it"
        )
    cells = notebook.get("cells")
    if not isinstance(cells, list) or not all(isinstance(c, dict) for c in cells):
        raise ValueError(f"{name} is not a notebook: `cells` must be a list of cells")
    return notebook


def read(path: Path) -> Notebook:
    """Return the notebook in a file; see `parse` for what may be wrong with it."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(f"{path.name} cannot be read: {reason.lower()}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not a notebook: not UTF-8 text") from None
    return parse(text, path.name)


def source(cell: Cell) -> str:
    """Return the text of a cell, which a file may hold as a list of lines."""
    text = cell.get("source", "")
    return "".join(map(str, text)) if isinstance(text, list) else str(text)


def tags(cell: Cell) -> list[str]:
    """Return the tags of a cell."""
    metadata = cell.get("metadata")
    found = metadata.get("tags", []) if isinstance(metadata, dict) else []
    return [str(tag) for tag in found] if isinstance(found, list) else []


def canonical(notebook: Notebook) -> Notebook:
    """Return the canonical form; doing it twice changes nothing.

    A cell whose id an editor drew is named after the heading above it. An answer is
    named after the check that follows it.

    Raises:
        ValueError: If two cells have the same id, or nbformat does not accept it.
    """
    # Here, since its import costs seconds: a package it may use compiles a grammar.
    import nbformat

    cells = [_canonical_cell(cell) for cell in notebook["cells"]]
    name_cells(cells)
    _number_compared(cells)
    result = {
        "cells": cells,
        "metadata": {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    try:
        nbformat.validate(result)
    except nbformat.ValidationError as error:
        where = "".join(f"[{part!r}]" for part in error.absolute_path)
        raise ValueError(
            f"the notebook is malformed at {where or 'its top'}: "
            f"{error.message.splitlines()[0][:200]}"
        ) from None
    return result


def dumps(notebook: Notebook) -> str:
    """Return the one text of a canonical notebook."""
    return (
        json.dumps(_lines(notebook), indent=1, sort_keys=True, ensure_ascii=False)
        + "\n"
    )


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text so that a reader finds the old file or the whole new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def problems(path: Path) -> list[str]:
    """Return one sentence for each way in which a file is not canonical."""
    try:
        notebook = read(path)
        wanted = canonical(notebook)
    except ValueError as error:
        return [str(error) if path.name in str(error) else f"{path.name}: {error}"]
    if path.read_bytes() == dumps(wanted).encode():
        return []
    found = []
    for index, (cell, after) in enumerate(
        zip(notebook["cells"], wanted["cells"], strict=True)
    ):
        if is_random_id(cell.get("id")):
            found.append(
                f"{path.name}: cell {index} has no name of its own "
                f"(id {cell.get('id')!r}); `make exercises` calls it {after['id']!r}"
            )
            continue
        changed = [key for key in _plain(cell) if _plain(cell)[key] != after.get(key)]
        if changed:
            found.append(
                f"{path.name}: cell {after['id']!r} is not canonical in its "
                f"{', '.join(sorted(changed))}; run `make exercises`"
            )
    return found or [f"{path.name} is not in canonical form; run `make exercises`"]


def _plain(cell: Cell) -> Cell:
    return {**cell, "source": source(cell)}


def _canonical_cell(cell: Cell) -> Cell:
    kept: Cell = {
        "cell_type": cell.get("cell_type"),
        "id": cell.get("id"),
        "metadata": {},
        "source": _clean(source(cell)),
    }
    if tags(cell):
        kept["metadata"]["tags"] = sorted(set(tags(cell)))
    metadata = cell.get("metadata")
    if isinstance(metadata, dict) and metadata.get("nbgrader"):
        kept["metadata"]["nbgrader"] = metadata["nbgrader"]
    if cell.get("attachments"):
        kept["attachments"] = cell["attachments"]
    if cell.get("cell_type") == "code":
        compared = CHECK_OUTPUT in tags(cell)
        kept["outputs"] = _canonical_outputs(cell) if compared else []
        kept["execution_count"] = cell.get("execution_count") if compared else None
    return kept


def _canonical_outputs(cell: Cell) -> list[dict[str, Any]]:
    outputs = []
    for output in cell.get("outputs", []):
        kept = {key: value for key, value in output.items() if key != "metadata"}
        if isinstance(kept.get("text"), list):
            kept["text"] = "".join(kept["text"])
        if "data" in kept:
            kept["metadata"] = {}
            kept["data"] = {
                mime: "".join(value) if isinstance(value, list) else value
                for mime, value in kept["data"].items()
            }
        outputs.append(kept)
    return outputs


def _number_compared(cells: list[Cell]) -> None:
    ordinal = 0
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        ordinal += 1
        # A cell that never ran keeps no count: the nbval guard must see that.
        if cell["outputs"] and cell["execution_count"] is not None:
            cell["execution_count"] = ordinal
            for output in cell["outputs"]:
                if output.get("output_type") == "execute_result":
                    output["execution_count"] = ordinal


def _clean(text: str) -> str:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _lines(notebook: Notebook) -> Notebook:
    """Split sources into lines, as JupyterLab does, so that diffs go line by line."""
    cells = []
    for cell in notebook["cells"]:
        cell = {**cell, "source": cell["source"].splitlines(keepends=True)}
        if "outputs" in cell:
            cell["outputs"] = [_split_output(output) for output in cell["outputs"]]
        cells.append(cell)
    return {**notebook, "cells": cells}


def _split_output(output: dict[str, Any]) -> dict[str, Any]:
    split = dict(output)
    if isinstance(split.get("text"), str):
        split["text"] = split["text"].splitlines(keepends=True)
    if "data" in split:
        split["data"] = {
            mime: value.splitlines(keepends=True) if isinstance(value, str) else value
            for mime, value in split["data"].items()
        }
    return split
