"""Criteria against the same numbers taken by hand: with hooks, gates, NumPy, SciPy."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812

from mlopt_edu.pruning import Magnitude, prune_
from mlopt_edu.pruning.structured import (
    ActivationEntropy,
    BatchNormScale,
    L1Norm,
    L2Norm,
    Nonzeros,
    RandomUnits,
    UnitTaylor,
    UnitWanda,
    activation_entropy,
    trace,
    unit_taylor_scores,
)
from tests.pruning.structured.nets import make
from tests.pruning.structured.test_laws import graph_of


class CNN(nn.Module):
    """Two convolutions and two linear layers, with a gate on every unit."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.two = nn.Conv2d(6, 4, 3, padding=1, groups=2)
        self.three = nn.Linear(4 * 16, 5)
        self.four = nn.Linear(5, 3)
        self.gates = None

    def forward(self, x):
        g = self.gates or (torch.ones(()),) * 3
        x = F.relu(self.norm(self.one(x))) * g[0].reshape(-1, 1, 1)
        x = F.max_pool2d(F.relu(self.two(x)), 2) * g[1].reshape(-1, 1, 1)
        x = torch.tanh(self.three(x.flatten(1))) * g[2]
        return self.four(x)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = CNN().double().eval()
    nn.init.uniform_(model.norm.weight, -1, 1)
    nn.init.uniform_(model.norm.bias, -1, 1)
    return model


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(n, 3, 8, 8, generator=generator, dtype=torch.double) for n in (5, 3)
    ]


# Channels of `one` go in pairs, one for each group of `two`; those of `two` likewise.
PAIRS_ONE = [[0, 3], [1, 4], [2, 5]]
PAIRS_TWO = [[0, 2], [1, 3]]


def expect(model, graph, importance, expected):
    actual = importance.scores(model, graph)
    assert [group.name for group in graph.groups] == list(expected)
    for score, numbers in zip(actual, expected.values(), strict=True):
        torch.testing.assert_close(score.double(), torch.as_tensor(numbers).double())


@pytest.mark.parametrize(("importance", "order"), [(L1Norm, 1), (L2Norm, 2)])
def test_norms_are_over_filters_and_what_reads_them(model, batches, importance, order):
    graph = trace(model, batches[0])
    one, two, three, four = (
        getattr(model, name).weight.detach() for name in ("one", "two", "three", "four")
    )

    def norm(*parts):
        return torch.cat([part.flatten() for part in parts]).norm(order)

    by_pixels = three.view(5, 4, 16)
    expected = {
        "one": [
            norm(one[i], one[j], two[:, place])
            for place, (i, j) in enumerate(PAIRS_ONE)
        ],
        "two": [norm(two[[i, j]], by_pixels[:, [i, j]]) for i, j in PAIRS_TWO],
        "three": [norm(three[i], four[:, i]) for i in range(5)],
    }
    expect(model, graph, importance(), expected)
    makers = {
        "one": [norm(one[pair]) for pair in PAIRS_ONE],
        "two": [norm(two[pair]) for pair in PAIRS_TWO],
        "three": [norm(three[i]) for i in range(5)],
    }
    expect(model, graph, importance(makers_only=True), makers)


def test_norms_of_masked_weights_see_the_zeros():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
    prune_(model, Magnitude(amount=0.6))
    scores = L1Norm().scores(model, trace(model, torch.ones(1, 8)))[0]
    used = [layer.weight.detach().abs() for layer in model]
    torch.testing.assert_close(scores, used[0].sum(1) + used[1].sum(0))


def test_batch_norm_scale(model, batches):
    graph = trace(model, batches[0])
    only_one = dataclasses.replace(graph, groups=graph.groups[:1])
    scale = model.norm.weight.detach().abs()
    expect(model, only_one, BatchNormScale(), {"one": scale.view(2, 3).mean(0)})
    message = r"^group 'two' must have a batch norm for BatchNormScale, got none; leave"
    with pytest.raises(ValueError, match=message):
        BatchNormScale().scores(model, graph)


