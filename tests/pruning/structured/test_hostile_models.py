"""Models whose own code counts on sizes, decides by values, or shares what it has."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from mlopt_edu.pruning import Magnitude, masks_of, prune_
from mlopt_edu.pruning.structured import Channels, Role, remove_, trace
from tests.pruning.structured.test_laws import (
    assert_equal_functions,
    draw_units,
    zero_parts,
)


class Net(nn.Module):
    """A convolution, whatever `middle` does with 8 channels of 4 x 4, and a head."""

    def __init__(self, middle, features=8):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.middle = middle
        self.head = nn.Linear(features, 2)

    def forward(self, x):
        return self.head(self.middle(self.first(x).relu()))


X = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("middle", "features", "why"),
    [
        (lambda x: x[:, :5].mean((2, 3)), 5, "aten.slice takes a range of it"),
        (lambda x: x[:, 3:].mean((2, 3)), 5, "aten.slice takes a range of it"),
        (lambda x: x[:, 2].flatten(1), 16, "aten.select takes entries of it by number"),
        (
            lambda x: torch.split(x, [3, 5], dim=1)[1].mean((2, 3)),
            5,
            "aten.split_with_sizes cuts it into pieces of unequal size",
        ),
        (
            lambda x: x[:, torch.tensor([5, 1, 2])].mean((2, 3)),
            3,
            "aten.index looks entries of it up by number",
        ),
        (
            lambda x: x.softmax(dim=1).mean((2, 3)),
            8,
            "aten._softmax runs over all of its channels",
        ),
        (
            lambda x: x.mean((2, 3)) + torch.arange(8.0),
            8,
            "aten.add joins it with a dimension of fixed size",
        ),
        (
            lambda x: torch.fft.rfft(x.mean((2, 3))).real,
            5,
            "aten._fft_r2c is an operator that channels are not followed by",
        ),
        (lambda x: x.view(-1, 128), 128, "with one fewer, "),
        (lambda x: x.view(2, 8, 16).mean(2), 8, "with one fewer, "),
        (lambda x: torch.split(x, 4, dim=1)[1].mean((2, 3)), 4, "with one fewer, "),
        (lambda x: x.mean((2, 3)) @ torch.eye(8), 8, "aten.mm joins it with"),
    ],
)
def test_channels_stay_whole_where_sizes_are_fixed(middle, features, why):
    class Middle(nn.Module):
        def forward(self, x):
            return middle(x)

    model = Net(Middle(), features)
    graph = trace(model, X)
    assert not graph.groups
    assert graph.kept["first"].startswith(why)
    with pytest.raises(
        ValueError, match=r"^filter_fn must choose layers whose channels"
    ):
        prune_(model, Channels(amount=0.5, example_inputs=X))


def test_sizes_from_shapes_are_followed():
    class Middle(nn.Module):
        def forward(self, x):
            batch, channels, height, width = x.shape
            x = x.view(batch * channels, height * width).view_as(x)
            one, two = x.chunk(2, dim=1)
            x = torch.cat([two, one.flip(2)], dim=1)
            x = x.transpose(1, 3).reshape(batch, -1, channels).movedim(-1, 1)
            x += torch.zeros(channels, 1)
            x = F.dropout(x, 0.5, self.training) * torch.ones_like(x)
            return torch.stack([x, x], dim=0).sum(0).mean(2).clone()

    model = Net(Middle())
    (group,) = trace(model, X).groups
    # Two halves go together.
    assert (group.units, group.members[0].index.shape) == (4, (4, 2))


def test_several_tensors_may_share_a_weight():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(6, 6)
            self.two = nn.Linear(6, 6)
            self.two.weight = self.one.weight
            self.head = nn.Linear(6, 2)

        def forward(self, x):
            for _ in range(2):
                x = torch.tanh(self.two(torch.tanh(self.one(x))))
            return self.head(x)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 6)
            self.shared = Shared()

        def forward(self, x):
            return self.shared(self.first(x))

    torch.manual_seed(0)
    model = Outer().double()
    x = torch.randn(3, 4, dtype=torch.double)
    graph = trace(model, x)
    (group,) = graph.groups
    assert (group.units, group.layers) == (6, ("first", "shared.one"))
    smaller = copy.deepcopy(model)
    units = draw_units(graph.groups, 0)
    remove_(smaller, graph, units)
    assert smaller.shared.one.weight is smaller.shared.two.weight
    assert smaller.shared.one.weight.shape == (3, 3)
    zero_parts(model, graph, units, set(Role))
    assert_equal_functions(model, smaller, (x,))


class Branches(nn.Module):
    def __init__(self, decide):
        super().__init__()
        self.one, self.two, self.three = (nn.Linear(4, 4) for _ in range(3))
        self.decide = decide

    def forward(self, x):
        y = self.one(x)
        return self.two(y) if self.decide(x, y) else self.three(y)


def test_a_model_that_decides_by_what_it_computed_is_refused():
    model = Branches(lambda x, y: y.sum() > 0)
    with pytest.raises(
        ValueError,
        match=r"^model must take the same way for all inputs, but it decides",
    ):
        trace(model, torch.ones(2, 4))


def test_a_model_that_leaves_layers_out_for_some_inputs_is_refused():
    model = Branches(lambda x, y: bool((x >= 0).all()))
    message = r"^model must run all of its layers on example_inputs .* 'three.weight'"
    with pytest.raises(ValueError, match=message):
        trace(model, torch.ones(2, 4))


def test_a_model_may_check_its_inputs():
    class Checked(nn.Sequential):
        def forward(self, x):
            if (x < 0).any():
                raise ValueError("x must not be negative")
            return super().forward(x)

    model = Checked(nn.Linear(4, 3), nn.Linear(3, 2))
    assert [group.name for group in trace(model, torch.ones(2, 4)).groups] == ["0"]


def test_forward_may_be_in_inference_mode():
    class Frozen(nn.Sequential):
        @torch.inference_mode()
        def forward(self, x):
            return super().forward(x)

    model = Frozen(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    assert [group.units for group in trace(model, torch.ones(2, 4)).groups] == [6]


def test_masks_are_cut_with_their_weights():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 4, 5),
        nn.Linear(5, 2),
    ).double()
    x = X.double()
    prune_(model, Magnitude(amount=0.5))
    graph = trace(model, x)
    assert {group.name: group.units for group in graph.groups} == {"0": 8, "3": 5}
    units = draw_units(graph.groups, 0)
    smaller = copy.deepcopy(model)
    remove_(smaller, graph, units)
    assert {name: tuple(m.shape) for name, m in masks_of(smaller).items()} == {
        "0.weight": (4, 3, 3, 3),
        "3.weight": (3, 16),
        "4.weight": (2, 3),
    }
    zero_parts(model, graph, units, (Role.READS,))
    assert_equal_functions(model, smaller, (x,))


@pytest.mark.parametrize("name", ["spectral_norm", "orthogonal"])
def test_parametrized_weights_are_followed_or_stay(name):
    parametrize = getattr(nn.utils.parametrizations, name)
    model = nn.Sequential(
        nn.Linear(4, 8), parametrize(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 2)
    )
    graph = trace(model, torch.ones(2, 4))
    found = {group.name: group.units for group in graph.groups}
    # Orthogonal rows are made all at once; its columns can go.
    assert found == ({"0": 8, "1": 6} if name == "spectral_norm" else {"0": 8})
    remove_(model, graph, {group: [0] for group in found})
    assert model(torch.ones(2, 4)).shape == (2, 2)


def test_types_flags_and_hooks_stay():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
    model = model.to(torch.bfloat16)
    model[0].weight.requires_grad_(False)
    model[1].register_buffer("extra", torch.zeros(6), persistent=False)
    seen = []
    model[0].register_forward_hook(lambda *_: seen.append("hook"))
    remove_(model, trace(model, torch.ones(2, 4, dtype=torch.bfloat16)), {"0": [1, 2]})
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert not model[0].weight.requires_grad
    assert model[0].bias.requires_grad
    # Nothing says that this buffer has to do with channels.
    assert model[1].extra.shape == (6,)
    assert "1.extra" not in model.state_dict()
    seen.clear()
    model(torch.ones(2, 4, dtype=torch.bfloat16))
    assert seen == ["hook"]


def test_training_goes_on_beside_a_loss_from_before():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    old_loss = model(torch.ones(2, 4)).sum()
    old_loss.backward()
    remove_(model, trace(model, torch.ones(2, 4)), {"0": [1, 2]})
    model(torch.ones(2, 4)).sum().backward()
    assert model[0].weight.grad.shape == (4, 4)
    assert old_loss.grad_fn is not None


def test_a_model_of_one_layer_has_nothing_to_give():
    model = nn.Linear(4, 2)
    assert str(trace(model, torch.ones(1, 4))).splitlines()[1:] == [
        f"{'':32}{'whole':>8}  model returns it"
    ]


def test_a_single_unit_stays():
    model = nn.Sequential(nn.Linear(4, 1), nn.Linear(1, 3), nn.Linear(3, 2))
    assert [group.name for group in trace(model, torch.ones(1, 4)).groups] == ["1"]


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_refused():
    with pytest.raises(TypeError, match=r"^model must be an ordinary module, got one"):
        trace(torch.jit.script(nn.Linear(2, 2)), torch.ones(1, 2))


def test_lazy_layers_are_refused():
    with pytest.raises(
        ValueError, match=r"^parameter '0.weight' must have a shape, got"
    ):
        trace(nn.Sequential(nn.LazyLinear(2)), torch.ones(1, 2))


def test_wrong_inputs_are_named():
    message = "^example_inputs must be a batch that model can be run on, a tensor or a"
    with pytest.raises(ValueError, match=message):
        trace(nn.Linear(3, 2), torch.ones(1, 4))
    with pytest.raises(ValueError, match=message):
        trace(nn.Linear(3, 2), (torch.ones(1, 3), torch.ones(1, 3)))


def test_outputs_that_hide_tensors_are_refused():
    class Hidden(nn.Linear):
        def forward(self, x):
            return (super().forward(x), object())

    with pytest.raises(ValueError, match=r"^model must return tensors, also in tuples"):
        trace(Hidden(2, 2), torch.ones(1, 2))


def test_a_model_that_does_not_copy_is_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model.held = model[0].weight * 2
    with pytest.raises(ValueError, match=r"^model must be one that copy.deepcopy can"):
        trace(model, torch.ones(1, 2))


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({"9": [0]}, r"^units must name groups of the graph, \['0'\], got '9'"),
        ({"0": [4]}, r"^units of group '0' must lie in \[0, 4\), got \[4\]"),
        ({"0": [-1]}, r"^units of group '0' must lie in \[0, 4\), got \[-1\]"),
        ({"0": range(4)}, r"^units of group '0' must leave at least one of 4, got"),
    ],
)
def test_units_that_cannot_go_are_named(units, message):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    graph = trace(model, torch.ones(1, 3))
    with pytest.raises(ValueError, match=message):
        remove_(model, graph, units)
    assert model[0].weight.shape == (4, 3)


def test_a_graph_is_out_of_date_after_a_removal():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    graph = trace(model, torch.ones(1, 3))
    remove_(model, graph, {"0": [0]})
    with pytest.raises(ValueError, match=r"^graph must be of the model as it is"):
        remove_(model, graph, {"0": [0]})


def test_units_of_channels_are_found_or_refused():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    graph = trace(model, torch.ones(1, 3))
    assert graph.units_of("0", [1, 3]) == {"0": [1, 3]}
    message = r"^channels of layer '1' must be removable, got \[0\]: model returns it"
    with pytest.raises(ValueError, match=message):
        graph.units_of("1", [0])
