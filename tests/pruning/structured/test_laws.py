"""What must hold on every network: the right units, and functions that stay equal."""

import copy
import dataclasses
import functools

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from mlopt_edu.evaluation import count_macs, count_parameters
from mlopt_edu.pruning.structured import Role, remove_, trace
from tests.pruning.structured.nets import NETS, make

# Units of each group, counted by hand; a * marks those that a norm averages over.
UNITS = {
    "ResNet B": {
        "stem.0": 6,
        "layers.0.one.0": 6,
        "layers.1.one.0": 10,
        "layers.1.two.0": 10,
        "layers.2.one.0": 10,
    },
    # Padding adds 2 channels on each side, which must stay: 6 of 10 can go.
    "ResNet A": {
        "stem.0": 6,
        "layers.0.one.0": 6,
        "layers.1.one.0": 10,
        "layers.2.one.0": 10,
    },
    "DenseNet": {
        "stem": 6,
        "convs.0": 4,
        "convs.1": 4,
        "convs.2": 4,
        "transition": 9,
        "last": 4,
    },
    "UNet": {
        "down1.0": 6,
        "down2.0": 8,
        "bottom.0": 12,
        "up2": 8,
        "merge2.0": 8,
        "up1.1": 6,
        "merge1.0": 6,
    },
    "SqueezeExciteNet": {"stem.0": 8, "expand.0": 16, "squeeze": 4},
    # Groups of 2: whole groups go. Groups of 8: the same place of both.
    "ResNeXt, 8 groups": {"stem.0": 8, "reduce.0": 8},
    "ResNeXt, 2 groups": {"stem.0": 8, "reduce.0": 8, "grouped.0": 8},
    "Inception": {
        "one": 4,
        "three.0": 4,
        "three.2": 6,
        "five.0": 2,
        "five.2": 3,
        "pool.1": 4,
        "head.1": 7,
    },
    # Shuffled twice, every channel is tied to every other.
    "ShuffleNet": {"first.0": 6},
    "VisionTransformer": {"patches*": 12, "attention.query": 3, "mlp.0": 20},
    "FusedAttention": {"embed": 12, "qkv": 3},
    # nn.MultiheadAttention is as wide inside as outside: a head and a third of both.
    "Encoder, post-norm": {
        "embedding*": 3,
        "encoder.layers.0.linear1": 16,
        "encoder.layers.1.linear1": 16,
    },
    "Encoder, pre-norm": {
        "embedding*": 3,
        "encoder.layers.0.linear1": 16,
        "encoder.layers.1.linear1": 16,
    },
    # Two heads of queries share one of keys and values.
    "GatedLM": {"embedding*": 12, "q": 2, "gate": 14},
    "LSTM": {"embedding": 6, "rnn": 8},
    "GRU": {"embedding": 6, "rnn": 8},
    "RNN": {"embedding": 6, "rnn": 8},
    "TwoInputs": {"image.0": 6, "image.2": 4, "numbers.0": 9},
    "WaveNet": {"first*": 6, "gates.0": 8, "gates.1": 8},
    "GroupNormNet": {"one": 6, "two*": 4, "three": 3},
    "PerHead": {"q": 3, "o": 6},
    "mlp": {"0": 9, "2": 7},
    "SmallCNN": {"features.0": 4, "features.3": 6},
    "CharGPT": {
        "characters*": 16,
        "blocks.0.query_key_value": 4,
        "blocks.0.mlp_in": 64,
        "blocks.1.query_key_value": 4,
        "blocks.1.mlp_in": 64,
    },
    "Bottleneck": {
        "0.0": 8,
        "1.residual.0.0": 4,
        "1.residual.1.0": 4,
        "1.residual.2.0": 16,
        "1.residual.3.excite.0": 4,
        "2.residual.0.0": 4,
        "2.residual.1.0": 4,
    },
    "MobileNet": {
        "features.0.0": 4,
        "features.1.1.0": 8,
        "features.2.1.0": 16,
        "features.3.1.0": 16,
        "features.4.1.0": 32,
        "features.5.1.0": 32,
    },
    "SqueezeNet": {
        "features.0": 8,
        "features.3.squeeze": 2,
        "features.3.expand1x1": 8,
        "features.3.expand3x3": 8,
        "features.4.squeeze": 2,
        "features.4.expand1x1": 8,
        "features.4.expand3x3": 8,
        "features.6.squeeze": 4,
        "features.6.expand1x1": 16,
        "features.6.expand3x3": 16,
        "features.7.squeeze": 4,
        "features.7.expand1x1": 16,
        "features.7.expand3x3": 16,
    },
}


def outputs(model, inputs):
    with torch.no_grad():
        leaves, structure = tree_flatten(model(*inputs))
    return [leaf for leaf in leaves if torch.is_tensor(leaf)], structure


def assert_equal_functions(one, other, inputs):
    expected, structure = outputs(one, inputs)
    actual, same_structure = outputs(other, inputs)
    assert structure == same_structure
    for a, b in zip(expected, actual, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-12, atol=1e-12)


@functools.cache
def graph_of(name):
    """Trace once: a graph knows names, and fits every model of the same shapes."""
    return trace(*make(name))


