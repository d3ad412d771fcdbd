"""Sparse forms: back bit for bit, the bytes that they say, and the same products."""

import copy
from functools import partial

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from mlopt_edu.models import CharGPT, mlp
from mlopt_edu.pruning import NM, Magnitude, make_permanent_, n_m_mask, prune_
from mlopt_edu.pruning.sparse import (
    BSR,
    CSR,
    Bitmask,
    SparseLinear,
    TwoFour,
    bitmask_bytes,
    break_even_density,
    crossing,
    csr_bytes,
    products,
    sparsify_,
)

steady = settings(max_examples=40, deadline=None, derandomize=True)

FORMS = {
    "CSR": CSR,
    "BSR 8": BSR,
    "BSR 3": partial(BSR, block_size=3),
    "BSR 1": partial(BSR, block_size=1),
    "BSR 16": partial(BSR, block_size=16),
    "2:4": TwoFour,
    "bitmask": Bitmask,
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def matrix(shape, density, seed=0, dtype=torch.float32):
    """Draw a matrix that every form takes: at most two of four neighbours."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator)
    padded = functional.pad(weight, (0, -shape[1] % 4))
    pattern = n_m_mask(padded.abs())[:, : shape[1]]
    kept = torch.rand(shape, generator=generator) < 2 * density
    return torch.where(pattern & kept, weight, 0).to(dtype)


@every_form
@pytest.mark.parametrize("dtype", FLOATS)
@steady
@given(
    shape=st.tuples(st.integers(0, 9), st.integers(0, 19)),
    density=st.sampled_from([0.0, 0.1, 0.5]),
    seed=st.integers(0, 99),
)
def test_back_bit_for_bit(form, dtype, shape, density, seed):
    weight = matrix(shape, density, seed, dtype)
    dense = form(weight).dense()
    assert (dense.shape, dense.dtype) == (weight.shape, dtype)
    as_bits = torch.int64 if dtype is torch.float64 else torch.int32
    as_bits = torch.int16 if dtype.itemsize == 2 else as_bits
    assert torch.equal(weight.view(as_bits), dense.contiguous().view(as_bits))


@every_form
def test_special_numbers_come_back_and_minus_zero_as_zero(form):
    weight = torch.tensor([[torch.nan, -0.0, torch.inf, 0.0, -torch.inf, 1e-45, 0, 0]])
    dense = form(weight).dense()
    torch.testing.assert_close(weight, dense, equal_nan=True, rtol=0, atol=0)
    assert not dense[0, 1].signbit()


@every_form
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2,), (16,), (17,), (3, 1, 5)])
def test_the_product_is_the_dense_one(form, dtype, shape):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(*shape, 21, generator=generator).to(dtype)
    weight = matrix((13, 21), 0.25, dtype=dtype)
    expected = x @ weight.T
    actual = form(weight)(x)
    assert (actual.shape, actual.dtype) == (expected.shape, dtype)
    precision = {"rtol": 0.02, "atol": 0.02} if dtype.itemsize == 2 else {}
    torch.testing.assert_close(actual, expected, **precision)


@every_form
def test_no_outputs_no_inputs_no_nonzeros(form):
    assert form(torch.zeros(0, 5))(torch.ones(3, 5)).shape == (3, 0)
    assert torch.equal(torch.zeros(3, 4), form(torch.zeros(4, 0))(torch.ones(3, 0)))
    assert torch.equal(torch.zeros(3, 4), form(torch.zeros(4, 9))(torch.ones(3, 9)))


def test_scipy_has_the_same_rows():
    weight = matrix((30, 300), 0.1)
    ours, theirs = CSR(weight), scipy.sparse.csr_array(weight.numpy())
    assert np.array_equal(theirs.indptr, ours.starts.int().numpy())
    assert np.array_equal(theirs.indices, ours.columns.int().numpy())
    assert np.array_equal(theirs.data, ours.values.numpy())
    x = torch.randn(5, 300, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(
        ours(x).numpy(), (theirs @ x.numpy().T).T, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("block", [1, 2, 3, 6])
def test_scipy_has_the_same_blocks(block):
    weight = matrix((30, 36), 0.02)
    ours = BSR(weight, block_size=block)
    theirs = scipy.sparse.bsr_array(weight.numpy(), blocksize=(block, block))
    theirs.sort_indices()
    assert np.array_equal(theirs.indptr, ours.starts.int().numpy())
    assert np.array_equal(theirs.indices, ours.columns.int().numpy())
    assert np.array_equal(theirs.data, ours.values.numpy())


def test_two_of_four_by_hand():
    packed = TwoFour(
        torch.tensor([[0.0, 0, 3, 4, 5, 0, 0, 0], [0, 7, 0, 8, 0, 0, 0, 0]])
    )
    assert packed.values.tolist() == [[[3, 4], [5, 0]], [[7, 8], [0, 0]]]
    # A byte: second place, first place of the later group; the same of the earlier.
    assert [f"{byte:08b}" for byte in packed.places.tolist()] == [
        "01001110",
        "01001101",
    ]


def test_numpy_packs_the_same_bits():
    weight = matrix((7, 9), 0.3)
    expected = np.packbits(weight.numpy() != 0)
    assert np.array_equal(expected, Bitmask(weight).bits.numpy())


# Bytes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "dtype"),
    [
        (256, torch.uint8),
        (257, torch.uint16),
        (65536, torch.uint16),
        (65537, torch.int32),
    ],
)
def test_indices_are_as_small_as_can_be(columns, dtype):
    weight = torch.zeros(1, columns)
    weight[0, -1] = 1.0
    packed = CSR(weight)
    assert packed.columns.dtype == dtype
    assert torch.equal(weight, packed.dense())
    assert packed.nbytes == 4 + dtype.itemsize + 2


@steady
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 300)),
    density=st.floats(0, 0.5),
    dtype=st.sampled_from(FLOATS),
)
def test_the_counted_bytes_are_there(shape, density, dtype):
    weight = matrix(shape, density, dtype=dtype)
    nonzeros = int((weight != 0).sum())
    assert csr_bytes(nonzeros, shape, dtype=dtype) == CSR(weight).nbytes
    assert bitmask_bytes(nonzeros, shape, dtype=dtype) == Bitmask(weight).nbytes
    groups = shape[0] * -(-shape[1] // 4)
    assert 2 * groups * dtype.itemsize + -(-groups // 2) == TwoFour(weight).nbytes
    stored = sum(buffer.nbytes for buffer in copy.deepcopy(CSR(weight)).buffers())
    assert stored == CSR(weight).nbytes


@pytest.mark.parametrize(
    "shape", [(300, 784), (1, 1), (10, 100), (7, 70000), (4096, 256)]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_break_even_is_the_formula(shape, dtype):
    rows, columns = shape
    n, value = rows * columns, dtype.itemsize
    index = 1 if columns <= 2**8 else 2 if columns <= 2**16 else 4
    best = 0
    for pointer, limit in ((1, 2**8 - 1), (2, 2**16 - 1), (4, 2**31 - 1)):
        fitting = (n * value - (rows + 1) * pointer) // (value + index)
        best = max(best, min(fitting, limit))
    density = break_even_density(csr_bytes, shape, dtype=dtype)
    assert density == best / n
    count = round(density * n)
    if density:
        assert csr_bytes(count, shape, dtype=dtype) <= n * value
    assert csr_bytes(count + 1, shape, dtype=dtype) > n * value
    bits = break_even_density(bitmask_bytes, shape, dtype=dtype)
    assert bits == (n * value - -(-n // 8)) // value / n


def test_a_matrix_without_weights_has_no_density():
    with pytest.raises(ValueError, match=r"^shape must be two .* got \(0, 3\)$"):
        break_even_density(csr_bytes, (0, 3))


# Time ------------------------------------------------------------------------------


def test_products_are_of_the_density_asked_for():
    def drawn():
        return products((64, 128), density=0.25, rows=3, generator=seeded())

    def seeded():
        return torch.Generator().manual_seed(0)

    results = {name: function() for name, function in drawn().items()}
    assert list(results) == ["dense", "CSR", "BSR", "bitmask"]
    assert all(y.shape == (3, 64) for y in results.values())
    torch.testing.assert_close(results["CSR"], results["bitmask"])
    everything = products((20, 30), density=1.0, generator=seeded())
    for function in everything.values():
        torch.testing.assert_close(everything["dense"](), function())
    assert not products((20, 30), density=0.0)["BSR"]().any()
    with pytest.raises(
        ValueError, match=r"^density must be a share in \[0, 1\], got 2"
    ):
        products((2, 2), density=2)


def test_where_a_curve_crosses():
    assert crossing([0.1, 0.2, 0.3], [1.1, 0.5, 0.6]) is None
    assert crossing([0.1, 0.2, 0.3], [0.1, 0.5, 1.0]) == 0.3
    assert crossing([0.1, 0.2, 0.3, 0.4], [0.5, 1.5, 0.5, 2.0]) == pytest.approx(0.15)
    assert crossing([0.1, 0.3], [0.0, 4.0], level=2.0) == pytest.approx(0.2)
    assert crossing([0.1], [0.5]) == 0.1


@pytest.mark.parametrize(
    ("densities", "ratios", "message"),
    [
        ([0.1], [], r"^densities and ratios must be as many"),
        ([], [], r"^densities and ratios must be as many, at least 1"),
        ([0.2, 0.1], [1, 2], r"^densities must ascend, got \[0.2, 0.1\]"),
    ],
)
def test_a_curve_that_is_none_is_refused(densities, ratios, message):
    with pytest.raises(ValueError, match=message):
        crossing(densities, ratios)


# Layers and models -----------------------------------------------------------------


def pruned(amount=0.9):
    model = mlp([64, 48, 32, 10], generator=torch.Generator().manual_seed(0))
    prune_(model, Magnitude(amount=amount))
    return model


X = torch.randn(6, 64, generator=torch.Generator().manual_seed(2))


@every_form
@pytest.mark.parametrize("permanent", [True, False])
def test_a_sparse_model_gives_the_same_in_fewer_bytes(form, permanent):
    model = pruned()
    prune_(model, NM(), filter_fn=lambda name, module: isinstance(module, nn.Linear))
    if permanent:
        make_permanent_(model)
    expected = model(X)
    sparsify_(model, form)
    torch.testing.assert_close(model(X), expected)
    if form not in (
        BSR,
        FORMS["BSR 3"],
        FORMS["BSR 16"],
    ):  # to which single zeros are no use
        held = sum(t.nbytes for t in [*model.parameters(), *model.buffers()])
        assert held < 0.6 * sum(p.nbytes for p in pruned().parameters())
        assert sum(p.numel() for p in model.parameters()) == 90  # the biases


def test_what_would_not_be_smaller_stays_dense():
    model = pruned(0.1)
    layers = list(model)
    sparsify_(model)
    assert layers == list(model)
    sparsify_(model, Bitmask)
    assert isinstance(model[0], SparseLinear)


def test_a_sparse_model_is_an_ordinary_module(tmp_path):
    model = pruned().eval()
    sparsify_(model)
    expected = model(X)
    assert not model[0].training
    assert torch.equal(expected, copy.deepcopy(model)(X))
    assert "nbytes=" in repr(model[0])
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = pruned(0.8)  # other nonzeros, and more of them
    sparsify_(other)
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert torch.equal(expected, other(X))
    torch.testing.assert_close(model.double()(X.double()), expected.double())
    half = model.bfloat16()(X.bfloat16())
    torch.testing.assert_close(half.float(), expected, rtol=0.05, atol=0.05)


@every_form
@pytest.mark.parametrize("rows", [1, 5])
def test_inputs_and_biases_get_gradients(form, rows):
    linear = nn.Linear(12, 7)
    linear.weight.data.copy_(matrix((7, 12), 0.3))
    sparse = SparseLinear(linear, form)
    x, y = (
        X[:rows, :12].clone().requires_grad_(),
        X[:rows, :12].clone().requires_grad_(),
    )
    sparse(x).square().sum().backward()
    ours, sparse.bias.grad = sparse.bias.grad, None
    linear(y).square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(ours, linear.bias.grad)


def test_only_linear_layers_themselves_are_replaced():
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {
            "attention": nn.MultiheadAttention(16, 2),
            "shared": nn.Linear(16, 16, bias=False),
            "embedding": nn.Embedding(16, 16),
            "head": nn.Linear(16, 16),
        }
    )
    model["again"] = model["shared"]
    model["head"].weight = model["embedding"].weight
    for parameter in model.parameters():
        parameter.data[:] = 0
    sparsify_(model)
    kinds = {name: type(module).__name__ for name, module in model.items()}
    assert kinds == {
        "attention": "MultiheadAttention",
        "shared": "SparseLinear",
        "embedding": "Embedding",
        "head": "Linear",
        "again": "SparseLinear",
    }
    assert model["again"] is model["shared"]
    assert type(model["attention"].out_proj) is not SparseLinear


def test_a_transformer():
    model = CharGPT(20, width=32, generator=torch.Generator().manual_seed(0))
    prune_(model, Magnitude(amount=0.9))
    make_permanent_(model)
    ids = torch.arange(12).reshape(2, 6)
    expected = model(ids)
    sparsify_(model)
    torch.testing.assert_close(model(ids), expected)
    assert sum(isinstance(module, SparseLinear) for module in model.modules()) == 9


def test_what_cannot_be_packed_is_refused_and_left_as_it_was():
    model = pruned(0.2)
    make_permanent_(model)
    layers = list(model)
    with pytest.raises(
        ValueError, match=r"^weight must have at most 2 nonzeros in .* 4;"
    ):
        sparsify_(model, TwoFour)
    assert layers == list(model)
    with pytest.raises(
        ValueError, match=r"^model must hold the layers .* Linear itself"
    ):
        sparsify_(nn.Linear(3, 3))
    with pytest.raises(ValueError, match=r"^0 must be an nn.Linear, got Conv2d; let"):
        sparsify_(nn.Sequential(nn.Conv2d(3, 3, 3)), filter_fn=lambda *_: True)


@every_form
@pytest.mark.parametrize(
    "weight",
    [torch.zeros(3), torch.zeros(2, 2, 2), torch.zeros(2, 2, dtype=torch.int8)],
)
def test_what_is_no_matrix_of_floats_is_refused(form, weight):
    with pytest.raises(ValueError, match=r"^weight must be a matrix of floating-point"):
        form(weight)


def test_a_block_has_a_size():
    with pytest.raises(ValueError, match=r"^block_size must be at least 1, got 0$"):
        BSR(torch.zeros(4, 4), block_size=0)
