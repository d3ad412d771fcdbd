"""`mlopt lab` as a real server, and JupyterLab in a page of a real browser."""

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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import mlopt_edu

TOKEN = "token-of-the-tests"


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

    def put(self, path, body):
        request = urllib.request.Request(
            self.url + path,
            data=json.dumps(body).encode(),
            method="PUT",
            headers={"Authorization": f"token {TOKEN}"},
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


@contextlib.contextmanager
def mlopt_lab(course: Path, home: Path) -> Iterator[Server]:
    """Run `mlopt lab` in a subfolder of a course, with an empty home."""
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
    # Every cell in the page at once: a test may then look at any of them.
    tracker = home / "settings/@jupyterlab/notebook-extension/tracker"
    tracker.parent.mkdir(parents=True)
    file = tracker.with_suffix(".jupyterlab-settings")
    file.write_text(json.dumps({"windowingMode": "none"}), encoding="utf-8")
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


@contextlib.contextmanager
def jupyterlab_page(browser, server: Server) -> Iterator[Lab]:
    """Open JupyterLab; fail if anything asks for another machine."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)
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
