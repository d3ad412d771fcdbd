"""Whatever kills an import, and whoever imports beside it: the same gradebook."""

import multiprocessing
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event, select

from mlopt_edu.grading.gradebook import Gradebook, Recorded, attempts, record_class
from mlopt_edu.grading.gradebook import record as record_module
from mlopt_edu.grading.gradebook.schema import Attempt, Audit, Score, Seen

from .conftest import Write, make_record, make_report

STUDENTS = [f"student{number:02}" for number in range(30)]

# Each import in a process of its own, which need not load everything again. No
# connection is open when it starts, and no thread of ours runs.
processes = multiprocessing.get_context("fork")
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def state(book: Gradebook) -> list[Any]:
    """All that the gradebook holds, but for ids and times."""
    tables = [
        select(Score.task, Score.version, Score.points, Score.message),
        select(Seen.digest),
        select(Audit.what, Audit.old, Audit.new, Audit.why),
    ]
    with book.reading() as connection:
        rows = [
            sorted(
                tuple(row)
                for row in connection.execute(
                    query.add_columns(Attempt.label).join_from(
                        query.get_final_froms()[0], Attempt
                    )
                )
            )
            for query in tables
        ]
    return [attempts(book), *rows]


def import_class(url: str, out: Path, kill_at: int) -> None:
    """Import in small batches; die at the given statement, if there is one."""
    record_module.BATCH = 4
    with Gradebook(url) as book:
        left = kill_at

        @event.listens_for(book._engine, "before_cursor_execute")
        def count(*_: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        record_class(book, out, why="mended", by="lee")


def run(url: str, out: Path, kill_at: int = 0) -> int | None:
    process = processes.Process(target=import_class, args=(url, out, kill_at))
    process.start()
    process.join(60)
    return process.exitcode


@pytest.fixture
def class_results(results: Write) -> tuple[Path, Path]:
    """A class of thirty, and the same class after a check was mended."""
    first = results(*map(make_record, STUDENTS), name="first")
    mended = [make_report("gradient", 2), make_report("descend", 3, 3)]
    again = [make_record(name, reports=mended, seed=12) for name in STUDENTS[:15]]
    return first, results(*again, name="second")


@pytest.fixture
def expected(class_results: tuple[Path, Path], tmp_path: Path) -> list[Any]:
    with Gradebook(tmp_path / "undisturbed.sqlite") as book:
        for out in class_results:
            record_class(book, out, why="mended", by="lee")
        return state(book)


def test_a_killed_import_is_repeated(
    url: str, class_results: tuple[Path, Path], expected: list[Any]
) -> None:
    rng = np.random.default_rng(5)
    for out in class_results:
        for kill_at in sorted(rng.integers(1, 60, size=4)):
            ended = run(url, out, int(kill_at))
            assert ended in (-signal.SIGKILL, 0)
        assert run(url, out) == 0
    with Gradebook(url) as book:
        assert expected == state(book)
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as plain:
            assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        plain.close()


def test_the_import_is_killed_where_it_is_said(
    url: str, class_results: tuple[Path, Path]
) -> None:
    """The first batch of four is in, of the second nothing."""
    with Gradebook(url):
        pass
    first = class_results[0]
    assert run(url, first, 25) == -signal.SIGKILL
    with Gradebook(url) as book:
        known = [one.student for one in attempts(book)]
        assert 0 < len(known) < len(STUDENTS)
        assert len(known) % 4 == 0
        assert all(len(one.scores) == 2 for one in attempts(book))


def test_two_imports_at_once(
    url: str, class_results: tuple[Path, Path], expected: list[Any]
) -> None:
    first, second = class_results
    beside = [
        processes.Process(target=import_class, args=(url, first, 0)) for _ in range(3)
    ]
    for process in beside:
        process.start()
    for process in beside:
        process.join(60)
    assert [process.exitcode for process in beside] == [0, 0, 0]
    assert run(url, second) == 0
    with Gradebook(url) as book:
        assert expected == state(book)
        assert Recorded(same=30) == record_class(book, first)
