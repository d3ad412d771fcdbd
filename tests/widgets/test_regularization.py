import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso, Ridge
from traitlets import TraitError

from mlopt_edu.regularization import soft_threshold
from mlopt_edu.widgets import ShrinkageExplorer

RATIO = {"l1": 1.0, "l2": 0.0, "both": 0.5}


def test_ends_of_a_range_are_allowed_and_nothing_beyond():
    for name, (low, high) in ShrinkageExplorer.RANGES.items():
        for end in (low, high):
            assert getattr(ShrinkageExplorer(**{name: end}), name) == end
        for beyond in (low - 1, high + 1):
            with pytest.raises(TraitError, match=rf"^{name} must be in \[.*\], got "):
                ShrinkageExplorer(**{name: beyond})
    with pytest.raises(TraitError, match="'l1', 'l2', 'both'"):
        ShrinkageExplorer(penalty="l3")


def test_the_soft_threshold_is_the_librarys(bench):
    page = bench.mount(ShrinkageExplorer())
    x = np.linspace(-3, 3, 61)
    ours = page.evaluate(
        "x => x.map((value) => module.softThreshold(value, 0.7))", [*x]
    )
    assert np.allclose(ours, soft_threshold(torch.tensor(x), 0.7), atol=1e-15)


def test_the_minimiser_is_lowest_on_a_fine_grid(bench):
    page = bench.mount(ShrinkageExplorer())
    grid = np.linspace(-3, 3, 6001)
    for penalty, ratio in RATIO.items():
        for strength in (0.0, 0.3, 1.0, 10.0):
            for without in (-2.0, 0.0, 0.25, 3.0):
                settings = {"penalty": penalty, "strength": strength}
                settings["without"] = without
                found, value = page.evaluate(
                    "s => [module.minimiser(s), module.penalised(1.5, s)]", settings
                )
                price = ratio * abs(grid) + (1 - ratio) * grid**2 / 2
                loss = (grid - without) ** 2 / 2 + strength * price
                assert found == pytest.approx(grid[loss.argmin()], abs=1e-3)
                assert value == pytest.approx(loss[4500], abs=1e-9)


def sklearn_weights(X, y, penalty, strength):
    if penalty == "l2":
        return Ridge(alpha=len(y) * strength, fit_intercept=False).fit(X, y).coef_
    options = {"alpha": strength, "fit_intercept": False}
    options |= {"tol": 1e-14, "max_iter": 100_000}
    model = Lasso(**options) if penalty == "l1" else ElasticNet(l1_ratio=0.5, **options)
    with warnings.catch_warnings():  # of a tolerance that rounding does not reach
        warnings.simplefilter("ignore")
        return model.fit(X, y).coef_


@pytest.mark.parametrize("penalty", RATIO)
def test_the_eight_weights_are_those_of_scikit_learn(bench, penalty):
    page = bench.mount(ShrinkageExplorer())
    data, strengths, weights = page.evaluate(
        """penalty => { const data = module.problem();
             return [data, module.STRENGTHS, module.path(data, penalty)]; }""",
        penalty,
    )
    X, y = np.array(data["X"]), np.array(data["y"])
    assert X.shape == (24, 8)
    for k in range(0, len(strengths), 6):
        expected = sklearn_weights(X, y, penalty, strengths[k])
        assert np.allclose(weights[k], expected, atol=1e-6)
        zeros = [value == 0 for value in weights[k]]
        assert zeros == [value == 0 for value in expected]
        alone = page.evaluate(
            "([p, s]) => module.solve(module.problem(), p, s)", [penalty, strengths[k]]
        )
        assert np.allclose(alone, weights[k], atol=1e-9)


def test_some_strength_of_l1_keeps_exactly_the_weights_that_matter(bench):
    """The lesson asks the reader to find it."""
    page = bench.mount(ShrinkageExplorer())
    weights = page.evaluate("module.path(module.problem(), 'l1')")
    true = page.evaluate("module.TRUE_WEIGHTS")
    zeros = [[value == 0 for value in w] for w in weights]
    assert [value == 0 for value in true] in zeros


def test_the_words_count_the_zeros(bench):
    page = bench.mount(ShrinkageExplorer(penalty="l1", strength=0.2, without=0.1))
    status = page.locator(".mlopt-status")
    assert "Exact zeros" in status.inner_text()
    assert "The one weight is exactly 0." in status.inner_text()
    assert "Of the eight weights 4 are exactly 0" in status.inner_text()
    page.evaluate("model.set('strength', 10)")
    assert "Of the eight weights 8 are exactly 0" in status.inner_text()
    page.evaluate("model.set('penalty', 'l2')")
    assert "never 0. Of the eight weights none is exactly 0" in status.inner_text()
    page.evaluate("model.set('strength', 0)")
    assert "No penalty" in status.inner_text()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"penalty": "l2", "strength": 10.0, "without": -3.0},
        {"penalty": "both", "strength": 0.0, "without": 0.0},
    ],
)
def test_it_draws_numbers_only(bench, settings):
    page = bench.mount(ShrinkageExplorer(**settings))
    card = page.locator(".mlopt-card").evaluate("e => e.outerHTML")
    assert not any(bad in card for bad in ("NaN", "undefined", "Infinity"))


def test_keyboard_and_reset(bench):
    page = bench.mount(ShrinkageExplorer(strength=0.1))
    before = page.locator(".mlopt-line-0").first.get_attribute("d")
    page.get_by_role("slider", name="Strength").press("End")
    assert bench.trait("strength") == pytest.approx(10)
    assert page.locator(".mlopt-line-0").first.get_attribute("d") != before
    page.get_by_role("slider", name="Strength").press("Home")
    assert bench.trait("strength") == 0
    page.get_by_role("combobox").select_option("l2")
    page.get_by_role("button", name="Reset").press("Enter")
    assert (bench.trait("strength"), bench.trait("penalty")) == (0.1, "l1")
