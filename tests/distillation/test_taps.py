"""Taps see what the layers give out, carry gradients, and leave no trace."""

import copy

import pytest
import torch
from torch import nn

from mlopt_edu.distillation import Taps, hint_loss
from mlopt_edu.models import CharGPT, SmallCNN


def hooks_of(model):
    return [len(module._forward_hooks) for module in model.modules()]


def test_activations_are_the_layers_outputs():
    model, images = SmallCNN(), torch.randn(2, 1, 28, 28)
    expected = {}
    x = images
    for index, layer in enumerate(model.features):
        x = layer(x)
        expected[f"features.{index}"] = x
    names = ["features.3", "features.0", "features.5"]
    with Taps(model, names) as taps:
        logits = model(images)
    assert list(taps) == names
    assert len(taps) == 3
    for name in names:
        torch.testing.assert_close(taps[name], expected[name])
    torch.testing.assert_close(model.classifier(taps["features.5"].flatten(1)), logits)


def test_a_loss_on_a_tap_trains_the_layers_before_it():
    model, images = SmallCNN(), torch.randn(2, 1, 28, 28)
    with Taps(model, ["features.2"]) as taps:
        model(images)
        hint_loss(taps["features.2"], torch.zeros_like(taps["features.2"])).backward()
    grads = {name for name, p in model.named_parameters() if p.grad is not None}
    assert grads == {"features.0.weight", "features.0.bias"}


def test_each_pass_replaces_the_one_before_and_the_block_ends_it():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    x, y, z = torch.randn(3, 4, 2)
    with Taps(model, ["0"]) as taps:
        model(x)
        torch.testing.assert_close(taps["0"], model[0](x))
        model(y)
        after = taps["0"]
        torch.testing.assert_close(after, model[0].forward(y))
    model(z)
    assert taps["0"] is after
    assert hooks_of(model) == [0, 0, 0]


def test_hooks_are_gone_when_the_block_raises():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="on purpose"), Taps(model, ["0", "1", ""]):
        raise RuntimeError("on purpose")
    assert hooks_of(model) == [0, 0, 0]
    torch.testing.assert_close(model.state_dict(), before)


def test_the_model_itself_recurrent_layers_and_transformers_are_tapped():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(3, 4, batch_first=True)

        def forward(self, x):
            return self.gru(x)[0].sum(1)

    model = Recurrent()
    with Taps(model, ["gru", ""]) as taps:
        output = model(torch.randn(2, 5, 3))
    assert taps["gru"].shape == (2, 5, 4)
    assert taps[""] is output
    gpt = CharGPT(11, width=8, heads=2, layers=3)
    with Taps(gpt, [f"blocks.{i}" for i in range(3)]) as taps, torch.no_grad():
        gpt(torch.randint(11, (2, 6)))
    assert [tap.shape for tap in taps.values()] == [(2, 6, 8)] * 3


def test_a_module_with_two_names_can_be_tapped_by_both():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    x = torch.randn(3, 2)
    with Taps(model, ["2"]) as taps:
        output = model(x)
    torch.testing.assert_close(taps["2"], output)


def test_an_activation_that_was_overwritten_is_not_passed_off_as_whole():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True))
    with Taps(model, ["0", "1"]) as taps:
        output = model(torch.randn(4, 2))
    torch.testing.assert_close(taps["1"], output)
    with pytest.raises(RuntimeError, match=r"^the activation of '0' must .* inplace"):
        taps["0"]


def test_wrong_names_list_close_ones():
    model = SmallCNN()
    with pytest.raises(ValueError, match=r"got 'feature.0'; close are .*'features.0'"):
        Taps(model, ["feature.0"])
    with pytest.raises(ValueError, match=r"got 'zzz'; close are 'features', "):
        Taps(model, ["zzz"])
    with pytest.raises(ValueError, match=r"got 'x'; it has no layers"):
        Taps(nn.ReLU(), ["x"])
    with pytest.raises(ValueError, match=r"^names must hold at least one name"):
        Taps(model, [])
    with pytest.raises(ValueError, match=r"^names must be a list of names, got the st"):
        Taps(model, "classifier")


def test_what_has_not_run_or_is_not_tapped_is_refused():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with Taps(model, ["0"]) as taps:
        with pytest.raises(KeyError, match=r"layer '0' must run before"):
            taps["0"]
        model(torch.ones(1, 2))
        with pytest.raises(KeyError, match=r"got '1'; close are '0'"):
            taps["1"]


def test_what_gives_no_tensor_is_refused():
    class Text(nn.Module):
        def forward(self, x):
            return "text"

    model = nn.Sequential(Text())
    message = r"^layer '0' must return a tensor .* got str"
    with Taps(model, ["0"]), pytest.raises(TypeError, match=message):
        model(torch.ones(1))
    assert hooks_of(model) == [0, 0]
