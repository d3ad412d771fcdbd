import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels._triton import tl, triton
from mlopt_kernels.matmul import (
    DTYPES,
    TILES,
    Tile,
    choose_tile,
    float32_precision,
    grouped_tile,
    matmul,
    matmul_forward,
    matmul_reference,
)

from .close import assert_close

SMALL = Tile(rows=32, cols=16, inner=32, num_warps=4, num_stages=2)
SHAPES = [(1, 1, 1), (50, 41, 37), (1, 33, 64), (65, 1, 5), (32, 16, 96), (5, 7, 0)]
# Every one in float32, the first two in the smaller dtypes too.
EACH = [(shape, torch.float32) for shape in SHAPES] + [
    (shape, dtype) for shape in SHAPES[:2] for dtype in (torch.float16, torch.bfloat16)
]


def matrices(n_rows, n_cols, n_inner, dtype, device):
    generator = torch.Generator().manual_seed(n_rows + n_cols + n_inner)
    shapes = (n_rows, n_inner), (n_inner, n_cols), (n_cols,)
    return [
        torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes
    ]


@pytest.mark.parametrize(("shape", "dtype"), EACH, ids=str)
def test_kernel_agrees_with_the_reference(guarded, device, shape, dtype):
    x, y, bias = matrices(*shape, dtype, device)
    out = guarded(shape[0] * shape[1], dtype)
    output = out.output.view(shape[:2])
    for maybe in (bias, None):
        output.fill_(113)
        matmul_forward(x, y, maybe, output, tile=SMALL, group=2)
        out.check()
        assert_close(output, matmul_reference(x, y, maybe))


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (0, 0, 0)], ids=str)
def test_empty_outputs_launch_nothing(guarded, device, shape):
    x, y, bias = matrices(*shape, torch.float32, device)
    out = guarded(0, torch.float32)
    matmul_forward(x, y, bias, out.output.view(shape[:2]))
    out.check()
    assert matmul(x, y, bias=bias).shape == shape[:2]


@pytest.mark.parametrize("tile", [TILES[0], TILES[-1], None])
def test_default_tiles(guarded, device, tile):
    x, y, bias = matrices(33, 260, 70, torch.float16, device)
    out = guarded(33 * 260, torch.float16)
    output = out.output.view(33, 260)
    matmul_forward(x, y, bias, output, tile=tile)
    out.check()
    assert_close(output, matmul_reference(x, y, bias))


def test_strides_instead_of_copies(guarded, device):
    x = torch.randn(37, 80, device=device)[:, ::2].t()  # (40, 37)
    y = torch.randn(19, 37, device=device).t()
    expanded = torch.randn(1, 37, device=device).expand(40, 37)
    for left in (x, expanded):
        out = guarded(40 * 19, torch.float32)
        output = out.output.view(40, 19)
        matmul_forward(left, y, None, output, tile=SMALL)
        out.check()
        assert_close(output, left @ y)


def test_values_past_the_end_are_not_multiplied(guarded, device):
    # Infinity beside the matrices: 0 * inf would show as nan.
    memory = torch.full((64, 64), torch.inf, device=device)
    memory[:9, :5] = 1
    out = guarded(81, torch.float32)
    matmul_forward(
        memory[:9, :5], memory[:9, :5].t(), None, out.output.view(9, 9), tile=SMALL
    )
    assert out.output.tolist() == [5.0] * 81


@pytest.mark.parametrize(("x", "y"), [(200.0, 200.0), (2.0**-14, 2.0**-10)])
def test_sums_are_float32(guarded, device, x, y):
    # On the way to one product, the sums pass 32 of them: float16 ends at 65504, and
    # its smallest number is 2^-24.
    left = torch.full((16, 65), x, device=device, dtype=torch.float16)
    right = torch.full((65, 16), y, device=device, dtype=torch.float16)
    left[:, 32:64] *= -1
    out = guarded(256, torch.float16)
    matmul_forward(left, right, None, out.output.view(16, 16), tile=SMALL)
    assert out.output.tolist() == [x * y] * 256


@triton.jit
def _order_kernel(output_ptr, row_tiles, col_tiles, GROUP: tl.constexpr):  # noqa: N803
    program = tl.program_id(0)
    row, col = grouped_tile(program, row_tiles, col_tiles, GROUP)
    tl.store(output_ptr + program, row * col_tiles + col)


@pytest.mark.parametrize(("rows", "cols", "group"), [(3, 4, 2), (7, 3, 8), (5, 1, 2)])
def test_grouped_order_takes_each_tile_once(device, rows, cols, group):
    tiles = torch.full((rows * cols,), -1, device=device, dtype=torch.int32)
    _order_kernel[(rows * cols,)](tiles, rows, cols, GROUP=group)
    expected = [
        row * cols + col
        for first in range(0, rows, group)
        for col in range(cols)
        for row in range(first, min(first + group, rows))
    ]
    assert tiles.tolist() == expected


def test_tiles_leave_no_multiprocessor_idle():
    for n_rows, n_cols in [(4096, 4096), (2048, 1024), (100, 50000), (16, 1 << 20)]:
        tile = choose_tile(n_rows, n_cols)
        assert tile.programs(n_rows, n_cols) >= 132
        larger = TILES[: TILES.index(tile)]
        assert all(
            each.programs(n_rows, n_cols) < 132 or each.rows >= 2 * n_rows
            for each in larger
        )
    assert choose_tile(1, 1) == TILES[-1]


def test_float32_follows_torch(device):
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        assert float32_precision() == "tf32"
        torch.set_float32_matmul_precision("highest")
        assert float32_precision() == "ieee"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_against_float64(device, dtype):
    inputs = matrices(21, 17, 35, dtype, device)
    grad = torch.randn(21, 17, device=device).to(dtype)
    leaves = [each.clone().requires_grad_() for each in inputs]
    matmul(leaves[0], leaves[1], bias=leaves[2]).backward(grad)
    wide = [each.double().requires_grad_() for each in inputs]
    (wide[0] @ wide[1] + wide[2]).backward(grad.double())
    for leaf, expected in zip(leaves, wide, strict=True):
        assert_close(leaf.grad, expected.grad.to(dtype))


def test_backward_kernels_are_the_same_kernel_on_transposed_strides(guarded, device):
    x, y, _ = matrices(21, 17, 35, torch.float32, device)
    grad = torch.randn(21, 17, device=device)
    for left, right in ((grad, y.t()), (x.t(), grad)):
        out = guarded(len(left) * right.shape[1], torch.float32)
        output = out.output.view(len(left), -1)
        matmul_forward(left, right, None, output, tile=SMALL)
        out.check()
        assert_close(output, left @ right)


def test_bad_arguments_are_refused_by_name(device):
    x, y, bias = matrices(3, 4, 5, torch.float32, device)
    for arguments, sentence in [
        ((x[0], y, None), r"x must be a matrix, got shape \(5,\); reshape it"),
        ((x, y[:4], None), r"y must be a matrix with 5 rows, .*, got shape \(4, 4\)"),
        ((x, y, bias[:3]), r"bias must have 4 elements, .*, got shape \(3,\)"),
        ((x, y.half(), None), r"y must have the dtype of x, torch.float32, got .*16"),
        ((x, y, bias.to("meta")), r"bias must have the device of x, .*, got meta"),
    ]:
        with pytest.raises(ValueError, match=f"^{sentence}"):
            matmul(*arguments[:2], bias=arguments[2])
    with pytest.raises(TypeError, match=r"^x must have one of .*, got torch\.float64"):
        matmul(x.double(), y.double())
