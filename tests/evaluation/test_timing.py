"""Timing, on a clock that the tests move."""

import gc

import pytest
import torch

from mlopt_edu.evaluation import Spread, compare_latency, latency


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

        def spend(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr("time.perf_counter", lambda: clock.now)
    return clock


def test_spread_is_median_and_quartiles():
    assert Spread.of([4.0, 1.0, 3.0, 2.0, 5.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread.of([7]) == Spread(7.0, 7.0, 7.0)


@pytest.mark.parametrize("seconds", [1e-6, 3e-4, 0.5, 20.0])
def test_seconds_of_one_call(clock, seconds):
    actual = latency(lambda: clock.spend(seconds))
    assert actual.median == pytest.approx(seconds)
    assert actual.high - actual.low == pytest.approx(0, abs=1e-6 * seconds)


def test_warm_up_is_not_measured(clock):
    calls = []

    def slow_at_first():
        calls.append(None)
        clock.spend(100.0 if len(calls) <= 4 else 1.0)

    assert latency(slow_at_first, warmup=4, rounds=3) == Spread(1.0, 1.0, 1.0)
    # 4 to warm up, 1 to see how many calls a measurement needs, 3 measurements
    assert len(calls) == 8


def test_short_calls_are_repeated_until_the_clock_can_tell(clock):
    calls = []

    def short():
        calls.append(None)
        clock.spend(1e-5)

    latency(short, warmup=1, rounds=2, min_seconds=1e-3)
    # Doubled from 1 to 128 calls, the first number that takes a millisecond.
    assert len(calls) == 1 + sum(2**k for k in range(8)) + 2 * 128


def test_an_outlier_does_not_move_the_median(clock):
    times = iter([1.0] * 5 + [50.0] + [1.0] * 100)
    assert latency(lambda: clock.spend(next(times)), rounds=9).median == 1.0


def test_ratio_is_to_the_first_and_by_round(clock):
    calls = []

    def busy_for_a_while(seconds):
        def call():
            calls.append(None)
            # The machine slows down more and more, for both alike.
            clock.spend(seconds * (1 + (len(calls) - 1) // 50))

        return call

    report = compare_latency(
        {"one": busy_for_a_while(1.0), "three": busy_for_a_while(3.0)}, rounds=101
    )
    assert list(report) == ["one", "three"]
    assert report["one"].ratio == Spread(1.0, 1.0, 1.0)
    assert report["three"].ratio == Spread(3.0, 3.0, 3.0)
    assert report["one"].seconds.high >= 2 * report["one"].seconds.low


def test_functions_take_turns_in_changing_order(clock):
    order = []

    def called(name):
        def call():
            order.append(name)
            clock.spend(1.0)

        return call

    compare_latency({name: called(name) for name in "abc"}, rounds=40, warmup=2)
    rounds = ["".join(order[i : i + 3]) for i in range(9, len(order), 3)]
    assert len(rounds) == 40
    assert {"".join(sorted(one)) for one in rounds} == {"abc"}
    assert len(set(rounds)) == 6


def test_accelerator_is_waited_for(clock, monkeypatch):
    pending = []

    def synchronize():
        clock.spend(sum(pending))
        pending.clear()

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "synchronize", synchronize)
    actual = latency(lambda: pending.append(2.0), rounds=3)
    assert actual == Spread(2.0, 2.0, 2.0)


@pytest.mark.parametrize("enabled", [False, True])
def test_garbage_collection_and_random_state_are_left_as_they_were(clock, enabled):
    was_enabled, state = gc.isenabled(), torch.get_rng_state()
    seen = []

    def fails():
        seen.append(gc.isenabled())
        clock.spend(1.0)
        if len(seen) == 5:
            raise RuntimeError("broken on purpose")

    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(RuntimeError, match="on purpose"):
            latency(fails)
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()
    assert seen == [False] * 5
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("functions", "options", "name"),
    [
        ({}, {}, "functions"),
        ({"a": int}, {"rounds": 0}, "rounds and warmup"),
        ({"a": int}, {"warmup": 0}, "rounds and warmup"),
        ({"a": int}, {"min_seconds": -1}, "min_seconds"),
    ],
)
def test_bad_arguments_are_named(functions, options, name):
    with pytest.raises(ValueError, match=rf"^{name} must .*, got "):
        compare_latency(functions, **options)
