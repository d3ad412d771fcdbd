"""`Channels`: how many go, which, and when it refuses; and the sensitivity scan."""

import copy

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mlopt_edu.evaluation import count_macs, count_parameters
from mlopt_edu.models import mlp
from mlopt_edu.pruning import is_prunable, prune_
from mlopt_edu.pruning.structured import (
    BatchNormScale,
    Channels,
    L2Norm,
    RandomUnits,
    Role,
    channel_sensitivity,
    lowest_units,
    remove_,
    trace,
)
from tests.pruning.structured.nets import make
from tests.pruning.structured.test_laws import (
    assert_equal_functions,
    draw_units,
    zero_parts,
)


def always(name, module):
    return True


def widths(model):
    return [m.out_features for m in model.modules() if isinstance(m, nn.Linear)]


X = torch.ones(1, 8)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"amount": 0.5}, [16, 5, 3]),
        ({"amount": 0.0}, [32, 10, 3]),
        ({"amount": 0.99}, [1, 1, 3]),
        ({"amount": 0.99, "min_units": 4}, [4, 4, 3]),
        ({"amount": 4}, [28, 6, 3]),
        ({"amount": 100}, [1, 1, 3]),
        ({"amount": 0.5, "round_to": 4}, [16, 8, 3]),
        ({"amount": 0.3, "round_to": 8}, [24, 8, 3]),
        ({"amount": 0.3, "round_to": 16}, [32, 10, 3]),
    ],
)
def test_each_layer_loses_the_amount(options, expected):
    model = mlp([8, 32, 10, 3])
    prune_(model, Channels(example_inputs=X, **options))
    assert widths(model) == expected


def test_of_all_together_those_go_that_matter_least():
    model = nn.Sequential(
        nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Linear(4, 6), nn.BatchNorm1d(6),
        nn.Linear(6, 3),
    ).eval()  # fmt: skip
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([0.9, 0.1, 0.2, 0.8]))
        model[3].weight.copy_(torch.tensor([0.7, 0.3, 0.05, 0.6, 0.5, 0.4]))
    scales = {"example_inputs": X, "importance": BatchNormScale(), "per_layer": False}
    for amount, expected in [
        (3, ([0.9, 0.8], [0.7, 0.3, 0.6, 0.5, 0.4])),
        (0.6, ([0.9, 0.8], [0.7, 0.6])),
        (100, ([0.9], [0.7])),
    ]:
        smaller = copy.deepcopy(model)
        prune_(smaller, Channels(amount=amount, **scales))
        actual = tuple(smaller[i].weight.tolist() for i in (1, 3))
        assert actual == tuple(pytest.approx(numbers) for numbers in expected)


def test_scores_of_other_layers_compete_by_their_mean():
    model = mlp([8, 4, 4, 3])
    with torch.no_grad():
        # All of the first layer's filters are a hundred times larger.
        for layer, scale in ((model[0], 100.0), (model[2], 1.0)):
            layer.weight.copy_(
                scale * torch.arange(1.0, 5)[:, None].expand_as(layer.weight)
            )
    importance = L2Norm(makers_only=True)
    prune_(
        model,
        Channels(amount=4, importance=importance, per_layer=False, example_inputs=X),
    )
    assert widths(model) == [2, 2, 3]


@pytest.mark.parametrize("name", ["ResNet B", "CharGPT"])
@pytest.mark.parametrize("per_layer", [True, False])
def test_a_cost_is_reached_and_hardly_passed(name, per_layer):
    model, inputs = make(name)
    before = count_parameters(model)
    method = Channels(
        amount=0.4, per_layer=per_layer, cost=count_parameters, example_inputs=inputs
    )
    graph = trace(model, inputs)
    units = method.plan(model, graph)
    prune_(model, method, filter_fn=always)
    assert count_parameters(model) <= 0.6 * before
    # With some units fewer it is not: one of all, or one of each group.
    count = sum(map(len, units.values()))
    total = sum(group.units for group in graph.groups)
    fewer = lowest_units(
        method.importance.scores(make(name)[0], graph),
        (count - len(graph.groups)) / total,
        per_group=per_layer,
    )
    if per_layer:
        larger, _ = make(name)
        names = [group.name for group in graph.groups]
        remove_(larger, graph, dict(zip(names, fewer, strict=True)))
        assert count_parameters(larger) > 0.6 * before


