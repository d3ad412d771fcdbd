"""An answer may do what it likes: one `Answer` comes back and the caller goes on."""

import itertools
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch

from mlopt_edu.checks._answer import Answer, answer_case, answer_cases

ONE = {"x": 1.0}
BOMB = "x" * 1_000_000


LET_GO = threading.Event()


@pytest.fixture
def let_go():
    """Ends the program that refuses to stop, after its test."""
    LET_GO.clear()
    yield
    LET_GO.set()


def forever(x):
    while True:
        x += 1


def excepting(x):
    while True:
        try:  # noqa: SIM105 what a learner writes
            x += 1
        except:  # noqa: E722
            pass


def refusing(x):
    while not LET_GO.is_set():
        try:
            while not LET_GO.is_set():
                x += 1
        except:  # noqa: E722
            pass


def printing(x):
    while True:
        print(BOMB)


def generating(x):
    while True:
        yield x


def quitting(x):
    sys.exit(3)


def interrupting(x):
    raise KeyboardInterrupt


def recursing(x):
    return recursing(x + 1)


def shouting(x):
    raise ValueError("a\n" + BOMB)


def helper():
    raise NotImplementedError


def blank(x):
    raise NotImplementedError


def built_on_blank(x):
    return helper() + x


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (lambda x: x + 1, 2.0),
        (lambda x: None, None),
        (lambda x: (y for y in (x, x)), [1.0, 1.0]),
        (np.negative, -1.0),
    ],
)
def test_what_a_call_returns_is_the_value(answer, value):
    assert answer_case(answer, ONE, seconds=5) == Answer(value)


@pytest.mark.parametrize("value", [3, "a", None, [1, 2]])
def test_without_inputs_a_value_is_its_own_answer(value):
    assert answer_case(value, {}, seconds=5) == Answer(value)
    assert answer_case(lambda: value, {}, seconds=5) == Answer(value)


def test_a_value_where_a_function_is_asked_names_its_type():
    answer = answer_case(3, ONE, seconds=5)
    assert answer.status == "missing"
    assert "function" in answer.error
    assert "int" in answer.error


def test_inputs_come_by_position_in_their_order():
    assert answer_case(lambda a, b: a - b, {"p": 5, "q": 3}, seconds=5).value == 2


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (lambda x: x / 0, "raised", ["ZeroDivisionError"]),
        (lambda: 1, "raised", ["TypeError", "positional"]),
        (lambda x: x.T, "raised", ["AttributeError", "'T'"]),
        (quitting, "raised", ["SystemExit", "3", "sys.exit(3)"]),
        (interrupting, "raised", ["KeyboardInterrupt"]),
        (recursing, "raised", ["RecursionError", "recursing(x + 1)"]),
        (shouting, "raised", ["ValueError: a x"]),
        (blank, "blank", ["not written"]),
        (built_on_blank, "blank", ["`helper`", "not written"]),
    ],
)
def test_a_call_that_ends_badly_is_one_line_of_text(answer, status, words):
    seen = answer_case(answer, ONE, seconds=5)
    assert seen.status == status
    assert seen.value is None
    assert [word for word in words if word not in seen.error] == []
    assert "\n" not in seen.error
    assert len(seen.error) < 500


@pytest.mark.parametrize(
    "answer", [generating, lambda x: itertools.count(), lambda x: itertools.repeat(x)]
)
def test_an_iterator_without_end_is_not_followed(answer):
    seen = answer_case(answer, ONE, seconds=5)
    assert seen.status == "raised"
    assert "yields more than 100,000 values" in seen.error


@pytest.mark.parametrize(
    "answer",
    [forever, excepting, refusing, printing],
    ids=lambda f: f.__name__,
)
def test_a_call_that_never_ends_is_stopped(answer, let_go):
    stdout = sys.stdout
    seen = answer_case(answer, ONE, seconds=0.1)
    assert seen.status == "timeout"
    assert "0.1 seconds" in seen.error
    assert sys.stdout is stdout
    assert answer_case(lambda x: x, ONE, seconds=5) == Answer(1.0)


@pytest.mark.parametrize("answer", [forever, excepting, printing, generating])
def test_no_thread_outlives_an_answer_that_can_be_stopped(answer):
    before = set(threading.enumerate())
    answer_case(answer, ONE, seconds=0.1)
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(5)
    assert not any(thread.is_alive() for thread in left)


def test_what_it_prints_is_counted_and_dropped(capsys):
    def loud(x):
        for _ in range(3):
            print(BOMB)
        print("!", file=sys.stderr)
        warnings.warn("careful", stacklevel=1)
        return x

    assert answer_case(loud, ONE, seconds=5) == Answer(1.0, printed=3_000_005)
    assert capsys.readouterr() == ("", "")


def test_numerical_warnings_stay_with_the_answer():
    assert answer_case(np.log, {"x": np.zeros(1)}, seconds=5).value == -np.inf


def add_one(x):
    x += 1
    return x


@pytest.mark.parametrize(
    ("value", "change"),
    [
        (np.zeros(2), add_one),
        (torch.zeros(2), add_one),
        ([1, 2], lambda x: x.append(3)),
        ({"a": np.zeros(2)}, lambda x: x["a"].fill(1)),
        ({"a": 1}, lambda x: x.clear()),
        (np.zeros(4), lambda x: x.resize(2, refcheck=False)),
        (np.array([0.0]), lambda x: x.__imul__(-1)),  # -0.0 == 0.0, yet it was written
    ],
    ids=["array", "tensor", "list", "nested", "dict", "resized", "signed zero"],
)
def test_changed_inputs_are_named_and_never_reach_the_caller(value, change):
    inputs = {"kept": np.full(2, np.nan), "x": value}
    before = repr(inputs)
    seen = answer_case(lambda kept, x: change(x), inputs, seconds=5)
    assert seen.mutated == ("x",)
    assert repr(inputs) == before


@pytest.mark.parametrize(
    "value", [1, np.nan, np.full(2, np.nan), torch.ones(2), (1, [2]), "text", None]
)
def test_inputs_that_are_only_read_are_not_named(value):
    assert answer_case(lambda x: 0, {"x": value}, seconds=5).mutated == ()


def test_a_case_that_never_ends_ends_the_series():
    tried = []

    def slow(x):
        tried.append(x)
        return x if x < 2 else forever(x)

    seen = answer_cases(slow, [{"x": x} for x in range(5)], seconds=0.3)
    assert [one.status for one in seen] == 2 * ["returned"] + 3 * ["timeout"]
    assert tried == [0, 1, 2]
    assert all("0.3 seconds" in one.error for one in seen[2:])


def test_all_cases_share_one_limit():
    seen = answer_cases(lambda x: time.sleep(0.6), [ONE, ONE], seconds=1)
    assert [one.status for one in seen] == ["returned", "timeout"]


def test_one_case_that_raises_does_not_end_the_series():
    seen = answer_cases(lambda x: 1 / x, [{"x": 0}, {"x": 2}], seconds=5)
    assert [one.status for one in seen] == ["raised", "returned"]
