"""Integer-only layers, bit by bit against NumPy's 64-bit integers."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlopt_edu.quantization import (
    fixed_point_multiplier,
    integer_conv,
    integer_linear,
    quantize,
    requantize,
    scale_and_zero_point,
)
from mlopt_edu.quantization.fixed_point import (
    rounding_doubling_high_multiply,
    rounding_right_shift,
)
from mlopt_edu.quantization.products import int_matmul

INT32 = st.integers(-(2**31), 2**31 - 1)


def high_multiply_model(a, b):
    """Saturating rounding doubling high multiplication, in Python's integers."""
    if a == b == -(2**31):
        return 2**31 - 1
    nudged = a * b + (2**30 if a * b >= 0 else 1 - 2**30)
    return nudged // 2**31 if nudged >= 0 else -(-nudged // 2**31)


def right_shift_model(x, places):
    """Rounding division by a power of two: mask, remainder and threshold."""
    mask = 2**places - 1
    threshold = (mask >> 1) + (x < 0)
    return (x >> places) + ((x & mask) > threshold)


def requantize_model(accumulator, multiplier, shift, zero_point, low, high):
    left, right = max(-shift, 0), max(shift, 0)
    wide = min(max(accumulator * 2**left, -(2**31)), 2**31 - 1)
    scaled = right_shift_model(high_multiply_model(wide, multiplier), right)
    return min(max(scaled + zero_point, low), high)


def int32(values):
    return torch.tensor(values, dtype=torch.int32)


@given(INT32, INT32)
def test_the_high_multiplication_is_the_model_s(a, b):
    found = rounding_doubling_high_multiply(int32([a]), int32([b]))
    assert found.tolist() == [high_multiply_model(a, b)]


@given(INT32, st.integers(0, 31))
def test_the_right_shift_is_the_model_s(x, places):
    found = rounding_right_shift(int32([x]), torch.tensor(places))
    assert found.tolist() == [right_shift_model(x, places)]


@given(st.floats(2**-40, 2.0**20))
def test_a_multiplier_is_written_to_31_bits(real):
    multiplier, shift = fixed_point_multiplier(torch.tensor(real, dtype=torch.float64))
    assert 2**30 <= multiplier.item() < 2**31
    written = multiplier.item() * 2.0 ** (-31 - shift.item())
    assert written == pytest.approx(real, rel=2**-30)


@given(
    INT32,
    st.floats(2**-30, 2.0**10),
    st.integers(-128, 127),
    st.sampled_from([(-128, 127), (-127, 127), (0, 127), (-5, 6)]),
)
def test_requantization_is_the_model_s(accumulator, real, zero_point, limits):
    low, high = limits
    multiplier, shift = fixed_point_multiplier(torch.tensor(real, dtype=torch.float64))
    found = requantize(
        int32([accumulator]),
        multiplier,
        shift,
        zero_point=zero_point,
        quant_min=low,
        quant_max=high,
    )
    assert found.dtype == torch.int8
    expected = requantize_model(
        accumulator, multiplier.item(), shift.item(), zero_point, low, high
    )
    assert found.tolist() == [expected]
    exact = min(max(accumulator * real + zero_point, low), high)
    assert abs(found.item() - exact) <= 1 + 1e-6 * abs(exact)


def test_a_multiplier_for_each_channel():
    multiplier, shift = fixed_point_multiplier(torch.tensor([0.5, 0.01, 3.0]))
    accumulator = int32([[10, 1000, 10], [-10, -1000, -10]])
    found = requantize(accumulator, multiplier, shift)
    assert found.tolist() == [[5, 10, 30], [-5, -10, -30]]


@pytest.mark.parametrize("real", [0.0, -1.0, 2.0**31, float("nan")])
def test_multipliers_out_of_range_are_refused(real):
    with pytest.raises(ValueError, match=r"^real must hold multipliers in"):
        fixed_point_multiplier(torch.tensor([1.0, real]))


def integers(rng, *shape):
    return rng.integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize("terms", [1, 2, 7, 64, 300])
