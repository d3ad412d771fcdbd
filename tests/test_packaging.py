"""What people install: wheel, sdist, editable install, and the pinned versions."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mlopt_edu
from mlopt_edu import cli

MEGABYTE = 1e6
NAME = f"mlopt_edu-{mlopt_edu.__version__}"
DATA, INFO = f"{NAME}.data/data", f"{NAME}.dist-info"
EXTRAS = ["widgets", "cluster", "grading", "export", "kernels", "docs", "dev", "all"]
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64"}
LITTER = {
    "lessons/.ipynb_checkpoints/01_gradient_descent-checkpoint.ipynb",
    "exercises/.ipynb_checkpoints/01_gradient_descent-checkpoint.ipynb",
    "exercises/.mlopt/progress/gradient.json",
    "mlopt_edu/__pycache__/cli.cpython-311.pyc",
    "build/lib/mlopt_edu/deleted_lesson.py",
}


def python(*words, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass
class Built:
    """The distributions, and the files that they were built from."""

    sources: dict[str, bytes]  # by path in the checkout
    source: Path  # a copy of the checkout, worked in
    wheel: Path  # built from `source`, as `pip install .` does
    sdist: Path
    wheel_of_sdist: Path


@pytest.fixture(scope="session")
def built(repository, tmp_path_factory):
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(git, cwd=repository, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(f"needs a clone, to know its files: {listed.stderr.strip()}")
    names = {n for n in listed.stdout.split("\0") if n and (repository / n).is_file()}
    folder = tmp_path_factory.mktemp("packaging")
    source, direct, via_sdist = folder / "source", folder / "wheel", folder / "sdist"
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(repository / name, source / name)
    for name in LITTER:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"{}")
    build = ["-m", "build", "--no-isolation", "--outdir"]
    python(*build, direct, "--wheel", cwd=source)
    python(*build, via_sdist, cwd=source)
    return Built(
        sources={name: (source / name).read_bytes() for name in names},
        source=source,
        wheel=direct / f"{NAME}-py3-none-any.whl",
        sdist=via_sdist / f"{NAME}.tar.gz",
        wheel_of_sdist=via_sdist / f"{NAME}-py3-none-any.whl",
    )


def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def wheel(built):
    return members(built.wheel)


@pytest.fixture(scope="session")
def metadata(wheel):
    return Metadata.from_email(wheel[f"{INFO}/METADATA"], validate=True)


def test_the_wheel_holds_packages_course_and_extension_and_nothing_else(built, wheel):
    expected = {}
    places = [
        ("mlopt_edu/", "mlopt_edu/"),
        ("kernels/mlopt_kernels/", "mlopt_kernels/"),
        ("lessons/", "mlopt_edu/_course/lessons/"),
        ("exercises/", "mlopt_edu/_course/exercises/"),
        (
            "mlopt_edu/labextension/mlopt-edu/",
            f"{DATA}/share/jupyter/labextensions/mlopt-edu/",
        ),
        ("mlopt_edu/labextension/labconfig/", f"{DATA}/etc/jupyter/labconfig/"),
        ("LICENSE", f"{INFO}/licenses/LICENSE"),
        ("mlopt_edu/data/NOTICE", f"{INFO}/licenses/mlopt_edu/data/NOTICE"),
    ]
    for prefix, place in places:
        for name, content in built.sources.items():
            if name.startswith(prefix):
                expected[place + name.removeprefix(prefix)] = content
    written_by_the_build = {
        f"{INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")
    }
    assert expected.keys() | written_by_the_build == wheel.keys()
    assert expected == {name: wheel[name] for name in expected}


@pytest.mark.parametrize(
    "name",
    [
        "mlopt_edu/optim/gradient_descent.py",
        "mlopt_edu/py.typed",
        "mlopt_edu/data/fashion_mnist.npz",
        "mlopt_edu/data/shakespeare.txt.gz",
        "mlopt_edu/data/NOTICE",
        "mlopt_edu/widgets/loss_surface.js",
        "mlopt_edu/widgets/style.css",
        "mlopt_edu/_course/lessons/00_start_here.ipynb",
        "mlopt_edu/_course/lessons/01_gradient_descent.ipynb",
        "mlopt_edu/_course/exercises/01_gradient_descent.ipynb",
        "mlopt_kernels/vector_add.py",
        "mlopt_kernels/py.typed",
        f"{DATA}/share/jupyter/labextensions/mlopt-edu/package.json",
        f"{DATA}/share/jupyter/labextensions/mlopt-edu/static/remoteEntry.js",
        f"{DATA}/etc/jupyter/labconfig/default_setting_overrides.d/mlopt-edu.json",
        f"{INFO}/licenses/LICENSE",
        f"{INFO}/licenses/LICENSE-TEXT",
        f"{INFO}/licenses/mlopt_edu/data/NOTICE",
    ],
)
def test_the_wheel_holds(wheel, name):
    assert name in wheel


def test_no_answer_is_in_the_wheel(built, wheel):
    def code(notebook):
        cells = json.loads(notebook)["cells"]
        return "\n".join(
            "".join(c["source"]) for c in cells if c["cell_type"] == "code"
        )

    mark = re.compile(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", re.DOTALL)
    solutions = [c for n, c in built.sources.items() if n.startswith("solutions/")]
    answers = [a.strip() for s in solutions for a in mark.findall(code(s))]
    assert len(answers) >= 8
    for name, content in wheel.items():
        assert not {"solutions", "tests"} & set(name.split("/"))
        if name.endswith(".ipynb"):
            assert "### BEGIN SOLUTION" not in content.decode()
            assert [a for a in answers if a in code(content)] == []


def test_the_wheel_is_small(built):
    assert built.wheel.stat().st_size < 6 * MEGABYTE


def test_the_sdist_holds_the_checkout(built):
    with tarfile.open(built.sdist) as archive:
        names = {n.removeprefix(f"{NAME}/") for n in archive.getnames()}
    expected = {n for n in built.sources if not n.startswith(".ci/")} | {"PKG-INFO"}
    assert expected == names


def test_the_sdist_builds_the_same_wheel(built, wheel):
    assert members(built.wheel_of_sdist) == wheel


def test_an_editable_install_points_to_the_checkout_and_copies_no_lesson(
    built, tmp_path
):
    code = f"import hatchling.build as b; b.build_editable({str(tmp_path)!r})"
    python("-c", code, cwd=built.source)
    (path,) = tmp_path.glob("*.whl")
    contents = members(path)
    (paths,) = [contents[name] for name in contents if name.endswith(".pth")]
    folders = [Path(line) for line in paths.decode().splitlines()]
    assert folders == [built.source, built.source / "kernels"]
    assert [name for name in contents if name.startswith("mlopt_")] == [
        name for name in contents if name.startswith((DATA, INFO))
    ]


def test_the_course_comes_out_of_an_installed_wheel(built, tmp_path):
    site = tmp_path / "site"
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    python(*pip, site, built.wheel, cwd=tmp_path)
    start = ["-m", "mlopt_edu.cli", "start", "my course"]
    python(*start, cwd=tmp_path, PYTHONPATH=str(site))
    course = tmp_path / "my course"
    seen = {
        path.relative_to(course).as_posix(): path.read_bytes()
        for path in course.rglob("*")
        if path.is_file()
    }
    folders = ("lessons/", "exercises/")
    expected = {n: c for n, c in built.sources.items() if n.startswith(folders)}
    assert expected == seen


def test_name_version_licence_and_python(metadata):
    assert (metadata.name, str(metadata.version)) == (
        "mlopt-edu",
        mlopt_edu.__version__,
    )
    assert metadata.license_expression == "Apache-2.0 AND CC-BY-4.0 AND MIT"
    assert [v for v in ("3.10", "3.11", "3.14") if v in metadata.requires_python] == [
        "3.11",
        "3.14",
    ]


def test_the_command_is_mlopt(wheel):
    entries = configparser.ConfigParser()
    entries.read_string(wheel[f"{INFO}/entry_points.txt"].decode())
    (name, value), *others = entries["console_scripts"].items()
    assert (name, others) == ("mlopt", [])
    assert EntryPoint(name, value, "console_scripts").load() is cli.main


def needs(metadata, extra, machine=LINUX):
    requirements = [r for r in metadata.requires_dist if r.marker is not None]
    return {
        r.name for r in requirements if r.marker.evaluate(machine | {"extra": extra})
    }


def test_the_extra_all_is_every_extra_but_docs(metadata):
    assert sorted(EXTRAS) == sorted(metadata.provides_extra)
    parts = [needs(metadata, name) for name in EXTRAS if name not in ("docs", "all")]
    assert all(parts)
    assert set().union(*parts) == needs(metadata, "all")


def test_triton_is_asked_for_where_it_exists(metadata):
    windows = {"sys_platform": "win32", "platform_machine": "AMD64"}
    assert needs(metadata, "kernels") == {"triton"}
    assert needs(metadata, "kernels", windows) == set()


def test_everything_resolves(built, tmp_path):
    # Without an index pip can only take what `make test` installed.
    pip = ["-m", "pip", "install", "--dry-run", "--no-index"]
    output = python(*pip, f"{built.wheel}[all]", cwd=tmp_path)
    assert "does not provide the extra" not in output


def pins(text: str) -> dict[str, Version]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = {}
    for requirement in map(Requirement, lines):
        (exact,) = requirement.specifier
        assert (exact.operator, requirement.marker) == ("==", None)
        name = canonicalize_name(requirement.name)
        assert name not in found
        found[name] = Version(exact.version)
    return found


def test_constraints_pin_every_direct_dependency_within_its_range(repository):
    pinned = pins((repository / "constraints.txt").read_text(encoding="utf-8"))
    settings = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))
    project = settings["project"]
    groups = [
        settings["build-system"]["requires"],
        project["dependencies"],
        *project["optional-dependencies"].values(),
    ]
    requirements = [Requirement(line) for group in groups for line in group]
    ours = [r for r in requirements if r.name != project["name"]]
    assert [r.name for r in ours if canonicalize_name(r.name) not in pinned] == []
    outside = [
        str(r) for r in ours if pinned[canonicalize_name(r.name)] not in r.specifier
    ]
    assert outside == []


def test_constraints_fit_every_machine_and_read_in_order(repository):
    text = (repository / "constraints.txt").read_text(encoding="utf-8")
    comment, *lines = text.splitlines()
    assert comment.startswith("# ")
    assert sorted(lines, key=str.lower) == lines
    # 2.13.0+cpu would refuse the CUDA build.
    assert [name for name, version in pins(text).items() if version.local] == []
    assert "mlopt" not in text
