"""Where to clip: against brute force, NumPy and torch."""

import math
import warnings

import numpy as np
import pytest
import scipy.stats
import torch

from mlopt_edu.quantization import (
    EntropyObserver,
    MinMaxObserver,
    MovingAverageObserver,
    MSEObserver,
    PercentileObserver,
    PerChannel,
    entropy_range,
    fake_quantize,
    min_max_range,
    mse_range,
    scale_and_zero_point,
)
from mlopt_edu.quantization.histogram import Histogram

OBSERVERS = [
    MinMaxObserver,
    MovingAverageObserver,
    PercentileObserver,
    MSEObserver,
    EntropyObserver,
]


def error(x, low, high, **form):
    low, high = torch.as_tensor(low), torch.as_tensor(high)
    scale, zero_point = scale_and_zero_point(low, high, **form)
    return (x - fake_quantize(x, scale, zero_point, **form)).square().sum().item()


def heavy(count=400, seed=0):
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.standard_t(3, count))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_symmetric_mse_is_that_of_brute_force(bits):
    x = heavy()
    ends = np.linspace(0, x.abs().max().item(), 4001)[1:]
    least = min(error(x, -end, end, bits=bits) for end in ends)
    low, high = mse_range(x[None], bits=bits)
    assert low == -high
    assert error(x, low, high, bits=bits) <= 1.01 * least


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_affine_mse_is_near_that_of_brute_force(bits, shift):
    x = heavy(120) + shift
    form = {"bits": bits, "symmetric": False}
    lows = np.linspace(min(x.min().item(), 0.0), 0, 61)[:-1]
    highs = np.linspace(0, max(x.max().item(), 0.0), 61)[1:]
    least = min(error(x, low, high, **form) for low in lows for high in highs)
    low, high = mse_range(x[None], **form)
    assert error(x, low[0], high[0], **form) <= 1.05 * least


@pytest.mark.parametrize("symmetric", [True, False])
def test_mse_is_never_worse_than_min_max_and_treats_blocks_alone(symmetric):
    x = torch.stack([heavy(50, seed) for seed in range(5)])
    low, high = mse_range(x, bits=4, symmetric=symmetric)
    whole_low, whole_high = min_max_range(x)
    for i, row in enumerate(x):
        alone = mse_range(row[None], bits=4, symmetric=symmetric)
        assert alone == (low[i], high[i])
        form = {"bits": 4, "symmetric": symmetric}
        assert error(row, low[i], high[i], **form) <= error(
            row, whole_low[i], whole_high[i], **form
        )


def test_counts_weigh_like_repetitions():
    x = torch.tensor([[-1.0, 0.3, 0.4, 5.0]])
    counts = torch.tensor([[3, 50, 20, 1]])
    repeated = x.repeat_interleave(counts[0], dim=1)
    assert mse_range(x, counts=counts, bits=3) == mse_range(repeated, bits=3)


def reference_divergence(x, counts, end, levels):
    """KL of a histogram of numbers at least 0 to its quantized self, after TensorRT."""
    kept = [i for i, centre in enumerate(x) if centre <= end]
    p = np.array([counts[i] for i in kept], dtype=float)
    p[-1] += counts[len(kept) :].sum()
    scale = end / (levels - 1)
    q = np.zeros(len(kept))
    level = [min(levels - 1, round(x[i] / scale)) for i in kept]
    for value in set(level):
        members = [i for i in kept if level[i] == value and p[i] > 0]
        total = sum(counts[i] for i in kept if level[i] == value)
        for i in members:
            q[i] = total / len(members)
    q[(p > 0) & (q == 0)] = 1e-4
    return scipy.stats.entropy(p, q)


def test_entropy_is_that_of_brute_force():
    x, width, bits = np.abs(heavy(5000).numpy()), 0.05, 4
    counts, edges = np.histogram(x, bins=np.arange(0, 20, width))
    last = counts.nonzero()[0][-1] + 1
    counts = counts[:last]
    centres = (edges[:last] + edges[1 : last + 1]) / 2
    highest = edges[last]
    steps = 64
    ends = [highest * step / steps for step in range(steps, 0, -1)]
    ends = [end for end in ends if (centres <= end).sum() > 2**bits]
    found = [reference_divergence(centres, counts, end, 2**bits) for end in ends]
    low, high = entropy_range(
        torch.from_numpy(centres)[None],
        torch.from_numpy(counts)[None],
        bits=bits,
        symmetric=False,
        steps=steps,
    )
    assert low.item() == pytest.approx(0, abs=1e-12)
    assert high.item() == pytest.approx(ends[int(np.argmin(found))])
    assert high < 0.8 * highest  # outliers are cut off


def test_quantiles_of_the_histogram_are_those_of_the_numbers():
    histogram = Histogram()
    x = heavy(20_000)
    for part in x.split(3000):
        histogram.add(part[None])
    for share in [0.001, 0.1, 0.5, 0.99, 0.9999]:
        expected = np.quantile(x.numpy(), share)
        near = 2 * histogram.width.item() + 0.01 * abs(expected)
        assert histogram.quantile(share).item() == pytest.approx(expected, abs=near)


