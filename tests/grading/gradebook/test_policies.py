"""Best or last, late or not: tables of cases, worked out by hand."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mlopt_edu.grading.gradebook import (
    Attempted,
    Policies,
    Policy,
    grade,
    grades,
    read_policies,
)
from mlopt_edu.grading.gradebook.entry import Earned
from mlopt_edu.grading.gradebook.policies import Keep, lateness

BERLIN = ZoneInfo("Europe/Berlin")
DUE = datetime(2026, 11, 13, 23, 59, tzinfo=BERLIN)
LATE = Policy(due=DUE, grace_minutes=15, percent_per_day=10, cap_percent=50)


def at(text: str, zone: Any = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def attempt(*points: int, submitted: datetime | None = None, **other: Any) -> Attempted:
    scores = {f"task{i}": Earned(p, 4, "passed") for i, p in enumerate(points)}
    fields = {
        "student": "ada", "exercise": "01", "label": f"{points}", "status": "graded",
        "reason": "", "submitted": submitted, "scores": scores, **other,
    }  # fmt: skip
    return Attempted(**fields)


# Late or not.


@pytest.mark.parametrize(
    ("submitted", "days", "percent"),
    [
        ("2026-11-01T00:00", 0, 0),
        ("2026-11-13T23:59", 0, 0),
        ("2026-11-14T00:14", 0, 0),  # within the grace
        ("2026-11-14T00:14:01", 1, 10),
        ("2026-11-15T00:14", 1, 10),  # the grace moves the deadline of each day
        ("2026-11-15T00:14:01", 2, 20),
        ("2026-11-18T12:00", 5, 50),
        ("2026-12-24T12:00", 41, 50),  # the cap
    ],
)
def test_each_started_day_costs(submitted: str, days: int, percent: float) -> None:
    late = lateness(LATE, at(submitted))
    assert (days, percent, "") == (late.days, late.percent, late.note)


@pytest.mark.parametrize(
    ("submitted", "days"),
    [
        (datetime(2026, 11, 13, 22, 59, tzinfo=UTC), 0),
        (datetime(2026, 11, 13, 22, 59, 1, tzinfo=UTC), 1),
        (datetime(2026, 11, 13, 17, 59, tzinfo=timezone(timedelta(hours=-5))), 0),
        (datetime(2026, 11, 14, 9, 0, tzinfo=timezone(timedelta(hours=9))), 1),
        (datetime(2026, 11, 14, 7, 59, tzinfo=timezone(timedelta(hours=9))), 0),
    ],
)
def test_a_time_counts_wherever_it_was_written(submitted: datetime, days: int) -> None:
    assert days == lateness(Policy(due=DUE), submitted).days


@pytest.mark.parametrize(
    ("due", "submitted", "days"),
    [
        # 25 October 2026: Berlin's clocks go back, the day has 25 hours.
        ("2026-10-24T23:59", "2026-10-25T23:59", 1),
        ("2026-10-24T23:59", "2026-10-26T00:00", 2),
        # 29 March 2026: they go forward, the day has 23.
        ("2026-03-28T23:59", "2026-03-29T23:59", 1),
        ("2026-03-28T23:59", "2026-03-30T00:00", 2),
    ],
)
def test_a_day_is_one_of_the_calendar(due: str, submitted: str, days: int) -> None:
    assert days == lateness(Policy(due=at(due)), at(submitted)).days


def test_the_hour_that_comes_twice() -> None:
    """02:30 before the clocks go back, and 02:10 after: forty minutes later."""
    due = at("2026-10-25T02:30")
    after = at("2026-10-25T02:10").replace(fold=1)
    assert after < due, "Python compares the clocks on the wall"
    assert lateness(Policy(due=due), after).days == 1
    assert lateness(Policy(due=due), at("2026-10-25T02:10")).days == 0
    assert lateness(Policy(due=due, grace_minutes=40), after).days == 0
    assert lateness(Policy(due=due, grace_minutes=39), after).days == 1


def test_an_extension_moves_the_cut_off_too() -> None:
    policy = Policy(
        due=DUE,
        percent_per_day=10,
        cut_off=DUE + timedelta(days=2),
        extensions={"ada": DUE + timedelta(days=7)},
    )
    after = [1, 2, 3, 7, 8, 9, 10]
    times = [DUE + timedelta(days=days) for days in after]
    costs = {
        who: [lateness(policy, time, student=who).percent for time in times]
        for who in ("ada", "bob")
    }
    assert costs["bob"] == [10, 20, 100, 100, 100, 100, 100]
    assert costs["ada"] == [0, 0, 0, 0, 10, 20, 100]
    late = lateness(policy, times[2], student="bob")
    assert late.note == "it came after the cut-off and earns nothing"


def test_an_unknown_time_is_in_time_and_noted() -> None:
    late = lateness(LATE, None)
    note = "the time of submission is unknown and counts as in time"
    assert (0, 0, note) == (late.days, late.percent, late.note)
    assert lateness(Policy(), None).note == ""


# Which attempt.

EARLY, LATER = DUE - timedelta(days=1), DUE + timedelta(minutes=30)


@pytest.mark.parametrize(
    ("keep", "attempts", "points", "label"),
    [
        ("best", [((4, 0), EARLY), ((0, 3), EARLY)], 4, "(4, 0)"),
        ("best", [((0, 3), EARLY), ((4, 0), EARLY)], 4, "(4, 0)"),
        ("best", [((4, 4), LATER), ((4, 3), EARLY)], 7.2, "(4, 4)"),
        ("best", [((4, 4), LATER), ((4, 4), EARLY)], 8, "(4, 4)"),
        ("best", [((4, 0), LATER), ((0, 4), EARLY)], 4, "(0, 4)"),
        ("last", [((4, 0), EARLY), ((0, 3), EARLY)], 3, "(0, 3)"),
        ("last", [((0, 3), LATER), ((4, 0), EARLY)], 2.7, "(0, 3)"),
        ("last", [((0, 3), EARLY), ((4, 0), None)], 3, "(0, 3)"),
        ("last", [((0, 3), None), ((4, 0), None)], 4, "(4, 0)"),
        ("best per task", [((4, 0), EARLY), ((0, 3), EARLY)], 7, "(0, 3)"),
        ("best per task", [((4, 1), EARLY), ((4, 3), LATER)], 6.7, "(4, 3)"),
        ("best per task", [((4, 3), EARLY), ((4, 3), LATER)], 7, "(4, 3)"),
    ],
)
def test_what_counts(
    keep: Keep,
    attempts: list[tuple[tuple[int, ...], datetime | None]],
    points: float,
    label: str,
) -> None:
    policy = Policy(keep=keep, due=DUE, percent_per_day=10)
    given = [attempt(*points, submitted=time) for points, time in attempts]
    result = grade(given, policy)
    assert (points, label, 2) == (result.points, result.attempt.label, result.attempts)
    assert result.max_points == 8
    assert round(result.earned - result.points, 2) == result.penalty


def test_an_unreadable_attempt_does_not_take_what_was_earned() -> None:
    broken = attempt(status="error", reason="the grader failed", label="new")
    result = grade([attempt(4, 0), broken], Policy(keep="last"))
    assert (result.points, result.notes) == (4, ("new: the grader failed",))


def test_nothing_but_errors_is_no_silent_zero() -> None:
    broken = attempt(status="error", reason="the grader failed", label="new")
    other = attempt(4, 0, student="bob")
    ada, bob = grades([broken, other])
    assert (ada.student, ada.points, ada.max_points) == ("ada", 0, 8)
    assert ada.notes == ("new: the grader failed",)
    assert (bob.points, bob.max_points, bob.notes) == (4, 8, ())


def test_each_exercise_has_its_policy() -> None:
    twice = [attempt(4, 0), attempt(0, 3)]
    other = [attempt(4, 0, exercise="02"), attempt(0, 3, exercise="02")]
    policies = Policies(default=Policy(keep="last"), by_exercise={"02": Policy()})
    found = grades([*twice, *other], policies)
    assert [(one.exercise, one.points) for one in found] == [("01", 3), ("02", 4)]


# Settings.


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"keep": "first"}, 'keep must be "best", "last" or "best per task", got'),
        ({"grace_minutes": -1}, "grace_minutes must be at least 0, got -1"),
        ({"percent_per_day": 101}, "percent_per_day must be 0 to 100, got 101"),
        ({"cap_percent": -5}, "cap_percent must be 0 to 100, got -5"),
        ({"due": datetime(2026, 1, 1)}, "must have a time zone, got 2026-01-01"),
        ({"cut_off": DUE}, "due must be given where there is a cut-off"),
        ({"due": DUE, "cut_off": EARLY}, "cut_off must not be before due, got 2026"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Policy(**settings)


FILE = """
timezone = "Europe/Berlin"
keep = "last"
percent_per_day = 10

