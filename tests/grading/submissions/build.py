"""Writes the corpus: one learner's right answers as many tools would save them.

The files beside this script are its output, made with nbformat and jupytext, so that
they are what the tools write and not what we think they write:

    python -m tests.grading.submissions.build

Their names end in `.txt` so that no tool takes them for notebooks of the course.
"""

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from mlopt_edu.grading.notebook import Notebook
from mlopt_edu.grading.release import build
from tests.grading.conftest import ANSWERS, make_solution, make_tasks

HERE = Path(__file__).parent


def released() -> Notebook:
    """Return what the learner got."""
    return build(make_solution(), make_tasks())


def answered() -> Notebook:
    """Return what the learner wrote, as JupyterLab saves it."""
    notebook = released()
    for cell in notebook["cells"]:
        cell["source"] = ANSWERS.get(cell["id"], cell["source"])
    return notebook


def without_ids(notebook: Notebook, *, metadata: bool) -> Notebook:
    """Return a notebook from an editor that drops ids, and perhaps metadata."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook["cells"]:
        del cell["id"]
        if not metadata:
            cell["metadata"] = {}
    return {**notebook, "nbformat_minor": 4}


def as_version(major: int) -> str:
    """Return the notebook in an old format, converted by nbformat itself."""
    node = nbformat.from_dict(without_ids(answered(), metadata=True))  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        node = nbformat.v4.downgrade(node)  # type: ignore[no-untyped-call]
        if major == 2:
            node = _as_version_2(node)
        return json.dumps(node, indent=1)


def _as_version_2(node: Any) -> Any:
    """Undo what nbformat's upgrade from 2 to 3 does: it has no way back."""
    node["nbformat"] = 2
    node.pop("nbformat_minor", None)
    for cell in node["worksheets"][0]["cells"]:
        cell.pop("metadata", None)
        if cell["cell_type"] == "heading":
            cell["cell_type"] = "markdown"
    return node


def colab() -> Notebook:
    """Return the notebook as Colab saves it: ids in the metadata, lines in lists."""
    notebook = without_ids(answered(), metadata=False)
    for cell, original in zip(notebook["cells"], answered()["cells"], strict=True):
        cell["metadata"] = {"id": original["id"]}
        cell["source"] = cell["source"].splitlines(keepends=True)
    notebook["metadata"]["colab"] = {"provenance": []}
    return {**notebook, "nbformat_minor": 0}


def script(form: str) -> str:
    """Return the notebook as jupytext writes it."""
    node = nbformat.from_dict(without_ids(answered(), metadata=False))  # type: ignore[no-untyped-call]
    text: str = jupytext.writes(node, fmt=f"py:{form}")
    kept = [line for line in text.split("\n") if "jupytext_version" not in line]
    return "\n".join(kept)


def files() -> dict[str, str]:
    """Return the text of each file of the corpus by name."""
    whole = answered()
    notebooks = {
        "v4_5": whole,
        "v4_4": without_ids(whole, metadata=True),
        "no_metadata": without_ids(whole, metadata=False),
        "colab": colab(),
    }
    texts = {
        f"{name}.ipynb": json.dumps(notebook, indent=1, ensure_ascii=False)
        for name, notebook in notebooks.items()
    }
    return {
        **texts,
        "v3.ipynb": as_version(3),
        "v2.ipynb": as_version(2),
        "percent.py": script("percent"),
        "light.py": script("light"),
        "plain.py": "import numpy as np\n\n\n" + "\n\n\n".join(ANSWERS.values()),
    }


def main() -> None:
    """Write the corpus."""
    for name, text in files().items():
        (HERE / f"{name}.txt").write_text(text.rstrip("\n") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
