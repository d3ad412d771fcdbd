import numpy as np
import pytest
import pytorch_optimizer
import torch
from torch import nn
from torch.nn import Parameter

from mlopt_edu.optim.multi_tensor import Tensors
from mlopt_edu.optim.sam import SAM, sam_update
from tests.optim.trajectories import noise

SHAPES = ((4, 3), (5,), ())


def problem():
    """Parameters, and a closure that sets their gradients on the batch of one step.

    The loss is a sum of log(e^2w + e^-w), whose slope is 3 sigmoid(3w) - 1, and noise,
    which keeps the gradient from vanishing: near a minimum its direction, and so the
    climb, would hang on the last bit.
    """
    generator = torch.Generator().manual_seed(0)
    params = [
        Parameter(torch.randn(shape, generator=generator).double()) for shape in SHAPES
    ]

    def closure(step):
        loss = torch.zeros((), dtype=torch.double)
        for scale, param in enumerate(params):
            w = param.detach()
            noisy = torch.from_numpy(noise(param.shape, step))
            loss += (1 + scale) * torch.logaddexp(2 * w, -w).sum() + (noisy * w).sum()
            param.grad = (1 + scale) * (3 * torch.sigmoid(3 * w) - 1) + noisy
        return loss

    return params, closure


def slope(param, scale, step):
    derivative = (2 * np.exp(3 * param) - 1) / (np.exp(3 * param) + 1)
    return (1 + scale) * derivative + noise(param.shape, step)