def test_macs_can_be_the_cost():
    model, inputs = make("SmallCNN")
    before = count_macs(model, *inputs).total
    prune_(
        model,
        Channels(
            amount=0.5,
            cost=lambda m: count_macs(m, *inputs).total,
            example_inputs=inputs,
        ),
    )
    assert 0.2 * before < count_macs(model, *inputs).total <= 0.5 * before


def test_the_filter_decides_on_layers_that_make_a_unit():
    model, inputs = make("ResNet B")

    def no_stem(name, module):
        return is_prunable(name, module) and name != "stem.0"

    prune_(model, Channels(amount=0.5, example_inputs=inputs), filter_fn=no_stem)
    # The first block adds to the stem's channels, so these stay as well.
    assert model.stem[0].out_channels == 6
    assert model.layers[0].two[0].out_channels == 6
    assert model.layers[0].one[0].out_channels == 3
    assert model.layers[1].two[0].out_channels == 5


def test_by_default_embeddings_keep_the_width_of_a_transformer():
    model, inputs = make("CharGPT")
    prune_(model, Channels(amount=0.5, example_inputs=inputs))
    assert model.characters.embedding_dim == 16
    assert [block.heads for block in model.blocks] == [2, 2]
    assert [block.mlp_in.out_features for block in model.blocks] == [32, 32]
    assert model.blocks[0].query_key_value.out_features == 24
    prune_(model, Channels(amount=0.5, example_inputs=inputs), filter_fn=always)
    assert model.characters.embedding_dim == 8
    assert model(*inputs).shape == (2, 5, 11)


def test_heads_are_no_narrower_for_rounding():
    model, inputs = make("CharGPT")
    prune_(model, Channels(amount=0.5, round_to=8, example_inputs=inputs))
    assert [block.heads for block in model.blocks] == [2, 2]


def test_a_pretrained_kind_of_net_that_is_not_ours():
    torch.manual_seed(0)
    model = EfficientNet.from_name("efficientnet-lite0").double().eval()
    x = torch.randn(1, 3, 32, 32, dtype=torch.double)
    graph = trace(model, x)
    assert (len(graph.groups), list(graph.kept)) == (24, ["_fc"])
    units = draw_units(graph.groups, 0)
    smaller = copy.deepcopy(model)
    remove_(smaller, graph, units)
    assert count_parameters(smaller) < 0.4 * count_parameters(model)
    zero_parts(model, graph, units, (Role.READS,))
    assert_equal_functions(model, smaller, (x,))


def test_a_failure_leaves_the_model_as_it_was():
    model, inputs = make("SmallCNN")
    before = copy.deepcopy(model)
    with pytest.raises(
        ValueError, match=r"^amount must be a share of the cost that the"
    ):
        prune_(
            model,
            Channels(amount=0.999, cost=count_parameters, example_inputs=inputs),
            filter_fn=lambda name, _: name == "features.0",
        )
    with pytest.raises(ValueError, match=r"^group 'features.0' must have a batch norm"):
        prune_(
            model,
            Channels(amount=0.5, importance=BatchNormScale(), example_inputs=inputs),
        )
    with torch.no_grad():
        model.features[3].weight[0] = float("nan")
    with pytest.raises(ValueError, match=r"^scores must be finite, got inf or NaN in"):
        prune_(model, Channels(amount=0.5, example_inputs=inputs))
    assert repr(model) == repr(before)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"amount": True}, TypeError, r"amount must be a float \(share\) or an int"),
        ({"amount": "half"}, TypeError, r"amount must be a float \(share\) or an int"),
        ({"amount": 1.0}, ValueError, r"amount must be a share in \[0, 1\) as a float"),
        (
            {"amount": -0.2},
            ValueError,
            r"amount must be a share in \[0, 1\) as a float",
        ),
        ({"amount": -1}, ValueError, r"amount must be a share .* got -1"),
        ({"amount": float("nan")}, ValueError, r"amount must be a share .* got nan"),
        (
            {"amount": 3, "cost": count_parameters},
            ValueError,
            r"amount must be a share in .* where a cost is given, got the count 3",
        ),
        ({"amount": 0.5, "round_to": 0}, ValueError, r"round_to and min_units must be"),
        (
            {"amount": 0.5, "min_units": 0},
            ValueError,
            r"round_to and min_units must be",
        ),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        Channels(example_inputs=X, **options)


