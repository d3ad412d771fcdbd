import itertools

import lion_pytorch
import numpy as np
import pytest
import torch
from torch.nn import Parameter

from mlopt_edu.optim.lion import Lion, lion_update
from mlopt_edu.optim.multi_tensor import Tensors
from tests.optim.trajectories import assert_same, by_formula, by_optimizer

GRID = [
    {"lr": lr, "betas": betas, "weight_decay": weight_decay}
    for lr, betas, weight_decay in itertools.product(
        (1e-3, 0.1), ((0.9, 0.99), (0.5, 0.999), (0.0, 0.3)), (0.0, 0.5)
    )
]


@pytest.mark.parametrize("options", GRID, ids=str)
def test_follows_algorithm_2_of_the_paper(options):
    lr, (beta1, beta2) = options["lr"], options["betas"]

    def update(w, g, state, step):
        m = state.get("m", np.zeros_like(w))
        c = beta1 * m + (1 - beta1) * g
        state["m"] = beta2 * m + (1 - beta2) * g
        return w - lr * (np.sign(c) + options["weight_decay"] * w)

    actual = by_optimizer(lambda params: Lion(params, **options))
    assert_same(actual, by_formula(update))


@pytest.mark.parametrize("options", GRID, ids=str)
def test_agrees_with_the_lion_pytorch_package(options):
    expected = by_optimizer(lambda params: lion_pytorch.Lion(params, **options))
    assert_same(by_optimizer(lambda params: Lion(params, **options)), expected)


@pytest.mark.parametrize("factor", [1e-20, 1.0, 1e20])
def test_the_size_of_gradients_does_not_matter(factor):
    def final(factor):
        w = Parameter(torch.zeros(6, dtype=torch.float64))
        optimizer = Lion([w], lr=0.1)
        for step in range(10):
            w.grad = factor * torch.sin(torch.arange(6.0).double() + step)
            optimizer.step()
        return w.detach()

    assert torch.equal(final(factor), final(1.0))


def test_every_entry_moves_by_lr_or_not_at_all():
    w, m = torch.zeros(4), torch.zeros(4)
    lion_update(w, torch.tensor([1e-30, -3.0, 0.0, 1e30]), m, lr=0.5)
    assert torch.equal(w, torch.tensor([-0.5, 0.5, 0.0, -0.5]))


def test_decay_alone_is_geometric():
    w = torch.tensor([2.0], dtype=torch.float64)
    for _ in range(30):
        lion_update(
            w,
            torch.zeros(1).double(),
            torch.zeros(1).double(),
            lr=0.1,
            weight_decay=0.5,
        )
    assert w.item() == pytest.approx(2 * 0.95**30, rel=1e-12)


def test_one_tensor_and_many_take_the_same_step():
    def tensors(seed):
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(shape, generator=generator) for shape in ((3,), (), (2, 4))]

    together, alone, averages, own = tensors(0), tensors(0), tensors(1), tensors(1)
    options = {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1}
    lion_update(Tensors(together), Tensors(tensors(2)), Tensors(averages), **options)
    for param, grad, exp_avg in zip(alone, tensors(2), own, strict=True):
        lion_update(param, grad, exp_avg, **options)
    assert all(map(torch.equal, together + averages, alone + own))
