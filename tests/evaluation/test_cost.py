"""MACs, held against torch's FLOP counter, closed forms and papers."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from mlopt_edu.evaluation import LayerCost, count_macs, count_parameters


def torchs_macs(model, *inputs):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    return counter.get_total_flops() / 2


def meta(*shape):
    return torch.empty(shape, device="meta")


CONVOLUTIONS = {
    1: (nn.Conv1d, nn.ConvTranspose1d),
    2: (nn.Conv2d, nn.ConvTranspose2d),
    3: (nn.Conv3d, nn.ConvTranspose3d),
}


@pytest.mark.parametrize(
    ("dims", "transposed", "groups"),
    list(itertools.product((1, 2, 3), (False, True), (1, 2, 6))),
)
def test_convolutions(dims, transposed, groups):
    sides = (11, 9, 8)[:dims]
    x = meta(2, 6, *sides)
    for kernel, stride, dilation, padding in itertools.product(
        (1, 2, 3), (1, 3), (1, 2), (0, 1)
    ):
        layer = CONVOLUTIONS[dims][transposed](
            6,
            12,
            kernel,
            stride=stride,
            dilation=dilation,
            padding=padding,
            groups=groups,
            device="meta",
        )
        reach = dilation * (kernel - 1)
        outputs = [(side + 2 * padding - reach - 1) // stride + 1 for side in sides]
        positions = math.prod(sides if transposed else outputs)
        expected = 2 * positions * (6 // groups) * 12 * kernel**dims
        actual = count_macs(layer, x)
        assert expected == actual.total == torchs_macs(layer, x)
        assert actual.uncounted == {}


def direct_products(x, layer):
    """Count multiplications by doing them, for a convolution of one image."""
    count = 0
    out = layer(x)
    per_group = layer.out_channels // layer.groups
    for channel, *place in itertools.product(*map(range, out.shape[1:])):
        first = channel // per_group * (layer.in_channels // layer.groups)
        total = layer.bias[channel].item() if layer.bias is not None else 0.0
        for index in itertools.product(*map(range, layer.weight.shape[1:])):
            corner = zip(place, index[1:], layer.stride, layer.dilation, strict=True)
            where = [p * s + k * d for p, k, s, d in corner]
            total += (
                layer.weight[(channel, *index)] * x[(0, first + index[0], *where)]
            ).item()
            count += 1
        assert total == pytest.approx(out[(0, channel, *place)].item(), abs=1e-5)
    return count


@pytest.mark.parametrize(
    "options", [{}, {"groups": 2}, {"groups": 4}, {"stride": 2, "dilation": 2}]
)
@torch.no_grad()
def test_convolution_really_multiplies_so_often(options):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 4, (3, 2), **options)
    x = torch.randn(1, 4, 6, 5)
    assert direct_products(x, layer) == count_macs(layer, x).total


m = meta
PRODUCTS = [
    (torch.matmul, (m(3, 5), m(5, 7)), 105),
    (torch.matmul, (m(5), m(5)), 5),
    (torch.matmul, (m(3, 5), m(5)), 15),
    (torch.matmul, (m(5), m(5, 7)), 35),
    (torch.matmul, (m(2, 1, 3, 5), m(4, 5, 7)), 2 * 4 * 105),
    (torch.matmul, (m(2, 3, 5), m(5)), 30),
    (torch.bmm, (m(4, 3, 5), m(4, 5, 7)), 420),
    (torch.addmm, (m(7), m(3, 5), m(5, 7)), 105),
    (torch.addmv, (m(3), m(3, 5), m(5)), 15),
    (torch.addbmm, (m(3, 7), m(4, 3, 5), m(4, 5, 7)), 420),
    (torch.baddbmm, (m(4, 3, 7), m(4, 3, 5), m(4, 5, 7)), 420),
    (torch.Tensor.addmm_, (m(3, 7), m(3, 5), m(5, 7)), 105),
    (torch.Tensor.baddbmm_, (m(4, 3, 7), m(4, 3, 5), m(4, 5, 7)), 420),
    (lambda a, b: torch.einsum("bij,kj->bik", a, b), (m(2, 3, 5), m(7, 5)), 210),
    (functional.linear, (m(2, 3, 5), m(7, 5), m(7)), 210),
    (functional.linear, (m(5), m(7, 5)), 35),
    (torch.mm, (m(0, 5), m(5, 7)), 0),
    (torch.mm, (m(3, 0), m(0, 7)), 0),
]


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize(("function", "inputs", "expected"), PRODUCTS)
def test_matrix_products(function, inputs, expected, inference):
    with torch.inference_mode(inference):
        assert count_macs(function, *[value.clone() for value in inputs]).total == (
            expected
        )


def test_integer_products():
    a, b = torch.ones(32, 16, dtype=torch.int8), torch.ones(16, 8, dtype=torch.int8)
    assert count_macs(torch._int_mm, a, b).total == 32 * 16 * 8


@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse_products_count_what_is_stored(layout):
    matrix = torch.zeros(6, 8)
    matrix[[0, 1, 1, 5], [0, 3, 7, 2]] = 1
    sparse = matrix.to_sparse(layout=layout)
    right, vector, left = torch.ones(8, 3), torch.ones(8), torch.ones(5, 8)
    assert count_macs(torch.matmul, sparse, right).total == 4 * 3
    assert count_macs(torch.matmul, sparse, vector).total == 4
    assert count_macs(functional.linear, left, sparse).total == 5 * 4


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize(
    ("queries", "keys", "d_value"), [(5, 5, 8), (3, 11, 8), (7, 2, 4)]
)
def test_attention(queries, keys, d_value, inference, causal, device):
    with torch.inference_mode(inference):
        query = torch.zeros(2, 3, queries, 8, device=device)
        key = torch.zeros(2, 3, keys, 8, device=device)
        value = torch.zeros(2, 3, keys, d_value, device=device)
        actual = count_macs(
            lambda *qkv: functional.scaled_dot_product_attention(
                *qkv, is_causal=causal
            ),
            query,
            key,
            value,
        )
    assert actual.total == 2 * 3 * queries * keys * (8 + d_value)


def test_grouped_query_attention():
    query, key = torch.zeros(2, 6, 5, 8), torch.zeros(2, 3, 5, 8)
    actual = count_macs(
        lambda q, k: functional.scaled_dot_product_attention(q, k, k, enable_gqa=True),
        query,
        key,
    )
    assert actual.total == 2 * 6 * 5 * 5 * 16


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(("cls", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_fused_recurrent_layers_are_seen_through(cls, gates, directions, layers):
    model = cls(5, 7, num_layers=layers, bidirectional=directions == 2)
    inputs = [5] + [7 * directions] * (layers - 1)
    steps, batch = 6, 3
    expected = sum(
        steps * batch * directions * gates * 7 * (size + 7) for size in inputs
    )
    assert count_macs(model, torch.zeros(steps, batch, 5)).total == expected


@pytest.mark.parametrize("training", [False, True])
def test_fused_transformer_layers_are_seen_through(training):
    width, hidden, tokens, batch = 8, 32, 5, 3
    layer = nn.TransformerEncoderLayer(width, 2, hidden, batch_first=True)
    layer.train(training)
    per_token = 4 * width**2 + 2 * width * hidden + 2 * tokens * width
    actual = count_macs(layer, torch.zeros(batch, tokens, width))
    assert actual.total == batch * tokens * per_token
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mkldnn.enabled


class Awkward(nn.Module):
    """A shared layer, a product in forward, a branch, an unused layer, tied weights."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.shared = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout())
        self.unused = nn.Linear(100, 100)
        self.decoder = nn.Linear(6, 11, bias=False)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.embedding(tokens)
        x = self.shared(self.shared(x))
        if len(x) > 3:
            x = x @ x.T @ x
        return self.decoder(x)


