"""No right program goes unproved: each is imported by the test file of its exercise."""

import importlib

import pytest

from mlopt_edu.checks import exercises


@pytest.mark.parametrize("stem", exercises())
def test_every_task_with_a_program_is_proved(stem):
    module = importlib.import_module(f"tests.checks.references.test_{stem[3:]}")
    programs = {
        name for name, task in exercises()[stem].items() if task.kind != "choice"
    }
    proved = {name.removesuffix("_reference") for name in vars(module)}
    assert programs <= proved
