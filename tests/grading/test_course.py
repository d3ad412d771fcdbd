"""The course's own exercises, graded as submissions: all points, and none."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlopt_edu.grading.grade import grade_folder

ROOT = Path(__file__).parents[2]
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("class")
    for kind in ("solutions", "exercises"):
        (folder / kind).mkdir()
        for path in SOLUTIONS:
            shutil.copy(ROOT / kind / path.name, folder / kind)
    out = grade_folder(folder, seed=11, progress=io.StringIO())
    files = (out / "results").rglob("*.json")
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return {record["submission"]: record for record in found}


def test_there_are_solutions() -> None:
    assert SOLUTIONS


@pytest.mark.parametrize("stem", [path.stem for path in SOLUTIONS])
def test_a_solution_earns_everything(stem: str, records: dict[str, Any]) -> None:
    record = records[f"solutions/{stem}"]
    wrong = [r["message"] for r in record["reports"] if r["status"] != "passed"]
    assert (record["status"], record["exercise"], wrong) == ("graded", stem, [])
    assert record["points"] == record["max_points"] > 0


@pytest.mark.parametrize("stem", [path.stem for path in SOLUTIONS])
def test_what_the_learner_starts_from_earns_nothing(
    stem: str, records: dict[str, Any]
) -> None:
    record = records[f"exercises/{stem}"]
    assert (record["status"], record["points"]) == ("graded", 0)
    assert all(r["status"] != "crashed" for r in record["reports"])