def test_layers_of_an_awkward_model():
    model = Awkward()
    actual = count_macs(model, torch.arange(5))
    expected = [
        LayerCost("", "Awkward", 1, (5, 11), 0, 2 * 5 * 5 * 6),
        LayerCost("embedding", "Embedding", 1, (5, 6), 66, 0),
        LayerCost("shared.0", "Linear", 2, (5, 6), 42, 2 * 5 * 36),
        LayerCost("shared.1", "BatchNorm1d", 2, (5, 6), 12, 0),
        LayerCost("unused", "Linear", 0, (), 10100, 0),
        LayerCost("decoder", "Linear", 1, (5, 11), 0, 5 * 66),
    ]
    assert list(actual.layers) == expected
    assert actual.total == sum(layer.macs for layer in expected)
    assert sum(layer.parameters for layer in expected) == count_parameters(model)
    # A smaller batch does not take the branch.
    assert count_macs(model, torch.arange(3)).layers[0].kind == "Embedding"


def test_a_function_has_one_row():
    def gram(x):
        return x @ x.T

    (layer,) = count_macs(gram, meta(3, 5)).layers
    assert (layer.name, layer.kind, layer.macs) == ("", "gram", 45)


def test_uncounted_operators_are_told_largest_first():
    class Unfriendly(nn.Module):
        def __init__(self):
            super().__init__()
            self.bilinear = nn.Bilinear(3, 3, 2)

        def forward(self, x):
            return torch.cumsum(self.bilinear(x, x), 0).T.relu()[:1]

    actual = count_macs(Unfriendly(), torch.ones(4, 3))
    assert actual.total == 0
    # A view (the transpose, the slice) writes nothing.
    assert actual.uncounted == {"_trilinear": 8, "add": 8, "cumsum": 8, "relu": 8}
    more = count_macs(lambda x: x.sum() + x.exp().repeat(2, 1), torch.ones(4, 3))
    assert list(more.uncounted)[-2:] == ["exp", "sum"]


