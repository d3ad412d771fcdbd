"""Codes: what goes in comes out, in as many bits as theory allows."""

import contextlib
import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlopt_edu.coding import (
    Huffman,
    Rans,
    bucket_gaps,
    canonical_codes,
    cap_gaps,
    decode_symbols,
    encode_symbols,
    entropy,
    gaps_of,
    huffman_decode,
    huffman_encode,
    huffman_lengths,
    pack_bits,
    places_of,
    rans_decode,
    rans_encode,
    scaled_frequencies,
    unbucket_gaps,
    uncap_gaps,
    unpack_bits,
)
from mlopt_edu.coding.bits import Reader, pack_number

steady = settings(max_examples=40, deadline=None, derandomize=True)

counts = st.lists(st.integers(1, 500), min_size=1, max_size=40)


def drawn(counts, size, seed=0):
    """Draw symbols with given relative frequencies."""
    rng = np.random.default_rng(seed)
    shares = np.asarray(counts) / np.sum(counts)
    return rng.choice(len(counts), size=size, p=shares)


# Entropy ---------------------------------------------------------------------------


@steady
@given(counts=st.lists(st.integers(0, 500), max_size=40))
def test_entropy_is_the_formula_and_between_its_bounds(counts):
    total = sum(counts)
    expected = -sum(n / total * math.log2(n / total) for n in counts if n)
    assert entropy(counts) == pytest.approx(expected, abs=1e-12)
    if total:
        assert 0 <= entropy(counts) <= math.log2(sum(n > 0 for n in counts)) + 1e-12


def test_entropy_of_known_distributions():
    assert entropy(np.ones(1024)) == 10.0
    assert entropy([7]) == entropy([]) == entropy([0, 3, 0]) == 0.0
    assert entropy([0.25, 0.25, 0.5]) == 1.5
    for wrong in ([-1.0, 2.0], [math.nan], [math.inf]):
        with pytest.raises(ValueError, match=r"^counts must be finite and at least 0"):
            entropy(wrong)


# Bits ------------------------------------------------------------------------------


@steady
@given(width=st.integers(0, 32), count=st.integers(0, 20), seed=st.integers(0, 99))
def test_packed_numbers_come_back(width, count, seed):
    numbers = np.random.default_rng(seed).integers(0, 1 << width, count)
    data = pack_bits(numbers, width)
    assert len(data) == -(-width * count // 8)
    as_text = "".join(f"{n:0{width}b}" for n in numbers) if width else ""
    assert as_text == "".join(f"{byte:08b}" for byte in data)[: width * count]
    assert np.array_equal(numbers, unpack_bits(data + b"more", width, count))


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"^values must lie in \[0, 8\) .* got 0 to 8$"
    ):
        pack_bits([0, 8], 3)
    with pytest.raises(
        ValueError, match=r"^values must lie in \[0, 8\) .* got -1 to 0$"
    ):
        pack_bits([0, -1], 3)
    with pytest.raises(ValueError, match=r"^width must lie in \[0, 32\], got 33$"):
        pack_bits([0], 33)
    with pytest.raises(ValueError, match=r"^data must be at least 2 bytes, got 1$"):
        unpack_bits(b"a", 3, 5)


@steady
@given(numbers=st.lists(st.integers(0, 2**63 - 1), max_size=9))
def test_numbers_of_any_size_come_back(numbers):
    reader = Reader(b"".join(map(pack_number, numbers)) + b"end")
    assert numbers == [reader.number() for _ in numbers]
    assert reader.rest() == b"end"
    with pytest.raises(ValueError, match=r"^data must go on for 1 bytes, has 0$"):
        reader.number()


def test_a_number_without_end_is_refused():
    with pytest.raises(
        ValueError, match=r"^data must hold a number of at most 63 bits"
    ):
        Reader(b"\xff" * 20).number()
    with pytest.raises(ValueError, match=r"^number must be at least 0, got -1$"):
        pack_number(-1)


# Huffman ---------------------------------------------------------------------------


