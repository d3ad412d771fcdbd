"""Bits per layer: sensitivities, exact allocation, and a method for each layer."""

import copy
import itertools

import numpy as np
import pytest
import torch
from scipy import optimize, sparse
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from mlopt_edu.evaluation import bytes_of
from mlopt_edu.models import CharGPT
from mlopt_edu.quantization import (
    GPTQ,
    NF4,
    Int8Dynamic,
    Int8Linear,
    Int8Static,
    Mixed,
    WeightOnly,
    WeightOnlyLinear,
    allocate_bits,
    bit_sensitivity,
    hessian_sensitivity,
    hessian_traces,
    is_linear_or_conv,
    quantize_,
)


def net(seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(6, 8), nn.Tanh(), nn.Dropout(), nn.Linear(8, 8), nn.Tanh(),
        nn.Linear(8, 3),
    ).to(dtype).eval()  # fmt: skip


def data(seed=0, n=50, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=generator, dtype=dtype)
    return x, torch.randint(3, (n,), generator=generator)


def loss_on(x, y):
    return lambda model: functional.cross_entropy(model(x), y)


def test_sensitivity_is_the_rise_of_the_loss():
    model, loss = net(), loss_on(*data())
    before = copy.deepcopy(model.state_dict())
    found = bit_sensitivity(model, loss, bits=(2, 4))
    assert list(found) == ["0", "3", "5"]
    for name, rises in found.items():
        assert list(rises) == [2, 4]
        for bits, rise in rises.items():
            rounded = copy.deepcopy(model)
            quantize_(
                rounded,
                WeightOnly(bits=bits),
                filter_fn=lambda key, _, name=name: key == name,
            )
            expected = (loss(rounded) - loss(model)).item()
            assert rise == pytest.approx(expected, abs=1e-12)
    for key, old in before.items():
        assert torch.equal(model.state_dict()[key], old)
    assert all(type(model[place]) is nn.Linear for place in (0, 3, 5))


def test_any_method_and_filter():
    model, (x, y) = net(), data()
    found = bit_sensitivity(
        model,
        lambda model: loss_on(x, y)(model).item(),
        bits=[3],
        method=lambda bits: GPTQ(inputs=[x], bits=bits),
        filter_fn=lambda name, module: name == "3",
    )
    quantize_(model, GPTQ(inputs=[x], bits=3), filter_fn=lambda name, _: name == "3")
    expected = loss_on(x, y)(model) - loss_on(x, y)(net())
    assert found == {"3": {3: pytest.approx(expected.item())}}


def exact_traces(model, loss, names):
    traces = {}
    for name in names:

        def by_weight(weight, name=name):
            changed = {f"{name}.weight": weight}
            return loss(lambda x: torch.func.functional_call(model, changed, (x,)))

        weight = model.get_submodule(name).weight.detach()
        hessian = torch.autograd.functional.hessian(by_weight, weight)
        size = weight.numel()
        traces[name] = hessian.reshape(size, size).trace().item()
    return traces


def test_traces_are_those_of_the_whole_hessian():
    model, loss = net(), loss_on(*data())
    expected = exact_traces(model, loss, ["0", "3", "5"])
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    found = hessian_traces(
        model, loss, samples=100, generator=torch.Generator().manual_seed(0)
    )
    assert found == pytest.approx(expected, rel=0.25)
    again = hessian_traces(
        model, loss, samples=100, generator=torch.Generator().manual_seed(0)
    )
    assert found == again
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_one_sample_is_exact_for_a_diagonal_hessian():
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(5, 4)).double()
    factors = torch.arange(20.0, dtype=torch.float64).reshape(4, 5)

    def loss(model):  # linear in the second weight
        return (factors * model[0].weight ** 2).sum() + model[1].weight.sum()

    found = hessian_traces(model, loss, samples=1)
    assert found == {"0": pytest.approx(2 * factors.sum().item()), "1": 0}
    assert hessian_traces(
        model, lambda model: model[0].weight.sum() + model[1].weight.sum()
    ) == {"0": 0, "1": 0}


def test_convolutions_masks_and_attention():
    class Mask(nn.Module):
        def forward(self, weight):
            return weight * (weight > 0)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2))
    parametrize.register_parametrization(model[3], "weight", Mask())
    kept, x = copy.deepcopy(model), torch.randn(4, 2, 6)

    def loss(model):
        return model(x).square().mean()

    options = {"samples": 3, "filter_fn": is_linear_or_conv}
    generator = torch.Generator()
    found = hessian_traces(model, loss, generator=generator.manual_seed(0), **options)
    assert parametrize.is_parametrized(model[3])
    assert torch.equal(model(x), kept(x))
    parametrize.remove_parametrizations(model[3], "weight")
    plain = hessian_traces(model, loss, generator=generator.manual_seed(0), **options)
    assert found == pytest.approx(plain)
    gpt = CharGPT(9, width=8, layers=1, heads=2, generator=generator).eval()
    ids = torch.randint(9, (2, 5), generator=generator)
    traces = hessian_traces(gpt, lambda model: model(ids).square().mean(), samples=1)
    assert all(np.isfinite(list(traces.values())))


