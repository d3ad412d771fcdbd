"""GPTQ: the written-out rule, all roundings of tiny rows, and models."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from mlopt_edu.models import CharGPT
from mlopt_edu.quantization import (
    GPTQ,
    PerGroup,
    WeightOnly,
    WeightOnlyLinear,
    dequantize_weight,
    gptq_round,
    input_moments,
    is_linear_or_conv,
    load_quantized,
    quantize_,
    quantize_weight,
    save_quantized,
)


def normal(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def correlated(n, columns, seed=0):
    """Inputs of which a few directions make most."""
    mixing = (
        normal(columns, columns, seed=seed + 1) * torch.arange(1, columns + 1) ** -1.0
    )
    return normal(n, columns, seed=seed) @ mixing.T


def second_moment(x):
    return x.T @ x / len(x)


def error(weight, rounded, hessian):
    change = (rounded - weight).double()
    return ((change @ hessian) * change).sum().item()


def gptq_weight(weight, hessian, *, group_size=None, **options):
    size = weight.shape[1] if group_size is None else group_size
    found = gptq_round(weight, hessian, group_size=group_size, **options)
    return dequantize_weight(*found, granularity=PerGroup(size))


def brain_quantizer(weight, hessian, *, bits, size, symmetric, damping, ordered):
    """Equations 2 and 3 of the paper: the inverse is updated after each column."""
    weight, hessian = weight.numpy().copy(), hessian.numpy().copy()
    columns = len(hessian)
    hessian += damping * np.diag(hessian).mean() * np.eye(columns)
    dead = np.diag(hessian) == 0
    hessian[dead, dead] = 1
    order = np.argsort(-np.diag(hessian), kind="stable") if ordered else range(columns)
    inverse = np.linalg.inv(hessian)
    top = 2 ** (bits - 1) - 1
    bottom = -top if symmetric else -top - 1

    def grids(part):
        low, high = np.minimum(part.min(1), 0), np.maximum(part.max(1), 0)
        if symmetric:
            scale = np.maximum(-low, high) / top
            zero = np.zeros(len(part))
        else:
            scale = (high - low) / (top - bottom)
            scale[scale == 0] = 1
            zero = np.clip(bottom - np.round(low / scale), bottom, top)
        scale[scale == 0] = 1
        return scale, zero

    starts = range(0, columns, size)
    first = {s // size: grids(weight[:, s : s + size]) for s in starts}
    values = np.zeros(weight.shape, dtype=int)
    for j in order:
        if not ordered and j % size == 0:
            first[j // size] = grids(weight[:, j : j + size])
        scale, zero = first[j // size]
        values[:, j] = np.clip(np.round(weight[:, j] / scale) + zero, bottom, top)
        rest = weight[:, j] - (values[:, j] - zero) * scale
        weight -= np.outer(rest / inverse[j, j], inverse[j])
        inverse -= np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
    return values


@pytest.mark.parametrize(
    ("rows", "columns", "options"),
    [
        (5, 12, {}),
        (5, 12, {"bits": 2}),
        (4, 13, {"group_size": 4, "bits": 3}),
        (4, 13, {"group_size": 4, "symmetric": False}),
        (3, 20, {"group_size": 7, "activation_order": True, "bits": 3}),
        (3, 20, {"activation_order": True, "damping": 0.3, "symmetric": False}),
        (6, 300, {"group_size": 100}),  # blocks of 128 and groups do not coincide
        (6, 300, {"group_size": 1000, "bits": 3}),
        (1, 1, {}),
        (2, 5, {"group_size": 1}),
    ],
)
def test_integers_are_those_of_explicit_inverses(rows, columns, options):
    weight = normal(rows, columns, seed=3)
    hessian = second_moment(correlated(3 * columns, columns))
    values, scale, zero_point = gptq_round(weight, hessian, **options)
    size = min(options.get("group_size") or columns, columns)
    expected = brain_quantizer(
        weight,
        hessian,
        bits=options.get("bits", 4),
        size=size,
        symmetric=options.get("symmetric", True),
        damping=options.get("damping", 0.01),
        ordered=options.get("activation_order", False),
    )
    assert (values.numpy() == expected).all()
    groups = -(-columns // size)
    assert scale.shape == zero_point.shape == (rows * groups, 1)


def test_blocks_change_no_integer(monkeypatch):
    weight, hessian = normal(2, 60), second_moment(correlated(200, 60))
    expected = gptq_round(weight, hessian, group_size=24)
    for block in (1, 7, 1000):
        monkeypatch.setattr("mlopt_edu.quantization.gptq._BLOCK", block)
        found = gptq_round(weight, hessian, group_size=24)
        assert torch.equal(found[0], expected[0])
        torch.testing.assert_close(found[1], expected[1], rtol=1e-12, atol=0)


def test_among_all_roundings():
    found, nearest, best = [], [], []
    choices = torch.tensor(list(itertools.product([-3, -2, -1, 0, 1, 2, 3], repeat=4)))
    for seed in range(40):
        weight = normal(1, 4, seed=seed)
        hessian = second_moment(correlated(30, 4, seed=100 + seed))
        values, scale, _ = gptq_round(weight, hessian, bits=3, damping=0)
        changes = choices * scale - weight
        errors = ((changes @ hessian) * changes).sum(1)
        rounded = dequantize_weight(*quantize_weight(weight, bits=3))
        found.append(error(weight, values * scale, hessian))
        nearest.append(error(weight, rounded, hessian))
        best.append(errors.min().item())
    found, nearest, best = map(np.array, (found, nearest, best))
    assert (found >= best * (1 - 1e-9)).all()
    assert (found <= best * (1 + 1e-9)).mean() > 0.3  # often the best of 2401
    assert (found <= nearest * (1 + 1e-9)).mean() > 0.9
    assert (found < 1.6 * nearest).all()
    assert found.mean() < 0.85 * nearest.mean()
    assert found.mean() < 1.7 * best.mean()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bits": 8},
        {"bits": 3, "group_size": 5},
        {"group_size": 5, "symmetric": False},
        {"group_size": 4, "search": True},
        {"activation_order": True, "group_size": 3},
    ],
)
def test_independent_inputs_leave_the_nearest(options):
    weight = normal(6, 17)
    diagonal = normal(17, seed=2).abs().diag()
    values, scale, zero_point = gptq_round(weight, diagonal, **options)
    kept = {key: options[key] for key in ("symmetric", "search") if key in options}
    expected = quantize_weight(
        weight,
        bits=options.get("bits", 4),
        granularity=PerGroup(options.get("group_size", 17)),
        **kept,
    )
    assert torch.equal(values, expected[0])
    assert torch.equal(scale, expected[1])
    assert torch.equal(zero_point, expected[2])


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("group_size", [None, 16])
def test_output_errors_fall(bits, group_size):
    weight, hessian = normal(32, 64), second_moment(correlated(500, 64))
    groups = PerGroup(group_size or 64)
    nearest = dequantize_weight(
        *quantize_weight(weight, bits=bits, granularity=groups), granularity=groups
    )
    before = error(weight, nearest, hessian)
    for ordered in (False, True):
        options = {"bits": bits, "group_size": group_size, "activation_order": ordered}
        rounded = gptq_weight(weight, hessian, **options)
        assert error(weight, rounded, hessian) < 0.5 * before


def test_inputs_that_were_always_zero_keep_their_nearest_weights():
    weight, x = normal(5, 8), correlated(50, 8)
    x[:, [2, 7]] = 0
    nearest = quantize_weight(weight, bits=4)[0]
    for damping in (0, 0.01):
        values, _, _ = gptq_round(weight, second_moment(x), damping=damping)
        assert torch.equal(values[:, [2, 7]], nearest[:, [2, 7]])
    for damping in (0, 0.01):
        values, _, _ = gptq_round(weight, torch.zeros(8, 8), damping=damping)
        assert torch.equal(values, nearest)


def test_fewer_inputs_than_columns():
    weight, x = normal(5, 40), correlated(6, 40)
    hessian = second_moment(x)
    nearest = dequantize_weight(*quantize_weight(weight, bits=4))
    rounded = gptq_weight(weight, hessian)
    assert error(weight, rounded, hessian) < 0.1 * error(weight, nearest, hessian)
    hessian = torch.ones(2, 2)  # exactly singular
    with pytest.raises(ValueError, match=r"^hessian must be positive .* take more$"):
        gptq_round(torch.ones(1, 2), hessian, damping=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_types(dtype):
    weight = normal(6, 20).to(dtype)
    hessian = second_moment(correlated(50, 20))
    values, scale, zero_point = gptq_round(weight, hessian, bits=9)
    assert values.dtype == torch.int16
    values, scale, zero_point = gptq_round(weight, hessian.float(), symmetric=False)
    assert values.dtype == torch.int8
    assert scale.dtype == torch.promote_types(dtype, torch.float32)
    assert zero_point.dtype == torch.int32
    model = nn.Sequential(nn.Linear(20, 6)).to(dtype)
    x = correlated(50, 20).to(dtype)
    quantize_(model, GPTQ(inputs=[x], group_size=7))
    assert model(x).dtype == dtype


@pytest.mark.parametrize(
    ("shape", "hessian", "options", "message"),
    [
        ((2, 3), torch.eye(2), {}, r"^hessian must have shape \(3, 3\) for a weight"),
        ((2, 2), torch.eye(2), {"bits": 1}, r"^bits must lie between 2 and 16, got 1$"),
        ((2, 2), torch.eye(2), {"group_size": 0}, r"^group_size must be at least 1"),
        ((2, 2), torch.eye(2), {"damping": -1}, r"^damping must be at least 0, got -1"),
        ((2, 2), torch.eye(2) / 0, {}, r"^weight and hessian must be finite"),
    ],
)
def test_what_is_refused(shape, hessian, options, message):
    with pytest.raises(ValueError, match=message):
        gptq_round(torch.ones(shape), hessian, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 9}, r"^bits must lie between 2 and 8, got 9$"),
        ({"group_size": 0}, r"^group_size must be at least 1, got 0$"),
        ({"damping": float("nan")}, r"^damping must be at least 0, got nan$"),
    ],
)
def test_settings_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GPTQ(inputs=[], **options)


class Reversed(nn.Module):
    """Layers that are called in another order than they are named, one twice."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(12, 3)
        self.first = nn.Linear(10, 12)
        self.middle = nn.Linear(12, 12)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.last(torch.relu(self.middle(torch.relu(self.middle(x)))))


