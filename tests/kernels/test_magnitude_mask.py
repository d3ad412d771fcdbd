import importlib

import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_edu.pruning.masks import keep_largest
from mlopt_kernels.magnitude_mask import (
    DTYPES,
    magnitude_mask,
    magnitude_mask_forward,
    magnitude_mask_reference,
)

# By its path: the package's attribute of that name is the public function.
FILE = importlib.import_module("mlopt_kernels.magnitude_mask")


def kernel(guarded, weight, count):
    out = guarded(weight.numel(), torch.bool)
    magnitude_mask_forward(weight, count, out.output, block_size=256)
    out.check()
    return out.output.reshape(weight.shape)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_elements", [1, 2, 256, 257, 1000])
def test_kernels_agree_with_a_stable_sort(guarded, device, n_elements, dtype):
    generator = torch.Generator().manual_seed(n_elements)
    weight = torch.randn(n_elements, generator=generator).to(device, dtype)
    for count in {0, 1, n_elements // 3, n_elements - 1, n_elements}:
        actual = kernel(guarded, weight, count)
        assert torch.equal(actual, magnitude_mask_reference(weight, count))
        assert int((~actual).sum()) == count


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_ties_across_blocks_and_programs_go_by_index(
    guarded, device, dtype, monkeypatch
):
    # Few programs, so that each takes several blocks.
    monkeypatch.setattr(FILE, "MOST_PROGRAMS", 2)
    weight = torch.randint(-2, 3, (1300,), generator=torch.Generator().manual_seed(0))
    weight = weight.to(device, dtype)
    for count in (3, 600, 1100):
        expected = magnitude_mask_reference(weight, count)
        assert torch.equal(kernel(guarded, weight, count), expected)
    equal = torch.full_like(weight, -0.25)
    assert kernel(guarded, equal, 777).tolist() == [False] * 777 + [True] * 523


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_special_values_are_in_order(guarded, device, dtype):
    tiny = torch.finfo(dtype).smallest_normal
    values = [torch.nan, -torch.inf, 1.0, -tiny, tiny / 4, -0.0]
    weight = torch.tensor(values, dtype=dtype, device=device)
    for count in range(7):
        actual = kernel(guarded, weight, count)
        assert actual.tolist() == [True] * (6 - count) + [False] * count


def test_neighbouring_floats_differ_in_the_last_bit_alone(guarded, device):
    bits = torch.arange(300, dtype=torch.int32, device=device) + 0x3F800000
    weight = bits.view(torch.float32).flip(0) * -1
    assert kernel(guarded, weight, 130).tolist() == [True] * 170 + [False] * 130


# The public function, on the CPU and on a GPU alike.


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.5, 1.0, 0, 7, 30])
def test_equals_the_mask_of_the_course(device, amount):
    weight = torch.randint(-5, 6, (5, 6), device=device).float()
    assert torch.equal(
        magnitude_mask(weight, amount), keep_largest(weight.abs(), amount)
    )


@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (2, 0, 4)])
def test_shapes(device, shape):
    mask = magnitude_mask(torch.ones(shape, device=device), 1.0)
    assert mask.shape == shape
    assert not mask.any()


def test_non_contiguous_weights(device):
    weight = torch.arange(12.0, device=device).reshape(3, 4).t()
    mask = magnitude_mask(weight, 5)
    assert mask.is_contiguous()
    assert torch.equal(mask, weight >= 5)


@pytest.mark.filterwarnings("default")
def test_operator_is_registered_as_torch_requires(device):
    torch.library.opcheck(
        torch.ops.mlopt.magnitude_mask.default, (torch.rand(3, 2, device=device), 2)
    )


@pytest.mark.filterwarnings("default")
def test_compiles_as_one_graph(device):
    def pruned(weight):
        return weight * magnitude_mask(weight, 0.5)

    weight = torch.tensor([1.0, -4.0, 3.0, 2.0], device=device, requires_grad=True)
    actual = torch.compile(pruned, backend="aot_eager", fullgraph=True)(weight)
    assert actual.tolist() == [0.0, -4.0, 3.0, 0.0]
    actual.sum().backward()
    assert weight.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_bad_arguments_are_refused_by_name(device):
    weight = torch.ones(3, device=device)
    for amount in (1.5, -0.1, 4, -1, float("nan")):
        with pytest.raises(ValueError, match=rf"^amount must be .* 3 .*got {amount}"):
            magnitude_mask(weight, amount)
    with pytest.raises(TypeError, match=r"^weight must have one of .*torch\.float64"):
        magnitude_mask(weight.double(), 0.5)
