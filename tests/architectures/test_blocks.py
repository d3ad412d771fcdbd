"""Blocks, held against formulas written out, and against the papers' counts."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from mlopt_edu.architectures import (
    Bottleneck,
    ConvNormReLU,
    DepthwiseSeparable,
    Fire,
    InvertedResidual,
    SqueezeExcite,
)
from mlopt_edu.evaluation import count_macs, count_parameters


def awake(block):
    """Give normalization numbers that a wrong order of layers would show."""
    generator = torch.Generator().manual_seed(0)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return block.double().eval()


def convolved(x, weight, stride, groups):
    """Sum over the kernel's positions, without a convolution."""
    out, kernel = weight.shape[0], weight.shape[2]
    height, width = (math.ceil(size / stride) for size in x.shape[2:])
    pad = kernel // 2
    x = functional.pad(x, (pad,) * 4)
    y = x.new_zeros(len(x), out, height, width)
    for o in range(out):
        group = o // (out // groups)
        first = group * weight.shape[1]
        for i in range(weight.shape[1]):
            for row in range(kernel):
                for column in range(kernel):
                    part = x[:, first + i, row::stride, column::stride]
                    y[:, o] += weight[o, i, row, column] * part[:, :height, :width]
    return y


def normalized(x, norm):
    mean, variance, scale, shift = (
        value[:, None, None]
        for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x - mean) / (variance + norm.eps).sqrt() * scale + shift


def by_hand(layer, x, ends_with=lambda y: y.clamp(min=0)):
    conv, norm, _ = layer
    y = convolved(x, conv.weight, conv.stride[0], conv.groups)
    return ends_with(normalized(y, norm))


def same(y):
    return y


