"""Every export is read again by somebody else: csv, json, nbgrader itself."""

import csv
import io
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbgrader.api
import pytest
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from mlopt_edu.grading.gradebook import Gradebook, Policies, Policy, record_class
from mlopt_edu.grading.gradebook.export_canvas import write_canvas
from mlopt_edu.grading.gradebook.export_csv import write_csv
from mlopt_edu.grading.gradebook.export_gradescope import write_gradescope
from mlopt_edu.grading.gradebook.export_moodle import write_moodle
from mlopt_edu.grading.gradebook.export_nbgrader import write_nbgrader
from mlopt_edu.grading.gradebook.roster import Sheet

from .conftest import STEM, Write, make_record, make_report

SECOND = "02_stochastic_gradients"
FORMULA = '=HYPERLINK("http://x","y")'
DUE = datetime(2026, 11, 13, 20, 30, tzinfo=UTC)  # half an hour before the records
LOST = f"'{FORMULA}' has no grade: x.ipynb: @SUM(the file is empty)"
LATE = Policies(by_exercise={STEM: Policy(due=DUE, percent_per_day=25)})


@pytest.fixture
def book(tmp_path: Path, results: Write) -> Any:
    """Two exercises, two students who handed in, and one file nobody could read."""
    other = [make_report("shuffle", 4, 4, exercise=SECOND)]
    wrong = make_report("descend", 0, 3, message="<b>You</b>\nmissed 1/n.")
    wrong["mistake"] = "not_averaged"
    out = results(
        make_record("ada"),
        make_record("ada", submission="ada2.ipynb", exercise=SECOND, reports=other),
        make_record("bob", reports=[make_report("gradient", 0), wrong], submitted=""),
        make_record(
            FORMULA, submission="x.ipynb", exercise="", status="unreadable",
            reason="@SUM(the file is empty)", reports=[],
        ),
    )  # fmt: skip
    with Gradebook(tmp_path / "gradebook.sqlite") as opened:
        record_class(opened, out)
        yield opened


def read(path: Path, delimiter: str = ",") -> list[list[str]]:
    text = io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")
    return list(csv.reader(text, delimiter=delimiter))


def read_rows(path: Path) -> list[dict[str, str]]:
    head, *rows = read(path)
    return [dict(zip(head, row, strict=True)) for row in rows]


# CSV.


def test_one_row_a_student(book: Gradebook, tmp_path: Path) -> None:
    write_csv(book, tmp_path / "grades.csv", policies=LATE)
    assert [
        ["student", STEM, SECOND, "total", "notes"],
        ["points possible", "5", "4", "9", ""],
        [f"'{FORMULA}", "", "", "0", "x.ipynb: @SUM(the file is empty)"],
        ["ada", "1.5", "4", "5.5", ""],
        [
            *("bob", "0", "", "0"),
            "bob.ipynb: the time of submission is unknown and counts as in time",
        ],
    ] == read(tmp_path / "grades.csv")


def test_one_row_a_grade(book: Gradebook, tmp_path: Path) -> None:
    write_csv(book, tmp_path / "grades.csv", policies=LATE, details=True)
    rows = read_rows(tmp_path / "grades.csv")
    assert [(row["student"], row["exercise"]) for row in rows] == [
        ("ada", STEM),
        ("bob", STEM),
        ("ada", SECOND),
    ]
    assert rows[0] == {
        "student": "ada", "exercise": STEM, "points": "1.5", "max_points": "5",
        "earned": "2", "days_late": "1", "penalty": "0.5", "submission": "ada.ipynb",
        "submitted": "2026-11-13T22:00:00+01:00", "status": "graded", "attempts": "1",
        "notes": "",
    }  # fmt: skip


# Canvas.

CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,My notes,"
    "01 Gradient descent (4711),Exercise 2 (4712),Essay (4713),Final Score\r\n"
    ",,,,,,Manual Posting,,,\r\n"
    "    Points Possible,,,,,,5.00,4.00,10.00,(read only)\r\n"
    '"Lovelace, Ada",17,S1,ada@uni.edu,"A, B",=1+1,,,7.50,80\r\n'
    '"Builder, Bob",18,S2,BOB,A,"two ""quotes""",EX,1,,\r\n'
    "Test Student,19,,x,A,,,,,\r\n"
)


def test_canvas_gets_its_own_file_back_filled(book: Gradebook, tmp_path: Path) -> None:
    exported = tmp_path / "canvas.csv"
    exported.write_bytes(CANVAS.encode("utf-8-sig"))
    columns = {SECOND: "Exercise 2 (4712)"}
    said = write_canvas(
        book, exported, exported=exported, columns=columns, policies=LATE
    )
    expected = CANVAS.replace('"A, B",=1+1,,,7.50', '"A, B",=1+1,1.5,4,7.50')
    assert expected.encode("utf-8-sig") == exported.read_bytes()
    assert [LOST, f"canvas.csv: 'bob' has EX in {STEM}, which stays"] == said


