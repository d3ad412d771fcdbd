import copy
import importlib
import itertools

import numpy as np
import pytest
import schedulefree
import torch
from torch.nn import Parameter

from mlopt_edu.optim.multi_tensor import Tensors
from mlopt_edu.optim.schedule_free import schedule_free_update, warmup
from mlopt_edu.optim.schedule_free_adamw import ScheduleFreeAdamW, adamw_direction
from mlopt_edu.optim.schedule_free_sgd import ScheduleFreeSGD
from tests.optim.trajectories import assert_same, by_formula, by_optimizer

SGD_GRID = [
    {"lr": 0.3, "momentum": momentum, "weight_decay": decay, "warmup_steps": warm}
    for momentum, decay, warm in itertools.product(
        (0.1, 0.9, 0.999), (0.0, 0.1), (0, 30)
    )
]
ADAMW_GRID = [
    {"lr": 0.02, "betas": betas, "eps": eps, "weight_decay": 0.3, "warmup_steps": warm}
    for betas, eps, warm in itertools.product(
        ((0.9, 0.999), (0.5, 0.0), (0.98, 0.5)), (1e-8, 1e-2), (0, 30)
    )
]


def modes(optimizer):
    """What train() and eval() leave in the parameters, for both to be compared."""
    return {
        "y": lambda: None,
        "x": optimizer.eval,
        "y again": lambda: (optimizer.eval(), optimizer.train()),
    }


def follow(options, momentum, direction):
    """The three sequences of the paper, each written as it stands there."""

    def update(y, g, state, step):
        x, z = state.setdefault("x", y), state.setdefault("z", y)
        lr = options["lr"] * min(1, step / max(1, options["warmup_steps"]))
        state["squares"] = state.get("squares", 0.0) + lr**2
        c = lr**2 / state["squares"]
        z = z - lr * direction(y, g, state, step)
        x = (1 - c) * x + c * z
        state["x"], state["z"] = x, z
        return (1 - momentum) * z + momentum * x

    return update


@pytest.mark.parametrize("options", SGD_GRID, ids=str)
def test_sgd_follows_the_equations_of_the_paper(options):
    def direction(y, g, state, step):
        return g + options["weight_decay"] * y

    actual = by_optimizer(lambda params: ScheduleFreeSGD(params, **options))
    assert_same(actual, by_formula(follow(options, options["momentum"], direction)))


@pytest.mark.parametrize("options", ADAMW_GRID, ids=str)
def test_adamw_follows_algorithm_1_of_the_paper(options):
    beta1, beta2 = options["betas"]

    def direction(y, g, state, step):
        v = beta2 * state.get("v", np.zeros_like(y)) + (1 - beta2) * g**2
        state["v"] = v
        corrected = np.sqrt(v / (1 - beta2**step)) + options["eps"]
        return g / corrected + options["weight_decay"] * y

    actual = by_optimizer(lambda params: ScheduleFreeAdamW(params, **options))
    assert_same(actual, by_formula(follow(options, beta1, direction)))


def in_train_mode(optimizer):
    optimizer.train()
    return optimizer


@pytest.mark.parametrize("mode", ["y", "x", "y again"])
@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [(ScheduleFreeSGD, schedulefree.SGDScheduleFree, case) for case in SGD_GRID[::4]]
    + [
        (ScheduleFreeAdamW, schedulefree.AdamWScheduleFree, case)
        for case in ADAMW_GRID[::4]
    ],
    ids=str,
)
def test_agrees_with_the_authors_package_in_every_mode(ours, theirs, options, mode):
    results = [
        by_optimizer(
            lambda params, cls=cls: in_train_mode(cls(params, **options)),
            finish=lambda optimizer: modes(optimizer)[mode](),
        )
        for cls in (ours, theirs)
    ]
    # Extrapolating to x from a momentum of 0.1 costs a digit.
    assert_same(*results, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "name",
    [
        "test_schedulefree_wrapper",
        "test_schedulefree_wrapper_reference",
        "test_schedulefree_sgd",
        "test_schedulefree_adam",
        "test_foreach",
        "test_compile",
    ],
)
def test_passes_the_tests_of_the_authors_package(name, monkeypatch):
    # Its wheel brings them. Two more know no class of ours: RAdam, and an identity.
    theirs = importlib.import_module("schedulefree.test_schedulefree")

    def pointed_at(cls):
        return lambda params, foreach=None, **options: cls(params, **options)

    monkeypatch.setattr(theirs, "SGDScheduleFree", pointed_at(ScheduleFreeSGD))
    monkeypatch.setattr(theirs, "AdamWScheduleFree", pointed_at(ScheduleFreeAdamW))
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
    torch.manual_seed(0)
    getattr(theirs, name)()


