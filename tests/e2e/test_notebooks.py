"""Lesson 01 and exercise 01 in a real browser, as a learner uses them."""

import json
import textwrap

import pytest

LESSON = "lessons/01_gradient_descent.ipynb"
EXERCISE = "exercises/01_gradient_descent.ipynb"
pytestmark = pytest.mark.e2e


def serious(axe, page, selector):
    """Return what axe-core finds serious or critical within `selector`."""
    result = axe.run(page, context=selector)
    return [
        f"{found['id']}: {found['nodes'][0]['html'][:200]}"
        for found in result.response["violations"]
        if found["impact"] in ("serious", "critical")
    ]


def cell(jupyterlab, cell_id):
    """Return the cell of this id on the page; JupyterLab's model knows its place."""
    place = jupyterlab.page.evaluate(
        """id => window.jupyterapp.shell.currentWidget.content.widgets
             .findIndex(cell => cell.model.id === id)""",
        cell_id,
    )
    assert place >= 0, f"no cell {cell_id}"
    return jupyterlab.page.locator(
        ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell"
    ).nth(place)


def errors(jupyterlab):
    return jupyterlab.page.evaluate(
        """() => window.jupyterapp.shell.currentWidget.content.widgets
             .filter(cell => cell.model.type === 'code')
             .flatMap(cell => cell.model.outputs.toJSON()
               .filter(output => output.output_type === 'error')
               .map(output => cell.model.id + ': ' + output.evalue))"""
    )


def open_and_run(jupyterlab, path):
    jupyterlab.execute("docmanager:open", path=path)
    jupyterlab.wait_for_notebook(path)
    jupyterlab.page.evaluate(
        "window.jupyterapp.commands.execute('notebook:run-all-cells')"
    )
    jupyterlab.wait_for_notebook(path)


def use_theme(jupyterlab, theme):
    jupyterlab.page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
        theme,
    )
    light = "false" if "Dark" in theme else "true"
    body = jupyterlab.page.locator(f"body[data-jp-theme-light={light}]")
    body.wait_for(state="attached")


def whole_notebook(jupyterlab, file):
    """Save the notebook as one tall picture."""
    page, size = jupyterlab.page, jupyterlab.page.viewport_size
    height = page.evaluate(
        """() => document.querySelector(
             '.jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer'
           ).scrollHeight"""
    )
    page.set_viewport_size({"width": size["width"], "height": min(height + 160, 15000)})
    page.evaluate(
        """() => document.querySelector(
             '.jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer'
           ).scrollTo(0, 0)"""
    )
    page.wait_for_timeout(500)
    page.screenshot(path=file)
    page.set_viewport_size(size)


def write_and_run(jupyterlab, cell_id, source):
    """Replace the source of a cell, then run it and the check below it."""
    jupyterlab.page.evaluate(
        """async ([id, source]) => {
             const { content } = window.jupyterapp.shell.currentWidget;
             const place = content.widgets.findIndex(cell => cell.model.id === id);
             content.widgets[place].model.sharedModel.setSource(source);
             for (const next of [place, place + 1]) {
               content.activeCellIndex = next;
               await window.jupyterapp.commands.execute('notebook:run-cell');
             }
           }""",
        [cell_id, source],
    )
    jupyterlab.wait_for_notebook(EXERCISE)


def path_of(surface):
    return surface.locator(".mlopt-path").first.get_attribute("d")


def test_lesson_01(jupyterlab, axe, screenshots):
    open_and_run(jupyterlab, LESSON)
    assert errors(jupyterlab) == []
    page = jupyterlab.page

    prediction, surface = (
        cell(jupyterlab, "predict-control"),
        cell(jupyterlab, "explore-surface"),
    )
    slider = surface.get_by_label("Step size lr")
    assert slider.is_disabled(), "the controls must wait for the prediction"
    prediction.locator("label", has_text="It never gets there").click()
    prediction.get_by_role("button", name="Commit my guess").click()
    page.wait_for_function(
        "slider => !slider.disabled", arg=slider.element_handle(), timeout=10_000
    )

    slider.focus()
    before = path_of(surface)
    slider.press("ArrowRight")
    by_key = path_of(surface)
    assert by_key != before, "an arrow key must redraw the path"
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + box["height"] / 2)
    assert path_of(surface) != by_key, "the mouse must redraw the path"
    slider.press("End")
    assert "diverge" in surface.inner_text().lower()
    surface.get_by_role("button", name="Reset").click()
    assert path_of(surface) == before

    for theme, name in (("JupyterLab Dark", "dark"), ("JupyterLab Light", "light")):
        use_theme(jupyterlab, theme)
        surface.scroll_into_view_if_needed()
        surface.screenshot(path=screenshots / f"lesson_01_explore_{name}.png")
        assert serious(axe, page, ".jp-OutputArea-output") == []
        whole_notebook(jupyterlab, screenshots / f"lesson_01_{name}.png")


