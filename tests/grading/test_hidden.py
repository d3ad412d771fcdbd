"""The instructor's folder: secret seed, hidden cases, extra exercises."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlopt_edu
from mlopt_edu.checks import Report
from mlopt_edu.checks._answer import Answer, answer_cases
from mlopt_edu.checks._key import AnswerKey
from mlopt_edu.grading.exercise import Exercise
from mlopt_edu.grading.hidden import HiddenCase, judge_hidden, load_hidden
from mlopt_edu.grading.hidden_faults import check_hidden
from mlopt_edu.grading.notebook import dumps

from .conftest import code, make_solution, text

SECRET = 987654.25  # in the hidden inputs, and nowhere else
DOUBLE = f"""
from mlopt_edu.checks import Case, Task
import numpy as np

def reference(x):
    return x + x

def draw(rng):
    yield Case("secret label", {{"x": np.array([{SECRET}, rng.normal()])}})
    yield Case("empty", {{"x": np.zeros(0)}})

double = Task("double", points=2, section="91 §1", reference=reference, draw=draw)

@double.mistake
def halved_above(x):
    \"\"\"You handle large numbers in another way.\"\"\"
    return np.where(x > 1e5, x / 2, 2 * x)
"""
EXTRA = """
from mlopt_edu.checks import Case, Task, choice

def triple_reference(x):
    return 3 * x

def draw(rng):
    yield Case("a number", {"x": float(rng.normal())})

triple = Task("triple", points=4, section="95 · Exam", reference=triple_reference,
              draw=draw)
pick = choice("pick", "Which?", {"a": ("one", "No."), "b": ("two", "Yes.")},
              answer="b", points=1, section="95 · Exam", module=__name__)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "hidden"
    folder.mkdir()
    (folder / "seed.txt").write_text("correct horse battery\n")
    (folder / "small.py").write_text(DOUBLE)
    return folder


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.endswith("._hidden")]:
        del sys.modules[name]


@pytest.fixture
def report(folder: Path, exercise: Exercise) -> Callable[[Any], Report]:
    """Return a function that judges an answer to `double`."""
    (extended,), seed = load_hidden(folder, [exercise])
    task = extended.tasks["double"]
    key = AnswerKey(task, task.cases(seed))

    def judged(answer: Any) -> Report:
        inputs = [case.inputs for case in key.cases]
        return judge_hidden(key, answer_cases(answer, inputs, seconds=5))

    return judged


def test_hidden_cases_are_added_to_the_released(
    folder: Path, exercise: Exercise
) -> None:
    (extended,), seed = load_hidden(folder, [exercise])
    released, merged = exercise.tasks["double"], extended.tasks["double"]
    cases = merged.cases(seed)
    assert [isinstance(c, HiddenCase) for c in cases] == [False] * 3 + [True] * 2
    for ours, theirs in zip(released.cases(seed), cases, strict=False):
        assert ours.inputs["x"].tolist() == theirs.inputs["x"].tolist()
    assert (merged.points, merged.exercise) == (released.points, released.exercise)
    assert [m.name for m in merged.mistakes] == ["squared", "halved_above"]
    # What was released is as it was.
    assert len(released.mistakes) == 1
    assert len(released.cases(seed)) == 3
    assert extended.tasks["descend"] is exercise.tasks["descend"]
    assert not list(folder.rglob("*.pyc"))


def test_the_seed_is_a_digest_of_the_phrase(folder: Path, exercise: Exercise) -> None:
    first = load_hidden(folder, [exercise])[1]
    assert 0 <= first < 2**48
    (folder / "seed.txt").write_text("  correct horse battery  ")
    assert load_hidden(folder, [exercise])[1] == first
    (folder / "seed.txt").write_text("correct horse batterz")
    assert load_hidden(folder, [exercise])[1] != first


def test_a_right_answer_passes(report: Callable[[Any], Report]) -> None:
    seen = report(lambda x: 2 * x)
    assert (seen.status, seen.points) == ("passed", 2)
    assert seen.passed_cases[-1] == "a hidden case"
    assert "secret label" not in str(seen.to_dict())


def test_a_fault_on_released_cases_is_told_in_full(
    report: Callable[[Any], Report],
) -> None:
    seen = report(lambda x: x + 1)
    assert seen.case is not None
    assert seen.case["label"] == "1 numbers"
    assert report(lambda x: x**2).mistake == "squared"


def wrong(x: Any) -> Any:
    return 2 * x if len(x) != 2 else x


def leaks_by_error(x: Any) -> Any:
    if SECRET in x:
        raise type(f"E{x[0]}", (Exception,), {})(f"{x[0]} was {x}")
    return 2 * x


def leaks_by_printing(x: Any) -> Any:
    if SECRET in x:
        print("." * 987_654)
        return x
    return 2 * x


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (wrong, "wrong", "is wrong on a hidden case"),
        (leaks_by_error, "raised", "raises an error on a hidden case"),
        (leaks_by_printing, "wrong", "is wrong on a hidden case"),
        (lambda x: None if len(x) == 0 else 2 * x, "wrong", "wrong on a hidden case"),
    ],
)
def test_a_hidden_case_shows_nothing(
    report: Callable[[Any], Report], answer: Any, status: str, words: str
) -> None:
    seen = report(answer)
    assert (seen.status, seen.points) == (status, 0)
    assert words in seen.message
    assert seen.failed_cases == ("a hidden case",)
    everything = json.dumps(seen.to_dict()) + str(seen) + seen._repr_html_()
    for secret in ("98765", "987,65", "secret label", "empty", "was ["):
        assert secret not in everything


