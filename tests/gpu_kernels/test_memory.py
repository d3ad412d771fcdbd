"""What `Memory` counts, against counts by hand; and what it must see."""

# ruff: noqa: N803  a constexpr is in capitals

import subprocess
import sys

import numpy as np
import pytest
import torch

from mlopt_edu.gpu_kernels import Memory, tl, triton


@triton.jit
def copy_kernel(x_ptr, output_ptr, n, STEP: tl.constexpr, BLOCK_SIZE: tl.constexpr):
    """Copy every STEP-th element."""
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + offsets * STEP, mask=offsets < n, other=0)
    tl.store(output_ptr + offsets, x, mask=offsets < n)


@triton.jit
def shifted_kernel(x_ptr, output_ptr, shift, BLOCK_SIZE: tl.constexpr):
    offsets = shift + tl.arange(0, BLOCK_SIZE)
    tl.store(output_ptr + offsets, tl.load(x_ptr + offsets))


@triton.jit
def undefined_kernel(x_ptr, output_ptr, n, BLOCK_SIZE: tl.constexpr):
    lanes = tl.arange(0, BLOCK_SIZE)
    tl.store(output_ptr + lanes, tl.load(x_ptr + lanes, mask=lanes < n))


@triton.jit
def undefined_range_kernel(x_ptr, output_ptr, n, BLOCK_SIZE: tl.constexpr):
    """Store what the lanes past the end do to a minimum, a maximum and a sum."""
    lanes = tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + lanes, mask=lanes < n)
    tl.store(output_ptr, tl.min(x, axis=0))
    tl.store(output_ptr + 1, tl.max(x, axis=0))
    tl.store(output_ptr + 2, tl.sum(x.to(tl.float32), axis=0))


@triton.jit
def undefined_and_unused_kernel(x_ptr, output_ptr, n, BLOCK_SIZE: tl.constexpr):
    lanes = tl.arange(0, BLOCK_SIZE)
    mask = lanes < n
    x = tl.load(x_ptr + lanes, mask=mask)
    top = tl.max(tl.where(mask, x, -float("inf")), axis=0)
    weights = tl.sqrt(x) - x + 0 * x * tl.exp(x - top)
    total = tl.sum(tl.where(mask, weights, 0.0), axis=0)
    tl.store(output_ptr + lanes, weights / total, mask=mask)


@triton.jit
def store_kernel(output_ptr, place):
    tl.store(output_ptr + place, 1.0)


@triton.jit
def store_own_kernel(output_ptr):
    tl.store(output_ptr + tl.program_id(0), 1.0)


@triton.jit
def store_read_by_next_kernel(output_ptr, n):
    program = tl.program_id(0)
    left = tl.load(output_ptr + program - 1, mask=program > 0, other=0.0)
    tl.store(output_ptr + program, left + 1.0)


@triton.jit
def read_then_store_kernel(output_ptr):
    """Every program reads place 0; the last one stores there."""
    seen = tl.load(output_ptr)
    last = tl.program_id(0) == tl.num_programs(0) - 1
    tl.store(output_ptr, seen + 1.0, mask=last)


