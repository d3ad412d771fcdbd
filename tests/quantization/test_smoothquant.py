"""SmoothQuant: the same function, whoever divides, and smaller int8 errors."""

import copy

import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from mlopt_edu.models import CharGPT
from mlopt_edu.quantization import (
    Int8Static,
    ScaledInput,
    WeightOnly,
    export_onnx,
    is_linear_or_conv,
    load_quantized,
    quantize_,
    save_quantized,
    smooth_,
    smoothing_scale,
)


def normal(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def test_the_scale_shares_the_spread():
    x, w = normal(50, 6).abs().amax(0) * 10, normal(9, 6, seed=1).abs().amax(0)
    for alpha in (0.0, 0.3, 0.5, 1.0):
        scale = smoothing_scale(x, w, alpha=alpha)
        torch.testing.assert_close(x / scale, (x * w) ** (1 - alpha))
        torch.testing.assert_close(w * scale, (x * w) ** alpha)
    zero = torch.zeros(1, dtype=torch.float64)
    for alpha in (0.0, 0.5, 1.0):
        assert smoothing_scale(zero, w[:1], alpha=alpha) == 1
        assert smoothing_scale(x[:1], zero, alpha=alpha) == 1


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_is_a_share(alpha):
    with pytest.raises(ValueError, match=r"^alpha must lie in \[0, 1\], got"):
        smoothing_scale(torch.ones(2), torch.ones(2), alpha=alpha)


def test_maxima_are_finite():
    with pytest.raises(ValueError, match=r"^input_max and weight_max must be finite"):
        smoothing_scale(torch.tensor([torch.inf]), torch.ones(1))


class Attention(nn.Module):
    """Query, key and value read one norm; the way of reading is varied."""

    def __init__(self, norm=None, between=None, *, also_reads=False, returns=False):
        super().__init__()
        self.norm = norm or nn.LayerNorm(8)
        self.between = between
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8, bias=False)
        self.value = nn.Linear(8, 6)
        self.out = nn.Linear(6, 8)
        self.also_reads, self.returns = also_reads, returns

    def forward(self, x):
        y = self.norm(x)
        if self.between is not None:
            y = self.between(y)
        mixed = (self.query(y) * self.key(y)).softmax(-1)
        out = self.out(self.value(y) * mixed.sum(-1, keepdim=True))
        if self.also_reads:
            out = out + y
        return (out, y) if self.returns else out


class Shared(nn.Module):
    """A norm, and a linear layer, each called twice."""

    def __init__(self):
        super().__init__()
        self.norm, self.first, self.second = (
            nn.LayerNorm(8),
            nn.Linear(8, 8),
            nn.Linear(8, 8),
        )

    def forward(self, x):
        x = x + self.first(self.norm(x))
        return self.second(self.second(self.norm(x)))


class Tied(nn.Module):
    """The embedding's matrix is the head's, as in many language models."""

    def __init__(self):
        super().__init__()
        self.embedding, self.norm = nn.Embedding(11, 8), nn.LayerNorm(8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(self.norm(self.embedding(x.long().abs() % 11)))


class Counting(nn.Module):
    """Python that depends on numbers, which torch.export refuses."""

    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x):
        return self.linear(self.norm(x)) * (2 if x.sum().item() > 0 else 3)


class OwnNorm(nn.LayerNorm):
    """Reads its weight twice."""

    def forward(self, x):
        return super().forward(x) + self.weight


def wide_norm():
    return nn.LayerNorm((3, 8))


