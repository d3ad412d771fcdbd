"""Verdicts: what is said, about which case, and what it earns."""

import numpy as np
import pytest

from mlopt_edu.checks import Task, choice, number, tasks
from mlopt_edu.checks._answer import Answer, answer_cases
from mlopt_edu.checks._check import check_answer
from mlopt_edu.checks._forbid import forbidden_name
from mlopt_edu.checks._judge import judge
from mlopt_edu.checks._key import AnswerKey
from mlopt_edu.checks._task import Case

NAMED = tasks()


def _cases(rng):
    yield Case("large", {"x": rng.normal(size=9)})
    yield Case("small", {"x": np.array([1.0, -2.0])})
    yield Case("none", {"x": np.zeros(0)})


def _task(**options):
    def double(x):
        return 2 * x

    options = {"points": 3, "section": "01 · Derive", "draw": _cases, **options}
    return Task("double", reference=double, **options)


def _squared(x):
    """You square it; double it instead."""
    return x * x


@pytest.fixture
def task():
    task = _task(hints=("nudge", "approach", "almost"))
    task.mistake(_squared)
    return task


def test_all_or_nothing(task):
    right = check_answer(task, lambda x: x + x)
    assert (right.status, right.points, right.max_points) == ("passed", 3, 3)
    assert right.passed_cases == ("large", "small", "none")
    assert right.hints == ()
    nearly = check_answer(task, lambda x: 2 * x if len(x) < 5 else x)
    assert (nearly.status, nearly.points) == ("wrong", 0)
    assert nearly.passed_cases == ("small", "none")
    assert nearly.failed_cases == ("large",)
    assert nearly.hints == ("nudge", "approach", "almost")


def test_a_known_mistake_is_called_by_its_docstring(task):
    report = check_answer(task, lambda x: x**2)
    assert (report.mistake, report.message) == ("_squared", _squared.__doc__)


def test_an_unknown_mistake_shows_the_smallest_case_that_fails(task):
    report = check_answer(task, lambda x: x + 1)
    assert report.mistake == ""
    assert "2 of 3" in report.message
    assert report.case["label"] == "small"
    assert report.case["inputs"] == "x = [ 1. -2.]"
    assert report.case["expected"] == "[ 2. -4.]"
    assert report.case["got"] == "[ 2. -1.]"
    assert "index 1" in report.case["difference"]


def test_every_case_must_agree_with_a_mistake_to_recognise_it(task):
    report = check_answer(task, lambda x: x * x if len(x) != 2 else x)
    assert report.status == "wrong"
    assert report.mistake == ""


def test_right_values_do_not_excuse_a_changed_input():
    def in_place(x):
        x *= 2
        return x

    report = check_answer(_task(), in_place)
    assert not report.passed
    assert "`x` in place" in report.message
    assert check_answer(_task(mutates=("x",)), in_place).passed


def test_an_error_is_told_with_the_case_that_raised_it(task):
    report = check_answer(task, lambda x: x / x.sum() if len(x) else [][0])
    assert report.status == "raised"
    assert "none" in report.message
    assert "IndexError" in report.message


@pytest.mark.parametrize("status", ["blank", "missing", "timeout", "crashed"])
def test_no_value_is_told_as_it_is(task, status):
    cases = task.cases(0)
    sentence = "it went as it went"
    answers = [Answer(status=status, error=sentence)] * len(cases)
    report = judge(AnswerKey(task, cases), answers)
    assert (report.status, report.points) == (status, 0)
    assert sentence in report.message


def test_megabytes_are_a_remark_and_cost_nothing(task):
    def loud(x):
        print("x" * 1_000_000)
        return 2 * x

    report = check_answer(task, loud)
    assert report.passed
    assert "3,000,003" in report.note


def test_judging_never_calls_the_answer(task):
    """The judge sees values: a program among them stays one."""
    calls = []
    cases = task.cases(0)
    report = judge(
        AnswerKey(task, cases), [Answer(lambda: calls.append(1))] * len(cases)
    )
    assert report.status == "wrong"
    assert calls == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torch.optim", "torch.optim"),
        ("import torch.optim.sgd as s", "torch.optim"),
        ("from torch import nn, optim", "torch.optim"),
        ("from torch.optim import SGD", "torch.optim"),
        ("def f():\n    return torch.optim.SGD([w], lr)", "torch.optim"),
        ("from mlopt_edu.optim import *", "mlopt_edu.optim"),
        ("# torch.optim", ""),
        ("'torch.optim'", ""),
        ("import torch.optimal", ""),
        ("import torch", ""),
        ("not python", ""),
        ("\0", ""),
        ("(" * 10_000, ""),
    ],
)
def test_forbidden_names_are_found_in_code_only(source, found):
    assert forbidden_name(source, ("torch.optim", "mlopt_edu.optim")) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("torch.tensor(x).bfloat16().float()", ".bfloat16"),
        ("x.bfloat16", ".bfloat16"),
        ("bfloat16(x)", ""),
        ("x.bfloat16_by_hand()", ""),
        ("x.my_bfloat16", ""),
    ],
)
def test_a_method_is_forbidden_by_its_dot(source, found):
    assert forbidden_name(source, (".bfloat16",)) == found


