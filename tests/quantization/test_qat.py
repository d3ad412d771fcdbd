"""Training with quantized weights, and the small layers at its end."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from mlopt_edu.evaluation import bytes_of
from mlopt_edu.quantization import (
    NF4,
    Binary,
    Codebook,
    Int8Conv,
    Int8Dynamic,
    Int8Linear,
    LearnedStep,
    Ternary,
    WeightOnly,
    WeightOnlyConv,
    WeightOnlyLinear,
    finish_training_,
    fold_batch_norms_,
    is_linear,
    load_quantized,
    quantize_,
    save_quantized,
    train_quantized_,
)


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, stride=2, groups=3, padding=1, padding_mode="reflect"),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(54, 12, bias=False),
        nn.ReLU(),
        nn.Linear(12, 3),
    )


LAYERS = (0, 2, 5, 7)


def data(n=16, dtype=torch.float32):
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, 2, 6, 6, generator=generator)
    return x.to(dtype), torch.randint(0, 3, (n,), generator=generator)


def train(model, optimizer=None, steps=5):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x, y = data(dtype=next(model.parameters()).dtype)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


class Mask(nn.Module):
    """A live mask, as pruning registers one."""

    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight):
        return torch.where(self.mask, weight, 0)


def mask_(model):
    for place in LAYERS:
        mask = torch.rand_like(model[place].weight) > 0.6
        parametrize.register_parametrization(model[place], "weight", Mask(mask))


METHODS = {
    "2 bits": WeightOnly(bits=2),
    "4 bits, groups": WeightOnly(bits=4, group_size=5),
    "3 bits, affine": WeightOnly(bits=3, symmetric=False),
    "NF4": NF4(block_size=16),
    "NF4, double": NF4(double=True),
    "ternary": Ternary(),
    "binary": Binary(),
    "codebook": Codebook(bits=2),
    "LSQ": LearnedStep(bits=2),
    "LSQ, groups": LearnedStep(bits=4, group_size=7),
}


@pytest.mark.parametrize("name", METHODS)
def test_what_was_trained_is_what_is_packed(name, tmp_path):
    model, float_model = net(), net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train_quantized_(model, METHODS[name])
    train(model, steps=2)
    model.eval()
    x, _ = data()
    weights = {place: model[place].weight.detach().clone() for place in LAYERS}
    expected = model(x)
    for place in LAYERS:
        real = model[place].parametrizations.weight.original
        assert not torch.equal(real, before[f"{place}.weight"])
    finish_training_(model)
    for place in LAYERS:
        assert torch.equal(model[place].weight, weights[place])
        assert type(model[place]) in (WeightOnlyConv, WeightOnlyLinear)
        assert not model[place].training
    torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-5)
    assert not list(model.parameters())
    save_quantized(tmp_path / "model", model)
    load_quantized(tmp_path / "model", float_model)
    assert torch.equal(float_model.eval()(x), model(x))
    assert bytes_of(float_model) < 0.6 * bytes_of(net())


@pytest.mark.parametrize("name", ["2 bits", "NF4", "binary", "codebook"])
def test_the_first_pass_is_that_of_quantize(name):
    model, rounded = net(), net()
    train_quantized_(model, METHODS[name], filter_fn=is_linear)
    quantize_(rounded, METHODS[name], filter_fn=is_linear)
    x, _ = data()
    assert torch.equal(model(x), rounded(x))
    assert not parametrize.is_parametrized(model[0])
    finish_training_(model)
    for key, value in rounded.state_dict().items():
        assert torch.equal(model.state_dict()[key], value)


def test_the_gradient_is_that_at_the_rounded_weight():
    model, rounded = net(), net()
    train_quantized_(model, WeightOnly(bits=2))
    x, y = data()
    for place in LAYERS:
        rounded[place].weight.data = model[place].weight.detach()
    for each in (model, rounded):
        functional.cross_entropy(each(x), y).backward()
    for place in LAYERS:
        original = model[place].parametrizations.weight.original
        torch.testing.assert_close(original.grad, rounded[place].weight.grad)
        assert original.grad.count_nonzero()


def test_without_the_estimator_nothing_learns():
    class Rounded(nn.Module):
        def forward(self, weight):
            return torch.round(weight / 0.1) * 0.1

    layer = nn.Linear(4, 2)
    parametrize.register_parametrization(layer, "weight", Rounded())
    layer(torch.ones(3, 4)).square().sum().backward()
    assert not layer.parametrizations.weight.original.grad.count_nonzero()


def regression(seed):
    """24 inputs that are nearly 6, so that weights can make up for each other."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(200, 6, generator=generator)
    inputs = inputs @ torch.randn(6, 24, generator=generator) / 6**0.5
    inputs = inputs + 0.1 * torch.randn(200, 24, generator=generator)
    target = inputs @ torch.randn(24, 5, generator=generator)
    return inputs, target / target.std()


