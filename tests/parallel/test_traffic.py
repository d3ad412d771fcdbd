"""Counted bytes equal the formulas, for our collectives and for what torch sends."""

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from mlopt_edu.parallel import RankError, launch
from mlopt_edu.parallel.collectives import (
    ring_all_gather,
    ring_all_reduce,
    ring_reduce_scatter,
    tree_all_reduce,
)
from mlopt_edu.parallel.traffic import (
    Traffic,
    chunk_size,
    ring_all_gather_bytes,
    ring_bytes,
    ring_reduce_scatter_bytes,
    tree_bytes,
)

NUMELS = [0, 1, 3, 8, 1001]


def bytes_of(function, *args, **options):
    with Traffic() as traffic:
        function(*args, **options)
    return traffic.sent


def our_bytes(dtype):
    counted = []
    for numel in NUMELS:
        tensor = torch.zeros(numel, dtype=dtype)
        size = chunk_size(numel, dist.get_world_size(), dist.get_rank())
        counted.append(
            (
                bytes_of(ring_all_reduce, tensor),
                bytes_of(ring_reduce_scatter, tensor),
                bytes_of(ring_all_gather, tensor[:size], numel=numel),
                bytes_of(tree_all_reduce, tensor),
            )
        )
    return counted


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 5])
def test_our_collectives_send_what_the_formulas_say(world_size):
    dtype = {1: torch.int8, 2: torch.bfloat16, 3: torch.float64}.get(
        world_size, torch.float32
    )
    formulas = (
        ring_bytes,
        ring_reduce_scatter_bytes,
        ring_all_gather_bytes,
        tree_bytes,
    )
    expected = [
        [
            tuple(formula(n, dtype.itemsize, world_size, rank) for formula in formulas)
            for n in NUMELS
        ]
        for rank in range(world_size)
    ]
    assert expected == launch(our_bytes, world_size, dtype)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 5, 8, 1000])
def test_ring_and_tree_send_the_same_in_all_and_the_ring_no_more_than_its_share(
    world_size,
):
    numel, size = 8000, 4
    ring = [ring_bytes(numel, size, world_size, rank) for rank in range(world_size)]
    tree = [tree_bytes(numel, size, world_size, rank) for rank in range(world_size)]
    total = 2 * (world_size - 1) * numel * size
    assert [total, total] == [sum(ring), sum(tree)]
    if numel % world_size == 0:
        assert {total / world_size} == set(ring)
    rounds = (world_size - 1).bit_length()
    assert max(tree) == numel * size * max(rounds, 2 * (world_size > 2))


def test_chunk_sizes_are_those_of_tensor_split():
    for numel in range(20):
        for world_size in range(1, 8):
            chunks = torch.empty(numel).tensor_split(world_size)
            expected = [chunk.numel() for chunk in chunks]
            sizes = [chunk_size(numel, world_size, rank) for rank in range(world_size)]
            assert expected == sizes


def their_bytes():
    rank, world_size = dist.get_rank(), dist.get_world_size()
    parts = list(torch.zeros(world_size, 6))
    whole, part = torch.zeros(6 * world_size), torch.zeros(6)
    with Traffic() as traffic:
        dist.all_reduce(part)
        dist.all_gather(parts, part)
        dist.all_gather_into_tensor(whole, part)
        dist.reduce_scatter_tensor(part, whole)
        dist.all_to_all_single(torch.zeros_like(whole), whole)
        dist.broadcast(part, 0)
        dist.reduce(part, 0)
        dist.scatter(part, parts if rank == 0 else None, src=0)
        dist.gather(part, parts if rank == 0 else None, dst=0)
        dist.barrier()
        if rank == 0:
            dist.send(part, 1)
        if rank == 1:
            dist.recv(part, 0)
    dist.all_reduce(part)  # outside: not counted
    return dict(traffic.by_operation), dict(traffic.calls)


@pytest.mark.parametrize("world_size", [2, 3])
def test_torch_collectives_count_by_the_table(world_size):
    n, whole = 24, 24 * world_size
    share = (world_size - 1) / world_size
    for rank, (by_operation, calls) in enumerate(launch(their_bytes, world_size)):
        expected = {
            "all_reduce": 2 * n * share,
            "all_gather": 2 * n * (world_size - 1),
            "reduce_scatter": whole * share,
            "all_to_all": whole * share,
            "broadcast": n * share,
            "reduce": n * share,
            "scatter": whole * share if rank == 0 else 0,
            "gather": n * share,
        }
        if rank == 0:
            expected["send"] = n
        assert by_operation == pytest.approx(expected)
        assert {name: 1 + (name == "all_gather") for name in expected} == calls


def bytes_of_data_parallel():
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 3))
    model = DistributedDataParallel(model)
    loss = model(torch.ones(2, 5)).sum()
    return bytes_of(loss.backward)


def test_what_torch_sends_from_inside_backward_is_counted():
    parameters = 5 * 7 + 7 + 7 * 3 + 3
    expected = [2 * 2 / 3 * parameters * 4] * 3
    assert expected == pytest.approx(launch(bytes_of_data_parallel, 3))


def unknown_operator():
    library = torch.library.Library("c10d", "FRAGMENT")
    library.define("whisper(Tensor tensor) -> Tensor")
    library.impl("whisper", lambda tensor: tensor, "CPU")
    with Traffic():
        torch.ops.c10d.whisper(torch.ones(1))


def test_an_operator_without_a_rule_is_refused():
    with pytest.raises(RankError, match="Traffic has no rule for c10d"):
        launch(unknown_operator, 1)
