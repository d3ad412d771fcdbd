"""Quantized layers: against their float layers, against each other, and as modules."""

import copy
import io

import pytest
import torch
from torch import nn

from mlopt_edu.evaluation import bytes_of
from mlopt_edu.quantization import (
    NF4,
    Binary,
    Codebook,
    Int8Conv,
    Int8Dynamic,
    Int8Linear,
    Int8Static,
    MSEObserver,
    PackedWeight,
    PerGroup,
    Ternary,
    WeightOnly,
    WeightOnlyConv,
    WeightOnlyLinear,
    dequantize_weight,
    is_linear_or_conv,
    quantize_,
    quantize_weight,
)

WEIGHT_ONLY = {
    "8 bits": WeightOnly(),
    "4 bits": WeightOnly(bits=4),
    "4 bits in groups": WeightOnly(bits=4, group_size=7),
    "3 bits, affine": WeightOnly(bits=3, group_size=8, symmetric=False),
    "4 bits, search": WeightOnly(bits=4, group_size=16, search=True),
    "NF4": NF4(),
    "NF4, double": NF4(block_size=9, double=True),
    "ternary": Ternary(group_size=10),
    "ternary, best": Ternary(threshold=None),
    "binary": Binary(),
    "binary in groups": Binary(group_size=7),
    "codebook": Codebook(bits=3),
    "codebook, zeros": Codebook(bits=5, keep_zeros=True),
}
methods = pytest.mark.parametrize("name", WEIGHT_ONLY)


def quantized(layer, method):
    model = nn.Sequential(copy.deepcopy(layer))
    quantize_(model, method, filter_fn=is_linear_or_conv)
    return model[0]


def relative(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


@methods
@pytest.mark.parametrize("shape", [(5, 30), (1, 1), (3, 4, 3, 5)])
def test_a_packed_weight_keeps_its_shape_and_type(name, shape):
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.float64, torch.float16):
        weight = torch.randn(shape).to(dtype)
        packed = WEIGHT_ONLY[name].pack(weight)
        assert packed.unpack().shape == shape
        assert packed.unpack().dtype == dtype
        assert relative(packed.unpack(), weight) < 0.7


@methods
def test_what_is_packed_can_be_packed_again_without_loss(name):
    method = WEIGHT_ONLY[name]
    torch.manual_seed(0)
    once = method.pack(torch.randn(6, 40)).unpack()
    again = method.pack(once).unpack()
    if name == "NF4, double":  # the scales are rounded again
        torch.testing.assert_close(again, once, rtol=0.02, atol=0.02)
    elif "affine" not in name and "ternary, best" not in name:
        torch.testing.assert_close(again, once, rtol=1e-5, atol=1e-6)


def test_integers_are_packed_exactly():
    torch.manual_seed(0)
    weight = torch.randn(6, 50)
    for bits in range(2, 9):
        for symmetric in (True, False):
            groups = PerGroup(16)
            values, scale, zero_point = quantize_weight(
                weight, bits=bits, granularity=groups, symmetric=symmetric
            )
            packed = WeightOnly(bits=bits, group_size=16, symmetric=symmetric).pack(
                weight
            )
            assert torch.equal(packed.values(), values)
            expected = dequantize_weight(values, scale, zero_point, granularity=groups)
            torch.testing.assert_close(packed.unpack(), expected, rtol=1e-6, atol=0)


