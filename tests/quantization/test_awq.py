"""AWQ: the search on the inputs themselves, and models."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from mlopt_edu.models import CharGPT
from mlopt_edu.quantization import (
    AWQ,
    ScaledInput,
    WeightOnly,
    WeightOnlyLinear,
    awq_scale,
    is_linear_or_conv,
    load_quantized,
    quantize_,
    save_quantized,
)


def normal(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def inputs_with_outliers(n, columns, *, seed=0, times=30):
    x = normal(n, columns, seed=seed)
    x[:, :: columns // 3] *= times
    return x


def moments(x):
    return x.T @ x / len(x), x.abs().mean(0)


def round_in_groups(weight, *, bits, size, symmetric):
    """Round by NumPy, group after group."""
    rounded = np.empty_like(weight)
    top = 2 ** (bits - 1) - 1
    for start in range(0, weight.shape[1], size):
        part = weight[:, start : start + size]
        high = np.maximum(part.max(1, keepdims=True), 0)
        low = np.minimum(part.min(1, keepdims=True), 0)
        if symmetric:
            scale, zero, bottom = np.maximum(high, -low) / top, 0, -top
        else:
            bottom = -top - 1
            scale = (high - low) / (2**bits - 1)
            zero = bottom - np.round(low / scale)
        whole = np.clip(np.round(part / scale) + zero, bottom, top)
        rounded[:, start : start + size] = (whole - zero) * scale
    return rounded


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 24),
        ({"bits": 3, "group_size": 8}, 8),
        ({"bits": 2, "group_size": 10, "grid": 7}, 10),
        ({"bits": 3, "group_size": None, "symmetric": False}, 24),
    ],
)
def test_the_best_of_the_grid_on_the_inputs_themselves(options, size):
    weight, x = normal(6, 24, seed=4), inputs_with_outliers(90, 24)
    found = awq_scale(weight, *moments(x), **options)
    w, batch = weight.numpy(), x.numpy()
    magnitude, grid = np.abs(batch).mean(0), options.get("grid", 20)
    scales, errors = [], []
    for step in range(grid + 1):
        scale = magnitude ** (step / grid)
        rounded = round_in_groups(
            w * scale,
            bits=options.get("bits", 4),
            size=size,
            symmetric=options.get("symmetric", True),
        )
        scales.append(scale)
        errors.append(((batch / scale @ rounded.T - batch @ w.T) ** 2).sum())
    best = scales[int(np.argmin(errors))]
    expected = torch.from_numpy(best / np.sqrt(best.max() * best.min()))
    torch.testing.assert_close(found, expected)
    assert found.max() * found.min() == pytest.approx(1)
    assert min(errors) < 0.7 * errors[0]  # alpha 0 is plain rounding


def output_error(model, weight, x):
    return (model(x) - x @ weight.T).norm().item()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("group_size", [None, 16, 20])
def test_never_worse_than_the_nearest_on_what_it_saw(bits, group_size):
    for seed, times in [(0, 1), (1, 3), (2, 30)]:
        weight = normal(12, 48, seed=10 + seed)
        x = inputs_with_outliers(64, 48, seed=seed, times=times)
        errors = []
        for method in (
            WeightOnly(bits=bits, group_size=group_size),
            AWQ(inputs=[x], bits=bits, group_size=group_size),
        ):
            model = nn.Sequential(nn.Linear(48, 12, bias=False)).double()
            model[0].weight.data = weight.clone()
            quantize_(model, method)
            errors.append(output_error(model, weight, x))
        assert errors[1] <= errors[0] * (1 + 1e-9)
        if times == 30 and bits < 8:
            assert errors[1] < 0.6 * errors[0]


def test_inputs_that_were_always_zero_keep_weights():
    weight, x = normal(5, 12), inputs_with_outliers(50, 12)
    x[:, [1, 5]] = 0
    scale = awq_scale(weight, *moments(x))
    assert (scale > 0).all()
    assert scale.isfinite().all()
    ones = awq_scale(weight, torch.zeros(12, 12), torch.zeros(12))
    assert torch.equal(ones, torch.ones(12, dtype=torch.float64))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            (torch.ones(2, 3), torch.eye(2), torch.ones(3)),
            {},
            r"^weight, hessian and ma",
        ),
        ((torch.ones(2, 2), torch.eye(2), torch.ones(3)), {}, r"\(2, 2\) and \(3,\)$"),
        (
            (torch.ones(2), torch.eye(2), torch.ones(2)),
            {},
            r"must have shapes \(m, n\)",
        ),
        (
            (torch.ones(2, 2), torch.eye(2), torch.ones(2) / 0),
            {},
            r"^weight, hessian and magnitude must be finite, got inf or nan$",
        ),
        (
            (torch.ones(2, 2), torch.eye(2), torch.ones(2)),
            {"grid": 0},
            r"^grid must be at least 1, got 0$",
        ),
        (
            (torch.ones(2, 2), torch.eye(2), torch.ones(2)),
            {"bits": 1},
            r"^bits must lie between 2 and 16, got 1$",
        ),
    ],
)
def test_what_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        awq_scale(*arguments, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 9}, r"^bits must lie between 2 and 8, got 9$"),
        ({"group_size": 0}, r"^group_size must be at least 1, got 0$"),
        ({"grid": 0}, r"^grid must be at least 1, got 0$"),
    ],
)
def test_settings_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AWQ(inputs=[], **options)


class Net(nn.Module):
    """A norm that two layers share, a ReLU between layers, and a GELU."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.left, self.right = nn.Linear(16, 12), nn.Linear(16, 12, bias=False)
        self.middle, self.last = nn.Linear(12, 10), nn.Linear(10, 4)

    def forward(self, x):
        y = self.norm(x)
        return self.last(
            nn.functional.gelu(self.middle(torch.relu(self.left(y)))) * 1.0
        ) + self.right(y).sum(-1, keepdim=True)