@pytest.mark.parametrize("training", [False, True])
def test_taylor_is_the_derivative_by_a_gate(model, batches, training):
    model.train(training)
    graph = trace(model, batches[0])
    targets = torch.tensor([0, 1, 2, 0, 1])

    def losses(model):
        return F.cross_entropy(model(batches[0]), targets, reduction="none")

    running_mean = model.norm.running_mean.clone()
    actual = UnitTaylor(loss=losses).scores(model, graph)
    torch.testing.assert_close(model.norm.running_mean, running_mean, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())
    model.gates = [torch.ones(n, dtype=torch.double) for n in (6, 4, 5)]
    for gate in model.gates:
        gate.requires_grad_()
    jacobian = [
        torch.autograd.grad(loss, model.gates, retain_graph=True)
        for loss in losses(model)
    ]
    one, two, three = (torch.stack(rows) for rows in zip(*jacobian, strict=True))
    expected = [
        torch.stack([one[:, pair].sum(1) for pair in PAIRS_ONE]).square().sum(1),
        torch.stack([two[:, pair].sum(1) for pair in PAIRS_TWO]).square().sum(1),
        three.T.square().sum(1),
    ]
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b)
    # One loss is one example.
    model.gates = None
    (single, *_) = UnitTaylor(loss=lambda m: losses(m).mean()).scores(model, graph)
    mean = one.mean(0)
    torch.testing.assert_close(
        single, torch.stack([mean[pair].sum() for pair in PAIRS_ONE]).square()
    )


def test_taylor_sees_frozen_weights_and_refuses_what_is_no_loss(model, batches):
    graph = trace(model, batches[0])
    expected = UnitTaylor(loss=lambda m: m(batches[0]).sum()).scores(model, graph)
    model.requires_grad_(False)
    actual = UnitTaylor(loss=lambda m: m(batches[0]).sum()).scores(model, graph)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b)
    for loss, error, message in [
        (lambda m: m(batches[0]).sum().item(), TypeError, "loss must return a tensor"),
        (lambda m: m(batches[0]), ValueError, "loss must return a scalar or losses of"),
        (
            lambda m: torch.ones(()),
            ValueError,
            "loss must return a scalar or losses of",
        ),
        (
            lambda m: m.norm(m.one(batches[0])).sum(),
            ValueError,
            "loss must depend on group 'one', got no gradient; leave its layers out by",
        ),
    ]:
        with pytest.raises(error, match=f"^{message}"):
            UnitTaylor(loss=loss).scores(model, graph)


def seen_by_hooks(model, batches):
    """Return what each layer got, batch by batch."""
    seen = {name: [] for name in ("two", "three", "four")}
    handles = [
        getattr(model, name).register_forward_pre_hook(
            lambda _, args, name=name: seen[name].append(args[0].detach())
        )
        for name in seen
    ]
    for batch in batches:
        model(batch)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}


def test_entropy_is_that_of_pooled_activations(model, batches):
    graph = trace(model, batches[0])
    seen = seen_by_hooks(model, batches)
    pooled = {
        "one": seen["two"].mean((2, 3)).view(8, 2, 3).mean(1),
        "two": seen["three"].view(8, 4, 16).mean(2).view(8, 2, 2).mean(1),
        "three": seen["four"],
    }
    expected = {
        name: [
            scipy.stats.entropy(np.histogram(column, bins=7)[0])
            for column in values.numpy().T
        ]
        for name, values in pooled.items()
    }
    expect(model, graph, ActivationEntropy(inputs=batches, bins=7), expected)


def test_wanda_is_what_units_send_on(model, batches):
    graph = trace(model, batches[0])
    seen = seen_by_hooks(model, batches)
    two, three, four = (
        getattr(model, name).weight.detach().abs() for name in ("two", "three", "four")
    )
    norms = seen["two"].square().sum((0, 2, 3)).sqrt()
    sent_one = [
        sum(norms[c] * two[2 * g : 2 * g + 2, place].sum() for g, c in enumerate(pair))
        for place, pair in enumerate(PAIRS_ONE)
    ]
    sent = (seen["three"].square().sum(0).sqrt() * three.sum(0)).view(4, 16).sum(1)
    expected = {
        "one": sent_one,
        "two": [sent[pair].sum() for pair in PAIRS_TWO],
        "three": seen["four"].square().sum(0).sqrt() * four.sum(0),
    }
    expect(model, graph, UnitWanda(inputs=batches), expected)


def test_nonzeros_are_those_after_relu(model, batches):
    graph = trace(model, batches[0])
    seen = seen_by_hooks(model, batches)
    alive = {
        "one": (seen["two"] != 0).double().mean((0, 2, 3)).view(2, 3).mean(0),
        "two": (seen["three"] != 0).double().view(-1, 4, 16).mean((0, 2)).view(2, 2),
        "three": torch.ones(5),
    }
    alive["two"] = alive["two"].mean(0)
    expect(model, graph, Nonzeros(inputs=batches), alive)


