import copy
import io
import math

import pytest
import torch
from torch import nn
from torch.nn import Parameter

from mlopt_edu.mixed_precision import LossScaler, MasterWeights

SHORT = [torch.float16, torch.bfloat16]

each_short = pytest.mark.parametrize("dtype", SHORT, ids=str)

OPTIMIZERS = {
    "SGD": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
    "Adam": lambda params: torch.optim.Adam(params, lr=0.01),
    "AdamW fused": lambda params: torch.optim.AdamW(params, lr=0.01, fused=True),
    "RMSprop": lambda params: torch.optim.RMSprop(params, lr=0.01),
}

each_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


def net(dtype):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).to(dtype)


def backward(model, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(16, 4, generator=generator).to(next(model.parameters()).dtype)
    (model(x).float() - x[:, :1].float()).square().mean().backward()


def weights(model):
    return [param.detach().clone() for param in model.parameters()]


@each_short
@each_optimizer
def test_it_is_the_optimizer_in_float32_on_the_short_gradients(make, dtype):
    model = net(dtype)
    plain = [Parameter(param.float()) for param in weights(model)]
    reference = make(plain)
    optimizer = MasterWeights(make(model.parameters()))
    for step in range(20):
        optimizer.zero_grad()
        backward(model, step)
        for param, short in zip(plain, model.parameters(), strict=True):
            param.grad = short.grad.float()
        reference.step()
        optimizer.step()
        assert all(map(torch.equal, optimizer.params(), plain))
        rounded = [param.detach().to(dtype) for param in plain]
        assert all(map(torch.equal, model.parameters(), rounded))


@each_short
def test_small_steps_add_up_only_with_master_weights(dtype):
    # 1000 steps of an eighth of the spacing below 1.
    lr = torch.finfo(dtype).eps / 16
    alone, copied = Parameter(torch.ones(3, dtype=dtype)), None
    copied = Parameter(torch.ones(3, dtype=dtype))
    pure = torch.optim.SGD([alone], lr=lr)
    optimizer = MasterWeights(torch.optim.SGD([copied], lr=lr))
    for _ in range(1000):
        for param in (alone, copied):
            param.grad = torch.ones_like(param)
        pure.step()
        optimizer.step()
        optimizer.zero_grad()
    assert torch.equal(alone.data, torch.ones(3, dtype=dtype))
    assert copied[0].item() == pytest.approx(1 - 1000 * lr, rel=1e-2)


def test_gradients_of_several_passes_add_up_in_float32():
    w = Parameter(torch.ones(1, dtype=torch.bfloat16))
    optimizer = MasterWeights(torch.optim.SGD([w], lr=1.0))
    for grad in (1.0, *[2**-9] * 8):
        w.grad = torch.tensor([grad], dtype=torch.bfloat16)
        optimizer.collect_grads_()
        assert w.grad is None
    assert optimizer.params()[0].grad.item() == 1 + 8 * 2**-9
    optimizer.zero_grad()
    assert optimizer.params()[0].grad is None


def test_whoever_looks_finds_the_gradients_collected():
    for look in (MasterWeights.params, lambda optimizer: optimizer.param_groups):
        w = Parameter(torch.ones(2, dtype=torch.float16))
        optimizer = MasterWeights(torch.optim.SGD([w], lr=0.5))
        w.grad = torch.ones_like(w)
        look(optimizer)
        assert w.grad is None
        optimizer.step()
        assert torch.equal(w.data, torch.full((2,), 0.5, dtype=torch.float16))


@pytest.mark.parametrize(
    "make_scaler",
    [LossScaler, lambda scale, **rest: torch.amp.GradScaler("cpu", scale, **rest)],
    ids=["ours", "torch"],
)
def test_a_pure_float16_model_trains_with_a_scaler_and_clipping(make_scaler):
    model = net(torch.float16)
    optimizer = MasterWeights(torch.optim.Adam(model.parameters(), lr=0.01))
    scaler = make_scaler(2.0**18, growth_interval=50)
    losses, skipped = [], 0
    for step in range(150):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(16, 4, generator=generator)
        loss = (model(x.half()).float() - x[:, :1]).square().mean()
        before = weights(model)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(optimizer.params(), 0.5)
        scaler.step(optimizer)
        if not norm.isfinite():
            skipped += 1
            assert all(map(torch.equal, weights(model), before))
        scaler.update()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert skipped >= 1
    assert sum(losses[-10:]) < 0.1 * sum(losses[:10])


def test_both_scalers_take_the_same_steps():
    results = []
    for scaler in (LossScaler(2.0**18), torch.amp.GradScaler("cpu", 2.0**18)):
        model = net(torch.float16)
        optimizer = MasterWeights(torch.optim.Adam(model.parameters(), lr=0.01))
        for step in range(20):
            generator = torch.Generator().manual_seed(step)
            x = torch.randn(16, 4, generator=generator)
            loss = (model(x.half()).float() - x[:, :1]).square().mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        results.append((scaler.get_scale(), optimizer.params()))
    assert results[0][0] == results[1][0] < 2.0**18
    assert all(map(torch.equal, results[0][1], results[1][1]))


def test_long_parameters_are_updated_as_they_are():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3).half()
            self.norm = nn.LayerNorm(3)

        def forward(self, x):
            return self.norm(self.linear(x.half()).float())

    torch.manual_seed(0)
    model = Half()
    optimizer = MasterWeights(torch.optim.SGD(model.parameters(), lr=0.5))
    updated = optimizer.params()
    assert updated[2] is model.norm.weight
    assert updated[0].dtype == torch.float32
    scaler = LossScaler(16.0)
    before = copy.deepcopy(model)
    scaler.scale(model(torch.randn(5, 3)).square()[:, 0].mean()).backward()
    expected = [param.grad.float() / 16 for param in model.parameters()]
    scaler.step(optimizer)
    for param, start, grad in zip(
        model.parameters(), before.parameters(), expected, strict=True
    ):
        moved = (start.float() - 0.5 * grad).to(param.dtype)
        torch.testing.assert_close(param, moved)


