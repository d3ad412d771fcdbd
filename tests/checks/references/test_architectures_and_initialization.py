"""The right programs of exercise 05, proved by torch's modules, autograd and counts."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mlopt_edu.architectures import (
    Bottleneck,
    DepthwiseSeparable,
    Fire,
    MobileNet,
    SqueezeNet,
)
from mlopt_edu.checks import find_task
from mlopt_edu.checks.architectures_and_initialization._block_cost import (
    block_cost_reference,
)
from mlopt_edu.checks.architectures_and_initialization._conv_cost import (
    conv_cost_reference,
)
from mlopt_edu.checks.architectures_and_initialization._fans import fans_reference
from mlopt_edu.checks.architectures_and_initialization._he_uniform import (
    he_uniform_reference,
)
from mlopt_edu.checks.architectures_and_initialization._signal_stds import (
    signal_stds_reference,
)
from mlopt_edu.checks.architectures_and_initialization._uniform_bounds import (
    uniform_bounds_reference,
)
from mlopt_edu.checks.architectures_and_initialization._weight_gradients import (
    weight_gradients_reference,
)
from tests.checks.references import cases

MODULES = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}


def wrong(task, name):
    (program,) = [m.program for m in find_task(task).mistakes if m.name == name]
    return program


def convolution(weight_shape, groups):
    """A layer whose weight has this shape, padded so that nothing is at a border."""
    out, per_group, *sides = weight_shape
    if not sides:
        return nn.Linear(per_group, out, bias=False)
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(sides)]
    padding = [side - 1 for side in sides]
    numbers = {"groups": groups, "padding": padding, "bias": False}
    return kind(per_group * groups, out, sides, **numbers)


@cases("fans")
def test_fans_by_following_every_connection(case):
    shape, groups = case.inputs.values()
    layer = convolution(shape, groups)
    assert tuple(layer.weight.shape) == shape
    nn.init.ones_(layer.weight)
    inside = shape[1] * groups
    x = torch.zeros(1, inside, *(2 * side - 1 for side in shape[2:]))
    x.requires_grad_()
    y = layer(x)
    middle = tuple(size // 2 for size in y.shape[2:])
    (seen,) = torch.autograd.grad(y[(0, 0, *middle)], x, retain_graph=True)
    reached = torch.zeros_like(x)
    reached[(0, 0, *(size // 2 for size in x.shape[2:]))] = 1
    expected = int(seen.count_nonzero()), int(layer(reached).count_nonzero())
    assert fans_reference(shape, groups) == expected


@cases("fans")
def test_fans_of_one_group_are_those_of_torch(case):
    shape, groups = case.inputs.values()
    own = torch.empty(shape[0] // groups, *shape[1:])
    expected = nn.init._calculate_fan_in_and_fan_out(own)
    assert fans_reference(shape, groups) == expected
    of_torch = nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
    assert wrong("fans", "groups_ignored")(shape, groups) == of_torch


def seeded():
    return torch.Generator().manual_seed(3)


def bound_of(initializer, fan_in, fan_out, **options):
    """Bound that torch draws from: one seed gives the same numbers in [0, 1)."""
    weight, uniform = torch.empty(2, fan_out, fan_in, dtype=torch.float64)
    initializer(weight, generator=seeded(), **options)
    uniform.uniform_(generator=seeded())
    return (weight / (2 * uniform - 1)).median().item()


@cases("uniform_bounds")
def test_uniform_bounds_are_those_that_torch_draws_from(case):
    fan_in, fan_out, slope = case.inputs.values()
    kaiming = {"a": slope, "mode": "fan_in", "nonlinearity": "leaky_relu"}
    xavier = bound_of(nn.init.xavier_uniform_, fan_in, fan_out)
    he = bound_of(nn.init.kaiming_uniform_, fan_in, fan_out, **kaiming)
    actual = uniform_bounds_reference(fan_in, fan_out, slope)
    assert actual == pytest.approx((xavier, he), rel=1e-9)


def test_uniform_bounds_of_slope_root_5_are_those_of_a_linear_layer():
    _, he = uniform_bounds_reference(400, 3, math.sqrt(5))
    assert he == pytest.approx(1 / math.sqrt(400))
    torch.manual_seed(0)
    seen = nn.Linear(400, 3).weight.abs().max().item()
    assert 0.99 * he < seen <= he


@cases("he_uniform")
def test_he_uniform_draws_what_torch_draws(case):
    shape = case.inputs["uniform"].shape
    kaiming = {"mode": "fan_in", "nonlinearity": "relu"}
    weight, uniform = (torch.empty(shape, dtype=torch.float64) for _ in range(2))
    nn.init.kaiming_uniform_(weight, generator=seeded(), **kaiming)
    uniform.uniform_(generator=seeded())
    actual = he_uniform_reference(uniform.numpy())
    np.testing.assert_allclose(actual, weight.numpy(), rtol=1e-9, atol=1e-12)


@cases("he_uniform")
def test_he_uniform_has_the_bound_of_task_2(case):
    shape = case.inputs["uniform"].shape
    fans = fans_reference(shape, 1)
    expected = uniform_bounds_reference(*fans, 0.0)[1]
    np.testing.assert_allclose(he_uniform_reference(np.ones(shape)), expected)
    np.testing.assert_allclose(he_uniform_reference(np.zeros(shape)), -expected)


def test_as_given_reaches_0_0012_where_he_reaches_0_14():
    ends = np.ones((300, 300))
    ends[0] = 0
    given = wrong("he_uniform", "as_given")(ends)
    assert f"{given.max():.4f}" == "0.0012"
    assert given.min() == -given.max()
    assert f"{he_uniform_reference(ends).max():.2f}" == "0.14"


def network(weights, activation):
    """The same net of torch's modules, and what each of its layers puts out."""
    net, outputs = nn.Sequential(), []
    for weight in weights:
        layer = nn.Linear(*weight.shape[::-1], bias=False, dtype=torch.float64)
        layer.weight = nn.Parameter(torch.tensor(weight))
        net.extend([layer, MODULES[activation]()])
        net[-1].register_forward_hook(lambda _, __, y: outputs.append(y.detach()))
    return net, outputs


