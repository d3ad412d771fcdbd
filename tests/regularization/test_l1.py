import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import nn
from torch.nn import Parameter, functional

from mlopt_edu.regularization import (
    ProximalL1,
    l1_penalty,
    l1_subgradient_,
    proximal_l1_,
    soft_threshold,
)


def seeded(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5, 2)])
@pytest.mark.parametrize("threshold", [0.0, 0.25, 1.0, 100.0])
def test_soft_threshold_is_torchs_softshrink(shape, threshold, dtype):
    x = seeded(*shape, dtype=dtype)
    assert torch.equal(
        soft_threshold(x, threshold), functional.softshrink(x, threshold)
    )


def test_soft_threshold_of_a_view_and_of_what_is_no_number():
    x = seeded(4, 6).T[::2]
    assert torch.equal(
        soft_threshold(x, 0.5), functional.softshrink(x.contiguous(), 0.5)
    )
    special = torch.tensor([math.nan, math.inf, -math.inf])
    expected = torch.tensor([math.nan, math.inf, -math.inf])
    torch.testing.assert_close(soft_threshold(special, 1.0), expected, equal_nan=True)


def test_its_zeros_have_no_sign():
    zeros = soft_threshold(torch.tensor([-0.5, -1.0, 0.5, -0.0]), 1.0)
    assert not zeros.signbit().any()
    assert torch.equal(zeros, torch.zeros(4))


@pytest.mark.parametrize("threshold", [0.0, 0.3, 2.0])
def test_soft_threshold_minimizes_distance_plus_penalty(threshold):
    # 0 must lie in the subdifferential: x - z = t sign(z), or |x| <= t at z = 0.
    x = 2 * seeded(200)
    z = soft_threshold(x, threshold)
    off_zero = z != 0
    torch.testing.assert_close((x - z)[off_zero], threshold * z[off_zero].sign())
    assert (x[~off_zero].abs() <= threshold).all()
    # And no point of a fine grid is better.
    grid = torch.linspace(-6, 6, 2401, dtype=torch.float64)[:, None]

    def objective(at):
        return (at - x).square() / 2 + threshold * at.abs()

    assert (objective(z) <= objective(grid).min(0).values + 1e-15).all()


