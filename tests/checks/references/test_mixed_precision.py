"""The right programs of exercise 16, proved by torch's formats and its GradScaler."""

import math

import numpy as np
import pytest
import torch

from mlopt_edu.checks.mixed_precision._loss_scale_path import loss_scale_path_reference
from mlopt_edu.checks.mixed_precision._lost_share import lost_share_reference
from mlopt_edu.checks.mixed_precision._scaled_training import scaled_training_reference
from mlopt_edu.checks.mixed_precision._to_bfloat16 import to_bfloat16_reference
from mlopt_edu.checks.mixed_precision._train_with_master import (
    train_with_master_reference,
)
from tests.checks.references import cases


@cases("to_bfloat16")
def test_to_bfloat16_is_that_of_torch(case):
    x = case.inputs["x"]
    expected = torch.from_numpy(x).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(to_bfloat16_reference(x), expected)


def test_to_bfloat16_is_that_of_torch_for_any_bits():
    bits = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32)
    # Many more ties than chance would give.
    bits[::3] = bits[::3] >> 16 << 16 | 0x8000
    x = bits.view(np.float32)
    x = x[~np.isnan(x)]
    expected = torch.from_numpy(x).to(torch.bfloat16).float().numpy()
    actual = to_bfloat16_reference(x)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(np.signbit(actual), np.signbit(expected))


@cases("lost_share")
def test_lost_share_is_what_torch_rounds_to_zero(case):
    gradients, scale = case.inputs.values()
    alive = torch.from_numpy(gradients[gradients != 0]).double()
    zeros = ((alive * scale).to(torch.float16) == 0).double()
    expected = zeros.mean().item() if len(alive) else 0.0
    assert lost_share_reference(gradients, scale) == pytest.approx(expected, abs=1e-15)


@cases("loss_scale_path")
def test_loss_scale_path_is_that_of_gradscaler(case):
    overflows, *settings = case.inputs.values()
    scaler = torch.amp.GradScaler("cpu", *settings)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    expected = []
    for overflow in overflows:
        optimizer.zero_grad()
        scaler.scale((math.inf if overflow else 1.0) * weight.sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        expected.append(scaler.get_scale())
    actual = loss_scale_path_reference(*case.inputs.values())
    np.testing.assert_allclose(actual, expected, rtol=2e-5)


class _Half(torch.autograd.Function):
    """The identity, whose backward pass rounds to fp16 as a half-precision one does."""

    @staticmethod
    def forward(_, w):
        return w.clone()

    @staticmethod
    def backward(_, grad):
        return grad.half().to(grad.dtype)


@cases("scaled_training")
def test_scaled_training_is_torch_with_gradscaler(case):
    X, y, w0, lr, max_norm, scale, steps = case.inputs.values()
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    w = torch.nn.Parameter(torch.from_numpy(w0.copy()))
    optimizer = torch.optim.SGD([w], lr=lr)
    scaler = torch.amp.GradScaler("cpu", scale, growth_interval=10**6)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (X @ _Half.apply(w) - y).square().sum() / (2 * len(y))
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_([w], max_norm)
        scaler.step(optimizer)
        scaler.update()
    actual, last_scale = scaled_training_reference(*case.inputs.values())
    # torch adds 1e-6 to the norm before it divides.
    np.testing.assert_allclose(
        actual, w.detach().numpy(), atol=1e-5 * np.abs(w0).max(), rtol=0
    )
    assert last_scale == (scaler.get_scale() if steps else scale)


@cases("train_with_master")
def test_train_with_master_is_sgd_on_a_float32_copy(case):
    w0, gradients, lr = case.inputs.values()
    master = torch.nn.Parameter(torch.from_numpy(w0).float())
    optimizer = torch.optim.SGD([master], lr=lr)
    actual = train_with_master_reference(w0, gradients, lr)
    for row, grad in zip(actual, torch.from_numpy(gradients), strict=True):
        master.grad = grad.float()
        optimizer.step()
        np.testing.assert_array_equal(row, master.detach().half().float().numpy())


def test_without_a_master_copy_the_weight_stands_still():
    gradients = -np.ones((1024, 1), np.float16)
    w = np.ones(1, np.float16)
    for grad in gradients:
        w = (w - 2.0**-12 * grad.astype(np.float32)).astype(np.float16)
    rows = train_with_master_reference(np.ones(1, np.float16), gradients, 2.0**-12)
    assert w == 1
    assert rows[-1] == 1.25


def test_the_numbers_that_the_explanations_name():
    half, brain = torch.finfo(torch.float16), torch.finfo(torch.bfloat16)

    def rounded(x, dtype):
        return torch.tensor(x, dtype=torch.float64).to(dtype).item()

    assert half.max == 65504 < math.exp(12)
    assert f"{math.exp(12):.0f}" == "162755"
    assert f"{half.smallest_normal:.0e}" == "6e-05"
    assert f"{2.0**-24:.0e}" == f"{np.nextafter(np.float16(0), np.float16(1)):.0e}"
    assert f"{2.0**-24:.0e}" == "6e-08"
    assert f"{2.0**-25:.0e}" == "3e-08"  # what lies below becomes 0
    assert rounded(2.0**-25, torch.float16) == 0
    assert rounded(2.0**-25 * 1.001, torch.float16) == 2.0**-24
    assert rounded(1e-16, torch.float16) == rounded(1e-8, torch.float16) == 0
    assert f"{half.eps / 2:.1e}" == "4.9e-04"
    assert rounded(1 + 1e-4, torch.float16) == 1
    assert rounded(1.002, torch.float16) == pytest.approx(1.002, abs=1e-4)
    assert rounded(1e-8, torch.bfloat16) == pytest.approx(1e-8, rel=4e-3)
    assert f"{brain.eps:.4f}" == "0.0078"
    assert rounded(1.002, torch.bfloat16) == 1
    assert f"{brain.smallest_normal:.1e}" == "1.2e-38"
    assert brain.smallest_normal == torch.finfo(torch.float32).smallest_normal
    assert rounded(1e-40, torch.bfloat16) > 0 == rounded(4e-41, torch.bfloat16)


def test_the_numbers_that_the_exercise_names():
    def smallest(dtype):
        info = torch.finfo(dtype)
        return f"{info.smallest_normal * info.eps:.1e}"

    formats = torch.float32, torch.float16, torch.bfloat16
    assert [smallest(one) for one in formats] == ["1.4e-45", "6.0e-08", "9.2e-41"]
    assert [f"{torch.finfo(one).max:.1e}" for one in formats[::2]] == ["3.4e+38"] * 2
    x = np.array([257, 259], np.float32)
    assert to_bfloat16_reference(x).tolist() == [256, 260]
    assert torch.finfo(torch.float16).eps == 2.0**-10
    assert f"{1 / 65536:.1e}" == "1.5e-05"


def test_clipping_before_unscaling_is_512_times_too_short():
    scale, norm, limit = 1024, 0.5, 1.0
    assert scale * norm == 512
    wrong = min(scale * norm, limit) / scale
    assert min(norm, limit) / wrong == 512
