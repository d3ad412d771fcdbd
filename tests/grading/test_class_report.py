"""The instructor's page: its numbers against scipy's, and answers that are alike."""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mlopt_edu.grading.exercise import Exercise
from mlopt_edu.grading.report import class_report
from mlopt_edu.grading.similar import Compared, normal_form, pieces
from mlopt_edu.grading.statistics import class_numbers, item_rest_correlation

from .test_feedback import Page

TASKS = {"double": 2, "descend": 3, "best_step": 1, "smallest": 1}


def record(name: str, right: dict[str, bool], **more: Any) -> dict[str, Any]:
    reports = [
        {
            "task": task,
            "points": TASKS[task] * passed,
            "status": "passed" if passed else "wrong",
            "mistake": "squared" if task == "double" and not passed else "",
        }
        for task, passed in right.items()
    ]
    return {
        "submission": name, "student": name, "exercise": "91_small",
        "status": "graded", "reason": "graded", "seconds": 1.5,
        "points": sum(report["points"] for report in reports), "max_points": 7,
        "sources": {}, "notes": [], "reports": reports, **more,
    }  # fmt: skip


def simulated(size: int = 60, seed: int = 3) -> list[dict[str, Any]]:
    """A class by the Rasch model; whether `smallest` is right is a coin's matter."""
    rng = np.random.default_rng(seed)
    records = []
    for i, skill in enumerate(rng.normal(size=size)):
        right = {
            name: bool(rng.random() < 1 / (1 + np.exp(hard - 3 * skill)))
            for name, hard in (("double", -1), ("descend", 1), ("best_step", 0))
        }
        right["smallest"] = bool(rng.random() < 0.5)
        records.append(record(f"s{i}", right))
    return records


def unreadable(name: str) -> dict[str, Any]:
    return {
        "submission": name, "student": name, "exercise": "", "status": "unreadable",
        "reason": "the file is empty", "points": 0, "max_points": 0, "reports": [],
    }  # fmt: skip