def test_the_error_falls_with_the_bits_and_the_size_of_groups():
    torch.manual_seed(0)
    weight = torch.randn(32, 256)
    errors = [
        relative(WeightOnly(bits=bits).pack(weight).unpack(), weight)
        for bits in (2, 3, 4, 5, 6, 8)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01
    whole = relative(WeightOnly(bits=4).pack(weight).unpack(), weight)
    groups = relative(WeightOnly(bits=4, group_size=32).pack(weight).unpack(), weight)
    levels = relative(NF4(block_size=32).pack(weight).unpack(), weight)
    assert levels < groups < whole


@methods
@pytest.mark.parametrize("bias", [True, False])
def test_a_weight_only_linear_layer_multiplies_by_its_weight(name, bias):
    torch.manual_seed(0)
    linear = nn.Linear(20, 7, bias=bias)
    layer = quantized(linear, WEIGHT_ONLY[name])
    assert isinstance(layer, WeightOnlyLinear)
    for shape in [(20,), (0, 20), (3, 20), (2, 3, 20)]:
        x = torch.randn(shape)
        expected = torch.nn.functional.linear(x, layer.weight, linear.bias)
        assert torch.equal(layer(x), expected)


CONVOLUTIONS = [
    nn.Conv1d(4, 6, 3, padding=1, stride=2),
    nn.Conv1d(4, 6, 4, padding="same", groups=2, dilation=2),
    nn.Conv2d(3, 5, (3, 2), padding=(2, 1), stride=(1, 2), bias=False),
    nn.Conv2d(4, 4, 3, padding="valid", groups=4),
    nn.Conv2d(4, 8, 3, padding=2, padding_mode="reflect"),
    nn.Conv2d(4, 8, 3, padding=1, padding_mode="circular", dilation=2),
    nn.Conv2d(4, 8, 3, padding="same", padding_mode="replicate"),
    nn.Conv2d(2, 3, 1),
    nn.Conv3d(2, 4, (1, 3, 2), padding=1, groups=2),
]
convolutions = pytest.mark.parametrize("conv", CONVOLUTIONS, ids=str)


def images(conv, n=3):
    sizes = (9, 8, 7)[: len(conv.kernel_size)]
    return torch.randn(n, conv.in_channels, *sizes)


@convolutions
def test_a_weight_only_convolution_convolves_with_its_weight(conv):
    torch.manual_seed(0)
    for method in (WeightOnly(bits=8), NF4(block_size=5), Codebook(bits=4)):
        layer = quantized(conv, method)
        assert isinstance(layer, WeightOnlyConv)
        x = images(conv)
        with torch.no_grad():
            copied = copy.deepcopy(conv)
            copied.weight.copy_(layer.weight)
            torch.testing.assert_close(layer(x), copied(x))
            torch.testing.assert_close(layer(x[0]), copied(x[0]))


@convolutions
@pytest.mark.parametrize("static", [False, True])
def test_an_int8_convolution_is_near_the_real_one(conv, static):
    torch.manual_seed(0)
    x = images(conv) + 0.5
    layer = quantized(conv, Int8Static(inputs=[x]) if static else Int8Dynamic())
    assert isinstance(layer, Int8Conv)
    with torch.no_grad():
        y = conv(x)
        assert layer(x).shape == y.shape
        assert relative(layer(x), y) < 0.02
        torch.testing.assert_close(layer(x[0]), layer(x)[0])
        torch.testing.assert_close(layer(x[1:2]), layer(x)[1:2])
        # The sum over integers is exact: only real multiplications round.
        copied = copy.deepcopy(conv)
        copied.weight.copy_(layer.weight)
        scale = layer.input_scale if static else x.abs().amax((1, *range(2, x.ndim)))
        if static:
            rounded = torch.round(x / scale) * scale
        else:
            scale = scale.reshape(-1, *[1] * (x.ndim - 1)) / 127
            rounded = torch.round(x / scale) * scale
        torch.testing.assert_close(layer(x), copied(rounded), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 9), (7, 1), (33, 10), (256, 64)])
def test_an_int8_linear_layer_rounds_inputs_row_by_row(sizes, bias):
    torch.manual_seed(0)
    linear = nn.Linear(*sizes, bias=bias)
    layer = quantized(linear, Int8Dynamic())
    assert isinstance(layer, Int8Linear)
    for rows in [(), (1,), (2,), (17,), (0,), (2, 3)]:
        x = torch.randn(*rows, sizes[0]) * 10 ** torch.randn(*rows, 1)
        scale = x.abs().amax(-1, keepdim=True) / 127 if x.numel() else 1
        rounded = torch.round(x / scale) * scale
        expected = nn.functional.linear(rounded, layer.weight, linear.bias)
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_int8_is_as_near_as_torchao_s():
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig
    from torchao.quantization import quantize_ as torchao_quantize_

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 128))
    theirs = copy.deepcopy(model)
    torchao_quantize_(theirs, Int8DynamicActivationInt8WeightConfig())
    x = torch.randn(64, 256)
    with torch.no_grad():
        ours = quantized(model[0], Int8Dynamic())(x)
        assert relative(ours, model(x)) <= 1.02 * relative(theirs(x), model(x))


def test_a_fixed_scale_clips_what_lies_outside():
    torch.manual_seed(0)
    linear = nn.Linear(8, 4)
    layer = quantized(linear, Int8Static(inputs=[torch.rand(100, 8)]))
    x = torch.rand(5, 8)
    with torch.no_grad():
        assert relative(layer(x), linear(x)) < 0.01
        clipped = layer(x * 0 + 50)
        torch.testing.assert_close(clipped, layer(x * 0 + 1), rtol=0, atol=0.02)


