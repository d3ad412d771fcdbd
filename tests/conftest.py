"""What many tests share."""

from pathlib import Path

import pytest

from mlopt_edu.checks._answer import answer_cases
from mlopt_edu.checks._judge import judge


@pytest.fixture(scope="session")
def repository():
    return Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _progress_of_tests(tmp_path, monkeypatch):
    """Keep the points that tests earn out of the developer's own progress."""
    monkeypatch.setenv("MLOPT_PROGRESS", str(tmp_path / "progress"))


@pytest.fixture
def judged():
    """Judge an answer on the cases of a seed: `judged(task, answer, seed)`."""

    def run(task, answer, seed):
        cases = task.cases(seed)
        inputs = [case.inputs for case in cases]
        answers = answer_cases(answer, inputs, seconds=task.seconds)
        return judge(task, cases, answers)

    return run
