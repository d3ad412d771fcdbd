"""What every schedule keeps: its range, its ends, arrays as single steps."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlopt_edu.schedules import (
    constant,
    cosine,
    exponential,
    inverse_sqrt,
    join,
    linear_warmup,
    one_cycle,
    polynomial,
    product,
    sgdr,
    step_decay,
    wsd,
)

TOTAL = 50
WARM = partial(linear_warmup, warmup_steps=10)
# Each with its factor at step 0, at TOTAL, and long after.
SCHEDULES = {
    "constant": (partial(constant, value=0.7), 0.7, 0.7, 0.7),
    "inverse_sqrt": (inverse_sqrt, 1, 51**-0.5, 10_001**-0.5),
    "step_decay": (partial(step_decay, every=20, gamma=0.1), 1, 0.01, 0.1**500),
    "exponential": (partial(exponential, gamma=0.9), 1, 0.9**50, 0.9**10_000),
    "polynomial": (partial(polynomial, total_steps=TOTAL, power=3), 1, 0, 0),
    "polynomial to 0.2": (
        partial(polynomial, total_steps=TOTAL, power=0.5, final=0.2),
        1,
        0.2,
        0.2,
    ),
    "cosine": (partial(cosine, total_steps=TOTAL), 1, 0, 0),
    "cosine to 0.1": (partial(cosine, total_steps=TOTAL, final=0.1), 1, 0.1, 0.1),
    "linear_warmup": (WARM, 1 / 11, 1, 1),
    "warm-up from 0": (partial(linear_warmup, warmup_steps=10, start=0.0), 0, 1, 1),
    "no warm-up": (partial(linear_warmup, warmup_steps=0), 1, 1, 1),
    "sgdr": (partial(sgdr, cycle_steps=25), 1, 1, 1),
    "sgdr doubling": (
        partial(sgdr, cycle_steps=10, growth=2, final=0.1),
        1,
        None,
        None,
    ),
    "one_cycle": (
        partial(one_cycle, total_steps=TOTAL, warmup_steps=15),
        0.04,
        4e-6,
        4e-6,
    ),
    "one_cycle without a rise": (
        partial(one_cycle, total_steps=TOTAL, warmup_steps=0),
        1,
        4e-6,
        4e-6,
    ),
    "one_cycle without a fall": (
        partial(one_cycle, total_steps=TOTAL, warmup_steps=TOTAL, final=0.5),
        0.04,
        0.5,
        0.5,
    ),
    "wsd": (
        partial(wsd, total_steps=TOTAL, warmup_steps=9, decay_steps=20, final=0.3),
        0.1,
        0.3,
        0.3,
    ),
    "wsd without ends": (
        partial(wsd, total_steps=TOTAL, warmup_steps=0, decay_steps=0),
        1,
        0,
        0,
    ),
    "join": (
        partial(
            join, schedules=(WARM, partial(cosine, total_steps=40)), boundaries=(10,)
        ),
        1 / 11,
        0,
        0,
    ),
    "join of one": (partial(join, schedules=(WARM,), boundaries=()), 1 / 11, 1, 1),
    "product": (
        partial(product, schedules=(WARM, partial(step_decay, every=30, gamma=0.5))),
        1 / 11,
        0.5,
        0.5**333,
    ),
}
BY_NAME = pytest.mark.parametrize(
    "schedule", [row[0] for row in SCHEDULES.values()], ids=SCHEDULES
)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_factors_at_the_ends(name):
    schedule, *expected = SCHEDULES[name]
    for step, factor in zip((0, TOTAL, 10_000), expected, strict=True):
        if factor is not None:
            assert schedule(step) == pytest.approx(factor, rel=1e-12, abs=1e-15)


@BY_NAME
def test_a_factor_lies_in_0_to_1(schedule):
    factors = schedule(np.arange(3 * TOTAL))
    assert ((factors >= 0) & (factors <= 1)).all()


@BY_NAME
def test_an_array_of_steps_is_the_single_steps(schedule):
    steps = np.arange(3 * TOTAL).reshape(3, TOTAL)
    factors = schedule(steps)
    one_by_one = [[schedule(int(step)) for step in row] for row in steps]
    assert (factors.shape, factors.dtype) == ((3, TOTAL), np.float64)
    # NumPy's powers of whole arrays may round differently.
    np.testing.assert_allclose(factors, one_by_one, rtol=1e-14)
    assert steps.tolist() == np.arange(3 * TOTAL).reshape(3, TOTAL).tolist()
    assert schedule(np.array([], dtype=int)).shape == (0,)


@BY_NAME
@pytest.mark.parametrize("step", [0, 7, np.int64(7), 7.5, torch.tensor(7)])
def test_a_single_step_gives_a_plain_float(schedule, step):
    if isinstance(step, torch.Tensor):
        step = step.item()
    assert type(schedule(step)) is float


@BY_NAME
@pytest.mark.parametrize("step", [-1, np.array([3, -1]), float("nan")])
def test_a_negative_step_is_refused(schedule, step):
    with pytest.raises(ValueError, match=r"step must be at least 0, got (-1|nan)"):
        schedule(step)


@given(st.integers(0, 400), st.integers(1, 300), st.floats(0, 1))
def test_what_only_falls_falls(step, total_steps, final):
    for schedule in (
        inverse_sqrt,
        partial(exponential, gamma=max(final, 1e-3)),
        partial(step_decay, every=total_steps, gamma=max(final, 1e-3)),
        partial(cosine, total_steps=total_steps, final=final),
        partial(polynomial, total_steps=total_steps, final=final, power=1.7),
    ):
        assert 0 <= schedule(step + 1) <= schedule(step) + 1e-15 <= 1 + 1e-15
    for bounded in (cosine, polynomial):
        assert bounded(step + total_steps, total_steps=total_steps, final=final) == (
            pytest.approx(final, abs=1e-15)
        )


def slow_sgdr(step, cycle_steps, growth, final):
    """Walk from cycle to cycle."""
    begun, length = 0.0, float(cycle_steps)
    while step >= begun + length:
        begun, length = begun + length, length * growth
    done = (step - begun) / length
    return final + (1 - final) * (1 + np.cos(np.pi * done)) / 2


@given(
    st.integers(0, 5000),
    st.integers(1, 60),
    st.sampled_from([1, 2, 3, 5, 10]),
    st.floats(0, 1),
)
def test_sgdr_by_walking_from_cycle_to_cycle(step, cycle_steps, growth, final):
    actual = sgdr(step, cycle_steps=cycle_steps, growth=growth, final=final)
    expected = slow_sgdr(step, cycle_steps, growth, final)
    assert actual == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("growth", [2, 3, 5, 10])
@pytest.mark.parametrize("cycle_steps", [1, 3, 7])
def test_every_restart_is_at_1_however_long_the_run(cycle_steps, growth):
    starts = [cycle_steps * (growth**i - 1) // (growth - 1) for i in range(50)]
    # Beyond, growth**i is no longer exact.
    starts = [start for start in starts if start * growth < 2**52]
    schedule = partial(sgdr, cycle_steps=cycle_steps, growth=growth)
    np.testing.assert_array_equal(schedule(np.array(starts)), 1)
    if cycle_steps > 1:
        before = schedule(np.array(starts[1:]) - 1)
        assert (before < 0.5).all()


def test_a_growth_that_is_no_whole_number():
    schedule = partial(sgdr, cycle_steps=10, growth=1.5)
    steps = np.arange(300)
    expected = [slow_sgdr(step, 10, 1.5, 0.0) for step in steps]
    np.testing.assert_allclose(schedule(steps), expected, atol=1e-9)


@given(st.integers(0, 100), st.integers(0, 100))
def test_warm_up_wastes_no_update_and_ends_where_it_says(step, warmup_steps):
    factor = linear_warmup(step, warmup_steps=warmup_steps)
    assert factor == pytest.approx(min((step + 1) / (warmup_steps + 1), 1))
    assert (factor < 1) == (step < warmup_steps)


def test_one_cycle_peaks_once_where_it_says():
    factors = one_cycle(np.arange(101), total_steps=100, warmup_steps=30)
    assert (np.flatnonzero(factors == 1).tolist(), factors.argmin()) == ([30], 100)
    assert (np.diff(factors[:31]) > 0).all()
    assert (np.diff(factors[30:]) < 0).all()


def test_the_stable_part_of_wsd_knows_no_end():
    steps = np.arange(60)
    short, long = (
        wsd(steps, total_steps=total, warmup_steps=5, decay_steps=20)
        for total in (80, 10_000)
    )
    np.testing.assert_array_equal(short, long)


def test_join_gives_each_schedule_its_own_count():
    calls = []

    def noting(name, step):
        calls.append((name, step))
        return 0.5

    parts = [partial(noting, name) for name in "abc"]
    for step in (0, 3, 4, 8, 9, 50):
        join(step, schedules=parts, boundaries=[4, 9])
    assert calls == [("a", 0), ("a", 3), ("b", 0), ("b", 4), ("c", 0), ("c", 41)]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (partial(constant, value=-0.1), ["value", "-0.1"]),
        (partial(constant, value=float("inf")), ["value", "inf"]),
        (partial(inverse_sqrt, timescale=0), ["timescale", "above 0"]),
        (partial(step_decay, every=0), ["every", "at least 1"]),
        (partial(step_decay, every=5, gamma=1.1), ["gamma", "(0, 1]", "1.1"]),
        (partial(exponential, gamma=0), ["gamma", "(0, 1]", "0"]),
        (partial(exponential, gamma=float("nan")), ["gamma", "nan"]),
        (partial(polynomial, total_steps=0), ["total_steps", "at least 1"]),
        (partial(polynomial, total_steps=5, power=0), ["power", "above 0"]),
        (partial(polynomial, total_steps=5, final=-1), ["final", "[0, 1]", "-1"]),
        (partial(cosine, total_steps=-3), ["total_steps", "-3"]),
        (partial(cosine, total_steps=3, final=2), ["final", "[0, 1]", "2"]),
        (partial(linear_warmup, warmup_steps=-1), ["warmup_steps", "-1"]),
        (partial(linear_warmup, warmup_steps=4, start=1.5), ["start", "1.5"]),
        (partial(sgdr, cycle_steps=0), ["cycle_steps", "0"]),
        (partial(sgdr, cycle_steps=5, growth=0.5), ["growth", "0.5"]),
        (partial(sgdr, cycle_steps=5, final=-1), ["final", "-1"]),
        (partial(one_cycle, total_steps=0, warmup_steps=0), ["total_steps", "0"]),
        (
            partial(one_cycle, total_steps=9, warmup_steps=10),
            ["warmup_steps", "[0, 9]", "10"],
        ),
        (partial(one_cycle, total_steps=9, warmup_steps=3, start=2), ["start", "2"]),
        (partial(one_cycle, total_steps=9, warmup_steps=3, final=2), ["final", "2"]),
        (
            partial(wsd, total_steps=0, warmup_steps=0, decay_steps=0),
            ["total_steps", "0"],
        ),
        (
            partial(wsd, total_steps=9, warmup_steps=5, decay_steps=5),
            ["warmup_steps + decay_steps", "9", "5 + 5"],
        ),
        (
            partial(wsd, total_steps=9, warmup_steps=5, decay_steps=-1),
            ["decay_steps", "-1"],
        ),
        (
            partial(wsd, total_steps=9, warmup_steps=-1, decay_steps=1),
            ["warmup_steps", "-1"],
        ),
        (
            partial(wsd, total_steps=9, warmup_steps=1, decay_steps=1, final=3),
            ["final", "3"],
        ),
        (partial(join, schedules=[], boundaries=[]), ["one fewer", "0 and 0"]),
        (partial(join, schedules=[WARM], boundaries=[3]), ["one fewer", "1 and 1"]),
        (partial(join, schedules=[WARM] * 2, boundaries=[0]), ["rise", "[0]"]),
        (partial(join, schedules=[WARM] * 3, boundaries=[4, 4]), ["rise", "[4, 4]"]),
        (partial(product, schedules=()), ["at least one", "none"]),
    ],
)
def test_bad_numbers_are_one_sentence(call, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the words are in the table
        call(3)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)
