"""Every stage takes the steps of one process, and holds and sends the paper's bytes."""

import contextlib

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from mlopt_edu.parallel import launch
from mlopt_edu.parallel.batches import ShardedBatches
from mlopt_edu.parallel.data_parallel import mean_over_ranks
from mlopt_edu.parallel.traffic import Traffic
from mlopt_edu.parallel.zero import Zero, zero_bytes

OPTIMIZERS = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.1),
    "nesterov": lambda params: torch.optim.SGD(
        params, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1
    ),
    "adamw": lambda params: torch.optim.AdamW(
        params, lr=0.02, betas=(0.7, 0.97), eps=1e-3, weight_decay=0.2, amsgrad=True
    ),
    "rmsprop": lambda params: torch.optim.RMSprop(params, lr=0.01, centered=True),
    "rprop": lambda params: torch.optim.Rprop(params, lr=0.01),
}
ROWS = 17


class Block(nn.Module):
    def __init__(self, width, unused=False):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width + 2)
        self.down = nn.Linear(width + 2, width, bias=False)
        self.unused = nn.Parameter(torch.ones(3)) if unused else None

    def forward(self, x, *, scale):
        return {"x": x + scale * self.down(self.up(self.norm(x)).relu())}


class Net(nn.Module):
    """A parameter of its own, a block that runs twice, one with an unused parameter."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.temperature = nn.Parameter(torch.tensor(1.3))
        self.stem = nn.Linear(4, 5)
        self.twice = Block(5)
        self.last = Block(5, unused=True)
        self.head = nn.Linear(5, 3)
        self.stem.bias.requires_grad_(False)
        self.double()

    def forward(self, x):
        x = self.stem(x).relu_()
        x = self.twice(x, scale=1.0)["x"]
        x = self.twice(x, scale=0.5)["x"]
        x = self.last(x, scale=1.0)["x"]
        return self.head(x) * self.temperature


def rows():
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, 4, dtype=torch.float64, generator=draw)
    return x, torch.arange(ROWS) % 3


def whole(model):
    return {name: param.detach().clone() for name, param in model.named_parameters()}


def in_stages(worker, *args):
    """Run a worker with each stage in turn: new ranks cost more than they compute."""
    return {stage: worker(stage, *args) for stage in (1, 2, 3)}


def plain_run(name, *, epochs=2):
    model, (x, y) = Net(), rows()
    optimizer = OPTIMIZERS[name]([p for p in model.parameters() if p.requires_grad])
    steps = []
    for batch in [*ShardedBatches(ROWS, 6, rank=0, world_size=1)] * epochs:
        optimizer.zero_grad()
        cross_entropy(model(x[batch]), y[batch]).backward()
        model.last.unused.grad = torch.zeros(3, dtype=torch.float64)
        optimizer.step()
        steps.append(whole(model))
    return steps


def sharded_run(stage, name, split, *, epochs=2):
    (x, y), model = rows(), Net(seed=dist.get_rank())
    units = None if split == "children" else split(model)
    zero = Zero(model, OPTIMIZERS[name], stage=stage, units=units)
    steps = []
    for batch in [*ShardedBatches(ROWS, 6, speeds=speeds())] * epochs:
        zero.zero_grad()
        loss = cross_entropy(model(x[batch]), y[batch], reduction="sum")
        mean_over_ranks(loss, len(batch)).backward()
        zero.step()
        with zero.gathered():
            steps.append(whole(model))
    return steps


def speeds():
    return [2.0] + [1.0] * (dist.get_world_size() - 1)


def blocks(model):
    return [model.twice, model.last]


def nested(model):
    return [model.twice, model.twice.up, model.head]


def nothing(model):
    return []


def same(expected, actual, atol=1e-11):
    assert len(expected) == len(actual) > 0
    for step, (left, right) in enumerate(zip(expected, actual, strict=True)):
        assert left.keys() == right.keys()
        for name in left:
            torch.testing.assert_close(
                right[name],
                left[name],
                rtol=0,
                atol=atol,
                msg=lambda m, s=step, n=name: f"step {s}, {n}: {m}",
            )


@pytest.mark.parametrize(
    ("name", "world_size", "split"),
    [
        ("adamw", 3, "children"),
        ("nesterov", 2, blocks),
        ("rmsprop", 2, nested),
        ("sgd", 1, nothing),
        ("rprop", 2, nothing),
    ],
)
def test_each_step_is_that_of_one_process(name, world_size, split):
    expected = plain_run(name)
    for stages in launch(in_stages, world_size, sharded_run, name, split):
        for stage in (1, 2, 3):
            same(expected, stages[stage])


def layers(count, width):
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(count))
    ).double()


def adamw(params):
    return torch.optim.AdamW(params, lr=0.01, weight_decay=0.1)


def torchs_and_ours():
    # Here, because their import warns and takes a while.
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.optim import ZeroRedundancyOptimizer

    x = torch.randn(
        5,
        6,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(dist.get_rank()),
    )
    runs = []
    for scheme in ("redundancy", "fsdp", 1, 2, 3):
        model = forward = layers(3, 6)
        gathered = contextlib.nullcontext
        if scheme == "redundancy":
            forward = DistributedDataParallel(model)
            optimizer = ZeroRedundancyOptimizer(
                model.parameters(), torch.optim.AdamW, lr=0.01, weight_decay=0.1
            )
        elif scheme == "fsdp":
            for layer in model:
                fully_shard(layer)
            fully_shard(model)
            optimizer = adamw(model.parameters())
        else:
            optimizer = Zero(model, adamw, stage=scheme)
            gathered = optimizer.gathered
        steps = []
        for _ in range(4):
            optimizer.zero_grad()
            forward(x).square().mean().backward()
            optimizer.step()
            with gathered():
                steps.append(
                    {
                        name: getattr(param, "full_tensor", lambda p=param: p)()
                        .detach()
                        .clone()
                        for name, param in model.named_parameters()
                    }
                )
        runs.append(steps)
    return runs


def test_each_step_is_that_of_torchs_own():
    for redundancy, fsdp, *ours in launch(torchs_and_ours, 2):
        for run in ours:
            same(redundancy, run)
            same(fsdp, run)


def measured(stage, name):
    """Return bytes held after backward, after the step, and sent in a step."""
    model = layers(3, 8).float()
    zero = Zero(model, OPTIMIZERS[name], stage=stage)
    x = torch.ones(2, 8)
    model(x).sum().backward()
    zero.step()
    zero.zero_grad()
    with Traffic() as traffic:
        model(x).sum().backward()
        held = zero.bytes()
        zero.step()
    return held, dict(traffic.by_operation), len(zero.units)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_bytes_are_the_papers(world_size):
    numel = 3 * (8 * 8 + 8)  # 72 numbers a layer: nothing to pad
    scheme = {"param_bytes": 4, "grad_bytes": 4, "state_bytes": 12}  # amsgrad: 3
    share = (world_size - 1) / world_size
    for stages in launch(in_stages, world_size, measured, "adamw"):
        for stage, (held, sent, units) in stages.items():
            held["state"] -= 4 * units  # Adam counts its steps, once a shard
            expected = zero_bytes(numel, world_size, stage=stage, **scheme)
            assert expected == sum(held.values())
            assert sent == {
                "reduce_scatter": share * numel * 4,
                "all_gather": share * numel * 4 * (2 if stage == 3 else 1),
            }


def test_kinds_of_bytes():
    whole, part = 216 * 4, 216 * 2
    expected = {
        1: {"params": whole, "grads": whole, "state": part},
        2: {"params": whole, "grads": part, "state": part},
        3: {"params": part, "grads": part, "state": part},
    }
    for stages in launch(in_stages, 2, measured, "nesterov"):
        assert expected == {stage: held for stage, (held, *_) in stages.items()}


def test_padding_is_less_than_one_number_a_rank_and_unit():
    # 72 numbers on 5 ranks: shards of 15, 3 numbers of padding in each of 3 units
    for held, sent, _ in launch(measured, 5, 3, "nesterov"):
        assert held == {"params": 3 * 15 * 4, "grads": 3 * 15 * 4, "state": 3 * 15 * 4}
        assert sent == {"reduce_scatter": 3 * 60 * 4, "all_gather": 2 * 3 * 60 * 4}


@pytest.mark.parametrize(
    ("stage", "gigabytes"), [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)]
)
def test_figure_1_of_the_paper(stage, gigabytes):
    assert round(zero_bytes(7_500_000_000, 64, stage=stage) / 1e9, 1) == gigabytes


def accumulated(stage):
    rank, (x, y) = dist.get_rank(), rows()
    model = Net()
    zero = Zero(model, OPTIMIZERS["nesterov"], stage=stage)
    for start in (0, 6):
        mine = slice(start + 3 * rank, start + 3 * rank + 3)
        loss = cross_entropy(model(x[mine]), y[mine], reduction="sum")
        mean_over_ranks(loss, 6).backward()
    zero.step()
    with zero.gathered():
        return whole(model)


def test_gradients_accumulate():
    model, (x, y) = Net(), rows()
    optimizer = OPTIMIZERS["nesterov"](
        [p for p in model.parameters() if p.requires_grad]
    )
    cross_entropy(model(x[:12]), y[:12]).backward()
    model.last.unused.grad = torch.zeros(3, dtype=torch.float64)
    optimizer.step()
    for stages in launch(in_stages, 2, accumulated):
        same([whole(model)] * 3, list(stages.values()))


def around_a_forward():
    """Return how many numbers each layer's weight has, before, in and after it runs."""
    model, seen = layers(2, 4), []

    def look(*_):
        seen.append([layer[0].weight.numel() for layer in model])

    zero = Zero(model, adamw, stage=3)
    look()
    for layer in model:
        layer[1].register_forward_hook(look)
        layer[0].register_full_backward_pre_hook(look)
    loss = model(torch.ones(1, 4, dtype=torch.float64, requires_grad=True)).sum()
    look()
    loss.backward()
    look()
    with torch.no_grad():
        model(torch.ones(1, 4, dtype=torch.float64))
    look()
    with zero.gathered():
        look()
    return seen