def test_canvas_with_semicolons_has_decimal_commas(
    book: Gradebook, tmp_path: Path
) -> None:
    exported, path = tmp_path / "canvas.csv", tmp_path / "filled.csv"
    text = (
        f"Student;ID;SIS Login ID;Section;{STEM} (1)\n"
        'Points Possible;;;;5,00\n"Lovelace, Ada";7;ada;A;\n"Bob B";8;bob;A\n'
    )
    exported.write_text(text)
    assert [
        LOST,
        f"canvas.csv: no column is called {SECOND!r}; name the one that Canvas has for "
        "this exercise",
    ] == write_canvas(book, path, exported=exported, policies=LATE)
    assert read(path, ";")[2:] == [
        ["Lovelace, Ada", "7", "ada", "A", "1,5"], ["Bob B", "8", "bob", "A", "0"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("ada,1\n", "canvas.csv: there is no student 'bob' in ID, Student"),
        ("ada,1\nbob,2\nBob,3\n", "canvas.csv: 2 students could be 'bob'"),
        (
            "Points Possible,,10,4\nada,1\nbob,2\n",
            f"canvas.csv: {STEM} has 10 points possible in Canvas and 5 in the "
            "gradebook; set it to 5 in Canvas",
        ),
    ],
)
def test_canvas_what_found_no_place_is_said(
    rows: str, said: str, book: Gradebook, tmp_path: Path
) -> None:
    exported = tmp_path / "canvas.csv"
    exported.write_text(f"Student,ID,{STEM} (1),{SECOND} (2)\n{rows}")
    path = tmp_path / "filled.csv"
    assert [LOST, said] == write_canvas(book, path, exported=exported)
    assert next(row[2:] for row in read(path) if row[0] == "ada") == ["2", "4"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "must be a CSV file with a header"),
        (b"\xff\xfe\x00", "must be a CSV file in UTF-8"),
        (b"name,points\n", "must have a column 'SIS Login ID' or 'SIS User ID'"),
        (b'Student,"' + b"x" * 200_000, "must be a CSV file with a header"),
    ],
)
def test_canvas_refuses_another_file(
    data: bytes, said: str, book: Gradebook, tmp_path: Path
) -> None:
    exported = tmp_path / "canvas.csv"
    exported.write_bytes(data)
    with pytest.raises(ValueError, match=said):
        write_canvas(book, exported, exported=exported)
    assert data == exported.read_bytes()


def test_canvas_without_its_own_file(book: Gradebook, tmp_path: Path) -> None:
    path = tmp_path / "canvas.csv"
    assert write_canvas(book, path, columns={STEM: "Exercise 1 (4711)"}) == [LOST]
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    assert [
        [*head, "Exercise 1 (4711)", SECOND],
        ["Points Possible", "", "", "", "", "5", "4"],
        ["ada", "", "", "ada", "", "2", "4"],
        ["bob", "", "", "bob", "", "0", ""],
    ] == read(path)


# Moodle.


def test_moodle_gets_its_worksheet_back_filled(book: Gradebook, tmp_path: Path) -> None:
    worksheet, path = tmp_path / "moodle.csv", tmp_path / "filled.csv"
    worksheet.write_text(
        "Identifier,Full name,Email address,Status,Grade,Maximum Grade,"
        "Last modified (grade),Feedback comments\n"
        "Participant 7,Ada Lovelace,ada@uni.edu,Submitted,,5.00,-,\n"
        "Participant 8,Bob,b@uni.edu,Submitted,1.00,100.00,-,old\n"
        "Participant 9,Eve,e@uni.edu,No submission,,5.00,-,\n"
    )
    said = write_moodle(book, path, worksheet=worksheet, exercise=STEM, policies=LATE)
    assert said == [
        LOST,
        "moodle.csv: 'bob' has another maximum grade in Moodle than 5; set the "
        "assignment's to 5",
    ]
    ada, bob, eve = read_rows(path)
    assert (ada["Identifier"], ada["Grade"]) == ("Participant 7", "1.5")
    assert ada["Feedback comments"] == (
        "gradient: 2 of 2. All 7 cases agree.<br>"
        "descend: 0 of 3. It fails on 3 of 7 cases.<br>"
        "Late by 1 day: 25 % taken off."
    )
    assert "&lt;b&gt;You&lt;/b&gt; missed 1/n." in bob["Feedback comments"]
    assert (bob["Grade"], eve["Grade"]) == ("0", "")