def draw_units(groups, seed):
    """Return about half of the units of each group, at least one, never all."""
    generator = torch.Generator().manual_seed(seed)
    return {
        group.name: torch.randperm(group.units, generator=generator)[
            : max(1, group.units // 2)
        ].tolist()
        for group in groups
    }


@torch.no_grad()
def zero_parts(model, graph, units, roles):
    """Zero the parameters of units; a trained weight that makes and reads, as both."""
    parameters = dict(model.named_parameters())
    for group in graph.groups:
        for member in group.members:
            # Weight norm divides by the norm of its direction: zero the length alone.
            is_direction = member.tensor.endswith(".original1")
            if (
                member.tensor in parameters
                and member.role in roles
                and not is_direction
            ):
                index = torch.from_numpy(member.index)[units[group.name]].flatten()
                parameters[member.tensor].index_fill_(member.dim, index, 0)


@pytest.mark.parametrize("name", NETS)
def test_units_are_those_counted_by_hand(name):
    actual = {g.name + "*" * g.averaged: g.units for g in graph_of(name).groups}
    assert UNITS[name] == actual


@pytest.mark.parametrize("name", ["Inception", "Encoder, post-norm", "LSTM"])
def test_tracing_leaves_the_model_as_it_is(name):
    model, inputs = make(name)
    model.train()
    before = copy.deepcopy(model.state_dict())
    objects = {n: id(p) for n, p in model.named_parameters()}
    random = torch.get_rng_state()
    trace(model, inputs)
    assert torch.equal(random, torch.get_rng_state())
    assert objects == {n: id(p) for n, p in model.named_parameters()}
    assert all(module.training for module in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def without_averages(graph):
    groups = tuple(group for group in graph.groups if not group.averaged)
    return dataclasses.replace(graph, groups=groups)


@pytest.mark.parametrize("name", NETS)
def test_removing_units_of_zeros_leaves_the_function_equal(name):
    model, inputs = make(name, seed=1)
    graph = without_averages(graph_of(name))
    units = draw_units(graph.groups, 1)
    zero_parts(model, graph, units, (Role.MAKES, Role.FOLLOWS))
    smaller = copy.deepcopy(model)
    remove_(smaller, graph, units)
    assert count_parameters(smaller) < count_parameters(model)
    assert_equal_functions(model, smaller, inputs)


@pytest.mark.parametrize("name", NETS)
def test_removing_units_is_zeroing_what_reads_them(name):
    model, inputs = make(name, seed=2)
    graph = without_averages(graph_of(name))
    units = draw_units(graph.groups, 2)
    smaller = copy.deepcopy(model)
    remove_(smaller, graph, units)
    zero_parts(model, graph, units, (Role.READS,))
    assert_equal_functions(model, smaller, inputs)


@pytest.mark.parametrize("name", NETS)
def test_what_is_left_is_an_ordinary_smaller_model(name):
    model, inputs = make(name)
    graph = graph_of(name)
    units = draw_units(graph.groups, 3)
    smaller = copy.deepcopy(model)
    remove_(smaller, graph, units)
    for before, after in zip(
        outputs(model, inputs)[0], outputs(smaller, inputs)[0], strict=True
    ):
        assert before.shape == after.shape
    assert count_macs(smaller, *inputs).total < count_macs(model, *inputs).total
    assert count_parameters(smaller) < count_parameters(model)
    assert_equal_functions(smaller, copy.deepcopy(smaller), inputs)
    # Its state fits a model that was pruned in the same way.
    again, _ = make(name, seed=9)
    remove_(again, graph, units)
    again.load_state_dict(smaller.state_dict())
    assert_equal_functions(smaller, again, inputs)
    assert_attributes_are_of_these_shapes(smaller)
    # It trains.
    smaller.train()
    optimizer = torch.optim.SGD(smaller.parameters(), lr=1e-3, momentum=0.9)
    for _ in range(2):
        leaves = tree_flatten(smaller(*inputs))[0]
        sum(leaf.square().sum() for leaf in leaves).backward()
        assert all(p.grad is not None for p in smaller.parameters())
        optimizer.step()
        optimizer.zero_grad()
    # It can be pruned again, until one unit is left.
    once_more = {group.name: group.units for group in trace(smaller, inputs).groups}
    left = {group.name: group.units - len(units[group.name]) for group in graph.groups}
    assert {group: count for group, count in left.items() if count > 1} == once_more


def assert_attributes_are_of_these_shapes(model):
    for module in model.modules():
        if isinstance(module, nn.Linear):
            assert module.weight.shape == (module.out_features, module.in_features)
        elif isinstance(module, nn.modules.conv._ConvNd):
            rebuilt = type(module)(
                module.in_channels,
                module.out_channels,
                module.kernel_size,
                groups=module.groups,
            )
            assert module.weight.shape == rebuilt.weight.shape
        elif isinstance(module, nn.modules.batchnorm._NormBase):
            assert module.weight.shape == (module.num_features,)
        elif isinstance(module, nn.GroupNorm):
            assert module.weight.shape == (module.num_channels,)
            assert module.num_channels % module.num_groups == 0
        elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
            assert module.weight.shape == module.normalized_shape
        elif isinstance(module, nn.Embedding):
            assert module.weight.shape == (module.num_embeddings, module.embedding_dim)
        elif isinstance(module, nn.RNNBase):
            rebuilt = type(module)(
                module.input_size,
                module.hidden_size,
                num_layers=module.num_layers,
                bidirectional=module.bidirectional,
            )
            assert [p.shape for p in module.parameters()] == [
                p.shape for p in rebuilt.parameters()
            ]
        elif isinstance(module, nn.MultiheadAttention):
            rebuilt = nn.MultiheadAttention(module.embed_dim, module.num_heads)
            assert module.in_proj_weight.shape == rebuilt.in_proj_weight.shape
            assert module.head_dim == rebuilt.head_dim