scores_of_groups = st.lists(
    st.lists(st.integers(0, 9), min_size=1, max_size=7), min_size=1, max_size=4
)


@given(scores_of_groups, st.floats(0, 1), st.booleans(), st.integers(1, 3))
def test_lowest_units_are_the_lowest(numbers, amount, per_group, min_units):
    scores = [torch.tensor(row, dtype=torch.float) for row in numbers]
    removed = lowest_units(scores, amount, per_group=per_group, min_units=min_units)
    for row, units in zip(numbers, removed, strict=True):
        assert len(units) <= max(0, len(row) - min_units)
        stay = [value for i, value in enumerate(row) if i not in units]
        assert max([row[i] for i in units], default=0) <= min(stay, default=9)
    if per_group:
        expected = [
            min(round(amount * len(row)), max(0, len(row) - min_units))
            for row in numbers
        ]
        assert expected == [len(units) for units in removed]
    else:
        open_units = sum(max(0, len(row) - min_units) for row in numbers)
        total = round(amount * sum(map(len, numbers)))
        assert min(total, open_units) == sum(map(len, removed))


@given(scores_of_groups, st.booleans(), st.integers(1, 4))
def test_more_is_removed_with_a_larger_amount_and_nothing_comes_back(
    numbers, per_group, multiple
):
    scores = [torch.tensor(row, dtype=torch.float) for row in numbers]
    before = [set() for _ in scores]
    for amount in range(sum(map(len, numbers)) + 1):
        removed = lowest_units(
            scores, amount, per_group=per_group, multiples=[multiple] * len(scores)
        )
        for old, new, row in zip(before, removed, numbers, strict=True):
            assert old <= set(new)
            left = len(row) - len(new)
            assert left % multiple == 0 or left == len(row)
        before = [set(units) for units in removed]


def test_sensitivity_prunes_one_group_at_a_time():
    model, inputs = make("SqueezeExciteNet")
    before = repr(model)
    curves = channel_sensitivity(
        model, count_parameters, example_inputs=inputs, amounts=(0.0, 0.5, 1.0)
    )
    assert repr(model) == before
    graph = trace(model, inputs)
    assert list(curves) == [group.name for group in graph.groups]
    for group in graph.groups:
        expected = []
        for count in (0, group.units // 2, group.units - 1):
            smaller = copy.deepcopy(model)
            remove_(smaller, graph, {group.name: range(count)})
            expected.append(count_parameters(smaller))
        assert tuple(expected) == curves[group.name]
    with pytest.raises(ValueError, match=r"^amounts must be shares in \[0, 1\], got"):
        channel_sensitivity(model, len, example_inputs=inputs, amounts=(2,))


def test_sensitivity_takes_a_criterion_and_a_filter():
    model, inputs = make("SmallCNN")
    seen = []
    channel_sensitivity(
        model,
        lambda smaller: (
            seen.append(smaller.features[0].weight[0, 0, 0, 0].item()) or 0.0
        ),
        example_inputs=inputs,
        amounts=(0.75,),
        importance=RandomUnits(generator=torch.Generator().manual_seed(3)),
        filter_fn=lambda name, _: name == "features.0",
    )
    best = torch.rand(4, generator=torch.Generator().manual_seed(3)).argmax()
    assert seen == [model.features[0].weight[best, 0, 0, 0].item()]