[exercises.01_gradient_descent]
due = 2026-11-13T23:59:00
cut_off = 2026-11-20T23:59:00+00:00
keep = "best"
cap_percent = 30.5

[exercises.01_gradient_descent.extensions]
ada = 2026-11-15T23:59:00
"""


def test_policies_are_read(tmp_path: Path) -> None:
    file = tmp_path / "policies.toml"
    file.write_text(FILE)
    found = read_policies(file)
    assert Policy(keep="last", percent_per_day=10) == found.default
    assert {
        "01_gradient_descent": Policy(
            keep="best",
            due=DUE,
            percent_per_day=10,
            cap_percent=30.5,
            cut_off=datetime(2026, 11, 20, 23, 59, tzinfo=UTC),
            extensions={"ada": at("2026-11-15T23:59")},
        )
    } == found.by_exercise


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("due = ", "policies.toml must be TOML: Invalid value"),
        (
            "late = 3",
            "policies.toml: there is no setting 'late'; there are keep, grace",
        ),
        ('timezone = "Berlin"', "timezone must be a name like Europe/Berlin, got 'Ber"),
        ("timezone = 1", "timezone must be a name like Europe/Berlin, got 1"),
        ('percent_per_day = "ten"', "percent_per_day must be a number, got 'ten'"),
        ("percent_per_day = true", "percent_per_day must be a number, got True"),
        ("exercises = 1", "must be a table of settings, got 1"),
        ("[exercises.a]\ndeu = 1", r"\[exercises.a\]: there is no setting 'deu'"),
        ("[exercises.a]\ndue = 2026-11-13", "due must be a time like 2026-11-13T23:59"),
        ("[exercises.a]\ndue = '2026'", "due must be a time like 2026-11-13T23:59"),
        (
            "[exercises.a]\ndue = 2026-11-13T23:59:00",
            r"due must have an offset like 2026-11-13 23:59:00\+01:00, or the file a",
        ),
        (
            "[exercises.a]\ndue = 2026-11-13T23:59:00Z\nextensions = 3",
            r"\[exercises.a\] must be a table of settings, got 3",
        ),
    ],
)
def test_a_file_that_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "policies.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_policies(file)
