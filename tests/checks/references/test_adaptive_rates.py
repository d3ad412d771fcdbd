"""The right programs of exercise 03, proved by torch, lion-pytorch and closed forms."""

import numpy as np
import pytest
import torch
from lion_pytorch import Lion

from mlopt_edu.checks import find_task
from mlopt_edu.checks.adaptive_rates._adagrad import adagrad_reference
from mlopt_edu.checks.adaptive_rates._adam import adam_reference
from mlopt_edu.checks.adaptive_rates._adamw import adamw_reference
from mlopt_edu.checks.adaptive_rates._lion import lion_reference
from mlopt_edu.checks.adaptive_rates._orthogonalize import (
    COEFFICIENTS,
    orthogonalize_reference,
)
from mlopt_edu.checks.adaptive_rates._rmsprop import rmsprop_reference
from mlopt_edu.checks.adaptive_rates._train_with_adam import train_with_adam_reference
from tests.checks.references import cases

BETAS = (0.9, 0.999)


def replayed(param, grads, optimizer_class, **settings):
    """Where an optimizer of torch goes when these gradients arrive."""
    w = torch.tensor(param, requires_grad=True)
    optimizer = optimizer_class([w], **settings)
    path = [w.detach().clone()]
    for grad in grads:
        w.grad = torch.tensor(grad)
        optimizer.step()
        path.append(w.detach().clone())
    return torch.stack(path).numpy()


def same(actual, expected, rtol=1e-9):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=1e-12)


@cases("adagrad")
def test_adagrad_walks_where_that_of_torch_walks(case):
    param, grads, lr, eps = case.inputs.values()
    expected = replayed(param, grads, torch.optim.Adagrad, lr=lr, eps=eps)
    same(adagrad_reference(**case.inputs), expected)


@cases("rmsprop")
def test_rmsprop_walks_where_that_of_torch_walks(case):
    param, grads, lr, beta, eps = case.inputs.values()
    expected = replayed(param, grads, torch.optim.RMSprop, lr=lr, alpha=beta, eps=eps)
    same(rmsprop_reference(**case.inputs), expected)


@cases("adam")
def test_adam_walks_where_that_of_torch_walks(case):
    param, grads, lr, betas, eps = case.inputs.values()
    expected = replayed(param, grads, torch.optim.Adam, lr=lr, betas=betas, eps=eps)
    same(adam_reference(**case.inputs), expected)


@cases("adamw")
def test_adamw_walks_where_that_of_torch_walks(case):
    param, grads, *_ = case.inputs.values()
    settings = {k: case.inputs[k] for k in ("lr", "betas", "eps", "weight_decay")}
    expected = replayed(param, grads, torch.optim.AdamW, **settings)
    same(adamw_reference(**case.inputs), expected)


@cases("lion")
def test_lion_walks_where_that_of_lion_pytorch_walks(case):
    param, grads, lr, betas, weight_decay = case.inputs.values()
    if lr == 0:  # which lion-pytorch rejects
        expected = np.tile(param, (len(grads) + 1, 1))
    else:
        expected = replayed(
            param, grads, Lion, lr=lr, betas=betas, weight_decay=weight_decay
        )
    same(lion_reference(**case.inputs), expected)


@cases("train_with_adam")
def test_train_with_adam_is_torch_with_a_data_loader(case):
    X, y = (torch.tensor(case.inputs[name]) for name in ("X", "y"))
    model = torch.nn.Linear(X.shape[1], 1, bias=False, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=case.inputs["lr"])
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(X, y), batch_size=case.inputs["batch_size"]
    )
    loss = lambda X, y: torch.nn.functional.mse_loss(model(X)[:, 0], y)  # noqa: E731
    losses = [loss(X, y).item()]
    for _ in range(case.inputs["epochs"]):
        for X_batch, y_batch in loader:
            optimizer.zero_grad()
            loss(X_batch, y_batch).backward()
            optimizer.step()
        losses.append(loss(X, y).item())
    actual = train_with_adam_reference(**case.inputs)
    np.testing.assert_allclose(actual, losses, rtol=1e-9)


@cases("orthogonalize")
def test_orthogonalize_maps_each_singular_value_and_keeps_the_vectors(case):
    matrix, steps = case.inputs.values()
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    s = s / (np.sqrt(np.sum(s**2)) or 1.0)
    for _ in range(steps):
        s = np.polynomial.polynomial.polyval(s, [0, 3.4445, 0, -4.7750, 0, 2.0315])
    actual = orthogonalize_reference(matrix, steps)
    np.testing.assert_allclose(actual, (u * s) @ vt, rtol=0, atol=1e-9)


@cases("orthogonalize")
def test_orthogonalize_is_the_step_of_muon_in_torch(case):
    matrix, steps = case.inputs.values()
    if case.label == "rank one":
        pytest.skip("torch iterates in bfloat16, whose rounding fills the other ranks")
    rows, columns = matrix.shape
    settings = {"lr": 1.0, "weight_decay": 0.0, "momentum": 0.0, "nesterov": False}
    path = replayed(
        np.zeros(matrix.shape), [matrix], torch.optim.Muon, ns_steps=steps, **settings
    )
    step = -path[1] / max(1, rows / columns) ** 0.5
    actual = orthogonalize_reference(matrix, steps)
    # bfloat16 has 8 bits
    np.testing.assert_allclose(actual, step, rtol=0, atol=0.05)


