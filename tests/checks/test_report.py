"""One record, three forms: HTML for the learner, JSON on disk, nbgrader's points."""

import json
from dataclasses import fields, replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import nbformat
import pytest
from nbgrader.utils import determine_grade

from mlopt_edu.checks import Report
from mlopt_edu.checks._check import Checked
from mlopt_edu.checks._html import picture_svg, prose, report_html

PICTURE = {
    "axes": ["w[0]", "w[1]"],
    "label": "two weights",
    "right": [[0.0, 0.0], [1.0, 4.0], [2.0, 2.0]],
    "yours": [[0.0, 0.0], [-2.0, 1.0]],
}
REPORT = Report(
    task="descend",
    exercise="01_gradient_descent",
    points=0,
    max_points=3,
    status="wrong",
    message="You *climb*: subtract `lr`.",
    mistake="climbs",
    section="01 · Write it small",
    passed_cases=("no step at all",),
    failed_cases=("two weights", "50 steps"),
    case={
        "label": "two weights",
        "inputs": "lr = 0.1",
        "expected": "[1. 2.]",
        "got": "[1. 3.]",
        "difference": "at index 1 it should be 2, but it is 3",
    },
    picture=PICTURE,
    hints=("first", "second", "third"),
    note="It printed much.",
)
PASSED = Report("descend", "01_gradient_descent", 3, 3, "passed", "All agree.")
ATTACK = "</p><script>alert(`1`)</script>\"'&<img src=x onerror=alert(1)>"
VOID = {"circle", "path", "polyline", "br"}