def best_lengths(counts):
    """Search all complete codes for the fewest bits; for small alphabets."""
    most = len(counts) - 1
    return min(
        sum(n * size for n, size in zip(counts, sizes, strict=True))
        for sizes in product(range(1, most + 1), repeat=len(counts))
        if sum(2.0**-size for size in sizes) <= 1
    )


@steady
@given(counts=st.lists(st.integers(1, 30), min_size=2, max_size=5))
def test_no_code_of_whole_bits_is_shorter(counts):
    assert best_lengths(counts) == huffman_lengths(counts) @ np.array(counts)


def joined_lengths(counts):
    """Huffman's construction by another route: sorted lists of symbols, joined."""
    groups = sorted((n, [i]) for i, n in enumerate(counts))
    lengths = [0] * len(counts)
    while len(groups) > 1:
        (a, first), (b, second) = groups[:2]
        for i in first + second:
            lengths[i] += 1
        groups = sorted([*groups[2:], (a + b, first + second)])
    return lengths


@steady
@given(counts=counts)
def test_huffman_lengths_are_optimal_complete_and_near_the_entropy(counts):
    lengths = huffman_lengths(counts)
    shares = np.array(counts) / sum(counts)
    assert lengths @ np.array(counts) == np.dot(joined_lengths(counts), counts)
    assert sum(2.0**-length for length in lengths) == 1
    assert entropy(counts) - 1e-12 <= lengths @ shares < entropy(counts) + 1


def test_powers_of_two_reach_the_entropy_exactly():
    counts = [2**k for k in (9, 8, 7, 6, 5, 5)]
    lengths = huffman_lengths(counts)
    assert lengths.tolist() == [1, 2, 3, 4, 5, 5]
    assert lengths @ np.array(counts) / sum(counts) == entropy(counts)


@steady
@given(counts=counts)
def test_canonical_codes_ascend_and_none_begins_another(counts):
    lengths = huffman_lengths(counts)
    codes = [
        f"{int(code):0{size}b}" if size else ""
        for code, size in zip(canonical_codes(lengths), lengths, strict=True)
    ]
    order = sorted(range(len(codes)), key=lambda i: (lengths[i], i))
    assert sorted(codes) == [codes[i] for i in order]
    for i in range(1, len(codes)):
        assert not codes[order[i]].startswith(codes[order[i - 1]])
    if len(codes) > 1:
        assert set(codes[order[0]]) == {"0"}
        assert set(codes[order[-1]]) == {"1"}


@steady
@given(counts=counts, size=st.integers(0, 300), seed=st.integers(0, 99))
def test_huffman_comes_back_and_takes_the_bits_it_says(counts, size, seed):
    lengths = huffman_lengths(counts)
    symbols = drawn(counts, size, seed)
    data = huffman_encode(symbols, lengths)
    assert len(data) == -(-int(lengths[symbols].sum()) // 8)
    codes = canonical_codes(lengths)
    text = "".join(f"{int(codes[s]):0{lengths[s]}b}" for s in symbols if lengths[s])
    assert text == "".join(f"{byte:08b}" for byte in data)[: len(text)]
    assert np.array_equal(symbols, huffman_decode(data, lengths, size))


@pytest.mark.parametrize("symbols", [70_000, 2**16])
def test_many_symbols(symbols):
    all_of_them = np.random.default_rng(0).permutation(symbols)
    lengths = huffman_lengths(np.ones(symbols))
    data = huffman_encode(all_of_them, lengths)
    assert np.array_equal(all_of_them, huffman_decode(data, lengths, symbols))


def test_more_than_a_chunk():
    symbols = drawn([70, 20, 6, 3, 1], 800_000)
    lengths = huffman_lengths(np.bincount(symbols))
    data = huffman_encode(symbols, lengths)
    assert len(data) * 8 > 1 << 20
    assert np.array_equal(symbols, huffman_decode(data, lengths, len(symbols)))


def test_very_long_codes():
    fibonacci = [1, 1]
    while len(fibonacci) < 50:
        fibonacci.append(sum(fibonacci[-2:]))
    lengths = huffman_lengths(fibonacci)
    assert lengths.max() == 49
    symbols = np.arange(50).repeat(3)
    data = huffman_encode(symbols, lengths)
    assert np.array_equal(symbols, huffman_decode(data, lengths, 150))


@pytest.mark.parametrize("cut", [0, 1, 5])
def test_missing_and_left_over_bytes_are_seen(cut):
    lengths = [1, 2, 3, 3]
    symbols = drawn([4, 2, 1, 1], 100)
    data = huffman_encode(symbols, lengths)
    with pytest.raises(ValueError, match=r"^data must hold 100 symbols, ends after"):
        huffman_decode(data[:cut], lengths, 100)
    with pytest.raises(ValueError, match=r"^data must end after \d+ bytes, has"):
        huffman_decode(data + b"\0", lengths, 100)
    with pytest.raises(ValueError, match=r"^data must end after 0 bytes, has 1$"):
        huffman_decode(b"\0", [0], 100)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: huffman_lengths([]), r"^counts must be at least one .* got none"),
        (lambda: huffman_lengths([3, 0]), r"^counts must be .* got 0; leave out"),
        (
            lambda: canonical_codes([1, 2]),
            r"^lengths must fill the space .* 0.75 of it",
        ),
        (lambda: canonical_codes([1, 1, 1]), r"^lengths must fill .* 1.5 of it"),
        (lambda: canonical_codes([]), r"^lengths must be numbers .* got none"),
        (lambda: canonical_codes([58, 1]), r"^lengths must be numbers in \[0, 57\]"),
        (lambda: huffman_encode([2], [1, 1]), r"^symbols must lie in \[0, 2\)"),
        (lambda: huffman_encode([-1], [1, 1]), r"^symbols must lie in \[0, 2\)"),
    ],
)
def test_huffman_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# rANS ------------------------------------------------------------------------------


