"""Local SGD against p models in one process, and where it is another rule."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn

from mlopt_edu.parallel import launch
from mlopt_edu.parallel.local_sgd import LocalSGD, average_, outer_update_
from mlopt_edu.parallel.traffic import Traffic


def build(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def data(rank, step):
    draw = torch.Generator().manual_seed(100 * step + rank)
    return torch.randn(3, 4, dtype=torch.float64, generator=draw)


def inner(model, momentum):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)


def local_run(every, outer, momentum, steps):
    rank = dist.get_rank()
    model = build(seed=rank)
    optimizer = inner(model, momentum)
    local = LocalSGD(model.parameters(), every, **outer)
    averaged = []
    with Traffic() as traffic:
        for step in range(steps):
            optimizer.zero_grad()
            model(data(rank, step)).square().mean().backward()
            optimizer.step()
            averaged.append(local.step())
    return [p.detach() for p in model.parameters()], averaged, traffic.sent


def serial_run(world_size, every, outer, momentum, steps):
    """Train copies in turn; torch's SGD on the anchor is the outer optimizer."""
    anchor = build()
    models = [copy.deepcopy(anchor) for _ in range(world_size)]
    optimizers = [inner(model, momentum) for model in models]
    outer = torch.optim.SGD(anchor.parameters(), **({"lr": 1.0} | outer))
    for step in range(steps):
        for rank, (model, optimizer) in enumerate(zip(models, optimizers, strict=True)):
            optimizer.zero_grad()
            model(data(rank, step)).square().mean().backward()
            optimizer.step()
        if (step + 1) % every == 0:
            with torch.no_grad():
                for param, *locals_ in zip(
                    anchor.parameters(), *(m.parameters() for m in models), strict=True
                ):
                    param.grad = param - torch.stack(locals_).mean(0)
            outer.step()
            for model in models:
                model.load_state_dict(anchor.state_dict())
    return [[p.detach() for p in model.parameters()] for model in models]


SLOWMO = {"momentum": 0.7}
DILOCO = {"lr": 0.7, "momentum": 0.9, "nesterov": True}


@pytest.mark.parametrize(
    ("world_size", "every", "outer", "momentum"),
    [
        (2, 1, {}, 0.0),
        (3, 4, {}, 0.9),
        (2, 3, SLOWMO, 0.9),
        (3, 2, DILOCO, 0.0),
        (2, 2, {"lr": 0.5}, 0.5),
        (1, 2, DILOCO, 0.9),
    ],
)
def test_ranks_move_as_models_in_one_process(world_size, every, outer, momentum):
    steps = 9  # not a multiple of 2 or 4: the last steps are local
    expected = serial_run(world_size, every, outer, momentum, steps)
    results = launch(local_run, world_size, every, outer, momentum, steps)
    for rank, (actual, averaged, sent) in enumerate(results):
        for one, other in zip(expected[rank], actual, strict=True):
            torch.testing.assert_close(other, one, rtol=0, atol=1e-12)
        assert averaged == [(step + 1) % every == 0 for step in range(steps)]
        numbers = sum(param.numel() for param in actual)
        share = 2 * (world_size - 1) / world_size
        assert sent == pytest.approx(steps // every * share * numbers * 8)


def test_every_step_is_data_parallelism():
    model = build()
    optimizer = inner(model, 0.0)
    for step in range(5):
        optimizer.zero_grad()
        rows = torch.cat([data(rank, step) for rank in range(2)])
        model(rows).square().mean().backward()
        optimizer.step()
    for actual, _, _ in launch(local_run, 2, 1, {}, 0.0, 5):
        for one, other in zip(model.parameters(), actual, strict=True):
            torch.testing.assert_close(other, one.detach(), rtol=0, atol=1e-12)


def against_torch(every):
    from torch.distributed.algorithms.model_averaging.averagers import (
        PeriodicModelAverager,
    )

    rank, models = dist.get_rank(), [build(), build()]
    ours = LocalSGD(models[0].parameters(), every)
    torchs = PeriodicModelAverager(period=every, warmup_steps=every - 1)
    optimizers = [inner(model, 0.9) for model in models]
    for step in range(7):
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            model(data(rank, step)).square().mean().backward()
            optimizer.step()
        ours.step()
        torchs.average_parameters(models[1].parameters())
    return [[p.detach() for p in model.parameters()] for model in models]


def test_torchs_averager():
    for ours, torchs in launch(against_torch, 2, 3):
        for one, other in zip(torchs, ours, strict=True):
            torch.testing.assert_close(other, one, rtol=0, atol=1e-13)


def means():
    rank = dist.get_rank()
    tensors = [
        torch.full((2, 3), float(rank)),
        torch.tensor(10.0 * rank, dtype=torch.float64),
        torch.arange(6.0).reshape(2, 3).t() * rank,
        torch.full((2,), 60000.0, dtype=torch.float16),  # their sum would be infinite
    ]
    average_(tensors)
    return tensors


def test_average():
    for square, number, turned, half in launch(means, 3):
        assert torch.equal(torch.ones(2, 3), square)
        torch.testing.assert_close(number, torch.tensor(10.0, dtype=torch.float64))
        torch.testing.assert_close(turned, torch.arange(6.0).reshape(2, 3).t())
        torch.testing.assert_close(half, torch.full((2,), 60000.0, dtype=torch.float16))


def test_with_step_size_one_the_anchor_becomes_the_average_to_the_last_bit():
    anchor, average = torch.randn(2, 500, generator=torch.Generator().manual_seed(0))
    outer_update_(anchor, average, torch.empty(0), lr=1.0, momentum=0.0, nesterov=False)
    assert torch.equal(average, anchor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"lr": 0.0}, "lr must be above 0, got 0.0"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"nesterov": True}, "nesterov must go with a momentum above 0"),
        ({"params": []}, "params must hold at least one tensor, got none"),
    ],
)
def test_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        LocalSGD(**{"params": [torch.zeros(1)], "every": 1} | options)
