import io
import math

import pytest
import torch
from torch import nn
from torch.nn import Parameter

from mlopt_edu.mixed_precision import LossScaler


def overflow_pattern(seed, share, steps=120):
    generator = torch.Generator().manual_seed(seed)
    bad = torch.tensor([math.inf, -math.inf, math.nan])
    kinds = bad[torch.randint(3, (steps,), generator=generator)]
    is_bad = torch.rand(steps, generator=generator) < share
    return torch.where(is_bad, kinds, torch.randn(steps, generator=generator)).tolist()


OPTIONS = [
    {"growth_interval": 1},
    {"growth_interval": 3, "init_scale": 8.0},
    {"growth_interval": 5, "growth_factor": 1.7, "backoff_factor": 0.3},
    {"growth_interval": 2, "growth_factor": 3.0, "backoff_factor": 0.9},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("unscales_itself", [False, True])
def test_scales_and_steps_are_those_of_torch(share, options, unscales_itself):
    ours, theirs = LossScaler(**options), torch.amp.GradScaler("cpu", **options)
    params = [Parameter(torch.linspace(-1, 1, 5)) for _ in range(2)]
    optimizers = [torch.optim.SGD([w], lr=1e-3, momentum=0.9) for w in params]
    skipped = 0
    for factor in overflow_pattern(1, share):
        for scaler, w, optimizer in zip(
            (ours, theirs), params, optimizers, strict=True
        ):
            optimizer.zero_grad()
            scaler.scale((factor * w).sum()).backward()
            if unscales_itself:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        skipped += not math.isfinite(factor)
        assert ours.get_scale() == theirs.get_scale()
        assert ours.state_dict() == theirs.state_dict()
        assert torch.equal(*params)
    assert (skipped > 0) == (share > 0)


def test_the_scale_never_becomes_infinite():
    options = {"init_scale": 2.0**126, "growth_interval": 1}
    ours, theirs = LossScaler(**options), torch.amp.GradScaler("cpu", **options)
    w = Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([w], lr=0.0)
    for _ in range(4):
        for scaler in (ours, theirs):
            scaler.scale(torch.ones(()))
            w.grad = torch.zeros(1)
            scaler.step(optimizer)
            scaler.update()
        assert ours.get_scale() == theirs.get_scale()
    assert ours.get_scale() == 2.0**127


def test_two_optimizers_share_a_scale_and_skip_each_for_itself():
    params = [[Parameter(torch.ones(2)) for _ in range(2)] for _ in range(2)]
    scalers = [LossScaler(growth_interval=2), torch.amp.GradScaler("cpu")]
    scalers[1].set_growth_interval(2)
    pairs = [[torch.optim.SGD([w], lr=0.1) for w in both] for both in params]
    patterns = zip(overflow_pattern(2, 0.3), overflow_pattern(3, 0.3), strict=True)
    for factors in patterns:
        for scaler, both, optimizers in zip(scalers, params, pairs, strict=True):
            for factor, w, optimizer in zip(factors, both, optimizers, strict=True):
                optimizer.zero_grad()
                scaler.scale((factor * w).sum()).backward()
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
        assert scalers[0].get_scale() == scalers[1].get_scale()
        assert all(map(torch.equal, *params))


def test_one_bad_entry_anywhere_skips_the_step():
    for place in range(3):
        params = [Parameter(torch.ones(3)), Parameter(torch.ones(2, 2).double())]
        idle, empty = Parameter(torch.ones(1)), Parameter(torch.ones(0))
        optimizer = torch.optim.SGD([idle, empty, *params], lr=1.0)
        scaler = LossScaler(4.0)
        for param in (*params, empty):
            param.grad = torch.ones_like(param)
        if place < 2:
            params[place].grad.view(-1)[-1] = math.nan
        scaler.step(optimizer)
        expected = 1.0 if place < 2 else 0.75
        assert all((param == expected).all() for param in params)
        assert idle == 1


def test_gradients_are_unscaled_once_and_in_place():
    w = Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([w], lr=1.0)
    scaler = LossScaler(1024.0)
    scaler.scale(3 * w.sum()).backward()
    grad = w.grad
    assert torch.equal(grad, torch.full((2,), 3072.0))
    scaler.unscale_(optimizer)
    assert torch.equal(grad, torch.full((2,), 3.0))
    scaler.step(optimizer)
    assert torch.equal(w.data, torch.full((2,), -2.0))


def test_what_optimizers_return_is_returned_unless_skipped():
    class Telling(torch.optim.SGD):
        def step(self):
            super().step()
            return 7.0

    w = Parameter(torch.ones(1))
    optimizer, scaler = Telling([w], lr=0.1), LossScaler(1.0)
    for grad, expected in ((1.0, 7.0), (math.inf, None)):
        w.grad = torch.tensor([grad])
        assert scaler.step(optimizer) == expected
        scaler.update()


def small_problem():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    x, y = torch.randn(40, 6), torch.randint(3, (40,))
    return model, x, y


def test_autocast_training_in_float16_is_torchs_bit_for_bit():
    results = []
    for scaler in (
        LossScaler(2.0**20, growth_interval=4),
        torch.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=4),
    ):
        model, x, y = small_problem()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        scales = []
        for _ in range(30):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.float16):
                loss = nn.functional.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
        results.append((scales, loss.item(), *map(torch.clone, model.parameters())))
    (our_scales, our_loss, *our_params), (scales, loss, *params) = results
    assert our_scales == scales
    assert max(scales) > min(scales)  # it overflowed, and found its place
    assert our_loss == loss
    assert all(map(torch.equal, our_params, params))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_scaled_loss_has_torchs_type_and_value(shape, dtype):
    loss = torch.full(shape, 3.0, dtype=dtype)
    expected = torch.amp.GradScaler("cpu").scale(loss)
    actual = LossScaler().scale(loss)
    assert actual.dtype == expected.dtype
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("into_torch", [False, True])
def test_states_are_interchangeable_with_torch(into_torch):
    w = Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([w], lr=0.0)

    def iterate(scaler, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            scaler.scale(w.sum()).backward()
            scaler.step(optimizer)
            scaler.update()

    options = {"growth_interval": 5, "growth_factor": 1.5, "backoff_factor": 0.25}
    straight = LossScaler(**options)
    iterate(straight, 13)
    first = LossScaler(**options)
    second = torch.amp.GradScaler("cpu") if into_torch else LossScaler()
    iterate(first, 8)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    iterate(second, 5)
    assert second.state_dict() == straight.state_dict()
    back = LossScaler()
    back.load_state_dict(second.state_dict())
    assert back.state_dict() == straight.state_dict()


def test_not_enabled_it_passes_everything_through():
    w = Parameter(torch.ones(1))
    optimizer, scaler = torch.optim.SGD([w], lr=0.5), LossScaler(enabled=False)
    loss = w.sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    scaler.load_state_dict({})
    assert w.item() == 0.5
    assert (scaler.get_scale(), scaler.is_enabled(), scaler.state_dict()) == (
        1.0,
        False,
        {},
    )


def test_the_scale_can_be_set_by_hand():
    scaler = LossScaler()
    scaler.update(1000.0)
    assert scaler.get_scale() == 1000.0
    for value in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"^new_scale must be finite and above 0"):
            scaler.update(value)