@pytest.mark.parametrize(
    ("nearest", "trained", "share"),
    [
        (WeightOnly(bits=2), WeightOnly(bits=2), 0.8),
        (Ternary(), Ternary(), 0.6),
        (WeightOnly(bits=2), LearnedStep(bits=2), 0.15),
    ],
)
def test_at_2_bits_training_beats_rounding_to_nearest(nearest, trained, share):
    """Over problems drawn at random, from each one's best real weights."""
    before, after = [], []
    for seed in range(3):
        x, target = regression(seed)
        rounded = nn.Sequential(nn.Linear(24, 5, bias=False))
        rounded[0].weight.data = torch.linalg.lstsq(x, target).solution.T.contiguous()
        model = copy.deepcopy(rounded)
        quantize_(rounded, nearest)
        train_quantized_(model, trained)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 80)
        for _ in range(80):
            optimizer.zero_grad()
            functional.mse_loss(model(x), target).backward()
            optimizer.step()
            cosine.step()
        finish_training_(model)
        before.append(functional.mse_loss(rounded(x), target).item())
        after.append(functional.mse_loss(model(x), target).item())
    assert all(one < other for one, other in zip(after, before, strict=True))
    assert sum(after) < share * sum(before)


@pytest.mark.parametrize("method", [WeightOnly(bits=4), NF4(), LearnedStep(bits=4)])
def test_masks_stay_alive(method):
    model = net()
    mask_(model)
    zeros = {place: model[place].weight == 0 for place in LAYERS}
    train_quantized_(model, method)
    train(model)
    weights = {place: model[place].weight.detach().clone() for place in LAYERS}
    finish_training_(model)
    for place in LAYERS:
        assert torch.equal(model[place].weight, weights[place])
        assert (model[place].weight[zeros[place]] == 0).all()


def test_a_mask_of_several_originals():
    model = nn.Sequential(nn.Linear(6, 4))
    nn.utils.parametrizations.weight_norm(model[0])
    train_quantized_(model, WeightOnly(bits=4))
    weight = model[0].weight.detach().clone()
    finish_training_(model)
    assert torch.equal(model[0].weight, weight)


@pytest.mark.parametrize(
    "method",
    [WeightOnly(), WeightOnly(bits=4), Ternary(), LearnedStep(bits=8), LearnedStep()],
    ids=repr,
)
def test_inputs_in_8_bits(method, tmp_path):
    model, fresh = net(), net(seed=1)
    train_quantized_(model, method, input_bits=8)
    train(model, steps=12).eval()
    x, _ = data()
    x = x * 2  # beyond what training saw, so that it clips
    weights = {place: model[place].weight.detach().clone() for place in LAYERS}
    with torch.no_grad():
        expected = model(x)
    finish_training_(model)
    kinds = [type(model[place]) for place in LAYERS]
    assert kinds == [Int8Conv, Int8Conv, Int8Linear, Int8Linear]
    for place in LAYERS:
        assert torch.equal(model[place].weight, weights[place])
        assert model[place].input_scale is not None
    # One integer of an input may fall to the other side of a tie.
    step = max(
        (model[i].input_scale * model[i].weight.abs().max()).item() for i in LAYERS
    )
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=step / 2)
    assert (model(x) - expected).abs().median() < 1e-5
    save_quantized(tmp_path / "model", model)
    load_quantized(tmp_path / "model", fresh)
    assert torch.equal(fresh.eval()(x), model(x))


def test_the_range_of_inputs():
    model = nn.Sequential(nn.Linear(1, 1, bias=False)).eval()
    train_quantized_(model, WeightOnly(), input_bits=8)
    inputs = model[0].input_quantizer
    x = torch.tensor([[0.3], [-0.1]])
    assert torch.equal(inputs(x), x)  # nothing is known yet
    model.train()
    for step in range(10):
        model(torch.tensor([[step + 1.0], [-2.0 * step]]))
    torch.testing.assert_close(inputs.high, torch.tensor(5.5))  # the mean so far
    torch.testing.assert_close(inputs.low, torch.tensor(-9.0))
    model(torch.tensor([[15.5], [1.0]]))
    torch.testing.assert_close(inputs.high, torch.tensor(6.5))  # a tenth of the way
    torch.testing.assert_close(inputs.low, torch.tensor(-8.1))  # ranges hold 0
    model(torch.zeros(0, 1))
    model.eval()
    model(torch.full((1, 1), 1e6))
    assert inputs.batches == 11
    torch.testing.assert_close(inputs.high, torch.tensor(6.5))
    grid = inputs(torch.linspace(-20, 20, 4001)).unique()
    assert len(grid) == 256
    assert 0 in grid


