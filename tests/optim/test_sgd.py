import itertools

import pytest
import torch
from torch.nn import Parameter

from mlopt_edu.optim import SGD, Tensors, sgd_update

GRID = [
    {
        "momentum": momentum,
        "dampening": dampening,
        "weight_decay": weight_decay,
        "nesterov": nesterov,
        "maximize": maximize,
    }
    for momentum, dampening, weight_decay, nesterov, maximize in itertools.product(
        (0.0, 0.5, 0.999), (0.0, 0.3, 1.0), (0.0, 0.1), (False, True), (False, True)
    )
    if not nesterov or (momentum > 0 and dampening == 0)
]


def fifty_steps(cls, dtype, **options):
    """Minimize sums of log 2cosh 2w: its slope is bounded, so nothing overflows."""
    generator = torch.Generator().manual_seed(0)
    params = [
        Parameter(torch.randn(shape, generator=generator).to(dtype))
        for shape in ((4, 3), (5,), ())
    ]
    optimizer = cls(params, lr=0.05, **options)
    for _ in range(50):
        for param in params:
            param.grad = 2 * torch.tanh(2 * param.detach())
        optimizer.step()
    return torch.cat([param.detach().reshape(-1) for param in params])


@pytest.mark.parametrize("options", GRID, ids=str)
def test_agrees_with_torch_in_double_precision(options):
    expected = fifty_steps(torch.optim.SGD, torch.float64, **options)
    actual = fifty_steps(SGD, torch.float64, **options)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("options", GRID, ids=str)
def test_agrees_with_torch_in_single_precision_to_rounding(options):
    expected = fifty_steps(torch.optim.SGD, torch.float32, **options)
    actual = fifty_steps(SGD, torch.float32, **options)
    # 50 steps of rounding 1, each at most 2^-24 of the value.
    torch.testing.assert_close(actual, expected, rtol=50 * 2**-24, atol=1e-6)


def test_complex_parameters_move_like_their_real_and_imaginary_parts():
    start = torch.tensor([1 + 2j, -0.5j, 3 + 0j])
    ours, theirs = Parameter(start.clone()), Parameter(start.clone())
    options = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}
    optimizers = [SGD([ours], **options), torch.optim.SGD([theirs], **options)]
    for step in range(5):
        for param, optimizer in zip((ours, theirs), optimizers, strict=True):
            param.grad = (step - 2j) * start
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("there_and_back", [False, True])
def test_state_dict_is_interchangeable_with_torch(there_and_back):
    def steps(optimizer, param, count):
        for _ in range(count):
            param.grad = param.detach() ** 3
            optimizer.step()

    options = {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}
    param, expected = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    classes = (SGD, torch.optim.SGD) if there_and_back else (torch.optim.SGD, SGD)
    first = classes[0]([param], **options)
    steps(first, param, 4)
    second = classes[1]([param], lr=0.5)
    second.load_state_dict(first.state_dict())
    steps(second, param, 4)
    steps(torch.optim.SGD([expected], **options), expected, 8)
    torch.testing.assert_close(param, expected)


@pytest.mark.parametrize("with_velocity", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
def test_one_tensor_and_many_take_the_same_step(with_velocity, nesterov):
    def tensors(seed):
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(n, generator=generator) for n in (3, 1, 4)]

    options = {"lr": 0.1, "momentum": 0.9, "nesterov": nesterov, "weight_decay": 0.1}
    together, alone = tensors(0), tensors(0)
    velocities, own = tensors(2), tensors(2)
    sgd_update(
        Tensors(together),
        Tensors(tensors(1)),
        Tensors(velocities) if with_velocity else None,
        **options,
    )
    for param, grad, velocity in zip(alone, tensors(1), own, strict=True):
        sgd_update(param, grad, velocity if with_velocity else None, **options)
    assert all(map(torch.equal, together + velocities, alone + own))


def test_heavy_ball_on_a_line_follows_its_recurrence():
    # e_{t+1} = (1 + β - lr λ) e_t - β e_{t-1}, from rest.
    lr, momentum, curvature = 0.1, 0.9, 3.0
    w, v = torch.tensor(1.0, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    expected = [1.0, 1.0]
    for _ in range(50):
        sgd_update(w, curvature * w, v, lr=lr, momentum=momentum)
        older, old = expected[-2:]
        expected.append((1 + momentum - lr * curvature) * old - momentum * older)
        assert w.item() == pytest.approx(expected[-1], rel=1e-12, abs=1e-14)


def test_constant_gradient_brings_the_velocity_to_its_limit():
    # The geometric series: g (1 - dampening) / (1 - momentum).
    w, v = torch.zeros(1), torch.zeros(1)
    for _ in range(300):
        sgd_update(w, torch.ones(1), v, lr=0.1, momentum=0.9, dampening=0.5)
    torch.testing.assert_close(v, torch.tensor([5.0]))


@pytest.mark.parametrize(
    "options", [{"momentum": 0.0}, {"momentum": 0.9, "dampening": 0.1}]
)
def test_nesterov_without_what_it_needs_is_refused(options):
    with pytest.raises(ValueError, match=r"^nesterov must go with momentum above 0"):
        SGD([Parameter(torch.ones(1))], nesterov=True, **options)
