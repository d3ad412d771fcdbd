"""A learner's copy of the course, opened in JupyterLab, for the tests of notebooks."""

import os
from pathlib import Path

import pytest

from mlopt_edu.course import start_course
from tests.serving import jupyterlab_page, mlopt_lab


@pytest.fixture(scope="session")
def learners_server(tmp_path_factory):
    course = start_course(tmp_path_factory.mktemp("of a learner") / "course")
    with mlopt_lab(course, tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.fixture
def jupyterlab(browser, learners_server):
    with jupyterlab_page(browser, learners_server) as page:
        yield page


@pytest.fixture(scope="session")
def screenshots():
    """Folder for pictures that people look at: `artifacts/`, or MLOPT_ARTIFACTS."""
    folder = Path(os.environ.get("MLOPT_ARTIFACTS", "artifacts")) / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