def test_each_layer_sees_the_inputs_from_those_before_it():
    torch.manual_seed(0)
    model = Reversed().double().train()
    batches = [correlated(40, 10, seed=s) for s in range(3)]
    by_hand = copy.deepcopy(model).eval()
    for name in ("first", "middle", "last"):
        layer, seen = by_hand.get_submodule(name), []
        handle = layer.register_forward_pre_hook(
            lambda module, args, seen=seen: seen.append(args[0])
        )
        with torch.no_grad():
            for x in batches:
                by_hand(x)
            handle.remove()
            hessian = second_moment(torch.cat(seen))
            layer.weight.copy_(gptq_weight(layer.weight, hessian, bits=3, group_size=5))
    quantize_(model, GPTQ(inputs=iter(batches), bits=3, group_size=5))
    assert model.training
    for name in ("first", "middle", "last"):
        layer = model.get_submodule(name)
        assert isinstance(layer, WeightOnlyLinear)
        assert not layer._forward_pre_hooks
        expected = by_hand.get_submodule(name).weight
        torch.testing.assert_close(layer.weight, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(6, 8, 3, groups=2, padding=1, stride=2),
        nn.Conv2d(6, 4, (2, 3), dilation=2, padding="same", bias=False),
        nn.Conv2d(6, 6, 3, groups=6),
    ],
)
def test_convolutions_by_their_windows(conv):
    torch.manual_seed(0)
    conv = copy.deepcopy(conv).double()
    x = normal(4, 6, 9, 9) + 2 * normal(4, 6, 1, 1, seed=1)
    model = nn.Sequential(conv)
    padding = (1, 1)
    if conv.padding == "same":
        x, padding = functional.pad(x, (2, 2, 1, 1)), (0, 0)
        conv.padding = (0, 0)
    elif conv.padding == (0, 0):
        padding = (0, 0)
    columns = functional.unfold(
        x, conv.kernel_size, conv.dilation, padding, conv.stride
    ).movedim(1, 2)
    weight, chunks = conv.weight.detach(), []
    for rows, part in zip(
        weight.flatten(1).chunk(conv.groups),
        columns.flatten(0, 1).chunk(conv.groups, dim=1),
        strict=True,
    ):
        chunks.append(gptq_weight(rows, second_moment(part), group_size=4))
    quantize_(model, GPTQ(inputs=[x], group_size=4), filter_fn=is_linear_or_conv)
    expected = torch.cat(chunks).reshape(weight.shape)
    torch.testing.assert_close(model[0].weight, expected, rtol=1e-9, atol=1e-9)