@cases("signal_stds")
def test_signal_stds_by_hooks_on_modules_of_torch(case):
    weights, x, activation = case.inputs.values()
    net, outputs = network(weights, activation)
    net(torch.tensor(x))
    expected = [y.std(dim=0, correction=0).mean().item() for y in outputs]
    actual = signal_stds_reference(weights, x, activation)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


def test_units_differ_where_examples_do_not_any_more():
    # 20 layers of sigmoid: a std over all entries would call this a living signal
    rng = np.random.default_rng(0)
    weights = [he_uniform_reference(rng.random((100, 100))) for _ in range(20)]
    x = rng.normal(size=(50, 100))
    over_all = wrong("signal_stds", "over_all_entries")(weights, x, "sigmoid")
    assert over_all[-1] > 0.1
    assert signal_stds_reference(weights, x, "sigmoid")[-1] < 1e-8


def same(actual, expected):
    """Every layer by its own size: the first may be a million times smaller."""
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        scale = np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * scale)


@cases("weight_gradients")
def test_weight_gradients_by_autograd(case):
    weights, x, activation, grad = case.inputs.values()
    net, _ = network(weights, activation)
    net(torch.tensor(x)).backward(torch.tensor(grad))
    expected = [layer.weight.grad.numpy() for layer in net[::2]]
    same(weight_gradients_reference(weights, x, activation, grad), expected)


def test_weight_gradients_by_differences():
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(4, 3)), rng.normal(size=(2, 4))]
    x, grad = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))

    def loss(first):
        return np.sum(grad * np.tanh(np.tanh(x @ first.T) @ weights[1].T))

    slopes = np.empty((4, 3))
    for place in np.ndindex(4, 3):
        step = np.zeros((4, 3))
        step[place] = 1e-6
        slopes[place] = (loss(weights[0] + step) - loss(weights[0] - step)) / 2e-6
    first, _ = weight_gradients_reference(weights, x, "tanh", grad)
    np.testing.assert_allclose(first, slopes, rtol=1e-6, atol=1e-9)


def test_what_relu_puts_out_at_exactly_0_is_tried():
    (case,) = [c for c in find_task("weight_gradients").cases(20) if "two" in c.label]
    assert np.sum(case.inputs["x"] @ case.inputs["weights"][0].T == 0) == 2


def counted(module, c_in, height, width):
    """Parameters, and half of the operations that torch counts for one image."""
    with FlopCounterMode(display=False) as counter:
        module(torch.empty(1, c_in, height, width, device="meta"))
    parameters = sum(p.numel() for p in module.parameters())
    return parameters, counter.get_total_flops() // 2


@cases("conv_cost")
def test_conv_cost_by_the_flop_counter_of_torch(case):
    c_in, c_out, kernel, groups, stride, padding, height, width = case.inputs.values()
    with torch.device("meta"):
        layer = nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups)
    expected = counted(layer, c_in, height, width)
    assert conv_cost_reference(*case.inputs.values()) == expected


def test_conv_cost_by_multiplying_one_by_one():
    macs, (height, width, kernel, stride, padding) = 0, (7, 6, 3, 2, 1)
    for _ in range(4):  # output channels, in 2 groups of 4 inputs together
        for top in range(-padding, height + padding - kernel + 1, stride):
            for left in range(-padding, width + padding - kernel + 1, stride):
                macs += sum(
                    1
                    for _ in range(4 // 2)
                    for _ in range(top, top + kernel)
                    for _ in range(left, left + kernel)
                )
    assert conv_cost_reference(4, 4, 3, 2, 2, 1, 7, 6)[1] == macs


def conv(c_in, c_out, kernel=1, stride=1, groups=1):
    return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups)


