"""What is registered for a GPU allocates and launches: shown in the interpreter.

Without a GPU the operators take their reference. Here the other half of each operator,
which on a GPU is behind the same name, gets tensors on the CPU.
"""

import contextlib
import importlib

import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from .conftest import ON_GPU

if ON_GPU:
    pytest.skip("the other tests run the operators on it", allow_module_level=True)


def drawn(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator)


X = drawn(7, 5).t()  # 5 rows of 7, not contiguous
Y = drawn(5, 7)
ROW, COLUMN = drawn(7), drawn(5).abs()
LABELS = torch.tensor([0, 6, -100, 3, 3])
NUMBERS = (2.0, 0.3, 0.7)

CASES = {
    "vector_add": ("vector_add", "vector_add", (X, Y)),
    "axpy": ("axpy", "axpy", (X, Y, 1.5)),
    "sum_rows": ("reduction", "sum_rows", (X,)),
    "sum_rows of a vector": ("reduction", "sum_rows", (ROW,)),
    "sum_rows of nothing": ("reduction", "sum_rows", (X[:0],)),
    "softmax": ("softmax", "softmax", (X,)),
    "softmax backward": ("softmax", "softmax_backward", (X, Y.softmax(-1))),
    "layer_norm": ("layer_norm", "layer_norm", (X, ROW, ROW, 1e-5)),
    "layer_norm backward": (
        "layer_norm",
        "layer_norm_backward",
        (X, Y, ROW, COLUMN, COLUMN),
    ),
    "layer_norm of nothing": ("layer_norm", "layer_norm", (X[:0], ROW, ROW, 1e-5)),
    "layer_norm backward of nothing": (
        "layer_norm",
        "layer_norm_backward",
        (X[:0], Y[:0], ROW, COLUMN[:0], COLUMN[:0]),
    ),
    "rms_norm": ("rms_norm", "rms_norm", (X, ROW, 1e-5)),
    "rms_norm backward": ("rms_norm", "rms_norm_backward", (X, Y, ROW, COLUMN)),
    "dropout": ("dropout", "dropout", (X, 0.5, 3)),
    "distillation_loss": (
        "distillation_loss",
        "distillation_loss",
        (X, Y, LABELS, *NUMBERS),
    ),
    "distillation_loss backward": (
        "distillation_loss",
        "distillation_loss_backward",
        (torch.tensor(2.0), X, Y, LABELS, drawn(3, 5) + 3, *NUMBERS),
    ),
    "distillation_loss of nothing": (
        "distillation_loss",
        "distillation_loss",
        (X[:0], Y[:0], LABELS[:0], *NUMBERS),
    ),
} | {
    f"cross_entropy {reduction}, {with_grad}": (
        "cross_entropy",
        "cross_entropy",
        (X, LABELS, 0.1, -100, reduction, with_grad),
    )
    for reduction in ("mean", "sum", "none")
    for with_grad in (True, False)
}


@pytest.mark.parametrize(("module", "name", "inputs"), CASES.values(), ids=CASES)
def test_both_halves_of_an_operator_agree(module, name, inputs, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    # By its path: the package's attribute of that name is the public function.
    file = importlib.import_module(f"mlopt_kernels.{module}")
    actual = getattr(file, f"_{name}_cuda")(*inputs)
    wanted = getattr(torch.ops.mlopt, name)(*inputs)
    torch.testing.assert_close(actual, wanted)
    for tensor in actual if isinstance(actual, tuple) else (actual,):
        assert tensor.is_contiguous()
