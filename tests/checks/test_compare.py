"""One sentence on how a value differs; a right value in any container gives none."""

import math

import numpy as np
import pytest
import torch

from mlopt_edu.checks._compare import as_array, difference, show

THIRDS = np.array([1.0, 2.0, 3.0]) / 3


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (THIRDS, THIRDS.tolist()),
        (THIRDS, tuple(THIRDS)),
        (THIRDS, torch.tensor(THIRDS)),
        (THIRDS, torch.tensor(THIRDS, requires_grad=True)),
        (THIRDS, [torch.tensor(x) for x in THIRDS]),
        (THIRDS, THIRDS + 0j),
        (THIRDS, THIRDS * (1 + 1e-9)),
        (THIRDS, THIRDS.astype(np.float32)),
        (THIRDS, THIRDS.astype(np.float16)),
        (THIRDS, torch.tensor(THIRDS, dtype=torch.float32)),
        (2.0, 2),
        (2.0, np.float32(2)),
        (2.0, torch.tensor(2.0)),
        (2.0, np.array(2)),
        (np.array([np.inf, np.nan, 1.0]), [math.inf, math.nan, 1]),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        ((THIRDS, 4), [THIRDS, 4]),
        ("b", " B "),
        ("b", "(b)"),
        (True, np.True_),
        (None, None),
    ],
)
def test_right_values_in_any_container(expected, got):
    assert difference(expected, got, rtol=1e-7) == ""


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        (1.0, None, ["None", "return"]),
        (1.0, "1", ["number", "str", "'1'"]),
        (1.0, len, ["function"]),
        (1.0, [1.0], ["(1,)"]),
        (1.0, True, ["number", "True"]),
        (1.0, {"a": 1}, ["number", "dict"]),
        (1.0, math.nan, ["1", "nan"]),
        (math.inf, -math.inf, ["inf", "-inf"]),
        (THIRDS, THIRDS[:2], ["(3,)", "(2,)"]),
        (THIRDS, THIRDS[:, None], ["(3,)", "(3, 1)"]),
        (THIRDS, [[1.0], [1.0, 2.0]], ["(3,)", "list"]),
        (THIRDS, THIRDS * 1j, ["complex"]),
        (THIRDS, THIRDS * [1, 1, 1.001], ["index 2", "1.001"]),
        (THIRDS, [0, 0, 1], ["index 0", "0.333333", "int", "fractions"]),
        (np.eye(2), np.zeros((2, 2)), ["index (0, 0)", "1", "0"]),
        (np.zeros(2), np.array([0, 1e-300]), ["index 1", "1e-300"]),
        ((THIRDS, 4), THIRDS, ["2 values"]),
        ((THIRDS, 4), (THIRDS, 5), ["value 2 of 2", "4", "5"]),
        ("b", "c", ["'c'"]),
        ("b", 2, ["text", "int"]),
        ("b", None, ["None"]),
    ],
)
def test_wrong_values_name_what_was_seen(expected, got, words):
    text = difference(expected, got, rtol=1e-7)
    assert text
    assert [word for word in words if word not in text] == []
    assert "\n" not in text


@pytest.mark.parametrize(
    ("dtype", "accepted"), [(np.float64, 1e-8), (np.float32, 1e-6), (np.float16, 2e-3)]
)
def test_tolerance_follows_the_precision_of_the_answer(dtype, accepted):
    right = np.array([1.0, 100.0])
    near = (right * (1 + accepted)).astype(dtype)
    far = (right * 1.05).astype(dtype)
    assert difference(right, near, rtol=1e-7) == ""
    assert difference(right, far, rtol=1e-7) != ""


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_without_a_tolerance_only_the_same_numbers_are_right(dtype):
    right = np.array([0.0, 1, 1.5, np.inf])
    assert difference(right, right.astype(dtype), rtol=0) == ""
    near = np.nextafter(right.astype(dtype), dtype(2))
    assert difference(right, near, rtol=0) != ""


def test_a_list_without_rows_may_stand_for_any_empty_array():
    assert difference(np.zeros((0, 4)), [], rtol=1e-7) == ""
    assert difference(np.zeros((2, 0)), [[], []], rtol=1e-7) == ""
    assert "shape (0, 4)" in difference(np.zeros((0, 4)), np.zeros(0), rtol=1e-7)
    assert "shape (1, 4)" in difference(np.zeros((1, 4)), [], rtol=1e-7)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_the_unit_of_the_answer_does_not_matter(scale):
    right = scale * THIRDS
    assert difference(right, right * (1 + 1e-9), rtol=1e-7) == ""
    assert difference(right, right * (1 + 1e-5), rtol=1e-7) != ""


def test_rounding_is_measured_against_the_largest_entry():
    right = np.array([0.0, 1.0])
    assert difference(right, right + 1e-12, rtol=1e-7) == ""


@pytest.mark.parametrize(
    "value",
    [None, "text", object(), {"a": 1}, [1, "a"], [[1], [1, 2]], len, np.array("a")],
)
def test_what_holds_no_numbers_is_no_array(value):
    assert as_array(value) is None


def test_a_list_that_holds_itself_is_no_array():
    endless = [1.0]
    endless.append(endless)
    assert as_array(endless) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.0, "2"),
        (1 / 3, "0.333333"),
        (7, "7"),
        ("a", "'a'"),
        (np.array([1.0, 2.5]), "[1.  2.5]"),
        (torch.tensor([1, 2]), "[1 2]"),
    ],
)
def test_values_are_shown_as_one_would_write_them(value, text):
    assert show(value) == text


@pytest.mark.parametrize("value", [np.ones((50, 60)), "x" * 10**6, list(range(10**4))])
def test_large_values_are_shown_shortly(value):
    assert len(show(value)) <= 340
    if not isinstance(value, str):
        assert str(np.shape(value)) in show(value)


def test_two_numbers_may_come_as_an_array():
    assert difference((1.0, 2.0), np.array([1.0, 2.0]), rtol=1e-7) == ""
    assert "value 2 of 2" in difference((1.0, 2.0), np.array([1.0, 3.0]), rtol=1e-7)
    assert "2 values" in difference((1.0, 2.0), np.ones(3), rtol=1e-7)
    assert difference((1, 2), torch.tensor([1, 2]), rtol=1e-7) == ""
    assert "2 values" in difference((1, 2), torch.ones(3), rtol=1e-7)
    assert "2 values" in difference((1, 2), torch.tensor(1.0), rtol=1e-7)


def test_ragged_lists_are_compared_entry_by_entry():
    right = [np.arange(3), np.arange(2)]
    assert difference(right, [[0, 1, 2], [0, 1]], rtol=1e-7) == ""
    assert "value 2 of 2" in difference(right, [[0, 1, 2], [0, 2]], rtol=1e-7)
    assert "2 values" in difference(right, [[0, 1, 2]], rtol=1e-7)


def test_a_signalling_nan_is_a_difference_and_no_warning():
    wrong = np.array([0x7FA00000], dtype=np.uint32).view(np.float32)
    assert difference(np.array([1.0]), wrong, rtol=1e-7) != ""
