"""Names and times that an instructor knows and files do not say."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mlopt_edu.grading.exercise import Exercise
from mlopt_edu.grading.grade import grade_folder
from mlopt_edu.grading.students import Known, read_students


@pytest.fixture
def table(tmp_path: Path) -> Any:
    def write(text: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "students.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_a_class_gets_names_and_times(
    submit: Any, table: Any, tmp_path: Path, exercise: Exercise
) -> None:
    submit("ada.l")
    submit("s1002")
    submit("zoe")
    path = table(
        "found,student,submitted\r\n"
        'ada.l,"Lovelace, Ada",2026-11-13T22:10:00+01:00\r\n'
        "s1002,Zoë Turing,\r\n"
        "absent,Nobody,\r\n",
        "utf-8-sig",
    )
    options: Any = {"seed": 1, "exercises": [exercise], "progress": io.StringIO()}
    out = grade_folder(tmp_path / "class", out=tmp_path / "out", **options)
    first = (out / "results/ada.l.json").stat().st_mtime_ns
    grade_folder(tmp_path / "class", out=out, students=path, **options)
    records = [json.loads(p.read_text("utf-8")) for p in out.glob("results/*.json")]
    seen = {one["submission"]: (one["student"], one["submitted"]) for one in records}
    assert seen["ada.l"][1] == "2026-11-13T22:10:00+01:00"
    assert {name for name, _ in seen.values()} == {"Lovelace, Ada", "Zoë Turing", "zoe"}
    assert first != (out / "results/ada.l.json").stat().st_mtime_ns
    assert "Zoë Turing" in (out / "class.csv").read_text("utf-8")


def test_the_columns_may_be_fewer(table: Any) -> None:
    assert read_students(table("found,student\nada,Ada\n")) == {
        "ada": Known("Ada", None)
    }
    noon = datetime(2026, 11, 13, 12, tzinfo=UTC)
    text = "submitted,found\n2026-11-13T12:00:00Z,ada\n"
    assert read_students(table(text)) == {"ada": Known("", noon)}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "columns found, student, submitted, got none"),
        ("name,student\na,b\n", "columns found, student, submitted, got name, student"),
        ("found\na\n", "got found"),
        ("found,student\na,b\na,c\n", "line 3: 'a' must stand there once"),
        ("found,submitted\na,2026-11-13T12:00\n", "line 2: submitted must be a time"),
        ("found,submitted\na,yesterday\n", "with an offset .* got 'yesterday'"),
    ],
)
def test_tables_that_cannot_be_read(table: Any, text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_students(table(text))
    with pytest.raises(ValueError, match="must be UTF-8"):
        read_students(table("found,student\nada,Zoë\n", "latin-1"))


def test_a_table_of_another_class_is_refused(
    submit: Any, table: Any, tmp_path: Path, exercise: Exercise
) -> None:
    submit("ada")
    path = table("found,student\nLovelace,Ada\n")
    with pytest.raises(ValueError, match="like 'ada', got 'Lovelace'"):
        grade_folder(
            tmp_path / "class", out=tmp_path / "out", exercises=[exercise],
            students=path,
        )  # fmt: skip
    assert not (tmp_path / "out").exists()
