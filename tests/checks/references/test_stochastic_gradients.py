"""The right programs of exercise 02, proved by torch, SciPy and enumeration."""

from itertools import combinations, product
from math import comb

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from torch.utils.data import DataLoader, TensorDataset

from mlopt_edu.checks import find_task
from mlopt_edu.checks.stochastic_gradients._batch_gradient import (
    batch_gradient_reference,
)
from mlopt_edu.checks.stochastic_gradients._best_lr import best_lr_reference
from mlopt_edu.checks.stochastic_gradients._descend_in_batches import (
    descend_in_batches_reference,
)
from mlopt_edu.checks.stochastic_gradients._epoch_batches import (
    epoch_batches_reference,
)
from mlopt_edu.checks.stochastic_gradients._gradient_noise import (
    gradient_noise_reference,
)
from mlopt_edu.checks.stochastic_gradients._heavy_ball import heavy_ball_reference
from mlopt_edu.checks.stochastic_gradients._nesterov import nesterov_reference
from mlopt_edu.checks.stochastic_gradients._noise_scale import noise_scale_reference
from tests.checks.references import cases


def tensor(array):
    return torch.tensor(np.ascontiguousarray(array))


def loss(X, y, w):
    return (X @ w - y).square().mean() / 2


def gradients_of_examples(X, y, w):
    """One row an example, by autograd."""
    X, y = tensor(X), tensor(y)
    losses = lambda w: (X @ w - y).square() / 2  # noqa: E731
    return torch.autograd.functional.jacobian(losses, tensor(w)).numpy()


@cases("epoch_batches")
def test_epoch_batches_are_those_of_a_data_loader(case):
    order, batch_size = case.inputs.values()
    examples = TensorDataset(torch.arange(len(order)))
    loader = DataLoader(examples, batch_size, sampler=order.tolist())
    expected = [batch.tolist() for (batch,) in loader]
    assert expected == [b.tolist() for b in epoch_batches_reference(order, batch_size)]


@cases("epoch_batches")
def test_epoch_batches_show_every_example_once(case):
    batches = epoch_batches_reference(*case.inputs.values())
    assert np.concatenate(batches).tolist() == case.inputs["order"].tolist()


@cases("batch_gradient")
def test_batch_gradient_is_that_of_autograd(case):
    X, y, w, batch = map(tensor, case.inputs.values())
    w.requires_grad_()
    loss(X[batch], y[batch], w).backward()
    actual = batch_gradient_reference(*case.inputs.values())
    np.testing.assert_allclose(actual, w.grad, rtol=1e-10, atol=1e-14)


def test_batch_gradient_is_the_full_one_on_average():
    X, y, w, _ = find_task("batch_gradient").cases(20)[0].inputs.values()
    some = [
        batch_gradient_reference(X, y, w, np.array(rows))
        for rows in combinations(range(len(y)), 2)
    ]
    full = gradients_of_examples(X, y, w).mean(axis=0)
    np.testing.assert_allclose(np.mean(some, axis=0), full, rtol=1e-12)


@cases("descend_in_batches")
def test_descend_in_batches_walks_where_a_torch_loop_walks(case):
    X, y, w0, lr, batch_size, orders = case.inputs.values()
    w = torch.tensor(w0, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=lr)
    path = [w0]
    for order in orders.tolist():
        examples = TensorDataset(tensor(X), tensor(y))
        for X_batch, y_batch in DataLoader(examples, batch_size, sampler=order):
            optimizer.zero_grad()
            loss(X_batch, y_batch, w).backward()
            optimizer.step()
            path.append(w.detach().numpy().copy())
    actual = descend_in_batches_reference(*case.inputs.values())
    np.testing.assert_allclose(actual, path, rtol=1e-9, atol=1e-12)


@cases("gradient_noise")
def test_gradient_noise_by_drawing_every_batch(case):
    X, y, w, size = case.inputs.values()
    gradients = gradients_of_examples(X, y, w)
    n, exact = len(y), comb(len(y), size) <= 1000
    if exact:
        draws = np.array(list(combinations(range(n), size)))
    else:
        rng = np.random.default_rng(0)
        draws = np.array([rng.permutation(n)[:size] for _ in range(20_000)])
    off = gradients[draws].mean(axis=1) - gradients.mean(axis=0)
    expected = (off**2).sum(axis=1).mean()
    actual = gradient_noise_reference(X, y, w, size)
    margin = {"rel": 1e-9, "abs": 1e-20} if exact else {"rel": 0.05}
    assert actual == pytest.approx(expected, **margin)


