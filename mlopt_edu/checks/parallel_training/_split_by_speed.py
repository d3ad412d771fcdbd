"""Task 13: rows for devices of unequal speed, by largest remainder."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Integers


def split_by_speed_reference(
    n_rows: int, rows_done: list[int] | list[float], seconds: list[float]
) -> Integers:
    """Shares in proportion to measured speed; rows left over to largest remainders."""
    speeds = np.array(rows_done) / np.array(seconds)
    exact = n_rows * speeds / np.sum(speeds)
    rows: Integers = np.floor(exact).astype(int)
    by_remainder = np.argsort(rows - exact)
    rows[by_remainder[: n_rows - np.sum(rows)]] += 1
    return rows


def _devices(rng: np.random.Generator) -> Iterator[Case]:
    for n_rows, rows_done, seconds, label in (
        (9, [30, 10], [1.0, 1.0], "one is three times as fast"),
        (64, [32, 32], [0.5, 2.0], "one takes four times as long"),
        (100, [40, 10, 10], [2.0, 0.25, 1.5], "three devices"),
        (7, [10, 10, 10], [0.41, 1.27, 2.3], "few rows"),
        (2, [9, 5, 3, 1], [1.1, 0.9, 1.3, 1.7], "fewer rows than devices"),
        (0, [5, 9], [1.0, 3.0], "no rows"),
        (13, [8], [0.3], "one device"),
        (90, [4, 4, 4], [1.0, 1.0, 1.0], "equal devices"),
    ):
        inputs = {"n_rows": n_rows, "rows_done": rows_done, "seconds": seconds}
        yield Case(label, inputs)
    for devices in (5, 8, 9):
        inputs = {"n_rows": int(rng.integers(50, 999))}
        done = [int(n) for n in rng.integers(5, 200, size=devices)]
        seconds = [float(s) for s in rng.uniform(0.1, 4, size=devices)]
        label = f"{devices} devices"
        yield Case(label, {**inputs, "rows_done": done, "seconds": seconds})


split_by_speed = Task(
    "split_by_speed",
    points=1,
    section="14 · Derive",
    reference=split_by_speed_reference,
    draw=_devices,
    forbid=LIBRARIES,
    hints=(
        "A step lasts as long as its slowest rank. With which shares are all done at "
        "once, whatever they did before?",
        "speed = rows / seconds. Round each exact share down. How many rows are left, "
        "and who is furthest from what is due?",
        "`order = np.argsort(rows - exact)` has the largest remainder first; the first "
        "`n_rows - rows.sum()` of that order get one row more.",
    ),
)


def _exact(n_rows: int, speeds: Array) -> Array:
    return np.asarray(n_rows * speeds / np.sum(speeds))


def _speeds(rows_done: list[int], seconds: list[float]) -> Array:
    return np.asarray(np.array(rows_done) / np.array(seconds))


@split_by_speed.mistake
def equal_split(n_rows: int, rows_done: list[int], seconds: list[float]) -> Integers:
    """An equal split on unequal devices: the fast ones wait for the slowest.

    Give each as many rows as its speed allows.
    """
    return np.array([len(p) for p in np.array_split(np.arange(n_rows), len(seconds))])


@split_by_speed.mistake
def slow_gets_more(n_rows: int, rows_done: list[int], seconds: list[float]) -> Integers:
    """The slow devices get the most: speed is rows *over* seconds."""
    slowness = 1 / _speeds(rows_done, seconds)
    return split_by_speed_reference(n_rows, list(slowness), [1.0] * len(seconds))


@split_by_speed.mistake
def seconds_forgotten(
    n_rows: int, rows_done: list[int], seconds: list[float]
) -> Integers:
    """You share by the rows of the last step, whatever time they took.

    Speed is rows over seconds.
    """
    return split_by_speed_reference(n_rows, rows_done, [1.0] * len(seconds))


@split_by_speed.mistake
def rows_forgotten(n_rows: int, rows_done: list[int], seconds: list[float]) -> Integers:
    """You look at the seconds alone; a device may have been slow with more rows.

    Speed is rows over seconds.
    """
    return split_by_speed_reference(n_rows, [1] * len(seconds), seconds)


@split_by_speed.mistake
def rounded_each(n_rows: int, rows_done: list[int], seconds: list[float]) -> Integers:
    """You round each share for itself: the rows do not add up to `n_rows`.

    Round down, then deal out what is left.
    """
    return np.round(_exact(n_rows, _speeds(rows_done, seconds))).astype(int)


@split_by_speed.mistake
def rounded_down(n_rows: int, rows_done: list[int], seconds: list[float]) -> Integers:
    """You round down and leave it there: some rows are on no device."""
    return np.floor(_exact(n_rows, _speeds(rows_done, seconds))).astype(int)


@split_by_speed.mistake
def rest_to_the_fastest(
    n_rows: int, rows_done: list[int], seconds: list[float]
) -> Integers:
    """The fastest gets all that is left over; give one row each, by remainder."""
    speeds = _speeds(rows_done, seconds)
    rows = np.floor(_exact(n_rows, speeds)).astype(int)
    rows[np.argmax(speeds)] += n_rows - np.sum(rows)
    return rows


@split_by_speed.mistake
def rest_to_the_first(
    n_rows: int, rows_done: list[int], seconds: list[float]
) -> Integers:
    """The first devices get what is left over; those with the largest remainder should.

    They are furthest below what is due to them.
    """
    rows = np.floor(_exact(n_rows, _speeds(rows_done, seconds))).astype(int)
    rows[: n_rows - np.sum(rows)] += 1
    return rows


@split_by_speed.mistake
def rest_to_the_last(
    n_rows: int, rows_done: list[int], seconds: list[float]
) -> Integers:
    """The last device gets all that is left over; give one row each, by remainder."""
    rows = np.floor(_exact(n_rows, _speeds(rows_done, seconds))).astype(int)
    rows[-1] += n_rows - np.sum(rows)
    return rows


@split_by_speed.mistake
def smallest_remainder(
    n_rows: int, rows_done: list[int], seconds: list[float]
) -> Integers:
    """You give what is left over to the *smallest* remainders; sort the other way."""
    exact = _exact(n_rows, _speeds(rows_done, seconds))
    rows = np.floor(exact).astype(int)
    rows[np.argsort(exact - rows)[: n_rows - np.sum(rows)]] += 1
    return rows


@split_by_speed.mistake
def fractions(n_rows: int, rows_done: list[int], seconds: list[float]) -> Array:
    """Rows are whole. Round down, and deal out what is left by largest remainder."""
    return _exact(n_rows, _speeds(rows_done, seconds))


@split_by_speed.mistake
def proportional_to_seconds(
    n_rows: int, rows_done: list[int], seconds: list[float]
) -> Integers:
    """You share in proportion to the seconds: who took longest gets the most.

    Speed is rows *over* seconds.
    """
    return split_by_speed_reference(n_rows, seconds, [1.0] * len(seconds))


@split_by_speed.mistake
def rounded_up(n_rows: int, rows_done: list[int], seconds: list[float]) -> Integers:
    """You round each share up: together these are more rows than `n_rows`.

    Round down, then deal out what is left.
    """
    return np.ceil(_exact(n_rows, _speeds(rows_done, seconds))).astype(int)


@split_by_speed.mistake
def one_more_for_all(
    n_rows: int, rows_done: list[int], seconds: list[float]
) -> Integers:
    """If nothing is left over, every device gets a row more: `[-0:]` is all of them.

    Sort so that the largest remainder comes first, and slice from the front.
    """
    exact = _exact(n_rows, _speeds(rows_done, seconds))
    rows = np.floor(exact).astype(int)
    left = n_rows - np.sum(rows)
    rows[np.argsort(exact - rows)[-left:]] += 1
    return rows