def test_stage_3_has_one_unit_whole_at_a_time():
    both = [[0, 0], [16, 0], [0, 16], [0, 0]]  # before, the first, the second, after
    backward = [[0, 16], [16, 0], [0, 0]]
    expected = [*both, *backward, [16, 0], [0, 16], [0, 0], [16, 16]]
    for seen in launch(around_a_forward, 2):
        assert expected == seen


class Tied(nn.Module):
    """A weight that two units share, and units of unlike dtypes."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.third = nn.Linear(3, 2).double()

    def forward(self, x):
        return self.third(self.second(self.first(x).tanh()).double())


def tied(stage):
    model = Tied(seed=dist.get_rank())
    zero = Zero(model, OPTIMIZERS["nesterov"], stage=stage)
    for _ in range(3):
        zero.zero_grad()
        model(torch.ones(4, 3)).sum().backward()
        zero.step()
    with zero.gathered():
        return whole(model)


def test_shared_parameters_and_two_dtypes():
    model = Tied(seed=0)
    optimizer = OPTIMIZERS["nesterov"](model.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(4, 3)).sum().backward()
        optimizer.step()
    for stages in launch(in_stages, 2, tied):
        same([whole(model)] * 3, list(stages.values()), atol=1e-5)


def arguments():
    for options in ({"stage": 0}, {"stage": 4}):
        with pytest.raises(ValueError, match=r"stage must be 1, 2 or 3, got [04]"):
            Zero(layers(1, 2), adamw, **options)
    with pytest.raises(ValueError, match="must have a parameter that requires a grad"):
        Zero(layers(1, 2).requires_grad_(False), adamw, stage=3)


def test_arguments():
    launch(arguments, 1)
