"""Tensors and files: bit for bit, of the size that is reported, and never half."""

import contextlib
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mlopt_edu.coding import (
    CODERS,
    Huffman,
    Rans,
    compressed_bytes,
    decode_tensor,
    encode_tensor,
    entropy,
    load_compressed,
    save_compressed,
)
from mlopt_edu.coding.tensors import DTYPES
from mlopt_edu.models import SmallCNN

steady = settings(max_examples=40, deadline=None, derandomize=True)

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def bits_of(tensor):
    return tensor.detach().resolve_conj().contiguous().reshape(-1).view(torch.uint8)


def same(expected, actual):
    return (expected.shape, expected.dtype) == (
        actual.shape,
        actual.dtype,
    ) and torch.equal(bits_of(expected), bits_of(actual))


def round_trip(tensor, **options):
    coded = encode_tensor(tensor, **options)
    decoded = decode_tensor(coded.form, coded.parts, tensor.shape, tensor.dtype)
    assert same(tensor, decoded)
    return coded


def shared(shape, density, values=8, dtype=torch.float32, seed=0):
    """Draw a tensor of zeros and few distinct values."""
    generator = torch.Generator().manual_seed(seed)
    codebook = torch.randn(values, generator=generator).to(dtype)
    # The first value is the most frequent, the last the rarest.
    indices = (torch.rand(shape, generator=generator).square() * values).long()
    nonzero = torch.rand(shape, generator=generator) < density
    return torch.where(nonzero, codebook[indices], torch.zeros((), dtype=dtype))


# Tensors ---------------------------------------------------------------------------


@pytest.mark.parametrize("coders", [[Huffman()], [Rans()], CODERS])
@steady
@given(
    shape=st.lists(st.integers(0, 12), max_size=4),
    density=st.sampled_from([0.0, 0.03, 0.3, 1.0]),
    values=st.sampled_from([1, 2, 9]),
    dtype=st.sampled_from([*FLOATS, torch.int8, torch.int64, torch.uint8]),
    seed=st.integers(0, 99),
)
def test_few_values_come_back_bit_for_bit(coders, shape, density, values, dtype, seed):
    round_trip(shared(shape, density, values, dtype, seed), coders=coders)


@pytest.mark.parametrize("name", DTYPES)
@steady
@given(data=st.binary(max_size=64))
def test_any_bits_of_any_type_come_back(name, data):
    dtype = DTYPES[name]
    if dtype is torch.bool:
        data = bytes(byte & 1 for byte in data)
    whole = len(data) // dtype.itemsize * dtype.itemsize
    numbers = torch.from_numpy(np.frombuffer(data[:whole], np.uint8).copy())
    tensor = numbers.view(dtype) if whole else torch.empty(0, dtype=dtype)
    round_trip(tensor)
    round_trip(tensor[None].expand(5, -1).contiguous())


def test_sparse_shared_and_raw_are_each_the_smallest_somewhere():
    assert round_trip(shared((80, 90), 0.05)).form.startswith("sparse")
    assert round_trip(shared((80, 90), 1.0)).form.startswith("shared")
    generator = torch.Generator().manual_seed(0)
    raw = round_trip(torch.randn(80, 90, generator=generator))
    assert (raw.form, raw.size) == ("raw", 80 * 90 * 4 + 1)


def test_special_numbers():
    special = torch.tensor([torch.nan, -0.0, 0.0, torch.inf, 1e-45, -torch.nan])
    negative_zero = (torch.arange(3000) % 3 - 1).float() * -0.0
    for tensor in (special, special.repeat(100), negative_zero):
        round_trip(tensor)
        round_trip(tensor.double())
        round_trip(tensor.bfloat16())


def test_all_equal_takes_a_handful_of_bytes():
    for value in (0.0, 1.5):
        assert round_trip(torch.full((1000, 1000), value)).size < 30


def test_as_many_values_as_16_bits_have():
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(3 * 2**16, generator=generator)
    coded = round_trip(torch.arange(2**16).repeat(3)[order].float())
    assert coded.form == "shared"


@pytest.mark.parametrize(
    "tensor",
    [
        shared((6, 8, 3, 3), 0.2).to(memory_format=torch.channels_last),
        shared((40, 30), 0.2).T,
        shared((40, 30), 0.2)[::2, 1::3],
        torch.tensor(7.0).expand(50, 40),
        torch.tensor([1 + 2j, 0j]).repeat(30).conj(),
        shared((20, 20), 0.2).requires_grad_(),
    ],
)
def test_any_layout_comes_back_as_its_numbers(tensor):
    round_trip(tensor)


def test_half_precision_values_take_two_bytes_each_if_exact():
    exact = torch.tensor([0.5, -1.25, 2.0, 65504.0]).repeat(100)
    coded = round_trip(exact)
    assert len(coded.codebook) == 1 + 4 * 2
    almost = exact.clone()
    almost[almost == 0.5] = 0.1
    assert len(round_trip(almost).codebook) == 1 + 4 * 4