def test_estimates_rank_layers_as_measurements_do():
    torch.manual_seed(0)
    model, (x, y) = net(), data(n=200)
    y = (x[:, :3] + 0.3 * x[:, 3:]).argmax(1)
    loss = loss_on(x, y)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(150):  # near a minimum, where the gradient is left out rightly
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
    bits = (4, 5, 6)
    measured = bit_sensitivity(model, loss, bits=bits)
    estimated = hessian_sensitivity(
        model, loss, bits=bits, samples=40, generator=torch.Generator().manual_seed(0)
    )
    traces = exact_traces(model, loss, ["0", "3", "5"])
    for name, rises in estimated.items():
        for width, rise in rises.items():
            layer = copy.deepcopy(model.get_submodule(name))
            packed = WeightOnly(bits=width).pack(layer.weight.detach()).unpack()
            change = (packed - layer.weight).square().sum().item()
            expected = traces[name] / layer.weight.numel() * change / 2
            assert rise == pytest.approx(expected, rel=0.3)
    pairs = [
        (measured[name][width], estimated[name][width])
        for name in measured
        for width in bits
    ]
    ranks = np.argsort(np.argsort(pairs, axis=0), axis=0)
    assert np.corrcoef(ranks.T)[0, 1] > 0.6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: hessian_traces(net(), loss_on(*data()), samples=0),
            r"^samples must be at least 1, got 0$",
        ),
        (
            lambda: hessian_traces(net(), lambda model: model[0].weight.sum()),
            r"^loss must depend on every chosen layer, but not on '3'; leave it out",
        ),
        (
            lambda: bit_sensitivity(net(), loss_on(*data()), bits=[1]),
            r"^bits must lie between 2 and 8, got 1$",
        ),
        (
            lambda: bit_sensitivity(net(), len, filter_fn=lambda *_: False),
            r"^filter_fn must choose at least 1 layer, got none$",
        ),
    ],
)
def test_measurements_that_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def problem(seed, layers, *, most=40, choices=(2, 3, 4, 8)):
    """Costs that fall with the bits, mostly, and sizes that have nothing in common."""
    numbers = np.random.default_rng(seed)
    cost, sizes = {}, {}
    for layer in range(layers):
        widths = sorted(numbers.choice(choices, numbers.integers(1, 5), replace=False))
        base = 10 ** numbers.normal(scale=2)
        cost[f"{layer}"] = {
            int(bits): float(base * 4.0**-bits + 0.05 * base * numbers.normal())
            for bits in widths
        }
        sizes[f"{layer}"] = int(numbers.integers(1, most))
    least = sum(sizes[name] * min(costs) for name, costs in cost.items())
    most_bits = sum(sizes[name] * max(costs) for name, costs in cost.items())
    return cost, sizes, float(numbers.uniform(least, most_bits))


def total(values, chosen):
    return sum(values[name][bits] for name, bits in chosen.items())


def bits_of(sizes, chosen):
    return sum(sizes[name] * bits for name, bits in chosen.items())


@pytest.mark.parametrize("seed", range(30))
def test_the_best_of_all_assignments(seed):
    cost, sizes, budget = problem(seed, 1 + seed % 6)
    found = allocate_bits(cost, sizes, budget=budget)
    assert list(found) == list(cost)
    options = []
    for widths in itertools.product(*cost.values()):
        chosen = dict(zip(cost, widths, strict=True))
        if bits_of(sizes, chosen) <= budget:
            options.append((total(cost, chosen), bits_of(sizes, chosen)))
    best = min(options)
    assert bits_of(sizes, found) <= budget
    assert total(cost, found) == pytest.approx(best[0], rel=1e-12)
    assert bits_of(sizes, found) == best[1]


@pytest.mark.parametrize(("seed", "layers"), [(0, 12), (1, 40), (2, 60)])
def test_the_optimum_of_an_integer_program(seed, layers):
    cost, sizes, budget = problem(seed, layers, most=100_000)
    found = allocate_bits(cost, sizes, budget=budget)
    places = [(name, bits) for name, costs in cost.items() for bits in costs]
    one_each = sparse.lil_array((layers, len(places)))
    for column, (name, _) in enumerate(places):
        one_each[list(cost).index(name), column] = 1
    weights = np.array([[sizes[name] * bits for name, bits in places]])
    scale = max(abs(cost[name][bits]) for name, bits in places)
    answer = optimize.milp(
        np.array([cost[name][bits] for name, bits in places]) / scale,
        constraints=[
            optimize.LinearConstraint(one_each.tocsr(), 1, 1),
            optimize.LinearConstraint(weights / budget, ub=1),
        ],
        integrality=np.ones(len(places)),
        bounds=optimize.Bounds(0, 1),
        options={"mip_rel_gap": 0},
    )
    assert bits_of(sizes, found) <= budget
    assert total(cost, found) / scale <= answer.fun + 1e-9
    assert total(cost, found) / scale == pytest.approx(answer.fun, abs=1e-6)