def test_a_forbidden_answer_earns_nothing_though_it_is_right(task):
    cases = task.cases(0)
    answers = answer_cases(task.reference, [c.inputs for c in cases], seconds=5)
    task.forbid = ("numpy.double",)
    report = judge(AnswerKey(task, cases), answers, source="import numpy.double")
    assert (report.status, report.points) == ("forbidden", 0)
    assert "`numpy.double`" in report.message


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda X, y, lr: None, ["None"]),
        (lambda X, y, lr: np.zeros(99), ["shape"]),
        (lambda X, y, lr: np.full(X.shape[1], np.nan), ["finite"]),
        (lambda X, y, lr: np.linalg.lstsq(X, y, rcond=None)[0] + 1e-3, ["1 away"]),
    ],
)
def test_a_broken_law_is_stated(answer, words):
    report = check_answer(NAMED["stubborn_start"], answer)
    assert report.status == "wrong"
    said = report.message + report.case["difference"]
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize(
    "value", ["text", {}, object(), [[1], [2, 3]], 3, np.ones((2, 2))]
)
def test_a_value_of_any_type_breaks_a_law_and_never_the_judge(value):
    report = check_answer(NAMED["stubborn_start"], lambda X, y, lr: value)
    assert report.status == "wrong"


def test_the_picture_holds_both_curves():
    descend = NAMED["descend"]
    report = check_answer(
        descend, lambda X, y, w0, lr, steps: np.array([w0] * (steps + 1))
    )
    (case,) = [c for c in descend.cases(20) if c.label == report.case["label"]]
    picture = report.picture
    assert picture["axes"] == list(descend.axes)
    expected = descend.reference(*case.inputs.values())[:, :2]
    np.testing.assert_array_equal(picture["right"], expected)
    np.testing.assert_array_equal(
        picture["yours"], np.tile(case.inputs["w0"][:2], (case.inputs["steps"] + 1, 1))
    )


@pytest.mark.parametrize("value", [None, 3.0, np.full((5, 2), np.nan), "text"])
def test_what_cannot_be_drawn_gives_no_picture(value):
    report = check_answer(NAMED["descend"], lambda *inputs: value)
    assert report.status == "wrong"
    assert report.picture is None


def _answered(value):
    task = number("n", "?", reference=lambda: 4.0, points=1, section="01 · Derive")
    return check_answer(task, value)


@pytest.mark.parametrize("value", [4, 4.0, 4.001, np.float32(4), lambda: 4])
def test_numbers_that_are_near_enough(value):
    assert _answered(value).passed


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (None, "blank"),
        ("", "blank"),
        (..., "blank"),
        (4.1, "wrong"),
        (-4, "wrong"),
        ("4", "wrong"),
        ([4], "wrong"),
        (True, "wrong"),
    ],
)
def test_numbers_that_are_not(value, status):
    report = _answered(value)
    assert (report.status, report.points) == (status, 0)


def test_every_option_has_its_explanation():
    options = {"a": ("one", "Too few."), "b": ("two", "Right: two.")}
    task = choice(
        "c", "?", options, answer="b", points=1, section="01 · Derive", module=__name__
    )
    assert task.options == {"a": "one", "b": "two"}
    assert check_answer(task, "b").message == "Right: two."
    assert check_answer(task, "A ").message == "Too few."
    assert check_answer(task, "z").status == "wrong"


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: _task(points=-1), ["points", "-1"]),
        (lambda: _task(kind="law"), ["laws", "'law'"]),
        (lambda: _task().mistake(lambda x: x), ["docstring", "<lambda>"]),
        (
            lambda: choice(
                "c", "?", {}, answer="z", points=1, section="01", module=__name__
            ),
            ["answer", "'z'"],
        ),
    ],
)
def test_a_task_that_makes_no_sense_is_refused(make, names):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the words are in the table
        make()
    assert [name for name in names if name not in str(caught.value)] == []