def test_what_lies_in_columns_is_read_by_columns():
    weight = torch.zeros(300, 200)
    weight[:, 17] = shared((300,), 1.0)
    by_rows = torch.zeros(200, 300)
    by_rows[17] = weight[:, 17]
    assert round_trip(weight).size == round_trip(by_rows).size


def test_the_bound_is_the_entropy_and_reached_where_places_are_random():
    weight = shared((300, 784), 0.05, values=16)
    coded = round_trip(weight)
    counts = np.unique(weight.numpy(), return_counts=True)[1]
    assert coded.bound == pytest.approx(entropy(counts) * weight.numel() / 8)
    assert coded.bound < coded.size < 1.02 * coded.bound
    assert (
        coded.bound < round_trip(weight, coders=[Huffman()]).size < 1.06 * coded.bound
    )


def test_runs_of_zeros_go_below_the_bound():
    weight = torch.zeros(300, 784)
    weight[:20] = shared((20, 784), 0.6, values=16)
    coded = round_trip(weight)
    assert coded.size < 0.9 * coded.bound


def test_what_is_no_dense_tensor_is_refused():
    with pytest.raises(TypeError, match=r"^tensor must be dense and of type float64,"):
        encode_tensor(torch.zeros(2, dtype=torch.complex128))
    with pytest.raises(TypeError, match=r"^tensor must be dense .* torch.sparse_coo$"):
        encode_tensor(torch.eye(3).to_sparse())


@pytest.mark.parametrize(
    ("form", "parts", "message"),
    [
        ("raw", (b"", b"", b"\0abc"), r"^data must be the bytes|buffer size must be"),
        ("other", (b"", b"", b""), r"^form must be raw, .* got 'other'$"),
    ],
)
def test_parts_that_do_not_fit_are_refused(form, parts, message):
    with pytest.raises(ValueError, match=message):
        decode_tensor(form, parts, (3,), torch.float32)


def test_indices_and_places_out_of_range_are_refused():
    tensor = shared((30, 30), 0.1)
    coded = encode_tensor(tensor)
    codebook, positions, indices = coded.parts
    with pytest.raises(ValueError, match=r"^indices must lie below the 1 values"):
        decode_tensor(
            coded.form, (codebook[:5], positions, indices), (30, 30), tensor.dtype
        )
    with pytest.raises(ValueError, match=r"^data must hold at most|^positions must be"):
        decode_tensor(coded.form, coded.parts, (3, 3), tensor.dtype)
    other = encode_tensor(shared((30, 30), 0.2)).positions
    with pytest.raises(ValueError, match=r"^positions must be \d+ places below 900"):
        decode_tensor("sparse", (codebook, other, indices), (30, 30), tensor.dtype)


# Files -----------------------------------------------------------------------------


def model_state():
    torch.manual_seed(0)
    state = nn.Sequential(SmallCNN(), nn.BatchNorm1d(10)).state_dict()
    state["0.features.0.weight"] = shared((16, 1, 3, 3), 0.3)
    state["0.classifier.weight"] = shared((10, 1568), 0.05, values=16)
    return state


def test_a_state_comes_back_and_the_file_is_as_large_as_it_says(tmp_path):
    state = model_state()
    account = save_compressed(tmp_path / "model.mlc", state)
    assert account.total == os.path.getsize(tmp_path / "model.mlc")
    assert account == compressed_bytes(state)
    loaded = load_compressed(tmp_path / "model.mlc")
    assert list(state) == list(loaded)
    assert all(map(same, state.values(), loaded.values()))
    nn.Sequential(SmallCNN(), nn.BatchNorm1d(10)).load_state_dict(loaded)
    assert account.dense == sum(tensor.nbytes for tensor in state.values())
    assert account.ratio == account.dense / account.total
    assert os.listdir(tmp_path) == ["model.mlc"]


def test_the_account_adds_up_and_shows_itself():
    account = compressed_bytes(model_state())
    stored = {tensor.name: tensor.stored for tensor in account.tensors}
    assert account.total == account.header + sum(stored.values())
    weight = next(t for t in account.tensors if t.name == "0.classifier.weight")
    assert weight.form.startswith("sparse")
    assert min(weight.codebook, weight.positions, weight.indices) > 0
    assert weight.bound < weight.stored
    lines = str(account).splitlines()
    assert len(lines) == len(stored) + 3
    assert lines[-1].split()[-2:] == [f"{account.dense:,}", f"{account.total:,}"]


@pytest.mark.parametrize("state", [{}, {"": torch.zeros(0)}, {"x": torch.tensor(3)}])
def test_small_states(tmp_path, state):
    assert save_compressed(tmp_path / "x", state).total == os.path.getsize(
        tmp_path / "x"
    )
    loaded = load_compressed(tmp_path / "x")
    assert list(state) == list(loaded)
    assert all(map(same, state.values(), loaded.values()))


