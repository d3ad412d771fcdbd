"""The operators of the matrix kernels, as torch.library wants them.

What is registered for a GPU is called in the interpreter on the CPU, as in
test_registrations.py.
"""

import contextlib
import importlib

import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels.attention import attention
from mlopt_kernels.block_sparse_matmul import block_sparse, block_sparse_matmul
from mlopt_kernels.int4_matmul import int4_matmul
from mlopt_kernels.int8_matmul import int8_matmul
from mlopt_kernels.matmul import matmul
from mlopt_kernels.sparse24 import sparse24_compress, sparse24_matmul

from .conftest import DEVICE, ON_GPU


def drawn(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator).to(DEVICE)


X = drawn(16, 5).t()  # 5 rows of 16, not contiguous
CODES = (10 * drawn(3, 16)).to(torch.int8)
SCALES = drawn(5).abs(), drawn(3).abs()
PACKED = (50 * drawn(3, 8)).abs().to(torch.uint8)
GROUPS = drawn(3, 1), torch.full((3, 1), 7, device=DEVICE, dtype=torch.uint8)
BLOCKS = block_sparse(drawn(20, 16), block_size=16)
HEADS = [drawn(2, 1, rows, 16).transpose(0, 1) for rows in (3, 4, 5)]
SUMS = drawn(1, 2, 3), drawn(1, 2, 3, 16)  # lse, and the output that belongs to it

CASES = {
    "matmul": ("matmul", "matmul", (X, drawn(3, 16).t(), drawn(6)[::2])),
    "matmul without bias": ("matmul", "matmul", (X, drawn(16, 3), None)),
    "int8_matmul": (
        "int8_matmul",
        "int8_matmul",
        ((9 * X).to(torch.int8), CODES, *SCALES, None, torch.float16),
    ),
    "int8_matmul to int8": (
        "int8_matmul",
        "int8_matmul",
        ((9 * X).to(torch.int8), CODES, *SCALES, SCALES[0][0], torch.float32),
    ),
    "int4_matmul": ("int4_matmul", "int4_matmul", (X, PACKED, *GROUPS)),
    "sparse24_compress": ("sparse24", "sparse24_compress", (X,)),
    "sparse24_matmul": ("sparse24", "sparse24_matmul", (X, *sparse24_compress(X))),
    "block_sparse_matmul": ("block_sparse_matmul", "block_sparse", (X, *BLOCKS, 20)),
    "block_sparse_matmul backward": (
        "block_sparse_matmul",
        "block_sparse_backward",
        (drawn(20, 5).t(), X, *BLOCKS),
    ),
    "attention": ("attention", "attention", (*HEADS[:2], HEADS[1], True, 0.3)),
    "attention backward": (
        "_attention_backward",
        "attention_backward",
        (SUMS[1], *HEADS[:2], HEADS[1], SUMS[1], SUMS[0] + 2, False, 0.3),
    ),
}


@pytest.mark.skipif(ON_GPU, reason="the other tests run the operators on it")
@pytest.mark.parametrize(("module", "name", "inputs"), CASES.values(), ids=CASES)
def test_both_halves_of_an_operator_agree(module, name, inputs, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    # By its path: the package's attribute of that name is the public function.
    file = importlib.import_module(f"mlopt_kernels.{module}")
    actual = getattr(file, f"_{name}_cuda")(*inputs)
    wanted = getattr(torch.ops.mlopt, name)(*inputs)
    rtol = 1e-3 if wanted[0].dtype == torch.float16 else 1e-5
    torch.testing.assert_close(actual, wanted, rtol=rtol, atol=1e-5)
    for tensor in actual if isinstance(actual, tuple) else (actual,):
        assert tensor.is_contiguous()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("module", "name", "inputs"), CASES.values(), ids=CASES)
def test_operator_is_registered_as_torch_requires(module, name, inputs):
    operator = getattr(torch.ops.mlopt, name).default
    # With sizes that change is test_compiles_as_one_graph's, at a tenth of the time.
    tests = "test_schema", "test_autograd_registration", "test_faketensor"
    torch.library.opcheck(operator, inputs, test_utils=tests)


@pytest.mark.filterwarnings("default")
def test_compiles_as_one_graph():
    values, columns, starts = block_sparse(drawn(16, 16), block_size=16)
    two, places = sparse24_compress(drawn(16, 16))
    leaves = [X, drawn(16, 16) / 4, values, two]
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]

    def network(x, y, values, two):
        x = matmul(x, y, bias=y[0])
        x = block_sparse_matmul(x, values, columns=columns, starts=starts, n_cols=16)
        x = sparse24_matmul(x, two, places=places)
        heads = x.view(1, 1, *x.shape)
        x = x + attention(heads, heads, heads, causal=True)[0, 0]
        return int4_matmul(x, PACKED, scale=GROUPS[0], zero_point=GROUPS[1])

    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    results = []
    for function in (compiled, network):
        output = function(*leaves)
        results.append((output, *torch.autograd.grad(output.square().sum(), leaves)))
    torch.testing.assert_close(*results)

    def integers(x, weight):
        return int8_matmul(x, weight, x_scale=SCALES[1], weight_scale=SCALES[1]) + 1

    compiled = torch.compile(integers, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(CODES, CODES), integers(CODES, CODES))
