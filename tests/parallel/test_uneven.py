"""Shares in proportion to speed, and a model that does not notice."""

import time
from fractions import Fraction

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mlopt_edu.parallel import launch
from mlopt_edu.parallel.batches import ShardedBatches
from mlopt_edu.parallel.data_parallel import DataParallel, mean_over_ranks
from mlopt_edu.parallel.uneven import Speedometer, split_rows, step_seconds


def by_hand(n_rows, speeds):
    """Hamilton's method in exact fractions."""
    total = sum(map(Fraction, speeds))
    exact = [n_rows * Fraction(speed) / total for speed in speeds]
    rows = [int(share) for share in exact]
    order = sorted(range(len(rows)), key=lambda rank: (rows[rank] - exact[rank], rank))
    for rank in order[: n_rows - sum(rows)]:
        rows[rank] += 1
    return rows


@given(
    st.integers(0, 10_000),
    st.lists(st.integers(0, 1000), min_size=1, max_size=9).filter(any),
)
def test_shares_are_hamiltons(n_rows, speeds):
    rows = split_rows(n_rows, speeds)
    assert sum(rows) == n_rows
    for count, speed, exact in zip(rows, speeds, by_hand(n_rows, speeds), strict=True):
        assert abs(count - n_rows * Fraction(speed) / sum(speeds)) < 1
        assert abs(count - exact) <= 1  # equal remainders may fall to another rank
        assert count == 0 or speed > 0


@pytest.mark.parametrize(
    ("n_rows", "speeds", "expected"),
    [
        (10, [1.0, 1.0, 1.0], [4, 3, 3]),
        (7, [4.0, 2.0, 1.0], [4, 2, 1]),
        (1, [1.0, 3.0], [0, 1]),
        (5, [0.0, 2.0], [0, 5]),
        (3, [1e308, 1e308], [2, 1]),
        (1000, [1e-300, 3e-300], [250, 750]),
        (0, [5.0], [0]),
    ],
)
def test_shares(n_rows, speeds, expected):
    assert expected == split_rows(n_rows, speeds)


@given(st.integers(1, 500), st.lists(st.floats(0.1, 10.0), min_size=2, max_size=5))
def test_no_rank_works_a_row_longer_than_the_ideal(n_rows, speeds):
    ideal = n_rows / sum(speeds)
    seconds = step_seconds(split_rows(n_rows, speeds), speeds)
    assert ideal * (1 - 1e-12) <= seconds <= ideal + 1 / min(speeds) + 1e-9


@pytest.mark.parametrize(
    ("n_rows", "speeds", "message"),
    [
        (-1, [1.0], "n_rows must be at least 0, got -1"),
        (1, [], r"speeds must hold one above 0, got \[\]"),
        (1, [0.0, 0.0], "speeds must hold one above 0"),
        (1, [1.0, -2.0], "speeds must be finite and at least 0"),
        (1, [float("nan")], "speeds must be finite and at least 0"),
        (1, [float("inf"), 1.0], "speeds must be finite and at least 0"),
    ],
)
def test_arguments(n_rows, speeds, message):
    with pytest.raises(ValueError, match=message):
        split_rows(n_rows, speeds)


def test_speedometer_takes_the_median_of_the_latest():
    speed = Speedometer(window=3)
    assert speed.rows_per_second == 0
    for rows, seconds in ((1, 1.0), (100, 1.0), (8, 2.0), (0, 1.0), (6, 1.0)):
        speed.add(rows, seconds)
    assert speed.rows_per_second == 6  # of 100, 4 and 6
    with pytest.raises(ValueError, match="seconds must be above 0, got 0"):
        speed.add(1, 0.0)
    with pytest.raises(ValueError, match="window must be at least 1, got 0"):
        Speedometer(window=0)


def gathered(speeds):
    speed = Speedometer()
    mine = speeds[dist.get_rank()]
    if mine:
        speed.add(mine, 1.0)
    return speed.gather()


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [([6, 2, 0], [6.0, 2.0, 4.0]), ([0, 0], [1.0, 1.0]), ([3], [3.0])],
)
def test_all_ranks_hear_all_speeds(speeds, expected):
    assert [expected] * len(speeds) == launch(gathered, len(speeds), speeds)


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def rows():
    draw = torch.Generator().manual_seed(1)
    return torch.randn(40, 3, dtype=torch.float64, generator=draw)


def train_on_unlike_devices():
    """Rank 1 needs ten times as long for a row; from the second step it gets fewer."""
    seconds_a_row = [0.001, 0.01][dist.get_rank()]
    model, x = build(), rows()
    wrapped = DataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    speed, shares = Speedometer(), []
    for _ in range(4):
        batches = ShardedBatches(40, 20, speeds=speed.gather())
        batch = next(iter(batches))
        start = time.perf_counter()
        loss = wrapped(x[batch]).square().sum()
        time.sleep(seconds_a_row * len(batch))
        speed.add(len(batch), time.perf_counter() - start)
        optimizer.zero_grad()
        mean_over_ranks(loss, len(batch)).backward()
        optimizer.step()
        shares.append(len(batch))
    return shares, [param.detach() for param in model.parameters()]


def test_a_slow_rank_gets_fewer_rows_and_the_weights_are_those_of_one_process():
    model, x = build(), rows()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batch = next(iter(ShardedBatches(40, 20, rank=0, world_size=1)))
    for _ in range(4):
        optimizer.zero_grad()
        model(x[batch]).square().mean().backward()
        optimizer.step()
    (fast, weights), (slow, others) = launch(train_on_unlike_devices, 2)
    assert (fast[0], slow[0]) == (10, 10)
    for one, other in zip(fast, slow, strict=True):
        assert one + other == 20
    for one, other in list(zip(fast, slow, strict=True))[1:]:
        assert one > other
    for actual in (weights, others):
        for one, other in zip(model.parameters(), actual, strict=True):
            torch.testing.assert_close(other, one.detach(), rtol=0, atol=1e-13)
