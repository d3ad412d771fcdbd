"""Our collectives equal torch's, sum in the order they state, and use any group."""

import pytest
import torch
import torch.distributed as dist

from mlopt_edu.parallel import RankError, launch
from mlopt_edu.parallel.collectives import (
    ring_all_gather,
    ring_all_reduce,
    ring_reduce_scatter,
    tree_all_reduce,
    tree_broadcast,
    tree_reduce,
)

WORLD_SIZES = [1, 2, 3, 4, 5]
SHAPES = [(), (0,), (1,), (2,), (3, 5), (4, 1, 7), (64,)]
DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.complex64,
]
ALL_REDUCES = [ring_all_reduce, tree_all_reduce]


def of_rank(rank, shape, dtype):
    """Small whole numbers, so that every sum is exact in every dtype."""
    numbers = torch.Generator().manual_seed(rank)
    return torch.randint(0, 8, shape, generator=numbers).to(dtype)


def total_of(world_size, shape, dtype):
    return sum(of_rank(rank, shape, torch.int64) for rank in range(world_size)).to(
        dtype
    )


def exact_sums():
    rank, world_size = dist.get_rank(), dist.get_world_size()
    for shape in SHAPES:
        for dtype in DTYPES:
            mine = of_rank(rank, shape, dtype)
            total = total_of(world_size, shape, dtype)
            for all_reduce in ALL_REDUCES:
                given = mine.clone()
                assert all_reduce(given) is given
                torch.testing.assert_close(given, total, rtol=0, atol=0)
            root = world_size - 1
            reduced = tree_reduce(mine.clone(), dst=root)
            expected = total if rank == root else mine
            torch.testing.assert_close(reduced, expected, rtol=0, atol=0)
            given = mine.clone()
            chunk = ring_reduce_scatter(given)
            torch.testing.assert_close(given, mine, rtol=0, atol=0)
            expected = total.flatten().tensor_split(world_size)[rank]
            torch.testing.assert_close(chunk, expected, rtol=0, atol=0)
            whole = ring_all_gather(chunk, numel=total.numel())
            torch.testing.assert_close(whole, total.flatten(), rtol=0, atol=0)


@pytest.mark.parametrize("world_size", WORLD_SIZES)
def test_sums_are_exact_for_every_shape_and_dtype(world_size):
    launch(exact_sums, world_size)


def broadcasts():
    world_size = dist.get_world_size()
    for src in range(world_size):
        for dtype in [torch.float32, torch.bool, torch.complex64]:
            given = of_rank(dist.get_rank(), (3, 4), dtype)
            assert tree_broadcast(given, src=src) is given
            expected = of_rank(src, (3, 4), dtype)
            torch.testing.assert_close(given, expected, rtol=0, atol=0)


@pytest.mark.parametrize("world_size", WORLD_SIZES)
def test_broadcast_from_any_rank(world_size):
    launch(broadcasts, world_size)


def real_sums(numel):
    """What each algorithm, and torch, make of random numbers; and the inputs."""
    numbers = torch.Generator().manual_seed(100 + dist.get_rank())
    mine = torch.randn(numel, generator=numbers)
    theirs = mine.clone()
    dist.all_reduce(theirs)
    gathered = [torch.empty(5) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, mine[:5])
    torch.testing.assert_close(ring_all_gather(mine[:5]), torch.cat(gathered))
    ours = [all_reduce(mine.clone()) for all_reduce in ALL_REDUCES]
    return mine, theirs, *ours


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_sums_equal_those_of_torch_and_are_the_same_bits_on_each_rank(world_size):
    results = launch(real_sums, world_size, 1003)
    for _, theirs, ring, tree in results:
        torch.testing.assert_close(ring, theirs)
        torch.testing.assert_close(tree, theirs)
        torch.testing.assert_close(ring, results[0][2], rtol=0, atol=0)
        torch.testing.assert_close(tree, results[0][3], rtol=0, atol=0)
    assert ring.equal(ordered_sum([mine for mine, *_ in results]))


def ordered_sum(inputs):
    """Sum chunk c in the order of the ring: rank c + 1 first, rank c last."""
    world_size = len(inputs)
    chunks = [tensor.tensor_split(world_size) for tensor in inputs]
    sums = []
    for chunk in range(world_size):
        total = torch.zeros_like(chunks[0][chunk])
        for step in range(1, world_size + 1):
            total = total + chunks[(chunk + step) % world_size][chunk]
        sums.append(total)
    return torch.cat(sums)


def sums_in_groups():
    rank = dist.get_rank()
    groups = [dist.new_group([0, 3]), dist.new_group([1, 2, 4])]
    mine = torch.tensor([rank + 1, 10 * rank])
    group = groups[rank in (1, 2, 4)]
    results = [all_reduce(mine.clone(), group=group) for all_reduce in ALL_REDUCES]
    # src is a rank in the group: its last member.
    last = dist.get_world_size(group) - 1
    return [*results, tree_broadcast(mine.clone(), src=last, group=group)]


def test_a_group_sums_for_itself():
    first, second = torch.tensor([5, 30]), torch.tensor([10, 70])
    for rank, result in enumerate(launch(sums_in_groups, 5)):
        total, last = (first, 3) if rank in (0, 3) else (second, 4)
        expected = [total, total, torch.tensor([last + 1, 10 * last])]
        assert [part.tolist() for part in expected] == [
            part.tolist() for part in result
        ]


def sums_of_views():
    matrix = torch.arange(12.0).view(3, 4)
    for all_reduce in ALL_REDUCES:
        storage = matrix.clone()
        all_reduce(storage.t())
        all_reduce(storage[:, 1])
        parameter = torch.nn.Parameter(matrix.clone())
        all_reduce(parameter)
        expected = 2 * matrix
        torch.testing.assert_close(parameter.detach(), expected)
        expected[:, 1] *= 2
        torch.testing.assert_close(storage, expected)


def test_views_and_parameters_are_summed_in_place():
    launch(sums_of_views, 2)


def outside_of_its_group():
    group = dist.new_group([0])
    if dist.get_rank() == 1:
        ring_all_reduce(torch.ones(1), group=group)


def wrong_chunk():
    ring_all_gather(torch.ones(2), numel=3)


def wrong_root():
    tree_broadcast(torch.ones(1), src=2)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (outside_of_its_group, "group must contain this rank, 1: call on its members"),
        (wrong_chunk, "chunk must have 1 of the 3 elements on rank 1 of 2, got 2"),
        (wrong_root, "src must be a rank below 2, got 2"),
    ],
)
def test_a_wrong_argument_is_named(function, message):
    with pytest.raises(RankError, match=message):
        launch(function, 2)
