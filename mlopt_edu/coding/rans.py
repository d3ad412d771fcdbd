r"""rANS: an arithmetic coder that is a number; symbols cost fractions of a bit.

With frequencies f_s that add up to M = 2^p, and c_s the sum of those before s,

    encode   x <- (x div f_s) * M + c_s + x mod f_s
    decode   s from x mod M, then x <- f_s * (x div M) + x mod M - c_s

The number x grows by the factor M / f_s, that is by log2(1 / share) bits: a symbol with
share 0.97 costs 0.04 bits where Huffman's shortest code costs 1. To keep x in 32 bits
its low 16 bits move to the output whenever it would grow over them, and back when
decoding. Symbols come out in the opposite order, so the encoder starts from the end.

One state is sequential. Here many lanes, each with a state of its own, take turns in
one output, so that NumPy advances all of them at once. A lane costs 2 to 4 bytes.

Paper: Duda, "Asymmetric numeral systems: entropy coding combining speed of Huffman
coding with compression rate of arithmetic coding", 2013, arXiv:1311.2540; lanes:
Giesen, "Interleaved entropy coders", 2014, arXiv:1402.3392. Differs from the
papers: nothing.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]

_LOWEST = 1 << 16  # A state lies in [2**16, 2**32).


def scaled_frequencies(counts: ArrayLike, precision: int) -> Ints:
    """Return whole frequencies that add up to 2**precision, nearly in proportion.

    Args:
        counts: How often each symbol occurs, at least 1; shape (symbols,).
        precision: In [0, 16], with 2**precision at least the number of symbols.

    Returns:
        Integers of at least 1, shape (symbols,).

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> scaled_frequencies([970, 20, 10], 4)
        array([14,  1,  1])
    """
    weights = np.asarray(counts, dtype=np.float64).ravel()
    if not 0 <= precision <= 16:
        raise ValueError(f"precision must lie in [0, 16], got {precision}")
    free = (1 << precision) - len(weights)
    if not weights.size or weights.min() < 1 or free < 0:
        raise ValueError(
            f"counts must be 1 to {1 << precision} numbers of at least 1, got "
            f"{len(weights)} from {weights.min() if weights.size else 'none'}"
        )
    # Each gets 1, the rest is shared; the largest remainders are rounded up.
    shares = weights / weights.sum() * free
    frequencies: Ints = np.floor(shares).astype(np.int64)
    missing = free - int(frequencies.sum())
    up = np.argsort(frequencies - shares, kind="stable")[:missing]
    frequencies[up] += 1
    frequencies += 1
    return frequencies


def rans_encode(symbols: ArrayLike, frequencies: ArrayLike, *, lanes: int = 1) -> bytes:
    """Write symbols as the final states of all lanes and the 16-bit words between.

    Args:
        symbols: Integers in [0, len(frequencies)), shape (count,).
        frequencies: As of `scaled_frequencies`: at least 1, their sum a power of two
            and at most 2**16.
        lanes: How many states take turns, at least 1.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> len(rans_encode([0] * 1000 + [1] * 8, [254, 2]))  # entropy: 8.3 bytes
        12
    """
    drawn = np.asarray(symbols, dtype=np.int64).ravel()
    shares, precision = _checked(frequencies)
    if lanes < 1:
        raise ValueError(f"lanes must be at least 1, got {lanes}")
    if drawn.size and not (drawn.min() >= 0 and drawn.max() < len(shares)):
        raise ValueError(
            f"symbols must lie in [0, {len(shares)}), got {drawn.min()} to "
            f"{drawn.max()}"
        )
    starts = np.cumsum(shares) - shares
    states = np.full(lanes, _LOWEST, dtype=np.int64)
    words = []
    last = len(drawn) // lanes * lanes
    for begin in range(last, -1, -lanes):
        turn = drawn[begin : begin + lanes]
        share = shares[turn]
        x = states[: len(turn)]
        full = x >= share << (32 - precision)
        words.append(x[full].astype("<u2"))
        x = np.where(full, x >> 16, x)
        whole, part = np.divmod(x, share)
        states[: len(turn)] = (whole << precision) + part + starts[turn]
    return states.astype("<u4").tobytes() + b"".join(w.tobytes() for w in words[::-1])


def rans_decode(
    data: bytes, frequencies: ArrayLike, count: int, *, lanes: int = 1
) -> Ints:
    """Read `count` symbols that `rans_encode` wrote with the same frequencies.

    Args:
        data: The bytes, all of them and no more.
        frequencies: At least 1, their sum a power of two and at most 2**16.
        count: How many symbols.
        lanes: As in encoding.

    Raises:
        ValueError: If the data does not come from these arguments.

    Example:
        >>> rans_decode(rans_encode([1, 0, 0, 1], [3, 1]), [3, 1], 4)
        array([1, 0, 0, 1])
    """
    shares, precision = _checked(frequencies)
    if lanes < 1 or count < 0:
        raise ValueError(
            f"lanes must be at least 1 and count at least 0, got {lanes} and {count}"
        )
    if len(data) < 4 * lanes or len(data) % 2:
        raise ValueError(
            f"data must be {lanes} states and whole words, got {len(data)} bytes"
        )
    states = np.frombuffer(data, "<u4", lanes).astype(np.int64)
    # A turn reads a word a lane at most; zeros stand in for what is missing.
    words = np.frombuffer(data, "<u2", offset=4 * lanes).astype(np.int64)
    end = len(words)
    words = np.concatenate([words, np.zeros(lanes, dtype=np.int64)])
    symbol_of = np.repeat(np.arange(len(shares)), shares)
    share_of = shares[symbol_of]
    offset_of = np.arange(1 << precision) - (np.cumsum(shares) - shares)[symbol_of]
    mask = (1 << precision) - 1

    symbols = np.empty(count, dtype=np.int64)
    place = 0
    for begin in range(0, count, lanes):
        turn = symbols[begin : begin + lanes]
        x = states[: len(turn)]
        slots = x & mask
        turn[:] = symbol_of[slots]
        x = share_of[slots] * (x >> precision) + offset_of[slots]
        small = np.flatnonzero(x < _LOWEST)
        if len(small):
            x[small] = x[small] << 16 | words[place : place + len(small)]
            place += len(small)
            if place > end:
                raise ValueError(f"data must hold {count} symbols, ends before")
        states[: len(turn)] = x
    if place != end or (states != _LOWEST).any():
        raise ValueError("data must end where the symbols do, and it does not")
    return symbols


def _checked(frequencies: ArrayLike) -> tuple[Ints, int]:
    shares = np.asarray(frequencies, dtype=np.int64).ravel()
    total = int(shares.sum())
    if not shares.size or shares.min() < 1 or total > 1 << 16 or total & (total - 1):
        raise ValueError(
            "frequencies must be at least 1 and add up to a power of two of at most "
            f"65536, got the sum {total}"
        )
    return shares, total.bit_length() - 1