def test_gradient_of_soft_threshold():
    x = torch.tensor([-2.0, -0.3, 0.2, 1.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: soft_threshold(x, 0.5), (x,))


def test_penalty_and_subgradient_are_one():
    params = [
        Parameter(seeded(3, 2)),
        Parameter(seeded(4, seed=1)),
        Parameter(seeded()),
    ]
    params[1].data[0] = 0.0
    l1_penalty(params, 0.7).backward()
    expected = [param.grad.clone() for param in params]
    for param in params:
        param.grad = torch.zeros_like(param)
    l1_subgradient_(params, 0.7)
    assert all(map(torch.equal, [param.grad for param in params], expected))
    assert l1_penalty([], 1.0) == 0
    idle = Parameter(torch.ones(1))
    l1_subgradient_([idle], 1.0)
    assert idle.grad is None


def test_penalty_of_several_types_and_gradcheck():
    halves = [torch.tensor([0.5, -1.5]), torch.tensor(2.0, dtype=torch.bfloat16)]
    assert l1_penalty(halves, 2.0) == 8.0
    x = seeded(5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: l1_penalty([x], 0.3), (x,))


def test_many_tensors_are_thresholded_like_one():
    params = [Parameter(seeded(n, seed=n)) for n in (1, 4, 9)]
    expected = [soft_threshold(param.detach(), 0.4) for param in params]
    proximal_l1_(params, 0.4)
    assert all(map(torch.equal, params, expected))
    proximal_l1_([], 0.4)


def lasso_problem():
    """60 equations in 12 unknowns, of which 4 matter; two columns nearly alike."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 12)) * np.linspace(0.5, 2, 12)
    X[:, 3] = X[:, 2] + 0.4 * rng.normal(size=60)
    y = X @ np.array([3, 0, -2, 0, 0, 1, 0, 0, 0, 0, 0.5, 0]) + rng.normal(size=60)
    return X, y


def largest_step(X):
    return len(X) / np.linalg.norm(X, 2) ** 2


def descend(X, y, strength, *, proximal, steps=1500):
    """Full-batch gradient descent with lr = 1 / L on the Lasso's objective."""
    hessian = torch.from_numpy(X.T @ X / len(y))
    target = torch.from_numpy(X.T @ y / len(y))
    w = Parameter(torch.zeros(X.shape[1], dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=largest_step(X))
    if proximal:
        ProximalL1(optimizer, strength)
    for _ in range(steps):
        w.grad = hessian @ w.detach() - target
        if not proximal:
            l1_subgradient_([w], strength)
        optimizer.step()
    return w.detach().numpy()


@pytest.mark.parametrize("strength", [0.01, 0.05, 0.2, 0.5, 1.0, 3.0, 12.0])
def test_gradient_descent_with_the_proximal_step_reaches_the_lasso(strength):
    X, y = lasso_problem()
    lasso = Lasso(strength, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(X, y)
    actual = descend(X, y, strength, proximal=True)
    np.testing.assert_allclose(actual, lasso.coef_, rtol=1e-7, atol=1e-8)
    np.testing.assert_array_equal(actual == 0, lasso.coef_ == 0)


def test_the_subgradient_comes_near_and_makes_no_zeros():
    X, y = lasso_problem()
    proximal = descend(X, y, 0.5, proximal=True)
    subgradient = descend(X, y, 0.5, proximal=False)
    assert (proximal == 0).sum() == 8
    assert (subgradient == 0).sum() == 0
    assert np.abs(subgradient - proximal).max() < 2 * largest_step(X) * 0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda groups: torch.optim.SGD(groups, momentum=0.9, nesterov=True),
        torch.optim.Adam,
        lambda groups: torch.optim.AdamW(groups, fused=True),
        torch.optim.Adafactor,
    ],
    ids=["SGD", "Adam", "AdamW fused", "Adafactor"],
)
def test_each_group_has_the_threshold_of_its_own_step(make):
    def groups(params):
        return [{"params": params[:1], "lr": 0.1}, {"params": params[1:], "lr": 0.01}]

    ours = [Parameter(seeded(4, 3)), Parameter(seeded(5, seed=1))]
    byhand = [Parameter(param.detach().clone()) for param in ours]
    optimizer, plain = make(groups(ours)), make(groups(byhand))
    ProximalL1(optimizer, 0.3)
    schedules = [
        torch.optim.lr_scheduler.ExponentialLR(one, 0.8) for one in (optimizer, plain)
    ]
    for step in range(20):
        for mine, theirs in zip(ours, byhand, strict=True):
            mine.grad, theirs.grad = seeded(*mine.shape, seed=step), None
            theirs.grad = mine.grad.clone()
        lrs = [group["lr"] for group in plain.param_groups]
        optimizer.step()
        plain.step()
        for param, lr in zip(byhand, lrs, strict=True):
            param.data = soft_threshold(param.data, lr * 0.3)
        for schedule in schedules:
            schedule.step()
        assert all(map(torch.equal, ours, byhand))


def test_only_chosen_parameters_that_were_stepped_are_thresholded():
    layer = nn.Linear(3, 2)
    idle = Parameter(torch.full((2,), 1e-3))
    nn.init.constant_(layer.weight, 1e-3)
    nn.init.constant_(layer.bias, 1e-3)
    optimizer = torch.optim.SGD([*layer.parameters(), idle], lr=0.1)
    proximal = ProximalL1(optimizer, 1.0, params=[layer.weight, idle])
    for param in layer.parameters():
        param.grad = torch.zeros_like(param)
    optimizer.step()
    assert torch.equal(layer.weight, torch.zeros(2, 3))
    assert torch.equal(layer.bias, torch.full((2,), 1e-3))
    assert torch.equal(idle, torch.full((2,), 1e-3))

    nn.init.constant_(layer.weight, 1e-3)
    proximal.remove()
    optimizer.step()
    assert torch.equal(layer.weight, torch.full((2, 3), 1e-3))


def test_a_group_added_later_is_thresholded_too():
    first, later = Parameter(torch.ones(1)), Parameter(torch.full((1,), 1e-3))
    optimizer = torch.optim.SGD([first], lr=0.1)
    ProximalL1(optimizer, 1.0)
    optimizer.add_param_group({"params": [later], "lr": torch.tensor(0.5)})
    later.grad = torch.zeros(1)
    optimizer.step()
    assert (first.item(), later.item()) == (1.0, 0.0)


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_a_scaler_skips_is_not_thresholded(fused):
    w = Parameter(torch.full((3,), 0.5))
    optimizer = torch.optim.Adam([w], lr=0.1, fused=fused)
    ProximalL1(optimizer, 1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for factor in (math.inf, 1.0):
        optimizer.zero_grad()
        scaler.scale((w * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        expected = 0.5 if factor == math.inf else 0.3  # lr, then lr * strength
        torch.testing.assert_close(w.data, torch.full((3,), expected))


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
def test_what_is_out_of_range_is_refused(value):
    w = Parameter(torch.ones(1))
    with pytest.raises(ValueError, match=r"^threshold must be finite and at least 0"):
        soft_threshold(w, value)
    with pytest.raises(ValueError, match=r"^threshold must be finite and at least 0"):
        proximal_l1_([w], value)
    for refused in (l1_penalty, l1_subgradient_):
        with pytest.raises(ValueError, match=r"^strength must be finite"):
            refused([w], value)
    with pytest.raises(ValueError, match=r"^strength must be finite"):
        ProximalL1(torch.optim.SGD([w], lr=1.0), value)


def test_a_stranger_and_a_group_without_lr_are_refused():
    w = Parameter(torch.ones(1))
    with pytest.raises(ValueError, match=r"^params must all belong .* got 1 that do"):
        ProximalL1(torch.optim.SGD([w], lr=1.0), 0.1, params=[Parameter(w.data)])

    class Frozen(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {})

    with pytest.raises(ValueError, match=r"^optimizer must have an lr in every group"):
        ProximalL1(Frozen([w]), 0.1)
