"""From attempts to grades: best or last, and what coming late costs. Pure functions.

A deadline is the due time, or the student's own extension of it, and the minutes of
grace. After it, every day that has started costs a share of the points, up to a cap;
after the cut-off an attempt earns nothing. Days are days of the calendar where the
deadline is: a deadline at 23:59 is one day past at 23:59 of the next day, also when
the clocks change in between.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from .entry import Earned
from .read import Attempted

Keep = Literal["best", "last", "best per task"]

_UNKNOWN = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Policy:
    """How the attempts at one exercise become a grade.

    Attributes:
        keep: Which attempt counts: the "best", the "last", or the "best per task".
        due: When it is due, with a time zone; None if it can never be late.
        grace_minutes: How much later an attempt is still in time.
        percent_per_day: What each started day costs, in percent of the points.
        cap_percent: The most that coming late costs, in percent.
        cut_off: After it an attempt earns nothing; None if there is no such time.
        extensions: Due times of single students, by name; a cut-off moves along.
    """

    keep: Keep = "best"
    due: datetime | None = None
    grace_minutes: float = 0.0
    percent_per_day: float = 0.0
    cap_percent: float = 100.0
    cut_off: datetime | None = None
    extensions: Mapping[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.keep not in ("best", "last", "best per task"):
            raise ValueError(
                f'keep must be "best", "last" or "best per task", got {self.keep!r}'
            )
        if self.grace_minutes < 0:
            raise ValueError(
                f"grace_minutes must be at least 0, got {self.grace_minutes:g}"
            )
        for name in ("percent_per_day", "cap_percent"):
            if not 0 <= getattr(self, name) <= 100:
                raise ValueError(f"{name} must be 0 to 100, got {getattr(self, name)}")
        for time in (self.due, self.cut_off, *self.extensions.values()):
            if time is not None and time.tzinfo is None:
                raise ValueError(f"a due time must have a time zone, got {time}")
        if self.due is None and (self.cut_off or self.extensions):
            raise ValueError("due must be given where there is a cut-off or extension")
        if self.due and self.cut_off and self.cut_off < self.due:
            raise ValueError(f"cut_off must not be before due, got {self.cut_off}")


@dataclass(frozen=True)
class Policies:
    """The policies of a course.

    Attributes:
        default: That of exercises that are not named.
        by_exercise: That of each exercise that is, by stem.
    """

    default: Policy = field(default_factory=Policy)
    by_exercise: Mapping[str, Policy] = field(default_factory=dict)


@dataclass(frozen=True)
class Late:
    """How late an attempt is, and what that costs.

    Attributes:
        days: Days started after the deadline; 0 if in time.
        percent: What it costs, in percent of the points.
        note: What a person should know, or "".
    """

    days: int = 0
    percent: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Grade:
    """What a student has in an exercise.

    Attributes:
        student: Name of the student.
        exercise: Stem of the exercise.
        points: What counts, after what coming late cost.
        max_points: Points possible.
        earned: Points before that.
        attempt: The attempt that counts; of several, the last one.
        scores: The scores that count, by task, before what coming late cost.
        late: How late it was.
        attempts: How many attempts there were.
        notes: What a person should know.
    """

    student: str
    exercise: str
    points: float
    max_points: int
    earned: int
    attempt: Attempted
    scores: Mapping[str, Earned]
    late: Late
    attempts: int
    notes: tuple[str, ...] = ()

    @property
    def penalty(self) -> float:
        """Points that coming late cost."""
        return round(self.earned - self.points, 2)


def lateness(policy: Policy, submitted: datetime | None, *, student: str = "") -> Late:
    """Say how late an attempt is.

    Args:
        policy: Due time and what coming late costs.
        submitted: When it was submitted; None if nobody knows, which is in time.
        student: Who may have an extension.
    """
    if policy.due is None:
        return Late()
    if submitted is None:
        return Late(note="the time of submission is unknown and counts as in time")
    due = policy.extensions.get(student, policy.due)
    deadline = (
        due.astimezone(UTC) + timedelta(minutes=policy.grace_minutes)
    ).astimezone(due.tzinfo)
    if submitted.astimezone(UTC) <= deadline.astimezone(UTC):
        return Late()
    # Between two times of one zone Python counts by the clock on the wall, so a day
    # is a day of the calendar. In the hour that comes twice that can be below zero.
    past = submitted.astimezone(deadline.tzinfo) - deadline
    days = max(1, math.ceil(past / timedelta(days=1)))
    if policy.cut_off is not None:
        cut_off = policy.cut_off + (due - policy.due)
        if submitted.astimezone(UTC) > cut_off.astimezone(UTC):
            return Late(days, 100.0, "it came after the cut-off and earns nothing")
    return Late(days, min(days * policy.percent_per_day, policy.cap_percent))


def grades(
    attempts: Iterable[Attempted], policies: Policies | None = None
) -> list[Grade]:
    """Return the grade of each student in each exercise that the student handed in.

    Args:
        attempts: All attempts, each student's in the order they came in.
        policies: Those of the course; the best attempt and no deadline when None.
    """
    policies = policies or Policies()
    own: dict[tuple[str, str], list[Attempted]] = {}
    for one in attempts:
        own.setdefault((one.exercise, one.student), []).append(one)
    found = [
        grade(group, policies.by_exercise.get(exercise, policies.default))
        for (exercise, _), group in sorted(own.items())
        if exercise
    ]
    # Who has no score at all could still have earned what the others could.
    possible: dict[str, int] = {}
    for had in found:
        most = max(had.max_points, possible.get(had.exercise, 0))
        possible[had.exercise] = most
    return [replace(had, max_points=possible[had.exercise]) for had in found]


def ungraded(attempts: Iterable[Attempted], given: Iterable[Grade]) -> list[str]:
    """Return a sentence for each submission of which not even the exercise is known.

    Who handed in something else that counts is left out.
    """
    have = {one.student for one in given}
    return [
        f"{one.student!r} has no grade: {one.label}: {one.reason}"
        for one in attempts
        if not one.exercise and one.student not in have
    ]


def grade(attempts: Sequence[Attempted], policy: Policy) -> Grade:
    """Return the grade from one student's attempts at one exercise, oldest first.

    Attempts that could not be graded count only if no other could: the grade is 0
    then, and a note says why.
    """
    notes = [f"{a.label}: {a.reason}" for a in attempts if a.status != "graded"]
    readable = [one for one in attempts if one.status == "graded"] or list(attempts)
    # An attempt of unknown time is taken for older than those whose time is known.
    ordered = sorted(readable, key=lambda one: one.submitted or _UNKNOWN)
    late = [lateness(policy, a.submitted, student=a.student) for a in ordered]
    chosen = _chosen(ordered, late, policy.keep)
    last = max(chosen.values(), default=len(ordered) - 1)
    scores = {task: ordered[which].scores[task] for task, which in chosen.items()}
    points = sum(
        scores[task].points * (100 - late[which].percent) / 100
        for task, which in chosen.items()
    )
    notes += [
        f"{ordered[which].label}: {late[which].note}"
        for which in sorted({last, *chosen.values()})
        if late[which].note
    ]
    return Grade(
        student=attempts[0].student,
        exercise=attempts[0].exercise,
        points=round(points, 2),
        max_points=sum(one.max_points for one in scores.values()),
        earned=sum(one.points for one in scores.values()),
        attempt=ordered[last],
        scores=scores,
        late=late[last],
        attempts=len(attempts),
        notes=tuple(notes),
    )


def _chosen(
    attempts: Sequence[Attempted], late: Sequence[Late], keep: Keep
) -> dict[str, int]:
    """Return for each task which attempt counts; of equal ones the earliest."""

    def worth(which: int, tasks: Iterable[str]) -> float:
        scores = attempts[which].scores
        points = sum(scores[task].points for task in tasks if task in scores)
        return points * (100 - late[which].percent)

    everything = range(len(attempts))
    if keep == "best per task":
        tasks = dict.fromkeys(task for one in attempts for task in one.scores)
        return {
            task: max(
                (which for which in everything if task in attempts[which].scores),
                key=lambda which: worth(which, [task]),
            )
            for task in tasks
        }
    which = everything[-1]
    if keep == "best":
        which = max(everything, key=lambda one: worth(one, attempts[one].scores))
    return dict.fromkeys(attempts[which].scores, which)


def number(points: float) -> str:
    """Return points as short as they are, with at most two decimals.

    Example:
        >>> number(3), number(13.5), number(1 / 3)
        ('3', '13.5', '0.33')
    """
    return f"{points:.2f}".rstrip("0").rstrip(".")
