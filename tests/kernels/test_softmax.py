import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels.softmax import (
    DTYPES,
    MAX_COLS,
    _config,
    softmax,
    softmax_backward,
    softmax_forward,
)

# The interpreter cuts bfloat16 off where a GPU rounds: one unit in the last place.
RTOL = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 2e-6}
SHAPES = [(0, 3), (3, 0), (1, 1), (7, 1), (1, 300), (5, 65)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("config", [None, (2, 64)], ids=["chosen", "online"])
def test_kernels_agree_with_float64(guarded, device, shape, dtype, config):
    generator = torch.Generator().manual_seed(shape[1])
    x, grad = 3 * torch.randn(2, *shape, generator=generator).to(device, dtype)
    exact = x.double().requires_grad_()
    wanted = exact.softmax(-1)
    out = guarded(x.numel(), dtype)
    softmax_forward(x, out.output.view(shape), config=config)
    out.check()
    rtol, actual = RTOL[dtype], out.output.view(shape)
    torch.testing.assert_close(actual.double(), wanted, rtol=rtol, atol=1e-7)

    (wanted_grad,) = torch.autograd.grad(wanted, exact, grad.double())
    out = guarded(x.numel(), dtype)
    softmax_backward(grad, actual, out.output.view(shape), config=config)
    out.check()
    actual_grad = out.output.view(shape).double()
    torch.testing.assert_close(actual_grad, wanted_grad, rtol=rtol, atol=4 * rtol)


@pytest.mark.parametrize("config", [None, (2, 2)], ids=["chosen", "online"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_large_and_infinite_logits(guarded, device, config):
    inf, nan = torch.inf, torch.nan
    x = torch.tensor(
        [
            [1e30, 1e30, -1e30, 0.0, 1e30],
            [-inf, -inf, -inf, 2.0, 2.0],
            [-inf, -inf, -inf, -inf, -inf],
            [0.0, inf, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, nan],
        ],
        device=device,
    )
    out = guarded(25, torch.float32)
    softmax_forward(x, out.output.view(5, 5), config=config)
    out.check()
    wanted = x.softmax(-1)
    actual = out.output.view(5, 5)
    # torch's row of NaN is NaN everywhere, also beside the +inf.
    assert torch.equal(actual.isnan().any(-1), wanted.isnan().any(-1))
    torch.testing.assert_close(actual[:2], wanted[:2])


def test_every_block_may_raise_the_maximum(guarded, device):
    x = torch.arange(20.0, device=device).repeat(2, 1)
    x[1] = -x[1]
    out = guarded(40, torch.float32)
    softmax_forward(x, out.output.view(2, 20), config=(2, 4))
    torch.testing.assert_close(out.output.view(2, 20), x.softmax(-1))


def test_long_rows_are_read_in_blocks():
    assert _config(MAX_COLS) == (1, MAX_COLS)
    assert _config(MAX_COLS + 1) == (1, 4096)
    assert _config(100) == (32, 128)


# The public function, on the CPU and on a GPU alike.


@pytest.mark.parametrize("shape", [(0,), (4,), (2, 3, 5), (2, 0, 4), (2, 4, 0)])
def test_shapes(device, shape):
    x = torch.rand(shape, device=device)
    torch.testing.assert_close(softmax(x), x.softmax(-1))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradient_against_float64(device, dtype):
    x, grad = torch.randn(2, 3, 4, 5, device=device).to(dtype)
    x = x.transpose(0, 1)
    x.requires_grad_()
    exact = x.detach().double().requires_grad_()
    softmax(x).backward(grad.transpose(0, 1))
    exact.softmax(-1).backward(grad.transpose(0, 1).double())
    rtol = RTOL[dtype]
    torch.testing.assert_close(x.grad.double(), exact.grad, rtol=rtol, atol=4 * rtol)


@pytest.mark.filterwarnings("default")
def test_operators_are_registered_as_torch_requires(device):
    x = torch.rand(4, 6, device=device, requires_grad=True)[:, ::2]
    torch.library.opcheck(torch.ops.mlopt.softmax.default, (x,))
    x = x.detach()
    torch.library.opcheck(torch.ops.mlopt.softmax_backward.default, (x, x.contiguous()))


@pytest.mark.filterwarnings("default")
def test_compiles_as_one_graph(device):
    compiled = torch.compile(
        lambda x: softmax(x).square().sum(), backend="aot_eager", fullgraph=True
    )
    x = torch.rand(3, 7, device=device, requires_grad=True)
    (actual,) = torch.autograd.grad(compiled(x), x)
    (wanted,) = torch.autograd.grad(x.softmax(-1).square().sum(), x)
    torch.testing.assert_close(actual, wanted)


def test_bad_arguments_are_refused_by_name(device):
    with pytest.raises(TypeError, match=r"^x must have one of .*, got torch\.int64"):
        softmax(torch.ones(2, dtype=torch.int64, device=device))
    with pytest.raises(ValueError, match=r"^x must have at least 1 dimension, got 0"):
        softmax(torch.ones((), device=device))
