import itertools

import numpy as np
import pytest
import pytorch_optimizer
import torch
from torch.nn import Parameter

from mlopt_edu.optim.lars import LARS, lars_update
from mlopt_edu.optim.multi_tensor import Tensors
from tests.optim.trajectories import assert_same, by_formula, by_optimizer

GRID = [
    {"momentum": momentum, "weight_decay": decay, "trust_coefficient": trust}
    for momentum, decay, trust in itertools.product(
        (0.0, 0.5, 0.99), (0.0, 0.1), (1e-3, 0.3)
    )
]


@pytest.mark.parametrize("options", GRID, ids=str)
def test_follows_algorithm_1_of_the_paper(options):
    lr, decay = 0.1, options["weight_decay"]

    def update(w, g, state, step):
        length = np.linalg.norm(w)
        local = options["trust_coefficient"] * length
        local /= np.linalg.norm(g) + decay * length
        v = options["momentum"] * state.get("v", 0.0) + lr * local * (g + decay * w)
        state["v"] = v
        return w - v

    actual = by_optimizer(lambda params: LARS(params, lr, **options))
    assert_same(actual, by_formula(update))


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("options", GRID, ids=str)
def test_agrees_with_the_pytorch_optimizer_package(options, nesterov):
    # That package gives scalars and vectors plain SGD without decay, whatever the
    # options; the paper knows no such exception. Here it is a group with adapt=False.
    if nesterov and not options["momentum"]:
        nesterov = False

    def ours(params):
        groups = [
            {"params": [param for param in params if param.ndim > 1]},
            {
                "params": [param for param in params if param.ndim <= 1],
                "adapt": False,
                "weight_decay": 0.0,
            },
        ]
        return LARS(groups, 0.1, nesterov=nesterov, **options)

    def theirs(params):
        cls = pytorch_optimizer.LARS
        return cls(params, 0.1, nesterov=nesterov, **options)

    assert_same(by_optimizer(ours), by_optimizer(theirs))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_without_adaptation_it_is_sgd(momentum):
    options = {"lr": 0.05, "momentum": momentum, "weight_decay": 0.1}
    expected = by_optimizer(lambda params: torch.optim.SGD(params, **options))
    assert_same(
        by_optimizer(lambda params: LARS(params, adapt=False, **options)), expected
    )


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_a_layer_moves_by_a_share_of_its_length(factor):
    w = torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    g = factor * torch.tensor([[1.0, -2.0], [0.5, 0.0]], dtype=torch.float64)
    before = w.clone()
    lars_update(w, g, lr=0.5, trust_coefficient=0.02)
    assert (w - before).norm().item() == pytest.approx(0.5 * 0.02 * 5, rel=1e-12)


@pytest.mark.parametrize(
    ("weights", "grad", "expected"),
    [
        ([0.0, 0.0], [1.0, 2.0], [-0.5, -1.0]),
        ([3.0, 4.0], [0.0, 0.0], [3.0, 4.0]),
        ([0.0, 0.0], [0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_lengths_of_zero_divide_nothing(weights, grad, expected):
    w = torch.tensor(weights)
    lars_update(w, torch.tensor(grad), lr=0.5)
    assert torch.equal(w, torch.tensor(expected))


def test_a_new_lr_acts_on_the_whole_velocity():
    w = Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = LARS([w], lr=1.0, momentum=0.9, trust_coefficient=0.1)
    w.grad = torch.ones_like(w)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.0
    before = w.detach().clone()
    optimizer.step()
    assert torch.equal(w, before)


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ValueError, match=r"^nesterov must go with momentum above 0"):
        LARS([Parameter(torch.ones(1))], momentum=0.0, nesterov=True)


@pytest.mark.parametrize("adapt", [False, True])
def test_one_tensor_and_many_take_the_same_step(adapt):
    def tensors(seed):
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(shape, generator=generator) for shape in ((3,), (), (2, 4))]

    together, alone, velocities, own = tensors(0), tensors(0), tensors(1), tensors(1)
    options = {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.1, "adapt": adapt}
    lars_update(Tensors(together), Tensors(tensors(2)), Tensors(velocities), **options)
    for param, grad, velocity in zip(alone, tensors(2), own, strict=True):
        lars_update(param, grad, velocity, **options)
    assert all(map(torch.equal, together + velocities, alone + own))
