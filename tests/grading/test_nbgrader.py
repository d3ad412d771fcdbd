"""The real nbgrader takes a released exercise as it is, and gives its real score.

In a scratch course the released notebook is the source of the assignment. nbgrader's
own `ClearSolutions` is off: the answers are cut out already, and it would replace what
the learner starts from. The submission is that exercise with the answers of the
solution, but for one that is wrong and one that is left out.
"""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from nbgrader.api import Gradebook

from mlopt_edu.checks import exercises
from mlopt_edu.grading.cell_ids import check_id
from mlopt_edu.grading.notebook import Notebook, dumps, read, source

ROOT = Path(__file__).parents[2]
STEM = "01_gradient_descent"
WRONG, BLANK = "contraction", "what_now"

# What `nbgrader generate_assignment`, `autograde` and `validate` call, in one process:
# most of their time is importing.
COMMANDS = f"""
import json
from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from nbgrader.validator import Validator
from traitlets.config import Config

config = Config()
config.ClearSolutions.enabled = False
api = NbGraderAPI(CourseDirectory(config=config), config=config)
done = [api.generate_assignment("{STEM}"), api.autograde("{STEM}", "ada")]
found = Validator(config=config).validate("submitted/ada/{STEM}/{STEM}.ipynb")
print("\\n" + json.dumps([done, found]))
"""


def filled() -> Notebook:
    """Return the exercise with the answers of the solution, as a learner would."""
    answers = {
        c["id"]: source(c) for c in read(ROOT / f"solutions/{STEM}.ipynb")["cells"]
    }
    answers[WRONG] = f"def {WRONG}(X, lr):\n    return 0.5"
    notebook = read(ROOT / f"exercises/{STEM}.ipynb")
    for cell in notebook["cells"]:
        cell["source"] = source(cell)
        if cell["id"] in exercises()[STEM] and cell["id"] != BLANK:
            cell["source"] = answers[cell["id"]]
    return notebook


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("course")


@pytest.fixture(scope="module")
def said(course: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return what nbgrader's commands said."""
    name = f"{STEM}/{STEM}.ipynb"
    released = (ROOT / f"exercises/{STEM}.ipynb").read_text(encoding="utf-8")
    for path, text in [
        (course / "source" / name, released),
        (course / "submitted" / "ada" / name, dumps(filled())),
    ]:
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    scripts = sysconfig.get_path("scripts")  # nbgrader calls alembic by its name
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS], cwd=course, capture_output=True, text=True,
        env={**os.environ, "PATH": os.pathsep.join([scripts, os.environ["PATH"]]),
             "OMP_NUM_THREADS": "1", "JUPYTER_PREFER_ENV_PATH": "1",
             "MLOPT_PROGRESS": str(course)},
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    commands, validated = json.loads(done.stdout.splitlines()[-1])
    return commands, validated


def test_it_is_released_as_it_is(course: Path, said: Any) -> None:
    generated = said[0][0]
    assert generated["success"], generated
    ours = read(course / "source" / STEM / f"{STEM}.ipynb")["cells"]
    theirs = read(course / "release" / STEM / f"{STEM}.ipynb")["cells"]
    assert [source(cell) for cell in ours] == [source(cell) for cell in theirs]
    marks = [cell["metadata"].get("nbgrader") for cell in ours]
    assert marks == [cell["metadata"].get("nbgrader") for cell in theirs]
    assert sum(bool(mark and mark["grade"]) for mark in marks) == len(exercises()[STEM])


def test_autograde_gives_the_real_score(course: Path, said: Any) -> None:
    graded = said[0][1]
    assert graded["success"], graded
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        submission = book.find_submission(STEM, "ada")
        (notebook,) = submission.notebooks
        scores = {grade.name: grade.score for grade in notebook.grades}
        whole = (submission.score, submission.max_score, submission.needs_manual_grade)
    expected = {
        check_id(name): 0 if name in (WRONG, BLANK) else task.points
        for name, task in exercises()[STEM].items()
    }
    assert scores == expected
    possible = sum(task.points for task in exercises()[STEM].values())
    assert whole == (sum(expected.values()), possible, False)


def test_validate_names_the_answers_that_are_not_right(said: Any) -> None:
    validated = said[1]
    assert list(validated) == ["failed"]
    failed = [cell["source"].strip() for cell in validated["failed"]]
    assert failed == [f'check("{WRONG}")', f'check("{BLANK}")']
