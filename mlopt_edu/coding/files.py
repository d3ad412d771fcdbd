"""Compressed state dicts on disk: the file's size is the number that may be reported.

    "MLC1"              4 bytes
    length of header    4 bytes, little-endian
    header              JSON, deflated: name, type, shape, form and part sizes of each
    parts               codebook, positions, indices of each tensor, one after another
    checksum            CRC-32 of everything before, 4 bytes

Nothing in it is code. Whatever was damaged or cut off is found by the checksum.
"""

import json
import math
import os
import secrets
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlopt_edu.coding.bits import Reader
from mlopt_edu.coding.coders import CODERS, Coder
from mlopt_edu.coding.tensors import (
    DTYPES,
    Coded,
    decode_tensor,
    encode_tensor,
)

_MAGIC = b"MLC1"
_LARGEST_HEADER = 1 << 26


@dataclass(frozen=True)
class TensorBytes:
    """What one tensor takes.

    Attributes:
        name: Its name in the state.
        form: How it is stored: "raw", "shared", "sparse", or "same as" another tensor.
        dense: Bytes in memory.
        codebook: Bytes of its distinct values.
        positions: Bytes that say where its nonzeros are.
        indices: Bytes that say which value each has; of a raw tensor, all.
        bound: Entropy of its entries in bytes: what no code does better that takes
            each by itself. Codes that use runs of zeros may.
    """

    name: str
    form: str
    dense: int
    codebook: int
    positions: int
    indices: int
    bound: float

    @property
    def stored(self) -> int:
        """Bytes of all its parts."""
        return self.codebook + self.positions + self.indices


@dataclass(frozen=True)
class Account:
    """Where the bytes of a file are; as a string, a table.

    Attributes:
        tensors: Each tensor's bytes, in the order of the state.
        header: Bytes of the header and checksum.
    """

    tensors: tuple[TensorBytes, ...]
    header: int

    @property
    def dense(self) -> int:
        """Bytes of all tensors in memory; a shared one once."""
        return sum(tensor.dense for tensor in self.tensors)

    @property
    def total(self) -> int:
        """Size of the file in bytes."""
        return self.header + sum(tensor.stored for tensor in self.tensors)

    @property
    def ratio(self) -> float:
        """How many times smaller the file is than the tensors in memory."""
        return self.dense / self.total

    def __str__(self) -> str:
        columns = ("dense", "codebook", "positions", "indices", "stored", "bound")
        head = f"{'tensor':28}{'form':12}" + "".join(f"{c:>11}" for c in columns)
        rows = [
            f"{t.name:28}{t.form:12}{t.dense:>11,}{t.codebook:>11,}{t.positions:>11,}"
            f"{t.indices:>11,}{t.stored:>11,}{t.bound:>11,.0f}"
            for t in self.tensors
        ]
        foot = f"{'header':84}{self.header:>11,}"
        last = f"{f'total: {self.ratio:.1f} times smaller':40}{self.dense:>11,}"
        return "\n".join([head, *rows, foot, f"{last}{self.total:>44,}"])