def test_without_a_bound_each_layer_takes_its_best():
    cost, sizes, _ = problem(5, 30)
    best = {name: min(costs, key=costs.get) for name, costs in cost.items()}
    assert allocate_bits(cost, sizes, budget=np.inf) == best
    tiny = {name: {2: 1e-30, 4: 0.0} for name in sizes}
    budget = 3 * sum(sizes.values())
    found = allocate_bits(tiny, sizes, budget=budget)
    assert bits_of(sizes, found) <= budget
    assert 4 in found.values()


def test_many_layers_of_the_same_sizes():
    """A transformer of 96 blocks: partial sums coincide, so few of them stay."""
    shapes = [12288, 4096, 16384, 16384] * 96
    numbers = np.random.default_rng(0)
    cost = {
        str(place): {
            bits: numbers.uniform(0.5, 1) * 4.0**-bits for bits in (2, 3, 4, 8)
        }
        for place in range(len(shapes))
    }
    sizes = {str(place): 4096 * size for place, size in enumerate(shapes)}
    budget = 3.5 * sum(sizes.values())
    found = allocate_bits(cost, sizes, budget=budget)
    assert 0 <= budget - bits_of(sizes, found) < max(sizes.values())


@pytest.mark.parametrize(
    ("cost", "sizes", "budget", "message"),
    [
        ({}, {}, 1, r"^cost and sizes must have the same layers, at least 1, got"),
        ({"a": {2: 1.0}}, {"b": 1}, 9, r"the same layers, .* \['a'\] and \['b'\]$"),
        ({"a": {}}, {"a": 1}, 9, r"^cost must hold finite numbers for every layer"),
        ({"a": {2: np.nan}}, {"a": 1}, 9, r"^cost must hold finite .* for 'a'$"),
        ({"a": {2: 1.0}}, {"a": 5}, 9, r"^budget must be at least 10 bits, .* got 9$"),
        ({"a": {2: 1.0}}, {"a": 5}, np.nan, r"^budget must be at least 10 bits"),
    ],
)
def test_allocations_that_are_refused(cost, sizes, budget, message):
    with pytest.raises(ValueError, match=message):
        allocate_bits(cost, sizes, budget=budget)


def test_never_worse_than_uniform_bits_at_the_same_bytes():
    generator = torch.Generator().manual_seed(0)
    model = CharGPT(24, width=16, layers=2, generator=generator).eval()
    for parameter in model.parameters():
        parameter.data *= 3
    ids = torch.randint(24, (8, 16), generator=generator)
    labels = model(ids).argmax(-1)

    def loss(model):
        with torch.no_grad():
            return functional.cross_entropy(model(ids).flatten(0, 1), labels.flatten())

    cost = bit_sensitivity(model, loss)
    sizes = {name: model.get_submodule(name).weight.numel() for name in cost}
    for bits in (3, 4):
        chosen = allocate_bits(cost, sizes, budget=bits * sum(sizes.values()))
        uniform = dict.fromkeys(cost, bits)
        assert total(cost, chosen) < total(cost, uniform)
        mixed, same = copy.deepcopy(model), copy.deepcopy(model)
        methods = {name: WeightOnly(bits=width) for name, width in chosen.items()}
        quantize_(mixed, Mixed(methods))
        quantize_(same, WeightOnly(bits=bits))
        assert bytes_of(mixed) <= bytes_of(same)
        for name, width in chosen.items():
            assert mixed.get_submodule(name).packed.format.bits == width


def test_each_layer_gets_its_method_and_the_others_stay():
    model, (x, _) = net(dtype=torch.float32), data(dtype=torch.float32)
    by_hand = copy.deepcopy(model)
    quantize_(model, Mixed({"0": Int8Dynamic(), "5": NF4(block_size=4)}))
    quantize_(by_hand, Int8Dynamic(), filter_fn=lambda name, _: name == "0")
    quantize_(by_hand, NF4(block_size=4), filter_fn=lambda name, _: name == "5")
    assert isinstance(model[0], Int8Linear)
    assert type(model[3]) is nn.Linear
    assert isinstance(model[5], WeightOnlyLinear)
    with torch.no_grad():
        assert torch.equal(model(x), by_hand(x))


def test_a_shared_method_sees_all_its_layers_at_once():
    model, (x, _) = net(dtype=torch.float32), data(dtype=torch.float32)
    static = Int8Static(inputs=iter([x]))  # could not be read twice
    quantize_(model, Mixed({"0": static, "3": WeightOnly(), "5": static}))
    assert isinstance(model[0], Int8Linear)
    assert isinstance(model[5], Int8Linear)


def test_a_name_that_is_not_chosen_is_refused():
    model = net()
    with pytest.raises(ValueError, match=r"^methods must name layers .* got \['1'\]$"):
        quantize_(model, Mixed({"0": WeightOnly(), "1": WeightOnly()}))
    assert type(model[0]) is nn.Linear