def test_rows_that_are_zero_tiny_huge_or_not_finite():
    layer = quantized(nn.Linear(4, 2), Int8Dynamic())
    x = torch.zeros(5, 4)
    x[1] = 1e-44
    x[2] = 1e37
    x[3, 1] = torch.inf
    x[4, 2] = torch.nan
    y = layer(x)
    torch.testing.assert_close(y[:2], layer.bias.expand(2, 2))
    assert y[2].isfinite().all()
    assert y[3:].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("make", [Int8Dynamic, WeightOnly, NF4])
def test_other_types(make, dtype):
    torch.manual_seed(0)
    for layer, x in [
        (nn.Linear(300, 6), torch.randn(4, 300)),  # its sums are beyond float16
        (nn.Conv2d(2, 3, 3), torch.randn(2, 2, 6, 6)),
    ]:
        real = layer(x).detach()
        converted = quantized(layer, make()).to(dtype)
        made = quantized(copy.deepcopy(layer).to(dtype), make())
        for found in (converted(x.to(dtype)), made(x.to(dtype))):
            assert found.dtype == dtype
            assert relative(found.float(), real) < 0.12


@pytest.mark.parametrize("method", [Int8Dynamic(), WeightOnly(bits=8)], ids=str)
def test_gradients_for_the_input_flow_as_if_nothing_was_rounded(method):
    torch.manual_seed(0)
    for layer, x in [
        (nn.Linear(6, 4), torch.randn(3, 6)),
        (nn.Conv1d(2, 3, 2), torch.randn(3, 2, 5)),
    ]:
        small = quantized(layer, method)
        tracked = x.clone().requires_grad_()
        y = small(tracked)
        assert torch.equal(y, small(x))
        y.square().sum().backward()
        smooth = copy.deepcopy(layer)
        smooth.weight.data = small.weight
        again = x.clone().requires_grad_()
        smooth(again).backward(2 * y.detach())
        torch.testing.assert_close(tracked.grad, again.grad)


EVERY = {
    **WEIGHT_ONLY,
    "int8": Int8Dynamic(),
    "int8, static": Int8Static(inputs=[torch.ones(2, 3, 8, 8)], observer=MSEObserver),
}


def net():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5, bias=False)
    ).eval()


@pytest.mark.parametrize("name", EVERY)
def test_a_quantized_model_is_an_ordinary_module(name):
    model = net()
    quantize_(model, EVERY[name], filter_fn=is_linear_or_conv)
    x = torch.rand(2, 3, 8, 8)
    y = model(x)
    assert not list(model.parameters())
    assert not model[0].training
    assert torch.equal(y, copy.deepcopy(model)(x))

    other = net()
    with torch.no_grad():
        for param in other.parameters():
            param.add_(torch.randn_like(param))
    quantize_(other, EVERY[name], filter_fn=is_linear_or_conv)
    assert not torch.equal(y, other(x))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(y, other(x))
    assert "bits" in repr(model) or "static" in repr(model)


@pytest.mark.parametrize(
    ("method", "share"),
    [
        (Int8Dynamic(), 1 / 4),
        (WeightOnly(bits=8), 1 / 4),
        (WeightOnly(bits=4), 1 / 8),
        (WeightOnly(bits=4, group_size=64), 4.5 / 32),
        (NF4(double=True), 4.127 / 32),
        (WeightOnly(bits=3), 3 / 32),
        (Ternary(), 1 / 16),
        (Binary(), 1 / 32),
        (Codebook(bits=5), 5 / 32),
    ],
    ids=str,
)
def test_the_bytes_in_memory_are_those_of_the_bits(method, share):
    model = nn.Sequential(nn.Linear(4096, 64, bias=False))
    before = bytes_of(model)
    quantize_(model, method)
    assert bytes_of(model) / before == pytest.approx(share, abs=6e-4)


def test_what_a_packed_weight_refuses():
    values = torch.zeros(2, 3, dtype=torch.int8)
    with pytest.raises(ValueError, match=r"^a format must have levels, a scale, or b"):
        PackedWeight.pack(values, bits=4)
    with pytest.raises(ValueError, match=r"^scale must have shape \(2, 1\), got"):
        PackedWeight.pack(values, bits=4, scale=torch.ones(3))
    with pytest.raises(ValueError, match=r"^levels must have shape \(16,\), got"):
        PackedWeight.pack(values, bits=4, levels=torch.ones(4))
    with pytest.raises(ValueError, match=r"^codes must lie in"):
        PackedWeight.pack(values + 8, bits=4, scale=torch.ones(2, 1))
