import pytest
import torch
from torch.nn import functional

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels.layer_norm import (
    DTYPES,
    MAX_COLS,
    layer_norm,
    layer_norm_backward,
    layer_norm_forward,
    sum_columns,
)

# The interpreter cuts bfloat16 off where a GPU rounds: one unit in the last place.
RTOL = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 1e-5}
SHAPES = [(9, 1), (1, 300), (7, 33), (20, 64)]


def exact(x, weight, bias, eps):
    """Return the output in float64, and the inputs whose gradients torch knows."""
    inputs = [value.detach().double().requires_grad_() for value in (x, weight, bias)]
    return functional.layer_norm(inputs[0], x.shape[-1:], *inputs[1:], eps), inputs


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("config", [None, (2, 512, 2)], ids=["chosen", "shared"])
def test_kernels_agree_with_float64(guarded, device, shape, dtype, config):
    (n_rows, n_cols), eps = shape, 1e-3
    generator = torch.Generator().manual_seed(n_cols)
    x, grad = torch.randn(2, *shape, generator=generator).to(device, dtype)
    weight, bias = torch.randn(2, n_cols, generator=generator).to(device, dtype)
    wanted, inputs = exact(x, weight, bias, eps)
    rtol = RTOL[dtype]
    out = guarded(x.numel(), dtype)
    mean, rstd = (guarded(n_rows, torch.float32) for _ in range(2))
    layer_norm_forward(
        x,
        weight,
        bias,
        out.output.view(shape),
        mean.output,
        rstd.output,
        eps=eps,
        config=config,
    )
    for memory in (out, mean, rstd):
        memory.check()
    torch.testing.assert_close(
        out.output.view(shape).double(), wanted, rtol=rtol, atol=rtol
    )

    grads = [guarded(value.numel(), dtype) for value in inputs]
    layer_norm_backward(
        grad,
        x,
        weight,
        mean.output,
        rstd.output,
        grads[0].output.view(shape),
        *(value.output for value in grads[1:]),
        config=config,
    )
    wanted_grads = torch.autograd.grad(wanted, inputs, grad.double())
    for actual, wanted_grad in zip(grads, wanted_grads, strict=True):
        actual.check()
        actual_grad = actual.output.view(wanted_grad.shape).double()
        torch.testing.assert_close(actual_grad, wanted_grad, rtol=rtol, atol=8 * rtol)


def test_rows_are_shared_by_programs_and_their_sums_meet(guarded, device):
    # 11 rows in programs of 2 * 2: three rows of partial sums, the last one short.
    x = torch.randn(11, 5, device=device)
    grads = [guarded(n, torch.float32) for n in (55, 5, 5)]
    ones, zeros = torch.ones(11, device=device), torch.zeros(11, device=device)
    layer_norm_backward(
        torch.ones_like(x),
        x,
        torch.ones(5, device=device),
        zeros,
        ones,
        grads[0].output.view(11, 5),
        *(value.output for value in grads[1:]),
        config=(2, 8, 2),
    )
    torch.testing.assert_close(grads[1].output, x.sum(0))
    assert grads[2].output.tolist() == [11.0] * 5


def test_second_stage_adds_any_number_of_rows(guarded, device):
    # Blocks of 64 rows and 32 columns, both with a rest.
    partial = torch.arange(150 * 45.0, device=device).view(150, 45)
    out = guarded(45, torch.float32)
    sum_columns(partial, out.output)
    out.check()
    assert out.output.tolist() == partial.sum(0).tolist()


def test_a_large_mean_does_not_cancel_the_variance(guarded, device):
    # mean(x^2) - mean(x)^2 would be 0 or less: float32 has seven digits.
    x = 10_000 + torch.arange(4.0, device=device).view(1, 4)
    out = guarded(4, torch.float32)
    mean, rstd = torch.empty(1, device=device), torch.empty(1, device=device)
    weight, bias = torch.ones(4, device=device), torch.zeros(4, device=device)
    layer_norm_forward(x, weight, bias, out.output.view(1, 4), mean, rstd, eps=1e-5)
    wanted = (torch.arange(4.0) - 1.5) / (1.25 + 1e-5) ** 0.5
    torch.testing.assert_close(out.output.cpu(), wanted)


