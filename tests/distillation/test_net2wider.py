"""A wider net is the same function, to rounding, in float64."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mlopt_edu.distillation import copy_shares, net2wider, replication_mapping, widen_
from mlopt_edu.models import SmallCNN, mlp


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def settled(model):
    """Return the model in float64, with batch norms that have seen something."""
    model = model.double()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                for tensor in (*module.parameters(), module.running_mean):
                    tensor.copy_(torch.randn(len(tensor), generator=generator(1)))
                module.running_var.uniform_(0.2, 2.0, generator=generator(2))
            if isinstance(module, nn.PReLU):
                module.weight.uniform_(-1, 1, generator=generator(3))
    return model.eval()


SEQUENCES = {
    "linear to linear": (lambda: mlp([5, 7, 4]), (3, 5), "0", 11),
    "every activation": (
        lambda: nn.Sequential(
            nn.Linear(5, 3), nn.GELU(), nn.Tanh(), nn.Sigmoid(), nn.Dropout(0.3),
            nn.SiLU(), nn.Linear(3, 2),
        ),
        (4, 5), "0", 10,
    ),
    "without biases": (
        lambda: nn.Sequential(
            nn.Linear(5, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False)
        ),
        (4, 5), "0", 4,
    ),
    "the middle layer": (lambda: mlp([5, 7, 6, 4]), (3, 5), "2", 13),
    "batch norm and PReLU": (
        lambda: nn.Sequential(
            nn.Linear(5, 6), nn.BatchNorm1d(6), nn.PReLU(6), nn.PReLU(), nn.Linear(6, 2)
        ),
        (4, 5), "0", 17,
    ),
    "convolution to convolution": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(),
            nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, stride=2),
        ),
        (2, 2, 9, 8), "0", 8,
    ),
    "convolution, flattened, to linear": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
            nn.BatchNorm1d(3 * 12), nn.Dropout(), nn.Linear(3 * 12, 4),
        ),
        (2, 2, 6, 8), "0", 7,
    ),
    "pooled to a point": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)
        ),
        (2, 2, 6, 8), "0", 5,
    ),
    "one dimension": (
        lambda: nn.Sequential(
            nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Conv1d(4, 2, 3)
        ),
        (2, 1, 9), "0", 6,
    ),
    "three dimensions": (
        lambda: nn.Sequential(
            nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.MaxPool3d(2),
            nn.Flatten(), nn.Linear(4, 2),
        ),
        (2, 1, 4, 4, 4), "0", 6,
    ),
    "nested": (
        lambda: nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 3, 3), nn.Sequential(nn.BatchNorm2d(3))),
            nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv2d(3, 2, 1))),
        ),
        (2, 1, 5, 5), "0.0", 7,
    ),
    "at every time": (
        lambda: nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2)),
        (2, 7, 5), "0", 5,
    ),
}  # fmt: skip


@pytest.mark.parametrize("noise", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("case", SEQUENCES)
def test_the_function_is_preserved(case, noise):
    make, shape, name, width = SEQUENCES[case]
    torch.manual_seed(0)
    model = settled(make())
    x = torch.randn(shape, generator=generator(), dtype=torch.float64)
    expected = model(x)
    widen_(model, name, width, noise=noise, generator=generator())
    assert model.get_submodule(name).weight.shape[0] == width
    torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-12)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            return
    # In training mode too: a copy has its original's statistics in every batch.
    torch.manual_seed(0)
    plain = settled(make())
    torch.testing.assert_close(model.train()(x), plain.train()(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.eval()(x), plain.eval()(x), rtol=1e-9, atol=1e-9)


def test_a_model_that_is_not_sequential_is_widened_by_names():
    torch.manual_seed(0)
    model = SmallCNN(channels=(3, 4)).double()
    x = torch.randn(2, 1, 28, 28, dtype=torch.float64)
    expected = model(x)
    widen_(model, "features.0", 5, then=["features.3"], generator=generator())
    widen_(model, "features.3", 9, then=["classifier"], generator=generator())
    assert model.classifier.in_features == 9 * 49
    torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-12)


class TwoReaders(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.left, self.right = nn.Conv2d(4, 2, 1), nn.Linear(4, 3)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        return self.left(x).mean((2, 3)), self.right(x.amax((2, 3)))


def test_several_layers_may_read_the_widened_one():
    torch.manual_seed(0)
    model = settled(TwoReaders())
    x = torch.randn(3, 1, 6, 6, dtype=torch.float64)
    expected = model(x)
    widen_(
        model,
        "stem",
        9,
        then=["left", "right"],
        between=["norm"],
        generator=generator(),
    )
    torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-12)


def test_widening_again_and_again():
    torch.manual_seed(0)
    model = mlp([5, 7, 6, 4]).double()
    x = torch.randn(8, 5, dtype=torch.float64)
    expected = model(x)
    for name, width in (("0", 9), ("2", 7), ("0", 31), ("2", 64)):
        widen_(model, name, width, noise=0.3, generator=generator(width))
    torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-12)


def gradients_of_copies(noise):
    torch.manual_seed(0)
    model = mlp([4, 3, 2]).double()
    widen_(model, "0", 6, noise=noise, generator=generator())
    x = torch.randn(20, 4, dtype=torch.float64)
    cross_entropy(model(x), torch.arange(20) % 2).backward()
    mapping = replication_mapping(3, 6, generator=generator())
    return [
        (model[0].weight.grad[i], model[0].weight.grad[mapping[i]]) for i in (3, 4, 5)
    ]


def test_equal_shares_keep_copies_equal_and_noise_parts_them():
    for first, second in gradients_of_copies(0.0):
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-14)
    for first, second in gradients_of_copies(0.5):
        assert not torch.allclose(first, second, rtol=1e-3)


def test_equation_by_loops():
    mapping = torch.tensor([0, 1, 2, 1, 1, 0])
    weight, following = torch.randn(3, 4), torch.randn(5, 3, 2)
    wide, read = net2wider(weight, following, mapping)
    for unit, source in enumerate(mapping.tolist()):
        copies = mapping.tolist().count(source)
        torch.testing.assert_close(wide[unit], weight[source])
        torch.testing.assert_close(read[:, unit], following[:, source] / copies)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.9])
def test_shares_of_copies_sum_to_one(noise):
    mapping = replication_mapping(5, 40, generator=generator())
    assert mapping[:5].tolist() == [0, 1, 2, 3, 4]
    assert set(mapping.tolist()) == {0, 1, 2, 3, 4}
    shares = copy_shares(mapping, noise=noise, generator=generator())
    sums = torch.zeros(5, dtype=torch.float64).index_add(0, mapping, shares)
    torch.testing.assert_close(sums, torch.ones(5, dtype=torch.float64))
    assert (shares > 0).all()
    equal = shares[mapping == 2]
    assert (equal.max() / equal.min() > 1.01) == (noise > 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_narrow_types_keep_their_type_and_nearly_the_function(dtype):
    torch.manual_seed(0)
    model = mlp([5, 7, 4]).to(dtype)
    x = torch.randn(8, 5).to(dtype)
    expected = model(x)
    widen_(model, "0", 10, generator=generator())
    assert {p.dtype for p in model.parameters()} == {dtype}
    torch.testing.assert_close(model(x), expected, rtol=0.05, atol=0.02)


def test_the_widened_model_stays_an_ordinary_module():
    model = settled(SEQUENCES["batch norm and PReLU"][0]())
    model[0].weight.requires_grad_(False)
    layers = list(model)
    widen_(model, "0", 9, generator=generator())
    assert list(model) == layers
    assert not model[0].weight.requires_grad
    assert model[4].weight.requires_grad
    assert str(model[0]) == "Linear(in_features=5, out_features=9, bias=True)"
    assert model[1].num_features == model[2].num_parameters == model[4].in_features == 9
    fresh = nn.Sequential(
        nn.Linear(5, 9), nn.BatchNorm1d(9), nn.PReLU(9), nn.PReLU(), nn.Linear(9, 2)
    ).double()
    fresh.load_state_dict(model.state_dict())
    x = torch.randn(3, 5, dtype=torch.float64)
    torch.testing.assert_close(fresh.eval()(x), model(x))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(x).sum().backward()
    optimizer.step()


def sequence(*between, reader=None):
    return nn.Sequential(nn.Linear(4, 6), *between, reader or nn.Linear(6, 2))


TIED = nn.Linear(6, 6)


@pytest.mark.parametrize(
    ("model", "name", "options", "message"),
    [
        (sequence(), "0", {"width": 6}, "^width must be above the present 6, got 6"),
        (sequence(), "0", {"noise": 1.0}, r"^noise must lie in \[0, 1\), got 1"),
        (sequence(), "1", {}, "which is the last: its width is the number of outputs"),
        (sequence(), "2", {}, "^a layer to widen .* got nothing for '2'"),
        (sequence(nn.ReLU()), "1", {}, r"^a layer to widen .* got ReLU\(\) for '1'"),
        (sequence(nn.Softmax(-1)), "0", {}, "apart, got Softmax at '1'"),
        (sequence(nn.LayerNorm(6)), "0", {}, "apart, got LayerNorm at '1'"),
        (
            sequence(nn.MaxPool1d(2), reader=nn.Linear(3, 2)),
            "0",
            {},
            "apart, got MaxPool1d at '1'",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 1, 1)),
            "0",
            {},
            "apart, got GroupNorm at '1'",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1, groups=4)),
            "0",
            {},
            "^a layer to widen or to follow .* groups=1, got Conv2d",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Linear(4, 4)),
            "0",
            {},
            "^a linear layer after convolutions must read flattened maps, got '2'",
        ),
        (
            sequence(nn.Flatten(), reader=nn.Linear(12, 2)),
            "0",
            {},
            "^layer '2' must read the 6 outputs of '0', got one with 12 inputs",
        ),
        (
            nn.Sequential(TIED, nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), TIED),
            "0",
            {},
            "must stand at one place",
        ),
        (SmallCNN(), "features.0", {}, "^then must name the layers .* got SmallCNN"),
        (
            SmallCNN(),
            "features.0",
            {"then": ["classifier", "features.0"]},
            "^then must name the layers that read 'features.0', and not itself",
        ),
        (
            SmallCNN(),
            "features.0",
            {"then": []},
            "^then must name the layers that read",
        ),
        (
            SmallCNN(),
            "features.0",
            {"then": ["features.3"], "between": ["features.1"]},
            "^between must name batch norms and PReLU alone, got ReLU",
        ),
        (
            nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(7), nn.Linear(6, 2)),
            "0",
            {},
            "^layer '1' must hold a number for each of 6 channels, got 7",
        ),
    ],
)
def test_what_cannot_be_preserved_is_refused_and_nothing_changes(
    model, name, options, message
):
    before = copy.deepcopy(model.state_dict())
    described = repr(model)
    with pytest.raises(ValueError, match=message):
        widen_(model, name, **({"width": 40} | options))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert repr(model) == described
