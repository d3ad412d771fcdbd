"""The commands and the launcher section of the course in JupyterLab."""

import json
import time

import pytest

from mlopt_edu.checks import tasks
from tests.serving import jupyterlab_page, mlopt_lab

LESSONS = ("00_start_here", "01_gradient_descent", "02_stochastic_gradients")


def notebook(title):
    cell = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": title}
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return json.dumps(
        {"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    )


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    root = tmp_path_factory.mktemp("a course")
    (root / "lessons").mkdir()
    (root / "exercises").mkdir()
    for stem in LESSONS:
        path = root / "lessons" / f"{stem}.ipynb"
        path.write_text(notebook(stem), encoding="utf-8")
    path = root / "exercises/01_gradient_descent.ipynb"
    path.write_text(notebook("exercise"), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def server(course, tmp_path_factory):
    with mlopt_lab(course, tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.fixture
def jupyterlab(browser, server):
    with jupyterlab_page(browser, server) as page:
        yield page


@pytest.mark.e2e
def test_the_launcher_has_a_section(jupyterlab):
    section = jupyterlab.page.locator(".jp-Launcher-section").filter(
        has=jupyterlab.page.locator("h2", has_text="Course")
    )
    cards = section.locator(".jp-LauncherCard").all_inner_texts()
    expected = ["Start here", "Next lesson", "Check all", "Progress"]
    assert expected == [card.strip() for card in cards]
    assert section.locator(".jp-LauncherCard svg").count() == len(cards)
    section.locator(".jp-LauncherCard", has_text="Start here").click()
    jupyterlab.wait_for_notebook("lessons/00_start_here.ipynb")


@pytest.mark.e2e
def test_the_commands_are_in_the_palette(jupyterlab):
    jupyterlab.page.keyboard.press("Control+Shift+KeyC")
    jupyterlab.page.keyboard.type("course:")
    items = jupyterlab.page.locator(".lm-CommandPalette-itemLabel")
    items.filter(has_text="Course: next lesson").wait_for()
    seen = {text for text in items.all_inner_texts() if text.startswith("Course:")}
    words = ("check all", "next lesson", "progress", "start here")
    assert {f"Course: {word}" for word in words} == seen


@pytest.mark.e2e
def test_next_lesson(jupyterlab):
    jupyterlab.execute("mlopt:next-lesson")  # nothing is open: the first one
    for stem in LESSONS:
        jupyterlab.wait_for_notebook(f"lessons/{stem}.ipynb")
        jupyterlab.execute("mlopt:next-lesson")
    assert "last lesson" in jupyterlab.dialog("last lesson")
    exercise = "exercises/01_gradient_descent.ipynb"
    jupyterlab.execute("docmanager:open", path=exercise)
    jupyterlab.wait_for_notebook(exercise)
    jupyterlab.execute("mlopt:next-lesson")
    jupyterlab.wait_for_notebook("lessons/02_stochastic_gradients.ipynb")


@pytest.mark.e2e
def test_check_all(jupyterlab):
    jupyterlab.execute("mlopt:check-all")
    jupyterlab.dialog("Open an exercise and run its cells first")

    path = "exercises/01_gradient_descent.ipynb"
    jupyterlab.execute("docmanager:open", path=path)
    jupyterlab.wait_for_notebook(path)
    assert jupyterlab.run_python("import os; os.environ['OMP_NUM_THREADS']") == "'1'"
    jupyterlab.execute("mlopt:check-all")
    jupyterlab.dialog("found no answer in this notebook")

    # Two answers in two cells: both are checked, not only the last one.
    jupyterlab.run_python("def gradient(X, y, w): return X.T @ (X @ w - y) / len(y)")
    jupyterlab.run_python("def mean_squared_error(prediction, target): return 3.0")
    jupyterlab.execute("mlopt:check-all")
    shown = jupyterlab.dialog("mean_squared_error")
    points = {name: task.points for name, task in tasks().items()}
    assert f"{points['gradient']} of {points['gradient']} points" in shown
    assert f"0 of {points['mean_squared_error']} points" in shown

    jupyterlab.execute("mlopt:progress")
    shown = jupyterlab.dialog("01_gradient_descent")
    assert f"{points['gradient']} of" in shown


@pytest.mark.e2e
def test_check_all_while_a_cell_runs_or_the_kernel_dies(jupyterlab):
    path = "exercises/01_gradient_descent.ipynb"
    jupyterlab.execute("docmanager:open", path=path)
    jupyterlab.wait_for_notebook(path)
    widget = "window.jupyterapp.shell.currentWidget"
    jupyterlab.page.evaluate(
        f"{widget}.content.model.sharedModel.insertCell(0, "
        "{cell_type: 'code', source: 'import time; time.sleep(600)'})"
    )
    jupyterlab.page.evaluate(f"{widget}.content.activeCellIndex = 0")
    jupyterlab.execute("notebook:run-cell")
    jupyterlab.page.wait_for_function(
        f"{widget}.content.model.cells.get(0).executionState === 'running'"
    )
    jupyterlab.execute("mlopt:check-all")
    jupyterlab.dialog("A cell is still running")
    jupyterlab.execute("mlopt:progress")  # does not wait for the cell
    jupyterlab.dialog("01_gradient_descent")
    jupyterlab.page.evaluate(f"{widget}.sessionContext.session.kernel.restart()")
    jupyterlab.wait_for_notebook(path)
    jupyterlab.run_python("def gradient(X, y, w): import os; os._exit(1)")
    jupyterlab.execute("mlopt:check-all")
    jupyterlab.dialog("The kernel stopped before it answered")


@pytest.mark.e2e
def test_progress_without_a_notebook_ends_its_kernel(jupyterlab):
    def kernels():
        return len(json.loads(jupyterlab.server.get("/api/kernels")))

    before = kernels()
    jupyterlab.execute("mlopt:progress")
    shown = jupyterlab.dialog("01_gradient_descent")
    for stem in {task.exercise for task in tasks().values()}:
        assert stem in shown
    end = time.monotonic() + 20
    while kernels() > before and time.monotonic() < end:
        time.sleep(0.2)
    assert before == kernels()
