import itertools

import numpy as np
import pytest
import pytorch_optimizer
import torch

from mlopt_edu.optim.lamb import LAMB, lamb_update, trust_ratio
from mlopt_edu.optim.multi_tensor import Tensors
from tests.optim.trajectories import assert_same, by_formula, by_optimizer

GRID = [
    {"betas": betas, "eps": eps, "weight_decay": decay}
    for betas, eps, decay in itertools.product(
        ((0.9, 0.999), (0.5, 0.5), (0.0, 0.98)), (1e-6, 1e-2), (0.0, 0.1)
    )
]


@pytest.mark.parametrize("options", GRID, ids=str)
def test_follows_algorithm_2_of_the_paper(options):
    lr, (beta1, beta2) = 0.01, options["betas"]

    def update(w, g, state, step):
        m = beta1 * state.get("m", 0.0) + (1 - beta1) * g
        v = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
        state["m"], state["v"] = m, v
        corrected = m / (1 - beta1**step), v / (1 - beta2**step)
        r = corrected[0] / (np.sqrt(corrected[1]) + options["eps"])
        d = r + options["weight_decay"] * w
        return w - lr * np.linalg.norm(w) / np.linalg.norm(d) * d

    actual = by_optimizer(lambda params: LAMB(params, lr, **options))
    assert_same(actual, by_formula(update))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.5), (0.0, 0.98)])
def test_agrees_with_the_pytorch_optimizer_package(betas):
    # That package leaves out the corrections of m and v, bounds the length of the
    # weights by 10, adds eps to that of the direction, and divides lr by the correction
    # of m unless `adam_debias` is set. With eps and decay 0 the trust ratio divides the
    # corrections out, and these weights are shorter than 10.
    options = {"lr": 0.01, "betas": betas, "eps": 0.0}
    expected = by_optimizer(
        lambda params: pytorch_optimizer.Lamb(params, adam_debias=True, **options)
    )
    assert_same(by_optimizer(lambda params: LAMB(params, **options)), expected)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.5)])
def test_without_adaptation_it_is_adamw(betas):
    options = {"lr": 0.01, "betas": betas, "eps": 1e-3, "weight_decay": 0.1}
    expected = by_optimizer(lambda params: torch.optim.AdamW(params, **options))
    actual = by_optimizer(lambda params: LAMB(params, adapt=False, **options))
    assert_same(actual, expected)


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e6])
def test_a_layer_moves_by_the_share_lr_of_its_length(factor):
    w = factor * torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    g = torch.tensor([[1.0, -2.0], [0.5, 0.0]], dtype=torch.float64)
    before = w.clone()
    lamb_update(w, g, torch.zeros_like(w), torch.zeros_like(w), step=1, lr=0.02)
    moved = (w - before).norm().item()
    assert moved == pytest.approx(0.02 * 5 * factor, rel=1e-12)


def test_lengths_of_zero_divide_nothing():
    some, none = torch.tensor(5.0), torch.tensor(0.0)
    cases = ((some, none), (none, some), (none, none))
    assert [trust_ratio(*case).item() for case in cases] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("adapt", [False, True])
def test_one_tensor_and_many_take_the_same_step(adapt):
    def tensors(seed):
        generator = torch.Generator().manual_seed(seed)
        return [torch.rand(shape, generator=generator) for shape in ((3,), (), (2, 4))]

    options = {"step": 3, "lr": 0.1, "weight_decay": 0.1, "adapt": adapt}
    together, averages, squares = tensors(0), tensors(1), tensors(2)
    lists = [Tensors(each) for each in (together, tensors(3), averages, squares)]
    lamb_update(*lists, **options)
    alone, own_averages, own_squares = tensors(0), tensors(1), tensors(2)
    for one in zip(alone, tensors(3), own_averages, own_squares, strict=True):
        lamb_update(*one, **options)
    for mine, theirs in zip(
        together + averages + squares, alone + own_averages + own_squares, strict=True
    ):
        assert torch.equal(mine, theirs)
