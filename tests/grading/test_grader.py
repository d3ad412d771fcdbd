"""A grader keeps what it needs from one submission to the next, and no more."""

from dataclasses import replace

from mlopt_edu.grading.exercise import Exercise
from mlopt_edu.grading.grader import ARRAYS, TENSORS, Grader, Rules

from .conftest import ANSWERS, STEM

LOADED = """
import sys

def double(x):
    return 2 * x if {condition} else x
"""


def test_torch_is_imported_for_those_who_use_it(exercise: Exercise) -> None:
    grader = Grader(Rules(seed=5), exercises=[exercise])
    without = LOADED.format(condition="'to' + 'rch' not in sys.modules")
    with_torch = LOADED.format(condition="'torch' in sys.modules")
    try:
        first = grader.grade(STEM, {**ANSWERS, "double": without})
        assert all(report.passed for report in first.reports)
        assert grader._warm[TENSORS]._running is None

        second = grader.grade(STEM, {**ANSWERS, "double": with_torch})
        assert all(report.passed for report in second.reports)
        third = grader.grade(STEM, {**ANSWERS, "double": without})
        assert all(report.passed for report in third.reports)
    finally:
        grader.close()
    assert all(warm._running is None for warm in grader._warm.values())


def test_an_exercise_whose_setup_imports_torch_has_it(exercise: Exercise) -> None:
    heavier = replace(exercise, setup=exercise.setup + "\nimport torch")
    grader = Grader(Rules(seed=5), exercises=[heavier])
    try:
        graded = grader.grade(STEM, ANSWERS)
        assert grader._warm[ARRAYS]._running is None
    finally:
        grader.close()
    assert all(report.passed for report in graded.reports)
