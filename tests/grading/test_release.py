"""From solutions to exercises: no answer stays, nbgrader agrees, nothing drifts."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)
from nbgrader.utils import compute_checksum

from mlopt_edu.checks import Task
from mlopt_edu.grading.leaks import answers_of, leaks, sentences_of
from mlopt_edu.grading.marks import secrets, structure, without_answer
from mlopt_edu.grading.notebook import Notebook, dumps
from mlopt_edu.grading.release import build, release, with_metadata

from .conftest import STEM, code, make_solution, text

Tasks = Mapping[str, Task]


def find(notebook: Notebook, cell_id: str) -> dict[str, Any]:
    return next(cell for cell in notebook["cells"] if cell["id"] == cell_id)


@pytest.fixture
def course(tmp_path: Path, solution: Notebook) -> Path:
    for name in ("lessons", "solutions"):
        (tmp_path / name).mkdir()
    (tmp_path / "solutions" / f"{STEM}.ipynb").write_text(json.dumps(solution))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file()
    }


# What is built.


def test_the_learner_starts_from_the_stub(
    solution: Notebook, small_tasks: Tasks
) -> None:
    exercise = build(solution, small_tasks)
    assert find(exercise, "double")["source"] == (
        'def double(x):\n    """Return twice `x`."""\n    # YOUR CODE HERE\n'
        "    raise NotImplementedError()"
    )
    assert find(exercise, "descend")["source"] == (
        "def descend(w, lr, steps):\n    for _ in range(steps):\n"
        "        w = w + lr * w\n    return w"
    )
    assert find(exercise, "best_step")["source"] == "best_step = None"
    assert "why" not in [cell["id"] for cell in exercise["cells"]]
    assert "SOLUTION" not in dumps(exercise)


def test_a_stub_keeps_its_own_comments_and_blank_lines() -> None:
    region = (
        "### BEGIN SOLUTION\na = 1\n### END SOLUTION\n"
        "### BEGIN STUB\n# # a number\n#\n# a = None\n### END STUB\nb = a"
    )
    assert without_answer(region) == "# a number\n\na = None\nb = a"


def test_outputs_of_the_solution_stay_behind(
    solution: Notebook, small_tasks: Tasks
) -> None:
    shown = code("shown", "double(1)", tags=["nbval-check-output"])
    shown |= {
        "outputs": [{"output_type": "stream", "name": "stdout", "text": "2"}],
        "execution_count": 1,
    }
    solution["cells"].append(shown)
    built = find(build(solution, small_tasks), "shown")
    assert (built["outputs"], built["metadata"]) == ([], {})


# nbgrader agrees.


def as_nodes(notebook: Notebook) -> nbformat.NotebookNode:
    return nbformat.reads(dumps(notebook), as_version=4)


def test_nbgrader_accepts_the_exercise(solution: Notebook, small_tasks: Tasks) -> None:
    exercise = as_nodes(build(solution, small_tasks))
    marked = {
        c.id: c.metadata.nbgrader for c in exercise.cells if "nbgrader" in c.metadata
    }
    assert {name: m["points"] for name, m in marked.items() if m["grade"]} == {
        "check-double": 2, "check-descend": 3, "check-best-step": 1,
        "check-smallest": 1,
    }  # fmt: skip
    assert [n for n, m in marked.items() if m["solution"]] == list(small_tasks)
    for cell in exercise.cells:
        if "nbgrader" in cell.metadata:
            assert cell.metadata.nbgrader.checksum == compute_checksum(cell)
    for step in (CheckCellMetadata, ClearSolutions, LockCells, ComputeChecksums):
        exercise, _ = step().preprocess(exercise, {})


def test_nbgrader_cuts_the_same_answers_out(
    solution: Notebook, small_tasks: Tasks
) -> None:
    """Its own release of the marked solution is our exercise, where no stub is ours."""
    cells = [c for c in solution["cells"] if "STUB" not in c["source"]]
    cells = [c for c in cells if c["id"] != "why"]
    source = as_nodes(with_metadata({**solution, "cells": cells}, small_tasks))
    for step in (ClearSolutions, ComputeChecksums, CheckCellMetadata):
        source, _ = step().preprocess(source, {})
    ours = {c["id"]: c for c in as_nodes(build(solution, small_tasks)).cells}
    assert [dict(c) for c in source.cells] == [dict(ours[c.id]) for c in source.cells]


# Written once, the same for ever.


def test_a_second_release_changes_nothing(course: Path, small_tasks: Tasks) -> None:
    known = {STEM: small_tasks}
    assert release(course, tasks=known) == []
    first = contents(course)
    assert set(first) == {f"solutions/{STEM}.ipynb", f"exercises/{STEM}.ipynb"}
    assert release(course, tasks=known) == []
    assert contents(course) == first
    assert release(course, tasks=known, check=True) == []


def test_check_writes_nothing(course: Path, small_tasks: Tasks) -> None:
    before = contents(course)
    found = release(course, tasks={STEM: small_tasks}, check=True)
    assert contents(course) == before
    assert found == [
        f"{STEM}.ipynb is not in canonical form; run `make exercises`",
        f"exercises/{STEM}.ipynb is missing; run `make exercises`",
    ]


def points(cell: dict[str, Any]) -> None:
    cell["metadata"]["nbgrader"]["points"] = 99


def stale_text(cell: dict[str, Any]) -> None:
    cell["source"] += "\n# stale"


def solved(cell: dict[str, Any]) -> None:
    cell["source"] = "return np.add(x, x)+0*x"


@pytest.mark.parametrize(
    ("cell_id", "edit", "sentences"),
    [
        ("check-double", points, ["(cell 'check-double' says 99 points, not 2)"]),
        ("setup", stale_text, ["is stale (cell 'setup' differs)"]),
        ("double", solved, ["is stale (cell 'double' differs)",
         "cell 'double' gives `return np.add(x, x) + 0 * x` away in its source"]),
    ],
)  # fmt: skip
def test_an_edited_exercise_is_stale(
    course: Path, small_tasks: Tasks, cell_id: str, edit: Any, sentences: list[str]
) -> None:
    known = {STEM: small_tasks}
    release(course, tasks=known)
    path = course / "exercises" / f"{STEM}.ipynb"
    notebook = json.loads(path.read_text())
    edit(find(notebook, cell_id))
    path.write_text(json.dumps(notebook))
    found = release(course, tasks=known, check=True)
    assert len(found) == len(sentences)
    for sentence, seen in zip(sentences, found, strict=True):
        assert sentence in seen


def test_an_exercise_without_solution_is_an_orphan(
    course: Path, small_tasks: Tasks
) -> None:
    release(course, tasks={STEM: small_tasks})
    (course / "exercises/92_lost.ipynb").write_text("{}")
    found = release(course, tasks={STEM: small_tasks}, check=True)
    assert len(found) == 1
    assert found[0].startswith("exercises/92_lost.ipynb has no solution")


def test_a_broken_solution_is_a_sentence_and_the_others_are_built(
    course: Path, small_tasks: Tasks
) -> None:
    (course / "solutions/90_broken.ipynb").write_text("{")
    found = release(course, tasks={STEM: small_tasks})
    assert set(found) == {"90_broken.ipynb is not a notebook: not valid JSON at line 1"}
    assert (course / f"exercises/{STEM}.ipynb").exists()


# The cells of a solution.


def rename_answer(notebook: Notebook) -> None:
    find(notebook, "double")["id"] = "dubble"


def drop_check(notebook: Notebook) -> None:
    notebook["cells"].remove(find(notebook, "check-double"))


def swap(notebook: Notebook) -> None:
    cells = notebook["cells"]
    cells[3:5], cells[7:9] = cells[7:9], cells[3:5]


def wrong_call(notebook: Notebook) -> None:
    find(notebook, "check-double")["source"] = 'check("descend")'


def unmarked(notebook: Notebook) -> None:
    find(notebook, "double")["source"] = "def double(x): return 2 * x"


def half_mark(notebook: Notebook) -> None:
    cell = find(notebook, "double")
    cell["source"] = cell["source"].replace("### END SOLUTION", "")


def hand_written(notebook: Notebook) -> None:
    find(notebook, "double")["metadata"]["nbgrader"] = {"grade": True}


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (rename_answer, "cell 'dubble' holds an answer, but no task has this name"),
        (rename_answer, "task 'double' has no answer cell"),
        (drop_check, "task 'double' has no check"),
        (swap, "the answers come in the order descend, double"),
        (wrong_call, "the cell 'check-double' must call check(\"double\")"),
        (unmarked, "the answer cell 'double' has no ### BEGIN SOLUTION region"),
        (half_mark, "cell 'double' has a mark BEGIN SOLUTION without its other half"),
        (hand_written, "cell 'double' has nbgrader metadata"),
    ],
)
def test_a_solution_with_the_wrong_cells_gets_a_sentence(
    solution: Notebook, small_tasks: Tasks, edit: Any, sentence: str
) -> None:
    assert structure(solution, small_tasks) == []
    edit(solution)
    assert any(sentence in found for found in structure(solution, small_tasks))


def test_tasks_without_module_are_named(solution: Notebook) -> None:
    assert structure(solution, {}) == ["no module of mlopt_edu/checks holds its tasks"]


# Leaks.

ATTACHED = "dyAtIGxyICogZ3JhZCh3KQ=="  # the step in base64
REGION = "    w = w - lr * grad(w)  # against the slope of the loss at w\n    return w"


def leak(*cells: dict[str, Any], region: str = REGION, given: str = "") -> list[str]:
    return leaks({"cells": list(cells)}, answers_of(region, given))


@pytest.mark.parametrize(
    "cell",
    [
        code("a", "w = w - lr * grad(w)"),
        code("a", "w=w-lr*grad( w )"),
        code("a", "new = (w - (lr * grad(w)))"),
        code("a", "x = 1  # w - lr*grad(w)"),
        code("a", "hint = 'w - lr * grad(w)'"),
        code("a", "# against the slope of the loss at w"),
        code("a", "w = (w\n     - lr * grad(w))"),
        text("a", "Write `w - lr * grad(w)`."),
        text("a", "Write w - lr * grad(w)."),
        text("a", "```python\nw = (w - lr * (grad(w)))\n```"),
        {**code("a", ""), "outputs": [{"text": ["w - lr ", "* grad(w)"]}]},
        {**code("a", ""), "outputs": [{"data": {"text/plain": "w - lr * grad(w)"}}]},
        {**text("a", ""), "attachments": {"x": {"text/plain": ATTACHED}}},
        {**text("a", ""), "metadata": {"note": "w - lr * grad(w)"}},
        code("a", "### BEGIN SOLUTION"),
        text("a", "END SOLUTION"),
    ],
    ids=lambda cell: str(cell["source"])[:30] or str(cell)[-60:],
)  # fmt: skip
def test_an_answer_is_found_wherever_it_hides(cell: dict[str, Any]) -> None:
    assert leak(cell)


@pytest.mark.parametrize(
    "cell",
    [
        code("a", "def descend(w, lr):\n    raise NotImplementedError()\n    return w"),
        code("a", "w = w + lr * grad(w)"),
        code("a", "print(grad(w))"),
        text("a", "Move `w` against `grad(w)`; the step is `lr`."),
        text("a", "Subtract the gradient, times the step size, from the weights."),
    ],
    ids=lambda cell: str(cell["source"])[:30],
)
def test_a_question_is_not_a_leak(cell: dict[str, Any]) -> None:
    assert leak(cell) == []


def test_what_the_stub_gives_is_no_secret() -> None:
    broken = "w = w + lr * grad(w)\nreturn w"
    assert leak(code("a", broken), region=broken, given=broken) == []


def test_a_short_value_is_secret_too() -> None:
    region = 'best_step = "b"\n'
    assert leak(code("a", "best_step = 'b'"), region=region)
    assert leak(text("a", "So `best_step = b`."), region=region)
    assert leak(text("a", "a: one. b: half."), region=region) == []
    assert leak(code("a", "smallest=0.25"), region="smallest = 0.25")
    assert leak(code("a", "smallest=0.255"), region="smallest = 0.25") == []


def test_sentences_of_a_solution_stay_in_it() -> None:
    told = sentences_of("The step must stay below two over the curvature. Yes.")
    assert len(told) == 1
    leaky = text("a", "Note: the step must stay\nbelow two over the curvature!")
    fine = text("a", "Which step is the largest?")
    assert leaks({"cells": [fine]}, told) == []
    leaky["source"] = leaky["source"].replace("the step", "The step")
    assert leaks({"cells": [leaky]}, told)


def test_a_leak_stops_the_build(course: Path, small_tasks: Tasks) -> None:
    path = course / "solutions" / f"{STEM}.ipynb"
    notebook = make_solution()
    find(notebook, "double-task")["source"] += " Use `np.add(x, x) + 0 * x`."
    path.write_text(json.dumps(notebook))
    found = release(course, tasks={STEM: small_tasks})
    assert found == [
        f"solutions/{STEM}.ipynb: cell 'double-task' gives `np.add(x, x) + 0 * x` "
        "away in its text"
    ]
    assert not (course / "exercises").exists()


@pytest.mark.parametrize("spoil", [str.upper, str.lower], ids=["upper", "lower"])
def test_secrets_are_never_empty(
    spoil: Callable[[str], str], solution: Notebook, small_tasks: Tasks
) -> None:
    """The search itself must not pass vacuously: the solution leaks into itself."""
    found = leaks(copy.deepcopy(solution), secrets(solution))
    assert {s.split("'")[1] for s in found} >= {"double", "descend", "best_step", "why"}
    assert leaks(build(solution, small_tasks), secrets(solution)) == []
