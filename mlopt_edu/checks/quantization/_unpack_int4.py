"""Task 5: the signed integers of four bits, out of their bytes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task
from ._problem import LIBRARIES, Integers

Bytes = NDArray[np.uint8]


def unpack_int4_reference(packed: Bytes, n: int) -> Integers:
    """Take the low half and then the high half of each byte, and extend the sign."""
    nibbles = np.empty(2 * len(packed), dtype=np.int64)
    nibbles[::2] = packed & 15
    nibbles[1::2] = packed >> 4
    return np.where(nibbles >= 8, nibbles - 16, nibbles)[:n]


def _packed(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = np.array([0x21, 0x7F, 0x08], dtype=np.uint8)
    yield Case("five values", {"packed": by_hand, "n": 5})
    for n, label in (
        (6, "an even number"),
        (7, "an odd number"),
        (1, "one value"),
        (40, "forty"),
        (31, "thirty-one"),
    ):
        packed = rng.integers(0, 256, size=(n + 1) // 2).astype(np.uint8)
        yield Case(label, {"packed": packed, "n": n})
    every = np.arange(256).astype(np.uint8)
    yield Case("every byte", {"packed": every, "n": 512})
    yield Case("nothing", {"packed": every[:0], "n": 0})


unpack_int4 = Task(
    "unpack_int4",
    points=1,
    section="11 · Write it small",
    reference=unpack_int4_reference,
    draw=_packed,
    forbid=LIBRARIES,
    hints=(
        "`packed & 15` is the low half of each byte and `packed >> 4` the high one. In "
        "which order do they follow one another?",
        "Four bits hold 0 to 15. From 8 on they stand for negative numbers: 15 for -1, "
        "8 for -8.",
        "Give the halves a signed type (`astype(np.int64)`) before you subtract 16 "
        "where they are 8 or more: uint8 has no -1. Keep the first `n` at the end.",
    ),
)


def _halves(packed: Bytes) -> Integers:
    both = np.stack([packed & 15, packed >> 4], axis=1)
    return both.ravel().astype(np.int64)


@unpack_int4.mistake
def sign_not_extended(packed: Bytes, n: int) -> Integers:
    """You return 0 to 15: from 8 on the four bits stand for negative numbers.

    The highest of the four bits is the sign; extend it, so that 15 becomes -1.
    """
    return _halves(packed)[:n]


@unpack_int4.mistake
def high_half_first(packed: Bytes, n: int) -> Integers:
    """The packing order is reversed: the low half of a byte comes first."""
    swapped = ((packed >> 4) | (packed << 4)).astype(np.uint8)
    return unpack_int4_reference(swapped, n)


@unpack_int4.mistake
def no_sign_in_uint8(packed: Bytes, n: int) -> Bytes:
    """You subtract in uint8, which has no -1 and gives 255: take a signed type."""
    return unpack_int4_reference(packed, n).astype(np.uint8)


@unpack_int4.mistake
def padding_returned(packed: Bytes, n: int) -> Integers:
    """If `n` is odd you return one value too many: keep the first `n`."""
    return unpack_int4_reference(packed, 2 * len(packed))


@unpack_int4.mistake
def eight_subtracted(packed: Bytes, n: int) -> Integers:
    """You subtract 8 from every value; in two's complement 1 is 1, and 15 is -1."""
    return _halves(packed)[:n] - 8


@unpack_int4.mistake
def eight_taken_as_positive(packed: Bytes, n: int) -> Integers:
    """You leave 8 as it is, but its sign bit is set: it stands for -8."""
    halves = _halves(packed)[:n]
    return np.where(halves > 8, halves - 16, halves)


@unpack_int4.mistake
def fifteen_subtracted(packed: Bytes, n: int) -> Integers:
    """You subtract 15 where the sign is set; four bits have *16* values: 15 is -1."""
    halves = _halves(packed)[:n]
    return np.where(halves >= 8, halves - 15, halves)


@unpack_int4.mistake
def sign_and_size(packed: Bytes, n: int) -> Integers:
    """You read a sign bit and a size; in two's complement 15 is -1, not -7."""
    halves = _halves(packed)[:n]
    return np.where(halves >= 8, -(halves & 7), halves)


@unpack_int4.mistake
def all_low_halves_first(packed: Bytes, n: int) -> Integers:
    """You list all low halves and then all high ones; each byte holds *neighbours*."""
    halves = np.concatenate([packed & 15, packed >> 4]).astype(np.int64)
    return np.where(halves >= 8, halves - 16, halves)[:n]


@unpack_int4.mistake
def high_half_still_high(packed: Bytes, n: int) -> Integers:
    """The high half still stands in the high bits: shift it down by four."""
    high = np.stack([packed & 15, packed & 240], axis=1).ravel().astype(np.int64)
    return np.where(high >= 8, high - 16, high)[:n]


@unpack_int4.mistake
def low_half_with_the_high_one(packed: Bytes, n: int) -> Integers:
    """The first of each two is the whole byte: keep its low four bits, `& 15`."""
    both = np.stack([packed, packed >> 4], axis=1).ravel().astype(np.int64)
    return np.where(both >= 8, both - 16, both)[:n]


@unpack_int4.mistake
def low_half_without_a_sign(packed: Bytes, n: int) -> Integers:
    """The high halves are right; the low ones have a sign too, and 15 stands for -1.

    A byte read as int8 keeps the sign of its *high* half alone.
    """
    signed = packed.astype(np.int8)
    both = np.stack([signed & 15, signed >> 4], axis=1)
    return both.ravel().astype(np.int64)[:n]


@unpack_int4.mistake
def last_of_an_odd_number_left_out(packed: Bytes, n: int) -> Integers:
    """If `n` is odd you return one value too few: the last byte holds one more."""
    return unpack_int4_reference(packed, n - n % 2)
