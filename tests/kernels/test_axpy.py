import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels.axpy import DTYPES, axpy, axpy_forward, axpy_reference

# The interpreter cuts bfloat16 off where a GPU rounds: one unit in the last place.
# A GPU rounds once where it fuses the product with the sum.
RTOL = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 2**-22}


@pytest.mark.parametrize("alpha", [0.0, 1.0, -2.5, 1 / 3])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_elements", [0, 1, 127, 128, 1000])
def test_kernel_agrees_with_the_reference(guarded, device, n_elements, dtype, alpha):
    generator = torch.Generator().manual_seed(n_elements)
    x, y = torch.randn(2, n_elements, generator=generator).to(device, dtype)
    out = guarded(n_elements, dtype)
    axpy_forward(x, y, out.output, alpha=alpha, block_size=128)
    out.check()
    wanted = axpy_reference(x, y, alpha=alpha)
    rtol = RTOL.get(dtype, 2**-51)
    torch.testing.assert_close(out.output, wanted, rtol=rtol, atol=rtol)


def test_alpha_keeps_the_digits_of_float64(guarded, device):
    alpha, x = 1 + 2**-40, torch.ones(3, dtype=torch.float64, device=device)
    out = guarded(3, torch.float64)
    axpy_forward(x, -x, out.output, alpha=alpha)
    assert out.output.tolist() == [2**-40] * 3


# The public function, on the CPU and on a GPU alike.


@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (2, 0, 4)])
def test_shapes(device, shape):
    x = torch.full(shape, 2.0, device=device)
    assert torch.equal(axpy(x, x, alpha=0.5), torch.full(shape, 3.0, device=device))


def test_non_contiguous_inputs(device):
    x = torch.arange(12.0, device=device).reshape(3, 4).t()
    y = torch.arange(24.0, device=device).reshape(4, 6)[:, ::2]
    actual = axpy(x, y, alpha=2.0)
    assert actual.is_contiguous()
    assert torch.equal(actual, 2 * x + y)


def test_gradients_against_finite_differences(device):
    x, y = (torch.rand(5, dtype=torch.float64, device=device) for _ in range(2))
    torch.autograd.gradcheck(
        lambda x, y: axpy(x, y, alpha=-1.5), (x.requires_grad_(), y.requires_grad_())
    )


@pytest.mark.filterwarnings("default")
def test_operator_is_registered_as_torch_requires(device):
    x = torch.rand(4, 6, device=device, requires_grad=True)[:, ::2]
    torch.library.opcheck(torch.ops.mlopt.axpy.default, (x, x, 0.5))


@pytest.mark.filterwarnings("default")
def test_compiles_as_one_graph(device):
    compiled = torch.compile(
        lambda x, y: 2 * axpy(x, y, alpha=3.0), backend="aot_eager", fullgraph=True
    )
    x, y = (torch.rand(7, device=device, requires_grad=True) for _ in range(2))
    actual = compiled(x, y)
    torch.testing.assert_close(actual, 2 * (3 * x + y))
    actual.sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([6.0] * 7, [2.0] * 7)


def test_bad_arguments_are_refused_by_name(device):
    x = torch.ones(2, device=device)
    for y, sentence in {
        torch.ones(3, device=device): r"y must have the shape of x, .*\[2\].*\[3\]",
        x.double(): r"y must have the dtype of x, torch.float32, got torch.float64",
        x.to("meta"): r"y must have the device of x, .*, got meta",
    }.items():
        with pytest.raises(ValueError, match=f"^{sentence}"):
            axpy(x, y, alpha=1.0)
    with pytest.raises(TypeError, match=r"^x must have one of .*, got torch\.int64"):
        axpy(x.long(), x.long(), alpha=1.0)