def test_what_the_answer_process_says_of_a_hidden_case_is_not_repeated(
    folder: Path, exercise: Exercise
) -> None:
    (extended,), seed = load_hidden(folder, [exercise])
    task = extended.tasks["double"]
    key = AnswerKey(task, task.cases(seed))
    right = [Answer(2 * case.inputs["x"]) for case in key.cases[:3]]
    for status, words in (("timeout", "runs out of time"), ("crashed", "ends its")):
        told: Sequence[Answer] = [Answer(status=status, error=str(SECRET))] * 2  # type: ignore[arg-type]
        seen = judge_hidden(key, [*right, *told])
        assert seen.status == status
        assert words in seen.message
        assert "98765" not in str(seen.to_dict())


def test_a_hidden_mistake_is_told(report: Callable[[Any], Report]) -> None:
    seen = report(lambda x: np.where(x > 1e5, x / 2, 2 * x))
    assert seen.mistake == "halved_above"
    assert seen.message == "You handle large numbers in another way."
    assert seen.case is None


def test_an_exercise_of_the_instructors(folder: Path, exercise: Exercise) -> None:
    (folder / "exam.py").write_text(EXTRA)
    sentences = check_hidden(folder, exercises=[exercise])
    assert sentences == [
        f"{folder / '95_exam.ipynb'} must hold the released notebook of 'triple', and "
        "there is no such file"
    ]
    notebook = {
        **make_solution(),
        "cells": [
            code("setup", "import math", tags=["setup"]), text("t", "# Exam"),
            code("triple", "def triple(x): ..."),
        ],
    }  # fmt: skip
    (folder / "95_exam.ipynb").write_text(dumps(notebook))
    merged, _ = load_hidden(folder, [exercise])
    assert [one.stem for one in merged] == [exercise.stem, "95_exam"]
    assert list(merged[1].tasks) == ["triple", "pick"]
    assert merged[1].setup == "import math"
    assert merged[1].stubs == {"triple": "def triple(x): ..."}
    assert {task.exercise for task in merged[1].tasks.values()} == {"95_exam"}
    assert check_hidden(folder, exercises=[exercise]) == []


def test_a_sound_folder_has_no_faults(folder: Path, exercise: Exercise) -> None:
    assert check_hidden(folder, exercises=[exercise]) == []


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("return x + x", "return x + x + 1", "the reference of 'double' must pass"),
        ("x / 2, 2 * x", "2 * x, 2 * x", "'halved_above' of 'double' must fail on so"),
        ("(x > 1e5, x / 2, 2 * x)", "(x > 1e5, x ** 2, x ** 2)", "got that of 'square"),
        ("points=2", "points=3", "points of hidden task 'double' must be 2 as rel"),
        ("import numpy as np", "import numpy as np\n1 / 0", "ZeroDivisionError"),
        ("import numpy as np", "import numpy as np\n)", "cannot be executed: SyntaxE"),
        ('"double", points', '"treble", points', "must be a task of 91_"),
        ("rng.normal()", "np.random.default_rng().normal()", "the same seed must give"),
        ('"x": np.zeros(0)', '"x": object()', "'double' must be numbers, arrays"),
        ('"""You handle large numbers in another way."""', "", "must have a docstring"),
        ("def draw(rng):", "def draw(rng):\n    return\n", "at least one case"),
        ("def draw(rng):", "def draw(rng):\n    1 / 0\n", "cannot be tried: ZeroDiv"),
        ('"double", points=2', '"best_step", points=1', "must be one with cases"),
    ],
)
def test_faults_are_one_sentence(
    folder: Path, exercise: Exercise, old: str, new: str, sentence: str
) -> None:
    assert old in DOUBLE
    (folder / "small.py").write_text(DOUBLE.replace(old, new, 1))
    found = check_hidden(folder, exercises=[exercise])
    assert found
    assert not any("\n" in one for one in found)
    assert any(sentence in one for one in found)


def test_folders_that_cannot_be_used(
    folder: Path, exercise: Exercise, tmp_path: Path
) -> None:
    def refused(where: Path) -> str:
        with pytest.raises(ValueError, match=r"\w") as error:
            load_hidden(where, [exercise])
        return str(error.value)

    assert "must be a folder of hidden checks" in refused(tmp_path / "none")
    course = Path(mlopt_edu.__file__).parent
    assert "must lie outside the course" in refused(course / "checks")
    (folder / "again.py").write_text(DOUBLE)
    assert "two hidden tasks are called 'double'" in refused(folder)
    (folder / "again.py").unlink()
    (folder / "seed.txt").write_text("short")
    assert "at least 12 characters, got 5" in refused(folder)
    (folder / "seed.txt").unlink()
    assert "must hold the secret phrase" in refused(folder)
