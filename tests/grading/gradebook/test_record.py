"""What is taken over, what changes, what stays: the same on both databases."""

import copy
import random
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from mlopt_edu.grading.gradebook import (
    Gradebook,
    GradebookError,
    Recorded,
    attempts,
    history,
    record_class,
    regrade,
)
from mlopt_edu.grading.gradebook.schema import Base, Score

from .conftest import STEM, Write, make_record, make_report


def contents(book: Gradebook) -> dict[str, list[Any]]:
    """Every row of every table."""
    with book.reading() as connection:
        return {
            name: [tuple(row) for row in connection.execute(select(table))]
            for name, table in Base.metadata.tables.items()
        }


def points(book: Gradebook) -> dict[str, dict[str, int]]:
    return {
        one.label: {task: earned.points for task, earned in one.scores.items()}
        for one in attempts(book)
    }


def changes(book: Gradebook) -> list[tuple[str, str, str]]:
    return [(one.what, one.old, one.new) for one in history(book) if one.old]


# A first import.


def test_records_come_back_as_attempts(book: Gradebook, results: Write) -> None:
    report = make_report("gradient", 0, mistake="not_averaged", message="Divide by n.")
    out = results(
        make_record("bob", reports=[report]), make_record("ada"),
    )  # fmt: skip
    assert Recorded(new=2) == record_class(book, out)
    ada, bob = attempts(book)
    assert (ada.student, ada.exercise, ada.label) == ("ada", STEM, "ada.ipynb")
    assert ada.submitted is not None
    assert ada.submitted.isoformat() == "2026-11-13T22:00:00+01:00"
    assert list(ada.scores) == ["gradient", "descend"]
    wrong = bob.scores["gradient"]
    assert (
        wrong.status, wrong.mistake, wrong.message,
    ) == ("wrong", "not_averaged", "Divide by n.")  # fmt: skip


def test_the_same_results_twice_change_nothing(book: Gradebook, results: Write) -> None:
    out = results(make_record("ada"), make_record("bob"))
    record_class(book, out)
    before = contents(book)
    assert Recorded(same=2) == record_class(book, out)
    assert before == contents(book)


def test_other_seconds_are_no_change(book: Gradebook, results: Write) -> None:
    record_class(book, results(make_record(seconds=0.04)))
    assert Recorded(same=1) == record_class(book, results(make_record(seconds=9.5)))


def test_a_second_file_is_a_second_attempt(book: Gradebook, results: Write) -> None:
    record_class(book, results(make_record()))
    later = make_record(sha256="77" * 32, reports=[make_report("gradient", 0)])
    assert Recorded(new=1) == record_class(book, results(later))
    assert [one.scores["gradient"].points for one in attempts(book)] == [2, 0]


def test_what_could_not_be_read_is_kept_with_its_reason(
    book: Gradebook, results: Write
) -> None:
    broken = make_record(
        status="unreadable", reason="the file is empty", exercise="", reports=[]
    )
    record_class(book, results(broken))
    (one,) = attempts(book)
    assert (
        one.exercise, one.status, one.reason,
    ) == ("", "unreadable", "the file is empty")  # fmt: skip


@pytest.mark.parametrize(
    "odd",
    ["Zoë Ångström", "a\0b", "half \ud83d", "'; DROP TABLE scores; --", "x" * 9999],
)
def test_odd_texts_are_stored(odd: str, book: Gradebook, results: Write) -> None:
    record = make_record(student=odd[:99], submission="x", reason=odd, seed=2**80)
    record["reports"][0]["message"] = odd
    out = results(record)
    assert Recorded(new=1) == record_class(book, out)
    assert Recorded(same=1) == record_class(book, out)
    plain = odd.replace("\0", "?").replace("\ud83d", "?")
    (one,) = attempts(book)
    assert (plain[:99], plain) == (one.student, one.scores["gradient"].message)


def test_a_file_that_is_no_record_does_not_stop_the_class(
    book: Gradebook, results: Write
) -> None:
    out = results(make_record("ada"), make_record("bob"), make_record("old", format=1))
    bad = make_record("bad")
    bad["reports"][0]["points"] = 99
    results(bad)
    folder = out / "results"
    (folder / "half.json").write_text('{"format": 2, "stud')
    (folder / "list.json").write_text("[]")
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "bytes.json").write_bytes(b"\xff\xfe")
    (folder / "bare.json").write_text('{"format": 2}')
    done = record_class(book, out)
    assert done.new == 2
    assert list(done.problems) == [
        "results/bad.ipynb.json is no record: points must be whole, 0 to 2, got 99",
        "results/bare.json is no record: it lacks 'student'",
        "results/bytes.json is no record: it is not JSON",
        "results/deep.json is no record: it is not JSON",
        "results/half.json is no record: it is not JSON",
        "results/list.json is no record: it is no JSON object",
        "results/old.ipynb.json must be a record of format 2, got 1; grade the "
        "submissions again",
    ]


