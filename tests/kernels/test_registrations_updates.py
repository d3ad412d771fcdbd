"""What the updates register for a GPU, called in the interpreter on the CPU."""

import contextlib
import importlib

import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels.group_quantize import group_quantize

from .conftest import ON_GPU

if ON_GPU:
    pytest.skip("the other tests run the operators on it", allow_module_level=True)


def drawn(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator)


def lists(count):
    """Return tensors of three shapes, the last not contiguous, for each role."""
    return [[drawn(3), drawn(0), drawn(5, 4).t().abs()] for _ in range(count)]


CODES = group_quantize(drawn(3, 8), 4, bits=4, symmetric=False)
CASES = {
    "fused_adamw_": (*lists(4), 2, 0.1, 0.9, 0.99, 1e-8, 0.1, True),
    "fused_lion_": (*lists(3), 0.1, 0.9, 0.99, 0.1, False),
    "clip_grad_norm_": (*lists(1), 0.5, False),
    "magnitude_mask": (drawn(5, 4).t(), 7),
    "group_quantize": (drawn(8, 4).t(), 4, 4, True),
    "group_dequantize": (*CODES, torch.float32),
}


def copies(value):
    """Copy tensors with their strides, also in lists."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    return [copies(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", CASES)
def test_both_halves_of_an_operator_agree(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    # By its path: the package may have a function of that name.
    module = "group_quantize" if name.startswith("group") else name.rstrip("_")
    file = importlib.import_module(f"mlopt_kernels.{module}")
    ours, theirs = ([copies(value) for value in CASES[name]] for _ in range(2))
    actual = getattr(file, f"_{name.rstrip('_')}_cuda")(*ours)
    wanted = getattr(torch.ops.mlopt, name)(*theirs)
    torch.testing.assert_close(actual, wanted)
    # Also what was written in place, in the tensors that were given.
    for mine, other in zip(ours, theirs, strict=True):
        if isinstance(mine, list | torch.Tensor):
            torch.testing.assert_close(mine, other)