def test_moodle_refuses_what_it_cannot_fill(book: Gradebook, tmp_path: Path) -> None:
    worksheet = tmp_path / "moodle.csv"
    worksheet.write_text("Full name,Points\nAda,1\n")
    with pytest.raises(ValueError, match="must be Moodle's worksheet, with the col"):
        write_moodle(book, worksheet, worksheet=worksheet, exercise=STEM)
    with pytest.raises(ValueError, match=f"which has {STEM}, {SECOND}, got '03'"):
        write_moodle(book, worksheet, worksheet=worksheet, exercise="03")


# Gradescope.

# Its "Autograder Specifications": what may stand in results.json, and of which type.
TOP = {
    "score": (int, float), "execution_time": (int, float), "output": str,
    "output_format": str, "test_output_format": str, "test_name_format": str,
    "visibility": str, "stdout_visibility": str, "extra_data": dict, "tests": list,
    "leaderboard": list,
}  # fmt: skip
TEST = {
    "score": (int, float), "max_score": (int, float), "status": str, "name": str,
    "name_format": str, "number": str, "output": str, "output_format": str,
    "tags": list, "visibility": str, "extra_data": dict,
}  # fmt: skip
FORMATS = ("text", "html", "simple_format", "md", "ansi")
SHOWN = ("hidden", "after_due_date", "after_published", "visible")


def test_gradescope_knows_every_field(book: Gradebook, tmp_path: Path) -> None:
    files = write_gradescope(book, tmp_path / "gradescope")
    assert [f.name for f in files] == ["x.json", "ada.json", "ada2.json", "bob.json"]
    for file in files:
        found = json.loads(file.read_text(encoding="utf-8"))
        for one, fields in [(found, TOP), *((test, TEST) for test in found["tests"])]:
            for name, value in one.items():
                assert isinstance(value, fields[name]), name  # type: ignore[arg-type]
            assert one["visibility"] in SHOWN
            assert one["output_format"] in FORMATS
    ada = json.loads((tmp_path / "gradescope" / "ada.json").read_text())
    assert (ada["score"], ada["output"]) == (2, "1 of 2 answers are right")
    assert [
        (one["name"], one["score"], one["max_score"], one["status"])
        for one in ada["tests"]
    ] == [("gradient", 2, 2, "passed"), ("descend", 0, 3, "failed")]
    unreadable = json.loads((tmp_path / "gradescope" / "x.json").read_text())
    assert (
        unreadable["score"], unreadable["output"], unreadable["tests"],
    ) == (0, "@SUM(the file is empty)", [])  # fmt: skip


def test_gradescope_files_stay_in_their_folder(tmp_path: Path) -> None:
    labels = ["a/b.ipynb", "a_b.ipynb", "A_B.ipynb", "../../etc.ipynb", "x" * 300]
    (tmp_path / "results").mkdir()
    for number, label in enumerate(labels):
        record = make_record(student="ada", submission=label)
        (tmp_path / "results" / f"{number}.json").write_text(json.dumps(record))
    folder = tmp_path / "new" / "gradescope"
    with Gradebook(tmp_path / "gradebook.sqlite") as book:
        record_class(book, tmp_path)
        files = write_gradescope(book, folder)
    names = ["a_b.json", "a_b.2.json", "A_B.3.json", "_etc.json", "x" * 100 + ".json"]
    assert [file.name for file in files] == names
    assert sorted(files) == sorted(folder.iterdir())


# nbgrader.


