"""Intervals of means, held against SciPy and against repetition."""

import numpy as np
import pytest
import scipy.stats

from mlopt_edu.evaluation import mean_interval


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("runs", [2, 3, 5, 30, 400])
def test_interval_is_that_of_scipy(runs, confidence):
    values = np.random.default_rng(runs).normal(3, 2, size=runs)
    spread = scipy.stats.sem(values)
    expected = scipy.stats.t.interval(confidence, runs - 1, values.mean(), spread)
    actual = mean_interval(values, confidence=confidence)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_interval_holds_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    bounds = [mean_interval(rng.normal(size=5), confidence=0.8) for _ in range(400)]
    assert np.mean([low < 0 < high for low, high in bounds]) == pytest.approx(
        0.8, abs=0.05
    )


@pytest.mark.parametrize(
    ("values", "confidence", "name"),
    [([1.0], 0.95, "values"), ([[1.0, 2.0]], 0.95, "values"), ([1, 2], 1, "confiden")],
)
def test_bad_input_is_named(values, confidence, name):
    with pytest.raises(ValueError, match=rf"^{name}.* must .*, got "):
        mean_interval(values, confidence=confidence)