def test_lesson_01_is_alive_without_a_kernel(jupyterlab):
    open_and_run(jupyterlab, LESSON)
    page = jupyterlab.page
    # The widget manager writes its state into the notebook a moment after the run.
    page.wait_for_function(
        """() => window.jupyterapp.shell.currentWidget.model
             .getMetadata('widgets') !== undefined
           || window.jupyterapp.commands.execute('docmanager:save') && false""",
        polling=1000,
    )
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    saved = json.loads(jupyterlab.server.get(f"/api/contents/{LESSON}"))["content"]
    assert saved["metadata"]["widgets"], "the widgets' state must be in the file"

    page.evaluate("window.jupyterapp.shell.currentWidget.close()")
    page.evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")
    # Opening it starts a fresh kernel, which runs nothing and is ended at once.
    jupyterlab.execute("docmanager:open", path=LESSON)
    jupyterlab.wait_for_notebook(LESSON)
    cell(jupyterlab, "predict-control").locator("label").first.wait_for()
    page.evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")
    assert json.loads(jupyterlab.server.get("/api/kernels")) == []
    prediction, surface = (
        cell(jupyterlab, "predict-control"),
        cell(jupyterlab, "explore-surface"),
    )
    prediction.locator("label", has_text="It never gets there").click()
    prediction.get_by_role("button", name="Commit my guess").click()
    slider = surface.get_by_label("Step size lr")
    slider.focus()
    before = path_of(surface)
    slider.press("ArrowRight")
    assert path_of(surface) != before


def test_exercise_01(jupyterlab, axe, screenshots):
    open_and_run(jupyterlab, EXERCISE)
    assert errors(jupyterlab) == []
    page = jupyterlab.page
    check = cell(jupyterlab, "check-gradient")
    assert "not written yet" in check.inner_text()

    gradient = """
        def gradient(X, y, w):
            return X.T @ (X @ w - y) / len(y)
    """
    write_and_run(jupyterlab, "gradient", textwrap.dedent(gradient).strip())
    assert "2 of 2 points" in check.inner_text()
    wrong = """
        def descend(X, y, w0, lr, steps):
            path = [w0]
            for _ in range(steps):
                path.append(path[-1] + lr * gradient(X, y, path[-1]))
            return np.array(path)
    """
    write_and_run(jupyterlab, "descend", textwrap.dedent(wrong).strip())
    check = cell(jupyterlab, "check-descend")
    shown = check.inner_text()
    assert "Not yet" in shown
    assert "You climb: the gradient points uphill" in shown
    assert "2 of 15 points in 01_gradient_descent so far" in shown
    assert check.locator("svg[role=img]").count() == 1, "a trajectory is drawn"

    hint = check.get_by_text("Do the first two steps on paper")
    assert not hint.is_visible()
    check.get_by_text("Hint: a nudge").click()
    assert hint.is_visible()
    for theme, name in (("JupyterLab Dark", "dark"), ("JupyterLab Light", "light")):
        use_theme(jupyterlab, theme)
        check.screenshot(path=screenshots / f"exercise_01_mistake_{name}.png")
        assert serious(axe, page, ".jp-OutputArea-output") == []

    right = wrong.replace("path[-1] + lr", "path[-1] - lr")
    write_and_run(jupyterlab, "descend", textwrap.dedent(right).strip())
    shown = cell(jupyterlab, "check-descend").inner_text()
    assert "Right" in shown
    assert "3 of 3 points" in shown
    assert "5 of 15 points in 01_gradient_descent so far" in shown
    whole_notebook(jupyterlab, screenshots / "exercise_01.png")


def test_a_program_that_never_ends_leaves_the_kernel_alive(jupyterlab):
    jupyterlab.execute("docmanager:open", path=EXERCISE)
    jupyterlab.wait_for_notebook(EXERCISE)
    write_and_run(jupyterlab, "setup", "from mlopt_edu.checks import check")
    write_and_run(
        jupyterlab, "largest_lr", "def largest_lr(X):\n    while True:\n        pass"
    )
    shown = cell(jupyterlab, "check-largest-lr").inner_text()
    assert "still running after 3 seconds and was stopped" in shown
    assert jupyterlab.run_python("6 * 7") == "42"


def test_lesson_00_shows_progress(jupyterlab, axe, screenshots):
    path = "lessons/00_start_here.ipynb"
    open_and_run(jupyterlab, path)
    assert errors(jupyterlab) == []
    shown = cell(jupyterlab, "progress-table").inner_text()
    assert "01_gradient_descent" in shown
    assert serious(axe, jupyterlab.page, ".jp-OutputArea-output") == []
    whole_notebook(jupyterlab, screenshots / "lesson_00.png")
