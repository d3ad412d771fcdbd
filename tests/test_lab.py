import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import mlopt_edu
from mlopt_edu import lab
from mlopt_edu.checks import tasks

TOKEN = "token-of-the-tests"
CHROMIUM = os.environ.get("MLOPT_CHROMIUM", "/usr/bin/chromium")
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


# --- the command line ---------------------------------------------------------


def test_an_installed_wheel_is_not_wired():
    course = Path("course").absolute()
    expected = [
        f"--ServerApp.root_dir={course}",
        "--LabApp.default_url=/lab/tree/lessons/00_start_here.ipynb",
    ]
    seen = lab.lab_arguments(course, [], wired=False, as_root=False)
    assert expected == seen


def test_a_checkout_is_wired_to_its_own_extension():
    seen = lab.lab_arguments(Path("course"), [], wired=True, as_root=False)
    (path,) = [word for word in seen if "labextensions_path" in word]
    folder = Path(path.partition("=")[2])
    assert (folder / "mlopt-edu/package.json").is_file()


def test_the_users_arguments_come_last():
    seen = lab.lab_arguments(Path("c"), ["--no-browser"], wired=True, as_root=True)
    assert seen[-2:] == ["--allow-root", "--no-browser"]


def test_what_the_user_sets_is_not_set_twice():
    users = ["--ServerApp.root_dir=elsewhere", "--LabApp.default_url=/tree"]
    assert users == lab.lab_arguments(Path("c"), users, wired=False, as_root=False)


@pytest.mark.parametrize(
    ("arguments", "as_root", "times"),
    [([], False, 0), ([], True, 1), (["--allow-root"], True, 1)],
)
def test_allow_root_once_and_for_root_only(arguments, as_root, times):
    seen = lab.lab_arguments(Path("c"), arguments, wired=False, as_root=as_root)
    assert times == seen.count("--allow-root")


@pytest.mark.parametrize(
    ("user", "wired", "expected"),
    [
        ({}, False, {"OMP_NUM_THREADS": "1"}),
        ({"OMP_NUM_THREADS": "4"}, False, {"OMP_NUM_THREADS": "4"}),
        (
            {},
            True,
            {"OMP_NUM_THREADS": "1", "JUPYTER_CONFIG_PATH": str(lab.LABEXTENSION)},
        ),
        (
            {"JUPYTER_CONFIG_PATH": "mine"},
            True,
            {
                "OMP_NUM_THREADS": "1",
                "JUPYTER_CONFIG_PATH": f"mine{os.pathsep}{lab.LABEXTENSION}",
            },
        ),
    ],
)
def test_environment(user, wired, expected):
    assert expected == lab.lab_environment(user, wired=wired)


def test_the_extension_has_the_version_of_the_package():
    package = lab.LABEXTENSION / "mlopt-edu/package.json"
    version = json.loads(package.read_text(encoding="utf-8"))["version"]
    assert version == mlopt_edu.__version__


# --- a real server ------------------------------------------------------------


@dataclass
class Server:
    url: str
    log: Path
    process: subprocess.Popen

    def get(self, path, **headers):
        request = urllib.request.Request(
            self.url + path, headers={"Authorization": f"token {TOKEN}", **headers}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read().decode()

    def wait(self, seconds=90):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                return self.get("/api/status")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        raise RuntimeError(f"no server: {self.log.read_text(errors='replace')}")

    def end(self):
        """End the server and every kernel it started."""
        if os.name == "posix":
            os.killpg(self.process.pid, signal.SIGTERM)
        else:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if os.name == "posix":
                # The group outlives its leader while a kernel is in it.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait(20)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(course, tmp_path_factory):
    """`mlopt lab` in a subfolder of the course, with an empty home."""
    home = tmp_path_factory.mktemp("home")
    repository = str(Path(mlopt_edu.__file__).parents[1])
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "MLO"))}
    kept.pop("OMP_NUM_THREADS", None)
    environment = kept | {
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_TOKEN": TOKEN,
        "PYTHONPATH": repository,
    }
    port = free_port()
    words = ["lab", "--no-browser", f"--port={port}", "--ServerApp.port_retries=0"]
    words.append("--LabApp.expose_app_in_browser=True")
    log = home / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlopt_edu.cli", *words],
            cwd=course / "exercises",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        server = Server(f"http://127.0.0.1:{port}", log, process)
        try:
            server.wait()
            yield server
        finally:
            server.end()


def settings(server, plugin):
    answer = json.loads(server.get(f"/lab/api/settings/{plugin}"))
    properties = answer["schema"]["properties"]
    return {name: entry.get("default") for name, entry in properties.items()}


def page_config(server):
    _, _, rest = server.get("/lab").partition('id="jupyter-config-data"')
    start = rest.index("{")
    return json.JSONDecoder().raw_decode(rest, start)[0]


