"""Frozen layers stay frozen, heads are new, and step sizes fall towards the input."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mlopt_edu.distillation import (
    discriminative_groups,
    freeze_,
    replace_head_,
    unfreeze_,
)
from mlopt_edu.models import SmallCNN


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Linear(4, 6),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.BatchNorm1d(6, affine=False),
        )
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.features(x))


def in_features(name, module):
    return name.startswith("features.")


def train(model, steps=3):
    model.train()
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(params, lr=0.1, weight_decay=0.1)
    draw = torch.Generator().manual_seed(0)
    for _ in range(steps):
        optimizer.zero_grad()
        x = 5 + torch.randn(16, 4, generator=draw)
        cross_entropy(model(x), torch.arange(16) % 3).backward()
        optimizer.step()


def test_frozen_layers_do_not_move_and_the_rest_does():
    model = Net()
    before = copy.deepcopy(model.state_dict())
    freeze_(model, in_features)
    train(model)
    after = model.state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved == {"head.weight", "head.bias"}


def test_statistics_move_where_only_gradients_are_stopped():
    model = Net()
    before = copy.deepcopy(model.features[1].running_mean)
    model.features.requires_grad_(False)
    train(model)
    assert not torch.equal(before, model.features[1].running_mean)


def test_unfreezing_is_the_way_back():
    model, plain = Net(), Net()
    plain.load_state_dict(model.state_dict())
    freeze_(model, in_features)
    freeze_(model, in_features)  # Twice is once.
    unfreeze_(model, in_features)
    assert model.features[1].training
    assert not any(module._forward_pre_hooks for module in model.modules())
    train(model)
    train(plain)
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=0, atol=0)


def test_a_frozen_model_stays_an_ordinary_module(tmp_path):
    model = Net()
    freeze_(model, in_features)
    twin = copy.deepcopy(model)
    train(twin)
    assert not twin.features[1].training
    torch.testing.assert_close(
        twin.features.state_dict(), model.features.state_dict(), rtol=0, atol=0
    )
    torch.save(model, tmp_path / "model.pt")
    again = torch.load(tmp_path / "model.pt", weights_only=False)
    train(again)
    assert not again.features[1].training
    unfreeze_(twin, in_features)
    train(twin)
    assert not torch.equal(
        twin.features[1].running_mean, model.features[1].running_mean
    )


def test_a_container_alone_holds_nothing_to_freeze():
    model = Net()
    for verb in (freeze_, unfreeze_):
        with pytest.raises(ValueError, match=r"^filter_fn must choose a module with"):
            verb(model, lambda name, module: name in ("features", "features.2"))
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("bias", [True, False])
def test_the_last_layer_is_replaced_by_default(bias):
    model = nn.Sequential(
        nn.Conv1d(1, 4, 3), nn.Flatten(), nn.Linear(8, 10, bias=bias).double()
    )
    model.eval()
    replace_head_(model, 3, generator=torch.Generator().manual_seed(0))
    head = model[2]
    assert (head.in_features, head.out_features) == (8, 3)
    assert (head.bias is not None) == bias
    assert head.weight.dtype == torch.float64
    assert not head.training
    assert 0.8 / math.sqrt(8) < head.weight.abs().max() <= 1 / math.sqrt(8)
    again = copy.deepcopy(model)
    replace_head_(again, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again[2].weight, head.weight)


def test_heads_are_replaced_by_name_and_inside_modules():
    model = SmallCNN()
    replace_head_(model, 4)
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 4)
    replace_head_(model, 8, name="features.3")
    conv = model.features[3]
    assert (conv.out_channels, conv.in_channels, conv.padding) == (8, 16, (1, 1))
    assert conv(torch.zeros(1, 16, 9, 9)).shape == (1, 8, 9, 9)


@pytest.mark.parametrize(
    ("model", "classes", "name", "message"),
    [
        (SmallCNN(), 0, None, "^classes must be at least 1, got 0"),
        (SmallCNN(), 2, "head", "^name must be .* got 'head'; it has 'features.0', "),
        (SmallCNN(), 2, "features.1", "^name must be that of a linear layer"),
        (nn.Sequential(nn.ReLU()), 2, None, "got None; it has none"),
        (nn.Linear(2, 2), 2, None, "got None; it has none"),
        (
            nn.Sequential(nn.Conv2d(4, 4, 1, groups=2)),
            2,
            None,
            "^head '0' must have groups=1, got 2",
        ),
    ],
)
def test_what_is_no_head_is_refused(model, classes, name, message):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        replace_head_(model, classes, name=name)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_steps_fall_towards_the_input():
    model = Net()
    groups = discriminative_groups(
        model, ["features.0", "features.1", "head"], lr=0.26, factor=2.6
    )
    assert [group["lr"] for group in groups] == pytest.approx([0.26 / 6.76, 0.1, 0.26])
    assert [len(group["params"]) for group in groups] == [2, 2, 2]
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(groups)
    for param in model.parameters():
        param.grad = torch.ones_like(param)
    optimizer.step()
    for name, lr in (("features.0", 0.26 / 6.76), ("head", 0.26)):
        moved = before[f"{name}.bias"] - model.state_dict()[f"{name}.bias"]
        torch.testing.assert_close(moved, torch.full_like(moved, lr))


def test_frozen_parts_keep_their_place_and_have_no_group():
    model = Net()
    freeze_(model, lambda name, module: name == "features.0")
    groups = discriminative_groups(
        model, ["features.0", "features.1", "head"], lr=1.0, factor=2
    )
    assert [group["lr"] for group in groups] == [0.5, 1.0]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["features"], {}, "in exactly one part, got none for 'head.weight'"),
        (
            ["features", "features.0", "head"],
            {},
            "got 'features', 'features.0' for 'features.0.weight'",
        ),
        (["feat", "head"], {}, "got none for 'features.0.weight'"),
        (["features", "head"], {"lr": 0.0}, "^lr must be finite and above 0"),
        (
            ["features", "head"],
            {"factor": 0.5},
            "^factor must be finite and at least 1",
        ),
    ],
)
def test_groups_that_do_not_fit_are_refused(names, options, message):
    with pytest.raises(ValueError, match=message):
        discriminative_groups(Net(), names, **({"lr": 0.1} | options))
