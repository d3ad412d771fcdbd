"""Affine quantization against torch, torchao, and its laws."""

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlopt_edu.quantization import (
    PerChannel,
    PerGroup,
    PerTensor,
    dequantize,
    dequantize_weight,
    fake_quantize,
    integer_range,
    quantize,
    quantize_weight,
    scale_and_zero_point,
)

numbers = st.lists(
    st.floats(-1e6, 1e6, allow_subnormal=False, width=32), min_size=1, max_size=20
)
formats = st.fixed_dictionaries(
    {"bits": st.integers(2, 16), "symmetric": st.booleans()}
)


def qparams(x, **form):
    return scale_and_zero_point(x.min(), x.max(), **form)


@given(numbers, formats)
def test_inside_the_range_the_error_is_at_most_half_a_scale(values, form):
    x = torch.tensor(values, dtype=torch.float64)
    scale, zero_point = qparams(x, **form)
    back = dequantize(quantize(x, scale, zero_point, **form), scale, zero_point)
    assert ((back - x).abs() <= scale * (0.5 + 1e-9)).all()


@given(numbers, formats)
def test_zero_is_exact_and_the_zero_point_an_integer_of_the_range(values, form):
    scale, zero_point = qparams(torch.tensor(values), **form)
    zero = torch.zeros(1)
    integers = quantize(zero, scale, zero_point, **form)
    low, high = integer_range(form["bits"], symmetric=form["symmetric"])
    assert low <= zero_point <= high
    assert integers == zero_point
    assert dequantize(integers, scale, zero_point).item() == 0
    assert zero_point.dtype == torch.int32
    assert not form["symmetric"] or zero_point == 0


@given(numbers, formats)
def test_rounding_is_monotone_and_idempotent(values, form):
    x = torch.tensor(values).sort().values
    scale, zero_point = qparams(x / 2, **form)  # so that some clip
    once = fake_quantize(x, scale, zero_point, **form)
    assert (once.diff() >= 0).all()
    assert torch.equal(fake_quantize(once, scale, zero_point, **form), once)


@given(numbers, formats)
def test_fake_quantization_is_quantization_and_back(values, form):
    x = torch.tensor(values)
    scale, zero_point = qparams(x, **form)
    integers = quantize(x, scale, zero_point, **form)
    expected = dequantize(integers, scale, zero_point)
    assert torch.equal(expected, fake_quantize(x, scale, zero_point, **form))


@given(numbers)
def test_the_negative_of_a_tensor_has_the_negative_integers(values):
    x = torch.tensor(values)
    scale, zero_point = qparams(x, bits=8)
    assert torch.equal(quantize(-x, scale, zero_point), -quantize(x, scale, zero_point))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 7, 8])
