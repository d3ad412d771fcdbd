"""Coders that write all they need: how many symbols, which, how often, and the code.

    bytes = coder + count + alphabet + table + code

The table is part of the size, and for short streams much of it: a count of bits that
leaves it out promises what no file can hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlopt_edu.coding.bits import (
    Reader,
    pack_bits,
    pack_number,
    packed_size,
    unpack_bits,
)
from mlopt_edu.coding.entropy import entropy
from mlopt_edu.coding.huffman import huffman_decode, huffman_encode, huffman_lengths
from mlopt_edu.coding.rans import rans_decode, rans_encode, scaled_frequencies

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Huffman:
    """A canonical Huffman code; the table is the code lengths.

    Example:
        >>> Huffman().decode(Huffman().encode([3, 3, 0, 3]))
        array([3, 3, 0, 3])
    """

    most_symbols: ClassVar[int] = 1 << 24

    def encode(self, symbols: ArrayLike) -> bytes:
        """Return the bytes of integers in [0, 2**24), shape (count,)."""
        head, places, counts = _alphabet(symbols)
        if len(counts) < 2:
            return head
        lengths = huffman_lengths(counts)
        width = int(lengths.max()).bit_length()
        table = pack_number(width) + pack_bits(lengths, width)
        return head + table + huffman_encode(places, lengths)

    def decode(self, data: bytes, *, at_most: int | None = None) -> Ints:
        """Return the symbols that `encode` wrote; see `decode_symbols`."""
        reader = Reader(data)
        count, alphabet = _read_alphabet(reader, at_most)
        if len(alphabet) < 2:
            return alphabet.repeat(count)
        width = reader.number()
        table = reader.take(packed_size(width, len(alphabet)))
        lengths = unpack_bits(table, width, len(alphabet))
        return alphabet[huffman_decode(reader.rest(), lengths, count)]


@dataclass(frozen=True)
class Rans:
    """An rANS code; the table is the frequencies, as precise as it pays.

    Beyond 2**15 different symbols a table costs more than it gains.

    Example:
        >>> Rans().decode(Rans().encode([3, 3, 0, 3]))
        array([3, 3, 0, 3])
    """

    most_symbols: ClassVar[int] = 1 << 15

    def encode(self, symbols: ArrayLike) -> bytes:
        """Return the bytes of integers in [0, 2**24), shape (count,)."""
        head, places, counts = _alphabet(symbols)
        if len(counts) < 2:
            return head
        if len(counts) > self.most_symbols:
            raise ValueError(
                f"symbols must be at most {self.most_symbols} different ones, got "
                f"{len(counts)}"
            )
        precision = _best_precision(counts)
        frequencies = scaled_frequencies(counts, precision)
        # At most 16,384 turns, and more lanes where they cost less than a percent.
        payload = entropy(counts) * len(places) / 8
        lanes = max(1, len(places) >> 14, min(4096, int(payload) // 600))
        table = pack_number(precision) + pack_bits(frequencies - 1, precision)
        code = rans_encode(places, frequencies, lanes=lanes)
        return head + table + pack_number(lanes) + code

    def decode(self, data: bytes, *, at_most: int | None = None) -> Ints:
        """Return the symbols that `encode` wrote; see `decode_symbols`."""
        reader = Reader(data)
        count, alphabet = _read_alphabet(reader, at_most)
        if len(alphabet) < 2:
            return alphabet.repeat(count)
        precision = reader.number()
        table = reader.take(packed_size(precision, len(alphabet)))
        frequencies = unpack_bits(table, precision, len(alphabet)) + 1
        lanes = reader.number()
        return alphabet[rans_decode(reader.rest(), frequencies, count, lanes=lanes)]


Coder = Huffman | Rans
CODERS: tuple[Coder, ...] = (Huffman(), Rans())


def encode_symbols(symbols: ArrayLike, *, coders: Sequence[Coder] = CODERS) -> bytes:
    """Return the symbols in the code that takes the fewest bytes.

    Args:
        symbols: Integers in [0, 2**24), shape (count,).
        coders: Which may be used, at least one.

    Returns:
        One byte that says which, and what it wrote.

    Raises:
        ValueError: If a symbol is out of range or no coder can write them.

    Example:
        >>> encode_symbols([7, 7, 7, 7]).hex()  # Huffman, 4 symbols, below 8, only 7
        '00040e01'
    """
    different = len(np.unique(np.asarray(symbols)))
    able = [coder for coder in coders if different <= coder.most_symbols]
    if not able:
        raise ValueError(
            f"coders must be able to code {different} different symbols, got "
            f"{', '.join(type(coder).__name__ for coder in coders) or 'none'}"
        )
    coded = [bytes([CODERS.index(coder)]) + coder.encode(symbols) for coder in able]
    return min(coded, key=len)


def decode_symbols(data: bytes, *, at_most: int | None = None) -> Ints:
    """Return the symbols that `encode_symbols` wrote.

    Args:
        data: The bytes, all of them and no more.
        at_most: A few bytes can hold any number of symbols: data that says more than
            this is refused before it takes any memory.

    Raises:
        ValueError: If the data was not written so.

    Example:
        >>> decode_symbols(encode_symbols([3, 0, 3]))
        array([3, 0, 3])
    """
    if not data or data[0] >= len(CODERS):
        raise ValueError("data must begin with a coder's number, and does not")
    return CODERS[data[0]].decode(data[1:], at_most=at_most)


def _alphabet(symbols: ArrayLike) -> tuple[bytes, Ints, Ints]:
    """Return count and alphabet as bytes, each symbol's place in it, and the counts."""
    drawn = np.asarray(symbols, dtype=np.int64).ravel()
    if drawn.size and not (drawn.min() >= 0 and drawn.max() < 1 << 24):
        raise ValueError(
            f"symbols must lie in [0, 2**24), got {drawn.min()} to {drawn.max()}"
        )
    head = pack_number(len(drawn))
    if not drawn.size:
        return head, drawn, drawn
    counts = np.bincount(drawn)
    present = counts > 0
    full = bool(present.all())
    head += pack_number(2 * (len(counts) - 1) + full)
    if not full:
        head += np.packbits(present).tobytes()
    places = np.cumsum(present) - 1
    return head, places[drawn], counts[present]


def _read_alphabet(reader: Reader, at_most: int | None) -> tuple[int, Ints]:
    count = reader.number()
    if at_most is not None and count > at_most:
        raise ValueError(f"data must hold at most {at_most} symbols, says {count}")
    if not count:
        return 0, np.zeros(0, dtype=np.int64)
    number = reader.number()
    size, full = (number >> 1) + 1, number & 1
    if size > 1 << 24:
        raise ValueError(f"data must have symbols below 2**24, says {size - 1}")
    if full:
        return count, np.arange(size)
    bits = np.frombuffer(reader.take(-(-size // 8)), np.uint8)
    alphabet = np.flatnonzero(np.unpackbits(bits, count=size))
    if not alphabet.size:
        raise ValueError("data must have an alphabet, has an empty one")
    return count, alphabet


def _best_precision(counts: Ints) -> int:
    """Return the precision for which table and code together are smallest."""

    def bits(precision: int) -> float:
        shares = scaled_frequencies(counts, precision) / (1 << precision)
        return len(counts) * precision - float((counts * np.log2(shares)).sum())

    fewest = (len(counts) - 1).bit_length()
    return min(range(fewest, 17), key=bits)