@steady
@given(counts=counts, precision=st.integers(6, 16))
def test_scaled_frequencies_are_whole_positive_and_near(counts, precision):
    frequencies = scaled_frequencies(counts, precision)
    assert int(frequencies.sum()) == 1 << precision
    assert frequencies.min() >= 1
    exact = np.array(counts) / sum(counts) * ((1 << precision) - len(counts)) + 1
    assert np.abs(frequencies - exact).max() < 1


def in_whole_numbers(symbols, frequencies):
    """The state of rANS without limits: one number of any size."""
    total = int(sum(frequencies))
    starts = np.cumsum(frequencies) - frequencies
    x = 1 << 16
    for s in reversed(symbols):
        share = int(frequencies[s])
        x = x // share * total + int(starts[s]) + x % share
    return x


@steady
@given(
    counts=counts,
    size=st.integers(0, 200),
    lanes=st.integers(1, 9),
    precision=st.integers(6, 16),
    seed=st.integers(0, 99),
)
def test_rans_comes_back(counts, size, lanes, precision, seed):
    frequencies = scaled_frequencies(counts, precision)
    symbols = drawn(counts, size, seed)
    data = rans_encode(symbols, frequencies, lanes=lanes)
    decoded = rans_decode(data, frequencies, size, lanes=lanes)
    assert np.array_equal(symbols, decoded)
    bits = -np.log2(frequencies[symbols] / (1 << precision)).sum()
    assert 8 * len(data) <= bits + 32 * lanes + 0.02 * size + 16


@steady
@given(counts=counts, size=st.integers(0, 60), seed=st.integers(0, 99))
def test_rans_is_as_long_as_the_number_without_limits(counts, size, seed):
    frequencies = scaled_frequencies(counts, 10)
    symbols = drawn(counts, size, seed)
    number = in_whole_numbers(symbols, frequencies)
    data = rans_encode(symbols, frequencies)
    assert abs(8 * len(data) - number.bit_length()) <= 32


@pytest.mark.parametrize("zeros", [0.5, 0.9, 0.97])
@pytest.mark.parametrize("lanes", [1, 16, 60])
def test_rans_is_within_a_percent_of_the_entropy(zeros, lanes):
    size = 500 * lanes if zeros == 0.5 else 2000 * lanes
    symbols = drawn([zeros, *[(1 - zeros) / 15] * 15], size)
    counted = np.bincount(symbols)
    data = rans_encode(symbols, scaled_frequencies(counted, 16), lanes=lanes)
    bound = entropy(counted) * size / 8
    assert bound <= len(data) <= 1.01 * bound + 3 * lanes
    assert np.array_equal(
        symbols, rans_decode(data, scaled_frequencies(counted, 16), size, lanes=lanes)
    )


