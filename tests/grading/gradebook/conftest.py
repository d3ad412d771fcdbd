"""Records of a small class, and a gradebook on each database."""

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import URL

from mlopt_edu.grading.gradebook import Gradebook

STEM = "01_gradient_descent"
NOBODY = 65534  # PostgreSQL refuses to run as root

Record = dict[str, Any]
Write = Callable[..., Path]


def make_report(task: str, points: int, max_points: int = 2, **other: Any) -> Record:
    """A report with the fields that `Report.to_dict` gives."""
    return {
        "task": task,
        "exercise": STEM,
        "points": points,
        "max_points": max_points,
        "status": "passed" if points else "wrong",
        "message": "All 7 cases agree." if points else "It fails on 3 of 7 cases.",
        "mistake": "",
        "section": "01 · Derive",
        "passed_cases": [],
        "failed_cases": [],
        "case": None,
        "picture": None,
        "hints": [],
        "note": "",
        **other,
    }


def make_record(student: str = "ada", **other: Any) -> Record:
    """A record of one submission: two tasks, of which the first is right."""
    reports = [make_report("gradient", 2), make_report("descend", 0, 3)]
    return {
        "format": 2,
        "submission": f"{student}.ipynb",
        "student": student,
        "submitted": "2026-11-13T22:00:00+01:00",
        "sha256": "5e" * 32,
        "answers": "a1" * 32,
        "exercise": STEM,
        "status": "graded",
        "reason": "1 of 2 answers are right",
        "points": 2,
        "max_points": 5,
        "seed": 11,
        "isolation": "bubblewrap",
        "seconds": 0.04,
        "notes": [],
        "reports": reports,
        **other,
    }


@pytest.fixture
def results(tmp_path: Path) -> Write:
    """Return a function that writes records as a folder of results."""

    def write(*records: Record, name: str = "graded") -> Path:
        out = tmp_path / name
        for record in records:
            file = out / "results" / f"{record['submission'][:60]}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(record), encoding="utf-8")
        return out

    return write


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    """A PostgreSQL server of our own, on a UNIX socket in the folder it returns."""
    programs = [Path("/usr/local/bin"), *Path("/usr/lib/postgresql").glob("*/bin")]
    found = [folder for folder in programs if (folder / "pg_ctl").exists()]
    if not found:
        pytest.skip("there is no PostgreSQL server here: apt-get install postgresql")
    # A socket's path may have 107 characters: pytest's own folders are too long.
    folder = Path(tempfile.mkdtemp(prefix="grades-"))
    nobody: dict[str, Any] = {}
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}

    def pg_ctl(*words: str) -> None:
        command = [str(found[-1] / "pg_ctl"), "-D", str(folder / "data"), *words]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, **nobody
        )
        assert done.returncode == 0, done.stdout + done.stderr

    pg_ctl("initdb", "-o", "-U grader -A trust -N -E UTF8 --locale=C")
    options = f"-k {folder} -F -c listen_addresses="
    pg_ctl("start", "-w", "-l", str(folder / "log"), "-o", options)
    try:
        yield folder
    finally:
        pg_ctl("stop", "-m", "immediate")
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty gradebook, SQLite and PostgreSQL in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gradebook.sqlite'}"
    socket = str(request.getfixturevalue("postgres"))
    name = f"grades_{uuid.uuid4().hex}"
    where = f"host={socket} user=grader dbname=postgres"
    with psycopg.connect(where, autocommit=True) as server:
        server.execute(f"CREATE SCHEMA {name}")  # a database of its own takes longer
    query = {"host": socket, "options": f"-csearch_path={name}"}
    made = URL.create("postgresql+psycopg", "grader", database="postgres", query=query)
    return made.render_as_string()


@pytest.fixture
def book(url: str) -> Iterator[Gradebook]:
    with Gradebook(url) as opened:
        yield opened
