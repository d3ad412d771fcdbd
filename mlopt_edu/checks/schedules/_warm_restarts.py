"""Task 4: a cosine that starts again, in periods that grow (SGDR)."""

from collections.abc import Iterator
from math import log

import numpy as np

from .._task import Case, Task


def warm_restarts_reference(step: int, first_period: int, multiplier: int) -> float:
    """Half a cosine from 1 to 0 in each period; the next is `multiplier` times it."""
    if step >= first_period:
        # What follows the first period is a run of its own, with a longer one.
        return warm_restarts_reference(
            step - first_period, first_period * multiplier, multiplier
        )
    return float((1 + np.cos(np.pi * step / first_period)) / 2)


def _restarts(rng: np.random.Generator) -> Iterator[Case]:
    for multiplier in (2, 1, 3):
        first = int(rng.integers(11, 20))
        limits = {"first_period": first, "multiplier": multiplier}
        second = first * multiplier
        third = second * multiplier
        for step, label in (
            (0, "the first step"),
            (first - 1, "the last step of the first period"),
            (first, "the first restart"),
            (first + 1, "one step after the first restart"),
            (first + second // 3, "in the second period"),
            (first + second - 1, "the last step of the second period"),
            (first + second, "the second restart"),
            (first + second + third // 2, "in the third period"),
        ):
            yield Case(f"{label}, multiplier {multiplier}", {"step": step, **limits})
    once = {"first_period": 1, "multiplier": 1}
    yield Case("a restart in every step", {"step": 5, **once})
    powers = {"first_period": 7, "multiplier": 3}
    yield Case("after five restarts", {"step": 7 * (3**5 - 1) // 2, **powers})
    long = int(rng.integers(1000, 2000))
    many = {"step": 300 * long + long // 3, "first_period": long, "multiplier": 1}
    yield Case("after 300 restarts", many)
    grown = {"step": 3_000_000, "first_period": 9, "multiplier": 2}
    yield Case("step 3,000,000", grown)


warm_restarts = Task(
    "warm_restarts",
    points=2,
    section="04 · Write it small",
    reference=warm_restarts_reference,
    draw=_restarts,
    forbid=("torch.optim", "mlopt_edu.schedules"),
    # A Python float may come from a tensor in single precision, where 1 + cos near
    # the end of a fall has lost most of its digits.
    rtol=2e-4,
    hints=(
        "You need two numbers: the length of the period that this step lies in, and "
        "how many steps of *it* have passed.",
        "Walk from period to period: while the step lies beyond the period, take the "
        "period off the step and make the next one longer.",
        "After the loop the factor is (1 + cos(π · step / period)) / 2. The first step "
        "of a new period has `step == period` before you take the period off.",
    ),
)


def _place(step: int, first_period: int, multiplier: int) -> tuple[int, int]:
    period = first_period
    while step >= period:
        step, period = step - period, period * multiplier
    return step, period


def _cosine(progress: float) -> float:
    return float((1 + np.cos(np.pi * progress)) / 2)


@warm_restarts.mistake
def never_restarts(step: int, first_period: int, multiplier: int) -> float:
    """You never restart: after the first period your factor stays at 0."""
    return _cosine(min(step / first_period, 1.0))


@warm_restarts.mistake
def swings_back(step: int, first_period: int, multiplier: int) -> float:
    """After the first period your cosine climbs back as slowly as it fell.

    A restart jumps: take the steps of finished periods off, and begin at 1 again.
    """
    return _cosine(step / first_period)


@warm_restarts.mistake
def periods_do_not_grow(step: int, first_period: int, multiplier: int) -> float:
    """All your periods are equally long; each is `multiplier` times the one before."""
    return _cosine((step % first_period) / first_period)


@warm_restarts.mistake
def periods_grow_by_addition(step: int, first_period: int, multiplier: int) -> float:
    """You *add* `multiplier` to the period; multiply by it."""
    period = first_period
    while step >= period:
        step, period = step - period, period + multiplier
    return _cosine(step / period)


@warm_restarts.mistake
def periods_grow_linearly(step: int, first_period: int, multiplier: int) -> float:
    """Your periods grow by the same *amount* each time: T, 2 T, 3 T with multiplier 2.

    Multiply the last period, not the first: T, 2 T, 4 T.
    """
    period = first_period
    while step >= period:
        step, period = step - period, period + (multiplier - 1) * first_period
    return _cosine(step / period)


@warm_restarts.mistake
def grows_one_period_early(step: int, first_period: int, multiplier: int) -> float:
    """Your first period is `multiplier` times too long; growth begins with the second.

    Take the old period off the step before you make it longer.
    """
    return _cosine(np.divide(*_place(step, first_period * multiplier, multiplier)))


@warm_restarts.mistake
def longer_before_taken_off(step: int, first_period: int, multiplier: int) -> float:
    """You make the period longer before you take it off the step: swap the two lines.

    The finished period is the old one.
    """
    period = first_period
    while step >= period:
        period *= multiplier
        step -= period
    return _cosine(step / period)


@warm_restarts.mistake
def restarts_one_step_late(step: int, first_period: int, multiplier: int) -> float:
    """Your periods have one step too many, the one with factor 0.

    Step number `first_period` is the first of the next period: compare with `>=`.
    """
    period = first_period
    while step > period:
        step, period = step - period, period * multiplier
    return _cosine(step / period)


@warm_restarts.mistake
def period_counts_from_one(step: int, first_period: int, multiplier: int) -> float:
    """You are one step ahead: a period starts with progress 0, so that its factor is 1.

    Do not add 1 to the step.
    """
    left, period = _place(step, first_period, multiplier)
    return _cosine((left + 1) / period)


@warm_restarts.mistake
def zero_reached_in_the_period(step: int, first_period: int, multiplier: int) -> float:
    """Your last step of a period has factor 0 and is wasted.

    Divide by the period, not by one less.
    """
    left, period = _place(step, first_period, multiplier)
    return _cosine(left / max(period - 1, 1))


@warm_restarts.mistake
def step_not_restarted(step: int, first_period: int, multiplier: int) -> float:
    """The period grows, but your cosine counts the steps since the start of training.

    Count those since the last restart.
    """
    return _cosine(step / _place(step, first_period, multiplier)[1])


@warm_restarts.mistake
def remainder_of_the_last_period(
    step: int, first_period: int, multiplier: int
) -> float:
    """`step % period` is right only if all periods are alike.

    The restarts are not at multiples of the last period: take the finished ones off.
    """
    period = _place(step, first_period, multiplier)[1]
    return _cosine((step % period) / period)


@warm_restarts.mistake
def first_period_for_all(step: int, first_period: int, multiplier: int) -> float:
    """The restarts are right, but you divide by `first_period` in every period.

    Divide by the length of the period you are in.
    """
    return _cosine(_place(step, first_period, multiplier)[0] / first_period)


@warm_restarts.mistake
def peaks_decay(step: int, first_period: int, multiplier: int) -> float:
    """Your restarts get lower each time. Here every restart goes back to 1."""
    left, period = _place(step, first_period, multiplier)
    return _cosine(left / period) * first_period / period


@warm_restarts.mistake
def half_missing(step: int, first_period: int, multiplier: int) -> float:
    """1 + cos runs from 2 to 0: divide it by 2."""
    return 2 * _cosine(np.divide(*_place(step, first_period, multiplier)))


@warm_restarts.mistake
def cosine_not_lifted(step: int, first_period: int, multiplier: int) -> float:
    """A plain cosine runs from 1 to -1, and a step of negative length climbs.

    Add 1 and halve.
    """
    return 2 * _cosine(np.divide(*_place(step, first_period, multiplier))) - 1


@warm_restarts.mistake
def straight_line(step: int, first_period: int, multiplier: int) -> float:
    """You fall in straight lines. Bend each: (1 + cos(π · progress)) / 2."""
    left, period = _place(step, first_period, multiplier)
    return 1 - left / period


@warm_restarts.mistake
def degrees_for_radians(step: int, first_period: int, multiplier: int) -> float:
    """`np.cos` takes radians: half a turn is π, not 180."""
    left, period = _place(step, first_period, multiplier)
    return float((1 + np.cos(180 * left / period)) / 2)


@warm_restarts.mistake
def logarithm_rounded_down(step: int, first_period: int, multiplier: int) -> float:
    """A restart is missed: a logarithm that should be 5 comes out as 4.9999… here.

    Rounding it down gives 4. Find the period with whole numbers, in a loop.
    """
    if multiplier == 1:
        return _cosine((step % first_period) / first_period)
    done = int(log(step / first_period * (multiplier - 1) + 1, multiplier))
    start = first_period * (multiplier**done - 1) // (multiplier - 1)
    return _cosine((step - start) / (first_period * multiplier**done))