@pytest.fixture
def x():
    return torch.randn(2, 4, 7, 6, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
@torch.no_grad()
def test_dense_convolution(x, groups, stride, kernel_size):
    block = awake(
        ConvNormReLU(4, 8, kernel_size=kernel_size, stride=stride, groups=groups)
    )
    torch.testing.assert_close(block(x), by_hand(block, x))


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@torch.no_grad()
def test_depthwise_separable(x, stride, kernel_size):
    block = awake(DepthwiseSeparable(4, 5, stride=stride, kernel_size=kernel_size))
    depthwise, pointwise = block
    assert depthwise[0].weight.shape == (4, 1, kernel_size, kernel_size)
    assert pointwise[0].weight.shape == (5, 4, 1, 1)
    torch.testing.assert_close(block(x), by_hand(pointwise, by_hand(depthwise, x)))


@pytest.mark.parametrize("squeeze_channels", [None, 3])
@torch.no_grad()
def test_fire(x, squeeze_channels):
    block = Fire(4, 16, squeeze_channels=squeeze_channels).double()

    def relu_of(conv, y):
        y = convolved(y, conv.weight, 1, 1) + conv.bias[:, None, None]
        return y.clamp(min=0)

    squeezed = relu_of(block.squeeze, x)
    assert squeezed.shape[1] == (squeeze_channels or 2)
    halves = [relu_of(conv, squeezed) for conv in (block.expand1x1, block.expand3x3)]
    torch.testing.assert_close(block(x), torch.cat(halves, dim=1))


@pytest.mark.parametrize("squeeze_excite", [None, 2])
@pytest.mark.parametrize(
    ("out_channels", "stride", "reduction"),
    [(4, 1, 4), (4, 1, 1), (8, 1, 2), (4, 2, 4)],
)
@torch.no_grad()
def test_bottleneck(x, out_channels, stride, reduction, squeeze_excite):
    block = awake(
        Bottleneck(
            4,
            out_channels,
            stride=stride,
            reduction=reduction,
            squeeze_excite=squeeze_excite,
        )
    )
    down, middle, up = block.residual[:3]
    assert middle[0].weight.shape[0] == out_channels // reduction
    y = by_hand(up, by_hand(middle, by_hand(down, x)), ends_with=same)
    if squeeze_excite:
        y = block.residual[3](y)
    shortcut = x
    if (out_channels, stride) != (4, 1):
        shortcut = by_hand(block.shortcut, x, ends_with=same)
    torch.testing.assert_close(block(x), (y + shortcut).clamp(min=0))


@pytest.mark.parametrize(
    ("out_channels", "stride", "expansion"),
    [(4, 1, 6), (5, 1, 6), (4, 2, 3), (4, 1, 1)],
)
@torch.no_grad()
def test_inverted_residual(x, out_channels, stride, expansion):
    block = awake(InvertedResidual(4, out_channels, stride=stride, expansion=expansion))

    def relu6(y):
        return y.clamp(0, 6)

    *widening, depthwise, narrow = block.residual
    assert len(widening) == (expansion > 1)
    y = 10 * x  # so that ReLU6 cuts
    for layer in (*widening, depthwise):
        y = by_hand(layer, y, ends_with=relu6)
    y = by_hand(narrow, y, ends_with=same)
    if (out_channels, stride) == (4, 1):
        y = y + 10 * x
    torch.testing.assert_close(block(10 * x), y)


@pytest.mark.parametrize(("channels", "reduction"), [(4, 2), (4, 16), (7, 3)])
@torch.no_grad()
def test_squeeze_excite(channels, reduction):
    x = torch.randn(3, channels, 5, 2, generator=torch.Generator().manual_seed(0))
    block = SqueezeExcite(channels, reduction=reduction)
    first, _, second, _ = block.excite
    assert first.out_features == max(1, channels // reduction)
    z = x.sum(dim=(2, 3)) / 10
    hidden = (z @ first.weight.T + first.bias).clamp(min=0)
    scale = 1 / (1 + torch.exp(-(hidden @ second.weight.T + second.bias)))
    expected = torch.einsum("bchw,bc->bchw", x, scale)
    torch.testing.assert_close(block(x), expected)


SIZES = [(6, 8, 1), (6, 8, 2), (24, 24, 1), (3, 40, 3)]


@pytest.mark.parametrize(("m", "n", "stride"), SIZES)
def test_counts_of_closed_forms(m, n, stride):
    height, width = 9, 13
    area = math.ceil(height / stride) * math.ceil(width / stride)
    x = torch.empty(2, m, height, width, device="meta")

    def counts(block):
        return count_parameters(block), count_macs(block.to("meta"), x).total / 2

    depthwise = DepthwiseSeparable(m, n, stride=stride)
    macs = 9 * m + m * n
    assert counts(depthwise) == (macs + 2 * m + 2 * n, macs * area)

    dense = ConvNormReLU(m, n, stride=stride)
    assert counts(dense) == (9 * m * n + 2 * n, 9 * m * n * area)
    ratio = counts(depthwise)[1] / counts(dense)[1]
    assert ratio == pytest.approx(1 / n + 1 / 9)

    s, full = n // 8, height * width
    macs = s * m + s * n // 2 + 9 * s * n // 2
    assert counts(Fire(m, n)) == (macs + s + n, macs * full)

    for t in (2, 6):
        block = InvertedResidual(m, n, stride=stride, expansion=t)
        parameters = t * m * (m + 9 + n) + 4 * t * m + 2 * n
        macs = t * m * (m * full + 9 * area + n * area)
        assert counts(block) == (parameters, macs)


@pytest.mark.parametrize(
    ("squeeze_excite", "millions"),
    # The squeeze-and-excitation paper counts 25 million and 2.5 million more.
    [(None, 25.557032), (16, 28.088024)],
)
def test_resnet50_of_our_blocks_has_the_known_counts(squeeze_excite, millions):
    """The numbers that torchvision and timm document for it."""
    layers = [ConvNormReLU(3, 64, kernel_size=7, stride=2), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, repeats in enumerate((3, 4, 6, 3)):
        for index in range(repeats):
            stride = 2 if stage and not index else 1
            out = 256 * 2**stage
            layers.append(
                Bottleneck(channels, out, stride=stride, squeeze_excite=squeeze_excite)
            )
            channels = out
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)]
    model = nn.Sequential(*layers).to("meta")
    assert count_parameters(model) == round(millions * 1e6)
    macs = count_macs(model, torch.empty(1, 3, 224, 224, device="meta")).total
    assert round(macs / 1e9, 2) == 4.09  # the excitation costs nearly nothing


def test_mobilenet_v2_of_our_blocks_has_the_papers_counts():
    """Table 2 of the paper; table 4: 3.4 M parameters, 300 M multiply-adds."""
    table = [
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
        (6, 160, 3, 2), (6, 320, 1, 1),
    ]  # fmt: skip
    layers, channels = [ConvNormReLU(3, 32, stride=2)], 32
    for expansion, out, repeats, first_stride in table:
        for index in range(repeats):
            stride = 1 if index else first_stride
            layers.append(
                InvertedResidual(channels, out, stride=stride, expansion=expansion)
            )
            channels = out
    layers += [
        ConvNormReLU(320, 1280, kernel_size=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(1280, 1000),
    ]
    model = nn.Sequential(*layers).to("meta")
    assert count_parameters(model) == 3_504_872  # as torchvision documents
    macs = count_macs(model, torch.empty(1, 3, 224, 224, device="meta")).total
    assert round(macs / 1e6) == 301


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: ConvNormReLU(0, 3), "in_channels and out_channels"),
        (lambda: ConvNormReLU(3, 0), "in_channels and out_channels"),
        (lambda: ConvNormReLU(3, 3, kernel_size=2), "kernel_size"),
        (lambda: ConvNormReLU(3, 3, kernel_size=-1), "kernel_size"),
        (lambda: ConvNormReLU(3, 3, stride=0), "stride"),
        (lambda: ConvNormReLU(4, 6, groups=4), "groups"),
        (lambda: ConvNormReLU(4, 4, groups=0), "groups"),
        (lambda: DepthwiseSeparable(0, 3), "in_channels and out_channels"),
        (lambda: Fire(4, 7), "out_channels"),
        (lambda: Fire(4, 0), "out_channels"),
        (lambda: Fire(0, 8), "in_channels and squeeze_channels"),
        (lambda: Fire(4, 8, squeeze_channels=0), "in_channels and squeeze_channels"),
        (lambda: Bottleneck(4, 6), "out_channels"),
        (lambda: Bottleneck(4, 0), "out_channels"),
        (lambda: Bottleneck(4, 4, reduction=0), "out_channels"),
        (lambda: Bottleneck(4, 4, squeeze_excite=0), "channels and reduction"),
        (lambda: InvertedResidual(4, 4, expansion=0), "expansion"),
        (lambda: InvertedResidual(0, 4), "in_channels and out_channels"),
        (lambda: SqueezeExcite(0), "channels and reduction"),
    ],
)
def test_bad_arguments_are_named(call, name):
    with pytest.raises(ValueError, match=rf"^{name} must .*, got "):
        call()
