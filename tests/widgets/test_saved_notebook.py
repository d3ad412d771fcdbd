"""A saved notebook in JupyterLab, with no kernel that knows its widgets."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request

import ipywidgets.embed
import nbformat
import pytest
from nbformat.sign import NotebookNotary

from mlopt_edu.widgets import LossSurface, Prediction

pytestmark = pytest.mark.e2e

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"


def saved_notebook(*widgets):
    """What JupyterLab writes after the cells were run and widget state is saved."""
    book = nbformat.v4.new_notebook()
    for widget in widgets:
        view = {"model_id": widget.model_id, "version_major": 2, "version_minor": 0}
        output = nbformat.v4.new_output("display_data", {VIEW: view})
        book.cells.append(nbformat.v4.new_code_cell("widget", outputs=[output]))
    state = ipywidgets.embed.dependency_state(widgets, drop_defaults=False)
    book.metadata["widgets"] = {
        STATE: {"version_major": 2, "version_minor": 0, "state": state}
    }
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    return book


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """The address of a JupyterLab that serves tmp_path/work, and a way to ask it."""
    for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):
        monkeypatch.setenv(f"JUPYTER_{name}", str(tmp_path / name))
    for name in ("SETTINGS_DIR", "WORKSPACES_DIR"):
        monkeypatch.setenv(f"JUPYTERLAB_{name}", str(tmp_path / name))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_TOKEN", token := secrets.token_hex(16))
    (tmp_path / "work").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += [f"--ServerApp.root_dir={tmp_path / 'work'}"]
    with open(tmp_path / "log", "wb") as log:
        server = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**os.environ},
        )

    def ask(path, method="GET"):
        request = urllib.request.Request(
            url + path, method=method, headers={"Authorization": f"token {token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    try:
        end = time.monotonic() + 60
        while True:
            try:
                ask("/api/status")
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > end:
                    pytest.fail((tmp_path / "log").read_text()[-2000:])
                time.sleep(0.2)
        yield f"{url}/lab/tree/saved.ipynb?token={token}", ask
    finally:
        with contextlib.suppress(OSError):
            for session in ask("/api/sessions"):
                ask(f"/api/sessions/{session['id']}", "DELETE")
        server.terminate()
        server.wait(20)


def test_prediction_still_unlocks_and_the_picture_still_moves(lab, browser, tmp_path):
    address, ask = lab
    guess = Prediction("What happens?", ["it grows", "it shrinks"])
    surface = LossSurface()
    guess.unlocks(surface)
    book = saved_notebook(guess, surface)
    nbformat.write(book, tmp_path / "work" / "saved.ipynb")
    notary = NotebookNotary()
    notary.sign(book)  # JupyterLab shows widgets only of a notebook it trusts
    notary.store.close()

    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(address)
    sliders = page.locator("input[type=range]")
    sliders.first.wait_for()
    while not (sessions := ask("/api/sessions")):  # opening it starts a fresh kernel
        page.wait_for_timeout(200)
    for session in sessions:
        ask(f"/api/sessions/{session['id']}", "DELETE")
    assert ask("/api/kernels") == []
    assert page.locator("input[type=range]:disabled").count() == 6

    page.get_by_role("radio").first.check()
    page.get_by_role("button", name="Commit my guess").click()
    page.wait_for_selector("input[type=range]:enabled")
    before = page.locator(".mlopt-status").inner_text()
    sliders.first.press("End")
    assert page.locator(".mlopt-status").inner_text() != before
    assert "Diverges" in page.locator(".mlopt-status").inner_text()
    context.close()
