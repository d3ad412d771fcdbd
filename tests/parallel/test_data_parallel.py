"""Data parallelism takes the same steps as one process, and as torch's own."""

import contextlib

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from mlopt_edu.parallel import launch
from mlopt_edu.parallel.batches import ShardedBatches
from mlopt_edu.parallel.data_parallel import (
    DataParallel,
    broadcast_,
    fill_buckets,
    mean_over_ranks,
)

ROWS, WIDTH, CLASSES = 23, 5, 3


class Net(nn.Module):
    """Two towers, of which a batch uses one or both, and a layer that none uses."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Linear(WIDTH, 7)
        self.even = nn.Linear(7, CLASSES)
        self.odd = nn.Linear(7, CLASSES, bias=False)
        self.never = nn.Linear(2, 2)
        self.double()

    def forward(self, x, *, parity=None):
        hidden = self.stem(x).tanh()
        if parity is None:
            return self.even(hidden) + self.odd(hidden)
        return (self.odd if parity else self.even)(hidden)


class Switch(nn.Module):
    """`Net` with the tower as a positional argument."""

    def __init__(self, seed=0):
        super().__init__()
        self.net = Net(seed)

    def forward(self, x, parity=None):
        return self.net(x, parity=parity)


def rows():
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, WIDTH, dtype=torch.float64, generator=draw)
    return x, torch.arange(ROWS) % CLASSES


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9, weight_decay=0.1)


def snapshot(model):
    return [param.detach().clone() for param in model.parameters()]


def plain_run(batch_size, *, epochs=2):
    """Return the parameters of one process after each step."""
    model, (x, y) = Switch(), rows()
    optimizer, steps = sgd(model), []
    for epoch in range(epochs):
        batches = ShardedBatches(ROWS, batch_size, rank=0, world_size=1)
        batches.set_epoch(epoch)
        for batch in batches:
            optimizer.zero_grad()
            cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            steps.append(snapshot(model))
    return steps


def parallel_run(batch_size, speeds, wrapper, *, epochs=2):
    rank, (x, y) = dist.get_rank(), rows()
    model = Switch(seed=rank)
    if wrapper == "torch":
        wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    else:
        wrapped = DataParallel(model, bucket_bytes=wrapper, find_unused=True)
    optimizer, steps = sgd(model), []
    for epoch in range(epochs):
        batches = ShardedBatches(ROWS, batch_size, speeds=speeds)
        batches.set_epoch(epoch)
        for batch in batches:
            optimizer.zero_grad()
            loss = cross_entropy(wrapped(x[batch]), y[batch], reduction="sum")
            mean_over_ranks(loss, len(batch)).backward()
            optimizer.step()
            steps.append(snapshot(model))
    return steps


def same(expected, actual):
    """Assert that two runs agree in every parameter at every step."""
    assert len(expected) == len(actual) > 0
    for step, (left, right) in enumerate(zip(expected, actual, strict=True)):
        for one, other in zip(left, right, strict=True):
            torch.testing.assert_close(
                other, one, rtol=0, atol=1e-12, msg=lambda m, s=step: f"step {s}: {m}"
            )


@pytest.mark.parametrize(
    ("world_size", "batch_size", "speeds", "bucket_bytes"),
    [
        (1, 6, None, 1),
        (2, 6, None, 1),  # last batch of 5 rows
        (3, 7, None, 200),  # 7 rows on 3 ranks; last batch of 2: one shard is empty
        (2, 5, [3.0, 1.0], 10**6),
        (3, 11, [1.0, 0.0, 2.0], 1),  # a last batch of one row; rank 1 never has any
    ],
)
def test_each_step_is_that_of_one_process(world_size, batch_size, speeds, bucket_bytes):
    expected = plain_run(batch_size)
    for actual in launch(parallel_run, world_size, batch_size, speeds, bucket_bytes):
        same(expected, actual)


def test_each_step_is_that_of_torchs_own():
    for actual in launch(torch_and_ours, 2):
        same(*actual)


def torch_and_ours():
    return parallel_run(7, [2.0, 1.0], "torch"), parallel_run(7, [2.0, 1.0], 100)


def mean_of_means():
    rank, (x, y) = dist.get_rank(), rows()
    model = DataParallel(Switch(), find_unused=True)
    mine = slice(0, 3) if rank == 0 else slice(3, 11)
    cross_entropy(model(x[mine]), y[mine]).backward()
    return model.module.net.stem.weight.grad


def test_the_mean_of_the_ranks_means_is_another_gradient():
    model, (x, y) = Switch(), rows()
    cross_entropy(model(x[:11]), y[:11]).backward()
    for actual in launch(mean_of_means, 2):
        assert not torch.allclose(model.net.stem.weight.grad, actual, rtol=1e-3)


def one_tower_a_rank():
    """Rank 0 uses the even tower, rank 1 the odd; and then the next step both."""
    rank, (x, y) = dist.get_rank(), rows()
    model = DataParallel(Switch(), bucket_bytes=1, find_unused=True)
    grads = []
    for parity in (rank, None):
        model.zero_grad()
        part = slice(0, 4) if rank == 0 else slice(4, 11)
        loss = cross_entropy(model(x[part], parity), y[part], reduction="sum")
        mean_over_ranks(loss, len(y[part])).backward()
        grads.append({n: p.grad for n, p in model.module.net.named_parameters()})
    return grads


def test_a_parameter_that_some_ranks_do_not_use():
    model, (x, y) = Switch(), rows()
    split = cross_entropy(model(x[:4], 0), y[:4], reduction="sum")
    split = split + cross_entropy(model(x[4:11], 1), y[4:11], reduction="sum")
    whole = cross_entropy(model(x[:11]), y[:11], reduction="sum")
    expected = []
    for loss in (split, whole):
        model.zero_grad()
        (loss / 11).backward()
        expected.append({n: p.grad for n, p in model.net.named_parameters()})
    for actual in launch(one_tower_a_rank, 2):
        for left, right in zip(expected, actual, strict=True):
            assert left.keys() == right.keys()
            for name in left:
                assert (
                    (left[name] is None) == (right[name] is None) == ("never" in name)
                )
                if left[name] is not None:
                    torch.testing.assert_close(right[name], left[name])


def accumulated():
    """Micro-batches of unlike sizes; the last of them uses one tower alone."""
    rank, (x, y) = dist.get_rank(), rows()
    model = DataParallel(Switch(), bucket_bytes=60, find_unused=True)
    micro = [(0, 3, None), (3, 4, None), (4, 9, 0)] if rank == 0 else [(9, 14, 1)]
    micro += [(14, 14, 1)] * (3 - len(micro))  # empty ones, for the same number
    samples = sum(stop - start for start, stop, _ in micro)
    for index, (start, stop, parity) in enumerate(micro):
        last = index == len(micro) - 1
        with contextlib.nullcontext() if last else model.no_sync():
            output = model(x[start:stop], parity)
            loss = cross_entropy(output, y[start:stop], reduction="sum")
            mean_over_ranks(loss, samples).backward()
            if not last:
                first = model.module.net.stem.weight.grad.clone()
    return first, {n: p.grad for n, p in model.module.net.named_parameters()}


def test_gradients_accumulate_without_a_send_until_the_last():
    model, (x, y) = Switch(), rows()
    parts = [(0, 4, None), (4, 9, 0), (9, 14, 1)]
    losses = [
        cross_entropy(model(x[a:b], c), y[a:b], reduction="sum") for a, b, c in parts
    ]
    (torch.stack(losses).sum() / 14).backward()
    one, other = launch(accumulated, 2)
    assert not torch.allclose(one[0], other[0])
    for name, param in model.net.named_parameters():
        for _, grads in (one, other):
            if param.grad is None:
                assert grads[name] is None
            else:
                torch.testing.assert_close(grads[name], param.grad)


def order_of_events(bucket_bytes):
    model = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(4)))
    wrapped = DataParallel(model, bucket_bytes=bucket_bytes)
    events, all_reduce = [], dist.all_reduce
    for layer, one in enumerate(model):
        one.weight.register_hook(lambda grad, layer=layer: events.append(layer))

    def noted(tensor, **options):
        events.append(f"send {tensor.numel()}")
        return all_reduce(tensor, **options)

    dist.all_reduce = noted
    try:
        wrapped(torch.ones(2, 4)).sum().backward()
    finally:
        dist.all_reduce = all_reduce
    return events


@pytest.mark.parametrize(
    ("bucket_bytes", "expected"),
    [
        (1, [3, "send 16", 2, "send 16", 1, "send 16", 0, "send 16"]),
        (65, [3, 2, "send 32", 1, 0, "send 32"]),
        (3 * 64, [3, 2, 1, "send 48", 0, "send 16"]),
        (10**6, [3, 2, 1, 0, "send 64"]),
    ],
)
def test_a_full_bucket_leaves_while_backward_goes_on(bucket_bytes, expected):
    assert launch(order_of_events, 2, bucket_bytes) == [expected, expected]


def with_statistics(wrapper):
    rank = dist.get_rank()
    torch.manual_seed(rank)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten()).double()
    model.to(memory_format=torch.channels_last)
    wrapped = wrapper(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        x = torch.randn(4, 2, 5, 5, dtype=torch.float64)
        (wrapped(x) ** 2).mean().backward()
        optimizer.step()
    return [*model.state_dict().values()]


def ours_and_torchs_statistics():
    ours, torchs = (
        with_statistics(DataParallel),
        with_statistics(DistributedDataParallel),
    )
    return ours, torchs


def test_running_statistics_as_torch_has_them():
    for ours, torchs in launch(ours_and_torchs_statistics, 2):
        for one, other in zip(torchs, ours, strict=True):
            torch.testing.assert_close(other, one)


def some_dtypes():
    model = nn.Sequential(nn.Linear(3, 3).bfloat16(), Cast(), nn.Linear(3, 3))
    model[2].bias.requires_grad_(False)
    wrapped = DataParallel(model, bucket_bytes=10**6)
    x = torch.full((2, 3), 1.0 + dist.get_rank(), dtype=torch.bfloat16)
    wrapped(x).sum().backward()
    sizes = [len(bucket.params) for bucket in wrapped._buckets]
    return sizes, [p.grad for p in wrapped.parameters()]


class Cast(nn.Module):
    def forward(self, x):
        return x.float()


def test_buckets_hold_one_dtype_and_frozen_parameters_stay_out():
    (sizes, grads), (_, others) = launch(some_dtypes, 2)
    assert sizes == [1, 2]
    assert grads[-1] is None
    for one, other in zip(grads[:-1], others[:-1], strict=True):
        assert torch.equal(one, other)
    assert [grad.dtype for grad in grads[:-1]] == [torch.bfloat16] * 2 + [torch.float32]


def unused_without_leave():
    model = DataParallel(Switch(), find_unused=False)
    model(rows()[0], 0).sum().backward()


def test_an_unused_parameter_is_named():
    with pytest.raises(
        RuntimeError, match=r"got none for net\.never\.bias, .*net\.odd"
    ):
        launch(unused_without_leave, 2)


def backward_after_backward():
    """Two synchronised backwards without zero_grad add up."""
    rank, (x, y) = dist.get_rank(), rows()
    model = DataParallel(Switch(), find_unused=True)
    for start in (0, 8):
        mine = slice(start + 4 * rank, start + 4 * rank + 4)
        cross_entropy(model(x[mine]), y[mine]).backward()
    return model.module.net.stem.weight.grad


def test_a_second_backward_adds_to_the_first():
    model, (x, y) = Switch(), rows()
    for start in (0, 8):
        part = slice(start, start + 8)
        cross_entropy(model(x[part]), y[part]).backward()
    for actual in launch(backward_after_backward, 2):
        torch.testing.assert_close(actual, model.net.stem.weight.grad)


def bad_arguments():
    messages = []
    for attempt in (
        lambda: DataParallel(Switch(), bucket_bytes=0),
        lambda: DataParallel(nn.ReLU()),
        lambda: mean_over_ranks(torch.tensor(1.0), -1),
        lambda: mean_over_ranks(torch.tensor(1.0), 0),
    ):
        with pytest.raises(ValueError, match="must") as error:
            attempt()
        messages.append(str(error.value))
    value = torch.arange(6.0).reshape(2, 3).t() + dist.get_rank()
    broadcast_([value])
    return messages, value


def test_arguments():
    expected = [
        "bucket_bytes must be at least 1, got 0",
        "module must have a parameter that requires a gradient, got none",
        "samples must be at least 0, got -1",
        "samples must be above 0 on some rank, got 0 on all",
    ]
    for messages, value in launch(bad_arguments, 2):
        assert messages == expected
        assert torch.equal(value, torch.arange(6.0).reshape(2, 3).t())


def test_buckets_keep_the_order_and_lose_nothing():
    sizes = [3, 50, 1, 1, 20, 2, 2]
    dtypes = [torch.float32, torch.float64, torch.float32] * 2 + [torch.float32]
    params = [
        nn.Parameter(torch.zeros(size, dtype=dtype))
        for size, dtype in zip(sizes, dtypes, strict=True)
    ]
    buckets = fill_buckets(params, 24)
    found = [
        next(i for i, one in enumerate(params) if one is param)
        for bucket in buckets
        for param in bucket
    ]
    assert sorted(found) == list(range(7))
    for bucket in buckets:
        assert len({param.dtype for param in bucket}) == 1
        assert sum(param.numel() * param.itemsize for param in bucket[:-1]) < 24