def test_what_is_certain_costs_nothing():
    assert len(rans_encode(np.zeros(10_000), [65536])) == 4
    assert not rans_decode(rans_encode(np.zeros(99), [1]), [1], 99).any()


def test_rans_sees_data_that_is_not_its_own():
    frequencies = scaled_frequencies([5, 2, 1], 12)
    symbols = drawn([5, 2, 1], 1000)
    data = rans_encode(symbols, frequencies, lanes=2)
    with pytest.raises(ValueError, match=r"^data must hold 1000 symbols, ends before$"):
        rans_decode(data[:-8], frequencies, 1000, lanes=2)
    for wrong, count in ((data + b"\0\0", 1000), (data, 999)):
        with pytest.raises(ValueError, match=r"^data must end where the symbols do"):
            rans_decode(wrong, frequencies, count, lanes=2)
    for wrong in (data[:7], data + b"\0"):
        with pytest.raises(ValueError, match=r"^data must be 2 states and whole words"):
            rans_decode(wrong, frequencies, 1000, lanes=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scaled_frequencies([1], 17), r"^precision must lie in \[0, 16\]"),
        (lambda: scaled_frequencies([1, 1, 1], 1), r"^counts must be 1 to 2 numbers"),
        (lambda: scaled_frequencies([0], 4), r"^counts must be .* got 1 from 0"),
        (lambda: scaled_frequencies([], 4), r"^counts must be .* got 0 from none"),
        (lambda: rans_encode([0], [3]), r"^frequencies must .* power of two .* sum 3$"),
        (lambda: rans_encode([0], [0, 4]), r"^frequencies must be at least 1"),
        (lambda: rans_encode([0], [1 << 17]), r"^frequencies must .* at most 65536"),
        (lambda: rans_encode([1], [4]), r"^symbols must lie in \[0, 1\), got 1 to 1"),
        (lambda: rans_encode([0], [4], lanes=0), r"^lanes must be at least 1, got 0"),
        (lambda: rans_decode(b"", [4], 0, lanes=0), r"^lanes must be at least 1"),
        (lambda: rans_decode(bytes(4), [4], -1), r"^lanes .* at least 0, got 1 and -1"),
    ],
)
def test_rans_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Gaps ------------------------------------------------------------------------------


@steady
@given(places=st.sets(st.integers(0, 5000), max_size=50), longest=st.integers(1, 300))
def test_places_come_back(places, longest):
    places = sorted(places)
    gaps = gaps_of(places)
    assert len(gaps) == len(places)
    assert np.array_equal(places, places_of(gaps))
    capped = cap_gaps(gaps, longest)
    assert len(capped) == sum(gap // longest + 1 for gap in gaps.tolist())
    assert np.array_equal(gaps, uncap_gaps(capped, longest))
    buckets, bits = bucket_gaps(gaps)
    assert np.array_equal(gaps, unbucket_gaps(buckets, bits))


@steady
@given(gap=st.integers(0, 2**40 - 1))
def test_a_bucket_says_how_long_a_gap_is_and_its_second_bit(gap):
    buckets, bits = bucket_gaps([gap])
    binary = f"{gap + 2:b}"
    assert buckets[0] == 2 * (len(binary) - 2) + int(binary[1])
    assert "".join(map(str, bits)) == binary[2:]
    assert buckets[0] < 80
    assert unbucket_gaps(buckets, bits)[0] == gap


def test_the_example_of_the_paper():
    """Its figure 2: nonzeros at 1, 4 and 15, written with 3 bits, take one filler."""
    assert gaps_of([1, 4, 15]).tolist() == [1, 2, 10]
    assert cap_gaps([1, 2, 10], 7).tolist() == [1, 2, 7, 3]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaps_of([3, 3]), r"^places must ascend from at least 0"),
        (lambda: gaps_of([-1]), r"^places must ascend from at least 0"),
        (lambda: cap_gaps([1], 0), r"^longest must be at least 1, got 0"),
        (lambda: uncap_gaps([1, 4], 4), r"^symbols must lie .* and 4 last$"),
        (lambda: uncap_gaps([5, 1], 4), r"^symbols must lie in \[0, 4\] and end below"),
        (lambda: unbucket_gaps([4], [1]), r"^bits must be at least 2, got 1$"),
        (lambda: unbucket_gaps([80], [1]), r"^buckets must lie in \[0, 80\)"),
    ],
)
def test_gaps_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Coders with their tables ----------------------------------------------------------

