"""The student's page: complete, self-contained, and nothing in it is the learner's."""

import csv
import io
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlopt_edu.checks import Report, Task
from mlopt_edu.checks._answer import answer_cases
from mlopt_edu.checks._judge import judge
from mlopt_edu.checks._key import AnswerKey
from mlopt_edu.grading.document import visible
from mlopt_edu.grading.html import page
from mlopt_edu.grading.table import as_csv, class_csv

VOID = {"meta", "br", "link", "img"}


class Page(HTMLParser):
    """A page as its elements, its text, and every address that it names."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.open: list[str] = []
        self.pieces: list[str] = []
        self.values: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = tuple(name for name, _ in attrs)
        self.values += [(name, value or "") for name, value in attrs]
        # Text between backticks or stars is set as code or in italics: nothing more.
        if tag not in ("code", "em") or names:
            self.elements.append((tag, names))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment", ()))

    @property
    def text(self) -> str:
        return " ".join("".join(self.pieces).split())


def judged(task: Task, answer: object) -> Report:
    cases = task.cases(5)
    inputs = [case.inputs for case in cases]
    return judge(AnswerKey(task, cases), answer_cases(answer, inputs, seconds=5))


@pytest.fixture(scope="module")
def reports(small_tasks: Mapping[str, Task]) -> list[Report]:
    return [
        judged(small_tasks["double"], lambda x: x**2),
        judged(small_tasks["descend"], lambda w, lr, steps: w - lr * steps * 2 * w),
        judged(small_tasks["best_step"], "a"),
        judged(small_tasks["smallest"], 0.625),
    ]


def record(reports: list[Report], text: str = "ada") -> dict[str, Any]:
    return {
        "format": 2, "submission": text, "student": text,
        "submitted": "2026-03-01T10:00:00+01:00", "sha256": "ab" * 32,
        "exercise": "91_small", "status": "graded", "reason": text, "points": 1,
        "max_points": 7, "seed": 424242, "notes": [text],
        "sources": {report.task: text for report in reports},
        "reports": [report.to_dict() for report in reports],
    }  # fmt: skip


def test_the_page_says_everything(reports: list[Report]) -> None:
    source = "def double(x):\n    return x ** 2  # <b>"
    one = {**record(reports), "reason": "1 of 4 answers is right"}
    html = page(one, reports, answers={"double": source}, note="Ask me.\n\nBy & by.")
    shown = Page(html)
    for words in (
        "1 of 7 points", "1 of 4 answers is right.", "double", "not right yet",
        "0 of 2", "You squared; doubling is twice the number.",
        "The mistake has a name: squared.", "Read again: lesson 91 §1.",
        "The smallest case that fails is", "return x ** 2 # <b>", "Ask me.", "By & by.",
        "2026-03-01T10:00:00+01:00", "91_small",
    ):  # fmt: skip
        assert words in shown.text
    assert "424242" not in html  # the seed of the class is a secret
    assert "abababababababab" in shown.text


def test_the_page_is_structured_for_everyone(reports: list[Report]) -> None:
    html = page(record(reports), reports)
    shown = Page(html)
    tags = [tag for tag, _ in shown.elements]
    assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
    assert tags.count("h2") == len(reports)
    assert ("html", ("lang",)) in shown.elements
    assert {"caption", "thead", "tbody"} <= set(tags)
    assert "script" not in tags
    ids = [value for name, value in shown.values if name == "id"]
    links = [value for name, value in shown.values if name == "href"]
    assert len(ids) == len(set(ids))
    assert links == [f"#{one}" for one in ids]
    assert not [n for n, _ in shown.values if n.startswith("on") or n == "src"]
    assert "default-src 'none'" in html
    assert "http" not in html.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_what_cannot_be_graded_says_why(reports: list[Report]) -> None:
    one = {**record([]), "status": "unreadable", "reason": "the file is empty"}
    one |= {"exercise": "", "points": 0, "max_points": 0, "reports": []}
    text = Page(page(one, [])).text
    assert "Not graded. The file is empty." in text
    assert "0 of 0" not in text


def test_an_older_record_has_its_page() -> None:
    old = {
        "submission": "ada", "exercise": "91_small", "status": "graded", "notes": [],
        "reason": "", "points": 0, "max_points": 1, "reports": [],
    }  # fmt: skip
    assert "0 of 1 points." in Page(page(old, [])).text


EVIL = st.one_of(
    st.text(min_size=1, max_size=60),
    st.sampled_from(
        [
            "<script>alert(1)</script>", "</pre></code><img src=x onerror=a()>",
            '" onmouseover="a()', "' autofocus='", "<!--", "-->", "]]>", "&lt;b&gt;",
            "{title}", "{0}", "%s", "</title><b>", "</style><b>", "\u202e>b<", "\x00<b",
            "\ud800", "<svg/onload=a()>", "javascript:a()", "\u2028<b>", "<plaintext>",
        ]
    ),
)  # fmt: skip


def spoilt(reports: list[Report], text: str) -> list[Report]:
    """Return reports in which everything that a learner can influence is `text`."""
    case = {
        "label": "a case", "inputs": "x = 1", "expected": "2", "got": text,
        "difference": text,
    }  # fmt: skip
    return [
        Report(
            task=one.task, exercise=one.exercise, points=0, max_points=1,
            status="wrong", message=f"it raised {text}", section=one.section,
            failed_cases=("a case",), case=case, note=text,
        )
        for one in reports
    ]  # fmt: skip


@given(EVIL.filter(str.strip))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_nothing_a_learner_wrote_is_markup(text: str) -> None:
    reports = [
        Report("one", "91", 0, 1, "wrong", "m", section="91"),
        Report("two", "91", 0, 1, "wrong", "m", section="91"),
    ]
    innocent = Page(page(record(reports, "x"), spoilt(reports, "x")))
    html = page(record(reports, text), spoilt(reports, text))
    html.encode("utf-8")
    shown = Page(html)
    assert shown.elements == innocent.elements
    assert set(shown.values) <= set(innocent.values)


@given(st.text())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_what_is_visible_can_be_written_and_parsed(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert visible(shown) == shown
    assert not any(c in shown for c in "\x00\x1b\u202e\u2066\x85")


@given(st.lists(EVIL, min_size=1, max_size=5))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_cell_of_a_table_is_a_formula(cells: list[str]) -> None:
    written = as_csv([f"c{i}" for i in range(len(cells))], [cells])
    head, row = csv.reader(io.StringIO(written, newline=""))
    assert len(head) == len(row) == len(cells)
    assert not any(c.startswith(("=", "+", "-", "@", "＝", "\t")) for c in row)


def test_the_table_has_a_row_a_submission(reports: list[Report]) -> None:
    other = {**record([], "bob"), "exercise": "", "status": "unreadable"}
    rows = list(csv.DictReader(class_csv([record(reports), other]).splitlines()))
    assert [row["student"] for row in rows] == ["ada", "bob"]
    assert rows[0]["submitted"] == "2026-03-01T10:00:00+01:00"
    assert [rows[0]["91_small/smallest"], rows[1]["91_small/smallest"]] == ["1", ""]