def test_widget_state_is_saved(server):
    seen = settings(server, "@jupyter-widgets/jupyterlab-manager:plugin")
    assert seen["saveState"] is True


def test_nothing_is_fetched_from_elsewhere(server):
    seen = settings(server, "@jupyterlab/apputils-extension:notification")
    assert (seen["fetchNews"], seen["checkForUpdates"]) == ("false", False)


def test_the_extension_is_served_once(server):
    extensions = page_config(server)["federated_extensions"]
    (ours,) = [each for each in extensions if each["name"] == "mlopt-edu"]
    served = server.get(f"/lab/extensions/mlopt-edu/{ours['load']}")
    expected = lab.LABEXTENSION / "mlopt-edu" / ours["load"]
    assert expected.read_text(encoding="utf-8") == served


def test_the_course_is_the_root_and_its_first_lesson_is_opened(server, course):
    names = {
        entry["path"] for entry in json.loads(server.get("/api/contents"))["content"]
    }
    assert names >= {"lessons", "exercises"}
    with urllib.request.urlopen(f"{server.url}/?token={TOKEN}", timeout=20) as answer:
        assert urlsplit(answer.url).path == "/lab/tree/lessons/00_start_here.ipynb"


def test_the_server_listens_on_loopback_only(server):
    log = server.log.read_text(encoding="utf-8")
    port = urlsplit(server.url).port
    assert f"http://localhost:{port}/lab/tree/lessons/00_start_here.ipynb" in log
    (info,) = server.log.parent.glob("runtime/jpserver-*.json")
    hostname = json.loads(info.read_text(encoding="utf-8"))["hostname"]
    assert hostname in ("localhost", "127.0.0.1")


# --- in the browser -----------------------------------------------------------


@dataclass
class Lab:
    """JupyterLab in a page, spoken to through its own application object."""

    page: object
    server: Server
    elsewhere: list

    def execute(self, command, **arguments):
        # Not awaited: a dialog keeps its command running until it is closed.
        self.page.evaluate(
            "([c, a]) => { void window.jupyterapp.commands.execute(c, a); }",
            [command, arguments],
        )

    def current_path(self):
        return self.page.evaluate(
            "window.jupyterapp.shell.currentWidget?.context?.path ?? ''"
        )

    def wait_for_notebook(self, path):
        self.page.wait_for_function(
            """path => {
              const widget = window.jupyterapp.shell.currentWidget;
              const kernel = widget?.sessionContext?.session?.kernel;
              return widget?.context?.path === path && kernel?.status === "idle";
            }""",
            arg=path,
        )

    def run_python(self, code):
        return self.page.evaluate(
            """async code => {
              const widget = window.jupyterapp.shell.currentWidget;
              const { kernel } = widget.sessionContext.session;
              let text = "";
              const future = kernel.requestExecute({ code });
              future.onIOPub = ({ header, content }) => {
                if (header.msg_type === "execute_result")
                  text = content.data["text/plain"];
              };
              const { content } = await future.done;
              return content.status === "ok" ? text : content.evalue;
            }""",
            code,
        )

    def dialog(self, text):
        """Return the dialog's text once it has `text`, and close it by keyboard."""
        region = self.page.locator(".jp-Dialog [role=region]")
        region.filter(has_text=text).wait_for()
        shown = region.inner_text()
        self.page.keyboard.press("Escape")
        region.wait_for(state="detached")
        return shown


@pytest.fixture(scope="module")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        missing = "playwright is missing: pip install 'mlopt-edu[dev]'"
    else:
        there = Path(CHROMIUM).exists()
        missing = "" if there else f"no {CHROMIUM}: install it or set MLOPT_CHROMIUM"
    if missing and os.environ.get("MLOPT_REQUIRE_BROWSER"):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture
def jupyterlab(browser, server):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    elsewhere = []

    def keep_in(route):
        address = urlsplit(route.request.url)
        if address.scheme.startswith("http") and address.hostname != "127.0.0.1":
            elsewhere.append(route.request.url)
            return route.abort()
        return route.continue_()

    context.route("**/*", keep_in)
    page = context.new_page()
    # Without ?reset the page would bring back what an earlier test left open.
    page.goto(f"{server.url}/lab?reset&token={TOKEN}")
    page.locator(".jp-LauncherCard").first.wait_for()
    yield Lab(page, server, elsewhere)
    context.close()
    assert elsewhere == []


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
    kernel = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
    jupyterlab.page.evaluate(
        f"() => {{ {kernel}.requestExecute({{code: 'import time; time.sleep(600)'}}) }}"
    )
    jupyterlab.page.wait_for_function(f"{kernel}.status === 'busy'")
    jupyterlab.execute("mlopt:check-all")
    jupyterlab.dialog("A cell is still running")
    jupyterlab.execute("mlopt:progress")  # does not wait for the cell
    jupyterlab.dialog("01_gradient_descent")
    jupyterlab.page.evaluate(f"{kernel}.restart()")
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