def test_moments_are_means_over_all_inputs():
    model = nn.Sequential(nn.Linear(4, 2)).double()
    x = normal(3, 5, 4)
    found = input_moments(model, {"0": model[0]}, inputs=[x[:1], (x[1:],)])["0"]
    torch.testing.assert_close(found.hessian[0], second_moment(x.flatten(0, 1)))
    torch.testing.assert_close(found.magnitude[0], x.abs().mean((0, 1)))


def test_a_model_keeps_more_of_its_outputs(tmp_path):
    generator = torch.Generator().manual_seed(0)
    model = CharGPT(20, width=32, layers=2, generator=generator).eval()
    for weight in model.parameters():
        weight.data *= 3  # far from linear
    ids = torch.randint(20, (24, 24), generator=generator)
    fresh, expected = copy.deepcopy(model), model(ids[16:]).detach()
    errors = {}
    for name, method in {
        "nearest": WeightOnly(bits=3, group_size=16),
        "gptq": GPTQ(inputs=[ids[:8], ids[8:16]], bits=3, group_size=16),
    }.items():
        rounded = copy.deepcopy(model)
        quantize_(rounded, method)
        with torch.no_grad():
            errors[name] = (rounded(ids[16:]) - expected).norm()
    assert errors["gptq"] < 0.8 * errors["nearest"]
    save_quantized(tmp_path / "model", rounded)
    load_quantized(tmp_path / "model", fresh)
    assert torch.equal(fresh(ids), rounded(ids))


def test_masks_end_in_the_weights():
    class Mask(nn.Module):
        def forward(self, weight):
            return weight * (weight > 0)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    parametrize.register_parametrization(model[0], "weight", Mask())
    quantize_(model, GPTQ(inputs=[torch.randn(9, 6)], bits=8))
    assert not parametrize.is_parametrized(model[0])


@pytest.mark.parametrize(
    ("inputs", "weight", "message"),
    [
        ([], 1.0, r"^inputs must hold at least 1 batch, got none"),
        ([torch.full((2, 10), torch.inf)], 1.0, r"^layer 'first': inputs must be fini"),
        ([torch.ones(2, 10)], torch.nan, r"^layer 'middle': .*must be finite, got inf"),
    ],
)
def test_a_failed_call_changes_nothing(inputs, weight, message):
    model = Reversed()
    model.middle.weight.data[0, 0] = weight
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        quantize_(model, GPTQ(inputs=inputs))
    assert isinstance(model.first, nn.Linear)
    for key, old in before.items():
        new = model.state_dict()[key]
        torch.testing.assert_close(new, old, rtol=0, atol=0, equal_nan=True)