def test_groups_keep_their_options_and_schedulers_reach_them():
    model = net(torch.bfloat16)
    groups = [
        {"params": model[0].parameters(), "lr": 0.5},
        {"params": model[2].parameters(), "weight_decay": 0.1},
    ]
    optimizer = MasterWeights(torch.optim.SGD(groups, lr=0.1))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer.optimizer, 1, gamma=0.1)
    before = [param.detach().clone() for param in optimizer.params()]
    for _ in range(2):
        for param in model.parameters():
            param.grad = torch.ones_like(param)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    after = optimizer.params()
    torch.testing.assert_close(after[0], before[0] - 0.5 - 0.05)
    expected = before[2] - 0.1 * (1 + 0.1 * before[2])
    expected -= 0.01 * (1 + 0.1 * expected)
    torch.testing.assert_close(after[2], expected)


def test_parameters_without_gradients_are_skipped():
    model = net(torch.bfloat16)
    optimizer = MasterWeights(torch.optim.SGD(model.parameters(), lr=0.5))
    before = weights(model)
    model[0].bias.grad = torch.ones(8, dtype=torch.bfloat16)
    optimizer.step()
    changed = [
        not torch.equal(now, old)
        for now, old in zip(weights(model), before, strict=True)
    ]
    assert changed == [False, True, False, False]


@each_short
@each_optimizer
def test_it_goes_on_from_its_state_bit_for_bit(make, dtype):
    model = net(dtype)
    optimizer = MasterWeights(make(model.parameters()))

    def train(model, optimizer, steps):
        for step in steps:
            optimizer.zero_grad()
            backward(model, step)
            optimizer.step()

    train(model, optimizer, range(6))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    fresh = net(dtype)
    again = MasterWeights(make(fresh.parameters()))
    again.load_state_dict(torch.load(file, weights_only=True))
    assert all(map(torch.equal, fresh.parameters(), model.parameters()))
    train(model, optimizer, range(6, 12))
    train(fresh, again, range(6, 12))
    assert all(map(torch.equal, again.params(), optimizer.params()))
    assert all(map(torch.equal, fresh.parameters(), model.parameters()))


def test_a_float32_model_has_nothing_to_copy():
    model, twin = net(torch.float32), net(torch.float32)
    optimizer = MasterWeights(torch.optim.SGD(model.parameters(), lr=0.1))
    plain = torch.optim.SGD(twin.parameters(), lr=0.1)
    for seed, (one, step) in enumerate([(model, optimizer.step), (twin, plain.step)]):
        backward(one, 0 * seed)
        step()
    assert all(map(torch.equal, model.parameters(), twin.parameters()))
    assert optimizer.state_dict()["masters"] == []


def test_an_optimizer_that_has_stepped_is_refused():
    model = net(torch.bfloat16)
    inner = torch.optim.Adam(model.parameters())
    backward(model, 0)
    inner.step()
    with pytest.raises(ValueError, match=r"^optimizer must not have stepped yet, got"):
        MasterWeights(inner)


def test_a_state_of_another_model_is_refused_and_changes_nothing():
    optimizer = MasterWeights(torch.optim.SGD(net(torch.float16).parameters(), lr=0.1))
    before = copy.deepcopy(optimizer.state_dict())
    other = nn.Linear(3, 3).half()
    state = MasterWeights(torch.optim.SGD(other.parameters(), lr=0.7)).state_dict()
    with pytest.raises(ValueError, match=r"^state_dict must hold 4 copies .* got 2"):
        optimizer.load_state_dict(state)
    assert optimizer.state_dict()["optimizer"] == before["optimizer"]


def test_a_nan_gradient_reaches_the_master_and_is_seen():
    w = Parameter(torch.ones(1, dtype=torch.float16))
    optimizer, scaler = MasterWeights(torch.optim.SGD([w], lr=0.1)), LossScaler(4.0)
    w.grad = torch.tensor([math.nan], dtype=torch.float16)
    scaler.step(optimizer)
    scaler.update()
    assert (w.item(), scaler.get_scale()) == (1.0, 2.0)
