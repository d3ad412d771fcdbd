import numpy as np
import pytest
from traitlets import TraitError

from mlopt_edu.widgets import NoisyDescent

# --- the Python side ---------------------------------------------------------------


@pytest.mark.parametrize("name", NoisyDescent.RANGES)
def test_ends_of_a_range_are_allowed_and_nothing_beyond(name):
    for end in NoisyDescent.RANGES[name]:
        assert getattr(NoisyDescent(**{name: end}), name) == end
    low, high = NoisyDescent.RANGES[name]
    for beyond in (low - 1, high + 1):
        with pytest.raises(TraitError, match=rf"^{name} must be in \[.*\], got "):
            NoisyDescent(**{name: beyond})


# --- the mathematics in JavaScript -------------------------------------------------


def test_the_noise_is_normal(bench):
    page = bench.mount(NoisyDescent())
    values = np.array(
        page.evaluate(
            """() => {
              const next = module.uniform(7);
              const draw = () => module.normalPair(next);
              return Array.from({ length: 20000 }, draw).flat();
            }"""
        )
    )
    assert values.mean() == pytest.approx(0, abs=0.03)
    assert values.var() == pytest.approx(1, abs=0.03)
    assert (values**4).mean() == pytest.approx(3, abs=0.2)
    assert np.corrcoef(values[:-1], values[1:])[0, 1] == pytest.approx(0, abs=0.03)


SETTINGS = [
    {"lr": 0.1, "batch_size": 8, "momentum": 0.0, "condition_number": 5.0},
    {"lr": 1.2, "batch_size": 2, "momentum": 0.3, "condition_number": 2.0},
    {"lr": 0.3, "batch_size": 16, "momentum": 0.8, "condition_number": 1.0},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_floor_solves_the_lyapunov_equation(bench, settings):
    page = bench.mount(NoisyDescent())
    floor = page.evaluate("settings => module.noiseFloor(settings)", settings)
    lr, momentum = settings["lr"], settings["momentum"]
    expected = 0.0
    for curvature in (1.0, 1 / settings["condition_number"]):
        # (point, velocity) -> A (point, velocity) + noise: the covariance stays.
        step = np.array([[1 - lr * curvature, -lr * momentum], [curvature, momentum]])
        push = np.array([-lr, 1.0]) / np.sqrt(settings["batch_size"])
        covariance = np.linalg.solve(
            np.eye(4) - np.kron(step, step), np.outer(push, push).ravel()
        )
        expected += curvature * covariance[0] / 2
    assert floor == pytest.approx(expected, rel=1e-9)


def test_the_runs_settle_at_the_floor(bench):
    page = bench.mount(NoisyDescent())
    for settings in SETTINGS:
        mean, floor = page.evaluate(
            """settings => [module.manyRuns({...settings, steps: 1000, seed: 1}).mean,
                            module.noiseFloor(settings)]""",
            settings,
        )
        assert np.mean(mean[500:]) == pytest.approx(floor, rel=0.15)


def test_a_seed_is_a_run_and_another_seed_is_another(bench):
    page = bench.mount(NoisyDescent())
    one, again, other = page.evaluate(
        "[3, 3, 4].map(seed => module.manyRuns({...model.state, seed}).path.x.at(-1))"
    )
    assert one == again
    assert one != other


# --- what the learner sees ---------------------------------------------------------


def test_the_words_follow_the_settings(bench):
    page = bench.mount(NoisyDescent(lr=0.2, batch_size=8, steps=600))
    status = page.locator(".mlopt-status")
    assert "At the floor" in status.inner_text()
    page.evaluate("model.set('lr', 2.1)")
    assert "Diverges" in status.inner_text()
    page.evaluate("model.set('momentum', 0.9)")
    assert "multiplies by 10" in status.inner_text()
    page.evaluate("model.set('lr', 0)")
    assert "Stays" in status.inner_text()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lr": 2.5, "momentum": 0.0, "steps": 1000},
        {"lr": 0.0, "batch_size": 1024, "condition_number": 100.0, "steps": 50},
        {"lr": 2.5, "momentum": 0.95, "batch_size": 1},
    ],
)
def test_it_draws_numbers_only_and_cuts_no_label(bench, settings):
    page = bench.mount(NoisyDescent(**settings))
    card = page.locator(".mlopt-card").evaluate("e => e.outerHTML")
    assert not any(bad in card for bad in ("NaN", "undefined", "Infinity"))
    assert bench.has_all_labels()


def test_new_noise_and_reset_by_keyboard(bench):
    page = bench.mount(NoisyDescent(lr=0.1))
    before = page.locator(".mlopt-line-0").first.get_attribute("d")
    page.get_by_role("button", name="New noise").press("Enter")
    assert bench.trait("seed") == 1
    assert page.locator(".mlopt-line-0").first.get_attribute("d") != before
    page.get_by_label("Batch size").press("ArrowRight")
    assert bench.trait("batch_size") == 16
    page.get_by_role("button", name="Reset").press("Enter")
    assert (bench.trait("seed"), bench.trait("batch_size")) == (0, 8)
