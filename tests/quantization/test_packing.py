"""Packing: a bijection, in the order that the module states."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlopt_edu.quantization import pack, unpack


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(0, 3), st.integers(0, 40), st.integers(0, 2**32))
def test_unpacking_undoes_packing(bits, rows, count, seed):
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 2**bits, (rows, count), generator=generator)
    packed = pack(codes, bits=bits)
    assert packed.dtype == torch.uint8
    assert packed.shape == (rows, math.ceil(count * bits / 8))
    found = unpack(packed, bits=bits, count=count)
    assert found.dtype == torch.uint8
    assert torch.equal(codes.to(torch.uint8), found)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_packing_undoes_unpacking(bits):
    packed = torch.arange(256, dtype=torch.uint8).reshape(2, 128)
    count = 128 * 8 // bits
    assert torch.equal(packed, pack(unpack(packed, bits=bits, count=count), bits=bits))


@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_are_one_little_endian_stream(bits):
    rng = np.random.default_rng(bits)
    codes = rng.integers(0, 2**bits, 23)
    number = sum(int(code) << bits * place for place, code in enumerate(codes))
    expected = number.to_bytes(math.ceil(23 * bits / 8), "little")
    assert bytes(pack(torch.from_numpy(codes), bits=bits).tolist()) == expected
    stream = np.unpackbits(np.frombuffer(expected, np.uint8), bitorder="little")
    weights = 2 ** np.arange(bits)
    again = stream[: 23 * bits].reshape(23, bits) @ weights
    assert np.array_equal(codes, again)


def test_the_first_of_two_nibbles_is_the_low_one():
    assert pack(torch.tensor([0x1, 0x2, 0x3]), bits=4).tolist() == [0x21, 0x03]
    assert pack(torch.tensor([3, 0, 1, 2]), bits=2).tolist() == [0b10_01_00_11]


def test_what_is_refused():
    codes = torch.tensor([0, 16])
    with pytest.raises(ValueError, match=r"^codes must lie in \[0, 16\).* 0 to 16$"):
        pack(codes, bits=4)
    with pytest.raises(ValueError, match=r"^codes must lie in .* got -1 to 0$"):
        pack(torch.tensor([0, -1]), bits=4)
    with pytest.raises(TypeError, match=r"^codes must be integers, got torch.float32$"):
        pack(torch.zeros(2), bits=4)
    for bits in (0, 9):
        with pytest.raises(ValueError, match=r"^bits must lie between 1 and 8, got"):
            pack(codes, bits=bits)
        with pytest.raises(ValueError, match=r"^bits must lie between 1 and 8, got"):
            unpack(codes.to(torch.uint8), bits=bits, count=1)
    with pytest.raises(TypeError, match=r"^packed must be uint8, got torch.int64$"):
        unpack(codes, bits=4, count=4)
    with pytest.raises(ValueError, match=r"^5 codes of 4 bits take 3 bytes a row"):
        unpack(codes.to(torch.uint8), bits=4, count=5)
