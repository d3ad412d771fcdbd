from functools import partial

import numpy as np
import pytest
from traitlets import TraitError

from mlopt_edu import schedules
from mlopt_edu.widgets import ScheduleExplorer

# --- the Python side ---------------------------------------------------------------


@pytest.mark.parametrize("name", ScheduleExplorer.RANGES)
def test_ends_of_a_range_are_allowed_and_nothing_beyond(name):
    for end in ScheduleExplorer.RANGES[name]:
        assert getattr(ScheduleExplorer(**{name: end}), name) == end
    low, high = ScheduleExplorer.RANGES[name]
    for beyond in (low - 1, high + 1):
        with pytest.raises(TraitError, match=rf"^{name} must be in \[.*\], got "):
            ScheduleExplorer(**{name: beyond})


def test_a_schedule_must_be_known():
    with pytest.raises(TraitError, match="schedule"):
        ScheduleExplorer(schedule="linear")


# --- the mathematics in JavaScript -------------------------------------------------


def library(name, warmup):
    """The schedule of the library that the browser must draw."""
    after = {
        "constant": schedules.constant,
        "inverse_sqrt": schedules.inverse_sqrt,
        "step_decay": partial(schedules.step_decay, every=70),
        "exponential": partial(schedules.exponential, gamma=0.98),
        "cosine": partial(schedules.cosine, total_steps=200 - warmup),
        "sgdr": partial(schedules.sgdr, cycle_steps=30, growth=2),
        "wsd": partial(
            schedules.wsd,
            total_steps=200 - warmup,
            warmup_steps=0,
            decay_steps=0.3 * (200 - warmup),
        ),
    }[name]
    if not warmup:
        return after
    up = partial(schedules.linear_warmup, warmup_steps=warmup)
    return partial(schedules.join, schedules=(up, after), boundaries=(warmup,))


@pytest.mark.parametrize("warmup", [0, 5, 60])
def test_the_factors_are_those_of_the_library(bench, warmup):
    page = bench.mount(ScheduleExplorer())
    for name in ScheduleExplorer.SCHEDULES:
        seen = page.evaluate(
            "([n, w]) => [...Array(200).keys()].map(t => module.factor(n, t, w))",
            [name, warmup],
        )
        expected = library(name, warmup)(np.arange(200))
        np.testing.assert_allclose(seen, expected, rtol=1e-12, atol=1e-15)


def test_the_expected_loss_is_the_mean_of_many_runs(bench):
    page = bench.mount(ScheduleExplorer())
    run = page.evaluate(
        """module.scheduleRun({schedule: "cosine", lr: 0.8, warmup: 20, noise: 0.2})"""
    )
    rng = np.random.default_rng(0)
    curvature = np.array([1.0, 0.05])
    w = np.ones((20_000, 2))
    losses = [(curvature * w**2).sum(axis=1).mean() / 2]
    for lr in run["lrs"]:
        noise = np.sqrt(0.2) * rng.normal(size=w.shape)
        w = w - lr * (curvature * w + noise)
        losses.append((curvature * w**2).sum(axis=1).mean() / 2)
    np.testing.assert_allclose(run["losses"], losses, rtol=0.06)


def test_no_constant_lr_beats_the_best(bench):
    page = bench.mount(ScheduleExplorer())
    best = page.evaluate("module.bestConstant(0.1)")
    ends = page.evaluate(
        """[0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6].map(
             lr => module.expectedLoss(Array(200).fill(lr), 0.1).at(-1))"""
    )
    assert best["end"] <= min(ends)
    assert best["end"] > 0.9 * min(ends)


# --- what the learner sees ---------------------------------------------------------


def test_the_words_follow_the_settings(bench):
    page = bench.mount(ScheduleExplorer(lr=0.5))
    status = page.locator(".mlopt-status")
    assert "No better than a constant lr" in status.inner_text()
    page.get_by_role("combobox").select_option("cosine")
    assert bench.trait("schedule") == "cosine"
    assert "Better than any constant lr" in status.inner_text()
    page.evaluate("model.set('lr', 1.5)")
    assert "jumps across" in status.inner_text()
    page.evaluate("model.set('lr', 4)")
    assert "beyond the bound" in status.inner_text()
    page.evaluate("model.set('schedule', 'constant')")
    assert "Diverges" in status.inner_text()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lr": 10.0, "schedule": "inverse_sqrt"},
        {"lr": 0.01, "noise": 0.0, "schedule": "sgdr", "warmup": 100},
        {"lr": 10.0, "noise": 1.0},
    ],
)
def test_it_draws_numbers_only(bench, settings):
    page = bench.mount(ScheduleExplorer(**settings))
    card = page.locator(".mlopt-card").evaluate("e => e.outerHTML")
    assert not any(bad in card for bad in ("NaN", "undefined", "Infinity"))


def test_reset_and_keyboard(bench):
    page = bench.mount(ScheduleExplorer(schedule="wsd", warmup=10))
    page.get_by_role("slider", name="Warm-up").press("ArrowRight")
    page.get_by_role("combobox").press("ArrowUp")
    assert (bench.trait("warmup"), bench.trait("schedule")) == (15, "sgdr")
    page.get_by_role("button", name="Reset").press("Enter")
    assert (bench.trait("warmup"), bench.trait("schedule")) == (10, "wsd")
    assert page.get_by_role("combobox").input_value() == "wsd"