def test_calls_out_of_order_are_refused():
    w = Parameter(torch.ones(1))
    optimizer, scaler = torch.optim.SGD([w], lr=0.5), LossScaler()
    with pytest.raises(RuntimeError, match=r"^update must follow step or unscale_"):
        scaler.update()
    with pytest.raises(ValueError, match=r"^optimizer must have gradients to unscale"):
        scaler.step(optimizer)
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match=r"^unscale_ must be called once before"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"^unscale_ must come before step"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match=r"^step must be called once before each"):
        scaler.step(optimizer)
    scaler.update()
    scaler.unscale_(optimizer)


def test_gradients_it_cannot_serve_are_refused():
    half = Parameter(torch.ones(1, dtype=torch.float16))
    half.grad = torch.ones_like(half)
    with pytest.raises(ValueError, match=r"^gradients must not be float16, got one: w"):
        LossScaler().step(torch.optim.SGD([half], lr=0.1))
    embedding = nn.Embedding(3, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match=r"^gradients must be dense, got layout"):
        LossScaler().step(torch.optim.SGD(embedding.parameters(), lr=0.1))
    with pytest.raises(ValueError, match=r"^state_dict must come from an enabled"):
        LossScaler().load_state_dict({})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init_scale": 0.0}, r"^init_scale must be finite and above 0, got 0.0"),
        ({"init_scale": math.nan}, r"^init_scale must be finite and above 0, got nan"),
        ({"growth_factor": 1.0}, r"^growth_factor must be finite and above 1, got 1"),
        ({"growth_factor": math.inf}, r"^growth_factor must be finite and above 1"),
        ({"backoff_factor": 0.0}, r"^backoff_factor must lie in \(0, 1\), got 0.0"),
        ({"backoff_factor": 1.0}, r"^backoff_factor must lie in \(0, 1\), got 1.0"),
        ({"growth_interval": 0}, r"^growth_interval must be at least 1, got 0"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LossScaler(**options)
