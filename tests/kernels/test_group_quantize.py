import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_edu.quantization import affine
from mlopt_edu.quantization.packing import pack
from mlopt_kernels.group_quantize import (
    DTYPES,
    group_dequantize,
    group_dequantize_forward,
    group_dequantize_reference,
    group_quantize,
    group_quantize_forward,
    group_quantize_reference,
)

FORMATS = [(8, True), (8, False), (4, True), (4, False)]


def values(shape, dtype, device):
    generator = torch.Generator().manual_seed(shape[-1])
    x = torch.randn(shape, generator=generator)
    x[0] = 0.0  # a row of zeros
    x[-1] += 5.0  # and one on one side of 0
    return x.to(device, dtype)


@pytest.mark.parametrize(("bits", "symmetric"), FORMATS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group_size", [2, 6, 32])
def test_kernels_equal_the_references(
    guarded, device, group_size, dtype, bits, symmetric
):
    x = values((5, 3 * group_size), dtype, device)
    expected = group_quantize_reference(x, group_size, bits=bits, symmetric=symmetric)
    outs = [guarded(tensor.numel(), tensor.dtype) for tensor in expected]
    actual = [out.output for out in outs]
    group_quantize_forward(x, *actual, bits=bits, symmetric=symmetric, block_size=64)
    for out, tensor in zip(outs, expected, strict=True):
        out.check()
        assert torch.equal(out.output, tensor.flatten())
    back = guarded(x.numel(), dtype)
    group_dequantize_forward(*actual, back.output, block_size=64)
    back.check()
    wanted = group_dequantize_reference(*expected, dtype=dtype).flatten()
    # The interpreter cuts bfloat16 off where a GPU rounds: one unit in the last place.
    rtol = 2**-7 if dtype == torch.bfloat16 and device == "cpu" else 0
    torch.testing.assert_close(back.output, wanted, rtol=rtol, atol=0)


def test_ties_go_to_the_even_integer(guarded, device):
    steps = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 127], device=device)
    out = [guarded(8, torch.int8), guarded(1, torch.float32), guarded(1, torch.int8)]
    group_quantize_forward(steps, *(o.output for o in out), bits=8, symmetric=True)
    assert out[0].output.tolist() == [-2, -2, 0, 0, 2, 2, 4, 127]
    assert out[1].output.item() == 1.0


def test_tiny_and_huge_values(guarded, device):
    x = torch.tensor([[3e38, -3e38], [1e-45, 0.0], [-1e-38, 2e-38]], device=device)
    for symmetric in (True, False):
        expected = group_quantize_reference(x, 2, symmetric=symmetric)
        outs = [guarded(tensor.numel(), tensor.dtype) for tensor in expected]
        actual = [out.output for out in outs]
        group_quantize_forward(x, *actual, bits=8, symmetric=symmetric)
        for ours, tensor in zip(actual, expected, strict=True):
            assert torch.equal(ours, tensor.flatten())


# The public functions, on the CPU and on a GPU alike.


@pytest.mark.parametrize(("bits", "symmetric"), FORMATS)
def test_equal_the_arithmetic_and_the_packing_of_the_course(device, bits, symmetric):
    x = values((4, 48), torch.float32, device)
    codes, scale, zero_point = group_quantize(x, 16, bits=bits, symmetric=symmetric)
    groups = x.unflatten(-1, (3, 16))
    options = {"bits": bits, "symmetric": symmetric}
    low, high = groups.amin(-1), groups.amax(-1)
    theirs = affine.scale_and_zero_point(low, high, **options)
    assert torch.equal(scale, theirs[0])
    assert torch.equal(zero_point.int(), theirs[1])
    wide = [part[..., None] for part in theirs]
    expected = affine.quantize(groups, *wide, **options)
    stored = expected.flatten(-2)
    if bits == 4:
        stored = pack(stored.int() & 15, bits=4)
    assert torch.equal(codes, stored)
    back = group_dequantize(codes, scale, zero_point)
    assert torch.equal(back, affine.dequantize(expected, *wide).flatten(-2))
    # Half a scale, and less than a millionth of the values for the arithmetic itself.
    error = (back - x).unflatten(-1, (3, 16)).abs()
    assert (error <= 0.5 * scale[..., None] + 1e-5).all()


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_equal_those_of_torch(device):
    x = values((6, 32), torch.float32, device)
    codes, scale, zero_point = group_quantize(x, 32, symmetric=False)
    theirs = torch.quantize_per_channel(
        x.cpu(), scale[:, 0].cpu(), zero_point[:, 0].cpu(), 0, torch.qint8
    )
    assert torch.equal(codes.cpu(), theirs.int_repr())
    back = group_dequantize(codes, scale, zero_point).cpu()
    torch.testing.assert_close(back, theirs.dequantize(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(8,), (0, 4), (3, 0), (2, 3, 4)])
def test_shapes_and_non_contiguous_inputs(device, shape):
    x = torch.ones((*shape, 2), device=device)[..., 0]
    codes, scale, zero_point = group_quantize(x, 4, bits=4)
    assert codes.shape == (*shape[:-1], shape[-1] // 2)
    assert scale.shape == zero_point.shape == (*shape[:-1], shape[-1] // 4)
    back = group_dequantize(codes, scale, zero_point, dtype=torch.float16)
    assert torch.equal(back, x.half())


@pytest.mark.filterwarnings("default")
def test_operators_are_registered_as_torch_requires(device):
    x = torch.rand(2, 4, device=device)
    operators = torch.ops.mlopt
    utilities = ("test_schema", "test_faketensor")
    torch.library.opcheck(
        operators.group_quantize.default, (x, 2, 4, True), test_utils=utilities
    )
    torch.library.opcheck(
        operators.group_dequantize.default,
        (*group_quantize(x, 2, bits=4), torch.float16),
        test_utils=utilities,
    )


@pytest.mark.filterwarnings("default")
def test_compiles_as_one_graph(device):
    def there_and_back(x):
        return group_dequantize(*group_quantize(x, 2, bits=4))

    x = torch.tensor([7.0, -2.0, 14.0, 3.0], device=device, requires_grad=True)
    compiled = torch.compile(there_and_back, backend="aot_eager", fullgraph=True)
    assert compiled(x).tolist() == [7.0, -2.0, 14.0, 4.0]


def test_bad_arguments_are_refused_by_name(device):
    x = torch.ones(2, 6, device=device)
    for group_size, bits, sentence in (
        (4, 8, r"group_size must be .* divide .* \(2, 6\), got 4"),
        (0, 8, r"group_size must be at least 1 .*, got 0"),
        (3, 4, r"group_size must be even for 4 bits, got 3"),
        (2, 5, r"bits must be 4 or 8, got 5"),
    ):
        with pytest.raises(ValueError, match=f"^{sentence}"):
            group_quantize(x, group_size, bits=bits)
    with pytest.raises(TypeError, match=r"^x must have one of .*torch\.int32"):
        group_quantize(x.int(), 2)
    codes, scale, zero_point = group_quantize(x, 2)
    with pytest.raises(TypeError, match=r"^codes must be one of int8, uint8, got .*32"):
        group_dequantize(codes.int(), scale, zero_point)
    with pytest.raises(ValueError, match=r"^scale must have .*, got \(1, 3\)"):
        group_dequantize(codes, scale[:1], zero_point)
    with pytest.raises(ValueError, match=r"^zero_point must have .*, got \(2, 1\)"):
        group_dequantize(codes, scale, zero_point[:, :1])
    with pytest.raises(ValueError, match=r"^scale must be on the device .*, got meta"):
        group_dequantize(codes, scale.to("meta"), zero_point)
