"""The right programs of exercise 07, proved by torch, scikit-learn, closed forms."""

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special
from sklearn.linear_model import Lasso

from mlopt_edu.checks import find_task
from mlopt_edu.checks.regularization._clip_by_global_norm import (
    clip_by_global_norm_reference,
)
from mlopt_edu.checks.regularization._decayed_adam import decayed_adam_reference
from mlopt_edu.checks.regularization._dropout import dropout_reference
from mlopt_edu.checks.regularization._early_stopping import early_stopping_reference
from mlopt_edu.checks.regularization._label_smoothing_loss import (
    label_smoothing_loss_reference,
)
from mlopt_edu.checks.regularization._proximal_descent import (
    proximal_descent_reference,
)
from mlopt_edu.checks.regularization._soft_threshold import soft_threshold_reference
from mlopt_edu.regularization import EarlyStopping
from tests.checks.references import cases

functional = torch.nn.functional


@cases("soft_threshold")
def test_soft_threshold_is_softshrink_of_torch(case):
    x, threshold = case.inputs.values()
    actual = soft_threshold_reference(x, threshold)
    expected = functional.softshrink(torch.tensor(x), threshold).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-15)
    np.testing.assert_array_equal(actual == 0, expected == 0)


@pytest.mark.parametrize("x", [-3.0, -1.0, -0.3, 0.0, 0.5, 1.0, 2.5])
def test_soft_threshold_is_the_nearest_point_under_an_l1_penalty(x):
    cost = lambda z: (z - x) ** 2 / 2 + 0.7 * abs(z)  # noqa: E731
    best = optimize.minimize_scalar(cost, bounds=(-5, 5), options={"xatol": 1e-10}).x
    assert soft_threshold_reference(np.array([x]), 0.7) == pytest.approx(best, abs=1e-6)


@cases("proximal_descent")
def test_proximal_descent_takes_the_steps_of_autograd_and_softshrink(case):
    X, y, w0, lr, strength, steps = case.inputs.values()
    X, y, w = torch.tensor(X), torch.tensor(y), torch.tensor(w0, requires_grad=True)
    optimizer, path = torch.optim.SGD([w], lr=lr), [w0]
    for _ in range(steps):
        optimizer.zero_grad()
        (functional.mse_loss(X @ w, y) / 2).backward()
        optimizer.step()
        w.data = functional.softshrink(w.data, lr * strength)
        path.append(w.detach().numpy().copy())
    actual = proximal_descent_reference(**case.inputs)
    np.testing.assert_allclose(actual, path, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("n", "d", "strength"), [(40, 6, 0.2), (20, 50, 0.1), (60, 10, 0.1), (9, 3, 5.0)]
)
def test_proximal_descent_arrives_at_the_lasso_of_scikit_learn(n, d, strength):
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, d)) * rng.uniform(0.5, 2, size=d)
    y = X @ np.where(rng.random(d) < 0.4, rng.normal(size=d), 0) + rng.normal(size=n)
    lr = n / np.linalg.norm(X, 2) ** 2
    end = proximal_descent_reference(X, y, rng.normal(size=d), lr, strength, 20_000)[-1]
    lasso = Lasso(alpha=strength, fit_intercept=False, tol=1e-14, max_iter=1_000_000)
    expected = lasso.fit(X, y).coef_
    assert (expected == 0).any()
    np.testing.assert_array_equal(end == 0, expected == 0)
    np.testing.assert_allclose(end, expected, atol=1e-7)


@cases("dropout")
def test_dropout_does_what_torch_does_with_the_same_mask(case):
    x, keep_mask, p, training = case.inputs.values()
    x = torch.tensor(x)
    mask = torch.tensor(keep_mask).expand(x.shape)
    # The one operation of torch's dropout that takes a mask is its backward pass.
    apply_mask = torch.ops.aten.native_dropout_backward
    expected = apply_mask(x, mask, 1 / (1 - p)) if training else x
    actual = dropout_reference(**case.inputs)
    np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-14)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout_is_that_of_torch_with_the_mask_that_torch_drew(p):
    x = torch.linspace(0.5, 3, 2000, dtype=torch.float64)
    torch.manual_seed(0)
    expected = functional.dropout(x, p).numpy()
    actual = dropout_reference(x.numpy(), expected != 0, p, True)
    np.testing.assert_allclose(actual, expected, rtol=1e-14)


