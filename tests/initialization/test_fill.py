"""Every filler, held against torch with the same generator, and against its moments."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from mlopt_edu.initialization import (
    gain,
    initialize_,
    kaiming_normal_,
    kaiming_uniform_,
    orthogonal_,
    xavier_normal_,
    xavier_uniform_,
)

SHAPES = [(5, 7), (1, 3), (300, 200), (8, 4, 3), (7, 3, 5, 2), (4, 3, 1, 3, 2)]
FILLERS = [
    xavier_uniform_,
    xavier_normal_,
    kaiming_uniform_,
    kaiming_normal_,
    orthogonal_,
]


def filled(filler, shape, *, seed=0, dtype=torch.float64, **options):
    weight = torch.full(shape, math.nan, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    assert filler(weight, generator=generator, **options) is None
    return weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", [1.0, 0.3, 5 / 3])
@pytest.mark.parametrize("name", ["xavier_uniform_", "xavier_normal_", "orthogonal_"])
def test_agrees_with_torch(name, factor, shape, dtype):
    expected = torch.empty(shape, dtype=dtype)
    getattr(nn.init, name)(
        expected, gain=factor, generator=torch.Generator().manual_seed(0)
    )
    actual = filled(globals()[name], shape, gain=factor, dtype=dtype)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("ours", "slope"),
    [("relu", 0.0), ("leaky_relu", 0.01), (nn.LeakyReLU(0.3), 0.3), ("linear", 1.0)],
)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
@pytest.mark.parametrize("name", ["kaiming_uniform_", "kaiming_normal_"])
def test_kaiming_agrees_with_torch(name, mode, ours, slope, shape):
    expected = torch.empty(shape, dtype=torch.float64)
    getattr(nn.init, name)(
        expected, a=slope, mode=mode, generator=torch.Generator().manual_seed(0)
    )
    actual = filled(globals()[name], shape, activation=ours, mode=mode)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=0)


# shape, options, fan_in, fan_out
LAYERS = [
    ((400, 100), {}, 100, 400),
    ((60, 30, 5, 5), {}, 750, 1500),
    ((64, 16, 5, 5), {"groups": 4}, 400, 400),
    ((128, 1, 11, 11), {"groups": 128}, 121, 121),
    ((30, 60, 5, 5), {"transposed": True}, 750, 1500),
    ((64, 32, 5, 5), {"groups": 4, "transposed": True}, 400, 800),
]


@pytest.mark.parametrize(("shape", "options", "fan_in", "fan_out"), LAYERS)
@pytest.mark.parametrize("filler", FILLERS[:4])
def test_moments_and_exact_bound(filler, shape, options, fan_in, fan_out):
    if filler in FILLERS[:2]:
        std = 3 * math.sqrt(2 / (fan_in + fan_out))
        weight = filled(filler, shape, gain=3.0, **options)
    else:
        std = gain("gelu") / math.sqrt(fan_out)
        weight = filled(filler, shape, activation="gelu", mode="fan_out", **options)
    uncertainty = std / math.sqrt(weight.numel())
    assert abs(weight.mean().item()) < 5 * uncertainty
    assert weight.std().item() == pytest.approx(std, abs=5 * uncertainty)
    if "uniform" in filler.__name__:
        bound = math.sqrt(3) * std
        assert (1 - 1e-3) * bound < weight.abs().max().item() <= bound
    else:
        assert weight.abs().max().item() > 3 * std


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (8, 2, 3, 3)])
@pytest.mark.parametrize("groups", [1, 2])
def test_orthogonal_has_one_singular_value(shape, groups):
    weight = filled(orthogonal_, shape, gain=0.7, groups=groups)
    blocks = weight.reshape(groups, shape[0] // groups, -1)
    values = torch.linalg.svdvals(blocks)
    torch.testing.assert_close(values, torch.full_like(values, 0.7))


def test_orthogonal_is_uniform():
    # Of a uniform orthogonal 2 x 2 matrix, the first column is a uniform angle, and
    # half of the matrices are reflections.
    seeds = [filled(orthogonal_, (2, 2), seed=seed) for seed in range(2000)]
    angles = torch.stack([torch.atan2(q[1, 0], q[0, 0]) for q in seeds])
    counts = torch.histc(angles, bins=8, min=-math.pi, max=math.pi)
    assert ((counts - 250) ** 2 / 250).sum().item() < 24.3  # chi-square, 7, 0.1 %
    rotations = sum(torch.linalg.det(q).item() > 0 for q in seeds)
    assert abs(rotations - 1000) < 100


def test_orthogonal_keeps_lengths_where_normal_weights_stretch():
    x = torch.eye(20, dtype=torch.float64)
    orthogonal = gaussian = x
    for seed in range(50):
        orthogonal = orthogonal @ filled(orthogonal_, (20, 20), seed=seed)
        normal = filled(kaiming_normal_, (20, 20), activation="linear", seed=seed)
        gaussian = gaussian @ normal
    torch.testing.assert_close(orthogonal.norm(dim=1), x.norm(dim=1))
    stretched = torch.linalg.svdvals(gaussian)
    assert stretched[0] > 1e6 * stretched[-1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("filler", FILLERS)
def test_types_views_parameters_and_empty_layers(filler, dtype):
    weight = filled(filler, (64, 32), dtype=dtype)
    assert weight.dtype == dtype
    assert 0 < weight.float().std() < 1

    pairs = torch.zeros(32, 64, 2)
    filler(pairs[:, :, 0].T, generator=torch.Generator().manual_seed(0))
    assert pairs[:, :, 0].std().item() == pytest.approx(
        weight.float().std().item(), rel=0.1
    )
    assert not pairs[:, :, 1].any()

    parameter = nn.Parameter(torch.zeros(4, 3))
    filler(parameter)
    assert parameter.is_leaf
    assert parameter.requires_grad

    for shape in ((0, 3), (3, 0), (3, 2, 0)):
        filler(torch.zeros(shape))


@pytest.mark.parametrize("filler", FILLERS)
def test_global_generator_is_used_and_a_given_one_leaves_it(filler):
    first, second = torch.zeros(4, 3), torch.zeros(4, 3)
    for weight in (first, second):
        torch.manual_seed(3)
        filler(weight)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    state = torch.get_rng_state()
    filled(filler, (4, 3))
    assert torch.equal(state, torch.get_rng_state())


BAD = [
    ("weight", (3,), {}, FILLERS),
    ("groups", (3, 2), {"groups": 2}, FILLERS),
    ("gain", (3, 2), {"gain": -1.0}, [xavier_uniform_, xavier_normal_, orthogonal_]),
    ("mode", (3, 2), {"mode": "fan_avg"}, [kaiming_uniform_, kaiming_normal_]),
    ("activation", (3, 2), {"activation": "swish"}, [kaiming_uniform_]),
]


@pytest.mark.parametrize(("name", "shape", "options", "fillers"), BAD)
def test_bad_arguments_are_named(name, shape, options, fillers):
    for filler in fillers:
        with pytest.raises(ValueError, match=rf"^{name} must .*, got "):
            filler(torch.zeros(shape), **options)


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(4, 8, 3, groups=2),
            nn.BatchNorm1d(8),
            nn.ConvTranspose1d(8, 6, 3, groups=2, bias=False),
        )
        self.head = nn.Linear(6, 2)
        self.embedding = nn.Embedding(5, 3)


def test_initialize_fills_every_linear_and_convolution_and_nothing_else():
    model = Mixed()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    filler = partial(kaiming_uniform_, activation="tanh", mode="fan_out")
    assert initialize_(model, filler, generator=generator) is None

    generator = torch.Generator().manual_seed(1)
    expected = dict(before)
    for name, options in {
        "body.0.weight": {"groups": 2},
        "body.2.weight": {"groups": 2, "transposed": True},
        "head.weight": {},
    }.items():
        expected[name] = torch.zeros_like(before[name])
        filler(expected[name], generator=generator, **options)
    for name in ("body.0.bias", "head.bias"):
        expected[name] = torch.zeros_like(before[name])
    torch.testing.assert_close(dict(model.state_dict()), expected, rtol=0, atol=0)


def test_initialize_leaves_what_the_filter_refuses():
    model = Mixed()
    before = model.head.weight.clone()
    seen = []

    def is_body(name, module):
        seen.append((type(module).__name__, name))
        return name.startswith("body")

    initialize_(model, xavier_normal_, filter_fn=is_body)
    assert seen == [
        ("Conv1d", "body.0"),
        ("ConvTranspose1d", "body.2"),
        ("Linear", "head"),
    ]
    assert torch.equal(model.head.weight, before)
    assert torch.equal(model.body[0].bias, torch.zeros(8))


def test_initialize_draws_a_shared_weight_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    initialize_(model, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        model[0].weight.detach(),
        filled(kaiming_normal_, (3, 3), dtype=torch.float32),
    )


def test_initialize_refuses_what_it_could_not_fill():
    normalized = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"layer '' must .*before you parametrize"):
        initialize_(normalized)
    with pytest.raises(ValueError, match=r"layer '0' must have a shape.*batch"):
        initialize_(nn.Sequential(nn.LazyLinear(2)))
