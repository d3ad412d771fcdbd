import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels.block_sparse_matmul import (
    DTYPES,
    block_sparse,
    block_sparse_backward_reference,
    block_sparse_matmul,
    block_sparse_matmul_backward,
    block_sparse_matmul_forward,
    block_sparse_matmul_reference,
    by_column,
)

from .close import assert_close

# rows, channels, columns, size of a block, share of the blocks kept
CASES = [
    (21, 75, 90, 16, 0.4),
    (1, 1, 1, 16, 1.0),
    (33, 64, 40, 32, 0.5),
    (4, 20, 33, 16, 0.0),
    (17, 16, 48, 16, 1.0),
]
# Every one in float32, the first two in the smaller dtypes too.
EACH = [(case, torch.float32) for case in CASES] + [
    (case, dtype) for case in CASES[:2] for dtype in (torch.float16, torch.bfloat16)
]


def layer(n_rows, n_cols, n_inner, block, share, dtype, device):
    """Return x, a gradient, and a weight with an empty row and column of blocks."""
    generator = torch.Generator().manual_seed(n_rows + n_cols + n_inner)
    x, grad, weight = (
        torch.randn(shape, generator=generator).to(device, dtype)
        for shape in ((n_rows, n_inner), (n_rows, n_cols), (n_cols, n_inner))
    )
    grid = -(-n_cols // block), -(-n_inner // block)
    kept = (torch.rand(grid, generator=generator) < share).to(device)
    if share == 0.4:
        kept[2] = False
        kept[:, 1] = False
    mask = kept.repeat_interleave(block, 0).repeat_interleave(block, 1)
    return x, grad, weight * mask[:n_cols, :n_inner]


@pytest.mark.parametrize(("case", "dtype"), EACH, ids=str)
def test_kernel_agrees_with_the_dense_product(guarded, device, case, dtype):
    x, _, weight = layer(*case, dtype, device)
    n_rows, n_cols, _, block, _ = case
    blocks = block_sparse(weight, block_size=block)
    out = guarded(n_rows * n_cols, dtype)
    output = out.output.view(n_rows, n_cols)
    block_sparse_matmul_forward(x, *blocks, output, block_rows=16)
    out.check()
    assert_close(output, block_sparse_matmul_reference(x, *blocks, n_cols))
    assert_close(output, (x.double() @ weight.double().t()).to(dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_backward_kernels_agree_with_float64(guarded, device, dtype):
    x, grad, weight = layer(*CASES[0], dtype, device)
    values, columns, starts = block_sparse(weight, block_size=16)
    order, rows, column_starts, block_rows = by_column(columns, starts, 6)
    out_x, out_values = guarded(x.numel(), dtype), guarded(values.numel(), dtype)
    grad_x, grad_values = out_x.output.view_as(x), out_values.output.view_as(values)
    block_sparse_matmul_forward(
        grad, values.mT, rows, column_starts, grad_x, order=order
    )
    block_sparse_matmul_backward(grad, x, columns, block_rows, grad_values, rows=16)
    out_x.check()
    out_values.check()
    wide = [each.double().requires_grad_() for each in (x, values)]
    output = block_sparse_matmul_reference(*wide, columns, starts, 75)
    expected = torch.autograd.grad(output, wide, grad.double())
    reference = block_sparse_backward_reference(grad, x, values, columns, starts)
    for actual, wanted, ours in zip(
        (grad_x, grad_values), expected, reference, strict=True
    ):
        assert_close(actual, wanted.to(dtype))
        assert_close(ours, wanted.to(dtype))


@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta")
def test_blocks_as_torch_stores_them(device):
    _, _, weight = layer(1, 64, 96, 16, 0.4, torch.float32, device)
    wanted = weight.to_sparse_bsr((16, 16))
    values, columns, starts = block_sparse(weight, block_size=16)
    assert torch.equal(values, wanted.values())
    assert torch.equal(columns.long(), wanted.col_indices())
    assert torch.equal(starts.long(), wanted.crow_indices())


def test_empty_blocks_are_not_read(guarded, device):
    x, _, weight = layer(*CASES[0], torch.float32, device)
    values, columns, starts = block_sparse(weight, block_size=16)
    unused = torch.full_like(values[:1], torch.nan)
    x[:, 16:32] = torch.nan  # the empty column of blocks
    out = guarded(21 * 75, torch.float32)
    output = out.output.view(21, 75)
    block_sparse_matmul_forward(x, torch.cat([values, unused]), columns, starts, output)
    assert output.isfinite().all()
    assert output[:, 32:48].abs().max() == 0  # and the empty row


def test_columns_past_the_end_are_not_the_next_row(guarded, device):
    x, _, weight = layer(2, 16, 5, 16, 1.0, torch.float32, device)
    x[1] = torch.nan
    out = guarded(32, torch.float32)
    output = out.output.view(2, 16)
    block_sparse_matmul_forward(x, *block_sparse(weight, block_size=16), output)
    out.check()
    assert output[0].isfinite().all()
    assert output[1].isnan().all()


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (5, 4, 0)], ids=str)
def test_empty(device, shape):
    x, _, weight = layer(*shape, 16, 1.0, torch.float32, device)
    values, columns, starts = block_sparse(weight, block_size=16)
    output = block_sparse_matmul(
        x, values, columns=columns, starts=starts, n_cols=shape[1]
    )
    assert torch.equal(output, torch.zeros(shape[:2], device=device))


def test_gradients_of_the_public_function(device):
    x, grad, weight = layer(*CASES[0], torch.float32, device)
    values, columns, starts = block_sparse(weight, block_size=16)
    strided = x.t().contiguous().t().requires_grad_()
    values.requires_grad_()
    block_sparse_matmul(
        strided, values, columns=columns, starts=starts, n_cols=75
    ).backward(grad)
    assert_close(strided.grad, (grad.double() @ weight.double()).float())
    dense = grad.double().t() @ x.double()
    pieces = block_sparse(dense * (weight != 0), block_size=16)[0]
    assert_close(values.grad, pieces.float())


def test_bad_arguments_are_refused_by_name(device):
    x, _, weight = layer(*CASES[0], torch.float32, device)
    values, columns, starts = block_sparse(weight, block_size=16)

    def refused(error, sentence, **changes):
        inputs = {"x": x, "values": values, "columns": columns, "starts": starts}
        with pytest.raises(error, match=f"^{sentence}"):
            block_sparse_matmul(**inputs | {"n_cols": 75} | changes)

    refused(TypeError, "x must have one of .*, got torch.float64", x=x.double())
    refused(TypeError, "starts must be torch.int32, got .*64", starts=starts.long())
    refused(ValueError, "x must be a matrix", x=x[0])
    refused(ValueError, "values must be square blocks .*16, 8", values=values[..., :8])
    refused(ValueError, "values must be square blocks", values=values[:, :8, :8])
    refused(ValueError, "columns must have one index", columns=columns[1:])
    refused(ValueError, "starts must have ceil.* for n_cols = 90", n_cols=90)
    refused(ValueError, "values must have the dtype of x", values=values.half())
    refused(ValueError, "columns must be on the device", columns=columns.to("meta"))