def test_names_as_long_as_a_path(book: Gradebook, results: Write) -> None:
    rng = random.Random(7)  # a text that a database cannot make shorter
    long = "".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(4000))
    record = make_record(long[:500], submission=long, answers=long, sha256=long)
    assert record_class(book, results(record)) == Recorded(new=1)
    (one,) = attempts(book)
    assert (one.student, one.label) == (long[:500], long)
    (said,) = record_class(book, results(make_record(long), name="too")).problems
    assert said.endswith("student must have at most 500 characters, got 4000")


def test_nobody_knows_whose_it_is(book: Gradebook, results: Write) -> None:
    record_class(book, results(make_record("", submission="who.ipynb")))
    assert [one.student for one in attempts(book)] == ["who.ipynb"]


def test_a_folder_without_results(book: Gradebook, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a folder of results"):
        record_class(book, tmp_path / "nothing")


# Grading again.


def test_a_change_is_a_new_version_with_an_audit(
    book: Gradebook, results: Write
) -> None:
    record_class(book, results(make_record()), by="lee")
    again = make_record(seed=12)
    again["reports"][1] = make_report("descend", 3, 3)
    done = record_class(book, results(again), by="kim", why="the check was wrong")
    assert Recorded(changed=1) == done
    assert points(book) == {"ada.ipynb": {"gradient": 2, "descend": 3}}
    assert changes(book) == [
        ("seed", "11", "12"),
        ("task descend", "0 of 3, wrong", "3 of 3, passed"),
    ]
    first, *later = history(book, student="ada")
    assert (first.by, first.what, first.new) == ("lee", "submission", "2 of 5 points")
    assert {("kim", "the check was wrong")} == {(one.by, one.why) for one in later}
    with book.reading() as connection:
        query = select(Score.version, Score.points).where(Score.task == "descend")
        assert [tuple(row) for row in connection.execute(query)] == [(1, 0), (2, 3)]


def test_old_results_that_come_again_undo_nothing(
    book: Gradebook, results: Write
) -> None:
    old = results(make_record(), name="first")
    new = make_record()
    new["reports"][1] = make_report("descend", 3, 3)
    record_class(book, old)
    record_class(book, results(new, name="second"))
    assert Recorded(same=1) == record_class(book, old)
    assert points(book) == {"ada.ipynb": {"gradient": 2, "descend": 3}}


def test_a_grader_that_fails_later_takes_no_points(
    book: Gradebook, results: Write
) -> None:
    record_class(book, results(make_record()))
    failed = make_record(status="error", reason="the grader failed", reports=[])
    assert Recorded(changed=1) == record_class(book, results(failed))
    assert points(book) == {"ada.ipynb": {"gradient": 2, "descend": 0}}
    assert attempts(book)[0].status == "graded"
    assert history(book)[-1].new == "error: the grader failed"


def test_what_was_unreadable_can_become_readable(
    book: Gradebook, results: Write
) -> None:
    broken = make_record(status="unreadable", reason="too old", exercise="", reports=[])
    record_class(book, results(broken))
    record_class(book, results(make_record()))
    (one,) = attempts(book)
    assert (one.exercise, one.status, len(one.scores)) == (STEM, "graded", 2)


def test_a_task_that_left_the_exercise_counts_no_more(
    book: Gradebook, results: Write
) -> None:
    record_class(book, results(make_record()))
    shorter = make_record(reports=[make_report("gradient", 2)])
    record_class(book, results(shorter))
    assert points(book) == {"ada.ipynb": {"gradient": 2}}


# One task.


def mended() -> dict[str, Any]:
    """Both tasks judged otherwise."""
    reports = [make_report("gradient", 0), make_report("descend", 3, 3)]
    return make_record(reports=reports, seed=99)


def test_regrade_replaces_one_score_only(book: Gradebook, results: Write) -> None:
    record_class(book, results(make_record()))
    why = "the bound was too strict"
    out = results(mended(), name="mended")
    assert Recorded(changed=1) == regrade(book, out, task="descend", why=why, by="kim")
    assert points(book) == {"ada.ipynb": {"gradient": 2, "descend": 3}}
    last = history(book)[-1]
    assert ("kim", why, "task descend") == (last.by, last.why, last.what)
    assert str(last).endswith(
        "kim: ada.ipynb, task descend: 0 of 3, wrong → 3 of 3, passed "
        "(the bound was too strict)"
    )
    before = contents(book)
    assert Recorded(same=1) == regrade(book, [mended()], task="descend", why=why)
    assert before == contents(book)


def test_regrade_says_what_it_cannot_do(book: Gradebook, results: Write) -> None:
    record_class(book, results(make_record()))
    stranger = make_record("eve")
    empty = make_record(reports=[], status="error", reason="the grader failed")
    done = regrade(book, [stranger, empty], task="descend", why="mended")
    assert done.problems == (
        "eve.ipynb is not in the gradebook as it is now; record it first",
        "ada.ipynb has no result of the task 'descend': error: the grader failed",
    )
    assert len(attempts(book)) == 1
    with pytest.raises(ValueError, match="why must say"):
        regrade(book, [mended()], task="descend", why=" ")
    sentence = "there is no task 'desend' in the gradebook; did you mean 'descend'"
    with pytest.raises(ValueError, match=sentence):
        regrade(book, [mended()], task="desend", why="mended")


# The database.


def test_a_gradebook_is_opened_again(url: str, results: Write) -> None:
    with Gradebook(url) as book:
        record_class(book, results(make_record()))
    with Gradebook(url) as book:
        assert len(attempts(book)) == 1


def test_who_may_only_read_can_read(tmp_path: Path, results: Write) -> None:
    file = tmp_path / "gradebook.sqlite"
    with Gradebook(file) as book:
        record_class(book, results(make_record()))
    with Gradebook(f"sqlite:///file:{file}?mode=ro&uri=true") as book:
        assert [one.student for one in attempts(book)] == ["ada"]
        with pytest.raises(GradebookError, match="attempt to write a readonly"):
            record_class(book, results(make_record("bob")))


def test_another_format_is_refused(book: Gradebook, url: str) -> None:
    with book.writing() as connection:
        connection.execute(text("UPDATE meta SET format = 7"))
    with pytest.raises(GradebookError, match="has format 7, and this version"):
        Gradebook(url)


def test_an_error_inside_leaves_nothing(book: Gradebook) -> None:
    before = contents(book)

    def fail() -> None:
        with book.writing() as connection:
            connection.execute(text("INSERT INTO students VALUES (1, 'eve')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert before == contents(book)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database, " * 100)
    with pytest.raises(GradebookError, match=r"notes\.txt cannot be used: file is not"):
        Gradebook(file)
    assert file.read_text().startswith("not a database")


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(GradebookError, match="unable to open database file"):
        Gradebook(tmp_path / "nowhere" / "gradebook.sqlite")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nonsense://x", "knows no database called 'nonsense'"),
        ("://", "URL must look like postgresql"),
        ("postgresql+psycopg://u:secret@/x?host=/nowhere", "cannot be used: conn"),
    ],
)
def test_a_url_that_leads_nowhere(where: str, said: str) -> None:
    with pytest.raises(GradebookError, match=re.escape(said)) as caught:
        Gradebook(where)
    assert "secret" not in str(caught.value)


def test_a_full_disk_is_reported_and_loses_nothing(
    tmp_path: Path, results: Write
) -> None:
    with Gradebook(tmp_path / "gradebook.sqlite") as book:
        record_class(book, results(make_record("ada")))
        with book.reading() as connection:
            size = connection.execute(text("PRAGMA page_count")).scalar()
        big = copy.deepcopy(make_record("bob"))
        big["reports"][0]["message"] = "x" * 10**6
        out = results(big)
        limited = f"PRAGMA max_page_count = {size}"
        with book.reading() as connection:
            connection.execute(text(limited))
        with pytest.raises(GradebookError, match="database or disk is full"):
            record_class(book, out)
        assert [one.student for one in attempts(book)] == ["ada"]
        with book.reading() as connection:
            connection.execute(text("PRAGMA max_page_count = 1073741823"))
        assert Recorded(new=1, same=1) == record_class(book, out)
    with sqlite3.connect(tmp_path / "gradebook.sqlite") as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    plain.close()
