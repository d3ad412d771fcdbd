import math

import numpy as np
import pytest
import torch

from mlopt_edu.mixed_precision import (
    format_facts,
    round_to,
    spacing,
    underflow_share,
)

SHORT = [
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
]
NUMPY = {
    torch.float16: np.float16,
    torch.float32: np.float32,
    torch.float64: np.float64,
}

each_short = pytest.mark.parametrize("dtype", SHORT, ids=str)


def all_numbers(dtype):
    """Every finite number of a format of 8 or 16 bits, in order, one zero."""
    if dtype.itemsize == 1:
        patterns = torch.arange(256).to(torch.uint8)
    else:
        patterns = torch.arange(-(2**15), 2**15).to(torch.int16)
    numbers = patterns.view(dtype).double()
    return numbers[numbers.isfinite()].unique()


@each_short
def test_facts_are_those_of_all_its_numbers(dtype):
    facts, numbers = format_facts(dtype), all_numbers(dtype)
    positive = numbers[numbers > 0]
    assert facts.largest == positive[-1]
    assert facts.smallest_subnormal == positive[0]
    assert facts.epsilon == positive[positive > 1][0] - 1
    # Subnormal numbers are equally spaced, and the first normal one ends them.
    count = 2**facts.fraction_bits
    steps = positive.diff()
    assert torch.equal(steps[:count], torch.full((count,), positive[0]).double())
    assert facts.smallest_normal == positive[count - 1]
    assert facts.bits == 1 + facts.exponent_bits + facts.fraction_bits
    assert facts.bits == 8 * dtype.itemsize


@pytest.mark.parametrize("dtype", NUMPY, ids=str)
def test_facts_are_numpys(dtype):
    facts, info = format_facts(dtype), np.finfo(NUMPY[dtype])
    assert facts.largest == info.max
    assert facts.smallest_normal == info.smallest_normal
    assert facts.smallest_subnormal == info.smallest_subnormal
    assert facts.epsilon == info.eps
    assert (facts.bits, facts.fraction_bits) == (info.bits, info.nmant)
    assert facts.exponent_bits == info.iexp


def test_facts_of_the_papers():
    # Micikevicius et al., section 3.2: fp16 reaches from 2^-24 to 65,504.
    half, brain = format_facts(torch.float16), format_facts(torch.bfloat16)
    assert (half.smallest_subnormal, half.largest) == (2**-24, 65504)
    # Kalamkar et al.: the exponent of float32, 7 bits of fraction.
    assert brain.exponent_bits == format_facts(torch.float32).exponent_bits == 8
    assert brain.fraction_bits == 7


@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e8m0fnu], ids=str
)
def test_what_is_no_such_format_is_refused(dtype):
    with pytest.raises(TypeError, match=r"^dtype must be a real floating-point type"):
        format_facts(dtype)


@pytest.mark.parametrize("dtype", NUMPY, ids=str)
def test_spacing_is_numpys(dtype):
    info = np.finfo(NUMPY[dtype])
    rng = np.random.default_rng(0)
    x = rng.normal(size=1000) * 2.0 ** rng.integers(info.minexp, 15, size=1000)
    special = [0, 1, info.max / 4, info.smallest_normal, info.smallest_subnormal]
    x = np.abs(np.concatenate([x, special])).astype(NUMPY[dtype])
    actual = spacing(torch.from_numpy(x), dtype).numpy()
    np.testing.assert_array_equal(actual, np.spacing(x))
    np.testing.assert_array_equal(spacing(-torch.from_numpy(x), dtype).numpy(), actual)


@each_short
def test_spacing_is_the_distance_to_the_next_number(dtype):
    numbers = all_numbers(dtype)
    upper = numbers[numbers >= 0]
    assert torch.equal(spacing(upper[:-1], dtype), upper.diff())
    middle = (upper[:-1] + upper[1:]) / 2
    assert torch.equal(spacing(-middle, dtype), upper.diff())


