"""Tables of results in lessons and guides are what `benchmarks/results` holds.

A Markdown cell, or section of a guide, that names a result file shows a table of its
rows: each line, but for the label in front, has the numbers of one row, rounded to the
digits shown.
"""

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlopt_edu.grading.notebook import read, source

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"benchmarks/results/(\w+)\.csv")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def texts() -> Iterator[tuple[str, str]]:
    """Yield the name and each Markdown cell or section of lessons and guides."""
    for path in sorted((ROOT / "lessons").glob("*.ipynb")):
        for cell in read(path)["cells"]:
            if cell["cell_type"] == "markdown":
                yield path.stem, source(cell)
    for path in sorted((ROOT / "docs").glob("*.md")):
        for section in re.split("^#+ ", path.read_text("utf-8"), flags=re.M):
            yield path.name, section


def tables() -> Iterator[tuple[str, str, list[str]]]:
    """Yield lesson or guide, result file and lines of each table."""
    for where, text in texts():
        lines = [line for line in text.splitlines() if line.startswith("|")]
        for name in NAME.findall(text):
            yield where, name, lines[2:]  # below the names and the rule


def numbers(line: str) -> list[str]:
    """Return those of a line without its label."""
    cells = line.strip("| ").split("|")[1:]
    plain = " ".join(cells).replace("−", "-").replace(",", "")
    return NUMBER.findall(plain)


def is_in(text: str, row: dict[str, str]) -> bool:
    """Is a number one of the row's, rounded as it is?"""
    # A half may have gone up or down.
    tolerance = (0.5 + 1e-9) * 10.0 ** -len(text.partition(".")[2])
    return any(
        math.isclose(float(text), float(field), rel_tol=1e-9, abs_tol=tolerance)
        for field in row.values()
        if NUMBER.fullmatch(field)
    )


@pytest.mark.parametrize(("where", "name", "lines"), list(tables()))
def test_a_table_shows_rows_that_were_measured(
    where: str, name: str, lines: list[str]
) -> None:
    with (ROOT / "benchmarks" / "results" / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert lines
    for line in lines:
        found = numbers(line)
        assert found
        assert any(all(is_in(n, row) for n in found) for row in rows), line


def test_a_number_that_was_not_measured_is_seen() -> None:
    row = {"case": "LeNet-5", "times": "42.316", "low": "-0.25", "bytes": "9580"}
    assert numbers("| LeNet-5 | 42.3 times | −0.3 to 1 | 9,580 |") == [
        "42.3",
        "-0.3",
        "1",
        "9580",
    ]
    assert [is_in(n, row) for n in ("42.3", "42.32", "-0.25", "9580")] == [True] * 4
    assert [is_in(n, row) for n in ("42.4", "42.31", "0.25", "5")] == [False] * 4
