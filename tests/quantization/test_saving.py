"""Saving and loading, and the export to ONNX, run by onnxruntime."""

import builtins
import copy

import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
from torch import nn

from mlopt_edu.evaluation import bytes_of
from mlopt_edu.models import CharGPT
from mlopt_edu.quantization import (
    NF4,
    Binary,
    Codebook,
    Int8Dynamic,
    Int8Static,
    Ternary,
    WeightOnly,
    export_onnx,
    is_linear_or_conv,
    load_quantized,
    quantize_,
    save_quantized,
)


class Net(nn.Module):
    """A net with a residual add, groups, dilation and a batch norm."""

    def __init__(self, width=20):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, (2, 1), padding="same", groups=2, dilation=2)
        self.hidden = nn.Linear(128, width, bias=False)
        self.out = nn.Linear(width, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = x + torch.relu(self.second(x))
        return self.out(torch.relu(self.hidden(x.flatten(1))))


def net(seed=0, **options):
    torch.manual_seed(seed)
    return Net(**options).eval()


def batch(n=4):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(n))


METHODS = {
    "int8": Int8Dynamic(),
    "int8, static": Int8Static(inputs=[batch(16)]),
    "8 bits": WeightOnly(),
    "4 bits": WeightOnly(bits=4, group_size=32),
    "3 bits, affine": WeightOnly(bits=3, group_size=20, symmetric=False),
    "NF4": NF4(),
    "NF4, double": NF4(double=True),
    "ternary": Ternary(),
    "binary": Binary(),
    "codebook": Codebook(bits=5),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_file_makes_a_fresh_model_the_same(name, tmp_path):
    model, fresh, x = net(), net(seed=1), batch()
    quantize_(model, METHODS[name], filter_fn=is_linear_or_conv)
    save_quantized(tmp_path / "model", model)
    load_quantized(tmp_path / "model", fresh)
    assert torch.equal(model(x), fresh(x))
    assert repr(model) == repr(fresh)
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[key])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_layers_at_several_places_and_other_types(tmp_path):
    def make(seed):
        torch.manual_seed(seed)
        shared = nn.Linear(6, 6)
        return nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(6, 2)).half().eval()

    model, fresh = make(0), make(1)
    quantize_(model, WeightOnly(bits=4), filter_fn=lambda name, module: name == "0")
    save_quantized(tmp_path / "model", model)
    load_quantized(tmp_path / "model", fresh)
    assert fresh[0] is fresh[2]
    x = torch.randn(3, 6).half()
    assert torch.equal(model(x), fresh(x))


def test_bytes_on_disk_are_those_in_memory_and_a_header(tmp_path):
    path = tmp_path / "model"
    for method, share in [(WeightOnly(bits=4), 1 / 8), (Int8Dynamic(), 1 / 4)]:
        model = nn.Sequential(nn.Linear(1024, 256, bias=False))
        before = bytes_of(model)
        quantize_(model, method)
        save_quantized(path, model)
        size = path.stat().st_size
        assert bytes_of(model) < size < bytes_of(model) + 1000
        assert size / before == pytest.approx(share, abs=0.01)


