"""Grade folders of right, wrong, broken and hostile submissions."""

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlopt_edu.grading.exercise import Exercise
from mlopt_edu.grading.grade import check_notebook, grade_folder
from mlopt_edu.grading.notebook import Notebook
from mlopt_edu.grading.table import class_csv

ALL = 7  # points of the small exercise
Records = dict[str, dict[str, Any]]


def results(out: Path) -> Records:
    files = (out / "results").rglob("*.json")
    records = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return {record["submission"]: record for record in records}


def status(record: dict[str, Any], task: str) -> str:
    return next(r["status"] for r in record["reports"] if r["task"] == task)


def message(record: dict[str, Any], task: str) -> str:
    return next(r["message"] for r in record["reports"] if r["task"] == task)


@pytest.fixture
def grade(tmp_path: Path, exercise: Exercise) -> Callable[..., Records]:
    def run(**options: Any) -> Records:
        told = io.StringIO()
        options = {"seed": 5, "exercises": [exercise], "progress": told, **options}
        out = grade_folder(tmp_path / "class", out=tmp_path / "out", **options)
        return results(out)

    return run


# What an honest learner hands in.


def test_honest_submissions(submit: Any, grade: Any, tmp_path: Path) -> None:
    submit("right")
    submit("squared", double="def double(x):\n    return x ** 2")
    submit("blank", double="def double(x):\n    raise NotImplementedError()")
    submit(
        "nested/by_hand", double="import math\ndouble = lambda x: [2 * v for v in x]"
    )
    submit("spelt", descend="def descend(w, lr, steps)\n    return w")
    submit("optim", descend="import torch.optim\ndef descend(w, lr, steps): return w")
    submit("object", double="def double(x): return object()")
    submit("magic", double="%timeit 1\nfrom mlopt_edu.checks import check\n"
           "def double(x):\n    return x + x\ncheck('double')")  # fmt: skip
    found = grade()
    points = {name: record["points"] for name, record in found.items()}
    assert points == {
        "right": ALL, "squared": ALL - 2, "blank": ALL - 2, "nested/by_hand": ALL,
        "spelt": ALL - 3, "optim": ALL - 3, "object": ALL - 2, "magic": ALL,
    }  # fmt: skip
    assert all(record["status"] == "graded" for record in found.values())
    assert found["right"]["reason"] == "4 of 4 answers are right"
    assert "You squared" in message(found["squared"], "double")
    assert status(found["blank"], "double") == "blank"
    assert "syntax error in line 1" in message(found["spelt"], "descend")
    assert status(found["optim"], "descend") == "forbidden"
    assert "its result is a object" in message(found["object"], "double")
    page = (tmp_path / "out/results/nested/by_hand.html").read_text(encoding="utf-8")
    assert "7 of 7 points" in page
    rows = list(csv.DictReader((tmp_path / "out/class.csv").read_text().splitlines()))
    assert [row["submission"] for row in rows] == [
        "blank", "magic", "nested/by_hand", "object", "optim", "right", "spelt",
        "squared",
    ]  # fmt: skip
    assert rows[7]["91_small/double"] == "0"
    assert rows[7]["points"] == "5"


def test_the_same_seed_gives_the_same_results(submit: Any, grade: Any) -> None:
    submit("right")
    submit("wrong", double="def double(x):\n    return x")
    assert grade() == grade()


def test_a_drawn_seed_is_recorded(
    submit: Any, grade: Any, exercise: Exercise, tmp_path: Path
) -> None:
    submit("right")
    first = grade(seed=None)["right"]["seed"]
    assert json.loads((tmp_path / "out/class.json").read_text())["seed"] == first
    assert grade(seed=None)["right"]["seed"] == first  # the class goes on
    other = grade_folder(
        tmp_path / "class", out=tmp_path / "other", progress=io.StringIO(),
        exercises=[exercise],
    )  # fmt: skip
    assert results(other)["right"]["seed"] != first


# Cells in another order, doubled, or gone.


def rewrite(path: Path, change: Callable[[Notebook], None]) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    change(notebook)
    path.write_text(json.dumps(notebook), encoding="utf-8")


def test_reordered_cells_count(submit: Any, grade: Any) -> None:
    rewrite(submit("reordered"), lambda notebook: notebook["cells"].reverse())
    assert grade()["reordered"]["points"] == ALL


def test_the_last_written_copy_counts(submit: Any, grade: Any) -> None:
    path = submit("doubled", double="def double(x): return x")

    def copy_twice(notebook: Notebook) -> None:
        cell = next(c for c in notebook["cells"] if c["id"] == "double")
        right = {**cell, "id": "c1", "source": "def double(x): return x + x"}
        blank = {**cell, "id": "c2", "source": " "}
        notebook["cells"] += [right, blank]

    rewrite(path, copy_twice)
    record = grade()["doubled"]
    assert record["points"] == ALL
    assert record["notes"] == ["2 cells answer 'double'; the last one counts"]


def test_a_missing_answer_is_named(submit: Any, grade: Any) -> None:
    path = submit("missing")
    rewrite(path, lambda nb: nb.update(
        cells=[c for c in nb["cells"] if c["id"] != "double"]))  # fmt: skip
    record = grade()["missing"]
    assert record["points"] == ALL - 2
    assert message(record, "double") == "`double`: the notebook has no answer to it."


