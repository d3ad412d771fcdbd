import copy
import itertools

import numpy as np
import pytest
import pytorch_optimizer
import torch
from torch.nn import Parameter

from mlopt_edu.optim.lion import Lion
from mlopt_edu.optim.lookahead import Lookahead, lookahead_update
from mlopt_edu.optim.multi_tensor import Tensors
from tests.optim.trajectories import assert_same, by_formula, by_optimizer

GRID = list(itertools.product((1, 3, 5, 20), (0.1, 0.5, 1.0)))


@pytest.mark.parametrize(("k", "alpha"), GRID)
def test_follows_algorithm_1_of_the_paper(k, alpha):
    def update(theta, g, state, step):
        phi = state.setdefault("phi", theta)
        v = state["v"] = 0.9 * state.get("v", np.zeros_like(theta)) + g
        theta = theta - 0.01 * v
        if step % k == 0:
            theta = state["phi"] = phi + alpha * (theta - phi)
        return theta

    def make(params):
        inner = torch.optim.SGD(params, lr=0.01, momentum=0.9)
        return Lookahead(inner, k=k, alpha=alpha)

    assert_same(by_optimizer(make), by_formula(update))


INNER = {
    "AdamW": lambda params: torch.optim.AdamW(params, lr=0.02, weight_decay=0.1),
    "RMSprop": lambda params: torch.optim.RMSprop(params, lr=0.02, momentum=0.5),
    "Lion": lambda params: Lion(params, lr=0.02),
}


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
@pytest.mark.parametrize(("k", "alpha"), [(1, 0.5), (5, 0.1)])
def test_agrees_with_the_pytorch_optimizer_package(inner, k, alpha):
    expected = by_optimizer(
        lambda params: pytorch_optimizer.Lookahead(inner(params), k=k, alpha=alpha)
    )
    actual = by_optimizer(lambda params: Lookahead(inner(params), k=k, alpha=alpha))
    assert_same(actual, expected)


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
def test_all_the_way_is_the_inner_optimizer(inner):
    expected = by_optimizer(inner, steps=20)
    actual = by_optimizer(lambda params: Lookahead(inner(params), alpha=1.0), steps=20)
    assert_same(actual, expected, rtol=0, atol=0)


def constant_descent(optimizer, params, steps):
    for _ in range(steps):
        for param in params:
            param.grad = torch.ones_like(param)
        optimizer.step()


def test_what_moves_later_is_pulled_back_to_where_it_then_stood():
    early, late = Parameter(torch.zeros(1)), Parameter(torch.full((1,), 10.0))
    optimizer = Lookahead(torch.optim.SGD([early, late], lr=1.0), k=4, alpha=0.5)
    constant_descent(optimizer, [early], 3)
    constant_descent(optimizer, [early, late], 1)
    assert (early.item(), late.item()) == (-2.0, 9.5)


def test_weights_loaded_before_the_first_step_are_the_slow_ones():
    w = Parameter(torch.zeros(1))
    optimizer = Lookahead(torch.optim.SGD([w], lr=1.0), k=2, alpha=0.5)
    with torch.no_grad():
        w.fill_(100.0)
    constant_descent(optimizer, [w], 2)
    assert w.item() == 99.0


def test_groups_have_their_own_k_and_alpha():
    fast, slow = Parameter(torch.zeros(1)), Parameter(torch.zeros(1))
    inner = torch.optim.SGD(
        [{"params": [fast], "lookahead_k": 2}, {"params": [slow]}], lr=1.0
    )
    optimizer = Lookahead(inner, k=4, alpha=0.25)
    constant_descent(optimizer, [fast, slow], 3)
    assert (fast.item(), slow.item()) == (-1.5, -3.0)
    constant_descent(optimizer, [fast, slow], 1)
    assert (fast.item(), slow.item()) == (-1.0, -1.0)


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
@pytest.mark.parametrize("schedule_inner", [False, True])
def test_schedulers_may_hold_either_optimizer(inner, schedule_inner):
    w, expected = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    optimizer, by_hand = Lookahead(inner([w])), Lookahead(inner([expected]))
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer.optimizer if schedule_inner else optimizer, lambda step: 0.5**step
    )
    start = by_hand.param_groups[0]["lr"]
    for step in range(7):
        by_hand.param_groups[0]["lr"] = start * 0.5**step
        constant_descent(optimizer, [w], 1)
        constant_descent(by_hand, [expected], 1)
        scheduler.step()
    assert torch.equal(w, expected)


def test_one_cycle_finds_the_options_of_the_inner_optimizer():
    optimizer = Lookahead(torch.optim.SGD([Parameter(torch.ones(1))], momentum=0.9))
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=10)
    constant_descent(optimizer, optimizer.param_groups[0]["params"], 1)
    scheduler.step()
    assert optimizer.optimizer.param_groups[0]["momentum"] != 0.9


@pytest.mark.parametrize("load_into", ["wrapper", "inner"])
def test_loading_through_either_leaves_one_set_of_groups_and_state(load_into):
    params = [Parameter(torch.zeros(1)) for _ in range(2)]
    first, second = (
        Lookahead(torch.optim.SGD([param], lr=1.0, momentum=0.5)) for param in params
    )
    for optimizer, param in zip((first, second), params, strict=True):
        constant_descent(optimizer, [param], 3)
    target = second if load_into == "wrapper" else second.optimizer
    target.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.param_groups is second.optimizer.param_groups
    assert second.state is second.optimizer.state
    for optimizer, param in zip((first, second), params, strict=True):
        constant_descent(optimizer, [param], 4)
    assert torch.equal(*params)


def test_an_optimizer_that_calls_its_closure_may_be_inside():
    w = Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    inner = torch.optim.LBFGS([w], lr=1.0, line_search_fn="strong_wolfe")
    optimizer = Lookahead(inner, k=2, alpha=0.9)

    def closure():
        optimizer.zero_grad()
        loss = (w**4).sum() + w.square().sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(6)]
    assert losses[-1] < 1e-6 * losses[0]


def test_a_bad_option_leaves_the_inner_optimizer_as_it_was():
    w = Parameter(torch.ones(1))
    inner = torch.optim.SGD([w], lr=1.0)
    groups = inner.param_groups
    with pytest.raises(ValueError, match=r"^k must be a count of at least 1, got 0"):
        Lookahead(inner, k=0)
    assert inner.param_groups is groups
    assert groups[0]["params"][0] is w


def test_one_tensor_and_many_take_the_same_step():
    fast = [torch.tensor([4.0, 2.0]), torch.tensor(1.0)]
    slow = [torch.tensor([0.0, 4.0]), torch.tensor(0.0)]
    alone, own = [f.clone() for f in fast], [s.clone() for s in slow]
    lookahead_update(Tensors(fast), Tensors(slow), alpha=0.25)
    for pair in zip(alone, own, strict=True):
        lookahead_update(*pair, alpha=0.25)
    assert all(map(torch.equal, fast + slow, alone + own))
    assert torch.equal(fast[0], torch.tensor([1.0, 3.5]))