def test_no_rows_have_gradient_zero(guarded, device):
    empty = torch.empty(0, 3, device=device)
    grads = [guarded(3, torch.float32) for _ in range(2)]
    layer_norm_backward(
        empty, empty, empty, empty, empty, empty, *(value.output for value in grads)
    )
    assert [value.output.tolist() for value in grads] == [[0.0] * 3] * 2


# The public function, on the CPU and on a GPU alike.


def drawn(shape, device, dtype=torch.float32):
    torch.manual_seed(0)
    values = (torch.randn(shape), torch.randn(shape[-1]), torch.randn(shape[-1]))
    return [value.to(device, dtype).requires_grad_() for value in values]


@pytest.mark.parametrize("shape", [(4,), (2, 3, 5), (2, 0, 4)])
def test_shapes(device, shape):
    inputs = drawn(shape, device)
    wanted = functional.layer_norm(inputs[0], shape[-1:], *inputs[1:], 1e-2)
    torch.testing.assert_close(layer_norm(*inputs, eps=1e-2), wanted)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_against_float64(device, dtype):
    inputs = drawn((3, 4, 5), device, dtype)
    output = layer_norm(inputs[0].transpose(0, 1), *inputs[1:], eps=1e-3)
    grad = torch.randn_like(output).transpose(1, 2).contiguous().transpose(1, 2)
    wanted, exact_inputs = exact(*inputs, 1e-3)
    wanted_grads = torch.autograd.grad(
        wanted, exact_inputs, grad.transpose(0, 1).double()
    )
    grads = torch.autograd.grad(output, inputs, grad)
    rtol = RTOL[dtype]
    for actual, wanted_grad in zip(grads, wanted_grads, strict=True):
        assert actual.dtype == dtype
        torch.testing.assert_close(
            actual.double(), wanted_grad, rtol=rtol, atol=8 * rtol
        )


@pytest.mark.filterwarnings("default")
def test_operators_are_registered_as_torch_requires(device):
    inputs = drawn((4, 3), device)
    torch.library.opcheck(torch.ops.mlopt.layer_norm.default, (*inputs, 1e-5))
    x, weight = inputs[0].detach(), inputs[1].detach()
    row = torch.ones(4, device=device)
    torch.library.opcheck(
        torch.ops.mlopt.layer_norm_backward.default, (x, x, weight, row, row)
    )


@pytest.mark.filterwarnings("default")
def test_compiles_as_one_graph(device):
    compiled = torch.compile(
        lambda *inputs: layer_norm(*inputs).square().sum(),
        backend="aot_eager",
        fullgraph=True,
    )
    inputs = drawn((3, 7), device)
    grads = torch.autograd.grad(compiled(*inputs), inputs)
    wanted = torch.autograd.grad(layer_norm(*inputs).square().sum(), inputs)
    torch.testing.assert_close(grads, wanted)


def test_bad_arguments_are_refused_by_name(device):
    x, *parameters = drawn((2, 3), device)
    weight = parameters[0]
    rest = parameters[1:]
    for bad, sentence in {
        weight[:2]: r"weight must have the shape \(3,\), got \(2,\)",
        weight.double(): "weight must have the dtype of x, .*float32, got .*float64",
        weight.to("meta"): "weight must have the device of x, .*, got meta",
    }.items():
        with pytest.raises(ValueError, match=f"^{sentence}"):
            layer_norm(x, bad, *rest)
    with pytest.raises(ValueError, match=r"^eps must be above 0, got 0\.0"):
        layer_norm(x, *parameters, eps=0.0)
    for shape in [(), (2, 0), (1, MAX_COLS + 1)]:
        with pytest.raises(ValueError, match=r"^x must have a last dimension from 1 "):
            layer_norm(torch.ones(shape, device=device), *parameters)
    with pytest.raises(TypeError, match=r"^x must have one of .*, got torch\.float64"):
        layer_norm(x.double(), *parameters)