def test_an_optimizer_made_before_or_after():
    for method, before in ((WeightOnly(bits=3), True), (LearnedStep(bits=3), False)):
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        parameters = {id(parameter) for parameter in model.parameters()}
        train_quantized_(model, method)
        new = [p for p in model.parameters() if id(p) not in parameters]
        assert parameters <= {id(parameter) for parameter in model.parameters()}
        assert (not new) == before
        if not before:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        start = [p.detach().clone() for p in model.parameters()]
        train(model, optimizer, steps=2)
        for old, parameter in zip(start, model.parameters(), strict=True):
            assert not torch.equal(old, parameter)


@pytest.mark.parametrize("method", [WeightOnly(bits=3), LearnedStep(bits=3)])
def test_a_copy_and_a_state_go_on_alike(method):
    model, fresh = net(), net(seed=1)
    for each in (model, fresh):
        train_quantized_(each, method, input_bits=8)
    train(model)
    copied = copy.deepcopy(model)
    fresh.load_state_dict(model.state_dict())
    state = copy.deepcopy(model.state_dict())
    for each in (copied, fresh):
        train(each, steps=3)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key])  # the copy has all of its own
    train(model, steps=3)
    x, _ = data()
    for each in (model, copied, fresh):
        finish_training_(each.eval())
    assert torch.equal(model(x), copied(x))
    assert torch.equal(model(x), fresh(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("method", [WeightOnly(bits=4), LearnedStep(), Ternary()])
def test_types(method, dtype):
    model = net().to(dtype)
    train_quantized_(model, method)
    train(model, steps=2).eval()
    x, _ = data(dtype=dtype)
    weight, expected = model[7].weight.detach().clone(), model(x)
    finish_training_(model)
    assert model[7].weight.dtype is dtype
    assert torch.equal(model[7].weight, weight)
    torch.testing.assert_close(model(x), expected)


def test_tied_weights_and_shared_layers():
    shared = nn.Linear(6, 6)
    tied = nn.Linear(6, 6)
    embedding = nn.Embedding(6, 6)
    embedding.weight = tied.weight
    model = nn.Sequential(embedding, shared, nn.ReLU(), shared, tied)
    train_quantized_(model, WeightOnly(bits=3), input_bits=8)
    assert tied.parametrizations.weight.original is embedding.weight
    tokens = torch.arange(6)
    start = embedding.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    functional.cross_entropy(model(tokens), tokens).backward()
    optimizer.step()
    assert not torch.equal(embedding.weight, start)
    assert shared.input_quantizer.batches == 2
    finish_training_(model)
    assert model[1] is model[3]
    assert type(model[4]) is Int8Linear


def test_folding_comes_first():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    model[1].running_var.uniform_(0.1, 4)
    x, _ = data()
    fold_batch_norms_(model.eval())
    train_quantized_(model, WeightOnly(bits=3))
    expected = model(x)
    finish_training_(model)
    torch.testing.assert_close(model(x), expected)
    assert type(model[0]) is WeightOnlyConv


@pytest.mark.parametrize(
    ("method", "options", "error", "match"),
    [
        (Int8Dynamic(), {}, TypeError, "one with pack.*got Int8Dynamic"),
        (WeightOnly(), dict(input_bits=4), ValueError, "8 or None, got 4"),
        (NF4(), dict(input_bits=8), ValueError, "layer '0' would not have"),
        (WeightOnly(group_size=4), dict(input_bits=8), ValueError, "leave out group"),
        (WeightOnly(symmetric=False), dict(input_bits=8), ValueError, "zero points"),
        (WeightOnly(), dict(filter_fn=lambda *_: False), ValueError, "at least 1"),
        (WeightOnly(), dict(filter_fn=lambda n, m: n == "1"), TypeError, "got ReLU"),
    ],
)
def test_what_is_refused_leaves_the_model_as_it_was(method, options, error, match):
    model = net()
    names = list(model.state_dict())
    with pytest.raises(error, match=match):
        train_quantized_(model, method, **options)
    assert list(model.state_dict()) == names
    assert [type(model[place]) for place in LAYERS] == [nn.Conv2d] * 2 + [nn.Linear] * 2


def test_a_weight_that_is_not_finite():
    model = net()
    model[7].weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="layer '7': weight must be finite"):
        train_quantized_(model, WeightOnly())
    assert not any(parametrize.is_parametrized(model[place]) for place in LAYERS)


def test_verbs_in_the_wrong_order():
    model = net()
    with pytest.raises(ValueError, match="call train_quantized_ first"):
        finish_training_(model)
    train_quantized_(model, WeightOnly(bits=4), input_bits=8)
    with pytest.raises(ValueError, match="layer '0' must not be quantized already"):
        train_quantized_(model, WeightOnly(bits=2))
    with pytest.raises(ValueError, match="layer '0' must have seen inputs in training"):
        finish_training_(model)
    train(model)
    parametrize.register_parametrization(model[7], "weight", nn.Identity())
    with pytest.raises(ValueError, match=r"layer '7' must be quantized last.*Identity"):
        finish_training_(model)
    assert type(model[0]) is not Int8Conv