QKV = {"query", "key", "value"}
MODELS = {
    # model: (maker, layers that divide for themselves)
    "layer norm": (Attention, {"out"}),
    "rms norm": (lambda: Attention(nn.RMSNorm(8)), {"out"}),
    "no bias": (lambda: Attention(nn.LayerNorm(8, bias=False)), {"out"}),
    "linear": (lambda: Attention(nn.Linear(8, 8)), {"out", "norm"}),
    "linear, no bias": (
        lambda: Attention(nn.Linear(8, 8, bias=False)),
        {"out", "norm"},
    ),
    "relu": (lambda: Attention(between=nn.ReLU()), {"out"}),
    "in place": (
        lambda: Attention(
            between=nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(), nn.LeakyReLU())
        ),
        {"out"},
    ),
    "gelu": (lambda: Attention(between=nn.GELU()), QKV | {"out"}),
    "residual": (lambda: Attention(also_reads=True), QKV | {"out"}),
    "output": (lambda: Attention(returns=True), QKV | {"out"}),
    "nothing learned": (
        lambda: Attention(nn.LayerNorm(8, elementwise_affine=False)),
        QKV | {"out"},
    ),
    "two dimensions": (lambda: Attention(wide_norm()), QKV | {"out"}),
    "weight read twice": (lambda: Attention(OwnNorm(8)), QKV | {"out"}),
    "nothing known": (lambda: Attention(nn.Tanh()), QKV | {"out"}),
    "shared": (Shared, {"first", "second"}),
    "tied": (Tied, {"head"}),
    "not recorded": (Counting, {"linear"}),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_model_computes_the_same(name):
    make, alone = MODELS[name]
    torch.manual_seed(0)
    model = make().double().train()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    calm = copy.deepcopy(model).eval()
    calibration, x = normal(5, 3, 8) * 3, normal(7, 3, 8, seed=1)
    smooth_(model, inputs=iter([calibration]))
    assert model.training
    found = {
        key for key, part in model.named_modules() if isinstance(part, ScaledInput)
    }
    assert found == alone
    model.eval()
    for expected, actual in zip(calm(x), model(x), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    before = {key: value for key, value in calm.named_parameters()}
    changed = [
        key
        for key, value in model.named_parameters()
        if key not in before or not torch.equal(value, before[key])
    ]
    assert changed


def test_layers_of_a_family_share_the_scale_of_their_largest():
    torch.manual_seed(0)
    model = Attention().double().eval()
    model.key.weight.data *= 7
    x = normal(20, 3, 8) * 5
    largest = model.norm(x).abs().amax((0, 1))
    weights = [getattr(model, name).weight for name in ("query", "key", "value")]
    expected = smoothing_scale(largest, torch.cat(weights).abs().amax(0), alpha=0.7)
    old = copy.deepcopy(model)
    smooth_(model, inputs=[x[:9], x[9:]], alpha=0.7)
    for name in ("query", "key", "value"):
        new, before = getattr(model, name), getattr(old, name)
        torch.testing.assert_close(new.weight, before.weight * expected)
    torch.testing.assert_close(model.norm.weight, old.norm.weight / expected)
    torch.testing.assert_close(model.norm.bias, old.norm.bias / expected)
    assert model.norm.weight.requires_grad


def test_only_what_the_filter_chooses():
    torch.manual_seed(0)
    model = Attention().double().eval()
    old, x = copy.deepcopy(model), normal(4, 3, 8)
    smooth_(model, inputs=[x], filter_fn=lambda name, module: name == "query")
    assert isinstance(model.query, ScaledInput)  # key and value read the norm as well
    torch.testing.assert_close(model(x), old(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model.query.weight, old.query.weight)
    assert model.query.bias is model.query.layer.bias
    assert torch.equal(model.key.weight, old.key.weight)


def test_twice_divides_once():
    torch.manual_seed(0)
    model = Attention(nn.Tanh()).double().eval()
    old, x = copy.deepcopy(model), normal(4, 3, 8)
    smooth_(model, inputs=[x])
    smooth_(model, inputs=[x], alpha=0.9)
    assert isinstance(model.query.layer, nn.Linear)
    torch.testing.assert_close(model(x), old(x), rtol=1e-12, atol=1e-12)


def test_masks_end_in_the_weights():
    class Mask(nn.Module):
        def forward(self, weight):
            return weight * (weight > 0)

    torch.manual_seed(0)
    model = Attention().double().eval()
    parametrize.register_parametrization(model.key, "weight", Mask())
    old, x = copy.deepcopy(model), normal(4, 3, 8)
    smooth_(model, inputs=[x])
    assert not parametrize.is_parametrized(model.key)
    torch.testing.assert_close(model(x), old(x), rtol=1e-12, atol=1e-12)


def test_a_transformer_of_torch_computes_the_same():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, norm_first=True, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double().eval()
    old, x = copy.deepcopy(model), normal(3, 5, 16)
    smooth_(model, inputs=[x], filter_fn=lambda name, _: ".linear" in name)
    for context in (torch.no_grad(), torch.enable_grad()):
        with context:
            torch.testing.assert_close(model(x), old(x), rtol=1e-12, atol=1e-12)


def with_outliers(seed=0, dtype=torch.float32):
    """A character model some of whose features are a hundred times the others."""
    generator = torch.Generator().manual_seed(seed)
    model = CharGPT(20, width=32, layers=2, generator=generator).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            parameter.data[torch.randperm(32, generator=generator)[0]] *= 100
        else:
            parameter.data *= 5
    return model.to(dtype)


def ids(n, seed):
    return torch.randint(20, (n, 24), generator=torch.Generator().manual_seed(seed))


def test_outliers_no_longer_hurt_int8():
    model, x = with_outliers(), ids(16, 1)
    expected = model(x).detach()
    errors = {}
    for name in ("plain", "smooth"):
        quantized = copy.deepcopy(model)
        if name == "smooth":
            smooth_(quantized, inputs=[ids(16, 0)])
        quantize_(quantized, Int8Static(inputs=[ids(16, 0)]))
        with torch.no_grad():
            errors[name] = (quantized(x) - expected).norm() / expected.norm()
    assert errors["smooth"] < errors["plain"] / 4


def test_one_layer_with_outliers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.LayerNorm(128), nn.Linear(128, 64)).eval()
    model[0].weight.data[5] *= 100
    x = normal(200, 128, dtype=torch.float32)  # what is out of range would clip
    expected, errors = model(x).detach(), []
    for alpha in (None, 0.5):
        quantized = copy.deepcopy(model)
        if alpha is not None:
            smooth_(quantized, inputs=[x], alpha=alpha)
        quantize_(quantized, Int8Static(inputs=[x]))
        with torch.no_grad():
            errors.append((quantized(x) - expected).norm())
    assert errors[1] < errors[0] / 5


def test_saved_and_loaded(tmp_path):
    model, fresh, x = with_outliers(), with_outliers(seed=1), ids(3, 2)
    again = copy.deepcopy(fresh)
    smooth_(model, inputs=[ids(16, 0)])
    save_quantized(tmp_path / "float", model)
    load_quantized(tmp_path / "float", fresh)
    assert torch.equal(fresh(x), model(x))
    static = Int8Static(inputs=[ids(16, 0)])
    quantize_(model, static, filter_fn=lambda name, _: name.endswith("out.layer"))
    quantize_(model, WeightOnly(bits=4, group_size=8))
    save_quantized(tmp_path / "model", model)
    load_quantized(tmp_path / "model", again)
    assert torch.equal(again(x), model(x))
    assert repr(again) == repr(model)


def test_exported(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 4))
    x = normal(5, 8, dtype=torch.float32)
    smooth_(model.eval(), inputs=[x])
    assert isinstance(model[3], ScaledInput)
    quantize_(model, Int8Static(inputs=[x]))
    path = tmp_path / "model.onnx"
    export_onnx(path, model, x)
    session = onnxruntime.InferenceSession(str(path))
    (name,) = (entry.name for entry in session.get_inputs())
    found = torch.from_numpy(session.run(None, {name: x.numpy()})[0])
    torch.testing.assert_close(found, model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_types(dtype):
    model = with_outliers(dtype=dtype)
    old, x = copy.deepcopy(model), ids(4, 0)
    smooth_(model, inputs=[(x,)])
    with torch.no_grad():
        found, expected = model(x), old(x)
    assert found.dtype == dtype
    assert {value.dtype for value in model.state_dict().values()} == {dtype}
    near = 20 * torch.finfo(dtype).eps
    assert (found - expected).norm() < near * expected.norm()


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        ([], {}, ValueError, r"^inputs must hold at least 1 batch, got none"),
        (None, {"alpha": 2}, ValueError, r"^alpha must lie in \[0, 1\], got 2$"),
        (
            None,
            {"filter_fn": lambda *_: False},
            ValueError,
            r"^filter_fn must choose at",
        ),
        (
            None,
            {"filter_fn": is_linear_or_conv},
            TypeError,
            r"^filter_fn must choose linear layers, .*, got Conv1d at '0'$",
        ),
        (
            [torch.full((2, 3, 8), torch.inf)],
            {},
            ValueError,
            r"must be finite, got inf",
        ),
    ],
)
def test_a_failed_call_changes_nothing(inputs, options, error, message):
    model = nn.Sequential(nn.Conv1d(3, 3, 1), nn.LayerNorm(8), nn.Linear(8, 2))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=message):
        smooth_(
            model, inputs=[torch.ones(2, 3, 8)] if inputs is None else inputs, **options
        )
    assert before.keys() == model.state_dict().keys()
    for key, old in before.items():
        assert torch.equal(model.state_dict()[key], old)
    assert not any(module._forward_pre_hooks for module in model.modules())
