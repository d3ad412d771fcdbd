"""The right program of lesson 00, proved by scikit-learn and torch."""

import pytest
import torch
from sklearn.metrics import mean_squared_error

from mlopt_edu.checks.start_here import mean_squared_error_reference
from tests.checks.references import cases


@cases("mean_squared_error")
def test_mean_squared_error_is_that_of_scikit_learn_and_torch(case):
    prediction, target = case.inputs.values()
    seen = mean_squared_error_reference(prediction, target)
    assert seen == pytest.approx(mean_squared_error(target, prediction), rel=1e-12)
    other = torch.nn.functional.mse_loss(torch.tensor(prediction), torch.tensor(target))
    assert seen == pytest.approx(other.item(), rel=1e-12)