def test_forged_points_and_metadata_change_nothing(submit: Any, grade: Any) -> None:
    path = submit("forged", double="def double(x): return x")

    def forge(notebook: Notebook) -> None:
        notebook["metadata"]["kernelspec"] = {"name": "evil", "display_name": "x"}
        for cell in notebook["cells"]:
            if "nbgrader" in cell["metadata"]:
                cell["metadata"]["nbgrader"]["points"] = 1000
            if cell["id"] == "setup":
                cell["source"] = "import numpy as np; np.allclose = lambda *a: True"
            if cell["id"].startswith("check"):
                cell["source"] = "print('7 of 7')"
                cell["outputs"] = [{"output_type": "stream", "text": "7"}]

    rewrite(path, forge)
    record = grade()["forged"]
    assert (record["points"], record["max_points"]) == (ALL - 2, ALL)


def test_ids_are_enough_without_metadata(submit: Any, grade: Any) -> None:
    path = submit("plain")
    rewrite(path, lambda nb: [c["metadata"].clear() for c in nb["cells"]] and None)
    assert grade()["plain"]["points"] == ALL


def test_fifty_thousand_cells(submit: Any, grade: Any) -> None:
    path = submit("many")

    def multiply(notebook: Notebook) -> None:
        cell = next(c for c in notebook["cells"] if c["id"] == "double")
        notebook["cells"] += [cell] * 50_000

    rewrite(path, multiply)
    assert grade()["many"]["points"] == ALL


# Programs that mean harm are in `attacks/` (test_isolation.py).


def test_printing_100_mb_costs_nothing(submit: Any, grade: Any) -> None:
    submit(
        "chatty",
        double="print('a' * 10**8)\ndef double(x):\n    print('b' * 10**8)\n"
        "    import sys; sys.stderr.write('c')\n    return 2 * x",
    )
    record = grade()["chatty"]
    assert record["points"] == ALL
    assert "300,000,006 characters" in str(record["reports"])


def test_the_time_of_a_submission_is_bounded(submit: Any, grade: Any) -> None:
    # Each cell may take a third of the time: three of them use it up.
    cells = ("double", "descend", "best_step")
    submit("slow", **dict.fromkeys(cells, "import time; time.sleep(99)"))
    submit("right")
    start = time.monotonic()
    found = grade(seconds=2)
    assert time.monotonic() - start < 20
    assert found["slow"]["points"] == 0
    assert "2 seconds of the submission were used up" in message(
        found["slow"], "smallest"
    )


# What a learner wrote is shown, never executed.


def test_pages_and_table_escape_everything(
    submit: Any, grade: Any, tmp_path: Path
) -> None:
    evil = "<script>alert(1)</script>"
    path = submit("x", double=f"def double(x): raise ValueError({evil!r})")
    path.rename(path.with_name("=cmd <img src=x onerror=alert(1)>.ipynb"))
    grade()
    pages = list((tmp_path / "out/results").glob("*.html"))
    assert len(pages) == 1
    page = pages[0].read_text(encoding="utf-8")
    assert evil not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "http://" not in page
    assert "https://" not in page
    rows = list(csv.reader((tmp_path / "out/class.csv").read_text().splitlines()))
    assert rows[1][0].startswith("'=cmd")


def test_a_cell_that_looks_like_a_formula_gets_an_apostrophe() -> None:
    record = {
        "submission": "@SUM(A1)", "student": "＝A1", "exercise": "+x",
        "status": "graded", "reason": " =1", "points": -1, "max_points": 2,
        "reports": [],
    }  # fmt: skip
    row = next(csv.reader(class_csv([record]).splitlines()[1:]))
    assert row == ["'@SUM(A1)", "'＝A1", "", "'+x", "graded", "'=1", "-1", "2"]


# Folders and limits that cannot be used.


def test_folders_are_refused_before_anything_is_written(
    submit: Any, exercise: Exercise, tmp_path: Path
) -> None:
    folder = submit("right").parent
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("work")
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, sentence in [
        (
            {"folder": tmp_path / "nowhere"},
            "must be a folder or an archive of submissions",
        ),
        ({"folder": empty}, "holds no notebooks"),
        ({"out": other}, "holds something else"),
        ({"out": other / "chapter.txt"}, "is a file"),
        ({"out": folder}, "must be another folder"),
        ({"seconds": 0.0}, "seconds must be above 0"),
        ({"memory_mb": 10}, "memory_mb must be at least 256"),
    ]:
        options: dict[str, Any] = {"folder": folder, "out": tmp_path / "o", **arguments}
        with pytest.raises(ValueError, match=sentence):
            grade_folder(options.pop("folder"), exercises=[exercise], **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["class", "empty", "thesis"]
    assert [p.name for p in other.iterdir()] == ["chapter.txt"]


def test_results_may_lie_in_the_folder_and_are_not_graded(
    submit: Any, exercise: Exercise
) -> None:
    folder = submit("right").parent
    for _ in range(2):
        out = grade_folder(folder, exercises=[exercise], progress=io.StringIO())
        assert out == folder / "graded"
        assert list(results(out)) == ["right"]


def test_check_notebook(submit: Any, exercise: Exercise) -> None:
    text, passed = check_notebook(submit("right"), exercises=[exercise])
    assert passed
    assert "✓ double: 2 of 2 points" in text
    assert text.endswith("91_small: 7 of 7 points")
    wrong = submit("wrong", smallest="smallest = 1")
    text, passed = check_notebook(wrong, exercises=[exercise])
    assert not passed
    assert text.endswith("91_small: 6 of 7 points")
    wrong.write_text("no")
    with pytest.raises(ValueError, match="not valid JSON"):
        check_notebook(wrong, exercises=[exercise])
