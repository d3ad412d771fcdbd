r"""A tensor with few distinct values as codebook, places and indices; or as it is.

    raw       every number as it is in memory
    shared    codebook, and for every entry its value's index, coded
    sparse    codebook without 0, where the nonzeros are, and their indices, coded

The smallest is taken, whatever is in it comes back bit for bit, NaN and -0 too. (A
product with a mask makes many -0, which is another number than 0 and coded as such:
add 0 to turn them into +0.) Numbers that float16 holds exactly take two bytes.

The codebook is the distinct values; that there are few is the business of who makes
them, by pruning and weight sharing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlopt_edu.coding.bits import Reader, pack_number
from mlopt_edu.coding.coders import CODERS, Coder, decode_symbols, encode_symbols
from mlopt_edu.coding.entropy import entropy
from mlopt_edu.coding.gaps import (
    bucket_gaps,
    cap_gaps,
    gaps_of,
    places_of,
    unbucket_gaps,
    uncap_gaps,
)

Ints = NDArray[np.int64]

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
        torch.complex64,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint64,
        torch.uint32,
        torch.uint16,
        torch.uint8,
        torch.bool,
    )
}
_MOST_VALUES = 1 << 16


@dataclass(frozen=True)
class Coded:
    """A tensor as bytes.

    Attributes:
        form: "raw", "shared" or "sparse".
        codebook: The distinct values; for a raw tensor nothing.
        positions: Where the nonzeros are; nothing unless sparse.
        indices: Which value each entry, or each nonzero, has; all numbers if raw.
        bound: Bytes that entries drawn independently from this tensor's own
            distribution of values need at least, without any codebook or table.
    """

    form: str
    codebook: bytes
    positions: bytes
    indices: bytes
    bound: float

    @property
    def parts(self) -> tuple[bytes, bytes, bytes]:
        """Codebook, positions and indices, in the order of the file."""
        return self.codebook, self.positions, self.indices

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(map(len, self.parts))


def encode_tensor(tensor: Tensor, *, coders: Sequence[Coder] = CODERS) -> Coded:
    """Return the smallest form of a tensor.

    Args:
        tensor: Any shape and any of the types in `DTYPES`.
        coders: Which may be used.

    Raises:
        TypeError: If the type is another.
    """
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in DTYPES or tensor.layout is not torch.strided:
        raise TypeError(
            f"tensor must be dense and of type {', '.join(DTYPES)}, got {tensor.dtype} "
            f"{tensor.layout}"
        )
    bits = _bits_of(tensor)
    values, indices, counts = np.unique(bits, return_inverse=True, return_counts=True)
    bound = entropy(counts) * len(bits) / 8
    best = Coded("raw", b"", b"", _as_bytes(bits, tensor.dtype), bound)
    if 0 < len(values) <= min(_MOST_VALUES, len(bits) // 2):
        for coded in _coded(tensor, values, indices.ravel(), bound, coders):
            best = min(best, coded, key=lambda form: form.size)
    return best


def decode_tensor(
    form: str, parts: Sequence[bytes], shape: Sequence[int], dtype: torch.dtype
) -> Tensor:
    """Return the tensor that `encode_tensor` wrote, bit for bit.

    Args:
        form: As of `Coded`.
        parts: Codebook, positions and indices.
        shape: The tensor's.
        dtype: The tensor's.

    Raises:
        ValueError: If the parts do not come from such a tensor.
    """
    codebook, positions, coded = parts
    size = int(np.prod(shape, dtype=object))
    if form == "raw":
        return _from_bits(_from_bytes(coded, dtype), shape, dtype)
    if form not in ("shared", "sparse"):
        raise ValueError(f"form must be raw, shared or sparse, got {form!r}")
    values = _from_bytes(codebook, dtype)
    indices = decode_symbols(coded, at_most=size)
    if indices.size and indices.max() >= len(values):
        raise ValueError(
            f"indices must lie below the {len(values)} values, got {indices.max()}"
        )
    if form == "shared":
        return _from_bits(values[indices], shape, dtype)
    places, transposed = _decode_places(positions, size)
    if len(places) != len(indices) or (places.size and places[-1] >= size):
        raise ValueError(f"positions must be {len(indices)} places below {size}")
    bits = np.zeros(size, dtype=values.dtype)
    bits[places] = values[indices]
    if transposed:
        bits = bits.reshape(-1, shape[0]).T
    return _from_bits(bits, shape, dtype)


def _coded(
    tensor: Tensor,
    values: NDArray[np.unsignedinteger],
    indices: Ints,
    bound: float,
    coders: Sequence[Coder],
) -> Iterator[Coded]:
    """Yield the forms in which entries are indices into a codebook."""
    codebook = _as_bytes(values, tensor.dtype)
    coded = encode_symbols(indices, coders=coders)
    yield Coded("shared", codebook, b"", coded, bound)
    if values[0] != 0:  # Sorted by bits, which are unsigned: 0 comes first.
        return
    codebook = _as_bytes(values[1:], tensor.dtype)
    rows = tensor.shape[0] if tensor.ndim > 1 else 1
    for transposed in (False, True) if rows > 1 else (False,):
        ordered = indices.reshape(rows, -1).T.ravel() if transposed else indices
        places = np.flatnonzero(ordered)
        positions = _encode_places(places, coders, transposed=transposed)
        coded = encode_symbols(ordered[places] - 1, coders=coders)
        yield Coded("sparse", codebook, positions, coded, bound)


def _encode_places(places: Ints, coders: Sequence[Coder], *, transposed: bool) -> bytes:
    """Write places as buckets or as capped gaps, whichever gets smaller.

    The first byte says which: the bits of the cap, 0 for buckets; plus 128 if the
    matrix was read column by column.
    """
    gaps = gaps_of(places)
    buckets, bits = bucket_gaps(gaps)
    coded = encode_symbols(buckets, coders=coders)
    best = bytes([0]) + pack_number(len(coded)) + coded + np.packbits(bits).tobytes()
    for width in range(3, 9):
        symbols = cap_gaps(gaps, (1 << width) - 1)
        # What cannot win is not worth coding.
        if entropy(np.bincount(symbols)) * len(symbols) / 8 < len(best):
            capped = bytes([width]) + encode_symbols(symbols, coders=coders)
            best = min(best, capped, key=len)
    return bytes([best[0] | 128 * transposed]) + best[1:]


def _decode_places(data: bytes, size: int) -> tuple[Ints, bool]:
    reader = Reader(data)
    first = reader.take(1)[0]
    width = first & 127
    if width:
        symbols = decode_symbols(reader.rest(), at_most=size)
        return places_of(uncap_gaps(symbols, (1 << width) - 1)), first > 127
    buckets = decode_symbols(reader.take(reader.number()), at_most=size)
    bits = np.unpackbits(np.frombuffer(reader.rest(), np.uint8))
    return places_of(unbucket_gaps(buckets, bits)), first > 127


def _bits_of(tensor: Tensor) -> NDArray[np.unsignedinteger]:
    """Return the entries as unsigned integers of the same bits, shape (size,)."""
    plain = tensor.detach().resolve_conj().resolve_neg().cpu()
    flat = plain.contiguous().reshape(-1)
    bytes_ = flat.view(torch.uint8).numpy()
    return bytes_.view(f"<u{flat.itemsize}")


def _from_bits(
    bits: NDArray[np.unsignedinteger], shape: Sequence[int], dtype: torch.dtype
) -> Tensor:
    flat = torch.from_numpy(
        np.ascontiguousarray(bits).reshape(-1).view(np.uint8).copy()
    )
    if flat.numel() != int(np.prod(shape, dtype=object)) * dtype.itemsize:
        raise ValueError(
            f"data must be the bytes of shape {tuple(shape)}, got {flat.numel()}"
        )
    if not flat.numel():  # Its stride is 0, which no view takes.
        return torch.empty(tuple(shape), dtype=dtype)
    return flat.view(dtype).reshape(tuple(shape))


def _as_bytes(bits: NDArray[np.unsignedinteger], dtype: torch.dtype) -> bytes:
    """Return a byte that says how, and the numbers: as float16 if that is exact."""
    if dtype is torch.float32 and len(bits):
        numbers = bits.view("<f4")
        with np.errstate(over="ignore", under="ignore"):
            halves = numbers.astype("<f2")
        if np.array_equal(halves.astype("<f4").view("<u4"), bits):
            return b"\1" + halves.tobytes()
    return b"\0" + bits.tobytes()


def _from_bytes(data: bytes, dtype: torch.dtype) -> NDArray[np.unsignedinteger]:
    """Return the bits of the numbers that `_as_bytes` wrote."""
    if data[:1] == b"\1":
        if dtype is not torch.float32:
            raise ValueError(f"halves must stand for float32, got {dtype}")
        return np.frombuffer(data, "<f2", offset=1).astype("<f4").view("<u4")
    return np.frombuffer(data, f"<u{dtype.itemsize}", offset=1)