def net(dtype=torch.float64):
    torch.manual_seed(0)
    model = Net().to(dtype).eval()
    model.norm.weight.data[::5] *= 20
    return model


def test_who_divides():
    model, x = net(), normal(60, 16)
    float_model = copy.deepcopy(model)
    quantize_(model, AWQ(inputs=iter([x[:30], (x[30:],)]), bits=3, group_size=8))
    for name in ("left", "right", "middle"):  # by the norm, or by the layer before
        assert isinstance(getattr(model, name), WeightOnlyLinear)
    assert isinstance(model.last, ScaledInput)
    assert isinstance(model.last.layer, WeightOnlyLinear)
    norms = float_model.norm.weight / model.norm.weight
    torch.testing.assert_close(float_model.norm.bias / norms, model.norm.bias)
    # At 8 bits the function is nearly that of the float model.
    precise = copy.deepcopy(float_model)
    quantize_(precise, AWQ(inputs=[x], bits=8))
    expected = float_model(x)
    assert (precise(x) - expected).norm() < 0.01 * expected.norm()


def test_a_source_that_is_not_quantized_divides_all_the_same():
    model, x = net(), normal(60, 16)
    expected = model(x)
    old = model.left
    quantize_(
        model, AWQ(inputs=[x], bits=8), filter_fn=lambda name, _: name == "middle"
    )
    assert type(model.left) is nn.Linear
    assert not torch.equal(model.left.weight, old.weight)
    assert (model(x) - expected).norm() < 0.01 * expected.norm()


def test_masks_end_in_the_weights_and_the_model_stays_whole():
    class Mask(nn.Module):
        def forward(self, weight):
            return weight * (weight > 0)

    model, x = net(), normal(60, 16)
    parametrize.register_parametrization(model.left, "weight", Mask())
    untouched = copy.deepcopy(model)
    quantize_(model, AWQ(inputs=[x], bits=8))
    expected = untouched(x)
    assert (model(x) - expected).norm() < 0.01 * expected.norm()
    assert (untouched.left.weight >= 0).all()


def test_a_character_model_keeps_more_of_its_outputs(tmp_path):
    def make(seed):
        generator = torch.Generator().manual_seed(seed)
        model = CharGPT(20, width=32, layers=2, generator=generator).eval()
        for name, parameter in model.named_parameters():
            parameter.data *= 2
            if name.endswith("norm.weight"):
                parameter.data[torch.randperm(32, generator=generator)[:2]] *= 8
        return model

    model = make(0)
    ids = torch.randint(20, (24, 24), generator=torch.Generator().manual_seed(0))
    expected, errors = model(ids[16:]).detach(), []
    for method in (
        WeightOnly(bits=4, group_size=16),
        AWQ(inputs=[ids[:16]], bits=4, group_size=16),
    ):
        small = copy.deepcopy(model)
        quantize_(small, method)
        with torch.no_grad():
            errors.append((small(ids[16:]) - expected).norm())
    assert errors[1] < 0.8 * errors[0]
    fresh = make(1)
    save_quantized(tmp_path / "model", small)
    load_quantized(tmp_path / "model", fresh)
    assert torch.equal(fresh(ids), small(ids))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_types(dtype):
    model, x = net(dtype), normal(60, 16).to(dtype)
    quantize_(model, AWQ(inputs=[x], symmetric=False, group_size=5))
    assert model(x).dtype == dtype


@pytest.mark.parametrize(
    ("inputs", "weight", "error", "message"),
    [
        ([], 1.0, ValueError, r"^inputs must hold at least 1 batch, got none"),
        (
            [torch.ones(2, 3, 8)],
            torch.nan,
            ValueError,
            r"must be finite, got inf or nan",
        ),
        (
            [torch.ones(2, 3, 8)],
            1.0,
            TypeError,
            r"^filter_fn must choose linear layers",
        ),
    ],
)
def test_a_failed_call_changes_nothing(inputs, weight, error, message):
    model = nn.Sequential(nn.Conv1d(3, 3, 1), nn.LayerNorm(8), nn.Linear(8, 2))
    model[2].weight.data[0, 0] = weight
    before = copy.deepcopy(model.state_dict())
    filter_fn = is_linear_or_conv if error is TypeError else lambda name, _: name == "2"
    with pytest.raises(error, match=message):
        quantize_(model, AWQ(inputs=inputs), filter_fn=filter_fn)
    for key, old in before.items():
        new = model.state_dict()[key]
        torch.testing.assert_close(new, old, rtol=0, atol=0, equal_nan=True)