both = pytest.mark.parametrize("coder", [Huffman(), Rans()], ids=["Huffman", "rANS"])


@both
@steady
@given(
    symbols=st.lists(st.integers(0, 60), max_size=200)
    | st.lists(st.sampled_from([0, 7, 1000, 2**16]), max_size=50)
)
def test_streams_come_back(coder, symbols):
    data = coder.encode(symbols)
    assert symbols == coder.decode(data).tolist()
    assert symbols == coder.decode(data, at_most=len(symbols)).tolist()


@both
def test_edges(coder):
    assert coder.encode([]) == b"\0"
    assert len(coder.encode(np.zeros(1_000_000))) == 4
    assert np.array_equal(np.full(99, 5), coder.decode(coder.encode([5] * 99)))
    everything = np.arange(2**15)
    assert np.array_equal(everything, coder.decode(coder.encode(everything)))


def test_two_to_the_sixteen_symbols():
    symbols = np.random.default_rng(0).permutation(2**16)
    data = Huffman().encode(symbols)
    assert len(data) < 2 * 2**16 + 2**16
    assert np.array_equal(symbols, Huffman().decode(data))
    with pytest.raises(ValueError, match=r"^symbols must be at most 32768 different"):
        Rans().encode(symbols)


@both
def test_a_stream_costs_its_table_and_no_more(coder):
    symbols = drawn([60, 20, 10, 5, 3, 2], 30_000)
    least = entropy(np.bincount(symbols)) * len(symbols) / 8
    slack = {Huffman(): 1.06, Rans(): 1.01}[coder]
    assert least < len(coder.encode(symbols)) < slack * least


@both
def test_a_few_bytes_do_not_fill_the_memory(coder):
    data = coder.encode(np.zeros(1000))
    with pytest.raises(
        ValueError, match=r"^data must hold at most 999 symbols, says 1000"
    ):
        coder.decode(data, at_most=999)


@both
@steady
@given(data=st.binary(max_size=60))
def test_noise_is_refused_or_decoded_but_never_crashes(coder, data):
    with contextlib.suppress(ValueError):
        assert len(coder.decode(data, at_most=1000)) <= 1000
    with contextlib.suppress(ValueError):
        assert len(decode_symbols(data, at_most=1000)) <= 1000


def test_the_smaller_code_is_taken():
    even, uneven = np.arange(4).repeat(500), np.arange(4).repeat([9700, 100, 100, 100])
    assert encode_symbols(even) == b"\0" + Huffman().encode(even)
    assert encode_symbols(uneven) == b"\1" + Rans().encode(uneven)
    assert encode_symbols(uneven, coders=[Huffman()])[0] == 0
    for symbols in (even, uneven):
        assert np.array_equal(symbols, decode_symbols(encode_symbols(symbols)))
    with pytest.raises(ValueError, match=r"^coders must be able to .* got none$"):
        encode_symbols(even, coders=[])
    with pytest.raises(ValueError, match=r"40000 different symbols, got Rans$"):
        encode_symbols(np.arange(40_000), coders=[Rans()])
    for wrong in (b"", b"\2\0"):
        with pytest.raises(ValueError, match=r"^data must begin with a coder's number"):
            decode_symbols(wrong)


@both
def test_symbols_have_a_range(coder):
    with pytest.raises(
        ValueError, match=r"^symbols must lie in \[0, 2\*\*24\), got -1"
    ):
        coder.encode([-1, 3])
    with pytest.raises(ValueError, match=r"^symbols must lie in \[0, 2\*\*24\)"):
        coder.encode([1 << 24])
