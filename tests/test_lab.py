import json
import os
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import mlopt_edu
from mlopt_edu import lab
from mlopt_edu.course import start_course
from tests.serving import TOKEN, mlopt_lab


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


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    course = start_course(tmp_path_factory.mktemp("of a learner") / "a course")
    with mlopt_lab(course, tmp_path_factory.mktemp("home")) as server:
        yield server


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


def test_the_course_is_the_root_and_its_first_lesson_is_opened(server):
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
