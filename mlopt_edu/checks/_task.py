"""A graded task is data: a right program, inputs to try it on, known wrong programs.

A mistake is a *program*. When an answer is wrong it is compared with every mistake;
if one gives the same results, that mistake's docstring is the feedback. The same
programs prove, in the tests, that the task rejects them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import getdoc
from typing import Any, Literal

import numpy as np

Kind = Literal["function", "law", "repair", "choice", "number", "artifact"]
Program = Callable[..., Any]
Draw = Callable[[np.random.Generator], Iterator["Case"]]

PLAIN_LIMIT = 3.0  # seconds for all the cases of a task: no answer of ours needs 0.1


@dataclass(frozen=True)
class Case:
    """One set of inputs, and a label that says what it tries ("many steps")."""

    label: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Mistake:
    """A wrong program that people do write, and the sentence that helps them."""

    name: str
    program: Program
    explanation: str


@dataclass(frozen=True)
class Law:
    """A property that every right answer has, whatever else it looks like.

    `breach` says how a value breaks it, or returns "".
    """

    statement: str
    breach: Callable[[Mapping[str, Any], Any], str]


class Task:
    """What the learner must write, and everything needed to judge it.

    Args:
        name: The name that the learner defines; also the id of the answer's cell.
        points: Points for a right answer; 0 for practice in a lesson, which is not
            part of the exercise and counts nothing.
        section: Where a lesson teaches it: its number and heading, "01 · Derive".
        reference: A right program, written without the library that it teaches. It
            is called with the inputs of a case in their order, by position.
        draw: Yields cases from a seeded generator: ordinary, odd and edge inputs.
        kind: "function" compares with `reference`; "repair" does too, but the
            learner starts from a broken program; "law" asks only for `laws`.
        laws: For a law task, functions `(inputs, value) -> str` whose docstring
            states the property; they return "" or how the value breaks it.
        hints: A nudge, the approach, almost the answer: opened one after another.
        mutates: Names of inputs that the answer may change in place.
        forbid: Dotted names that the answer may not use, as "torch.optim".
        rtol: Relative tolerance for float64 answers; lower precisions get their own,
            except with 0: then the numbers must be exactly right.
        picture: `(inputs, value) -> (x, y)`: the curve that shows an answer.
        axes: Names of the two axes of `picture`.
        seconds: Time limit for all cases together, in seconds.

    Raises:
        ValueError: If a law task has no laws, or points are below 0.
    """

    def __init__(
        self,
        name: str,
        *,
        points: int,
        section: str,
        reference: Program,
        draw: Draw,
        kind: Kind = "function",
        laws: tuple[Callable[[Mapping[str, Any], Any], str], ...] = (),
        hints: tuple[str, ...] = (),
        mutates: tuple[str, ...] = (),
        forbid: tuple[str, ...] = (),
        rtol: float = 1e-7,
        picture: Callable[[Mapping[str, Any], Any], tuple[Any, Any]] | None = None,
        axes: tuple[str, str] = ("x", "y"),
        seconds: float = PLAIN_LIMIT,
    ) -> None:
        if points < 0:
            raise ValueError(f"points must be at least 0, got {points}")
        if (kind == "law") != bool(laws):
            raise ValueError(f"laws must be given for a law task only, got {kind!r}")
        self.name = name
        self.points = points
        self.section = section
        self.reference = reference
        self.draw = draw
        self.kind: Kind = kind
        self.laws = tuple(Law(getdoc(law) or law.__name__, law) for law in laws)
        self.hints = hints
        self.mutates = mutates
        self.forbid = forbid
        self.rtol = rtol
        self.picture = picture
        self.axes = axes
        self.seconds = seconds
        self.mistakes: list[Mistake] = []
        self.question = ""
        self.options: Mapping[str, str] = {}

    @property
    def exercise(self) -> str:
        """Stem of the exercise: the section's number and the public module's name."""
        module = self.reference.__module__.removeprefix(f"{__package__}.")
        return f"{self.section[:2]}_{module.partition('.')[0]}"

    @property
    def is_value(self) -> bool:
        """Whether the answer is a value, not something to call."""
        return self.kind in ("choice", "number")

    def cases(self, seed: int) -> list[Case]:
        """Draw the inputs; the same seed gives the same cases."""
        return list(self.draw(np.random.default_rng(seed)))

    def mistake(self, program: Program) -> Program:
        """Register a wrong program; its docstring is the feedback (a decorator)."""
        explanation = " ".join((getdoc(program) or "").split())
        if not explanation:
            raise ValueError(
                f"mistake {program.__name__} must have a docstring: it is the feedback"
            )
        self.mistakes.append(Mistake(program.__name__, program, explanation))
        return program

    def __repr__(self) -> str:
        return f"Task({self.name!r}, points={self.points}, kind={self.kind!r})"


def _one_case(_: np.random.Generator) -> Iterator[Case]:
    yield Case("your answer", {})


def number(
    name: str,
    question: str,
    *,
    reference: Callable[[], float],
    points: int,
    section: str,
    hints: tuple[str, ...] = (),
    rtol: float = 1e-3,
) -> Task:
    """Ask for one number. Mistakes are programs that compute a wrong one.

    Args:
        name: The name that the learner assigns the number to.
        question: What is asked, in one or two sentences.
        reference: Computes the right number.
        points: Points for it.
        section: Where the lesson teaches it.
        hints: As for `Task`.
        rtol: How near the answer must be, as a share of the right one.
    """
    task = Task(
        name,
        points=points,
        section=section,
        reference=reference,
        draw=_one_case,
        kind="number",
        hints=hints,
        rtol=rtol,
    )
    task.question = question
    return task


def choice(
    name: str,
    question: str,
    options: Mapping[str, tuple[str, str]],
    *,
    answer: str,
    points: int,
    section: str,
    module: str,
    hints: tuple[str, ...] = (),
) -> Task:
    """Ask for one of several options; every option has its explanation.

    Args:
        name: The name that the learner assigns the letter to.
        question: What is asked.
        options: Letter to (text, explanation), for the right one too.
        answer: The letter of the right option.
        points: Points for it.
        section: Where the lesson teaches it.
        module: `__name__` of the exercise's module.
        hints: As for `Task`.

    Raises:
        ValueError: If `answer` is not one of `options`.
    """
    if answer not in options:
        raise ValueError(f"answer must be one of {sorted(options)}, got {answer!r}")

    def program(key: str, explanation: str) -> Program:
        def chosen() -> str:
            return key

        chosen.__module__, chosen.__doc__ = module, explanation
        chosen.__name__ = f"option_{key}"
        return chosen

    task = Task(
        name,
        points=points,
        section=section,
        reference=program(answer, options[answer][1]),
        draw=_one_case,
        kind="choice",
        hints=hints,
    )
    task.question = question
    task.options = {key: text for key, (text, _) in options.items()}
    for key, (_, explanation) in options.items():
        if key != answer:
            task.mistake(program(key, explanation))
    return task
