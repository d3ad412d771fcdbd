r"""Huffman coding: frequent symbols get short codes, and no code begins another.

    join the two rarest symbols into one, until one is left;
    a symbol's code length is how often it was joined

No code of whole bits a symbol is shorter: H <= mean length < H + 1, with the entropy H.
The lengths l_s alone say which codes: taken by length and then by symbol, each is the
one before plus 1 ("canonical"). They fill the space of codes, sum_s 2^-l_s = 1 (Kraft).

A single symbol needs no bits at all: its length is 0, its count says everything.

Decoding is sequential, for where a code begins depends on the length of the one before.
Here the length of the code that would begin at *every* bit is looked up at once; then
only the walk from code to code remains, a list index a symbol.

Paper: Huffman, "A Method for the Construction of Minimum-Redundancy Codes", 1952;
canonical codes: Schwartz and Kallick, "Generating a canonical prefix encoding", 1964.
Differs from the papers: nothing.
"""

import heapq

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]

# A window of 64 bits that begins anywhere in a byte holds 57 bits for sure.
_LONGEST = 57
_CHUNK = 1 << 20


def huffman_lengths(counts: ArrayLike) -> Ints:
    """Return the code length of each symbol, in bits.

    Args:
        counts: How often each symbol occurs, at least 1; shape (symbols,), symbols at
            least 1. Leave out what does not occur.

    Raises:
        ValueError: If a count is below 1 or there is none.

    Example:
        >>> huffman_lengths([5, 2, 1, 1])
        array([1, 2, 3, 3])
    """
    numbers = [int(count) for count in np.asarray(counts).ravel()]
    if not numbers or min(numbers) < 1:
        raise ValueError(
            "counts must be at least one number, each at least 1, got "
            f"{min(numbers) if numbers else 'none'}; leave out what does not occur"
        )
    heap = [(count, node) for node, count in enumerate(numbers)]
    heapq.heapify(heap)
    parents = [0] * (2 * len(numbers) - 1)
    for node in range(len(numbers), len(parents)):
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        parents[first[1]] = parents[second[1]] = node
        heapq.heappush(heap, (first[0] + second[0], node))
    depths = [0] * len(parents)
    for node in range(len(parents) - 2, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return np.array(depths[: len(numbers)], dtype=np.int64)


def canonical_codes(lengths: ArrayLike) -> NDArray[np.uint64]:
    """Return the code of each symbol as a number of as many bits as its length says.

    Args:
        lengths: Code lengths in bits, shape (symbols,), as of `huffman_lengths`.

    Raises:
        ValueError: If they are not the lengths of a complete code.

    Example:
        >>> [f"{code:b}" for code in canonical_codes([2, 1, 2])]
        ['10', '0', '11']
    """
    sizes = _complete(lengths)
    # Left-justified, codes are the running sum of the space that each takes.
    order = np.lexsort((np.arange(len(sizes)), sizes))
    longest = sizes.max()
    space = np.uint64(1) << (longest - sizes[order]).astype(np.uint64)
    starts = np.concatenate([[np.uint64(0)], np.cumsum(space)[:-1]])
    codes = np.empty(len(sizes), dtype=np.uint64)
    codes[order] = starts >> (longest - sizes[order]).astype(np.uint64)
    return codes


def huffman_encode(symbols: ArrayLike, lengths: ArrayLike) -> bytes:
    """Write the codes of symbols, one after another.

    Args:
        symbols: Integers in [0, len(lengths)), shape (count,).
        lengths: Code length of each symbol, in bits.

    Returns:
        The bits, filled up with zeros to whole bytes.

    Raises:
        ValueError: If there is no code for a symbol, or the code is not complete.

    Example:
        >>> f"{huffman_encode([0, 0, 2, 1], [1, 2, 2])[0]:08b}"  # 0 0 11 10
        '00111000'
    """
    drawn = np.asarray(symbols, dtype=np.int64).ravel()
    sizes, codes = _complete(lengths), canonical_codes(lengths)
    if drawn.size and not (drawn.min() >= 0 and drawn.max() < len(sizes)):
        raise ValueError(
            f"symbols must lie in [0, {len(sizes)}), got {drawn.min()} to {drawn.max()}"
        )
    pieces = []
    for begin in range(0, len(drawn), _CHUNK // 4):
        part = drawn[begin : begin + _CHUNK // 4]
        bits = sizes[part]
        ends = np.cumsum(bits)
        shift = np.repeat(ends, bits) - np.arange(1, ends[-1] + 1)
        pieces.append(
            (np.repeat(codes[part], bits) >> shift.astype(np.uint64)).astype(np.uint8)
            & 1
        )
    return np.packbits(np.concatenate(pieces)).tobytes() if pieces else b""


def huffman_decode(data: bytes, lengths: ArrayLike, count: int) -> Ints:
    """Read `count` symbols that `huffman_encode` wrote with the same lengths.

    Args:
        data: The bytes, all of them and no more.
        lengths: Code length of each symbol, in bits.
        count: How many symbols.

    Raises:
        ValueError: If the data ends before or goes on after them.

    Example:
        >>> huffman_decode(bytes.fromhex("38"), [1, 2, 2], 4)
        array([0, 0, 2, 1])
    """
    sizes = _complete(lengths)
    order = np.lexsort((np.arange(len(sizes)), sizes))
    if len(sizes) == 1:
        _require_end(data, 0)
        return np.zeros(count, dtype=np.int64)
    kinds, firsts, numbers = np.unique(
        sizes[order], return_index=True, return_counts=True
    )
    codes = canonical_codes(lengths)[order]
    left = (64 - kinds).astype(np.uint64)
    # The last length's codes end at 2**64: what is above the others has that length.
    limits = ((codes[firsts] + numbers.astype(np.uint64))[:-1]) << left[:-1]
    words = _words(data)

    symbols, place = [], 0
    end, found = 8 * len(data), 0
    for begin in range(0, end, _CHUNK):
        if found == count:
            break
        stop = min(begin + _CHUNK, end)
        windows = words[begin >> 3 : (stop + 7) >> 3].repeat(8)
        windows <<= np.tile(np.arange(8, dtype=np.uint64), len(windows) // 8)
        kind = np.searchsorted(limits, windows, side="right")
        steps = kinds.astype(np.uint8)[kind].tobytes()
        walked: list[int] = []
        while place < stop and found + len(walked) < count:
            walked.append(place)
            place += steps[place - begin]
        found += len(walked)
        at = np.array(walked, dtype=np.int64) - begin
        which = kind[at]
        within = (windows[at] >> left[which]) - codes[firsts][which]
        symbols.append(order[firsts[which] + within.astype(np.int64)])
    if found < count or place > end:
        raise ValueError(f"data must hold {count} symbols, ends after {found}")
    _require_end(data, -(-place // 8))
    return np.concatenate(symbols) if symbols else np.zeros(0, dtype=np.int64)


def _complete(lengths: ArrayLike) -> Ints:
    sizes = np.asarray(lengths, dtype=np.int64).ravel()
    if not sizes.size or sizes.min() < 0 or sizes.max() > _LONGEST:
        raise ValueError(
            f"lengths must be numbers in [0, {_LONGEST}], at least one, got "
            f"{(int(sizes.min()), int(sizes.max())) if sizes.size else 'none'}"
        )
    longest = int(sizes.max())
    filled = int((np.int64(1) << (longest - sizes)).sum())
    if filled != 1 << longest:
        raise ValueError(
            f"lengths must fill the space of codes, got {filled / (1 << longest):g} "
            "of it"
        )
    return sizes


def _words(data: bytes) -> NDArray[np.uint64]:
    """Return for each byte the 64 bits that begin with it."""
    padded = np.frombuffer(data + bytes(8), np.uint8).astype(np.uint64)
    words = np.zeros(len(data), dtype=np.uint64)
    for k in range(8):
        words = words << np.uint64(8) | padded[k : k + len(data)]
    return words


def _require_end(data: bytes, used: int) -> None:
    if len(data) != used:
        raise ValueError(f"data must end after {used} bytes, has {len(data)}")
