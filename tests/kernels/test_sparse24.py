import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels.matmul import Tile
from mlopt_kernels.sparse24 import (
    DTYPES,
    sparse24_compress,
    sparse24_compress_forward,
    sparse24_compress_reference,
    sparse24_decompress,
    sparse24_matmul,
    sparse24_matmul_forward,
    sparse24_matmul_reference,
)

from .close import assert_close

SMALL = Tile(rows=16, cols=32, inner=32, num_warps=4, num_stages=2)
SHAPES = [(1, 1, 8), (41, 37, 72), (1, 33, 64), (17, 1, 40), (5, 7, 0)]
# Every one in float32, the first two in the smaller dtypes too.
EACH = [(shape, torch.float32) for shape in SHAPES] + [
    (shape, dtype) for shape in SHAPES[:2] for dtype in (torch.float16, torch.bfloat16)
]


def matrices(n_rows, n_cols, n_inner, dtype, device):
    """Return x and a weight of few different magnitudes, so that many are equal."""
    generator = torch.Generator().manual_seed(n_rows + n_cols + n_inner)
    x = torch.randn(n_rows, n_inner, generator=generator)
    weight = torch.randn(n_cols, n_inner, generator=generator).mul(2).round()
    return x.to(device, dtype), weight.to(device, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 8), (37, 72), (3, 0)], ids=str)
def test_compression_agrees_with_the_reference(guarded, device, shape, dtype):
    _, weight = matrices(1, *shape, dtype, device)
    values, places = (
        guarded(weight.numel() // 2, dtype),
        guarded(weight.numel() // 8, torch.uint8),
    )
    sparse24_compress_forward(weight, values.output, places.output, block_size=64)
    for actual, expected in zip(
        (values, places), sparse24_compress_reference(weight), strict=True
    ):
        actual.check()
        assert torch.equal(actual.output, expected.flatten())


def test_every_choice_of_two(guarded, device):
    # All orders of four magnitudes, equal ones among them, with signs.
    four = torch.cartesian_prod(*[torch.tensor([-2.0, 0.0, 1.0, 2.0])] * 4).to(device)
    weight = four.reshape(-1, 8)
    values, places = guarded(512, torch.float32), guarded(128, torch.uint8)
    sparse24_compress_forward(weight, values.output, places.output)
    dense = sparse24_decompress(values.output.view(-1, 4), places.output.view(-1, 1))
    for group, kept in zip(four.tolist(), dense.reshape(-1, 4).tolist(), strict=True):
        largest = sorted(range(4), key=lambda place: -abs(group[place]))[:2]
        assert kept == [group[i] if i in largest else 0 for i in range(4)]


def test_a_2_4_weight_comes_back(device):
    _, weight = matrices(1, 9, 64, torch.float32, device)
    weight[:, 1::4] = weight[:, 2::4] = 0
    assert torch.equal(sparse24_decompress(*sparse24_compress(weight)), weight)


@pytest.mark.parametrize(("shape", "dtype"), EACH, ids=str)
def test_product_agrees_with_the_reference(guarded, device, shape, dtype):
    x, weight = matrices(*shape, dtype, device)
    values, places = sparse24_compress_reference(weight)
    out = guarded(shape[0] * shape[1], dtype)
    output = out.output.view(shape[:2])
    sparse24_matmul_forward(x, values, places, output, tile=SMALL, group=2)
    out.check()
    assert_close(output, sparse24_matmul_reference(x, values, places))
    wide = x.double() @ sparse24_decompress(values, places).double().t()
    assert_close(output, wide.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_default_tile(guarded, device, dtype):
    x, weight = matrices(3, 70, 72, dtype, device)
    values, places = sparse24_compress_reference(weight)
    out = guarded(210, dtype)
    sparse24_matmul_forward(x, values, places, out.output.view(3, 70))
    out.check()
    assert_close(out.output.view(3, 70), sparse24_matmul_reference(x, values, places))


def test_gradients_against_float64(device):
    x, weight = matrices(5, 7, 24, torch.float32, device)
    values, places = sparse24_compress(weight)
    leaves = x.requires_grad_(), values.requires_grad_()
    grad = torch.randn(5, 7, device=device)
    sparse24_matmul(*leaves, places=places).backward(grad)
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    dense = sparse24_decompress(wide[1], places)
    (wide[0] @ dense.t()).backward(grad.double())
    for leaf, expected in zip(leaves, wide, strict=True):
        torch.testing.assert_close(
            leaf.grad, expected.grad.float(), rtol=1e-5, atol=1e-5
        )


def test_empty_and_strided_inputs(device):
    x, weight = matrices(5, 7, 24, torch.float32, device)
    values, places = sparse24_compress(weight)
    assert sparse24_matmul(x[:0], values, places=places).shape == (0, 7)
    strided = sparse24_matmul(x.t().contiguous().t(), values, places=places)
    assert torch.equal(strided, sparse24_matmul(x, values, places=places))
    transposed = weight.t().contiguous().t()
    assert torch.equal(sparse24_compress(transposed)[0], values)


def test_bad_arguments_are_refused_by_name(device):
    x, weight = matrices(3, 4, 24, torch.float32, device)
    values, places = sparse24_compress(weight)

    def refused(error, sentence, **changes):
        inputs = {"x": x, "values": values, "places": places}
        with pytest.raises(error, match=f"^{sentence}"):
            sparse24_matmul(**inputs | changes)

    refused(TypeError, "x must have one of .*, got torch.float64", x=x.double())
    refused(TypeError, "places must be torch.uint8, got .*int32", places=places.int())
    refused(ValueError, "x must be a matrix with a multiple of 8", x=x[:, :20])
    refused(
        ValueError, "values must be a matrix with half the 24", values=values[:, 1:]
    )
    refused(ValueError, r"places must have shape \(4, 3\)", places=places[1:])
    refused(ValueError, "values must have the dtype of x", values=values.half())
    refused(ValueError, "places must be on the device of x", places=places.to("meta"))
    with pytest.raises(TypeError, match=r"^weight must have one of .*int8"):
        sparse24_compress(weight.char())
    with pytest.raises(ValueError, match=r"^weight must be .* multiple of 8 .*pad"):
        sparse24_compress(weight[:, :20])