class Page(HTMLParser):
    """The elements of a fragment as (tag, attributes, enclosing tags), and its text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(html)
        self.close()
        assert self.open == [], "every element must be closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data if "style" not in self.open else ""

    def tags(self):
        return {tag for tag, _, _ in self.elements}


@pytest.mark.parametrize("report", [REPORT, PASSED], ids=["wrong", "passed"])
def test_json_gives_back_the_same_report(report):
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_only_a_pass_is_a_pass():
    assert PASSED.passed
    for status in ("wrong", "blank", "raised", "timeout", "missing", "forbidden"):
        assert not replace(PASSED, status=status).passed


def test_text_says_the_points_and_the_message():
    assert str(PASSED) == "✓ descend: 3 of 3 points. All agree."
    assert str(replace(REPORT, mistake="")).startswith("✗ descend: 0 of 3 points.")
    assert "it should be 2" in str(replace(REPORT, mistake=""))
    assert "it should be 2" not in str(REPORT)  # the mistake says more


@pytest.mark.parametrize(("report", "points"), [(REPORT, 0), (PASSED, 3)])
def test_nbgrader_reads_the_points(report, points, monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    for result in (report, Checked((report,), ("",))):
        text = {"text/plain": repr(result), "text/html": result._repr_html_()}
        marks = {"grade": True, "solution": False, "points": 3, "schema_version": 3}
        cell = nbformat.v4.new_code_cell("check()", metadata={"nbgrader": marks})
        cell.outputs = [nbformat.v4.new_output("execute_result", data=text)]
        assert determine_grade(cell) == (points, 3)


def test_without_nbgrader_the_result_reads_as_text(monkeypatch):
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    assert repr(PASSED) == str(PASSED)


def test_a_page_shows_everything_that_a_report_holds():
    page = Page(report_html(REPORT, points_so_far="3 of 15 points so far."))
    shown = " ".join(page.text.split())
    for word in (
        "Not yet",
        "descend",
        "0 of 3 points",
        "You climb: subtract lr.",
        "✓ no step at all",
        "✗ two weights",
        "lr = 0.1",
        "[1. 2.]",
        "[1. 3.]",
        "it should be 2",
        "It printed much.",
        "01 · Write it small",
        "3 of 15 points so far.",
    ):
        assert word in shown
    assert "Right" in Page(report_html(PASSED)).text
    assert "Read again" not in Page(report_html(PASSED)).text


TEXTS = [f.name for f in fields(Report) if f.type in ("str", str)]


@pytest.mark.parametrize(
    "change",
    [
        *({name: ATTACK} for name in TEXTS if name != "status"),
        {"hints": (ATTACK, ATTACK, ATTACK)},
        {"passed_cases": (ATTACK,), "failed_cases": (ATTACK,)},
        {"case": dict.fromkeys(REPORT.case, ATTACK)},
        {"picture": {**PICTURE, "axes": [ATTACK, ATTACK], "label": ATTACK}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_a_learner_wrote_stays_text(change):
    clean, attacked = (
        Page(report_html(REPORT)),
        Page(report_html(replace(REPORT, **change), points_so_far=ATTACK)),
    )
    assert attacked.tags() - clean.tags() <= {"code"}
    names = {name for _, attributes, _ in attacked.elements for name in attributes}
    assert not [name for name in names if name.startswith("on")]
    assert "<script>" in attacked.text


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a `b < c` *d e* f", "a <code>b &lt; c</code> <em>d e</em> f"),
        ("`2 * n * 3`", "<code>2 * n * 3</code>"),
        ("2 * n * 3", "2 * n * 3"),
        ("an odd ` stays", "an odd ` stays"),
        ("", ""),
    ],
)
def test_prose_marks_code_and_stress(text, html):
    assert prose(text) == html


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_each_hint_opens_inside_the_one_before(count):
    page = Page(report_html(replace(REPORT, hints=REPORT.hints[:count])))
    depths = [
        around.count("details") for tag, _, around in page.elements if tag == "summary"
    ]
    assert depths == list(range(1, count + 1))
    assert [hint in page.text for hint in REPORT.hints] == [
        place < count for place in range(3)
    ]


def test_hints_are_closed_until_they_are_opened():
    page = Page(report_html(REPORT))
    details = [attributes for tag, attributes, _ in page.elements if tag == "details"]
    assert details == [{}, {}, {}]


def _curves(svg):
    root = ElementTree.fromstring(svg)
    lines = [e for e in root.iter() if e.tag.endswith("polyline")]
    points = [
        [tuple(map(float, p.split(","))) for p in line.get("points").split()]
        for line in lines
    ]
    return root, lines, points


def _svg(picture):
    html = picture_svg(picture)
    return html[: html.index("</svg>") + len("</svg>")]


def test_the_picture_keeps_the_shape_of_both_curves():
    root, lines, (right, yours) = _curves(_svg(PICTURE))
    assert (len(right), len(yours)) == (3, 2)
    assert right[0] == yours[0]
    # One unit is as long everywhere: down the page is down the axis.
    across = (right[1][0] - right[0][0]) / 1
    assert right[2][0] - right[0][0] == pytest.approx(2 * across, abs=0.2)
    assert yours[1][0] - yours[0][0] == pytest.approx(-2 * across, abs=0.2)
    down = (right[1][1] - right[0][1]) / 4
    assert down < 0
    assert right[2][1] - right[0][1] == pytest.approx(2 * down, abs=0.2)
    _, _, width, height = map(float, root.get("viewBox").split())
    assert all(0 <= x <= width and 0 <= y <= height for x, y in right + yours)
    dashed = [line.get("stroke-dasharray") is not None for line in lines]
    assert dashed == [False, True]  # told apart without colour


def test_the_picture_speaks_and_names_its_axes():
    root, _, _ = _curves(_svg(PICTURE))
    assert root.get("role") == "img"
    assert "w[1] over w[0]" in root.get("aria-label")
    texts = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert {"w[0]", "w[1]", "-2", "2", "0", "4"} <= texts


def test_a_curve_that_stands_still_can_be_drawn():
    still = {**PICTURE, "right": [[1.0, 1.0]] * 2, "yours": [[1.0, 1.0]] * 2}
    _, _, (right, _) = _curves(_svg(still))
    assert right[0] == right[1]