def test_gradient_noise_at_most_sizes_was_enumerated():
    drawn = [case.inputs for case in find_task("gradient_noise").cases(20)]
    counts = [comb(len(one["y"]), one["batch_size"]) for one in drawn]
    assert sum(count <= 1000 for count in counts) >= 6


def test_gradient_noise_with_replacement_lacks_the_factor():
    X, y, w, size = find_task("gradient_noise").cases(20)[0].inputs.values()
    gradients = gradients_of_examples(X, y, w)
    draws = np.array(list(product(range(len(y)), repeat=size)))
    off = gradients[draws].mean(axis=1) - gradients.mean(axis=0)
    factor = (len(y) - size) / (len(y) - 1)
    expected = (off**2).sum(axis=1).mean() * factor
    assert gradient_noise_reference(X, y, w, size) == pytest.approx(expected)


@cases("noise_scale")
def test_noise_scale_is_slope_over_intercept_of_a_line_in_1_over_b(case):
    small, big, b_small, b_big = case.inputs.values()
    inverse = np.repeat([1 / b_small, 1 / b_big], [len(small), len(big)])
    squares = np.linalg.norm(np.vstack([small, big]), axis=1) ** 2
    line = scipy.stats.linregress(inverse, squares)
    actual = noise_scale_reference(small, big, b_small, b_big)
    assert actual == pytest.approx(line.slope / line.intercept, rel=1e-9)
    # A case near 0 would ask for digits, not for the idea.
    assert abs(line.intercept) > 0.1


@pytest.mark.parametrize(("b_small", "b_big"), [(1, 2), (2, 3), (1, 5)])
def test_noise_scale_of_all_batches_is_exact(b_small, b_big):
    gradients = np.random.default_rng(0).normal(size=(4, 3)) + 1
    small, big = (
        np.array([gradients[list(rows)].mean(axis=0) for rows in draws])
        for draws in (
            product(range(4), repeat=b_small),
            product(range(4), repeat=b_big),
        )
    )
    true = gradients.mean(axis=0)
    expected = np.trace(np.cov(gradients.T, ddof=0)) / (true @ true)
    actual = noise_scale_reference(small, big, b_small, b_big)
    assert actual == pytest.approx(expected, rel=1e-10)


def sgd(w0, momentum, **options):
    """Weights and their optimizer; the caller sets lr and gradients."""
    w = torch.tensor(w0, requires_grad=True)
    return w, torch.optim.SGD([w], lr=0.0, momentum=momentum, **options)


@cases("heavy_ball")
def test_heavy_ball_walks_where_sgd_of_torch_walks(case):
    curvatures, w0, lrs, momentum = case.inputs.values()
    w, optimizer = sgd(w0, momentum)
    path = [w0]
    for lr in lrs:
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        (tensor(curvatures) * w**2 / 2).sum().backward()
        optimizer.step()
        path.append(w.detach().numpy().copy())
    actual = heavy_ball_reference(curvatures, w0, lrs, momentum)
    np.testing.assert_allclose(actual, path, rtol=1e-9, atol=1e-12)


@cases("nesterov")
def test_nesterov_is_sgd_of_torch_with_gradients_from_ahead(case):
    curvatures, w0, lrs, momentum = case.inputs.values()
    w, optimizer = sgd(w0, momentum)
    path = [w0]
    for lr in lrs:
        optimizer.param_groups[0]["lr"] = lr
        velocity = optimizer.state[w].get("momentum_buffer", torch.zeros_like(w))
        ahead = (w - lr * momentum * velocity).detach().requires_grad_()
        (tensor(curvatures) * ahead**2 / 2).sum().backward()
        w.grad = ahead.grad
        optimizer.step()
        path.append(w.detach().numpy().copy())
    actual = nesterov_reference(curvatures, w0, lrs, momentum)
    np.testing.assert_allclose(actual, path, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.5, 0.9, 0.99])
