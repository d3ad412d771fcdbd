"""Grades one submission: its answers run elsewhere, and are judged here.

This process never executes what a learner wrote. It draws the inputs, gets values
back from the answer process and compares them with the keys. A worker of a class, on
this machine or another, keeps one `Grader` for all that it is given.
"""

import functools
import hashlib
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlopt_edu.checks import Artifact, Report
from mlopt_edu.checks._answer import Answer
from mlopt_edu.checks._key import AnswerKey

from . import wire
from .artifact import judge_weights
from .exercise import Exercise, course_exercises
from .hidden import judge_hidden, load_hidden
from .isolation import available
from .process import Limits
from .warm import Warm

Weights = Mapping[str, bytes | str]  # content by task, or why it cannot be read
# Torch takes seconds to import, and each fork copies its tables of pages: two warm
# processes, so that only who uses it pays.
Modules = tuple[str, ...]
ARRAYS: Modules = ("numpy",)
TENSORS: Modules = ("numpy", "torch")
NO_ANSWER = Answer(status="missing", error="the notebook has no answer to it")


@dataclass(frozen=True)
class Rules:
    """What decides a result besides the submission: the same for a whole class.

    Attributes:
        seed: Seed of the hidden cases.
        limits: What one submission may use.
        isolation: How its process is confined; the strongest there is when None.
        hidden: The instructor's folder of hidden checks, or None.
    """

    seed: int
    limits: Limits = field(default_factory=Limits)
    isolation: str | None = None
    hidden: Path | None = None


@dataclass(frozen=True)
class Graded:
    """The reports on one submission, in the order of its exercise.

    Attributes:
        reports: One for each task.
        seconds: Wall time that its answers took.
        isolation: How their process was confined.
    """

    reports: tuple[Report, ...]
    seconds: float
    isolation: str


class Grader:
    """Grades submissions one after another; close it when done.

    Args:
        rules: What decides a result.
        exercises: What may be submitted; the course's exercises when None.
    """

    def __init__(
        self, rules: Rules, *, exercises: Sequence[Exercise] | None = None
    ) -> None:
        known = course_exercises() if exercises is None else exercises
        if rules.hidden is not None:
            known, _ = load_hidden(rules.hidden, known)
        self._exercises = {exercise.stem: exercise for exercise in known}
        self._rules = rules
        self._isolation = rules.isolation or available()[0].name
        setups = {stem: one.setup for stem, one in self._exercises.items()}
        self._warm = {
            modules: Warm(
                setups, rules.limits, isolation=self._isolation, preload=modules
            )
            for modules in (ARRAYS, TENSORS)
        }
        self._one_at_a_time = threading.Lock()
        self._drawn = functools.cache(self._draw)
        self._started = functools.cache(self._start)

    def grade(
        self, stem: str, answers: Mapping[str, str], weights: Weights | None = None
    ) -> Graded:
        """Run and judge the answers to one exercise.

        Args:
            stem: Name of the exercise.
            answers: Source by task name, in the order of the notebook.
            weights: For tasks that ask for a file of weights what was handed in.
        """
        exercise = self._exercises[stem]
        handed = weights or {}
        with self._one_at_a_time:
            keys, inputs = self._drawn(stem)
            programs = {name: text for name, text in answers.items() if name in keys}
            texts = (exercise.setup, *programs.values())
            tensors = any("torch" in text for text in texts)
            warm = self._started(stem, TENSORS if tensors else ARRAYS)
            start = time.monotonic()
            given = warm.answer(stem, programs, exercise.tasks, inputs)
            seconds = time.monotonic() - start
        reports = []
        for name, task in exercise.tasks.items():
            if isinstance(task, Artifact):
                seed = self._rules.seed
                reports.append(judge_weights(task, handed.get(name), seed=seed))
                continue
            answered = given.get(name, [NO_ANSWER] * len(keys[name].cases))
            source = answers.get(name, "")
            reports.append(judge_hidden(keys[name], answered, source=source))
        return Graded(tuple(reports), round(seconds, 3), self._isolation)

    def close(self) -> None:
        """End the answer processes and all that they started."""
        for warm in self._warm.values():
            warm.close()

    def _start(self, stem: str, modules: Modules) -> Warm:
        """Get ready to run answers: what that takes is no submission's time."""
        warm = self._warm[modules]
        warm.answer(stem, {}, self._exercises[stem].tasks, {})
        return warm

    def _draw(self, stem: str) -> tuple[dict[str, AnswerKey], dict[str, list[object]]]:
        """Draw the cases of an exercise and encode their inputs, once."""
        tasks = self._exercises[stem].tasks
        keys = {
            name: AnswerKey(task, task.cases(self._rules.seed))
            for name, task in tasks.items()
            if not isinstance(task, Artifact)  # nothing of it is run
        }
        inputs: dict[str, list[object]] = {
            name: [wire.encode(dict(case.inputs)) for case in key.cases]
            for name, key in keys.items()
        }
        return keys, inputs


@functools.cache
def _grader(rules: Rules) -> Grader:
    return Grader(rules)


def grade_answers(
    rules: Rules, stem: str, answers: Mapping[str, str], weights: Weights
) -> Graded:
    """Grade in a worker: it keeps its grader from one submission to the next."""
    return _grader(rules).grade(stem, answers, weights)


@functools.cache
def course_digest(hidden: Path | None = None) -> str:
    """Return what two installations share if they grade alike."""
    digest = hashlib.sha256()
    for folder in filter(None, (Path(__file__).parents[1], hidden)):
        for path in sorted(folder.rglob("*.py")):
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    for exercise in course_exercises():
        digest.update(repr((exercise.stem, exercise.setup, exercise.stubs)).encode())
    return digest.hexdigest()


def answers_digest(
    stem: str, answers: Mapping[str, str], weights: Weights | None = None
) -> str:
    """Return what two submissions share if they give the same answers in one order."""
    files = {
        name: hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else data
        for name, data in (weights or {}).items()
    }
    text = json.dumps([stem, list(answers.items()), files])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
