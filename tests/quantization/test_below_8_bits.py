"""NF4, ternary and binary weights against the papers and brute force."""

import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlopt_edu.quantization import (
    PackedWeight,
    PerChannel,
    PerGroup,
    PerTensor,
    binarize,
    nf4_dequantize,
    nf4_levels,
    nf4_quantize,
    optimal_ternary,
    ternarize,
)
from mlopt_edu.quantization.nf4 import (
    dequantize_scales,
    nearest_level,
    quantize_scales,
)

# Printed in the appendix of arXiv:2305.14314, and used by its authors' library.
NF4_OF_THE_PAPER = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
]


def test_the_levels_are_those_of_the_paper():
    expected = torch.tensor(NF4_OF_THE_PAPER)
    torch.testing.assert_close(nf4_levels(), expected, rtol=0, atol=4e-7)


def test_normal_weights_use_all_levels():
    torch.manual_seed(0)
    codes, _ = nf4_quantize(torch.randn(4096, 64))
    shares = torch.bincount(codes.flatten().long(), minlength=16) / codes.numel()
    assert shares.min() > 0.015
    assert shares.max() < 0.13


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=9, unique=True))
def test_the_nearest_level_is_the_nearest(levels):
    levels = torch.tensor(sorted(levels), dtype=torch.float64)
    x = torch.linspace(-12, 12, 101, dtype=torch.float64)
    distance = (x[:, None] - levels).abs()
    found = distance.gather(1, nearest_level(x, levels)[:, None].long())
    torch.testing.assert_close(found.flatten(), distance.amin(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 128), (2, 100), (4, 2, 5, 7), (1, 1)])
@pytest.mark.parametrize("block", [64, 16])
def test_nf4_against_numpy(shape, block):
    torch.manual_seed(0)
    weight = torch.randn(shape) * 3
    codes, scale = nf4_quantize(weight, block_size=block)
    back = nf4_dequantize(codes, scale, block_size=block)
    levels = nf4_levels().numpy()
    rows = weight.numpy().reshape(shape[0], -1)
    expected = np.empty_like(rows)
    for row, begin in itertools.product(
        range(len(rows)), range(0, rows.shape[1], block)
    ):
        part = rows[row, begin : begin + block]
        largest = np.abs(part).max()
        nearest = np.abs(part[:, None] / largest - levels).argmin(1)
        expected[row, begin : begin + block] = levels[nearest] * largest
    np.testing.assert_allclose(back.numpy().reshape(rows.shape), expected, rtol=1e-6)


def test_zeros_and_bad_numbers_in_nf4():
    codes, scale = nf4_quantize(torch.zeros(2, 64))
    assert torch.equal(nf4_dequantize(codes, scale), torch.zeros(2, 64))
    with pytest.raises(ValueError, match=r"^weight must be finite"):
        nf4_quantize(torch.tensor([[1.0, torch.inf]]))


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1000])
def test_scales_are_quantized_to_8_bits_of_their_spread(count):
    torch.manual_seed(0)
    scale = torch.rand(count, 1) + 1
    codes, second, mean = quantize_scales(scale)
    assert codes.dtype == torch.int8
    assert codes.numel() == count
    back = dequantize_scales(codes, second, mean)
    assert back.shape == scale.shape
    assert ((back - scale).abs() <= second.max() * 0.5001).all()


def test_double_quantization_takes_4_127_bits_a_weight():
    weight = torch.randn(1024, 4096, generator=torch.Generator().manual_seed(0))
    codes, scale = nf4_quantize(weight)
    bits = {}
    for double in (False, True):
        packed = PackedWeight.pack(
            codes,
            bits=4,
            block_size=64,
            levels=nf4_levels(),
            scale=scale,
            double=double,
        )
        held = sum(buffer.nbytes for buffer in packed.buffers())
        bits[double] = 8 * held / weight.numel()
        error = (packed.unpack() - weight).norm() / weight.norm()
        assert error < 0.093
    assert bits[False] == pytest.approx(4.5, abs=0.001)
    assert bits[True] == pytest.approx(4.127, abs=0.001)


