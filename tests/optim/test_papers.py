"""The classic update rules against their papers in NumPy, and their laws."""

import numpy as np
import pytest
import torch
from torch.nn import Parameter

import mlopt_edu.optim as optim
from mlopt_edu.optim import Tensors
from tests.optim.trajectories import assert_same, by_formula, by_optimizer

LR, EPS = 0.05, 1e-3


def adagrad(w, g, state, t):
    state["s"] = state.get("s", 0) + g**2
    return w - LR * g / (np.sqrt(state["s"]) + EPS)


def adadelta(w, g, state, t, rho=0.8):
    v = state["v"] = rho * state.get("v", 0) + (1 - rho) * g**2
    d = np.sqrt(state.get("u", 0) + EPS) / np.sqrt(v + EPS) * g
    state["u"] = rho * state.get("u", 0) + (1 - rho) * d**2
    return w - d


def rmsprop(w, g, state, t, alpha=0.8):
    v = state["v"] = alpha * state.get("v", 0) + (1 - alpha) * g**2
    return w - LR * g / (np.sqrt(v) + EPS)


def centered_rmsprop(w, g, state, t, alpha=0.8, momentum=0.7):
    n = state["n"] = alpha * state.get("n", 0) + (1 - alpha) * g**2
    m = state["m"] = alpha * state.get("m", 0) + (1 - alpha) * g
    # lr inside the momentum as in the paper, eps outside the root as in torch.
    delta = state["d"] = momentum * state.get("d", 0) - LR * g / (
        np.sqrt(np.maximum(n - m**2, 0)) + EPS
    )
    return w + delta


def adam_moments(g, state, t, beta1, beta2):
    m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g**2
    return m / (1 - beta1**t), v / (1 - beta2**t)


def adam(w, g, state, t):
    m, v = adam_moments(g, state, t, 0.8, 0.95)
    return w - LR * m / (np.sqrt(v) + EPS)


def adam_with_l2(w, g, state, t):
    return adam(w, g + 0.1 * w, state, t)


def amsgrad(w, g, state, t):
    m, _ = adam_moments(g, state, t, 0.8, 0.95)
    largest = state["max"] = np.maximum(state.get("max", 0), state["v"])
    return w - LR * m / (np.sqrt(largest / (1 - 0.95**t)) + EPS)


def adamw(w, g, state, t):
    return adam(w, g, state, t) - LR * 0.1 * w


def nadam(w, g, state, t, decay=0.3):
    def mu(i):
        return 0.8 * (1 - 0.5 * 0.96 ** (i * decay))

    _, v = adam_moments(g, state, t, 0.8, 0.95)
    product = np.prod([mu(i) for i in range(1, t + 1)])
    n = (1 - mu(t)) * g / (1 - product)
    n = n + mu(t + 1) * state["m"] / (1 - product * mu(t + 1))
    return w - LR * n / (np.sqrt(v) + EPS)


PAPERS = [
    (adagrad, optim.Adagrad, {}),
    (adadelta, optim.Adadelta, {"lr": 1.0, "rho": 0.8}),
    (rmsprop, optim.RMSprop, {"alpha": 0.8}),
    (
        centered_rmsprop,
        optim.RMSprop,
        {"alpha": 0.8, "momentum": 0.7, "centered": True},
    ),
    (adam, optim.Adam, {"betas": (0.8, 0.95)}),
    (adam_with_l2, optim.Adam, {"betas": (0.8, 0.95), "weight_decay": 0.1}),
    (amsgrad, optim.Adam, {"betas": (0.8, 0.95), "amsgrad": True}),
    (adamw, optim.AdamW, {"betas": (0.8, 0.95), "weight_decay": 0.1}),
    (nadam, optim.NAdam, {"betas": (0.8, 0.95), "momentum_decay": 0.3}),
]


@pytest.mark.parametrize(("formula", "cls", "options"), PAPERS)
def test_50_steps_of_the_paper(formula, cls, options):
    actual = by_optimizer(lambda params: cls(params, **{"lr": LR} | options, eps=EPS))
    # The product of NAdam's momenta is kept in single precision, as in torch.
    rtol = 1e-6 if cls is optim.NAdam else 1e-9
    assert_same(actual, by_formula(formula), rtol=rtol, atol=rtol * 1e-3)


# One tensor and many take the same step: function, names of buffers, options.
UPDATES = [
    (optim.adagrad_update, 1, {"step": 3, "lr": 0.1, "lr_decay": 0.1}),
    (optim.adadelta_update, 2, {}),
    (optim.rmsprop_update, 1, {"lr": 0.1}),
    (optim.rmsprop_update, 2, {"lr": 0.1}),
    (optim.rmsprop_update, 3, {"lr": 0.1, "momentum": 0.5}),
    (optim.adam_update, 2, {"step": 3, "lr": 0.1}),
    (optim.adam_update, 3, {"step": 3, "lr": 0.1}),
    (optim.adamw_update, 2, {"step": 3, "lr": 0.1}),
    (optim.adamw_update, 3, {"step": 3, "lr": 0.1}),
    (optim.nadam_update, 2, {"step": 3, "mu_product": 0.2, "lr": 0.1}),
]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("update", "buffers", "options"), UPDATES)
def test_one_tensor_and_many_take_the_same_step(
    update, buffers, options, weight_decay, dtype
):
    def tensors(seed):
        generator = torch.Generator().manual_seed(seed)
        shapes = ((3, 2), (1,), (), (4,))
        return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]

    def operands():
        params, grads = tensors(0), tensors(1)
        return (
            params,
            grads,
            *([x.abs() for x in tensors(2 + n)] for n in range(buffers)),
        )

    together, alone = operands(), operands()
    update(*map(Tensors, together), weight_decay=weight_decay, **options)
    for row in zip(*alone, strict=True):
        update(*row, weight_decay=weight_decay, **options)
    for many, one in zip(together, alone, strict=True):
        torch.testing.assert_close(many, one, rtol=0, atol=0)
    assert all(map(torch.equal, together[1], tensors(1)))


