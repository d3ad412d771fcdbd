"""The right programs of the exercises, proved by others: a test file an exercise."""

import pytest

from mlopt_edu.checks import find_task


def cases(name):
    """Every case of a task on two seeds."""
    drawn = [case for seed in (20, 1) for case in find_task(name).cases(seed)]
    return pytest.mark.parametrize("case", drawn, ids=lambda case: case.label)
