"""The straight-through estimator: rounded forward, torch's gradients backward."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlopt_edu.quantization import (
    fake_quantize,
    fake_quantize_straight_through,
    integer_range,
    round_straight_through,
    straight_through,
)


def test_rounding_alone_stops_the_gradient():
    x = torch.tensor([0.4, 1.6], requires_grad=True)
    torch.round(x).sum().backward()
    assert torch.equal(x.grad, torch.zeros(2))
    x.grad = None
    scale, zero_point = torch.tensor(0.1), torch.tensor(0)
    fake_quantize(x, scale, zero_point).sum().backward()
    assert torch.equal(x.grad, torch.zeros(2))


def test_value_forward_source_backward():
    value = torch.tensor([0.1, float("inf"), 1e30], requires_grad=True)
    source = torch.tensor([7.0, 1e-30, 3.0], requires_grad=True)
    weights = torch.tensor([2.0, -1.0, 5.0])
    y = straight_through(value, source)
    assert torch.equal(y, value)  # the sum of source and a difference would lose 0.1
    (y * weights).sum().backward()
    assert torch.equal(source.grad, weights)
    assert value.grad is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_types(dtype):
    x = torch.tensor([0.4, 1.5, -2.5], dtype=dtype, requires_grad=True)
    y = round_straight_through(x)
    y.sum().backward()
    assert torch.equal(y, torch.tensor([0.0, 2.0, -2.0], dtype=dtype))
    assert torch.equal(x.grad, torch.ones(3, dtype=dtype))
    half = torch.tensor([0.1], dtype=dtype, requires_grad=True)
    scale, zero_point = torch.tensor(0.03), torch.tensor(1)
    z = fake_quantize_straight_through(half, scale, zero_point, bits=3)
    assert z.dtype is dtype
    assert torch.equal(z, fake_quantize(half, scale, zero_point, bits=3))


def test_a_second_derivative():
    x = torch.tensor([0.4, 1.6], requires_grad=True)
    y = round_straight_through(x).pow(3).sum()
    (grad,) = torch.autograd.grad(y, x, create_graph=True)
    assert torch.equal(grad, 3 * x.round().square())
    (second,) = torch.autograd.grad(grad.sum(), x)
    assert torch.equal(second, 6 * x.round())


@settings(deadline=None, max_examples=60)
@given(
    bits=st.integers(2, 8),
    symmetric=st.booleans(),
    scale=st.floats(1e-3, 10),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
def test_torchs_values_and_gradients(bits, symmetric, scale, seed, data):
    low, high = integer_range(bits, symmetric=symmetric)
    zero = 0 if symmetric else data.draw(st.integers(low, high))
    generator = torch.Generator().manual_seed(seed)
    spread = scale * 2**bits
    ours = torch.randn(50, dtype=torch.double, generator=generator).float() * spread
    weights = torch.randn(50, generator=generator)
    ours.requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    y = fake_quantize_straight_through(
        ours, torch.tensor(scale), torch.tensor(zero), bits=bits, symmetric=symmetric
    )
    z = torch.fake_quantize_per_tensor_affine(
        theirs, torch.tensor(scale), torch.tensor(zero, dtype=torch.int32), low, high
    )
    # torch multiplies by 1 / scale: near a tie it may round to the other side.
    steps = (ours.detach().double() / scale).abs()
    clear = ((steps % 1) - 0.5).abs() > 1e-3
    torch.testing.assert_close(y[clear], z[clear], rtol=1e-5, atol=1e-5)
    (y * weights * clear).sum().backward()
    (z * weights * clear).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)


def test_a_scale_for_each_channel():
    torch.manual_seed(0)
    x = torch.randn(3, 40) * 2
    scale, zero_point = torch.tensor([0.05, 0.1, 0.2]), torch.tensor([0, 3, -5])
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = fake_quantize_straight_through(
        ours, scale[:, None], zero_point[:, None], bits=5, symmetric=False
    )
    z = torch.fake_quantize_per_channel_affine(
        theirs, scale, zero_point.int(), 0, -16, 15
    )
    torch.testing.assert_close(y, z)
    y.sum().backward()
    z.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert set(ours.grad.round(decimals=5).unique().tolist()) == {0.0, 1.0}


def test_the_gradient_of_the_scale():
    x = torch.tensor([0.26, -0.34, 9.0, -9.0])
    scale = torch.tensor(0.1, requires_grad=True)
    zero_point = torch.tensor(2)
    y = fake_quantize_straight_through(x, scale, zero_point, bits=4, symmetric=False)
    expected = torch.tensor([3 - 2.6, -3 + 3.4, 7.0 - 2, -8.0 - 2])
    for entry, slope in zip(y, expected, strict=True):
        (grad,) = torch.autograd.grad(entry, scale, retain_graph=True)
        torch.testing.assert_close(grad, slope, rtol=1e-4, atol=1e-5)


def test_infinite_numbers_clip_and_nan_stays():
    x = torch.tensor([float("inf"), -float("inf"), float("nan")], requires_grad=True)
    y = fake_quantize_straight_through(x, torch.tensor(0.5), torch.tensor(0), bits=3)
    assert torch.equal(y[:2], torch.tensor([1.5, -1.5]))
    assert y[2].isnan()
    y[:2].sum().backward()
    assert torch.equal(x.grad[:2], torch.zeros(2))


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"same shape, got \(2,\) and \(3,\)"):
        straight_through(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="bits must lie between 2 and 16, got 1"):
        fake_quantize_straight_through(
            torch.zeros(2), torch.ones(()), torch.zeros(()), bits=1
        )