def iterated(s, steps):
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return s


def test_five_steps_bring_singular_values_from_a_hundredth_on_to_about_one():
    values = iterated(np.linspace(0.01, 1, 100_001), 5)
    assert 0.67 < values.min() < values.max() < 1.21


@pytest.mark.parametrize(("start", "explodes"), [(1.25, False), (1.27, True)])
def test_above_1_26_the_iteration_explodes(start, explodes):
    with np.errstate(over="ignore", invalid="ignore"):
        end = iterated(np.float64(start), 60)
    assert explodes == (not end < 1.27)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_a_steady_gradient_gives_adam_steps_of_lr_and_adagrad_shorter_ones(size):
    grads = np.full((50, 1), size)
    start = np.zeros(1)
    steps = -np.diff(adam_reference(start, grads, 0.1, BETAS, 0.0), axis=0)
    np.testing.assert_allclose(steps, 0.1)
    steps = -np.diff(adagrad_reference(start, grads, 0.1, 0.0), axis=0)[:, 0]
    np.testing.assert_allclose(steps, 0.1 / np.sqrt(np.arange(1, 51)))


def test_adam_without_memory_is_the_sign_and_so_is_lion():
    grads = np.random.default_rng(0).normal(size=(20, 3))
    start = np.zeros(3)
    expected = np.vstack([start, -0.1 * np.cumsum(np.sign(grads), axis=0)])
    same(adam_reference(start, grads, 0.1, (0.0, 0.0), 0.0), expected)
    same(lion_reference(start, grads, 0.1, (0.0, 0.5), 0.0), expected)


def test_decay_alone_is_a_power():
    param = np.array([3.0, -2.0])
    end = adamw_reference(param, np.zeros((20, 2)), 0.1, BETAS, 1e-8, 0.5)[-1]
    np.testing.assert_allclose(end, param * 0.95**20)
    end = lion_reference(param, np.zeros((20, 2)), 0.1, BETAS, 0.5)[-1]
    np.testing.assert_allclose(end, param * 0.95**20)


def wrong(task, name):
    (program,) = [m.program for m in find_task(task).mistakes if m.name == name]
    return program


def first_steps(program, steps, size=1.0):
    """Lengths of the steps for a steady gradient, as multiples of lr."""
    path = program(np.zeros(1), np.full((steps, 1), size), 1.0, BETAS, 1e-12)
    return -np.diff(path, axis=0)[:, 0]


def test_uncorrected_start_is_three_times_too_long_and_then_more():
    steps = first_steps(wrong("adam", "no_correction"), 100)
    assert f"{steps[0]:.1f}" == "3.2"
    assert "3.2" in find_task("uncorrected_start").options["a"]
    assert (np.diff(steps[:10]) > 0).all()
    assert (steps > 1).all()
    assert first_steps(wrong("adam", "only_the_first_corrected"), 1)[0] > steps[0]
    assert first_steps(wrong("adam", "only_the_second_corrected"), 1)[0] < 0.2


def test_rare_word_by_taking_the_steps():
    grads = np.ones((10_001, 2))
    grads[:-1, 1] = np.arange(10_000) % 100 == 0
    path = adagrad_reference(np.zeros(2), grads, 0.1, 1e-10)
    frequent, rare = path[-2] - path[-1]
    assert rare / frequent == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize(("size", "shorter"), [(0.001, 101), (10.0, 1.01)])
def test_what_eps_does_by_taking_the_steps(size, shorter):
    grads = np.full((30, 1), size)
    small, large = (
        replayed(np.zeros(1), grads, torch.optim.Adam, lr=1.0, eps=eps)
        for eps in (1e-8, 0.1)
    )
    ratio = np.diff(small, axis=0) / np.diff(large, axis=0)
    np.testing.assert_allclose(ratio, shorter, rtol=1e-4)


def test_below_eps_adam_is_momentum_with_rate_lr_over_eps():
    grads = np.random.default_rng(0).normal(size=(40, 2)) * 1e-6
    adam = replayed(np.zeros(2), grads, torch.optim.Adam, lr=0.01, eps=0.1)
    velocity, w = np.zeros(2), np.zeros(2)
    for step, grad in enumerate(grads, start=1):
        velocity = 0.9 * velocity + 0.1 * grad
        w = w - 0.01 / 0.1 * velocity / (1 - 0.9**step)
    np.testing.assert_allclose(adam[-1], w, rtol=1e-4)


def test_l2_under_adam_decays_small_gradients_10_000_times_more():
    signs = np.where(np.arange(2000) % 2, 1.0, -1.0)
    grads = signs[:, None] * [100, 0.01]
    start = np.ones(2)
    plain, l2, decoupled = (
        replayed(start, grads, optimizer, lr=1e-3, weight_decay=decay)[-1]
        for optimizer, decay in (
            (torch.optim.Adam, 0.0),
            (torch.optim.Adam, 1e-4),
            (torch.optim.AdamW, 1e-4),
        )
    )
    large, small = plain - l2
    assert small / large == pytest.approx(10_000, rel=0.05)
    large, small = plain - decoupled
    assert small / large == pytest.approx(1, rel=0.01)