@pytest.fixture(scope="session")
def empty_nbgrader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new gradebook of nbgrader: making one takes it seconds."""
    folder = tmp_path_factory.mktemp("nbgrader")
    with Gradebook(folder / "empty.sqlite") as book:
        assert write_nbgrader(book, f"sqlite:///{folder / 'gradebook.db'}") == 0
    return folder / "gradebook.db"


@pytest.fixture
def url(empty_nbgrader: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(empty_nbgrader, tmp_path)}"


def in_nbgrader(url: str) -> dict[str, Any]:
    with nbgrader.api.Gradebook(url) as target:
        return {
            "students": target.student_dicts(),
            "submissions": {
                (one["name"], one["student"]): (
                    one["score"], one["max_score"], one["needs_manual_grade"],
                    target.find_submission(
                        one["name"], one["student"]
                    ).late_submission_penalty,
                )
                for name in (STEM, SECOND)
                for one in target.submission_dicts(name)
            },
            "cells": {
                (grade.assignment.name, grade.student.id, grade.name): (
                    grade.score, grade.max_score,
                )
                for assignment in target.assignments
                for submission in assignment.submissions
                for notebook in submission.notebooks
                for grade in notebook.grades
            },
        }  # fmt: skip


def test_nbgrader_shows_the_scores(book: Gradebook, url: str) -> None:
    for _ in range(2):  # doing it again changes nothing
        assert write_nbgrader(book, url, policies=LATE) == 3
        found = in_nbgrader(url)
        assert [
            (one["id"], one["score"], one["max_score"]) for one in found["students"]
        ] == [("ada", 6, 9), ("bob", 0, 9)]
        assert found["submissions"] == {
            (STEM, "ada"): (2, 5, False, 0.5),
            (STEM, "bob"): (0, 5, False, 0),
            (SECOND, "ada"): (4, 4, False, 0),
        }
        assert found["cells"] == {
            (STEM, "ada", "check-gradient"): (2, 2),
            (STEM, "ada", "check-descend"): (0, 3),
            (STEM, "bob", "check-gradient"): (0, 2),
            (STEM, "bob", "check-descend"): (0, 3),
            (SECOND, "ada", "check-shuffle"): (4, 4),
        }


def test_formgrader_asks_for_what_was_written(
    book: Gradebook, url: str, tmp_path: Path
) -> None:
    """The class behind formgrader's pages, on a course folder without any file."""
    write_nbgrader(book, url, course="optim", policies=LATE)
    config = Config()
    config.CourseDirectory.root = str(tmp_path)
    config.CourseDirectory.course_id = "optim"
    config.CourseDirectory.db_url = url
    course = CourseDirectory(config=config)
    pages = NbGraderAPI(course, config=config)
    assert [
        (one["student"], one["score"], one["max_score"], one["autograded"])
        for one in pages.get_submissions(STEM)
    ] == [("ada", 2, 5, True), ("bob", 0, 5, True)]
    (ada, _) = pages.get_submissions(STEM)
    assert ada["timestamp"] == "2026-11-13T21:00:00"
    assert [(one["id"], one["score"]) for one in pages.get_students()] == [
        ("ada", 6),
        ("bob", 0),
    ]


def test_what_a_person_gave_in_nbgrader_stays(
    book: Gradebook, url: str, results: Write
) -> None:
    write_nbgrader(book, url)
    with nbgrader.api.Gradebook(url) as target:
        given = target.find_grade("check-descend", STEM, STEM, "ada")
        given.manual_score = 1.5
        target.db.commit()
    longer = make_record("ada")
    longer["reports"].append(make_report("new_task", 1, 1))
    record_class(book, results(longer, name="again"))
    write_nbgrader(book, url)
    found = in_nbgrader(url)["cells"]
    assert found[STEM, "ada", "check-descend"] == (1.5, 3)
    assert found[STEM, "ada", "check-new-task"] == (1, 1)


def test_nbgrader_leaves_what_failed_to_a_person(
    url: str, tmp_path: Path, results: Write
) -> None:
    failed = make_record("bob", status="error", reason="the grader failed", reports=[])
    late = (DUE - timedelta(days=1)).isoformat()
    with Gradebook(tmp_path / "gradebook.sqlite") as book:
        record_class(book, results(make_record("ada", submitted=late), failed))
        write_nbgrader(book, url)
    found = in_nbgrader(url)["submissions"]
    assert found[STEM, "ada"] == (2, 5, False, 0)
    assert found[STEM, "bob"] == (0, 5, True, 0)


def test_a_number_finds_a_student_before_the_name(tmp_path: Path) -> None:
    path = tmp_path / "exported.csv"
    path.write_text(
        "Student,ID,SIS User ID,SIS Login ID,Section\n"
        '"Lovelace, Ada",123,77,ada,1\n"Lovelace, Ada",124,123,ada2,1\n'
        '"Turing, Alan",5,9,alan,1\n',
        "utf-8",
    )
    sheet = Sheet(path, keys=("SIS Login ID", "SIS User ID", "ID", "Student"))
    assert sheet.row_of("lovelaceada_123") == (0, "")  # not who has it as a SIS number
    assert sheet.row_of("turingalan_4711") == (2, "")
    assert sheet.row_of("lovelaceada_4711")[1].endswith(
        "2 students could be 'lovelaceada_4711'"
    )
    assert (
        "there is no student 'hopper_1' in SIS Login ID" in sheet.row_of("hopper_1")[1]
    )


def test_moodle_s_participant_is_found_by_number(tmp_path: Path) -> None:
    path = tmp_path / "worksheet.csv"
    path.write_text(
        "Identifier,Full name\nParticipant 2,A\nParticipant 21,B\n", "utf-8"
    )
    sheet = Sheet(path, keys=("Identifier", "Full name"))
    assert sheet.row_of("Somebody Else_21") == (1, "")