def test_a_histogram_that_grows_is_the_one_made_at_once():
    x = torch.cat([torch.zeros(5), torch.rand(500) * 2 - 1, torch.tensor([1000.0])])
    grown, other = Histogram(64), Histogram(64)
    for part in x.split(7):
        grown.add(part[None])
    width = grown.width.item()
    assert grown.counts.sum() == 506
    # Every number lies in its bin, but a maximum at an upper end of the last.
    expected = torch.zeros(64)
    for number in x.double():
        expected[min(63, math.floor(number / width) + 32)] += 1
    assert torch.equal(expected.double(), grown.counts[0])
    other.add(torch.zeros(1, 4))
    assert other.counts[0, 32] == 4
    assert other.width == 0
    with pytest.raises(ValueError, match=r"^bins must be a multiple of 4, got 6$"):
        Histogram(6)


def test_min_max_and_moving_average_are_those_of_torch():
    torch.manual_seed(0)
    batches = [torch.randn(8, 5) * scale + 1 for scale in (1, 3, 0.5)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.ao.quantization import observer as theirs

        pairs = [
            (MinMaxObserver(), theirs.MinMaxObserver()),
            (
                MinMaxObserver(granularity=PerChannel(1)),
                theirs.PerChannelMinMaxObserver(ch_axis=1),
            ),
            (
                MovingAverageObserver(momentum=0.2),
                theirs.MovingAverageMinMaxObserver(averaging_constant=0.2),
            ),
        ]
        for ours, other in pairs:
            for batch in batches:
                ours.observe(batch)
                other(batch)
            low, high = ours.range()
            torch.testing.assert_close(low, other.min_val.reshape(-1).clamp(max=0))
            torch.testing.assert_close(high, other.max_val.reshape(-1).clamp(min=0))


def test_percentiles_cut_equal_tails():
    x = torch.linspace(-1, 3, 10_001)
    observer = PercentileObserver(share=0.9)
    observer.observe(x)
    low, high = observer.range()
    assert low.item() == pytest.approx(-0.8, abs=0.01)
    assert high.item() == pytest.approx(2.8, abs=0.01)
    whole = PercentileObserver(share=1.0)
    whole.observe(x)
    assert whole.range() == (-1, 3)


def test_the_mse_observer_finds_what_the_numbers_themselves_give():
    x = heavy(5000).float()
    observer = MSEObserver(bits=4)
    for part in x.split(1000):
        observer.observe(part)
    low, high = observer.range()
    form = {"bits": 4, "symmetric": False}
    best = error(x, *(end[0] for end in mse_range(x[None], **form)), **form)
    assert error(x, low, high, **form) <= 1.02 * best


def test_searching_observers_forget_an_outlier_and_min_max_does_not():
    torch.manual_seed(0)
    x = torch.randn(10_000)
    x[0] = 1000
    highest = {}
    for make in OBSERVERS:
        options = {"share": 0.999} if make is PercentileObserver else {}
        observer = make(**options)
        observer.observe(x)
        highest[make] = observer.range()[1].item()
    assert highest[MinMaxObserver] == highest[MovingAverageObserver] == 1000
    assert highest[PercentileObserver] < 10
    # One entry of 1000² outweighs what clipping it would gain the others at 8 bits.
    assert highest[MSEObserver] > 500
    assert highest[EntropyObserver] < 400


@pytest.mark.parametrize("make", OBSERVERS)
def test_what_every_observer_does(make):
    observer = make(granularity=PerChannel(1))
    with pytest.raises(RuntimeError, match=r"^observe at least one batch"):
        observer.range()
    observer.observe(torch.zeros(0, 3))
    observer.observe(torch.zeros(4, 3))
    assert all(torch.equal(end, torch.zeros(3)) for end in observer.range())
    observer.observe(torch.rand(50, 3) + 1)
    low, high = observer.range()
    assert low.shape == high.shape == (3,)
    assert (low == 0).all()
    assert (high > 0).all()
    assert (high <= 2).all()
    for bad in (math.inf, math.nan):
        with pytest.raises(ValueError, match=r"^x must be finite"):
            observer.observe(torch.full((2, 3), bad))
    with pytest.raises(ValueError, match=r"^x must have 3 blocks .* got 2$"):
        observer.observe(torch.zeros(4, 2))


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (MovingAverageObserver, {"momentum": 0}, r"^momentum must lie in \(0, 1\]"),
        (PercentileObserver, {"share": 0}, r"^share must lie in \(0, 1\], got 0$"),
        (PercentileObserver, {"share": 1.5}, r"^share must lie in \(0, 1\]"),
        (MSEObserver, {"bits": 1}, r"^bits must lie between 2 and 16, got 1$"),
        (EntropyObserver, {"bins": 256}, r"^bins must be above 2\^bits = 256"),
    ],
)
def test_options_that_are_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_functions_refuse_bad_numbers():
    x = torch.zeros(1, 4)
    with pytest.raises(ValueError, match=r"^steps must be at least 1, got 0$"):
        mse_range(x, steps=0)
    with pytest.raises(ValueError, match=r"^steps must be at least 1, got 0$"):
        entropy_range(x, x, steps=0)
    with pytest.raises(ValueError, match=r"^x and counts must have the same shape"):
        entropy_range(x, x[:, 1:])
