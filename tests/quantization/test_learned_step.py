"""LSQ: torch's learnable fake quantization, and the paper's equations by hand."""

import math

import pytest
import torch

from mlopt_edu.quantization import (
    LearnedStep,
    fake_quantize_learned_step,
    initial_step,
)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("size", [1, 7, 300])
def test_torchs_learnable_fake_quantization(bits, size):
    torch.manual_seed(bits * size)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    x, upstream = torch.randn(2, size)
    step = torch.tensor([0.07 * 2 ** (5 - bits)])
    ours, theirs = (x.clone().requires_grad_() for _ in range(2))
    mine, other = (step.clone().requires_grad_() for _ in range(2))
    y = fake_quantize_learned_step(ours, mine, bits=bits)
    z = torch._fake_quantize_learnable_per_tensor_affine(
        theirs,
        other,
        torch.zeros(1),
        low,
        high,
        1 / math.sqrt(size * high),
    )
    torch.testing.assert_close(y, z)
    (y * upstream).sum().backward()
    (z * upstream).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_equation_3_by_hand():
    """At 3 bits: -4 to 3; v/s of 1.3, 2.8, 3.4, 5, -4.4 and -9."""
    v = torch.tensor([1.3, 2.8, 3.4, 5.0, -4.4, -9.0]) * 0.5
    step = torch.tensor(0.5, requires_grad=True)
    y = fake_quantize_learned_step(v, step, bits=3)
    assert torch.equal(y, torch.tensor([0.5, 1.5, 1.5, 1.5, -2.0, -2.0]))
    y.sum().backward()
    expected = (1 - 1.3) + (3 - 2.8) + (3 - 3.4) + 3 + (-4 + 4.4) - 4
    assert step.grad * math.sqrt(6 * 3) == pytest.approx(expected, rel=1e-5)


def test_a_step_for_each_block_has_its_own_n():
    blocks = torch.tensor([[1.3, 9.0], [0.0, -9.0], [0.6, 0.6]])
    step = torch.ones(3, 1, requires_grad=True)
    fake_quantize_learned_step(blocks, step, bits=2).sum().backward()
    expected = torch.tensor([[1 - 1.3 + 1], [-2.0], [0.8]]) / math.sqrt(2 * 1)
    torch.testing.assert_close(step.grad, expected)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_first_step(bits):
    torch.manual_seed(0)
    blocks = torch.randn(5, 64)
    expected = 2 * blocks.abs().mean(1, keepdim=True) / math.sqrt(2 ** (bits - 1) - 1)
    torch.testing.assert_close(initial_step(blocks, bits=bits), expected)
    masked = torch.cat([blocks, torch.zeros(5, 600)], dim=1)
    torch.testing.assert_close(initial_step(masked, bits=bits), expected)


def test_a_step_is_never_0_or_below():
    x = torch.tensor([1.0, -1.0, 0.3])
    for step in (0.25, -0.25):
        y = fake_quantize_learned_step(x, torch.tensor(step), bits=4)
        assert torch.equal(y, torch.tensor([1.0, -1.0, 0.25]))
    zero = torch.tensor(0.0, requires_grad=True)
    assert fake_quantize_learned_step(x, zero, bits=4).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("group_size", [None, 4, 100])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_packed_is_what_is_trained_bit_for_bit(dtype, group_size, bits):
    torch.manual_seed(0)
    weight = torch.randn(3, 5, 2).to(dtype)
    trained = LearnedStep(bits=bits, group_size=group_size).parametrization(weight)
    with torch.no_grad():
        trained.step.mul_(-0.3)
    assert torch.equal(trained.pack(weight).unpack(), trained(weight).detach())
    assert trained(weight).dtype is dtype
    assert trained.step.numel() == {None: 3, 4: 9, 100: 3}[group_size]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(bits=1), "bits must lie between 2 and 8, got 1"),
        (dict(bits=9), "bits must lie between 2 and 8, got 9"),
        (dict(group_size=0), "group_size must be at least 1, got 0"),
    ],
)
def test_what_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        LearnedStep(**options)
