"""The probe's numbers, by hand and by autograd, and its promise to leave no trace."""

import copy
import itertools
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from mlopt_edu.initialization import (
    LayerSignal,
    Signal,
    initialize_,
    kaiming_normal_,
    mean_square,
    signal_statistics,
)


def test_numbers_of_a_tiny_net_by_hand():
    first, second = nn.Linear(1, 2), nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        first.bias.copy_(torch.tensor([0.0, -1.0]))
        second.weight.copy_(torch.tensor([[3.0, 5.0]]))
    model = nn.Sequential(first, nn.ReLU(), second)
    inputs = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    # first: (1, -2), (2, -3), (3, -4), (4, -5); ReLU kills the second unit.
    # Loss is the sum of squares of 3, 6, 9, 12: gradients 6, 12, 18, 24.
    actual = signal_statistics(model, inputs, loss=lambda y: (y**2).sum())
    expected = [
        LayerSignal(
            "0",
            "Linear",
            (4, 2),
            Signal(mean=-0.5, std=math.sqrt(84 / 8 - 0.5**2), dead=0.0),
            # 3 * (6, 12, 18, 24) through the first unit, nothing through the second.
            Signal(mean=22.5, std=math.sqrt(9 * 1080 / 8 - 22.5**2), dead=0.5),
            None,
        ),
        LayerSignal(
            "1",
            "ReLU",
            (4, 2),
            Signal(mean=1.25, std=math.sqrt(30 / 8 - 1.25**2), dead=0.5),
            # 3 and 5 times (6, 12, 18, 24).
            Signal(mean=60.0, std=math.sqrt((9 + 25) * 1080 / 8 - 60**2), dead=0.0),
            0.5,
        ),
        LayerSignal(
            "2",
            "Linear",
            (4, 1),
            Signal(mean=7.5, std=math.sqrt(270 / 4 - 7.5**2), dead=0.0),
            Signal(mean=15.0, std=math.sqrt(1080 / 4 - 15**2), dead=0.0),
            None,
        ),
    ]
    for there, here in zip(expected, actual, strict=True):
        assert (there.name, there.kind, there.shape) == (
            here.name,
            here.kind,
            here.shape,
        )
        assert there.flat == here.flat
        assert vars(there.activation) == pytest.approx(vars(here.activation))
        assert vars(there.gradient) == pytest.approx(vars(here.gradient))


@pytest.mark.parametrize(
    ("activation", "flat"),
    [
        (nn.Sigmoid(), [-9, -5, 5, 9]),  # slope below 0.01 beyond 4.6
        (nn.Tanh(), [-9, -5, -4, 4, 5, 9]),  # beyond 3
        (nn.ReLU(), [-9, -5, -4, -1, -0.5]),
        (nn.ReLU6(), [-9, -5, -4, -1, -0.5, 9]),
        (nn.LeakyReLU(0.02), []),
        (nn.Hardtanh(), [-9, -5, -4, -1, 2, 4, 5, 9]),
        (nn.ELU(), [-9, -5]),  # exp(-4.6) = 0.01
        (nn.GELU(), [-9, -5, -4]),
    ],
)
def test_flat_entries_are_those_with_a_small_slope(activation, flat):
    values = torch.tensor([[-9, -5, -4, -1, -0.5, 0.5, 2, 4, 5, 9]])
    for inplace in {False, hasattr(activation, "inplace")}:
        activation.inplace = inplace
        (report,) = signal_statistics(activation, values, loss=torch.sum)
        assert report.flat == pytest.approx(len(flat) / 10)


def test_threshold_for_flat_is_the_callers():
    values = torch.linspace(-10, 10, 2001)[None]
    slopes = torch.sigmoid(values) * (1 - torch.sigmoid(values))
    for flat_slope in (1e-4, 0.05, 0.2, 1.0):
        (report,) = signal_statistics(nn.Sigmoid(), values, flat_slope=flat_slope)
        expected = (slopes < flat_slope).double().mean().item()
        assert report.flat == pytest.approx(expected, abs=1e-3)


def test_gradients_are_those_of_autograd():
    torch.manual_seed(0)
    conv, head = nn.Conv2d(2, 3, 3), nn.Linear(3 * 4, 5)
    model = nn.Sequential(conv, nn.ReLU(inplace=True), nn.Flatten(), head)
    images, labels = torch.randn(7, 2, 4, 4), torch.arange(7) % 5
    loss = partial(functional.cross_entropy, target=labels)
    report = signal_statistics(model, images, loss=loss)

    first = conv(images)
    second = first.relu().flatten(1)
    logits = head(second)
    gradients = torch.autograd.grad(loss(logits), [first, second, logits])
    for index, gradient in zip((0, 2, 3), gradients, strict=True):
        actual = report[index].gradient
        assert actual.mean == pytest.approx(gradient.mean().item(), abs=1e-9)
        assert actual.std == pytest.approx(gradient.std(correction=0).item(), rel=1e-5)


def deep(activation, depth=20, width=200):
    layers = [
        layer
        for _ in range(depth)
        for layer in (nn.Linear(width, width, bias=False), activation())
    ]
    return nn.Sequential(*layers)


