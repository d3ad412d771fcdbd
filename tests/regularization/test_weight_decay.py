import math

import pytest
import torch
from torch import nn
from torch.nn import Parameter

from mlopt_edu.regularization import decay_, decay_groups, l2_penalty


def seeded(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_the_penaltys_gradient_is_the_weights_times_the_decay():
    params = [Parameter(seeded(3, 2)), Parameter(seeded()), Parameter(seeded(0))]
    l2_penalty(params, 0.3).backward()
    for param in params:
        torch.testing.assert_close(param.grad, 0.3 * param.detach())
    assert l2_penalty([], 1.0) == 0
    x = seeded(5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: l2_penalty([x], 0.3), (x,))


def two_hundred_steps(make, *, decay=None, penalty=None, lr=0.05):
    params = [Parameter(seeded(4, 3)), Parameter(seeded(5, seed=1))]
    optimizer = make(params)
    for _ in range(200):
        optimizer.zero_grad()
        loss = sum(torch.logaddexp(3 * w - 1, 1 - w).sum() for w in params)
        if penalty is not None:
            loss = loss + l2_penalty(params, penalty)
        loss.backward()
        if decay is not None:
            decay_(params, decay, lr=lr)
        optimizer.step()
    return torch.cat([param.detach().reshape(-1) for param in params])


def sgd(**options):
    return lambda params: torch.optim.SGD(params, lr=0.05, **options)


def adam(cls, **options):
    return lambda params: cls(params, lr=0.05, **options)


def test_under_sgd_penalty_decay_and_torchs_option_are_one():
    coupled = two_hundred_steps(sgd(weight_decay=0.2))
    penalty = two_hundred_steps(sgd(), penalty=0.2)
    decoupled = two_hundred_steps(sgd(), decay=0.2)
    torch.testing.assert_close(penalty, coupled, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(decoupled, coupled, rtol=1e-12, atol=1e-14)


def test_under_adam_decay_is_torchs_adamw_and_the_penalty_torchs_adam():
    decoupled = two_hundred_steps(adam(torch.optim.Adam), decay=0.2)
    adamw = two_hundred_steps(adam(torch.optim.AdamW, weight_decay=0.2))
    torch.testing.assert_close(decoupled, adamw, rtol=1e-12, atol=1e-14)
    penalty = two_hundred_steps(adam(torch.optim.Adam), penalty=0.2)
    coupled = two_hundred_steps(adam(torch.optim.Adam, weight_decay=0.2))
    torch.testing.assert_close(penalty, coupled, rtol=1e-9, atol=1e-12)
    assert (decoupled - coupled).abs().max() > 0.01


def test_adam_hardly_decays_a_weight_whose_gradient_is_large():
    # Noise of mean 0 in the gradient: the decay alone should shrink both weights alike.
    def shrunk(noise, **decays):
        w = Parameter(torch.tensor([10.0]))
        optimizer = torch.optim.Adam([w], lr=0.01, weight_decay=decays.get("l2", 0.0))
        for step in range(400):
            w.grad = noise * torch.tensor([(-1.0) ** step])
            decay_([w], decays.get("decoupled", 0.0), lr=0.01)
            optimizer.step()
        return w.item()

    assert shrunk(100.0, l2=0.1) > 9.9
    assert shrunk(0.1, l2=0.1) < 7
    large, small = shrunk(100.0, decoupled=0.1), shrunk(0.1, decoupled=0.1)
    assert large == pytest.approx(small, abs=0.02)
    assert large == pytest.approx(10 * (1 - 0.001) ** 400, abs=0.02)


class Everything(nn.Module):
    """One of each kind of parameter; the head shares the embedding's weights."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 8)
        self.conv = nn.Conv2d(3, 4, 3)
        self.batch_norm = nn.BatchNorm2d(4)
        self.group_norm = nn.GroupNorm(2, 4)
        self.image_norm = nn.LayerNorm((6, 6))
        self.rms_norm = nn.RMSNorm((2, 3))
        self.attention = nn.MultiheadAttention(8, 2, add_bias_kv=True)
        self.recurrent = nn.LSTM(8, 4)
        self.prelu = nn.PReLU()
        self.scale = Parameter(torch.ones(()))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.head = nn.Linear(8, 5)
        self.head.weight = self.embedding.weight


def test_groups_of_every_kind_of_layer():
    model = Everything()
    decayed, free = decay_groups(model, 0.1)
    names = {param: name for name, param in model.named_parameters()}
    assert {names[param] for param in decayed["params"]} == {
        "embedding.weight",
        "conv.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "recurrent.weight_ih_l0",
        "recurrent.weight_hh_l0",
    }
    wanted = {param for param in model.parameters() if param.requires_grad}
    together = decayed["params"] + free["params"]
    assert set(together) == wanted
    assert len(together) == len(wanted)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)


def test_an_optimizer_decays_the_first_group_alone():
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    before = {name: param.detach().clone() for name, param in model.named_parameters()}
    for param in model.parameters():
        param.grad = torch.zeros_like(param)
    torch.optim.AdamW(decay_groups(model, 0.5), lr=0.1).step()
    for name, param in model.named_parameters():
        factor = 0.95 if name == "0.weight" else 1.0
        torch.testing.assert_close(param.data, factor * before[name])


def test_either_group_may_be_empty():
    norm, bare = nn.LayerNorm(3), nn.Linear(3, 2, bias=False)
    assert [len(group["params"]) for group in decay_groups(norm, 0.1)] == [0, 2]
    assert [len(group["params"]) for group in decay_groups(bare, 0.1)] == [1, 0]
    torch.optim.SGD(decay_groups(bare, 0.1), lr=0.1).step()
    decay_([], 0.1, lr=0.1)


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
def test_what_is_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match=r"^weight_decay must be finite and at least"):
        decay_([torch.ones(1)], value, lr=0.1)
    with pytest.raises(ValueError, match=r"^lr must be finite and at least 0"):
        decay_([torch.ones(1)], 0.1, lr=value)
    with pytest.raises(ValueError, match=r"^weight_decay must be finite and at least"):
        l2_penalty([torch.ones(1)], value)
    with pytest.raises(ValueError, match=r"^weight_decay must be finite and at least"):
        decay_groups(nn.Linear(1, 1), value)