def state_of(model):
    return (
        copy.deepcopy(model.state_dict()),
        [module.training for module in model.modules()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        torch.backends.mkldnn.enabled,
        torch.backends.cudnn.enabled,
        torch.get_rng_state(),
    )


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(fails):
    model = Awkward()
    model.shared[0].eval()
    tokens, before = torch.arange(5), state_of(model)
    if fails:
        with pytest.raises(IndexError):
            count_macs(model, tokens + 10)
    else:
        count_macs(model, tokens)
    torch.testing.assert_close(state_of(model), before, rtol=0, atol=0)


def test_an_error_that_the_model_catches_does_not_shift_the_layers():
    class Breaks(nn.Module):
        def forward(self, x):
            raise RuntimeError("broken on purpose")

    class Catches(nn.Module):
        def __init__(self):
            super().__init__()
            self.breaks, self.linear = Breaks(), nn.Linear(3, 2)

        def forward(self, x):
            try:
                self.breaks(x)
            except RuntimeError:
                return self.linear(x) @ torch.ones(2, 2)

    layers = count_macs(Catches(), torch.ones(1, 3)).layers
    assert [(layer.name, layer.macs) for layer in layers] == [("", 4), ("linear", 6)]


def test_caller_may_be_in_inference_mode():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    x = torch.zeros(2, 3, 4, 4)
    expected = count_macs(model, x)
    with torch.inference_mode():
        actual = count_macs(model, x.clone())
    assert (expected.total, expected.layers) == (actual.total, actual.layers)


def test_table_adds_up_and_can_be_read():
    model = nn.Sequential(nn.Linear(1000, 20), nn.ReLU(), nn.Linear(20, 3))
    lines = str(count_macs(model, torch.zeros(7, 1000))).splitlines()
    assert [line.split() for line in lines] == [
        ["layer", "kind", "output", "parameters", "MACs"],
        ["0", "Linear", "7x20", "20,020", "140,000"],
        ["2", "Linear", "7x3", "63", "420"],
        ["total", "20,083", "140,420"],
        ["not", "counted:", "relu"],
    ]
    assert len({len(line) for line in lines[:-1]}) == 1


def test_agrees_with_torch_on_a_net_of_everything():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, groups=8, dilation=2),
        nn.GELU(),
        nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(2),
        nn.Unflatten(1, (2, 3)),
        nn.Linear(16, 5),
        nn.Softmax(-1),
    ).eval()
    x = torch.zeros(2, 3, 17, 23)
    assert count_macs(model, x).total == torchs_macs(model, x)
