"""The instructor's commands, from results to what other systems take."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from mlopt_edu.cli import main
from mlopt_edu.grading.exercise import Exercise
from mlopt_edu.grading.grade import grade_folder

STEM = "91_small"


@pytest.fixture
def graded(submit: Any, exercise: Exercise, tmp_path: Path) -> Path:
    submit("ada")
    submit("bob", double="def double(x):\n    return x ** 2")
    return grade_folder(
        tmp_path / "class", out=tmp_path / "out", seed=5, exercises=[exercise],
        progress=io.StringIO(),
    )  # fmt: skip


def test_from_results_to_exports(
    graded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = str(tmp_path / "grades.sqlite")

    def run(*words: object) -> tuple[int, str]:
        code = main([*map(str, words), "--book", book])
        return code, capsys.readouterr().out

    assert run("gradebook", "record", graded)[0] == 0
    before = run("gradebook", "history")[1]
    assert run("gradebook", "record", graded)[0] == 0
    assert run("gradebook", "history")[1] == before
    table, canvas = tmp_path / "grades.csv", tmp_path / "canvas.csv"
    assert run("gradebook", "export", "csv", table) == (0, "")
    rows = {row[0]: row for row in csv.reader(table.read_text("utf-8").splitlines())}
    assert rows["ada"][1] == "7"
    assert rows["bob"][1] == "5"
    column = f"{STEM}=Small (17)"
    assert run("gradebook", "export", "canvas", canvas, "--column", column)[0] == 0
    assert "Small (17)" in canvas.read_text("utf-8").splitlines()[0]
    assert run("gradebook", "export", "gradescope", tmp_path / "g")[0] == 0
    scores = [json.loads(f.read_text("utf-8")) for f in (tmp_path / "g").iterdir()]
    assert sorted(sum(t["score"] for t in s["tests"]) for s in scores) == [5, 7]


def test_a_mended_check_changes_one_task_and_says_why(
    graded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = ["--book", str(tmp_path / "grades.sqlite")]
    assert main(["gradebook", "record", str(graded), *book]) == 0
    record = graded / "results/bob.json"
    changed = json.loads(record.read_text("utf-8"))
    for report in changed["reports"]:
        if report["task"] == "double":
            report.update(points=2, status="passed")
    changed |= {"points": 7}
    record.write_text(json.dumps(changed), "utf-8")
    words = ["--task", "double", "--why", "squares are right too", "--by", "eve"]
    assert main(["gradebook", "regrade", str(graded), *words, *book]) == 0
    capsys.readouterr()
    assert main(["gradebook", "history", "--student", "bob", *book]) == 0
    told = capsys.readouterr().out
    assert "squares are right too" in told
    assert "eve" in told
    assert main(["gradebook", "history", "--student", "bo", *book]) == 2
    assert "did you mean 'bob'?" in capsys.readouterr().err
    table = tmp_path / "grades.csv"
    policies = tmp_path / "policies.toml"
    policies.write_text(
        "[exercises.01_gradient_descent]\ndue = 2026-11-13T23:59:00Z\n"
        "[exercises.01_gradient_descent.extensions]\nbo = 2026-11-15T23:59:00Z\n"
    )
    words = ["export", "csv", str(table), "--policies", str(policies)]
    assert main(["gradebook", *words, *book]) == 0
    sentence = "there is no student 'bo' in the gradebook; did you mean 'bob'?"
    assert sentence in capsys.readouterr().out
    assert main(["gradebook", "export", "csv", str(table), *book]) == 0
    assert "bob,7" in table.read_text("utf-8")


def test_a_gradebook_that_is_not_there_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = tmp_path / "none.sqlite"
    assert main(["gradebook", "history", "--book", str(book)]) == 2
    assert "mlopt gradebook record makes one" in capsys.readouterr().err
    assert not book.exists()


def test_hidden_checks_are_proved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hidden", str(tmp_path)]) == 1
    assert "seed.txt" in capsys.readouterr().out
    (tmp_path / "seed.txt").write_text("long enough to be secret", "utf-8")
    assert main(["hidden", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "The hidden checks hold.\n"
