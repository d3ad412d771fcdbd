"""One operator between two layers: channels are followed through it, or stay whole."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from mlopt_edu.pruning.structured import (
    Role,
    remove_,
    rules_entry,
    rules_layer,
    rules_shape,
    trace,
)
from mlopt_edu.pruning.structured.run import RULES
from tests.pruning.structured.test_laws import (
    assert_equal_functions,
    draw_units,
    zero_parts,
)


class Between(nn.Module):
    """Make 8 channels of 6 x 6, do something, and read them with whatever fits."""

    def __init__(self, make, operator):
        super().__init__()
        self.make = make
        self.operator = operator
        self.read = nn.LazyLinear(3)

    def forward(self, x):
        y = self.operator(self.make(x))
        return self.read(y.flatten(1) if y.ndim > 2 else y)


def conv(x=nn.Conv2d, **options):
    return x(3, 8, 3, padding=1, **options)


# Functions that map 0 to 0, and keep channels apart.
SAME = {
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "silu": F.silu,
    "mish": F.mish,
    "elu": F.elu,
    "softsign": F.softsign,
    "hardshrink": F.hardshrink,
    "clamp": lambda x: x.clamp(-1, 1),
    "power": lambda x: x**3,
    "where": lambda x: torch.where(x > 0.1, x, x / 2),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0.0),
    "in place": lambda x: x.relu_().mul_(2).add_(x),
    "dropout2d": lambda x: F.dropout2d(x, training=False),
    "max_pool": lambda x: F.max_pool2d(x, 3, 2, return_indices=True)[0],
    "lp_pool": lambda x: F.lp_pool2d(x + 1e-9, 2, 2) * (x[:, :, :3, :3] != 0),
    "avg_pool": lambda x: F.avg_pool2d(x, 2, ceil_mode=True),
    "adaptive_avg_pool": lambda x: F.adaptive_avg_pool2d(x, (2, 3)),
    "adaptive_max_pool": lambda x: F.adaptive_max_pool2d(x, 2),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, size=(5, 4), mode="bilinear"),
    "bicubic": lambda x: F.interpolate(x, size=(5, 4), mode="bicubic", antialias=True),
    "reflect": lambda x: F.pad(x, (1, 2, 0, 1), mode="reflect"),
    "replicate": lambda x: F.pad(x, (1, 2, 0, 1), mode="replicate"),
    "circular": lambda x: F.pad(x, (1, 2, 0, 1), mode="circular"),
    "zeros": lambda x: F.pad(x, (1, 2, -1, 1)),
    "crop": lambda x: x[:, :, 1:-1, ::2],
    "narrow": lambda x: x.narrow(2, 1, 3)[..., 0],
    "flip": lambda x: x.flip(-1).roll(1, dims=2),
    "rotate": lambda x: torch.rot90(x, 1, (2, 3)),
    "sort": lambda x: x.sort(dim=-1).values,
    "topk": lambda x: x.flatten(2).topk(4, dim=2).values,
    "cumsum": lambda x: x.cumsum(2),
    "gather rows": lambda x: x[:, :, torch.tensor([0, 2, 2])],
    "index_select": lambda x: x.index_select(3, torch.tensor([1, 1, 0])),
    "unfold": lambda x: F.unfold(x, 3, stride=2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "permute": lambda x: x.permute(2, 0, 3, 1).transpose(0, 1).reshape(len(x), -1),
    "swap": lambda x: x.swapaxes(1, -1).contiguous(),
    "unflatten": lambda x: x.flatten(2).unflatten(2, (2, -1)),
    "squeeze": lambda x: x.unsqueeze(1).squeeze(1).unsqueeze(-1).squeeze(),
    "expand": lambda x: x[..., None].expand(-1, -1, -1, -1, 2),
    "repeat": lambda x: x.repeat(1, 2, 1, 2),
    "repeat_interleave": lambda x: x.repeat_interleave(2, dim=1),
    "stack": lambda x: torch.stack([x, x.relu()], dim=2),
    "cat": lambda x: torch.cat([x, -x], dim=1),
    "cat below": lambda x: torch.cat([x, x.relu()], dim=2),
    "sum of places": lambda x: x.sum((2, 3)),
    "largest place": lambda x: x.amax((2, 3)),
    "max over width": lambda x: x.max(dim=3).values,
    "deviation": lambda x: x.std((2, 3), correction=0),
    "norm of places": lambda x: x.flatten(2).norm(dim=2),
    "normalize": lambda x: F.normalize(x, dim=1),
    "matmul on places": lambda x: x.flatten(2) @ torch.ones(36, 2, dtype=x.dtype),
    "einsum": lambda x: torch.einsum("bchw,bchw->bc", x, x),
    "gram": lambda x: torch.einsum("bchw,bcvw->bchv", x, x),
    "unbind places": lambda x: sum(x.unbind(2)),
    "split places": lambda x: x.split([2, 4], dim=2)[1],
    "type": lambda x: x.float().double(),
    "detach": lambda x: x + x.detach(),
    "empty": lambda x: torch.cat([x[:0], x]),
}
# What ties channels together: how many units are left of 8.
TIED = {
    "chunk": (lambda x: x.chunk(2, dim=1)[0] + x.chunk(2, dim=1)[1], 4),
    "glu": (lambda x: F.glu(x, dim=1), 4),
    "channel_shuffle": (lambda x: F.channel_shuffle(x, 4), 2),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), 2),
    "unflatten channels": (lambda x: x.unflatten(1, (2, -1)).sum(1), 4),
    "unflatten channels, rows": (lambda x: x.unflatten(1, (-1, 2)).sum(1), 4),
    "tile and multiply": (lambda x: x * x.flip(1), 0),
    "softmax": (lambda x: x * x.softmax(1), 0),
    "outer product": (lambda x: torch.einsum("bchw,bdhw->bcd", x, x), 0),
    "all sorted": (lambda x: x.flatten(1).sort(dim=1).values, 0),
}


def between(operator, make=None):
    torch.manual_seed(0)
    model = Between(make or conv(), operator).double().eval()
    x = torch.randn(2, 3, 6, 6, dtype=torch.double)
    model(x)
    return model, x


@pytest.mark.parametrize("name", SAME)
def test_channels_pass(name):
    model, x = between(SAME[name])
    (group,) = trace(model, x).groups
    assert group.units == 8
    check_laws(model, x)


@pytest.mark.parametrize("name", TIED)
def test_channels_are_tied(name):
    operator, units = TIED[name]
    model, x = between(operator)
    assert [g.units for g in trace(model, x).groups] == [units] * (units > 0)
    check_laws(model, x)


def check_laws(model, x):
    graph = trace(model, x)
    units = draw_units(graph.groups, 5)
    smaller = copy.deepcopy(model)
    remove_(smaller, graph, units)
    zeros = copy.deepcopy(model)
    zero_parts(zeros, graph, units, (Role.READS,))
    if not any(group.averaged for group in graph.groups):
        # With F.normalize channels act on each other before they are read.
        read = all(any(m.role is Role.READS for m in g.members) for g in graph.groups)
        if read and model.operator is not SAME["normalize"]:
            assert_equal_functions(zeros, smaller, (x,))
        zero_parts(model, graph, units, (Role.MAKES, Role.FOLLOWS))
        smaller = copy.deepcopy(model)
        remove_(smaller, graph, units)
        assert_equal_functions(model, smaller, (x,))


MAKERS = {
    "conv, grouped": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=4)
    ),
    "conv, depthwise with multiplier": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, padding=1, groups=4)
    ),
    "transposed": lambda: conv(nn.ConvTranspose2d),
    "transposed, 4 groups": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.ConvTranspose2d(8, 8, 3, padding=1, groups=4)
    ),
    "transposed, 2 groups": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.ConvTranspose2d(8, 8, 3, padding=1, groups=2)
    ),
    "no bias": lambda: conv(bias=False),
    "batch norm, no scale": lambda: nn.Sequential(
        conv(bias=False), nn.BatchNorm2d(8, affine=False)
    ),
    "instance norm": lambda: nn.Sequential(conv(), nn.InstanceNorm2d(8, affine=True)),
    "instance norm, tracked": lambda: nn.Sequential(
        conv(), nn.InstanceNorm2d(8, track_running_stats=True, affine=True)
    ),
    "group norm, one a channel": lambda: nn.Sequential(conv(), nn.GroupNorm(8, 8)),
    "local response": lambda: nn.Sequential(conv(), nn.LocalResponseNorm(1)),
    "prelu": lambda: nn.Sequential(conv(), nn.PReLU(8)),
    "one prelu": lambda: nn.Sequential(conv(), nn.PReLU()),
    "layer norm of places": lambda: nn.Sequential(
        conv(), nn.LayerNorm((6, 6), bias=False)
    ),
}
# Units of every group, in order.
MADE = {
    "conv, grouped": [4],
    "conv, depthwise with multiplier": [4],
    "transposed, 4 groups": [4],
    "transposed, 2 groups": [4, 4],
    "local response": [],
}


@pytest.mark.parametrize("name", MAKERS)
def test_layers_make_channels(name):
    torch.manual_seed(1)
    model, x = between(F.relu, MAKERS[name]())
    assert [group.units for group in trace(model, x).groups] == MADE.get(name, [8])
    if name != "batch norm, no scale":  # It makes something of zeros.
        check_laws(model, x)


@pytest.mark.parametrize(
    ("groups", "expected"), [(1, [8]), (2, [4]), (4, [4]), (8, [8])]
)
def test_group_norms_lose_groups_or_a_place_of_each(groups, expected):
    layer = nn.Sequential(conv(), nn.GroupNorm(groups, 8))
    model, x = between(F.relu, layer)
    graph = trace(model, x)
    assert [group.units for group in graph.groups] == expected
    assert graph.groups[0].averaged == (groups < 4)
    remove_(model, graph, draw_units(graph.groups, 0))
    assert layer[1].num_groups == (groups if groups < 4 else groups // 2)
    assert layer[1].num_channels == 4
    check_laws(model, x)


class Cells(nn.Module):
    """Recurrent cells in a loop of one's own."""

    def __init__(self, kind):
        super().__init__()
        self.cell, self.head = kind(3, 8), nn.Linear(8, 2)

    def forward(self, x):
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_cells_lose_hidden_units(kind):
    torch.manual_seed(0)
    model, x = Cells(kind).double(), torch.randn(2, 4, 3).double()
    graph = trace(model, x)
    assert [group.units for group in graph.groups] == [8]
    units = draw_units(graph.groups, 0)
    smaller = copy.deepcopy(model)
    remove_(smaller, graph, units)
    assert (smaller.cell.input_size, smaller.cell.hidden_size) == (3, 4)
    zero_parts(model, graph, units, (Role.READS,))
    assert_equal_functions(model, smaller, (x,))