def test_nesterov_of_torch_keeps_the_look_ahead_points(momentum):
    # with a constant lr, torch's point is w - lr * momentum * velocity
    curvatures, w0, lr = np.array([0.3, 1.0, 4.0]), np.array([1.0, -2.0, 1.5]), 0.2
    lrs = np.full(40, lr)
    w, optimizer = sgd(w0, momentum, nesterov=True)
    optimizer.param_groups[0]["lr"] = lr
    seen = []
    for _ in lrs:
        optimizer.zero_grad()
        (tensor(curvatures) * w**2 / 2).sum().backward()
        optimizer.step()
        seen.append(w.detach().numpy().copy())
    path = nesterov_reference(curvatures, w0, lrs, momentum)
    ahead = path[1:] + momentum * np.diff(path, axis=0)
    np.testing.assert_allclose(seen, ahead, rtol=1e-9, atol=1e-12)


def test_nesterov_is_the_form_of_sutskever_while_lr_is_constant():
    mistakes = {mistake.name: mistake for mistake in find_task("nesterov").mistakes}
    inside = mistakes["lr_inside_the_velocity"].program
    inputs = np.array([0.3, 4.0]), np.array([1.0, -2.0]), np.full(30, 0.2), 0.9
    np.testing.assert_allclose(inside(*inputs), nesterov_reference(*inputs), rtol=1e-9)


def test_best_lr_by_minimizing_the_loss_after_a_noisy_step():
    # loss |w|^2 / 2 from a gradient of length 1, with variance noise_scale / batch
    def best(batch):
        after = lambda lr: ((1 - lr) ** 2 + lr**2 * 4000 / batch) / 2  # noqa: E731
        return scipy.optimize.minimize_scalar(after, (0, 1), tol=1e-12).x

    expected = 0.1 * best(8000) / best(500)
    assert best_lr_reference() == pytest.approx(expected, rel=1e-6)


def test_best_lr_is_linear_scaling_without_the_1():
    without = 0.1 * (4000 / 500) / (4000 / 8000)
    assert without == pytest.approx(0.1 * 8000 / 500)


@pytest.fixture(scope="module")
def walks():
    """Losses of two seeds with batches of 8 of 400, by a program and an lr."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = X @ [1.0, -2, 0.5] + rng.normal(size=400)

    def run(program, lr):
        losses = []
        for seed in (1, 2):
            orders = np.random.default_rng(seed).permutation(400)[None]
            path = program(X, y, np.zeros(3), lr, 8, orders)
            losses.append(((path[1:] @ X.T - y) ** 2).mean(axis=1) / 2)
        return losses

    return run


def test_two_seeds_one_curve_is_the_sign_of_an_unused_batch(walks):
    mistakes = {m.name: m.program for m in find_task("descend_in_batches").mistakes}
    one, two = walks(mistakes["batch_never_used"], 0.05)
    assert one.tolist() == two.tolist()
    assert one[-1] < one[0]


@pytest.mark.parametrize("lr", [0.05, 1e-6])
def test_two_seeds_one_curve_does_not_come_of_a_small_lr(walks, lr):
    one, two = walks(descend_in_batches_reference, lr)
    assert not (one == two).any()


def test_four_times_the_batch_halves_the_distance():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50_000, 3)), rng.normal(size=50_000)
    noise = [gradient_noise_reference(X, y, np.ones(3), size) for size in (16, 64)]
    assert noise[0] / noise[1] == pytest.approx(4, rel=0.01)
    assert np.sqrt(noise[0] / noise[1]) == pytest.approx(2, rel=0.01)


def test_momentum_switched_on_makes_steps_ten_times_as_long():
    def steps(**options):
        w = torch.zeros(1, dtype=torch.float64)
        w.grad = torch.ones_like(w)
        optimizer = torch.optim.SGD([w], lr=0.1, **options)
        path = [0.0]
        for _ in range(200):
            optimizer.step()
            path.append(w.item())
        return -np.diff(path) / 0.1

    lengths = steps(momentum=0.9)
    assert lengths[1] == pytest.approx(1.9)
    assert lengths[2] == pytest.approx(1.9 + 0.9**2)
    assert lengths[-1] == pytest.approx(10)
    averaged = steps(momentum=0.9, dampening=0.9)
    np.testing.assert_allclose(averaged, 1)
