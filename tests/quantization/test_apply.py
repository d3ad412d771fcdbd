"""quantize_: which layers, at which places, and what it refuses without a change."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from mlopt_edu.models import CharGPT
from mlopt_edu.quantization import (
    NF4,
    Binary,
    Codebook,
    Int8Dynamic,
    Int8Linear,
    Int8Static,
    PercentileObserver,
    Ternary,
    WeightOnly,
    WeightOnlyLinear,
    is_linear,
    is_linear_or_conv,
    observe_inputs,
    quantize_,
)


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 20),
        nn.ReLU(),
        nn.Linear(20, 3),
    )


def types(model):
    return [type(module).__name__ for module in model]


def test_the_filter_chooses():
    model = net()
    quantize_(model, Int8Dynamic())
    assert types(model)[0] == "Conv2d"
    assert types(model)[4] == types(model)[6] == "Int8Linear"
    quantize_(model, WeightOnly(bits=4), filter_fn=is_linear_or_conv)
    assert types(model)[0] == "WeightOnlyConv"
    model = net()
    quantize_(model, Binary(), filter_fn=lambda name, module: name == "6")
    assert types(model)[4] == "Linear"
    assert types(model)[6] == "WeightOnlyLinear"
    assert is_linear("", nn.Linear(1, 1))
    assert not is_linear("", nn.Conv2d(1, 1, 1))


def test_a_shared_layer_is_replaced_at_all_its_places():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.Sequential(nn.ReLU(), shared), shared)
    model.again = model[1]
    quantize_(model, WeightOnly())
    assert isinstance(model[0], WeightOnlyLinear)
    assert model[0] is model[2] is model[1][1]
    assert model.again is model[1]


def test_modes_are_kept():
    model = net().train()
    model[6].eval()
    quantize_(model, WeightOnly())
    assert model[4].training
    assert not model[6].training


def test_masks_end_in_the_weights():
    class Mask(nn.Module):
        def forward(self, weight):
            return weight * (weight > 0)

    model = net()
    parametrize.register_parametrization(model[4], "weight", Mask())
    expected = model[4].weight.detach()
    quantize_(model, Codebook(bits=8, keep_zeros=True))
    assert isinstance(model[4], WeightOnlyLinear)
    assert torch.equal(model[4].weight == 0, expected == 0)


def test_a_transformer_of_torch_still_works():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(3, 5, 16)
    expected = model(x)
    for method, near in [(Int8Dynamic(), 0.03), (WeightOnly(), 0.02)]:
        small = copy.deepcopy(model)
        quantize_(small, method)
        for context in (torch.no_grad(), torch.enable_grad()):
            with context:
                found = small(x)
            assert (found - expected).norm() < near * expected.norm()


def test_a_character_model_says_the_same_in_8_bits():
    model = CharGPT(30, generator=torch.Generator().manual_seed(0)).eval()
    ids = torch.randint(30, (4, 32), generator=torch.Generator().manual_seed(1))
    expected = model(ids)
    quantize_(model, Int8Dynamic())
    with torch.no_grad():
        assert (model(ids) - expected).norm() < 0.03 * expected.norm()


def test_calibration_sees_the_inputs_of_each_layer_and_leaves_no_trace():
    model = net().train()
    model[6].eval()
    x = [torch.randn(2, 1, 8, 8) for _ in range(3)]
    layers = {"4": model[4], "6": model[6]}
    before = copy.deepcopy(model.state_dict())
    ranges = observe_inputs(model, layers, inputs=iter(x))
    assert all(torch.equal(old, model.state_dict()[key]) for key, old in before.items())
    assert model.training
    assert not model[6].training
    assert not model[4]._forward_pre_hooks
    quiet = copy.deepcopy(model).eval()
    seen = torch.cat([quiet[:4](batch) for batch in x])
    assert ranges["4"] == (0, seen.max())


def test_batches_may_be_tuples_and_observers_chosen():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x, y):
            return self.layer(x + y)

    x = torch.randn(4000, 3)
    wide, narrow = Two(), Two()
    quantize_(wide, Int8Static(inputs=[(x, x)]))
    quantize_(
        narrow,
        Int8Static(
            inputs=[(x, x)], observer=lambda: PercentileObserver(share=0.9, bins=512)
        ),
    )
    assert narrow.layer.input_scale < 0.7 * wide.layer.input_scale


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (WeightOnly, {"bits": 1}, r"^bits must lie between 2 and 8, got 1$"),
        (WeightOnly, {"bits": 9}, r"^bits must lie between 2 and 8, got 9$"),
        (WeightOnly, {"group_size": 0}, r"^group_size must be at least 1, got 0$"),
        (NF4, {"block_size": 0}, r"^block_size must be at least 1, got 0$"),
        (Ternary, {"threshold": -0.1}, r"^threshold must be at least 0, got -0.1$"),
        (Ternary, {"group_size": 0}, r"^group_size must be at least 1, got 0$"),
        (Binary, {"group_size": -1}, r"^group_size must be at least 1, got -1$"),
        (Codebook, {"bits": 0}, r"^bits must lie between 1 and 8, got 0$"),
    ],
)
def test_settings_that_are_refused(method, options, message):
    with pytest.raises(ValueError, match=message):
        method(**options)


def broken():
    model = net()
    model[6].weight.data[0, 0] = torch.nan
    return model


@pytest.mark.parametrize(
    ("model", "method", "filter_fn", "error", "message"),
    [
        (
            net(),
            Int8Dynamic(),
            lambda name, module: False,
            ValueError,
            r"^filter_fn must choose at least 1 layer, got none$",
        ),
        (
            net(),
            Int8Dynamic(),
            lambda name, module: name in ("1", "4"),
            TypeError,
            r"^filter_fn must choose linear layers and convolutions, got BatchNorm2d",
        ),
        (
            nn.Linear(2, 2),
            Int8Dynamic(),
            is_linear,
            ValueError,
            r"^model must hold the layers, got a single Linear: put it into",
        ),
        (broken(), Int8Dynamic(), is_linear, ValueError, r"^layer '6': x must be fin"),
        (broken(), WeightOnly(), is_linear, ValueError, r"^layer '6': weight must be"),
        (broken(), NF4(), is_linear, ValueError, r"^layer '6': weight must be finite"),
        (broken(), Binary(), is_linear, ValueError, r"^layer '6': weight must be fin"),
        (
            net(),
            Int8Static(inputs=[]),
            is_linear,
            ValueError,
            r"^inputs must hold at least 1 batch, got none",
        ),
        (
            net(),
            Int8Static(inputs=[torch.full((2, 1, 8, 8), torch.inf)]),
            is_linear_or_conv,
            ValueError,
            r"^x must be finite",
        ),
    ],
)
def test_what_is_refused_changes_nothing(model, method, filter_fn, error, message):
    before, mode = copy.deepcopy(model.state_dict()), model.training
    names = [type(module) for module in model.modules()]
    with pytest.raises(error, match=message):
        quantize_(model, method, filter_fn=filter_fn)
    assert names == [type(module) for module in model.modules()]
    assert model.training == mode
    for key, old in before.items():
        torch.testing.assert_close(
            model.state_dict()[key], old, rtol=0, atol=0, equal_nan=True
        )
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_layer_that_no_batch_reaches_is_named():
    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    model = Lazy()
    with pytest.raises(ValueError, match=r"not one reached 'spare'; leave it out by"):
        quantize_(model, Int8Static(inputs=[torch.ones(1, 2)]))
    quantize_(
        model,
        Int8Static(inputs=[torch.ones(1, 2)]),
        filter_fn=lambda name, module: name == "used",
    )
    assert isinstance(model.used, Int8Linear)