def save_compressed(
    path: str | os.PathLike[str],
    state: Mapping[str, Tensor],
    *,
    raw_dtype: torch.dtype | None = None,
    coders: Sequence[Coder] = CODERS,
) -> Account:
    """Write a state dict in the smallest form that comes back bit for bit.

    Tensors with few distinct values, pruned or not, become codebook and coded indices;
    others are stored as they are. The file appears whole or not at all.

    Args:
        path: Where to; a file that is there is replaced.
        state: Tensors by name, as of `model.state_dict()` after `make_permanent_`.
        raw_dtype: Round the floating-point tensors that are stored as they are to this
            type first, such as torch.float16: the one thing that is not bit for bit.
        coders: Which may be used; `[Huffman()]` as in the paper.

    Returns:
        Where the bytes are; `total` is the size of the file.

    Raises:
        TypeError: If the state holds something else than dense tensors.
    """
    content, account = _encode(state, raw_dtype, coders)
    target = Path(path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return account


def load_compressed(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the tensors that `save_compressed` wrote, by name, on the CPU.

    Names that stood for one tensor do so again.

    Args:
        path: The file.

    Raises:
        ValueError: If it is not such a file, or damaged.
        OSError: If it cannot be read.
    """
    content = Path(path).read_bytes()
    try:
        return _decode(content)
    except (
        ArithmeticError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
        struct.error,
        zlib.error,
    ) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
    raise ValueError(
        f"{os.fspath(path)} must be a whole file written by save_compressed: {reason}"
    )


def compressed_bytes(
    state: Mapping[str, Tensor],
    *,
    raw_dtype: torch.dtype | None = None,
    coders: Sequence[Coder] = CODERS,
) -> Account:
    """Return what `save_compressed` would write, without writing.

    Args:
        state: Tensors by name.
        raw_dtype: As for `save_compressed`.
        coders: As for `save_compressed`.

    Example:
        >>> weight = torch.zeros(300, 784)
        >>> weight[:, ::50] = 0.5
        >>> account = compressed_bytes({"weight": weight})
        >>> account.dense, account.tensors[0].form, account.total < 200
        (940800, 'sparse', True)
    """
    return _encode(state, raw_dtype, coders)[1]


def _encode(
    state: Mapping[str, Tensor],
    raw_dtype: torch.dtype | None,
    coders: Sequence[Coder],
) -> tuple[bytes, Account]:
    entries: list[list[Any]] = []
    parts: list[bytes] = []
    accounts = []
    known: dict[tuple[Any, ...], str] = {}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or not isinstance(name, str):
            raise TypeError(
                f"state must map names to tensors, got {type(tensor).__name__} for "
                f"{name!r}"
            )
        first = known.setdefault(_identity(name, tensor), name)
        if first != name:
            entries.append([name, first])
            accounts.append(TensorBytes(name, f"same as {first}", 0, 0, 0, 0, 0.0))
            continue
        coded = _encode_one(name, tensor, raw_dtype, coders)
        kind = str(tensor.dtype).removeprefix("torch.")
        codebook, positions, indices = sizes = [len(part) for part in coded.parts]
        entries.append([name, kind, list(tensor.shape), coded.form, sizes])
        parts += coded.parts
        accounts.append(
            TensorBytes(
                name,
                coded.form,
                tensor.nbytes,
                codebook,
                positions,
                indices,
                coded.bound,
            )
        )
    header = zlib.compress(json.dumps(entries, separators=(",", ":")).encode(), 9)
    content = b"".join([_MAGIC, struct.pack("<I", len(header)), header, *parts])
    content += struct.pack("<I", zlib.crc32(content))
    return content, Account(tuple(accounts), len(header) + 12)


def _encode_one(
    name: str, tensor: Tensor, raw_dtype: torch.dtype | None, coders: Sequence[Coder]
) -> Coded:
    try:
        coded = encode_tensor(tensor, coders=coders)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    if coded.form == "raw" and raw_dtype and tensor.is_floating_point():
        rounded = tensor.detach().to(raw_dtype).to(tensor.dtype)
        coded = encode_tensor(rounded, coders=coders)
    return coded


def _identity(name: str, tensor: Tensor) -> tuple[Any, ...]:
    """Return what two names of one tensor have in common."""
    if tensor.layout is not torch.strided or not tensor.numel() or tensor.is_meta:
        return (name,)
    return (
        tensor.device,
        tensor.data_ptr(),
        tensor.dtype,
        tuple(tensor.shape),
        tensor.stride(),
    )


def _decode(content: bytes) -> dict[str, Tensor]:
    if content[:4] != _MAGIC:
        raise ValueError("it does not begin like one")
    if len(content) < 12 or zlib.crc32(content[:-4]) != _crc_at_end(content):
        raise ValueError("its checksum is wrong, it was damaged or cut off")
    reader = Reader(content[4:-4])
    (length,) = struct.unpack("<I", reader.take(4))
    inflate = zlib.decompressobj()
    header = inflate.decompress(reader.take(length), _LARGEST_HEADER)
    if not inflate.eof:
        raise ValueError("its header is too long")
    state: dict[str, Tensor] = {}
    for entry in json.loads(header):
        if len(entry) == 2:
            name, first = entry
            state[name] = state[first]
            continue
        name, kind, shape, form, sizes = entry
        if any(not isinstance(size, int) or size < 0 for size in shape):
            raise ValueError(f"{name} has no shape")
        if kind not in DTYPES:
            raise ValueError(f"{name} has the unknown type {kind}")
        if math.prod(shape) > 1 << 48:
            raise ValueError(f"{name} is too large")
        parts = [reader.take(size) for size in sizes]
        state[name] = decode_tensor(form, parts, shape, DTYPES[kind])
    if reader.rest():
        raise ValueError("it goes on after its tensors")
    return state


def _crc_at_end(content: bytes) -> int:
    (checksum,) = struct.unpack("<I", content[-4:])
    return int(checksum)