def test_a_file_that_does_not_fit_changes_nothing(tmp_path):
    path = tmp_path / "model"
    model = net()
    quantize_(model, WeightOnly(bits=4))
    save_quantized(path, model)
    others = [
        (net(width=24), r"^hidden\.weight must have shape"),
        (nn.Sequential(nn.Linear(2, 2)), r"^model must have the architecture .* no la"),
    ]
    extra = net()
    extra.more = nn.Linear(1, 1)
    others.append((extra, r"^model must have the architecture .* lacks \['more\.b"))
    for other, message in others:
        before = copy.deepcopy(other.state_dict())
        with pytest.raises(ValueError, match=message):
            load_quantized(path, other)
        assert before.keys() == other.state_dict().keys()
        for key, tensor in other.state_dict().items():
            assert torch.equal(tensor, before[key])


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"not such a file")
    with pytest.raises(ValueError, match=r"must be a safetensors file"):
        load_quantized(path, net())
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"must be a file of save_quantized, got the "):
        load_quantized(path, net())
    with pytest.raises(FileNotFoundError):
        load_quantized(tmp_path / "none", net())


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.write_bytes(b"old")
    model = net()
    model.register_buffer("sparse", torch.eye(3).to_sparse())
    with pytest.raises(ValueError, match=r"^the state must hold dense tensors only"):
        save_quantized(path, model)

    def fail(*args, **options):
        raise OSError("disk full")

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_quantized(path, net())
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("missing", "call", "message"),
    [
        ("safetensors", save_quantized, r"^saving needs safetensors: pip install"),
        ("safetensors", load_quantized, r"^saving needs safetensors: pip install"),
        (
            "onnxscript",
            lambda path, model: export_onnx(path, model, batch()),
            r"^the export needs onnx and onnxscript: pip install",
        ),
    ],
)
def test_what_is_not_installed_is_named(missing, call, message, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **options):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=message):
        call(tmp_path / "model", net())


def run(path, *inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    names = [entry.name for entry in session.get_inputs()]
    feed = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
    return torch.from_numpy(session.run(None, feed)[0])


MIXTURES = [
    {
        "first": METHODS["int8"],
        "second": METHODS["int8, static"],
        "hidden": METHODS["3 bits, affine"],
        "out": METHODS["NF4, double"],
    },
    {
        "first": METHODS["4 bits"],
        "second": METHODS["codebook"],
        "hidden": METHODS["ternary"],
        "out": METHODS["binary"],
    },
]


@pytest.mark.parametrize("mixture", MIXTURES)
def test_onnxruntime_gives_the_same_results(mixture, tmp_path):
    model, path = net(), tmp_path / "model.onnx"
    for layer, method in mixture.items():
        quantize_(model, method, filter_fn=lambda name, _, layer=layer: name == layer)
    export_onnx(path, model, batch(2))
    onnx.checker.check_model(str(path))
    for n in (1, 4):  # any number of examples
        x = batch(n)
        with torch.no_grad():
            torch.testing.assert_close(run(path, x), model(x), rtol=1e-4, atol=1e-4)
    assert [found.name for found in tmp_path.iterdir()] == ["model.onnx"]


def test_packed_weights_stay_packed_in_the_file(tmp_path):
    path = tmp_path / "model.onnx"
    model = nn.Sequential(nn.Linear(512, 512, bias=False)).eval()
    quantize_(model, METHODS["4 bits"])
    export_onnx(path, model, torch.randn(2, 512))
    # With a scale of 32 bits for each 32 weights.
    assert path.stat().st_size < 512 * 512 * 5 / 8 + 15_000


def test_integers_are_multiplied_as_integers(tmp_path):
    path, x = tmp_path / "model.onnx", torch.randn(3, 64)
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    quantize_(model, Int8Static(inputs=[x]), filter_fn=lambda name, _: name == "0")
    quantize_(model, Int8Dynamic(), filter_fn=lambda name, _: name == "2")
    export_onnx(path, model, x, dynamic_batch=False)
    nodes = [node.op_type for node in onnx.load(path).graph.node]
    assert nodes.count("MatMulInteger") == 2
    assert not {"MatMul", "Gemm"} & set(nodes)
    torch.testing.assert_close(run(path, x), model(x), rtol=1e-5, atol=1e-5)


def test_a_transformer_is_exported(tmp_path):
    path = tmp_path / "model.onnx"
    generator = torch.Generator().manual_seed(0)
    model = CharGPT(20, width=16, layers=1, generator=generator).eval()
    quantize_(model, Int8Dynamic())
    ids = torch.randint(20, (3, 12), generator=torch.Generator().manual_seed(0))
    export_onnx(path, model, ids)
    with torch.no_grad():
        found, expected = run(path, ids), model(ids)
    assert (found - expected).norm() < 1e-3 * expected.norm()