def task_of(numbers: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(t for t in numbers["tasks"] if t["task"] == name)
    return found


def test_the_numbers_are_those_of_the_class(exercise: Exercise) -> None:
    records = [*simulated(), unreadable("<b>empty"), {"exercise": "92", "status": "?"}]
    numbers = class_numbers(iter(records), exercise=exercise)
    assert numbers["submissions"] == 61
    assert numbers["statuses"] == {"graded": 60, "unreadable": 1}
    points = np.array([one["points"] for one in records[:60]])
    assert numbers["points"]["counts"] == np.bincount(points, minlength=8).tolist()
    assert numbers["points"]["mean"] == pytest.approx(points.mean(), abs=1e-3)
    assert numbers["points"]["median"] == np.median(points)
    assert numbers["seconds"] == {"median": 1.5, "ninth_decile": 1.5, "most": 1.5}
    assert numbers["ungraded"][0]["reason"] == "the file is empty"
    double = task_of(numbers, "double")
    wrong = sum(r["reports"][0]["status"] == "wrong" for r in records[:60])
    assert double["share_right"] == pytest.approx(1 - wrong / 60, abs=1e-3)
    assert double["mistakes"] == [
        {
            "mistake": "squared", "count": wrong,
            "explanation": "You squared; doubling is twice the number.",
        }
    ]  # fmt: skip
    assert json.loads(json.dumps(numbers)) == numbers


def test_discrimination_is_the_point_biserial_of_scipy(exercise: Exercise) -> None:
    records = simulated(200)
    numbers = class_numbers(records, exercise=exercise)
    for i, name in enumerate(TASKS):
        right = np.array([r["reports"][i]["status"] == "passed" for r in records])
        rest = np.array([r["points"] - r["reports"][i]["points"] for r in records])
        expected = stats.pointbiserialr(right, rest).statistic
        found = task_of(numbers, name)
        assert found["discrimination"] == pytest.approx(expected, abs=6e-4)
        assert found["weak"] == (expected < 0.2) == (name == "smallest")
    assert "look at it" in task_of(numbers, "smallest")["remark"]


@pytest.mark.parametrize(
    ("right", "remark"),
    [
        ([True] * 30, "undefined: all are right"),
        ([False] * 30, "undefined: none is right"),
        ([True], "too few submissions"),
        ([True, False] * 5, "the same points on the other tasks"),
    ],
)
def test_what_does_not_exist_is_said(
    exercise: Exercise, right: list[bool], remark: str
) -> None:
    rest = {"descend": True, "best_step": False, "smallest": False}
    records = [record(f"s{i}", {"double": r, **rest}) for i, r in enumerate(right)]
    found = task_of(class_numbers(records, exercise=exercise), "double")
    assert found["discrimination"] is None
    assert not found["weak"]
    assert remark in found["remark"]


def test_a_small_class_flags_no_task(exercise: Exercise) -> None:
    numbers = class_numbers(simulated(19), exercise=exercise)
    assert not any(task["weak"] for task in numbers["tasks"])
    assert task_of(numbers, "smallest")["remark"] == ""
    assert class_report(numbers).count("too few to say") == 1


def test_a_task_against_the_others_is_flagged() -> None:
    right = np.array([0, 0, 0, 1, 1])
    assert item_rest_correlation(right, np.array([9, 8, 9, 1, 2])) == pytest.approx(
        stats.pearsonr(right, [9, 8, 9, 1, 2]).statistic, abs=1e-3
    )


def test_the_page_shows_the_numbers(exercise: Exercise) -> None:
    numbers = class_numbers([*simulated(), unreadable("<script>")], exercise=exercise)
    html = class_report(json.loads(json.dumps(numbers)))
    page = Page(html)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("h1") == 1
    assert "script" not in tags
    assert tags.count("svg") == 2
    for words in (
        "61 submissions, 60 of them graded", "The file is empty.", "<script>",
        "You squared; doubling is twice the number.", "squared", "look at it",
        f"{task_of(numbers, 'descend')['share_right']:.0%}",
        f"{task_of(numbers, 'descend')['discrimination']:.2f}",
        "No answers stand out", "1.5 seconds in the median",
    ):  # fmt: skip
        assert words in page.text, words
    bars = re.findall(r'<rect [^>]*height="([\d.]+)"', html)[:8]
    counts = np.array(numbers["points"]["counts"], dtype=float)
    assert np.array(bars, dtype=float) == pytest.approx(
        counts / counts.max() * 190, abs=0.06
    )
    assert not re.search(r"https?://|cheat|plagiar|copied", html)


@pytest.mark.parametrize("records", [[], [unreadable("a")], [unreadable("a")] * 2])
def test_a_class_without_results_is_a_page(
    exercise: Exercise, records: list[dict[str, Any]]
) -> None:
    html = class_report(class_numbers(records, exercise=exercise))
    assert f"{len(records)} submission" in Page(html).text


def test_many_points_share_bars(exercise: Exercise) -> None:
    numbers = class_numbers(simulated(), exercise=exercise)
    numbers["points"] |= {"max": 103, "counts": [1] * 104}
    html = class_report(numbers)
    assert "0–4" in Page(html).text
    assert "100–103" in Page(html).text


# Alike.

OPENINGS = ("w = np.zeros(d)", "w = w0.copy()", "w = np.array(w0, dtype=float)")
SLOTS = (
    ("n, d = X.shape", "n = len(X)\nd = X.shape[1]", "n, d = np.shape(X)"),
    OPENINGS,
    ("v = np.zeros_like(w)", "v = 0 * w", "v = np.zeros(d)"),
    ("path = [w]", "path = [w.copy()]", "path = []\npath.append(w)"),
    ("r = X @ w - y", "r = np.dot(X, w) - y", "r = X.dot(w) - y"),
    ("g = X.T @ r / n", "g = (X.T @ r) / len(y)", "g = np.mean(X * r, axis=0)"),
    ("v = beta * v + g", "v *= beta\nv += g", "v = g + v * beta"),
    ("w = w - lr * v", "w -= lr * v", "w = np.subtract(w, lr * v)"),
    ("path.append(w)", "path.append(w.copy())", "path = path + [w]"),
    ("ok = g @ g < tol", "ok = np.sum(g**2) < tol", "ok = np.linalg.norm(g) < tol"),
    ("return np.array(path)", "return np.stack(path)", "return np.vstack(path)"),
)
STUB = "def descend(X, y, w0, lr, beta, tol):\n    raise NotImplementedError()"
FUNCTIONS = ("np.abs", "np.sum", "float", "max", "len", "np.sqrt")


def written(rng: np.random.Generator, *, own: int) -> str:
    """Write each step in one of the usual ways, and `own` lines as nobody else does."""
    lines = "\n".join(
        slot[rng.choice(len(slot), p=(0.6, 0.3, 0.1))] for slot in SLOTS
    ).split("\n")
    for _ in range(own):
        what = FUNCTIONS[rng.integers(len(FUNCTIONS))]
        line = f"aux = {what}(w * {rng.integers(99)}) + lr / {rng.integers(2, 99)}"
        lines.insert(int(rng.integers(1, len(lines))), line)
    return "def descend(X, y, w0, lr, beta, tol):\n    " + "\n    ".join(lines)


def disguised(source: str) -> str:
    """Rename, reformat, annotate and comment: what takes a minute."""
    for old, new in (("path", "visited"), ("aux", "helper"), ("v", "velocity")):
        source = re.sub(rf"\b{old}\b", new, source)
    head, *lines = source.splitlines()
    lines = [f"{line}  # step {i}" for i, line in enumerate(lines)]
    head = head.replace("X, y", "X: np.ndarray, y")
    return "\n".join([head, '    """Mine."""', *lines]).replace(" * ", "*")


def groups(sources: list[str], students: list[str] | None = None) -> list[Any]:
    compared = Compared({"descend": STUB})
    for i, source in enumerate(sources):
        student = students[i] if students else f"s{i}"
        compared.add(f"s{i}", student, {"descend": source})
    return [(one["task"], one["submissions"]) for one in compared.groups()]


@pytest.mark.parametrize("size", [20, 100])
def test_a_disguised_copy_is_found_and_nothing_else(size: int) -> None:
    rng = np.random.default_rng(size)
    sources = [written(rng, own=4) for _ in range(size)]
    assert groups(sources) == []
    sources[7] = disguised(sources[3])
    assert sources[7] != sources[3]
    assert groups(sources) == [("descend", ["s3", "s7"])]
    sources[9] = sources[3].replace("return", "print(w)\n    return")
    assert groups(sources) == [("descend", ["s3", "s7", "s9"])]


@pytest.mark.parametrize("seed", range(3))
def test_students_who_write_the_usual_are_left_alone(seed: int) -> None:
    """Of so few ways to write a line some students choose all the same."""
    rng = np.random.default_rng(seed)
    assert groups([written(rng, own=0) for _ in range(150)]) == []


def test_short_answers_and_stubs_are_not_compared() -> None:
    assert (
        groups(["def descend(w, lr): return w - lr * 2 * w"] * 2 + ["x = 1"] * 50) == []
    )
    assert groups([STUB] * 2 + ["x = 1"] * 50) == []


def test_a_way_to_write_it_is_no_group() -> None:
    rng = np.random.default_rng(0)
    everyone = [written(rng, own=4) for _ in range(200)]
    lesson = written(rng, own=4)
    assert len(groups([lesson] * 10 + everyone)) == 1
    assert groups([lesson] * 11 + everyone) == []


def test_two_attempts_of_one_student_are_no_pair() -> None:
    rng = np.random.default_rng(0)
    sources = [written(rng, own=4) for _ in range(40)]
    sources[1] = disguised(sources[0])
    students = [f"s{i}" for i in range(40)]
    students[1] = "s0"
    assert groups(sources, students) == []


def test_the_report_names_the_pair(exercise: Exercise) -> None:
    rng = np.random.default_rng(0)
    records = simulated(40)
    for one in records:
        one["sources"] = {"descend": written(rng, own=4)}
    records[5]["sources"] = {"descend": disguised(records[4]["sources"]["descend"])}
    numbers = class_numbers(records, exercise=exercise)
    assert [one["submissions"] for one in numbers["alike"]] == [["s4", "s5"]]
    text = Page(class_report(numbers)).text
    assert "s4s5" in text
    assert "look at them side by side" in text


@pytest.mark.parametrize(
    "source",
    [
        "", "def", "%timeit 1\n!ls", "x = '\\q'", "\x00", "\ud800", "(" * 5000,
        "-" * 20_000 + "1", "x" + ".y" * 9000, "x = 0x" + "f" * 9000, "1 is 1",
        "class A:\n    x: int", "lambda: 0", "async def f(): 'doc'",
    ],
)  # fmt: skip
def test_no_program_is_too_odd(source: str) -> None:
    assert len(pieces(normal_form(source))) <= 1


def test_pieces_are_found_in_every_long_match() -> None:
    """Winnowing's promise: 15 tokens in common share a piece."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b, common = (
            " ".join(f"t{n}" for n in rng.integers(0, 10_000, size))
            for size in (30, 25, 15)
        )
        shared = np.intersect1d(
            pieces(f"{a} {common} {b}"), pieces(f"{b} {common} {a}")
        )
        assert len(shared) >= 1
    assert len(pieces("")) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.replace("w - lr", "w - 2 * lr"),
        lambda s: s.replace("np.array", "np.stack"),
        lambda s: s.replace("return", "return -"),
    ],
)
def test_the_normal_form_keeps_what_a_program_does(
    change: Callable[[str], str],
) -> None:
    rng = np.random.default_rng(1)
    source = next(
        text
        for text in (written(rng, own=0) for _ in range(999))
        if "w - lr" in text and "np.array(path)" in text
    )
    assert normal_form(disguised(source)) == normal_form(source)
    assert normal_form(change(source)) != normal_form(source)
