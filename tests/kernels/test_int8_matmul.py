import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels._triton import tl, triton
from mlopt_kernels.int8_matmul import (
    MOST_INNER,
    OUTPUT_DTYPES,
    int8_matmul,
    int8_matmul_forward,
    int8_matmul_reference,
    round_half_to_even,
)
from mlopt_kernels.matmul import Tile

SMALL = Tile(rows=32, cols=16, inner=32, num_warps=4, num_stages=2)
SHAPES = [(1, 1, 1), (50, 41, 37), (1, 33, 64), (65, 1, 5), (32, 16, 96), (3, 5, 0)]


def codes_and_scales(n_rows, n_cols, n_inner, device):
    generator = torch.Generator().manual_seed(n_rows + n_cols + n_inner)
    x, weight = (
        torch.randint(-128, 128, (size, n_inner), generator=generator)
        for size in (n_rows, n_cols)
    )
    scales = (torch.rand(size, generator=generator) / 100 for size in (n_rows, n_cols))
    codes = x.to(device, torch.int8), weight.to(device, torch.int8)
    return (*codes, *(scale.to(device) for scale in scales))


@pytest.mark.parametrize("dtype", OUTPUT_DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernel_agrees_with_the_reference(guarded, device, shape, dtype):
    inputs = codes_and_scales(*shape, device)
    out = guarded(shape[0] * shape[1], dtype)
    output = out.output.view(shape[:2])
    int8_matmul_forward(*inputs, None, output, tile=SMALL, group=2)
    out.check()
    # The sums are exact and the scales multiply in one order: only the interpreter's
    # bfloat16, which is cut off, may differ.
    rtol = 2**-7 if dtype == torch.bfloat16 and device == "cpu" else 0
    expected = int8_matmul_reference(*inputs, dtype=dtype)
    torch.testing.assert_close(output, expected, rtol=rtol, atol=0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_requantized_codes_agree(guarded, device, shape):
    inputs = codes_and_scales(*shape, device)
    output_scale = torch.tensor(0.02, device=device)
    out = guarded(shape[0] * shape[1], torch.int8)
    output = out.output.view(shape[:2])
    int8_matmul_forward(*inputs, output_scale, output, tile=SMALL)
    out.check()
    expected = int8_matmul_reference(*inputs, output_scale)
    assert torch.equal(output, expected)
    if shape == (50, 41, 37):  # both ends were reached, and what lies between
        assert {-128, 127} < set(output.unique().tolist())


@triton.jit
def _round_kernel(x_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask, other=0.0)
    tl.store(x_ptr + offsets, round_half_to_even(x), mask=mask)


def test_halves_go_to_the_even_neighbour(device):
    x = torch.arange(-128, 127.75, 0.25, device=device)
    x = torch.cat([x, torch.tensor([0.5, -1.5, 2.0**22, 0.49999997], device=device)])
    expected = x.round()
    _round_kernel[(1,)](x, len(x), BLOCK_SIZE=2048)
    assert torch.equal(x, expected)


def test_default_tiles_and_sums_beyond_float32(guarded, device):
    # 127 * 127 * 2050 + 1 needs 25 bits: float32 would drop the last one.
    x = torch.full((2, 2051), 127, dtype=torch.int8, device=device)
    weight = x.clone()
    x[:, -1] = weight[:, -1] = 1
    one = torch.ones(2, device=device)
    out = guarded(4, torch.float32)
    output = out.output.view(2, 2)
    step = torch.full((2,), 2.0**-30, device=device)
    int8_matmul_forward(x, weight, step, one, None, output)
    out.check()
    exact = torch.tensor(127 * 127 * 2050 + 1).float() * 2**-30
    assert output.tolist() == [[exact, exact]] * 2
    smaller = x[:, :1041] - 126  # ones
    smaller[:, -1] = 126
    assert (
        int(int8_matmul(smaller, smaller, x_scale=one, weight_scale=one)[0, 0])
        == 1040 + 126**2
    )


def test_public_function(device):
    x, weight, x_scale, weight_scale = codes_and_scales(5, 6, 7, device)
    scales = {"x_scale": x_scale, "weight_scale": weight_scale}
    expected = (
        x.double() * x_scale[:, None] @ (weight * weight_scale[:, None]).double().T
    )
    actual = int8_matmul(x, weight, **scales)
    torch.testing.assert_close(actual.double(), expected, rtol=1e-6, atol=1e-7)
    strided = int8_matmul(x.t().contiguous().t(), weight, **scales)
    assert torch.equal(actual, strided)
    assert int8_matmul(
        x[:0], weight, x_scale=x_scale[:0], weight_scale=weight_scale
    ).shape == (0, 6)
    codes = int8_matmul(
        x, weight, **scales, output_scale=torch.tensor(0.01, device=device)
    )
    assert codes.dtype == torch.int8


def test_bad_arguments_are_refused_by_name(device):
    x, weight, x_scale, weight_scale = codes_and_scales(3, 4, 5, device)

    def refused(error, sentence, **changes):
        inputs = {"x": x, "weight": weight}
        inputs |= {"x_scale": x_scale, "weight_scale": weight_scale} | changes
        with pytest.raises(error, match=f"^{sentence}"):
            int8_matmul(**inputs)

    refused(TypeError, "x must be int8, got torch.int32", x=x.int())
    refused(TypeError, "x_scale must be float32, got .*64", x_scale=x_scale.double())
    refused(TypeError, "dtype must be one of float16, .*output_scale", dtype=torch.int8)
    refused(ValueError, "weight must be a matrix", weight=weight[0])
    refused(ValueError, r"weight must have shape \(4, 5\)", weight=weight[:, :4])
    refused(ValueError, r"x_scale must have shape \(3,\)", x_scale=weight_scale)
    refused(ValueError, r"output_scale must have shape \(\)", output_scale=x_scale)
    refused(ValueError, "weight must be on the device of x", weight=weight.to("meta"))
    long = torch.empty(1, MOST_INNER + 1, dtype=torch.int8, device=device)
    refused(ValueError, "x must have at most 131071 columns .* got 131072", x=long)
