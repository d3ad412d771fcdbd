"""The proof of every check. A new exercise joins by existing.

For every task: the reference passes, the blank fails, each mistake fails with its own
message, right answers written in other ways pass, and every mutant of the reference
is rejected unless it is proven to be no change at all.
"""

import importlib

import nbformat
import pytest

from mlopt_edu.checks import find_task, tasks
from mlopt_edu.checks._check import check_answer
from tests.checks.mutants import EQUIVALENT, survivors

TASKS = list(tasks().values())
SEEDS = (20, 1, 987654321)
BLANKS = {
    "None": None,
    "returns None": lambda *inputs: None,
    "returns its input": lambda *inputs: inputs[0] if inputs else 0,
    "0": 0,
    "empty text": "",
    "a dict": {},
}


def answer_of(task, program):
    return program() if task.is_value else program


def alternatives(task):
    module = importlib.import_module(f"tests.checks.alternatives.{task.exercise[3:]}")
    return module.ALTERNATIVES[task.name]


def stub(task, repository):
    """Return setup and answer's cell as the learner finds them; None for a lesson's."""
    file = repository / "exercises" / f"{task.exercise}.ipynb"
    if not file.exists() or not task.points:
        return None
    cells = nbformat.read(file, as_version=4).cells
    (source,) = [cell.source for cell in cells if cell.id == task.name]
    setup = [c.source for c in cells if "setup" in c.metadata.get("tags", [])]
    return "\n".join([*setup, source])


def per_task(function):
    return pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)(function)


@per_task
def test_reference_passes(task, judged):
    for seed in range(40):  # a class is graded on a seed that nobody has tried
        report = judged(task, answer_of(task, task.reference), seed)
        assert report.passed, f"seed {seed}: {report}"
        assert report.points == task.points


@per_task
def test_blank_fails(task):
    for name, blank in BLANKS.items():
        report = check_answer(task, blank)
        assert not report.passed, name
        assert report.points == 0
        assert report.message


@per_task
def test_what_the_learner_starts_from_fails(task, repository):
    source = stub(task, repository)
    if source is None:
        pytest.skip("this task is part of a lesson and has no exercise notebook")
    namespace = {}
    if task.kind == "repair":  # the broken program uses the answers before it
        for other in TASKS:
            if other.exercise == task.exercise and not other.is_value:
                namespace[other.name] = other.reference
    try:
        exec(source, namespace)
    except NotImplementedError:
        return
    report = check_answer(task, namespace[task.name])
    assert not report.passed
    if task.kind == "repair":
        assert report.mistake == "as_given"
    else:
        assert report.status in ("blank", "wrong")


@per_task
def test_each_mistake_fails_with_its_own_message(task, judged):
    found, expected = [], []
    for seed in SEEDS:
        for mistake in task.mistakes:
            report = judged(task, answer_of(task, mistake.program), seed)
            found.append((seed, report.mistake, report.message, report.points))
            expected.append((seed, mistake.name, mistake.explanation, 0))
    assert found == expected


@per_task
def test_every_task_knows_typical_mistakes(task):
    assert len(task.mistakes) >= (2 if task.kind == "choice" else 4)


@per_task
def test_right_answers_written_in_other_ways_pass(task, judged):
    for seed in SEEDS:
        for number, answer in enumerate(alternatives(task)):
            report = judged(task, answer, seed)
            assert report.passed, f"alternative {number}, seed {seed}: {report}"


@per_task
def test_there_are_at_least_five_alternatives(task):
    assert len(alternatives(task)) >= 5


@per_task
def test_mutants_of_the_reference_are_rejected(task):
    if task.kind == "choice":
        pytest.skip("a choice has no program: every wrong option is a mistake")
    alive, total = survivors(task)
    assert total >= 10, "too few mutants to prove anything"
    assert [change for change in alive if (task.name, change) not in EQUIVALENT] == []


def test_no_equivalent_is_listed_in_vain():
    alive = {
        (task.name, change)
        for task in TASKS
        if task.kind != "choice"
        for change in survivors(task)[0]
    }
    assert set(EQUIVALENT) == alive


@per_task
def test_hints_come_in_three_layers(task):
    if task.kind == "choice" and (task.points == 0 or "hint" in task.name):
        pytest.skip("a quiz explains each option at once, so it needs no hints")
    assert len(set(task.hints)) == 3


@per_task
def test_same_seed_same_cases(task):
    one, two = task.cases(5), task.cases(5)
    assert [case.label for case in one] == [case.label for case in two]
    assert str([case.inputs for case in one]) == str([case.inputs for case in two])


def test_unknown_task_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'descend'"):
        find_task("desend")
    with pytest.raises(ValueError, match="did you mean '01_gradient_descent'"):
        tasks("01_gradient_decent")
