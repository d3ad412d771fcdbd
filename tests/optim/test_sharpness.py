import math

import pytest
import torch
from torch import nn

from mlopt_edu.optim import (
    gradient_descent_update,
    max_stable_lr,
    sgd_update,
    sharpness,
)


def matrix_with(eigenvalues):
    n = len(eigenvalues)
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(n, n, generator=generator).double())
    return basis @ torch.tensor(eigenvalues, dtype=torch.float64).diag() @ basis.T


def quadratic(hessian):
    w = torch.ones(len(hessian), dtype=hessian.dtype, requires_grad=True)
    return w @ hessian @ w / 2, [w]


SPECTRA = {
    "spread": [1.0 + k for k in range(30)],
    "one outlier": [0.1] * 40 + [50.0],
    "all equal": [3.0] * 5,
    "top twice": [1.0, 2.0, 7.0, 7.0],
    "negative dominates": [-1000.0, -3.0, 0.5, 2.0],
    "all negative": [-5.0, -2.0, -0.5],
    "top is zero": [-4.0, -1.0, 0.0],
    "close at the top": [9.0, 9.999, 10.0],
    "single": [4.0],
}


@pytest.mark.parametrize("eigenvalues", SPECTRA.values(), ids=SPECTRA)
def test_quadratic(eigenvalues):
    loss, params = quadratic(matrix_with(eigenvalues))
    assert sharpness(loss, params) == pytest.approx(
        max(eigenvalues), rel=1e-4, abs=1e-9
    )
    assert sharpness(loss, params, tol=1e-8) == pytest.approx(
        max(eigenvalues), rel=1e-8, abs=1e-9
    )


def test_large_spectrum_before_the_space_is_exhausted():
    eigenvalues = torch.linspace(0, 1, 400, dtype=torch.float64).tolist()
    loss, params = quadratic(matrix_with([*eigenvalues, 1.5]))
    assert sharpness(loss, params, max_iterations=60) == pytest.approx(1.5, rel=1e-6)


def test_a_top_of_zero_is_found_in_single_precision():
    # No residual is small as a share of zero: rounding decides when to stop.
    negative = torch.linspace(-4, -0.5, 100).tolist()
    loss, params = quadratic(matrix_with(negative + [0.0] * 80).float())
    assert sharpness(loss, params) == pytest.approx(0, abs=1e-5)


def test_logistic_regression_against_its_closed_form():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(200, 12, generator=generator).double()
    y = (torch.rand(200, generator=generator) < 0.5).double()
    w = torch.randn(12, generator=generator).double().requires_grad_()
    loss = nn.functional.binary_cross_entropy_with_logits(x @ w, y)
    p = torch.sigmoid(x @ w.detach())
    hessian = x.T @ ((p * (1 - p))[:, None] * x) / 200
    expected = torch.linalg.eigvalsh(hessian)[-1].item()
    assert sharpness(loss, [w]) == pytest.approx(expected, rel=1e-6)


def small_net(dtype):
    generator = torch.Generator().manual_seed(2)
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).to(dtype)
    with torch.no_grad():
        for param in net.parameters():
            param.copy_(torch.randn(param.shape, generator=generator))
    x = torch.randn(20, 3, generator=generator).to(dtype)
    y = torch.randint(2, (20,), generator=generator)
    return net, lambda: nn.functional.cross_entropy(net(x), y)


def full_hessian(net, loss_of):
    params = list(net.parameters())
    grads = torch.autograd.grad(loss_of(), params, create_graph=True)
    flat = torch.cat([grad.reshape(-1) for grad in grads])
    rows = [
        torch.cat(
            [
                row.reshape(-1)
                for row in torch.autograd.grad(entry, params, retain_graph=True)
            ]
        )
        for entry in flat
    ]
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)]
)
def test_small_net_against_its_full_hessian(dtype, tolerance):
    net, loss_of = small_net(dtype)
    expected = torch.linalg.eigvalsh(full_hessian(net, loss_of).double())[-1].item()
    actual = sharpness(loss_of(), net.parameters())
    assert actual == pytest.approx(expected, rel=tolerance)


def test_negated_loss_gives_the_other_end_of_the_spectrum():
    net, loss_of = small_net(torch.float64)
    expected = -torch.linalg.eigvalsh(full_hessian(net, loss_of))[0].item()
    assert sharpness(-loss_of(), net.parameters()) == pytest.approx(expected, rel=1e-6)


def test_linear_loss_and_unused_parameters_have_no_curvature():
    used = torch.ones(3, requires_grad=True)
    unused = torch.ones(2, requires_grad=True)
    assert sharpness(used.sum(), [used]) == 0
    assert sharpness(used.square().sum(), [used, unused]) == pytest.approx(2)


def test_graph_gradients_and_global_generator_are_left_alone():
    net, loss_of = small_net(torch.float64)
    loss = loss_of()
    state = torch.get_rng_state()
    assert sharpness(loss, net.parameters()) == sharpness(loss, net.parameters())
    assert torch.equal(state, torch.get_rng_state())
    assert all(param.grad is None for param in net.parameters())
    loss.backward()


def test_another_start_finds_the_same_eigenvalue():
    net, loss_of = small_net(torch.float64)
    results = [
        sharpness(
            loss_of(),
            net.parameters(),
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in range(3)
    ]
    assert len(set(results)) == 3
    assert results == pytest.approx([results[0]] * 3, rel=1e-6)


def diverges(lr, curvature, momentum):
    w, v = torch.ones_like(curvature), torch.zeros_like(curvature)
    for _ in range(600):
        if momentum:
            sgd_update(w, curvature * w, v, lr=lr, momentum=momentum)
        else:
            gradient_descent_update(w, curvature * w, lr=lr)
    # A root beyond -1 has left its mark by now; a root within it has not.
    return w.abs().max().item() > 100


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.6])
def test_bound_is_where_training_is_seen_to_diverge(momentum):
    curvature = torch.tensor([0.5, 2.0, 8.0], dtype=torch.float64)
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    bound = max_stable_lr(
        sharpness((curvature * w.square()).sum() / 2, [w]), momentum=momentum
    )
    low, high = 0.0, 1.0
    for _ in range(10):
        middle = (low + high) / 2
        if diverges(middle, curvature, momentum):
            high = middle
        else:
            low = middle
    assert low == pytest.approx(bound, rel=0.02)


def test_stops_with_a_sentence_when_iterations_run_out():
    loss, params = quadratic(matrix_with([1.0 + k / 100 for k in range(100)]))
    with pytest.raises(RuntimeError, match=r"within max_iterations=5, got 1\.\d+ with"):
        sharpness(loss, params, tol=1e-8, max_iterations=5)


def test_bad_arguments_are_refused_by_name():
    w = torch.ones(2, requires_grad=True)
    loss = w.square().sum()
    for name, call in {
        "loss": lambda: sharpness(w.square(), [w]),
        "loss must be a scalar": lambda: sharpness(torch.tensor(1.0), [w]),
        "params must be real": lambda: sharpness(loss, [w, torch.ones(1)]),
        "params must hold": lambda: sharpness(loss, []),
        "tol": lambda: sharpness(loss, [w], tol=0.0),
        "max_iterations": lambda: sharpness(loss, [w], max_iterations=0),
        "loss must have a finite": lambda: sharpness((w * math.inf * w).sum(), [w]),
        "sharpness_value": lambda: max_stable_lr(0.0),
        "sharpness_value must": lambda: max_stable_lr(math.nan),
        "momentum": lambda: max_stable_lr(1.0, momentum=1.0),
    }.items():
        with pytest.raises(ValueError, match=f"^{name}"):
            call()