@pytest.mark.parametrize("warmup_steps", [0, 1, 2, 7, 100])
def test_warmup_weights_are_squared_rates_over_their_sum(warmup_steps):
    steps = np.arange(1, 41)
    factors = np.minimum(1, steps / max(1, warmup_steps))
    expected = np.stack([factors, factors**2 / np.cumsum(factors**2)], axis=1)
    actual = [warmup(step, warmup_steps=warmup_steps) for step in steps.tolist()]
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("cls", [ScheduleFreeSGD, ScheduleFreeAdamW])
def test_x_is_the_mean_of_all_z(cls):
    w = Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = cls([w], lr=0.1)
    zs = []
    for step in range(25):
        w.grad = torch.cos(w.detach() * step)
        optimizer.step()
        zs.append(optimizer.state[w]["z"].clone())
    optimizer.eval()
    torch.testing.assert_close(w.detach(), torch.stack(zs).mean(0), rtol=1e-9, atol=0)


@pytest.mark.parametrize("cls", [ScheduleFreeSGD, ScheduleFreeAdamW])
class TestModes:
    def trained(self, cls):
        w = Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
        optimizer = cls([w], lr=0.1)
        for _ in range(5):
            w.grad = w.detach() ** 3
            optimizer.step()
        return w, optimizer

    def test_a_new_optimizer_may_be_switched_and_nothing_moves(self, cls):
        w = Parameter(torch.ones(2))
        optimizer = cls([w])
        optimizer.eval()
        optimizer.train()
        assert torch.equal(w, torch.ones(2))
        assert not optimizer.state

    def test_twice_is_once(self, cls):
        w, optimizer = self.trained(cls)
        optimizer.train()
        y = w.detach().clone()
        optimizer.eval()
        x = w.detach().clone()
        optimizer.eval()
        assert torch.equal(w, x)
        assert not torch.allclose(x, y)
        optimizer.train()
        torch.testing.assert_close(w.detach(), y, rtol=1e-12, atol=0)

    def test_a_step_in_eval_mode_is_refused_and_changes_nothing(self, cls):
        w, optimizer = self.trained(cls)
        optimizer.eval()
        x = w.detach().clone()
        with pytest.raises(RuntimeError, match=r"^step must be in train mode, got ev"):
            optimizer.step()
        assert torch.equal(w, x)

    def test_a_checkpoint_of_eval_mode_goes_on(self, cls):
        w, optimizer = self.trained(cls)
        optimizer.eval()
        twin = Parameter(w.detach().clone())
        restored = cls([twin], lr=1.0)
        restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for param, each in ((w, optimizer), (twin, restored)):
            each.train()
            param.grad = torch.ones(2, dtype=torch.float64)
            each.step()
        assert torch.equal(w, twin)

    def test_a_group_that_comes_in_eval_mode_waits_for_train(self, cls):
        w, optimizer = self.trained(cls)
        optimizer.eval()
        later = Parameter(torch.ones(2, dtype=torch.float64))
        optimizer.add_param_group({"params": [later]})
        optimizer.train()
        w.grad = later.grad = torch.ones(2, dtype=torch.float64)
        optimizer.step()
        assert (later < 1).all()


def test_needs_no_schedule_to_reach_the_optimum_of_a_noisy_line():
    # f(w) = |w| with noise, where SGD at this lr would end in a ball of its size.
    w = Parameter(torch.tensor([3.0], dtype=torch.float64))
    optimizer = ScheduleFreeSGD([w], lr=0.5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2000):
        w.grad = w.detach().sign() + torch.randn(1, generator=generator).double()
        optimizer.step()
    optimizer.eval()
    assert abs(w.item()) < 0.1
    assert abs(optimizer.state[w]["z"].item()) > 0.1


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_one_tensor_and_many_take_the_same_step(weight):
    def tensors(seed):
        generator = torch.Generator().manual_seed(seed)
        return [torch.rand(shape, generator=generator) for shape in ((3,), (), (2, 4))]

    options = {"lr": 0.1, "momentum": 0.8, "averaging_weight": weight}
    adam = {"step": 3, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.1}
    together, squares, zs = tensors(0), tensors(1), tensors(2)
    direction = adamw_direction(
        Tensors(together), Tensors(tensors(3)), Tensors(squares), **adam
    )
    schedule_free_update(Tensors(together), direction, Tensors(zs), **options)
    alone, own_squares, own_zs = tensors(0), tensors(1), tensors(2)
    for param, grad, square, z in zip(
        alone, tensors(3), own_squares, own_zs, strict=True
    ):
        direction = adamw_direction(param, grad, square, **adam)
        schedule_free_update(param, direction, z, **options)
    assert all(map(torch.equal, together + squares + zs, alone + own_squares + own_zs))
