r"""Where the nonzeros are, as the number of zeros before each: small numbers to code.

Two ways to write a gap so that few different symbols occur:

    capped     g = q * longest + r: q times the symbol `longest`, which says "so many
               zeros and no weight yet", then the symbol r < longest
    bucketed   v = g + 2 = 1 m x x x ... in binary: the symbol says how long v is and
               the bit m, the bits x follow as they are

Capping is Deep Compression's way (there `longest` zeros carry a padding zero weight
instead). Bucketing needs about two symbols for every doubling and no escape: it is the
better one where gaps are long or come in runs.

Paper: Han, Mao and Dally, "Deep Compression: Compressing Deep Neural Networks with
Pruning, Trained Quantization and Huffman Coding", 2015, arXiv:1510.00149, section 2.
Differs from the paper: a capped gap stores no weight; the longest gap is chosen.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]


def gaps_of(places: ArrayLike) -> Ints:
    """Return the number of empty places before each place.

    Args:
        places: Ascending integers of at least 0, shape (count,).

    Raises:
        ValueError: If they do not ascend.

    Example:
        >>> gaps_of([0, 1, 5])
        array([0, 0, 3])
    """
    taken = np.asarray(places, dtype=np.int64)
    gaps: Ints = taken - np.concatenate([[-1], taken[:-1]]) - 1
    if gaps.size and gaps.min() < 0:
        raise ValueError("places must ascend from at least 0, got some that do not")
    return gaps


def places_of(gaps: ArrayLike) -> Ints:
    """Return the places that `gaps_of` came from.

    Example:
        >>> places_of([0, 0, 3])
        array([0, 1, 5])
    """
    return np.cumsum(np.asarray(gaps, dtype=np.int64) + 1) - 1


def cap_gaps(gaps: ArrayLike, longest: int) -> Ints:
    """Write each gap as symbols in [0, longest].

    Args:
        gaps: At least 0, shape (count,).
        longest: The symbol that stands for as many zeros and no weight, at least 1;
            2**bits - 1 in the paper, with 8 bits for convolutions and 5 for the rest.

    Returns:
        At least as many symbols as gaps.

    Raises:
        ValueError: If `longest` is below 1.

    Example:
        >>> cap_gaps([2, 7], 3)  # 7 = 3 + 3 + 1
        array([2, 3, 3, 1])
    """
    _require_longest(longest)
    whole, rest = np.divmod(np.asarray(gaps, dtype=np.int64), longest)
    ends = np.cumsum(whole + 1)
    symbols = np.full(int(ends[-1]) if ends.size else 0, longest, dtype=np.int64)
    symbols[ends - 1] = rest
    return symbols


def uncap_gaps(symbols: ArrayLike, longest: int) -> Ints:
    """Return the gaps that `cap_gaps` wrote.

    Raises:
        ValueError: If a symbol is out of range, or the last is `longest`.

    Example:
        >>> uncap_gaps([2, 3, 3, 1], 3)
        array([2, 7])
    """
    _require_longest(longest)
    written = np.asarray(symbols, dtype=np.int64)
    if written.size and not (
        written.min() >= 0 and written.max() <= longest and written[-1] < longest
    ):
        raise ValueError(
            f"symbols must lie in [0, {longest}] and end below {longest}, got "
            f"{written.min()} to {written.max()}, and {written[-1]} last"
        )
    ends = np.flatnonzero(written < longest)
    zeros = np.cumsum(written)[ends]
    gaps: Ints = zeros - np.concatenate([[0], zeros[:-1]])
    return gaps


def bucket_gaps(gaps: ArrayLike) -> tuple[Ints, NDArray[np.uint8]]:
    """Write each gap as a bucket and the bits that say where in it.

    Args:
        gaps: In [0, 2**40), shape (count,).

    Returns:
        The buckets, shape (count,), below 80; and the bits of all gaps one after
        another, each a uint8 of 0 or 1.

    Example:
        >>> bucket_gaps([0, 1, 2, 5])  # 5 + 2 = 7 = 111 in binary
        (array([0, 1, 2, 3]), array([0, 1], dtype=uint8))
    """
    numbers = np.asarray(gaps, dtype=np.int64) + 2
    # Below 2**53 the float's exponent is exact.
    extra = np.frexp(numbers.astype(np.float64))[1].astype(np.int64) - 2
    buckets = 2 * extra + (numbers >> extra & 1)
    ends = np.cumsum(extra)
    shift = np.repeat(ends, extra) - np.arange(1, ends[-1] + 1 if ends.size else 1)
    return buckets, (np.repeat(numbers, extra) >> shift & 1).astype(np.uint8)


def unbucket_gaps(buckets: ArrayLike, bits: ArrayLike) -> Ints:
    """Return the gaps that `bucket_gaps` wrote.

    Args:
        buckets: Shape (count,).
        bits: 0 or 1, at least as many as the buckets need.

    Raises:
        ValueError: If a bucket is out of range, or there are too few bits.

    Example:
        >>> unbucket_gaps([0, 1, 2, 3], [0, 1])
        array([0, 1, 2, 5])
    """
    written = np.asarray(buckets, dtype=np.int64)
    if written.size and not (written.min() >= 0 and written.max() < 80):
        raise ValueError(
            f"buckets must lie in [0, 80), got {written.min()} to {written.max()}"
        )
    extra = written >> 1
    ends = np.cumsum(extra)
    needed = int(ends[-1]) if ends.size else 0
    given = np.asarray(bits, dtype=np.int64).ravel()
    if len(given) < needed:
        raise ValueError(f"bits must be at least {needed}, got {len(given)}")
    shift = np.repeat(ends, extra) - np.arange(1, needed + 1)
    sums = np.concatenate([[0], np.cumsum(given[:needed] << shift)])
    gaps: Ints = (2 + (written & 1) << extra) + sums[ends] - sums[ends - extra] - 2
    return gaps


def _require_longest(longest: int) -> None:
    if longest < 1:
        raise ValueError(f"longest must be at least 1, got {longest}")