def squared_error(weight, codes, scale):
    return (weight - codes * scale).square().sum().item()


@pytest.mark.parametrize("seed", range(6))
def test_the_optimal_ternary_weights_are_those_of_brute_force(seed):
    weight = torch.randn(1, 7, generator=torch.Generator().manual_seed(seed)).double()
    least = min(
        squared_error(weight, codes, (weight @ codes / (codes @ codes)).clamp(min=0))
        for codes in map(
            lambda values: torch.tensor(values, dtype=torch.double),
            itertools.product([-1, 0, 1], repeat=7),
        )
        if codes.any()
    )
    assert squared_error(weight, *optimal_ternary(weight)) == pytest.approx(least)


@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel(), PerGroup(7)])
def test_ternary_weights_by_their_definition(granularity):
    torch.manual_seed(0)
    weight = torch.randn(5, 18)
    codes, scale = ternarize(weight, granularity=granularity)
    blocks = granularity.blocks(codes)
    for row, (block, signs) in enumerate(
        zip(granularity.blocks(weight), blocks, strict=True)
    ):
        real = block[block != 0]  # without what fills a group
        kept = real.abs() > 0.75 * real.abs().mean()
        assert kept.sum() == signs.abs().sum()
        torch.testing.assert_close(scale[row, 0], real[kept].abs().mean())
    assert torch.equal(codes, (codes.abs() * weight.sign()).to(torch.int8))


def test_the_threshold_suits_normal_and_uniform_weights():
    normal = torch.from_numpy(scipy.stats.norm.ppf(np.linspace(0, 1, 10_001)[1:-1]))
    uniform = torch.linspace(-1, 1, 10_001, dtype=torch.double)
    for weight, ratio in [(normal, 0.765), (uniform, 2 / 3)]:
        codes, _ = optimal_ternary(weight[None])
        smallest = weight[codes[0] != 0].abs().min()
        assert (smallest / weight.abs().mean()).item() == pytest.approx(ratio, abs=5e-3)
        best = squared_error(weight[None], *optimal_ternary(weight[None]))
        near = squared_error(weight[None], *ternarize(weight[None]))
        assert best <= near < 1.03 * best


def test_degenerate_ternary_weights():
    for weight in (torch.zeros(2, 3), torch.zeros(1, 1)):
        for make in (ternarize, optimal_ternary):
            codes, scale = make(weight)
            assert not codes.any()
            assert torch.equal(scale, torch.zeros(len(weight), 1))
    codes, scale = ternarize(torch.tensor([[2.0, -2.0]]), threshold=0)
    assert codes.tolist() == [[1, -1]]
    assert scale.item() == 2
    with pytest.raises(ValueError, match=r"^threshold must be at least 0, got -1$"):
        ternarize(torch.zeros(1, 1), threshold=-1)


@pytest.mark.parametrize("seed", range(6))
def test_binary_weights_are_those_of_brute_force(seed):
    weight = torch.randn(1, 8, generator=torch.Generator().manual_seed(seed)).double()
    least = min(
        squared_error(weight, codes, weight @ codes / 8)
        for codes in map(
            lambda values: torch.tensor(values, dtype=torch.double),
            itertools.product([-1, 1], repeat=8),
        )
    )
    codes, scale = binarize(weight)
    assert squared_error(weight, codes, scale) == pytest.approx(least)
    assert torch.equal(codes.double(), weight.sign())


def test_binary_zero_is_plus_one_and_ragged_groups_keep_their_mean():
    codes, scale = binarize(
        torch.tensor([[0.0, -0.0, -3.0, 6.0, 6.0]]), granularity=PerGroup(3)
    )
    assert codes.tolist() == [[1, 1, -1, 1, 1]]
    assert scale.tolist() == [[1.0], [6.0]]