@pytest.mark.parametrize(
    "name",
    [
        "UNet",
        "ResNeXt, 8 groups",
        "VisionTransformer",
        "GatedLM",
        "LSTM",
        "WaveNet",
        "PerHead",
        "GroupNormNet",
        "TwoInputs",
    ],
)
def test_every_criterion_scores_every_net(name):
    model, inputs = make(name)
    graph = graph_of(name)
    if "Norm2d" not in repr(model):
        with pytest.raises(ValueError, match=r"^group .* must have a batch norm"):
            BatchNormScale().scores(model, graph)

    def loss(model):
        output = model(*inputs)
        if isinstance(output, dict):
            output = torch.cat([part.sum()[None] for part in output.values()])
        return output.square().sum()

    for importance in (
        L1Norm(),
        UnitTaylor(loss=loss),
        UnitWanda(inputs=[inputs]),
        ActivationEntropy(inputs=[inputs, inputs]),
        Nonzeros(inputs=[inputs]),
        RandomUnits(generator=torch.Generator().manual_seed(0)),
    ):
        scores = importance.scores(model, graph)
        assert [len(score) for score in scores] == [g.units for g in graph.groups]
        assert all((score >= 0).all() and score.isfinite().all() for score in scores)


def test_low_entropy_is_a_unit_that_tells_nothing():
    # Unit 0 sees the input, unit 1 is saturated: large, and nearly always the same.
    model = nn.Sequential(nn.Linear(1, 2), nn.Sigmoid(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [0.0]]))
        model[0].bias.copy_(torch.tensor([0.0, 9.0]))
        model[2].weight.copy_(torch.tensor([[1.0, 50.0]]))
    x = torch.linspace(-2, 2, 100)[:, None]
    graph = trace(model, x)
    (entropy,) = ActivationEntropy(inputs=[x], bins=10).scores(model, graph)
    (norm,) = L2Norm().scores(model, graph)
    assert entropy[0] > 2 > entropy[1] == 0
    assert norm[0] < norm[1]


@given(st.integers(2, 40), st.integers(1, 30), st.integers(0, 10**6))
def test_entropy_lies_between_0_and_the_logarithm_of_the_bins(bins, samples, seed):
    x = torch.randn(samples, 3, generator=torch.Generator().manual_seed(seed))
    x[:, 2] = 7
    entropy = activation_entropy(x, bins=bins)
    assert (entropy >= 0).all()
    assert entropy[2] == 0
    assert entropy.max() <= math.log(min(bins, samples)) + 1e-6
    shuffled = x[torch.randperm(samples)]
    torch.testing.assert_close(activation_entropy(shuffled, bins=bins), entropy)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: activation_entropy(torch.ones(3)), r"activations must have shape"),
        (lambda: activation_entropy(torch.ones(0, 2)), r"activations must have shape"),
        (
            lambda: activation_entropy(torch.ones(2, 2), bins=1),
            r"bins must be at least",
        ),
        (
            lambda: ActivationEntropy(inputs=[], bins=1),
            r"bins must be at least 2, got 1",
        ),
        (
            lambda: unit_taylor_scores(torch.ones(2, 3), torch.ones(2, 3)),
            r"grads must have shape \(losses, \*\(2, 3\)\), got \(2, 3\)",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def test_inputs_are_checked(model, batches):
    graph = trace(model, batches[0])
    with pytest.raises(
        ValueError, match=r"^inputs must hold at least 1 batch, got none"
    ):
        UnitWanda(inputs=[]).scores(model, graph)
    message = r"^inputs must be batches that model can be run on, tensors or tuples of"
    with pytest.raises(ValueError, match=message):
        UnitWanda(inputs=[torch.ones(2, 1, 8, 8).double()]).scores(model, graph)


def test_a_unit_that_no_weight_reads_is_refused():
    class Energy(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Linear(4, 6)

        def forward(self, x):
            return self.features(x).square().sum(1)

    model, x = Energy(), torch.ones(2, 4)
    graph = trace(model, x)
    assert [group.units for group in graph.groups] == [6]
    with pytest.raises(
        ValueError, match=r"^group 'features' must be read by a layer's"
    ):
        UnitWanda(inputs=[x]).scores(model, graph)
    # Its filters still have norms and gradients.
    (scores,) = UnitTaylor(loss=lambda m: m(x).sum()).scores(model, graph)
    y = x @ model.features.weight.T
    expected = (2 * (y + model.features.bias) * y).sum(0).square()
    torch.testing.assert_close(scores, expected.detach())
