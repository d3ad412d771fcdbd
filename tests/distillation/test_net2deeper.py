"""A deeper net is the same function, exactly, and batch norm does not spoil it."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mlopt_edu.distillation import deepen_, identity_layer
from mlopt_edu.models import SmallCNN, mlp

ACTIVATIONS = [nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Hardshrink, nn.Identity]


def batches(*shape, count=3):
    draw = torch.Generator().manual_seed(0)
    return [
        3 * torch.randn(size, *shape, generator=draw, dtype=torch.float64)
        for size in range(5, 5 + count)
    ]


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_vectors(activation, batch_norm):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), activation(), nn.Linear(6, 3)).double()
    inputs = batches(4)
    expected = [model(x) for x in inputs]
    deepen_(model, "1", inputs=inputs, batch_norm=batch_norm)
    assert len(list(model[1])) == 3 + batch_norm
    model.eval()
    for x, y in zip(inputs, expected, strict=True):
        torch.testing.assert_close(model(x), y, rtol=1e-12, atol=1e-12)
    # And on inputs that it was not set with.
    x = 100 * torch.randn(9, 4, dtype=torch.float64)
    short = nn.Sequential(model[0], model[1][0], model[2])
    torch.testing.assert_close(model(x), short(x), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_maps(kernel_size, batch_norm):
    torch.manual_seed(0)
    model = SmallCNN(channels=(4, 5)).double().eval()
    inputs = batches(1, 28, 28)
    expected = [model(x) for x in inputs]
    for name in ("features.1", "features.4", "features.4.0"):
        deepen_(
            model, name, inputs=inputs, kernel_size=kernel_size, batch_norm=batch_norm
        )
    for x, y in zip(inputs, expected, strict=True):
        torch.testing.assert_close(model(x), y, rtol=1e-12, atol=1e-12)


def test_batch_norm_is_the_identity_in_training_mode_on_the_same_batch():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    (x,) = batches(4, count=1)
    expected = model(x)
    deepen_(model, "1", inputs=[x], batch_norm=True)
    torch.testing.assert_close(model.train()(x), expected, rtol=1e-10, atol=1e-10)


def test_statistics_are_those_of_all_batches_together():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU()).double()
    inputs = batches(1, 6, 6)
    activations = model(torch.cat(inputs)).detach()
    deepen_(model, "1", inputs=inputs, batch_norm=True)
    norm = model[1][2]
    torch.testing.assert_close(norm.running_mean, activations.mean((0, 2, 3)))
    torch.testing.assert_close(
        norm.running_var, activations.var((0, 2, 3), correction=0)
    )


def test_a_later_layer_may_work_in_place():
    model = nn.Sequential(nn.Linear(4, 6), nn.Identity(), nn.ReLU(inplace=True))
    model = model.double()
    (x,) = batches(4, count=1)
    deepen_(model, "1", inputs=[x], batch_norm=True)
    torch.testing.assert_close(model[1][2].running_mean, model[0](x).mean(0).detach())


def test_a_dead_channel_gives_no_division_by_zero():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU()).double()
    model[0].bias.data[2] = -1e6
    inputs = batches(4)
    expected = model(inputs[0])
    deepen_(model, "1", inputs=inputs, batch_norm=True)
    torch.testing.assert_close(
        model.eval()(inputs[0]), expected, rtol=1e-12, atol=1e-12
    )


def test_the_model_keeps_mode_statistics_and_type():
    model = nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(inplace=True), nn.Linear(6, 2)
    ).bfloat16()
    before = copy.deepcopy(model.state_dict())
    deepen_(model, "2", inputs=[x.bfloat16() for x in batches(4)], batch_norm=True)
    assert all(module.training for module in model.modules())
    after = model.state_dict()
    for key, tensor in before.items():
        assert torch.equal(after[key], tensor)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert not model[2][0]._forward_hooks
    assert all(p.requires_grad for p in model.parameters())
    frozen = mlp([4, 3, 2]).eval()
    deepen_(frozen, "1", inputs=[torch.ones(1, 4)])
    assert not any(module.training for module in frozen.modules())


def test_the_new_layers_learn():
    torch.manual_seed(0)
    model = mlp([2, 8, 2])
    x = torch.randn(200, 2)
    labels = (x[:, 0] * x[:, 1] > 0).long()
    deepen_(model, "1", inputs=[x])
    before = model[1][1].weight.clone()
    start = cross_entropy(model(x), labels).item()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        cross_entropy(model(x), labels).backward()
        optimizer.step()
    assert cross_entropy(model(x), labels).item() < 0.6 * start
    assert not torch.equal(model[1][1].weight, before)


def test_identity_layers_change_nothing():
    x = torch.randn(3, 5, 4, 4)
    assert torch.equal(identity_layer(4)(x), x)
    for size in (1, 3, 7):
        assert torch.equal(identity_layer(5, kernel_size=size)(x), x)
    with pytest.raises(ValueError, match=r"^kernel_size must be odd, got 2"):
        identity_layer(3, kernel_size=2)
    with pytest.raises(ValueError, match=r"^channels must be at least 1, got 0"):
        identity_layer(0)


TWICE = nn.ReLU()


@pytest.mark.parametrize(
    ("model", "name", "inputs", "message"),
    [
        (mlp([4, 3, 2], activation=nn.Tanh), "1", batches(4), r"^name .* got Tanh\(\)"),
        (mlp([4, 3, 2], activation=nn.Sigmoid), "1", batches(4), "sigmoid and GELU do"),
        (mlp([4, 3, 2], activation=nn.GELU), "1", batches(4), "got GELU"),
        (mlp([4, 3, 2], activation=nn.LeakyReLU), "1", batches(4), "got LeakyReLU"),
        (mlp([4, 3, 2]), "0", batches(4), "got Linear"),
        (mlp([4, 3, 2]), "9", batches(4), "got nothing for '9'"),
        (nn.ReLU(), "", batches(4), "for ''"),
        (mlp([4, 3, 2]), "1", [], "^inputs must hold at least one batch"),
        (mlp([4, 3, 2]), "1", batches(5, 4), r"^activation '1' must give \(n, feat"),
        (
            nn.Sequential(nn.Linear(4, 4), TWICE, nn.Linear(4, 4), TWICE),
            "1",
            batches(4),
            "^activation '1' must run once in a pass, got 2 times",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()),
            "1",
            batches(1, 5, 5),
            "^kernel_size must be odd, got 4",
        ),
    ],
)
def test_what_cannot_be_preserved_is_refused_and_nothing_changes(
    model, name, inputs, message
):
    model = model.double()
    described = repr(model)
    with pytest.raises(ValueError, match=message):
        deepen_(model, name, inputs=inputs, kernel_size=4)
    assert repr(model) == described
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
