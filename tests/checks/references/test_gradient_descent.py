"""The right programs of exercise 01, proved by torch, SciPy and scikit-learn."""

import re

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
from sklearn.linear_model import LinearRegression

from mlopt_edu.checks import find_task
from mlopt_edu.checks.gradient_descent._contraction import contraction_reference
from mlopt_edu.checks.gradient_descent._descend import descend_reference
from mlopt_edu.checks.gradient_descent._descend_until import descend_until_reference
from mlopt_edu.checks.gradient_descent._gradient import gradient_reference
from mlopt_edu.checks.gradient_descent._largest_lr import largest_lr_reference
from mlopt_edu.checks.gradient_descent._steps_needed import steps_needed_reference
from mlopt_edu.checks.gradient_descent._stubborn_start import stubborn_start_reference
from tests.checks.references import cases


def torch_loss(X, y, w):
    residual = torch.as_tensor(np.ascontiguousarray(X)) @ w - torch.as_tensor(y)
    return residual.square().mean() / 2


def torch_path(X, y, w0, lr, steps):
    """Where torch.optim.SGD goes."""
    w = torch.tensor(w0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=lr)
    path = [w.detach().clone()]
    for _ in range(steps):
        optimizer.zero_grad()
        torch_loss(X, y, w).backward()
        optimizer.step()
        path.append(w.detach().clone())
    return torch.stack(path).numpy()


def hessian(X):
    w = torch.zeros(X.shape[1], dtype=torch.float64)
    loss = lambda w: torch_loss(X, np.zeros(len(X)), w)  # noqa: E731
    return torch.autograd.functional.hessian(loss, w).numpy()


@cases("gradient")
def test_gradient_is_that_of_autograd(case):
    X, y, w = case.inputs.values()
    at = torch.tensor(w, requires_grad=True)
    torch_loss(X, y, at).backward()
    np.testing.assert_allclose(gradient_reference(X, y, w), at.grad, rtol=1e-10)


def test_gradient_is_the_slope_of_the_loss():
    case = find_task("gradient").cases(20)[0]
    X, y, w = case.inputs.values()
    loss = lambda w: ((X @ w - y) ** 2).mean() / 2  # noqa: E731
    error = scipy.optimize.check_grad(loss, lambda w: gradient_reference(X, y, w), w)
    assert error < 1e-6


@cases("descend")
def test_descend_walks_where_sgd_of_torch_walks(case):
    expected = torch_path(**case.inputs)
    actual = descend_reference(**case.inputs)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


@cases("descend")
def test_descend_is_a_power_of_a_matrix(case):
    # w_k - w* = (I - lr H)^k (w_0 - w*)
    X, y, w0, lr, steps = case.inputs.values()
    best = scipy.linalg.lstsq(X, y)[0]
    step = np.eye(len(w0)) - lr * hessian(X)
    expected = best + np.linalg.matrix_power(step, steps) @ (w0 - best)
    actual = descend_reference(X, y, w0, lr, steps)[-1]
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-10)


def test_descend_ends_where_scikit_learn_solves():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 3)), rng.normal(size=50)
    model = LinearRegression(fit_intercept=False).fit(X, y)
    end = descend_reference(X, y, np.zeros(3), 0.5, 200)[-1]
    np.testing.assert_allclose(end, model.coef_, rtol=1e-8)


@cases("largest_lr")
def test_largest_lr_is_two_over_the_squared_singular_value(case):
    X = case.inputs["X"]
    expected = 2 * len(X) / np.linalg.svd(X, compute_uv=False)[0] ** 2
    assert largest_lr_reference(X) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("share", "converges"), [(0.99, True), (1.01, False)])
@cases("largest_lr")
def test_largest_lr_parts_convergence_from_divergence(case, share, converges):
    X = case.inputs["X"]
    steep = np.linalg.svd(X)[2][0]
    lr = share * largest_lr_reference(X)
    path = torch_path(X, np.zeros(len(X)), steep, lr, 10)
    shrinks = np.diff(np.linalg.norm(path, axis=1)) < 0
    assert shrinks.tolist() == [converges] * 10


def test_largest_lr_of_a_diagonal_is_plain_arithmetic():
    # H = diag(1, 9) / 2
    assert largest_lr_reference(np.diag([1.0, 3.0])) == pytest.approx(4 / 9)