def test_deep_net_follows_the_variance_and_gradient_maps():
    generator = torch.Generator().manual_seed(0)
    model = deep(nn.Tanh, width=500)
    initialize_(
        model, partial(kaiming_normal_, activation="linear"), generator=generator
    )
    inputs = torch.randn(200, 500, generator=generator)
    direction = torch.randn(200, 500, generator=generator)
    report = signal_statistics(model, inputs, loss=lambda y: (y * direction).sum())
    linears = [layer for layer in report if layer.kind == "Linear"]
    variance = 1.0
    for here, after in itertools.pairwise(linears):
        assert here.activation.std**2 == pytest.approx(variance, rel=0.1)
        backward = mean_square("tanh", std=variance**0.5, derivative=True)
        ratio = (here.gradient.std / after.gradient.std) ** 2
        assert ratio == pytest.approx(backward, rel=0.1)
        variance = mean_square("tanh", std=variance**0.5)


@pytest.mark.parametrize(
    ("activation", "name", "survives"),
    [(nn.ReLU, "relu", True), (nn.Sigmoid, "sigmoid", False)],
)
def test_gradients_survive_he_and_relu_and_vanish_with_sigmoid(
    activation, name, survives
):
    generator = torch.Generator().manual_seed(0)
    model = deep(activation)
    initialize_(model, partial(kaiming_normal_, activation=name), generator=generator)
    inputs = torch.randn(50, 200, generator=generator)
    direction = torch.randn(50, 200, generator=generator)
    report = signal_statistics(model, inputs, loss=lambda y: (y * direction).sum())
    ratio = report[0].gradient.std / report[-2].gradient.std
    assert 0.2 < ratio < 5 if survives else ratio < 1e-6


class Awkward(nn.Module):
    """Tied weights, a layer called twice, tokens, a tuple, an unused layer."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.recurrent = nn.GRU(6, 6, batch_first=True)
        self.twice = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.GELU())
        self.norm = nn.BatchNorm1d(6)
        self.unused = nn.Linear(2, 2)
        self.decoder = nn.Linear(6, 11, bias=False)
        self.decoder.weight = self.embedding.weight
        self.frozen = nn.Linear(6, 6).requires_grad_(False)

    def forward(self, tokens, shift):
        hidden, _ = self.recurrent(self.embedding(tokens))
        hidden = self.frozen(self.twice(self.twice(hidden + shift)))
        return {"logits": self.decoder(self.norm(hidden.transpose(1, 2)).mT)}


def state_of(model):
    return (
        copy.deepcopy(model.state_dict()),
        [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        [module.training for module in model.modules()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        torch.get_rng_state(),
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("with_loss", [False, True])
def test_any_model_is_probed_without_a_trace(with_loss, training):
    torch.manual_seed(0)
    model = Awkward().train(training)
    model.embedding.weight.grad = torch.ones(11, 6)
    tokens, shift = torch.arange(12).reshape(2, 6) % 11, torch.randn(6)
    before = state_of(model)

    def loss(output):
        return output["logits"].logsumexp(-1).sum()

    with torch.no_grad():  # The caller's mode must not stop the gradients.
        report = signal_statistics(
            model, (tokens, shift), loss=loss if with_loss else None
        )
    torch.testing.assert_close(state_of(model), before, rtol=0, atol=0)
    assert shift.grad is None
    assert not shift.requires_grad

    names = ["embedding", "recurrent", *["twice.0", "twice.1", "twice.2"] * 2]
    assert [layer.name for layer in report] == [*names, "frozen", "norm", "decoder"]
    assert report[1].shape == (2, 6, 6)
    assert all((layer.gradient is not None) == with_loss for layer in report)


class Breaks(nn.Module):
    def forward(self, x):
        raise RuntimeError("broken on purpose")


@pytest.mark.parametrize("where", ["model", "loss"])
def test_hooks_are_removed_when_something_raises(where):
    def loss(output):
        raise RuntimeError("broken on purpose")

    last = Breaks() if where == "model" else nn.Identity()
    model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(), last)
    inputs, before = torch.arange(12.0).reshape(4, 3), state_of(model)
    with pytest.raises(RuntimeError, match="on purpose"):
        signal_statistics(model, inputs, loss=loss)
    torch.testing.assert_close(state_of(model), before, rtol=0, atol=0)


def test_tensors_that_outlive_the_probe_keep_no_hook():
    kept = []
    model = nn.Sequential(nn.Identity(), nn.Linear(2, 2))
    model[0].register_forward_hook(lambda *args: kept.append(args[2]))
    signal_statistics(model, torch.ones(1, 2), loss=torch.sum)
    assert not kept[0]._backward_hooks


def test_filter_chooses_the_modules():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 1))

    def is_outer(name, module):
        return "." not in name

    report = signal_statistics(model, torch.ones(3, 2), filter_fn=is_outer)
    assert [layer.name for layer in report] == ["0", "1", ""]
    assert [layer.kind for layer in report] == ["Sequential", "Linear", "Sequential"]


@pytest.mark.parametrize("shape", [(), (5,), (0, 3), (2, 1, 4)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_odd_shapes_and_types(dtype, shape):
    report = signal_statistics(
        nn.Identity(), torch.full(shape, 2, dtype=dtype), loss=torch.sum
    )
    expected = [Signal(2.0, 0.0, 0.0)] if 0 not in shape else []
    assert [layer.activation for layer in report] == expected
    assert all(layer.gradient == Signal(1.0, 0.0, 0.0) for layer in report)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"flat_slope": 0.0}, "flat_slope"),
        ({"loss": lambda y: y}, "loss"),
        ({"loss": lambda y: 3.0}, "loss"),
        ({"loss": lambda y: y.detach().sum()}, "loss"),
    ],
)
def test_bad_arguments_are_named(options, name):
    with pytest.raises(ValueError, match=rf"(?s)^{name} must .*, got "):
        signal_statistics(nn.ReLU(), torch.ones(2, 2), **options)