# Laws.


def one_parameter(cls, grads, *, start=1.0, **options):
    """The values that a parameter takes as it gets the gradients."""
    param = Parameter(torch.tensor([start], dtype=torch.float64))
    optimizer = cls([param], **options)
    values = [start]
    for grad in grads:
        param.grad = torch.tensor([grad], dtype=torch.float64)
        optimizer.step()
        values.append(param.item())
    return np.array(values)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("cls", [optim.Adam, optim.AdamW, optim.Adagrad])
def test_first_step_is_lr_whatever_the_gradient(cls, scale):
    values = one_parameter(cls, [-scale], lr=0.1, weight_decay=0.0, eps=0.0)
    assert values[1] == pytest.approx(1.1, rel=1e-12)


def test_adam_takes_steps_of_lr_under_a_constant_gradient():
    values = one_parameter(optim.Adam, [3.0] * 50, lr=0.1, eps=0.0)
    np.testing.assert_allclose(np.diff(values), -0.1, rtol=1e-9)


def test_adagrad_slows_down_as_one_over_the_root_of_the_count():
    values = one_parameter(optim.Adagrad, [3.0] * 50, lr=0.1, eps=0.0)
    np.testing.assert_allclose(np.diff(values), -0.1 / np.sqrt(np.arange(1, 51)))


def test_amsgrad_never_forgets_a_large_gradient():
    grads = [100.0] + [0.1] * 400
    options = {"lr": 0.1, "betas": (0.0, 0.5)}
    adam = np.diff(one_parameter(optim.Adam, grads, **options))
    amsgrad = np.diff(one_parameter(optim.Adam, grads, **options, amsgrad=True))
    assert adam[-1] == pytest.approx(-0.1, rel=1e-6)
    # Largest average square: half of 100².
    assert amsgrad[-1] == pytest.approx(-0.1 * 0.1 / np.sqrt(5000), rel=1e-6)


def test_decoupled_decay_is_the_same_share_whatever_the_gradients():
    options = {"lr": 0.1, "weight_decay": 0.5}
    for cls, more in (
        (optim.AdamW, {}),
        (optim.NAdam, {"decoupled_weight_decay": True}),
    ):
        values = one_parameter(cls, [0.0] * 20, **options, **more)
        np.testing.assert_allclose(values, 0.95 ** np.arange(21), rtol=1e-12)


def test_l2_under_adam_forgets_the_size_of_the_weight():
    # Without a gradient of the loss the penalty alone is the direction: lr a step.
    for start in (1.0, 100.0):
        values = one_parameter(
            optim.Adam, [0.0], start=start, lr=0.1, weight_decay=0.5, eps=0.0
        )
        assert values[1] == pytest.approx(start - 0.1, rel=1e-12)


def test_adadelta_steps_have_the_unit_of_the_parameter():
    # In other units of the loss, the same steps; eps apart, which has the unit of g².
    grads = np.random.default_rng(0).standard_normal(100)

    def steps(scale):
        square_avg, acc_delta = torch.ones(1) * scale**2, torch.full((1,), 1e-2)
        w = torch.zeros(1)
        for grad in grads:
            optim.adadelta_update(
                w, torch.tensor([grad * scale]).float(), square_avg, acc_delta, eps=0.0
            )
        return w.item()

    assert steps(1000.0) == pytest.approx(steps(1.0), rel=1e-4)


def test_centered_rmsprop_stays_finite_where_rounding_makes_the_variance_negative():
    generator = torch.Generator().manual_seed(0)
    grad = torch.randn(2000, generator=generator)
    results = []
    for module in (optim, torch.optim):
        param = Parameter(torch.zeros(2000))
        optimizer = module.RMSprop([param], lr=1e-3, alpha=0.9, centered=True)
        for _ in range(300):
            param.grad = grad
            optimizer.step()
        results.append(param.detach())
    ours, theirs = results
    assert ours.isfinite().all()
    # This is what the clamp is for; where torch stays finite, the two agree.
    assert not theirs.isfinite().all()


def test_nadam_looks_ahead_of_adam_when_the_gradient_turns():
    # The weight of the newest gradient is larger: it turns back first.
    grads = [1.0] * 20 + [-1.0] * 5
    options = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 0.0}
    nadam, adam = (
        np.diff(one_parameter(cls, grads, **options))
        for cls in (optim.NAdam, optim.Adam)
    )
    assert (adam[20:] < 0).all()
    assert (nadam[20:] > 0).all()
