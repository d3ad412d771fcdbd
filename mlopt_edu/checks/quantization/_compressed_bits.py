"""Task 12: what a pruned layer with shared weights takes, all of it counted."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Integers


def compressed_bits_reference(codes: Integers, n_values: int) -> int:
    """Huffman codes of the values, Huffman codes of the gaps, and the codebook."""
    places = np.flatnonzero(codes)
    total = 32 * n_values
    for symbols in (codes[places], np.diff(places, prepend=-1)):
        counts = list(Counter(symbols.tolist()).values())
        if len(counts) == 1:
            total += sum(counts)
        heapq.heapify(counts)
        while len(counts) > 1:
            merged = heapq.heappop(counts) + heapq.heappop(counts)
            heapq.heappush(counts, merged)
            total += merged
    return total


def _layers(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = np.array([0, 2, 0, 0, 1, 2, 0, 2, 0, 3])
    yield Case("ten weights", {"codes": by_hand, "n_values": 3})
    for n, n_values, kept, label in (
        (60, 4, 0.3, "60 weights"),
        (400, 15, 0.1, "400 weights, nine of ten pruned"),
        (150, 8, 0.6, "few are pruned"),
        (50, 3, 1.0, "none is pruned"),
        (300, 2, 0.05, "two values"),
        (70, 31, 0.4, "values that are never used"),
        (1, 4, 1.0, "one weight"),
        (20, 5, 0.0, "all are pruned"),
    ):
        shares = rng.dirichlet(np.full(n_values, 0.7))
        codes = rng.choice(np.arange(1, n_values + 1), size=n, p=shares)
        codes = codes * (rng.random(n) < kept)
        yield Case(label, {"codes": codes, "n_values": n_values})
    one = 2 * (rng.random(80) < 0.2)
    yield Case("one value in use", {"codes": one.astype(np.int64), "n_values": 4})


compressed_bits = Task(
    "compressed_bits",
    points=2,
    section="11 · What goes wrong",
    reference=compressed_bits_reference,
    draw=_layers,
    forbid=LIBRARIES,
    hints=(
        "Three things must be stored, or nobody can build the layer again: which "
        "value, where, and what the values are. Count each by itself.",
        "A Huffman code joins the two smallest counts until one is left. All its "
        "codes together take the sum of the joined counts.",
        "`np.diff(np.flatnonzero(codes), prepend=-1)` are the gaps. `heapq.heappop` "
        "twice, add, `heapq.heappush`. One symbol alone takes one bit each time, and "
        "the codebook `32 * n_values`.",
    ),
)


def _huffman(symbols: Iterable[int]) -> int:
    counts = sorted(Counter(symbols).values())
    total = counts[0] if len(counts) == 1 else 0
    while len(counts) > 1:
        merged = counts[0] + counts[1]
        counts = sorted([*counts[2:], merged])
        total += merged
    return total


def _fixed(symbols: Integers) -> int:
    """Bits if all symbols in use had codes of one length."""
    kinds = len(np.unique(symbols))
    return len(symbols) * max(1, int(np.ceil(np.log2(max(kinds, 1)))))


def _parts(codes: Integers) -> tuple[Integers, Integers]:
    places = np.flatnonzero(codes)
    return codes[places], np.diff(places, prepend=-1)


@compressed_bits.mistake
def values_alone(codes: Integers, n_values: int) -> int:
    """You count the codes of the values alone, without the index and the codebook.

    Nobody could tell where the values belong, nor what they are.
    """
    return _huffman(_parts(codes)[0].tolist())


@compressed_bits.mistake
def codebook_left_out(codes: Integers, n_values: int) -> int:
    """The codebook is missing: 32 bits for each of the shared values."""
    return compressed_bits_reference(codes, 0)


@compressed_bits.mistake
def index_left_out(codes: Integers, n_values: int) -> int:
    """The index is missing: without the gaps nobody knows where the values belong."""
    return _huffman(_parts(codes)[0].tolist()) + 32 * n_values


@compressed_bits.mistake
def all_of_one_length(codes: Integers, n_values: int) -> int:
    """Your codes have all the same length: Huffman gives frequent ones short codes."""
    values, gaps = _parts(codes)
    return _fixed(values) + _fixed(gaps) + 32 * n_values


@compressed_bits.mistake
def gaps_of_one_length(codes: Integers, n_values: int) -> int:
    """The values are right, but the gaps get a Huffman code of their own too."""
    values, gaps = _parts(codes)
    return _huffman(values.tolist()) + _fixed(gaps) + 32 * n_values


@compressed_bits.mistake
def places_for_gaps(codes: Integers, n_values: int) -> int:
    """You code the places, and each occurs once; gaps repeat, and code much shorter."""
    values, _ = _parts(codes)
    places = np.flatnonzero(codes).tolist()
    return _huffman(values.tolist()) + _huffman(places) + 32 * n_values


@compressed_bits.mistake
def zeros_coded(codes: Integers, n_values: int) -> int:
    """You code the zeros too, in place of gaps; a pruned weight is in no list here."""
    return _huffman(codes.tolist()) + 32 * n_values


@compressed_bits.mistake
def first_gap_left_out(codes: Integers, n_values: int) -> int:
    """The first gap is missing: that from just before the start to the first weight."""
    values, gaps = _parts(codes)
    return _huffman(values.tolist()) + _huffman(gaps[1:].tolist()) + 32 * n_values


@compressed_bits.mistake
def first_gap_counted_from_zero(codes: Integers, n_values: int) -> int:
    """Your first gap counts from place 0; the others would call that a gap of 1.

    Count it from just before the start: `prepend=-1`.
    """
    values, _ = _parts(codes)
    gaps = np.diff(np.flatnonzero(codes), prepend=0).tolist()
    return _huffman(values.tolist()) + _huffman(gaps) + 32 * n_values


@compressed_bits.mistake
def entropy_for_code(codes: Integers, n_values: int) -> float:
    """This is the entropy, which a code of whole bits only comes near to."""
    total = 32.0 * n_values
    for symbols in _parts(codes):
        _, counts = np.unique(symbols, return_counts=True)
        total += float(np.sum(counts * np.log2(np.sum(counts) / counts)))
    return total


@compressed_bits.mistake
def one_symbol_for_nothing(codes: Integers, n_values: int) -> int:
    """If only one symbol occurs you count no bits for it; it takes one each time."""
    free = sum(len(s) for s in _parts(codes) if len(np.unique(s)) == 1)
    return compressed_bits_reference(codes, n_values) - free


@compressed_bits.mistake
def codebook_in_bytes(codes: Integers, n_values: int) -> int:
    """You count 4 for each value of the codebook: those are bytes. It is 32 bits."""
    return compressed_bits_reference(codes, 0) + 4 * n_values


@compressed_bits.mistake
def bytes_for_bits(codes: Integers, n_values: int) -> float:
    """You return bytes; the answer is in bits."""
    return compressed_bits_reference(codes, n_values) / 8


@compressed_bits.mistake
def codebook_of_values_in_use(codes: Integers, n_values: int) -> int:
    """You count the values in use; the codebook stores all `n_values` of them."""
    used = len(np.unique(_parts(codes)[0]))
    return compressed_bits_reference(codes, used)


@compressed_bits.mistake
def zero_in_the_codebook(codes: Integers, n_values: int) -> int:
    """Your codebook has an entry for 0; pruned weights are not stored at all."""
    return compressed_bits_reference(codes, n_values + 1)


@compressed_bits.mistake
def joined_as_they_come(codes: Integers, n_values: int) -> int:
    """You join the two smallest at first, but not the two smallest of what is *left*.

    Put the sum back where it belongs in the order: `heapq.heappush`.
    """
    total = 32 * n_values
    for symbols in _parts(codes):
        counts = sorted(Counter(symbols.tolist()).values())
        if len(counts) == 1:
            total += counts[0]
        for n in range(2, len(counts) + 1):
            total += sum(counts[:n])
    return total


@compressed_bits.mistake
def values_of_one_length(codes: Integers, n_values: int) -> int:
    """The gaps are right, but the values get a Huffman code of their own too."""
    values, gaps = _parts(codes)
    length = int(np.ceil(np.log2(n_values)))
    return len(values) * length + _huffman(gaps.tolist()) + 32 * n_values


@compressed_bits.mistake
def zeros_among_the_values(codes: Integers, n_values: int) -> int:
    """You code the zeros among the values; the gaps say already where they are."""
    _, gaps = _parts(codes)
    return _huffman(codes.tolist()) + _huffman(gaps.tolist()) + 32 * n_values


@compressed_bits.mistake
def mask_for_gaps(codes: Integers, n_values: int) -> int:
    """You store a bit for each place, pruned or not; here the gaps are coded."""
    return _huffman(_parts(codes)[0].tolist()) + 32 * n_values + len(codes)


@compressed_bits.mistake
def gap_after_the_last(codes: Integers, n_values: int) -> int:
    """You count a gap after the last weight; each gap *ends* at one that is left."""
    values, _ = _parts(codes)
    gaps = np.diff(np.flatnonzero(codes), prepend=-1, append=len(codes)).tolist()
    return _huffman(values.tolist()) + _huffman(gaps) + 32 * n_values


@compressed_bits.mistake
def one_code_for_both(codes: Integers, n_values: int) -> int:
    """You put values and gaps into one Huffman code; each has its own."""
    values, gaps = _parts(codes)
    return _huffman([*values.tolist(), *gaps.tolist()]) + 32 * n_values


@compressed_bits.mistake
def pairs_coded(codes: Integers, n_values: int) -> int:
    """You code pairs of a value and its gap; each of the two has its own code."""
    values, gaps = _parts(codes)
    return _huffman((values * (len(codes) + 1) + gaps).tolist()) + 32 * n_values


@compressed_bits.mistake
def values_left_out(codes: Integers, n_values: int) -> int:
    """You count gaps and codebook, but not which value each weight has."""
    return _huffman(_parts(codes)[1].tolist()) + 32 * n_values