@pytest.mark.parametrize("rows", [(), (1,), (5,), (2, 0), (2, 3)])
@pytest.mark.parametrize("outputs", [1, 6])
def test_a_linear_layer_is_the_model_s(terms, rows, outputs):
    rng = np.random.default_rng(terms)
    x, w = integers(rng, *rows, terms), integers(rng, outputs, terms)
    bias = rng.integers(-(10**6), 10**6, outputs)
    weight_zero_points = rng.integers(-128, 128, outputs)
    for x_zero, w_zero in [(0, 0), (-128, 0), (17, 127), (-3, weight_zero_points)]:
        column = np.broadcast_to(w_zero, outputs)[:, None]
        expected = (x.astype(np.int64) - x_zero) @ (w.astype(np.int64) - column).T
        found = integer_linear(
            torch.from_numpy(x),
            torch.from_numpy(w),
            torch.from_numpy(bias).int(),
            x_zero_point=x_zero,
            weight_zero_point=torch.as_tensor(w_zero),
        )
        assert found.dtype == torch.int32
        assert np.array_equal(expected + bias, found.numpy())


def conv_model(x, w, bias, x_zero, w_zero, stride, padding, dilation, groups):
    """A convolution by its definition, in 64-bit integers."""
    kernel, dims = w.shape[2:], w.ndim - 2
    sides = [(0, 0), (0, 0), *((p, p) for p in padding)]
    x = np.pad(x.astype(np.int64) - x_zero, sides)
    w = w.astype(np.int64) - np.reshape(w_zero, (-1, *[1] * (w.ndim - 1)))
    sizes = [
        (x.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in range(dims)
    ]
    y = np.zeros((len(x), len(w), *sizes), dtype=np.int64)
    per_group = len(w) // groups
    for place in itertools.product(*map(range, sizes)):
        cut = tuple(
            slice(
                place[i] * stride[i],
                place[i] * stride[i] + dilation[i] * (kernel[i] - 1) + 1,
                dilation[i],
            )
            for i in range(dims)
        )
        seen = x[(slice(None), slice(None), *cut)]
        for out in range(len(w)):
            first = out // per_group * w.shape[1]
            part = seen[:, first : first + w.shape[1]]
            y[(slice(None), out, *place)] = (part * w[out]).sum(
                axis=tuple(range(1, part.ndim))
            )
    return y + bias.reshape(-1, *[1] * dims)


CONVOLUTIONS = [
    # input, weight, stride, padding, dilation, groups
    ((2, 3, 9), (4, 3, 3), (1,), (0,), (1,), 1),
    ((1, 4, 11), (6, 2, 4), (3,), (5,), (2,), 2),
    ((2, 3, 7, 5), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((2, 4, 8, 9), (4, 1, 3, 2), (2, 1), (2, 0), (1, 3), 4),
    ((3, 6, 5, 7), (3, 2, 1, 1), (2, 3), (0, 0), (1, 1), 3),
    ((1, 1, 3, 3), (2, 1, 3, 3), (1, 1), (0, 0), (1, 1), 1),
    ((1, 2, 4, 5, 6), (2, 1, 2, 3, 1), (1, 2, 3), (1, 0, 2), (2, 1, 1), 2),
]


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_a_convolution_is_the_model_s(case):
    shape, kernel, stride, padding, dilation, groups = case
    rng = np.random.default_rng(len(shape))
    x, w = integers(rng, *shape), integers(rng, *kernel)
    bias = rng.integers(-1000, 1000, len(w))
    many = rng.integers(-128, 128, len(w))
    for x_zero, w_zero in [(0, 0), (-128, 5), (100, many)]:
        expected = conv_model(
            x, w, bias, x_zero, w_zero, stride, padding, dilation, groups
        )
        found = integer_conv(
            torch.from_numpy(x),
            torch.from_numpy(w),
            torch.from_numpy(bias).int().reshape(-1),
            x_zero_point=x_zero,
            weight_zero_point=torch.as_tensor(w_zero),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        )
        assert np.array_equal(expected, found.numpy())


def test_one_number_stands_for_all_dimensions():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(integers(rng, 1, 1, 6, 6))
    w = torch.from_numpy(integers(rng, 1, 1, 2, 2))
    options = {"stride": 2, "padding": 1, "dilation": 2}
    spread = {name: (value, value) for name, value in options.items()}
    assert torch.equal(integer_conv(x, w, **options), integer_conv(x, w, **spread))


def test_a_whole_layer_in_integers_is_near_the_real_one():
    torch.manual_seed(0)
    x, w, b = torch.rand(20, 30), torch.randn(8, 30), torch.randn(8)
    y = x @ w.t() + b

    def format_of(t, **form):
        return scale_and_zero_point(t.min(), t.max(), **form)

    s_x, z_x = format_of(x, symmetric=False)
    s_y, z_y = format_of(y, symmetric=False)
    s_w, z_w = scale_and_zero_point(w.amin(1), w.amax(1))
    accumulator = integer_linear(
        quantize(x, s_x, z_x, symmetric=False),
        quantize(w, s_w[:, None], z_w[:, None]),
        torch.round(b / (s_x * s_w)).int(),
        x_zero_point=z_x.item(),
    )
    multiplier, shift = fixed_point_multiplier(s_x * s_w / s_y)
    integers_out = requantize(accumulator, multiplier, shift, zero_point=z_y.item())
    real = (integers_out.int() - z_y) * s_y
    assert (real - y).abs().max() < 4 * s_y


@pytest.mark.parametrize("rows", [0, 1, 2, 17, 40])
@pytest.mark.parametrize("terms", [1, 2, 3, 8, 33, 128])
@pytest.mark.parametrize("outputs", [1, 5, 16])
def test_products_of_any_shape(rows, terms, outputs):
    rng = np.random.default_rng(0)
    x, w = integers(rng, rows, terms), integers(rng, outputs, terms)
    found = int_matmul(torch.from_numpy(x), torch.from_numpy(w))
    assert np.array_equal(x.astype(np.int64) @ w.astype(np.int64).T, found.numpy())
    assert found.dtype == torch.int32
    # Neither expanded nor transposed inputs are read in the wrong order.
    wide = torch.from_numpy(x.T.copy()).t()
    assert torch.equal(found, int_matmul(wide, torch.from_numpy(w)))


def test_products_without_the_primitive(monkeypatch):
    rng = np.random.default_rng(0)
    x, w = map(torch.from_numpy, (integers(rng, 3, 50), integers(rng, 4, 50)))
    expected = int_matmul(x, w)
    monkeypatch.delattr(torch, "_int_mm")
    assert torch.equal(expected, int_matmul(x, w))


def test_the_largest_sum_does_not_overflow():
    x = torch.full((1, 33025), -128, dtype=torch.int8)
    w = torch.full((1, 33025), 127, dtype=torch.int8)
    found = integer_linear(x, w, x_zero_point=127, weight_zero_point=-128)
    assert found.item() == -255 * 255 * 33025
    with pytest.raises(ValueError, match=r"^a sum must have at most 33025 terms"):
        integer_linear(torch.zeros(1, 33026).char(), torch.zeros(1, 33026).char())


def test_what_is_refused():
    x, w = torch.zeros(1, 2, 4).char(), torch.zeros(4, 2, 3).char()
    with pytest.raises(TypeError, match=r"^x and weight must be int8, got torch.flo"):
        integer_linear(torch.zeros(1, 2), torch.zeros(1, 2).char())
    with pytest.raises(ValueError, match=r"^x must have 2 features, got 3$"):
        integer_linear(torch.zeros(1, 3).char(), torch.zeros(1, 2).char())
    with pytest.raises(ValueError, match=r"^x must have shape \(n, 4, \*1 sizes\)"):
        integer_conv(x, w, groups=2)
    with pytest.raises(ValueError, match=r"^out_channels must be a multiple of"):
        integer_conv(torch.zeros(1, 6, 4).char(), w, groups=3)
    with pytest.raises(ValueError, match=r"^x must be at least as large"):
        integer_conv(x, w, dilation=2)
    with pytest.raises(ValueError, match=r"^stride, padding and dilation must be 1 or"):
        integer_conv(x, w, stride=(1, 2))
