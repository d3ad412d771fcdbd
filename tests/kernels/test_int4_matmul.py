import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels.int4_matmul import (
    SplitTile,
    choose_split_tile,
    int4_dequantize,
    int4_matmul,
    int4_matmul_forward,
    int4_matmul_reference,
)

from .close import assert_close

# rows, channels, columns, size of a group, tile: one part; parts that do not come out
# even, the last with nothing to do; groups of several steps; a step a group.
CASES = [
    (1, 1, 16, 16, SplitTile(16, 16, 16, 1)),
    (3, 37, 160, 32, SplitTile(16, 32, 32, 2)),
    (17, 32, 96, 48, SplitTile(16, 16, 16, 4)),
    (33, 5, 128, 128, SplitTile(32, 16, 64, 1)),
    (2, 19, 256, 64, None),
]
# Every one in float32, the first two in the smaller dtypes too.
EACH = [(case, torch.float32) for case in CASES] + [
    (case, dtype) for case in CASES[:2] for dtype in (torch.float16, torch.bfloat16)
]


def layer(n_rows, n_cols, n_inner, group_size, dtype, device):
    generator = torch.Generator().manual_seed(n_rows + n_cols + n_inner)
    x = torch.randn(n_rows, n_inner, generator=generator)
    packed = torch.randint(256, (n_cols, n_inner // 2), generator=generator)
    groups = n_cols, n_inner // group_size
    scale = torch.rand(groups, generator=generator) / 8
    zero_point = torch.randint(16, groups, generator=generator)
    return (
        x.to(device, dtype),
        packed.to(device, torch.uint8),
        scale.to(device),
        zero_point.to(device, torch.uint8),
    )


@pytest.mark.parametrize(("case", "dtype"), EACH, ids=str)
def test_kernel_agrees_with_the_reference(guarded, device, case, dtype):
    *sizes, tile = case
    inputs = layer(*sizes, dtype, device)
    out = guarded(sizes[0] * sizes[1], dtype)
    output = out.output.view(sizes[:2])
    int4_matmul_forward(*inputs, output, tile=tile)
    out.check()
    assert_close(output, int4_matmul_reference(*inputs))


@pytest.mark.parametrize("shape", [(0, 3, 16), (3, 0, 16), (3, 2, 0)], ids=str)
def test_empty(guarded, device, shape):
    n_rows, n_cols, _n_inner = shape
    x, packed, scale, zero_point = layer(*shape, 16, torch.float32, device)
    out = guarded(n_rows * n_cols, torch.float32)
    output = out.output.view(n_rows, n_cols)
    int4_matmul_forward(x, packed, scale, zero_point, output)
    out.check()
    assert output.tolist() == [[0.0] * n_cols] * n_rows


def test_codes_are_unpacked_in_order(guarded, device):
    # The identity times the weight shows every weight: 16 codes in 8 bytes.
    _x, packed, scale, zero_point = layer(16, 3, 16, 16, torch.float16, device)
    out = guarded(48, torch.float16)
    eye = torch.eye(16, device=device, dtype=torch.float16)
    int4_matmul_forward(
        eye,
        packed,
        scale,
        zero_point,
        out.output.view(16, 3),
        tile=SplitTile(16, 16, 16, 1),
    )
    expected = [
        [
            ((byte >> 4 * half & 15) - int(zero_point[row, 0])) * float(scale[row, 0])
            for byte in packed[row].tolist()
            for half in (0, 1)
        ]
        for row in range(3)
    ]
    assert torch.equal(
        out.output.view(16, 3).t(), torch.tensor(expected).half().to(device)
    )
    weight = int4_dequantize(packed, scale, zero_point)
    assert torch.equal(weight.cpu(), torch.tensor(expected))


def test_scales_are_not_rounded_to_the_dtype_of_x(guarded, device):
    # 1 + 2^-12 is 1 in float16. 16 codes of 15 times 256: 61440, and 15 more.
    x = torch.full((1, 16), 256.0, device=device, dtype=torch.float16)
    packed = torch.full((1, 8), 255, device=device, dtype=torch.uint8)
    scale = torch.full((1, 1), (1 + 2**-12) / 2**10, device=device)
    zero_point = torch.zeros(1, 1, device=device, dtype=torch.uint8)
    out = guarded(1, torch.float16)
    int4_matmul_forward(x, packed, scale, zero_point, out.output.view(1, 1))
    assert out.output.item() == torch.tensor(60 * (1 + 2**-12)).half().item()


@pytest.mark.parametrize("n_rows", [1, 16, 17, 200])
def test_tiles_fill_an_h100_at_a_small_batch(n_rows):
    tile = choose_split_tile(n_rows, 4096, 4096, group_size=128)
    programs = -(-n_rows // tile.rows) * 64 * tile.splits
    assert programs >= 2 * 132 if tile.splits > 1 else programs >= 132
    assert (tile.splits > 1) == (n_rows < 128)
    assert 64 * (tile.splits - 1) < 2 * 132  # no more parts than it takes
    assert tile.rows == min(64, max(16, 1 << (n_rows - 1).bit_length()))
    small = choose_split_tile(n_rows, 64, 48, group_size=48)
    assert (small.inner, small.splits) == (16, 1)


def test_gradient_of_x_against_float64(device):
    x, packed, scale, zero_point = layer(5, 7, 64, 32, torch.float32, device)
    x.requires_grad_()
    grad = torch.randn(5, 7, device=device)
    int4_matmul(x, packed, scale=scale, zero_point=zero_point).backward(grad)
    weight = int4_dequantize(packed, scale, zero_point).double()
    torch.testing.assert_close(
        x.grad.double(), grad.double() @ weight, rtol=1e-5, atol=1e-6
    )


def test_bad_arguments_are_refused_by_name(device):
    x, packed, scale, zero_point = layer(3, 4, 64, 32, torch.float32, device)

    def refused(error, sentence, **changes):
        inputs = {"x": x, "packed": packed, "scale": scale, "zero_point": zero_point}
        with pytest.raises(error, match=f"^{sentence}"):
            int4_matmul(**inputs | changes)

    refused(TypeError, "x must have one of .*, got torch.float64", x=x.double())
    refused(TypeError, "packed must be torch.uint8, got .*int8", packed=packed.char())
    refused(TypeError, "scale must be torch.float32", scale=scale.half())
    refused(ValueError, r"x must be a matrix, got shape \(64,\)", x=x[0])
    refused(
        ValueError, "packed must be a matrix with half the 64", packed=packed[:, 1:]
    )
    refused(
        ValueError, "scale must be a matrix with a row for each of 4", scale=scale[1:]
    )
    refused(
        ValueError,
        r"zero_point must have the shape of scale, \(4, 2\)",
        zero_point=zero_point[:, :1],
    )
    refused(
        ValueError,
        "scale must have groups of a multiple of 16 .* got 3 groups",
        scale=scale.new_ones(4, 3),
        zero_point=zero_point.new_ones(4, 3),
    )
    refused(ValueError, "scale must be on the device of x", scale=scale.to("meta"))
