"""What many tests share."""

import functools
import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from mlopt_edu.checks import _key
from mlopt_edu.checks._answer import answer_case, call
from mlopt_edu.checks._judge import judge

# The tests run side by side: two threads each would wait for one another. What the
# tests start reads the variable; this process has its torch already.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)

# A law is no timing: on a busy machine any example may take long.
settings.register_profile("laws", deadline=None, max_examples=50)
settings.load_profile("laws")

# Triton reads this when it is imported, and torch.utils.flop_counter imports it. Set to
# 0 on a machine with a GPU, tests/kernels runs there.
os.environ.setdefault("TRITON_INTERPRET", "1")


# Files that take minutes, of which some wait for a browser: first, so that the last one
# to run is a short one, and the other worker does not wait for it.
SLOW = ("e2e/", "test_accessibility", "test_isolation", "test_class.py", "test_proof")


def pytest_collection_modifyitems(items):
    def place(item):
        return next(
            (i for i, name in enumerate(SLOW) if name in item.nodeid), len(SLOW)
        )

    items.sort(key=place)


@pytest.fixture(scope="session")
def repository():
    return Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _progress_of_tests(tmp_path, monkeypatch):
    """Keep the points that tests earn out of the developer's own progress."""
    monkeypatch.setenv("MLOPT_PROGRESS", str(tmp_path / "progress"))


@pytest.fixture
def judged(monkeypatch):
    """Judge an answer on the cases of a seed: `judged(task, answer, seed)`.

    Only for programs that end: a thread to stop each would take half of the time.
    """

    def answer_at_once(answer, inputs, *, seconds):
        return answer_case(
            answer, inputs, seconds=seconds, caller=lambda f, args, _: call(f, args)
        )

    monkeypatch.setattr(_key, "answer_case", answer_at_once)

    def run(task, answer, seed):
        key = answer_key(task, seed)
        answers = [
            answer_at_once(answer, case.inputs, seconds=task.seconds)
            for case in key.cases
        ]
        return judge(key, answers)

    return run


@functools.lru_cache(maxsize=8)
def answer_key(task, seed):
    """Return the key that many answers in a row are judged by."""
    return _key.AnswerKey(task, task.cases(seed))


def give_up(missing):
    """Skip for want of a browser; fail where MLOPT_REQUIRE_BROWSER is set, as in CI."""
    if os.environ.get("MLOPT_REQUIRE_BROWSER"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium: the system's, or the one that MLOPT_CHROMIUM names."""
    chromium = os.environ.get("MLOPT_CHROMIUM", "/usr/bin/chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        give_up('playwright is missing: pip install "mlopt-edu[dev]"')
    if not Path(chromium).exists():
        give_up(f"no {chromium}: install Chromium, or name it in MLOPT_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe():
    """The axe-core accessibility checker, to run on a page."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ModuleNotFoundError:
        give_up('axe-playwright-python is missing: pip install "mlopt-edu[dev]"')
    return Axe()