@each_short
def test_rounding_to_nearest_finds_the_nearest(dtype):
    numbers = all_numbers(dtype)
    limit = min(format_facts(dtype).largest, 1e4)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, generator=generator).exp().clamp(max=limit)
    x = x * torch.randn(200, generator=generator).sign()
    rounded = round_to(x, dtype)
    assert rounded.dtype == dtype
    distance = (rounded.double() - x).abs()
    nearest = (numbers[:, None] - x.double()).abs().min(0).values
    assert torch.equal(distance, nearest)


@each_short
def test_stochastic_rounding_keeps_what_the_format_holds(dtype):
    numbers = all_numbers(dtype)
    generator = torch.Generator().manual_seed(0)
    rounded = round_to(numbers, dtype, stochastic=True, generator=generator)
    assert rounded.dtype == dtype
    assert torch.equal(rounded.double(), numbers)


@each_short
def test_stochastic_rounding_takes_a_neighbour_and_is_right_on_average(dtype):
    facts = format_facts(dtype)
    # From inside the subnormal numbers up to the largest.
    low, high = math.log2(facts.smallest_subnormal) - 2, math.log2(facts.largest)
    x = torch.exp2(torch.linspace(low, high - 0.01, 60, dtype=torch.float64))
    x = torch.cat([x, -x])
    n = 4000
    generator = torch.Generator().manual_seed(0)
    draws = round_to(x.expand(n, -1), dtype, stochastic=True, generator=generator)
    draws = draws.double()
    assert torch.isin(draws, all_numbers(dtype)).all()
    step = spacing(x, dtype)
    assert ((draws - x).abs() < step).all()
    # Up with the probability of the fraction: mean and variance follow.
    up = (x / step) - (x / step).floor()
    error = 4.5 * (up * (1 - up) / n).sqrt() * step
    assert ((draws.mean(0) - x).abs() <= error).all()


def test_small_updates_survive_on_average():
    # A hundred thousand times 1 + 2^-12, of which bfloat16 holds none.
    lost = kept = torch.ones(2000)
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        lost = round_to(lost + 2**-12, torch.bfloat16).float()
        kept = round_to(
            kept + 2**-12, torch.bfloat16, stochastic=True, generator=generator
        ).float()
    assert torch.equal(lost, torch.ones(2000))
    assert kept.mean().item() == pytest.approx(1 + 100 * 2**-12, abs=1e-3)


@pytest.mark.parametrize("stochastic", [False, True])
def test_beyond_the_largest_number_rounding_is_torchs(stochastic):
    x = torch.tensor([65504.0, 65519.0, 65521.0, 1e9, math.inf, -math.inf, math.nan])
    actual = round_to(x, torch.float16, stochastic=stochastic)
    torch.testing.assert_close(actual, x.half(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
@pytest.mark.parametrize("source", [torch.float32, torch.float64, torch.bfloat16])
def test_shapes_and_types_that_are_rounded(shape, source):
    x = torch.ones(shape, dtype=source) / 3
    for stochastic in (False, True):
        rounded = round_to(x, torch.float16, stochastic=stochastic)
        assert (rounded.shape, rounded.dtype) == (x.shape, torch.float16)
        torch.testing.assert_close(rounded.double(), x.double(), rtol=2**-9, atol=0)


@each_short
def test_half_of_the_smallest_number_underflows(dtype):
    smallest = format_facts(dtype).smallest_subnormal
    x = torch.tensor([0.0, 0.5, -0.5, 0.51, -0.51, 1.0, 7.0], dtype=torch.float64)
    assert underflow_share(x * smallest, dtype) == 2 / 6


@pytest.mark.parametrize("x", [torch.zeros(3), torch.ones(0), torch.tensor(0.0)])
def test_nothing_to_lose(x):
    assert underflow_share(x, torch.float16) == 0


def test_scaling_lifts_gradients_out_of_the_underflow():
    generator = torch.Generator().manual_seed(0)
    grads = 1e-8 * torch.randn(10_000, generator=generator)
    shares = [underflow_share(grads * 2.0**k, torch.float16) for k in range(0, 17, 4)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.99
    assert shares[-1] < 0.001
    assert underflow_share(grads, torch.bfloat16) == 0