@cases("decayed_adam")
def test_decayed_adam_is_adamw_of_torch_with_the_bias_in_a_group_of_its_own(case):
    X, y, param, lr, weight_decay, steps = case.inputs.values()
    X, y = torch.tensor(X), torch.tensor(y)
    weights = torch.tensor(param[:-1], requires_grad=True)
    bias = torch.tensor(param[-1:], requires_grad=True)
    groups = [
        {"params": [weights], "weight_decay": weight_decay},
        {"params": [bias], "weight_decay": 0.0},
    ]
    optimizer, path = torch.optim.AdamW(groups, lr=lr), [param]
    for _ in range(steps):
        optimizer.zero_grad()
        (functional.mse_loss(X @ weights + bias, y) / 2).backward()
        optimizer.step()
        path.append(torch.cat([weights, bias]).detach().numpy())
    actual = decayed_adam_reference(**case.inputs)
    np.testing.assert_allclose(actual, path, rtol=1e-7, atol=1e-9)


def mistake(task, name):
    (program,) = [m.program for m in find_task(task).mistakes if m.name == name]
    return program


@cases("decayed_adam")
def test_the_broken_program_is_adam_of_torch_with_weight_decay(case):
    X, y, param, lr, weight_decay, steps = case.inputs.values()
    X, y = torch.tensor(X), torch.tensor(y)
    both = torch.tensor(param, requires_grad=True)
    optimizer = torch.optim.Adam([both], lr=lr, weight_decay=weight_decay)
    for _ in range(steps):
        optimizer.zero_grad()
        (functional.mse_loss(X @ both[:-1] + both[-1], y) / 2).backward()
        optimizer.step()
    actual = mistake("decayed_adam", "as_given")(**case.inputs)[-1]
    np.testing.assert_allclose(actual, both.detach().numpy(), rtol=1e-6, atol=1e-8)


def test_a_weight_without_gradient_decays_by_a_power():
    X = np.column_stack([np.zeros(5), np.arange(5.0)])
    path = decayed_adam_reference(X, np.ones(5), np.array([3.0, 1, 1]), 0.1, 0.5, 12)
    np.testing.assert_allclose(path[:, 0], 3 * 0.95 ** np.arange(13))


@cases("label_smoothing_loss")
def test_label_smoothing_loss_is_cross_entropy_of_torch(case):
    logits, labels, smoothing = case.inputs.values()
    expected = functional.cross_entropy(
        torch.tensor(logits), torch.tensor(labels), label_smoothing=smoothing
    )
    actual = label_smoothing_loss_reference(**case.inputs)
    np.testing.assert_allclose(actual, expected.item(), rtol=1e-9)


def test_without_the_entropy_the_loss_is_a_divergence_and_so_at_least_0():
    logits = np.log([[0.91, *[0.01] * 9]])
    program = mistake("label_smoothing_loss", "entropy_subtracted")
    assert program(logits, np.array([0]), 0.1) == pytest.approx(0, abs=1e-12)
    assert program(3 * logits, np.array([0]), 0.1) > 0


def test_eps_in_the_log_caps_the_loss_at_28():
    program = mistake("label_smoothing_loss", "eps_in_the_log")
    loss = program(np.array([[1000.0, 0]]), np.array([1]), 0.0)
    assert f"{loss:.0f}" == "28"


@cases("clip_by_global_norm")
def test_clip_by_global_norm_is_that_of_torch_but_for_its_eps(case):
    grads, max_norm = case.inputs.values()
    params = [torch.zeros(grad.shape, dtype=torch.float64) for grad in grads]
    # Far above torch's 1e-6, the shares of all entries are the same.
    scale = 1e9
    for param, grad in zip(params, grads, strict=True):
        param.grad = torch.tensor(scale * grad)
    torch.nn.utils.clip_grad_norm_(params, scale * max_norm)
    clipped = clip_by_global_norm_reference(grads, max_norm)
    for actual, param in zip(clipped, params, strict=True):
        expected = param.grad.numpy() / scale
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=0)
        assert actual.shape == expected.shape