@pytest.mark.parametrize("rho", [0.0, 0.05, 3.0])
def test_follows_algorithm_1_of_the_paper(rho):
    params, closure = problem()
    expected = [param.detach().numpy().copy() for param in params]
    velocities = [np.zeros_like(w) for w in expected]
    optimizer = SAM(torch.optim.SGD(params, lr=0.02, momentum=0.9), rho=rho)
    for step in range(50):
        optimizer.step(lambda step=step: closure(step))
        grads = [slope(w, scale, step) for scale, w in enumerate(expected)]
        norm = np.sqrt(sum(np.sum(g**2) for g in grads))
        for scale, (w, g) in enumerate(zip(expected, grads, strict=True)):
            there = slope(w + rho * g / norm, scale, step)
            velocities[scale] = 0.9 * velocities[scale] + there
        expected = [w - 0.02 * v for w, v in zip(expected, velocities, strict=True)]
    for param, w in zip(params, expected, strict=True):
        np.testing.assert_allclose(param.detach().numpy(), w, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rho", [0.05, 2.0])
@pytest.mark.parametrize("inner", [torch.optim.SGD, torch.optim.AdamW])
def test_agrees_with_the_pytorch_optimizer_package(inner, rho):
    mine, my_closure = problem()
    theirs, their_closure = problem()
    optimizer = SAM(inner(mine, lr=0.02), rho=rho)
    other = pytorch_optimizer.SAM(theirs, inner, rho=rho, lr=0.02)
    for step in range(50):
        optimizer.step(lambda step=step: my_closure(step))
        # That package's step wants the first gradients computed before it.
        their_closure(step)
        other.step(lambda step=step: their_closure(step))
    for param, expected in zip(mine, theirs, strict=True):
        # That package takes the norm in single precision.
        torch.testing.assert_close(param, expected, rtol=1e-6, atol=1e-7)


def test_a_closure_and_two_steps_are_the_same():
    by_closure, closure = problem()
    by_hand, loss_of = problem()
    whole = SAM(torch.optim.Adam(by_closure, lr=0.1))
    halves = SAM(torch.optim.Adam(by_hand, lr=0.1))
    for step in range(5):
        whole.step(lambda step=step: closure(step))
        loss_of(step)
        halves.first_step()
        loss_of(step)
        halves.second_step()
    assert all(map(torch.equal, by_closure, by_hand))


def test_without_distance_it_is_the_inner_optimizer():
    mine, my_closure = problem()
    expected, closure = problem()
    optimizer = SAM(torch.optim.Adam(mine, lr=0.1), rho=0.0)
    plain = torch.optim.Adam(expected, lr=0.1)
    for step in range(5):
        mine_seen = optimizer.step(lambda step=step: my_closure(step))
        assert mine_seen.item() == plain.step(lambda step=step: closure(step)).item()
    assert all(map(torch.equal, mine, expected))


def test_first_step_climbs_by_rho_over_all_parameters_together():
    params, closure = problem()
    optimizer = SAM(torch.optim.SGD(params, lr=0.1), rho=0.25)
    before = [param.detach().clone() for param in params]
    first = closure(0).item()
    optimizer.first_step()
    moved = [param.detach() - old for param, old in zip(params, before, strict=True)]
    distance = torch.cat([move.reshape(-1) for move in moved]).norm().item()
    assert distance == pytest.approx(0.25, rel=1e-9)
    assert closure(0).item() > first


def test_with_maximize_the_worst_point_lies_below():
    up, down = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    climbing = SAM(torch.optim.SGD([up], lr=0.1, maximize=True), rho=0.5)
    descending = SAM(torch.optim.SGD([down], lr=0.1), rho=0.5)

    def closure(param, sign):
        param.grad = None
        loss = sign * (param**3).sum()
        loss.backward()
        return loss

    for _ in range(5):
        climbing.step(lambda: closure(up, -1))
        descending.step(lambda: closure(down, 1))
    assert torch.equal(up, down)


def test_gradients_of_zero_and_of_nothing_move_nothing():
    still, idle = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    optimizer = SAM(torch.optim.SGD([still, idle], lr=0.1))
    optimizer.step(lambda: None)
    still.grad = torch.zeros(3)
    optimizer.step(lambda: None)
    assert torch.equal(still, torch.ones(3))
    assert torch.equal(idle, torch.ones(3))


def test_state_holds_no_copy_of_the_parameters_between_steps():
    params, closure = problem()
    optimizer = SAM(torch.optim.Adam(params))
    optimizer.step(lambda: closure(0))
    names = {"step", "exp_avg", "exp_avg_sq"}
    assert [set(optimizer.state[param]) for param in params] == [names] * len(params)


def test_groups_have_their_own_distance():
    near, far = Parameter(torch.zeros(1)), Parameter(torch.zeros(1))
    inner = torch.optim.SGD([{"params": [near]}, {"params": [far], "sam_rho": 5.0}])
    optimizer = SAM(inner, rho=0.0)
    near.grad, far.grad = torch.tensor([3.0]), torch.tensor([4.0])
    optimizer.first_step()
    assert near.item() == 0.0
    assert far.item() == pytest.approx(4.0)


def test_a_step_without_closure_is_refused():
    params, _ = problem()
    with pytest.raises(ValueError, match=r"^closure must be given to step, got None"):
        SAM(torch.optim.SGD(params)).step()


def test_sees_the_gradient_across_dtypes():
    half = Parameter(torch.zeros(1, dtype=torch.bfloat16))
    full = Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = SAM(torch.optim.SGD([half, full]), rho=10.0)
    half.grad, full.grad = torch.full_like(half, 3.0), torch.full_like(full, 4.0)
    optimizer.first_step()
    assert (half.item(), full.item()) == (6.0, pytest.approx(8.0))


def test_trains_a_net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    x = torch.linspace(-2, 2, 40)[:, None]
    optimizer = SAM(torch.optim.Adam(net.parameters(), lr=0.01))

    def closure():
        optimizer.zero_grad()
        loss = (net(x) - torch.sin(2 * x)).square().mean()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(200)]
    assert losses[-1] < losses[0] / 10


def test_one_tensor_and_many_take_the_same_step():
    grads = [torch.tensor([3.0, 4.0]), torch.tensor(12.0)]
    together = [torch.zeros(2), torch.ones(())]
    alone = [param.clone() for param in together]
    sam_update(Tensors(together), Tensors(grads), rho=2.0, grad_norm=13.0)
    for param, grad in zip(alone, grads, strict=True):
        sam_update(param, grad, rho=2.0, grad_norm=13.0)
    assert all(map(torch.equal, together, alone))


def test_grad_scaler_is_told_to_pass_a_closure():
    w = Parameter(torch.ones(1))
    scaler = torch.amp.GradScaler("cpu")
    optimizer = SAM(torch.optim.SGD([w]))
    scaler.scale(w.sum()).backward()
    with pytest.raises(ValueError, match=r"^closure must be given to step"):
        scaler.step(optimizer)