def test_a_shared_tensor_is_stored_once_and_shared_again(tmp_path):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(50, 40, generator=generator)
    state = {"a": weight, "b": weight, "c": weight.clone(), "d": weight.T}
    account = save_compressed(tmp_path / "x", state)
    assert [t.form for t in account.tensors] == ["raw", "same as a", "raw", "raw"]
    assert account.dense == 3 * weight.nbytes
    loaded = load_compressed(tmp_path / "x")
    assert all(map(same, state.values(), loaded.values()))
    assert loaded["a"] is loaded["b"]
    assert loaded["a"] is not loaded["c"]


def test_raw_tensors_may_be_rounded(tmp_path):
    generator = torch.Generator().manual_seed(0)
    state = {
        "raw": torch.randn(30, 30, generator=generator),
        "shared": shared((90, 90), 0.1),
        "count": torch.arange(100),
    }
    account = save_compressed(tmp_path / "x", state, raw_dtype=torch.float16)
    loaded = load_compressed(tmp_path / "x")
    assert same(state["raw"].half().float(), loaded["raw"])
    assert same(state["shared"], loaded["shared"])
    assert same(state["count"], loaded["count"])
    assert account.tensors[0].stored == 30 * 30 * 2 + 1
    save_compressed(tmp_path / "y", state, raw_dtype=torch.bfloat16)
    assert same(state["raw"].bfloat16().float(), load_compressed(tmp_path / "y")["raw"])


def test_only_huffman_takes_more():
    state = {"weight": shared((300, 784), 0.03, values=16)}
    account = compressed_bytes(state, coders=[Huffman()])
    assert compressed_bytes(state).total < account.total


def test_what_is_no_tensor_is_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "x"
    save_compressed(path, {"x": torch.ones(3)})
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"^state must map names to tensors, got float"):
        save_compressed(path, {"x": 1.0})
    with pytest.raises(TypeError, match=r"^x: tensor must be dense and of type"):
        save_compressed(path, {"x": torch.eye(3).to_sparse()})
    assert (path.read_bytes(), os.listdir(tmp_path)) == (before, ["x"])


def test_a_disk_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    save_compressed(path, {"x": torch.ones(3)})
    before = path.read_bytes()

    def fail(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        save_compressed(path, {"x": torch.zeros(9)})
    assert (path.read_bytes(), os.listdir(tmp_path)) == (before, ["x"])


SMALL = {"a.weight": shared((9, 11), 0.2), "b": torch.arange(4.0), "c": torch.ones(40)}
NOT_ONE = r"^.*x must be a whole file written by save_compressed: [^\n]+$"


def test_every_cut_and_every_flipped_bit_is_seen(tmp_path):
    path = tmp_path / "x"
    save_compressed(path, SMALL)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=NOT_ONE):
            load_compressed(path)
    for place in range(len(content)):
        for bit in (0, 7):
            path.write_bytes(
                content[:place]
                + bytes([content[place] ^ 1 << bit])
                + content[place + 1 :]
            )
            with pytest.raises(ValueError, match=NOT_ONE):
                load_compressed(path)


def forged(header, parts=b"", *, length=None):
    """A file with a right checksum whatever is in it."""
    packed = zlib.compress(header)
    content = b"MLC1" + struct.pack("<I", length or len(packed)) + packed + parts
    return content + struct.pack("<I", zlib.crc32(content))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\3\4 something else",
        forged(b"not JSON"),
        forged(b"[1]"),
        forged(b'[["a","b"]]'),
        forged(b'[["a","float32",[3],"raw",[0,0,99]]]'),
        forged(b'[["a","float32",[3],"raw",[0,0,-1]]]'),
        forged(b'[["a","object",[3],"raw",[0,0,0]]]'),
        forged(b'[["a","float32",[-3],"raw",[0,0,0]]]'),
        forged(b'[["a","float32",["3"],"raw",[0,0,0]]]'),
        forged(b'[["a","float32",[99999999,99999999],"raw",[0,0,0]]]'),
        forged(b'[["a","float32",[3],"raw",[0,0]]]'),
        forged(b"[]", b"more"),
        forged(b"[]", length=10**9),
        forged(b"[" * 100_000),
        forged(b"[" + b" " * (1 << 26) + b"]"),
    ],
)
def test_forged_files_get_one_sentence(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=NOT_ONE):
        load_compressed(path)


def test_changed_parts_with_a_right_checksum_never_crash(tmp_path):
    path = tmp_path / "x"
    save_compressed(path, SMALL)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(8, len(content) - 4, 300):
        changed = bytearray(content[:-4])
        changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(changed) + struct.pack("<I", zlib.crc32(changed)))
        with contextlib.suppress(ValueError):
            load_compressed(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_compressed(tmp_path / "none")
