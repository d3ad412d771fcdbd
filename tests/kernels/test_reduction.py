import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels.reduction import (
    DTYPES,
    PROGRAMS,
    _config,
    sum_all,
    sum_rows,
    sum_rows_forward,
)

RTOL = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 1e-6}
SHAPES = [(0, 3), (3, 0), (1, 1), (7, 1), (1, 1000), (5, 33), (3, 129)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("config", [None, (2, 32, 2)], ids=["chosen", "small"])
def test_kernel_agrees_with_a_sum_in_float64(guarded, device, shape, dtype, config):
    generator = torch.Generator().manual_seed(shape[1])
    x = torch.randn(shape, generator=generator).to(device, dtype)
    out = guarded(shape[0], dtype)
    sum_rows_forward(x, out.output, config=config)
    out.check()
    wanted = x.double().sum(-1).to(dtype)
    torch.testing.assert_close(out.output, wanted, rtol=RTOL[dtype], atol=1e-5)


@pytest.mark.parametrize("n_cols", [4, 5, 17, 64, 65])
def test_as_many_stages_as_the_length_needs(guarded, device, n_cols):
    # A chunk of four columns: 65 columns take 17, 5, 2 and 1 numbers.
    x = torch.arange(2.0 * n_cols, device=device).reshape(2, n_cols)
    out = guarded(2, torch.float32)
    sum_rows_forward(x, out.output, config=(1, 2, 2))
    out.check()
    assert out.output.tolist() == x.sum(-1).tolist()


def test_16_bit_numbers_are_held_in_float32_between_the_stages(guarded, device):
    # In float16, 2048 + 1 is 2048: the sum would stop there.
    x = torch.ones(1, 6000, dtype=torch.float16, device=device)
    out = guarded(1, torch.float16)
    sum_rows_forward(x, out.output)
    assert out.output.tolist() == [6000.0]


def test_error_grows_slower_than_that_of_a_sum_in_order(guarded, device):
    x = torch.full((1, 100_000), 0.1, device=device)
    out = guarded(1, torch.float32)
    sum_rows_forward(x, out.output)
    exact = float(x.double().sum())
    in_order = float(np.cumsum(x.cpu().numpy(), dtype=np.float32)[-1])
    error = abs(float(out.output) - exact)
    assert error <= 1e-6 * exact
    assert error < abs(in_order - exact)


@pytest.mark.parametrize(
    ("shape", "config"),
    {
        (1, 1000): (4, 1024, 1),
        (4096, 64): (64, 64, 1),
        (1, 2**20): (1, 4096, 1),
        (1, 2**23): (1, 4096, 4),
        (1, 2**30): (1, 4096, 16),
        (2**20, 1): (4096, 1, 1),
    }.items(),
)
def test_configuration_leaves_enough_programs(shape, config):
    assert _config(*shape) == config
    rows, cols, n_blocks = config
    programs = -(-shape[0] // rows) * -(-shape[1] // (cols * n_blocks))
    assert n_blocks == 1 or programs >= PROGRAMS


# The public functions, on the CPU and on a GPU alike.


@pytest.mark.parametrize("shape", [(0,), (4,), (2, 3, 5), (2, 0, 4), (2, 4, 0)])
def test_shapes(device, shape):
    x = torch.ones(shape, device=device)
    assert torch.equal(sum_rows(x), x.sum(-1))
    assert torch.equal(sum_all(x), x.sum())
    assert torch.equal(sum_all(x[..., ::2]), x[..., ::2].sum())


@pytest.mark.parametrize("function", [sum_rows, sum_all])
def test_gradient_of_a_sum_is_one_everywhere(device, function):
    x = torch.rand(3, 4, device=device, requires_grad=True)
    total = function(x.t())
    weight = torch.rand_like(total)
    (total * weight).sum().backward()
    assert torch.equal(x.grad, weight.expand(3, 4) if weight.dim() else 0 * x + weight)


@pytest.mark.filterwarnings("default")
def test_operator_is_registered_as_torch_requires(device):
    x = torch.rand(4, 6, device=device, requires_grad=True)[:, ::2]
    torch.library.opcheck(torch.ops.mlopt.sum_rows.default, (x,))


@pytest.mark.filterwarnings("default")
def test_compiles_as_one_graph(device):
    compiled = torch.compile(
        lambda x: 2 * sum_all(sum_rows(x)), backend="aot_eager", fullgraph=True
    )
    x = torch.rand(3, 7, device=device, requires_grad=True)
    actual = compiled(x)
    torch.testing.assert_close(actual, 2 * x.sum())
    actual.backward()
    assert torch.equal(x.grad, torch.full_like(x, 2.0))


def test_bad_arguments_are_refused_by_name(device):
    with pytest.raises(TypeError, match=r"^x must have one of .*, got torch\.int64"):
        sum_all(torch.ones(2, dtype=torch.int64, device=device))
    with pytest.raises(ValueError, match=r"^x must have at least 1 dimension, got 0"):
        sum_rows(torch.ones((), device=device))