@cases("contraction")
def test_contraction_is_the_norm_of_the_step(case):
    X, lr = case.inputs.values()
    step = np.eye(X.shape[1]) - lr * hessian(X)
    expected = np.linalg.norm(step, 2)
    assert contraction_reference(X, lr) == pytest.approx(expected, rel=1e-9)


@cases("contraction")
def test_contraction_bounds_every_start_and_is_reached_by_one(case):
    X, lr = case.inputs.values()
    starts = np.random.default_rng(0).normal(size=(50, X.shape[1]))
    starts = np.vstack([starts, np.linalg.eigh(X.T @ X)[1].T])
    ends = [torch_path(X, np.zeros(len(X)), start, lr, 1)[-1] for start in starts]
    factors = np.linalg.norm(ends, axis=1) / np.linalg.norm(starts, axis=1)
    assert factors.max() == pytest.approx(contraction_reference(X, lr), rel=1e-9)


def test_steps_needed_by_taking_them():
    X = np.diag(np.sqrt(2 * np.array([1.0, 100.0])))  # curvatures 1 and 100
    path = torch_path(X, np.zeros(2), np.ones(2), 2 / 101, 400)
    enough = np.abs(path).max(axis=1) <= 1 / 1000
    assert steps_needed_reference() == np.flatnonzero(enough)[0]


def test_steps_needed_by_multiplying_the_factor():
    error, steps = 1.0, 0
    while error > 1 / 1000:
        error, steps = error * 99 / 101, steps + 1
    assert steps_needed_reference() == steps


@cases("stubborn_start")
def test_stubborn_start_descends_although_the_bound_is_passed(case):
    X, y, lr = case.inputs.values()
    assert lr > 2 * len(X) / np.linalg.svd(X, compute_uv=False)[0] ** 2
    start = stubborn_start_reference(X, y, lr)
    best = scipy.linalg.lstsq(X, y)[0]
    assert np.linalg.norm(start - best) == pytest.approx(2, rel=1e-9)
    path = torch.tensor(torch_path(X, y, start, lr, 10))
    assert (torch.stack([torch_loss(X, y, w) for w in path]).diff() < 0).all()
    other = torch.tensor(torch_path(X, y, start + 0.1, lr, 60))
    assert torch_loss(X, y, other[-1]) > torch_loss(X, y, other[0])


@cases("descend_until")
def test_descend_until_stops_at_the_first_small_gradient(case):
    X, y, w0, lr, tolerance, most = case.inputs.values()
    w, steps = descend_until_reference(**case.inputs)
    path = torch_path(X, y, w0, lr, most)
    np.testing.assert_allclose(w, path[steps], rtol=1e-9, atol=1e-12)
    norms = np.linalg.norm((path @ X.T - y) @ X / len(X), axis=1)
    small = np.flatnonzero(norms[:most] <= tolerance)
    assert steps == (small[0] if small.size else most)


def test_what_now_shows_losses_that_grow_by_a_steady_factor():
    question = find_task("what_now").question
    losses = np.array(re.findall(r"\d\.\d+", question), dtype=float)
    (percent,) = re.findall(r"(\d+) %", question)
    factor = 1 + int(percent) / 100
    assert len(losses) == 5
    np.testing.assert_allclose(losses, 0.5 * factor ** np.arange(5), atol=0.0051)


def test_nearly_the_bound_by_taking_the_steps():
    quiz = find_task("nearly_the_bound")
    text = quiz.reference.__doc__
    for lr, factors in ((0.25, ("0.75", "0")), (0.49, ("0.51", "-0.96"))):
        w = np.ones(2)
        w = w - lr * np.array([1.0, 4.0]) * w
        assert [f"{value:.2g}" for value in w] == list(factors)
        assert all(factor in text for factor in factors)
    assert max(abs(1 - 0.4 * 1), abs(1 - 0.4 * 4)) == pytest.approx(0.6)


@pytest.mark.parametrize("share", [1.0, 0.001])
def test_scale_one_feature_costs_up_to_a_million(share):
    X = np.random.default_rng(0).normal(size=(200, 3)) * [share, 1, 1]
    loss = largest_lr_reference(X) / largest_lr_reference(X * [1000, 1, 1])
    assert (1e5 if share == 1 else 0.9) < loss < 1e6
