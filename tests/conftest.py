"""What many tests share."""

import os
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


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium of the system's; without one the test skips.

    MLOPT_CHROMIUM names another. MLOPT_REQUIRE_BROWSER makes a skip a failure.
    """
    chromium = os.environ.get("MLOPT_CHROMIUM", "/usr/bin/chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        missing = "playwright is missing: pip install 'mlopt-edu[dev]'"
    else:
        there = Path(chromium).exists()
        missing = "" if there else f"no {chromium}: install it or set MLOPT_CHROMIUM"
    if missing and os.environ.get("MLOPT_REQUIRE_BROWSER"):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()