def test_against_the_fake_quantization_of_torch(bits, symmetric):
    torch.manual_seed(bits)
    x = torch.randn(7, 33) * 3 + 1
    low, high = integer_range(bits, symmetric=symmetric)
    scale, zero_point = qparams(x, bits=bits, symmetric=symmetric)
    theirs = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, low, high)
    ours = fake_quantize(x, scale, zero_point, bits=bits, symmetric=symmetric)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    scales, zero_points = scale_and_zero_point(
        x.amin(0), x.amax(0), bits=bits, symmetric=symmetric
    )
    theirs = torch.fake_quantize_per_channel_affine(
        x, scales, zero_points, 1, low, high
    )
    ours = fake_quantize(x, scales, zero_points, bits=bits, symmetric=symmetric)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_against_the_integers_of_torch(axis):
    torch.manual_seed(axis)
    x = torch.randn(4, 5, 6)
    channels = PerChannel(axis)
    values, scale, zero_point = quantize_weight(
        x, granularity=channels, symmetric=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates its quantized tensors
        theirs = torch.quantize_per_channel(
            x, scale.flatten(), zero_point.flatten(), axis, torch.qint8
        )
    assert torch.equal(theirs.int_repr(), values)
    torch.testing.assert_close(
        theirs.dequantize(),
        dequantize_weight(values, scale, zero_point, granularity=channels),
    )


def test_qparams_of_torch_for_unsigned_integers_are_ours_shifted():
    x = torch.tensor([-1.3, 0.2, 4.1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.quantize_per_tensor_dynamic(x, torch.quint8, False)
    scale, zero_point = qparams(x, symmetric=False)
    assert scale.item() == pytest.approx(theirs.q_scale(), rel=1e-6)
    assert zero_point + 128 == theirs.q_zero_point()
    shifted = quantize(x, scale, zero_point, symmetric=False).int() + 128
    assert torch.equal(theirs.int_repr().int(), shifted)


@pytest.mark.parametrize("group", [8, 16])
def test_against_torchao_in_groups(group):
    from torchao.quantization import quant_primitives  # takes seconds to import

    torch.manual_seed(group)
    weight = torch.randn(6, 48)
    values, scale, zero_point = quantize_weight(
        weight, bits=4, granularity=PerGroup(group), symmetric=False
    )
    theirs = quant_primitives.quantize_affine(
        weight,
        (1, group),
        scale.reshape(6, -1),
        zero_point.reshape(6, -1),
        torch.int8,
        -8,
        7,
    )
    assert torch.equal(theirs, values)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(
    "values",
    [[0.0], [0.0, 0.0], [5.0, 5.0], [-3.0], [1e-30], [1e-42], [3e38, -3e38], [65504.0]],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_ranges(values, symmetric, dtype):
    x = torch.tensor(values, dtype=dtype)
    scale, zero_point = qparams(x, symmetric=symmetric)
    back = fake_quantize(x, scale, zero_point, symmetric=symmetric)
    assert scale > 0
    assert scale.isfinite()
    torch.testing.assert_close(back, x, rtol=0, atol=scale.item() * 0.5001)
    assert back.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_in_float32(dtype):
    torch.manual_seed(0)
    x = torch.randn(100).to(dtype)
    scale, zero_point = qparams(x)
    assert scale.dtype == torch.float32
    integers = quantize(x, scale, zero_point)
    assert torch.equal(quantize(x.float(), scale, zero_point), integers)
    assert fake_quantize(x, scale, zero_point).dtype == dtype


def test_integers_do_not_wrap():
    scale, zero_point = torch.tensor(1.0), torch.tensor(0)
    x = torch.tensor([128.0, -129.0, 1e30, math.inf, -math.inf])
    assert quantize(x, scale, zero_point).tolist() == [127, -127, 127, 127, -127]
    affine = quantize(x, scale, zero_point, symmetric=False)
    assert affine.tolist() == [127, -128, 127, 127, -128]
    low = torch.tensor([-128], dtype=torch.int8)
    assert dequantize(low, scale, torch.tensor(127)).item() == -255


def test_ties_go_to_the_even_integer():
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])
    assert quantize(x, torch.tensor(1.0), torch.tensor(0)).tolist() == [0, 2, 2, 0, -2]


def test_nan_is_refused_as_an_integer_and_kept_as_a_number():
    x, scale, zero_point = torch.tensor([math.nan]), torch.tensor(1.0), torch.tensor(0)
    with pytest.raises(ValueError, match=r"^x must not hold nan"):
        quantize(x, scale, zero_point)
    assert fake_quantize(x, scale, zero_point).isnan().all()


@pytest.mark.parametrize(
    ("low", "high"), [(-1, math.inf), (math.nan, 1), (-math.inf, 0), (2, 1)]
)
def test_ranges_that_are_none_are_refused(low, high):
    with pytest.raises(ValueError, match=r"^low and high must be finite"):
        scale_and_zero_point(torch.tensor(float(low)), torch.tensor(float(high)))


def test_other_arguments_that_are_refused():
    with pytest.raises(ValueError, match=r"^bits must lie between 2 and 16, got 1$"):
        integer_range(1)
    with pytest.raises(ValueError, match=r"^bits must lie between 2 and 16, got 17$"):
        integer_range(17)
    with pytest.raises(ValueError, match=r"^low and high must have the same shape"):
        scale_and_zero_point(torch.zeros(2), torch.zeros(3))


grains = st.one_of(
    st.just(PerTensor()),
    st.builds(PerChannel, st.integers(-3, 2)),
    st.builds(PerGroup, st.integers(1, 9)),
)


@given(grains, st.tuples(*[st.integers(1, 5)] * 3))
def test_cutting_into_blocks_is_undone(granularity, shape):
    x = torch.arange(math.prod(shape)).reshape(shape)
    blocks = granularity.blocks(x)
    assert torch.equal(x, granularity.join(blocks, x.shape))
    assert sorted(x.flatten().tolist()) == sorted(
        granularity.blocks(x + 1)[granularity.blocks(x + 1) > 0].sub(1).tolist()
    )


def test_blocks_are_what_their_names_say():
    x = torch.arange(30.0).reshape(2, 3, 5)
    assert torch.equal(PerChannel(1).blocks(x)[2], x[:, 2].flatten())
    groups = PerGroup(4).blocks(x)
    assert groups[3].tolist() == [12, 13, 14, 0]
    assert groups[4].tolist() == [15, 16, 17, 18]
    with pytest.raises(ValueError, match=r"^axis must be a dimension .*got 3$"):
        PerChannel(3).blocks(x)
    with pytest.raises(ValueError, match=r"^size must be at least 1, got 0$"):
        PerGroup(0)


@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel(2), PerGroup(7)])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_search_lowers_the_error(granularity, bits, symmetric):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 5, 6, generator=generator, dtype=torch.float64)

    def error(search):
        quantized = quantize_weight(
            weight,
            bits=bits,
            symmetric=symmetric,
            granularity=granularity,
            search=search,
        )
        back = dequantize_weight(*quantized, granularity=granularity)
        return (back - weight).square().sum()

    assert error(True) <= error(False) * (1 + 1e-9)
    assert bits > 2 or error(True) < error(False)


def test_a_row_of_outliers_harms_only_its_own_channel():
    torch.manual_seed(0)
    weight = torch.randn(4, 64)
    weight[2] *= 1000

    def error(granularity):
        quantized = quantize_weight(weight, bits=4, granularity=granularity)
        back = dequantize_weight(*quantized, granularity=granularity)
        return (back - weight)[[0, 1, 3]].norm() / weight[[0, 1, 3]].norm()

    assert error(PerTensor()) == 1  # all rounded to zero
    assert error(PerChannel(1)) == 1  # the wrong axis helps nothing
    assert error(PerChannel(0)) < 0.15
    assert error(PerGroup(16)) < error(PerChannel(0))
