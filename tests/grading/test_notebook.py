"""The canonical form: one text for one notebook, and a sentence for any other."""

import copy
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from mlopt_edu.grading.cell_ids import check_id
from mlopt_edu.grading.notebook import (
    Notebook,
    canonical,
    dumps,
    problems,
    read,
    write_atomically,
)

from .conftest import code, text


def saved_by_an_editor() -> Notebook:
    return {
        "cells": [
            text("aims", "# Title  \r\n\r\nAims\n\n", collapsed=True),
            code("3f2a91bc", "\nx = 1 \n\n", tags=["b", "a", "b"], editable=False),
            {
                **code("shown", "print(x)", tags=["nbval-check-output"]),
                "outputs": [
                    {
                        "output_type": "execute_result",
                        "data": {"text/plain": ["a\n", "b"]},
                        "metadata": {"isolated": True},
                        "execution_count": 40,
                    }
                ],
                "execution_count": 40,
            },
            {
                **code("plot", ["plot(x)\n", "show()"], execution={"iopub": "2024"}),
                "outputs": [{"output_type": "stream", "name": "stdout", "text": "9"}],
                "execution_count": 41,
            },
        ],
        "metadata": {
            "kernelspec": {"name": "venv", "display_name": "My env"},
            "language_info": {"name": "python", "version": "3.11.7"},
            "widgets": {"state": {}},
        },
        "nbformat": 4,
        "nbformat_minor": 4,
    }


def test_what_running_and_opening_leave_behind_goes() -> None:
    notebook = canonical(saved_by_an_editor())
    assert notebook["metadata"] == {
        "kernelspec": {
            "display_name": "Python 3", "language": "python", "name": "python3"
        },
        "language_info": {"name": "python"},
    }  # fmt: skip
    aims, first, shown, plot = notebook["cells"]
    assert aims["source"] == "# Title\n\nAims"
    assert aims["metadata"] == {}
    assert (first["id"], first["source"]) == ("title", "x = 1")
    assert first["metadata"] == {"tags": ["a", "b"]}
    assert shown["execution_count"] == 2
    assert shown["outputs"] == [
        {
            "output_type": "execute_result", "data": {"text/plain": "a\nb"},
            "metadata": {}, "execution_count": 2,
        }
    ]  # fmt: skip
    assert plot["source"] == "plot(x)\nshow()"
    assert (plot["outputs"], plot["execution_count"]) == ([], None)


def test_twice_is_once() -> None:
    once = dumps(canonical(saved_by_an_editor()))
    assert dumps(canonical(json.loads(once))) == once
    assert once.endswith("}\n")
    assert '\n "nbformat_minor": 5\n' in once


def test_nbformat_writes_the_same_text(tmp_path: Path) -> None:
    wanted = dumps(canonical(saved_by_an_editor()))
    (tmp_path / "a.ipynb").write_text(wanted, encoding="utf-8")
    notebook = nbformat.read(tmp_path / "a.ipynb", as_version=4)
    # JupyterLab saves through nbformat: opening and saving makes no diff.
    assert nbformat.writes(notebook) + "\n" == wanted


def test_a_cell_is_named_after_its_heading_or_its_check() -> None:
    answer = "### BEGIN SOLUTION\nx = 1\n### END SOLUTION"
    cells: list[dict[str, Any]] = [
        code("11111111", "1"),
        text("22222222", "## What goes wrong: λ!"),
        code("33333333", "2"),
        code("44444444", answer),
        code("5a5a5a5a-0000-4000-8000-000000000000", 'check("adam_step", adam_step)'),
    ]
    del cells[0]["id"]
    notebook = canonical({"cells": cells, "nbformat": 4})
    assert [cell["id"] for cell in notebook["cells"]] == [
        "intro", "what-goes-wrong", "what-goes-wrong-2", "adam_step",
        check_id("adam_step"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "a.ipynb is not a notebook: not valid JSON at line 1"),
        ("[]", "a.ipynb is not a notebook: it is JSON without `nbformat`"),
        ('{"nbformat": 3}', "a.ipynb must be in notebook format 4, got '3'"),
        ('{"nbformat": 4, "cells": 1}', "`cells` must be a list of cells"),
        (b"\xff\xfe", "a.ipynb is not a notebook: not UTF-8 text"),
        (None, "a.ipynb cannot be read: no such file or directory"),
    ],
    ids=str,
)
def test_what_is_no_notebook_is_refused(
    tmp_path: Path, content: str | bytes | None, sentence: str
) -> None:
    path = tmp_path / "a.ipynb"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=sentence):
        read(path)
    assert len(problems(path)) == 1


def test_two_cells_of_one_name_are_refused() -> None:
    twice = {"cells": [code("a", ""), text("a", "")], "nbformat": 4}
    with pytest.raises(ValueError, match="two cells have the id 'a'"):
        canonical(twice)


def test_a_malformed_cell_is_refused() -> None:
    odd = {"cells": [{"cell_type": "poem", "id": "ode", "source": ""}], "nbformat": 4}
    with pytest.raises(ValueError, match="the notebook is malformed at"):
        canonical(odd)


def edit_id(notebook: Notebook) -> None:
    notebook["cells"][1]["id"] = "0123abcd"


def edit_source(notebook: Notebook) -> None:
    notebook["cells"][0]["source"] += "  "


def edit_output(notebook: Notebook) -> None:
    notebook["cells"][3]["execution_count"] = 3


def edit_kernel(notebook: Notebook) -> None:
    notebook["metadata"]["kernelspec"]["name"] = "mine"


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (edit_id, "cell 1 has no name of its own (id '0123abcd'); `make exercises` "
         "calls it 'title'"),
        (edit_source, "cell 'aims' is not canonical in its source"),
        (edit_output, "cell 'plot' is not canonical in its execution_count"),
        (edit_kernel, "a.ipynb is not in canonical form"),
    ],
)  # fmt: skip
def test_a_changed_notebook_gets_its_sentence(
    tmp_path: Path, edit: Any, sentence: str
) -> None:
    path = tmp_path / "a.ipynb"
    notebook = canonical(saved_by_an_editor())
    path.write_text(dumps(notebook), encoding="utf-8")
    assert problems(path) == []
    changed = copy.deepcopy(notebook)
    edit(changed)
    path.write_text(json.dumps(changed), encoding="utf-8")
    assert len(problems(path)) == 1
    assert sentence in problems(path)[0]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "after \ud800")
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