@cases("clip_by_global_norm")
def test_clipped_gradients_have_exactly_the_largest_norm_or_are_unchanged(case):
    grads, max_norm = case.inputs.values()
    before, after = (
        np.linalg.norm(np.concatenate([g.ravel() for g in arrays]))
        for arrays in (grads, clip_by_global_norm_reference(grads, max_norm))
    )
    assert after == pytest.approx(min(before, max_norm), rel=1e-12)


@cases("early_stopping")
def test_early_stopping_is_the_one_of_the_library(case):
    validation, test, patience, min_delta = case.inputs.values()
    model = torch.nn.Linear(1, 1, bias=False)
    stopping = EarlyStopping(model, patience, min_delta=min_delta)
    for epoch, loss in enumerate(validation):
        torch.nn.init.constant_(model.weight, epoch)
        if stopping.update(loss):
            break
    stopping.restore_()
    kept = int(model.weight.item())
    assert early_stopping_reference(**case.inputs) == (epoch, kept, test[kept])


@cases("early_stopping")
def test_early_stopping_keeps_what_its_definition_says(case):
    validation, test, patience, min_delta = case.inputs.values()
    stop, best, test_loss = early_stopping_reference(**case.inputs)
    assert test_loss == test[best]
    # No epoch after the best one improved on it, and the wait is what ended the run.
    bar = validation[best] - min_delta
    assert not (validation[best + 1 : stop + 1] < bar).any()
    assert stop - best == patience or stop == len(validation) - 1
    # Every improvement before came within the patience of the one before it.
    improvements, low = [0], validation[0]
    for epoch in range(1, stop + 1):
        if validation[epoch] < low - min_delta:
            improvements.append(epoch)
            low = validation[epoch]
    assert improvements[-1] == best
    assert max(np.diff(improvements), default=0) <= patience


def test_no_exact_zeros_by_taking_the_steps():
    lr, strength = 0.1, 0.01
    assert lr * strength == pytest.approx(0.001)
    for times in (1, 10):
        w, seen = 0.0004, []
        for _ in range(100):
            w -= lr * times * strength * np.sign(w)
            seen.append(w)
        assert 0 not in seen
        assert max(np.abs(seen)) <= times * 0.001
    assert soft_threshold_reference(np.array([0.0004]), lr * strength) == 0


def test_forgotten_eval_by_torch():
    torch.manual_seed(0)
    x = torch.full((1_000_000,), 3.0)
    y = functional.dropout(x, 0.5)
    assert sorted(y.unique().tolist()) == [0, 6]
    assert y.mean().item() == pytest.approx(3, rel=0.01)
    assert y.std().item() == pytest.approx(3, rel=0.01)


def test_smoothed_minimum_by_a_search():
    def loss(logits):
        targets = torch.tensor(logits)[None], torch.tensor([0])
        return functional.cross_entropy(*targets, label_smoothing=0.1).item()

    found = optimize.minimize(loss, np.zeros(10), tol=1e-10)
    logits = found.x
    np.testing.assert_allclose(special.softmax(logits), [0.91] + [0.01] * 9, atol=1e-4)
    assert {f"{gap:.1f}" for gap in logits[0] - logits[1:]} == {"4.5"}
    assert f"{found.fun:.1f}" == "0.5"
    for option in ("b", "c"):
        assert "4.5" in find_task("smoothed_minimum").options[option]


def test_stopped_on_test_by_the_distribution_of_the_lowest():
    # Its mean is minus the integral of z times the density of the largest of 100.
    density = lambda z: 100 * special.ndtr(z) ** 99 * np.exp(-z * z / 2)  # noqa: E731
    largest, _ = integrate.quad(lambda z: z * density(z), -10, 10)
    lowest = -largest / np.sqrt(2 * np.pi)
    assert f"{lowest:.1f}" == "-2.5"
    assert f"{0.50 + 0.02 * lowest:.2f}" == "0.45"
    assert 0.50 - 0.02 / np.sqrt(100) == pytest.approx(0.498)
    errors = np.random.default_rng(0).normal(scale=0.02, size=(2, 20_000, 100))
    validation, test = 0.50 + errors
    kept = validation.argmin(axis=1)
    assert np.mean(test[np.arange(20_000), kept]) == pytest.approx(0.50, abs=5e-4)
    assert np.mean(test.min(axis=1)) == pytest.approx(0.45, abs=5e-4)