def test_projected_lstm():
    class Projected(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(3, 8, proj_size=4, batch_first=True)
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.rnn(x)[0])

    torch.manual_seed(0)
    model, x = Projected().double(), torch.randn(2, 3, 3).double()
    graph = trace(model, x)
    assert sorted(group.units for group in graph.groups) == [4, 8]
    units = draw_units(graph.groups, 0)
    smaller = copy.deepcopy(model)
    remove_(smaller, graph, units)
    rnn = smaller.rnn
    assert (rnn.input_size, rnn.hidden_size, rnn.proj_size) == (3, 4, 2)
    zero_parts(model, graph, units, (Role.READS,))
    assert_equal_functions(model, smaller, (x,))


def test_bags_of_embeddings_and_vectors():
    class Bags(nn.Module):
        def __init__(self):
            super().__init__()
            self.bags = nn.EmbeddingBag(9, 6, mode="mean")
            self.vector = nn.Parameter(torch.randn(6))

        def forward(self, ids):
            return self.bags(ids) @ self.vector

    torch.manual_seed(0)
    model, ids = Bags().double(), torch.randint(9, (2, 4))
    graph = trace(model, ids)
    assert [group.units for group in graph.groups] == [6]
    units = draw_units(graph.groups, 0)
    smaller = copy.deepcopy(model)
    remove_(smaller, graph, units)
    assert (smaller.bags.embedding_dim, smaller.vector.shape) == (3, (3,))
    zero_parts(model, graph, units, (Role.READS,))
    assert_equal_functions(model, smaller, (ids,))


def test_bilinear_layers_stay_whole_with_what_they_read():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 4), nn.Linear(3, 4)
            self.both, self.head = nn.Bilinear(4, 4, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.head(self.both(self.one(x), self.two(x)))

    graph = trace(Two(), torch.randn(2, 3))
    # Torch computes the product by one operator that has no rule.
    assert not graph.groups
    assert graph.kept["one"].startswith("aten._trilinear is an operator that channels")


def test_every_operator_with_a_rule_exists():
    # In newer versions of torch some may be gone; a wrong name would be gone in all.
    tables = (rules_entry._TABLE, rules_shape._TABLE, rules_layer._TABLE)
    names = [name for table in tables for row in table for name in row[0].split()]
    names += rules_layer._PLACES.split()
    assert [name for name in names if not hasattr(torch.ops.aten, name)] == []
    assert len(names) == len(set(names)) == len(RULES)
