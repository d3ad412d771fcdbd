"""Shards of a batch join up to the batch, in each epoch, on any number of ranks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from mlopt_edu.parallel.batches import ShardedBatches


@given(
    st.integers(1, 40),
    st.integers(1, 12),
    st.lists(st.integers(0, 5), min_size=1, max_size=5).filter(any),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
)
def test_shards_join_up(n_rows, batch_size, speeds, shuffle, drop_last, epoch):
    options = {"shuffle": shuffle, "drop_last": drop_last, "seed": 5}
    alone = ShardedBatches(n_rows, batch_size, rank=0, world_size=1, **options)
    alone.set_epoch(epoch)
    shards = []
    for rank in range(len(speeds)):
        shard = ShardedBatches(
            n_rows,
            batch_size,
            rank=rank,
            world_size=len(speeds),
            speeds=speeds,
            **options,
        )
        shard.set_epoch(epoch)
        assert len(alone) == len(shard) == len(list(shard))
        shards.append(list(shard))
    for batch, parts in zip(alone, zip(*shards, strict=True), strict=True):
        assert batch == [index for part in parts for index in part]
    seen = sorted(index for batch in alone for index in batch)
    kept = n_rows - n_rows % batch_size if drop_last else n_rows
    assert len(seen) == len(set(seen)) == kept
    assert drop_last or seen == list(range(n_rows))


def test_an_epoch_has_its_order_and_forgetting_set_epoch_repeats_the_first():
    shard = ShardedBatches(50, 10, rank=1, world_size=2, seed=3)
    first, again = list(shard), list(shard)
    shard.set_epoch(1)
    second = list(shard)
    shard.set_epoch(0)
    assert first == again == list(shard) != second
    assert first != list(ShardedBatches(50, 10, rank=1, world_size=2, seed=4))


def test_a_loader_takes_it():
    data = TensorDataset(torch.arange(10.0))
    shard = ShardedBatches(10, 4, rank=1, world_size=2, shuffle=False)
    loaded = [batch.tolist() for (batch,) in DataLoader(data, batch_sampler=shard)]
    assert loaded == [[2.0, 3.0], [6.0, 7.0], [9.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_rows": 0}, "n_rows must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"rank": 2}, r"rank must lie in \[0, 2\), got 2"),
        ({"rank": -1}, r"rank must lie in \[0, 2\), got -1"),
        ({"speeds": [1.0]}, "speeds must hold one number a rank, 2, got 1"),
    ],
)
def test_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        ShardedBatches(
            **{"n_rows": 4, "batch_size": 2, "rank": 0, "world_size": 2} | options
        )