@triton.jit
def add_up_kernel(x_ptr, output_ptr, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    tl.atomic_add(output_ptr, tl.sum(tl.load(x_ptr + offsets), axis=0))


@triton.jit
def broken_kernel(output_ptr):
    raise KeyError("no such thing")


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32]
)
@pytest.mark.parametrize("n", [1, 37, 64])
def test_a_copy_moves_each_byte_once(dtype, n):
    memory = Memory()
    x = memory.copy(torch.arange(n).to(dtype))
    output = memory.empty((n,), dtype)
    with memory:
        copy_kernel[(triton.cdiv(n, 16),)](x, output, n, STEP=1, BLOCK_SIZE=16)
    assert torch.equal(x, output)
    n_bytes = n * dtype.itemsize
    counts = memory.bytes_read, memory.bytes_written, memory.outside, memory.races
    assert counts == (n_bytes, n_bytes, 0, 0)
    # 16 elements are whole sectors in every dtype here, so only the last is partial.
    assert memory.sectors == 2 * -(-n_bytes // 32)


@pytest.mark.parametrize(("step", "sectors"), [(1, 4), (2, 8), (4, 16), (8, 32)])
def test_a_stride_touches_more_sectors_for_the_same_bytes(step, sectors):
    memory = Memory()
    x, output = memory.copy(np.zeros(32 * step, np.float32)), memory.empty((32,))
    with memory:
        copy_kernel[(1,)](x, output, 32, STEP=step, BLOCK_SIZE=32)
    assert memory.bytes_read == 128
    assert memory.sectors == sectors + 4


@pytest.mark.parametrize(("shift", "outside"), [(0, 0), (3, 6), (-5, 10), (100, 16)])
def test_what_leaves_the_arrays_is_seen_and_harms_nobody(shift, outside):
    memory = Memory()
    x = memory.copy(np.arange(8, dtype=np.float32))
    output, neighbour = memory.empty((8,)), memory.copy(np.zeros(8, np.float32))
    with memory:
        shifted_kernel[(1,)](x, output, shift, BLOCK_SIZE=8)
    assert memory.outside == outside
    inside = (np.arange(8) >= shift) & (np.arange(8) < shift + 8)
    np.testing.assert_array_equal(output, np.where(inside, np.arange(8), np.nan))
    assert not neighbour.any()


def test_loads_outside_are_poison():
    memory = Memory()
    x, output = memory.copy(np.ones(5, np.float32)), memory.empty((8,))
    with memory:
        shifted_kernel[(1,)](x, output, 0, BLOCK_SIZE=8)
    np.testing.assert_array_equal(output, [1] * 5 + [np.nan] * 3)
    assert memory.outside == 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_masked_lanes_without_other_are_poison(dtype):
    memory = Memory()
    x, output = memory.copy(torch.ones(8, dtype=dtype)), memory.empty((8,), dtype)
    with memory:
        undefined_kernel[(1,)](x, output, 3, BLOCK_SIZE=8)
    expected = np.array([1, 1, 1, np.nan, np.inf, -np.inf, np.nan, np.inf])
    np.testing.assert_array_equal(output.double(), expected)
    assert memory.outside == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_minimum_a_maximum_and_a_sum_see_undefined_lanes(dtype):
    memory = Memory()
    x, output = memory.copy(torch.ones(8, dtype=dtype)), memory.empty((3,))
    with memory:
        undefined_range_kernel[(1,)](x, output, 5, BLOCK_SIZE=8)
    np.testing.assert_array_equal(output, [-np.inf, np.inf, np.nan])


def test_one_undefined_lane_is_nan():
    memory = Memory()
    x, output = memory.copy(np.ones(8, np.float32)), memory.empty((3,))
    with memory:
        undefined_range_kernel[(1,)](x, output, 7, BLOCK_SIZE=8)
    np.testing.assert_array_equal(output, [1, 1, np.nan])


def test_undefined_lanes_that_nobody_uses_do_no_harm_and_warn_of_nothing():
    before, memory = np.geterr(), Memory()
    x, output = memory.copy(np.full(5, 4, np.float32)), memory.empty((5,))
    with memory:
        undefined_and_unused_kernel[(1,)](x, output, 5, BLOCK_SIZE=8)
    np.testing.assert_allclose(output, [0.2] * 5, rtol=1e-6)
    assert np.geterr() == before


def test_integers_without_other_are_poison():
    memory = Memory()
    x = memory.copy(torch.ones(4, dtype=torch.int32))
    output = memory.empty((4,), torch.int32)
    with memory:
        undefined_kernel[(1,)](x, output, 1, BLOCK_SIZE=4)
    assert output.tolist() == [1, 113, 113, 113]


def test_two_programs_that_store_to_one_place_race():
    memory = Memory()
    output = memory.empty((4,))
    with memory:
        store_kernel[(3,)](output, 2)
    assert memory.races == 1


def test_a_load_of_what_another_program_stores_is_a_race():
    memory = Memory()
    output = memory.empty((5,))
    with memory:
        store_read_by_next_kernel[(5,)](output, 5)
    assert memory.races == 4


def test_a_store_to_what_others_have_loaded_is_a_race():
    memory = Memory()
    output = memory.copy(np.zeros(1, np.float32))
    with memory:
        read_then_store_kernel[(3,)](output)
    assert memory.races == 1


def test_launches_one_after_the_other_do_not_race():
    memory = Memory()
    output = memory.empty((4,))
    with memory:
        for _ in range(2):
            store_own_kernel[(4,)](output)
            store_kernel[(1,)](output, 2)
    assert memory.races == 0


def test_atomic_additions_do_not_race_and_are_counted():
    memory = Memory()
    x = memory.copy(np.ones(64, np.float32))
    total = memory.copy(np.zeros(1, np.float32))
    with memory:
        add_up_kernel[(4,)](x, total, BLOCK_SIZE=16)
    output, *counts = memory.report(total)
    assert output.tolist() == [64]
    assert counts == [4 * 64 + 4 * 4, 4 * 4, 0, 0]


def test_an_error_in_a_kernel_is_raised_as_what_it_was():
    memory = Memory()
    output = memory.empty((1,))
    with pytest.raises(KeyError, match="no such thing"), memory:
        broken_kernel[(1,)](output)


def test_outside_of_the_block_nothing_is_counted():
    memory = Memory()
    output = memory.empty((1,))
    with memory:
        pass
    store_kernel[(1,)](output, 0)
    assert output.tolist() == [1]
    assert memory.bytes_written == 0


def test_empty_arrays():
    memory = Memory()
    assert memory.copy(np.zeros((0, 3), np.float32)).shape == (0, 3)
    assert memory.report(memory.empty((0,)))[0].size == 0


def test_triton_without_its_interpreter_is_refused():
    program = """
import os
os.environ.pop("TRITON_INTERPRET", None)
from mlopt_edu.gpu_kernels import Memory
try:
    with Memory():
        pass
except RuntimeError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("TRITON_INTERPRET must be 1 before Triton is")


def test_without_triton_a_launch_says_so():
    program = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "triton" else find(name)
from mlopt_edu.gpu_kernels import Memory, has_triton, tl, triton
@triton.jit
def kernel(x_ptr, n, BLOCK_SIZE: tl.constexpr):
    tl.store(x_ptr, 0)
try:
    kernel[(triton.cdiv(3, 2),)](None, 3, BLOCK_SIZE=2)
except ModuleNotFoundError as error:
    print(has_triton, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("False triton must be installed to launch a kernel")


@triton.jit
def _row_masked_kernel(x_ptr, output_ptr, n, BLOCK_SIZE: tl.constexpr):
    places = tl.arange(0, BLOCK_SIZE)
    mask = (places < n) & (tl.program_id(0) < 5)
    x = tl.load(x_ptr + places, mask=mask)
    tl.store(output_ptr + places, x, mask=mask)


def test_a_mask_joined_with_a_number_keeps_lane_0():
    memory = Memory()
    x, output = memory.copy(np.arange(6.0, dtype=np.float32)), memory.empty((6,))
    with memory:
        _row_masked_kernel[(1,)](x, output, 6, BLOCK_SIZE=8)
    assert output.tolist() == [0, 1, 2, 3, 4, 5]
    assert (memory.bytes_read, memory.outside) == (24, 0)