def block(kind, c_in, c_out, stride):
    """A block of torch's modules, without normalization; Fire is the library's."""
    middle = c_out // 4
    with torch.device("meta"):
        if kind == "fire":
            return Fire(c_in, c_out)
        if kind == "dense":
            return conv(c_in, c_out, 3, stride)
        if kind == "separable":
            depthwise = conv(c_in, c_in, 3, stride, groups=c_in)
            return nn.Sequential(depthwise, conv(c_in, c_out))
        return nn.Sequential(
            conv(c_in, middle), conv(middle, middle, 3, stride), conv(middle, c_out)
        )


@cases("block_cost")
def test_block_cost_by_modules_and_the_flop_counter_of_torch(case):
    kind, c_in, c_out, stride, height, width = case.inputs.values()
    expected = counted(block(kind, c_in, c_out, stride), c_in, height, width)
    assert block_cost_reference(*case.inputs.values()) == expected


@pytest.mark.parametrize("stride", [1, 2])
def test_block_cost_has_the_macs_of_the_library(stride):
    with torch.device("meta"):
        blocks = {
            "separable": DepthwiseSeparable(48, 64, stride=stride),
            "bottleneck": Bottleneck(48, 64, stride=stride).residual,
        }
    for kind, module in blocks.items():
        _, expected = counted(module, 48, 15, 18)
        assert block_cost_reference(kind, 48, 64, stride, 15, 18)[1] == expected


@cases("block_cost")
def test_block_cost_is_the_sum_of_conv_costs(case):
    kind, c_in, c_out, stride, height, width = case.inputs.values()
    small = math.ceil(height / stride), math.ceil(width / stride)
    m, s, e = c_out // 4, c_out // 8, c_out // 2
    layers = {
        "dense": [(c_in, c_out, 3, 1, stride, 1, height, width)],
        "separable": [
            (c_in, c_in, 3, c_in, stride, 1, height, width),
            (c_in, c_out, 1, 1, 1, 0, *small),
        ],
        "bottleneck": [
            (c_in, m, 1, 1, 1, 0, height, width),
            (m, m, 3, 1, stride, 1, height, width),
            (m, c_out, 1, 1, 1, 0, *small),
        ],
        "fire": [
            (c_in, s, 1, 1, 1, 0, height, width),
            (s, e, 1, 1, 1, 0, height, width),
            (s, e, 3, 1, 1, 1, height, width),
        ],
    }
    expected = np.sum([conv_cost_reference(*layer) for layer in layers[kind]], axis=0)
    assert block_cost_reference(*case.inputs.values()) == tuple(expected)


def test_which_one_to_ship_quotes_the_true_counts():
    with torch.device("meta"):
        mobile, squeeze = MobileNet(), SqueezeNet()
    (parameters, macs), (fewer, more) = (
        counted(net.eval(), 3, 224, 224) for net in (mobile, squeeze)
    )
    question = find_task("which_one_to_ship").question
    for number in (parameters / 1e6, fewer / 1e6):
        assert f"{number:.2f} million parameters" in question
    for number in (macs / 1e6, more / 1e6):
        assert f"{number:.0f} million MACs" in question
    assert f"{parameters / fewer:.1f}" == "3.4"
    assert f"{more / macs:.1f}" == "1.4"


def test_a_depthwise_layer_makes_9_macs_for_each_number_that_it_writes():
    _, macs = conv_cost_reference(64, 64, 3, 64, 1, 1, 14, 14)
    assert macs / (64 * 14 * 14) == 9


def test_low_training_loss_of_wrong_labels():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 60, generator=generator)
    labels = torch.randint(2, (80,), generator=generator).double()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(60, 200), nn.ReLU(), nn.Linear(200, 1)).double()
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    x, held_out = x.double(), torch.randn(40, 60, generator=generator).double()
    for _ in range(100):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(net(x)[:, 0], labels[:40])
        loss.backward()
        optimizer.step()
    right = ((net(held_out)[:, 0] > 0) == labels[40:].bool()).double().mean()
    assert loss.item() < 0.01
    assert 0.25 < right.item() < 0.75


def test_two_relus_make_the_absolute_value_which_no_matrix_does():
    x = torch.linspace(-2, 2, 9)
    torch.testing.assert_close(torch.relu(x) + torch.relu(-x), x.abs())
    one, other, between = (torch.relu(torch.tensor(v)) for v in (1.0, -1.0, 0.0))
    assert (one + other, between) == (1, 0)


@pytest.mark.parametrize(("name", "factor"), [("std_for_bound", 59_049), ("", 1)])
def test_twenty_layers_later(name, factor):
    program = wrong("he_uniform", name) if name else he_uniform_reference
    rng = np.random.default_rng(0)
    z = rng.normal(size=(64, 512))
    start = np.sqrt((z**2).mean())
    for _ in range(20):
        z = np.maximum(z, 0) @ program(rng.random((512, 512))).T
    assert 3**10 == 59_049
    ratio = start / np.sqrt((z**2).mean())
    assert math.log(ratio / factor) == pytest.approx(0, abs=0.5)
