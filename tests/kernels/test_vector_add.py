import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels import vector_add, vector_add_reference
from mlopt_kernels._triton import tl, triton
from mlopt_kernels.vector_add import DTYPES, vector_add_forward

SIZES = [0, 1, 2, 127, 128, 129, 1000, 1024, 4099]


def pair(n_elements, dtype, device):
    generator = torch.Generator().manual_seed(n_elements)
    return (
        (100 * torch.randn(n_elements, generator=generator)).to(device, dtype)
        for _ in range(2)
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_elements", SIZES)
def test_kernel_agrees_with_the_reference(guarded, device, n_elements, dtype):
    x, y = pair(n_elements, dtype, device)
    out = guarded(n_elements, dtype)
    vector_add_forward(x, y, out.output, block_size=128)
    out.check()
    # The interpreter cuts bfloat16 off where a GPU rounds: one unit in the last place.
    rtol = 2**-7 if dtype == torch.bfloat16 and device == "cpu" else 0
    torch.testing.assert_close(
        out.output, vector_add_reference(x, y), rtol=rtol, atol=0
    )


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
def test_integers_are_not_rounded_through_float32(guarded, device, dtype):
    x = torch.tensor([2**24 + 1, -(2**30)], dtype=dtype, device=device)
    out = guarded(2, dtype)
    vector_add_forward(x, torch.ones_like(x), out.output)
    assert out.output.tolist() == [2**24 + 2, 1 - 2**30]


@pytest.mark.filterwarnings("ignore:.*encountered in add:RuntimeWarning")
def test_special_values_pass(guarded, device):
    x = torch.tensor([torch.inf, -torch.inf, torch.nan, 3e38, -0.0], device=device)
    y = torch.tensor([1.0, torch.inf, 1.0, 3e38, -0.0], device=device)
    out = guarded(5, torch.float32)
    vector_add_forward(x, y, out.output)
    torch.testing.assert_close(
        out.output, vector_add_reference(x, y), rtol=0, atol=0, equal_nan=True
    )
    assert out.output[4].signbit()


@triton.jit
def _unmasked_kernel(x_ptr, y_ptr, output_ptr, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    total = tl.load(x_ptr + offsets) + tl.load(y_ptr + offsets)
    tl.store(output_ptr + offsets, total)


def test_guard_zones_catch_a_missing_mask(guarded, device):
    x, y, out = (guarded(100, torch.float32) for _ in range(3))
    _unmasked_kernel[(1,)](x.output, y.output, out.output, BLOCK_SIZE=128)
    torch.testing.assert_close(out.output, x.output + y.output)
    with pytest.raises(AssertionError, match="28 elements written after the output"):
        out.check()


# The public function, on the CPU and on a GPU alike.


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (2, 0, 4), (1025,)])
def test_shapes(device, shape):
    x, y = torch.full(shape, 2.0, device=device), torch.ones(shape, device=device)
    actual = vector_add(x, y)
    assert actual.shape == shape
    assert torch.equal(actual, torch.full(shape, 3.0, device=device))


def test_non_contiguous_inputs(device):
    x = torch.arange(12.0, device=device).reshape(3, 4).t()
    y = torch.arange(24.0, device=device).reshape(4, 6)[:, ::2]
    actual = vector_add(x, y)
    assert actual.is_contiguous()
    assert torch.equal(actual, x + y)


def test_inputs_are_not_written_and_the_result_is_new(device):
    x, y = torch.ones(3, device=device), torch.ones(3, device=device)
    vector_add(x, y).zero_()
    assert x.tolist() == y.tolist() == [1.0] * 3


def test_gradients_against_finite_differences(device):
    x, y = (torch.rand(5, dtype=torch.float64, device=device) for _ in range(2))
    torch.autograd.gradcheck(vector_add, (x.requires_grad_(), y.requires_grad_()))
    x = torch.ones(2, device=device, requires_grad=True)
    vector_add(x, x).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("requires_grad", [False, True])
def test_operator_is_registered_as_torch_requires(device, requires_grad):
    strided = torch.rand(4, 6, device=device)[:, ::2]
    for x in (torch.rand(3, device=device), torch.rand(0, device=device), strided):
        inputs = [value.clone().requires_grad_(requires_grad) for value in (x, x)]
        torch.library.opcheck(torch.ops.mlopt.vector_add.default, inputs)
    torch.library.opcheck(torch.ops.mlopt.vector_add.default, (strided, strided))


@pytest.mark.filterwarnings("default")
def test_compiles_as_one_graph(device):
    def doubled_sum(x, y):
        return 2 * vector_add(x, y)

    compiled = torch.compile(doubled_sum, backend="aot_eager", fullgraph=True)
    x, y = (torch.rand(7, device=device, requires_grad=True) for _ in range(2))
    actual = compiled(x, y)
    torch.testing.assert_close(actual, 2 * (x + y))
    actual.sum().backward()
    assert x.grad.tolist() == y.grad.tolist() == [2.0] * 7


def test_bad_arguments_are_refused_by_name(device):
    x = torch.ones(2, device=device)
    for y, sentence in {
        torch.ones(3, device=device): r"y must have the shape of x, .*\[2\].*\[3\]",
        x.double(): r"y must have the dtype of x, torch.float32, got torch.float64",
        x.to("meta"): r"y must have the device of x, .*, got meta",
    }.items():
        with pytest.raises(ValueError, match=f"^{sentence}"):
            vector_add(x, y)
    with pytest.raises(TypeError, match=r"^x must have one of .*, got torch\.bool"):
        vector_add(x.bool(), x.bool())


def test_without_triton_the_reference_works_and_a_launch_says_what_is_missing():
    program = """
import sys
import torch
sys.modules["triton"] = None
import importlib.util
importlib.util.find_spec = lambda name, package=None: None
from mlopt_kernels import vector_add
from mlopt_kernels.vector_add import vector_add_forward
x = torch.ones(3)
print(vector_add(x, x).tolist())
try:
    vector_add_forward(x, x, x)
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    result, sentence = done.stdout.splitlines()
    assert result == "[2.0, 2.0, 2.0]"
    assert sentence.startswith("triton must be installed to launch a kernel")
