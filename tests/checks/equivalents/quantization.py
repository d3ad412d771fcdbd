"""Exercise 11."""

EQUIVALENT = {
    (
        "scale_and_zero_point",
        "min(low, 0.0) -> min(0.0, low)",
    ): "min(a, b) = min(b, a)",
    (
        "scale_and_zero_point",
        "max(high, 0.0) -> max(0.0, high)",
    ): "max(a, b) = max(b, a)",
    (
        "quantize",
        "np.clip(q, -2 ** (bits - 1), 2 ** (bits - 1) - 1) -> "
        "np.clip(-2 ** (bits - 1), q, 2 ** (bits - 1) - 1)",
    ): "min(max(a, b), c) = min(max(b, a), c)",
    ("quantize_per_channel", "1 -> 2"): "reshape takes -2 as it takes -1",
    (
        "int_linear",
        "np.clip(rescaled + y_zero, -128, 127) -> "
        "np.clip(-128, rescaled + y_zero, 127)",
    ): "min(max(a, b), c) = min(max(b, a), c)",
    ("unpack_int4", "packed & 15 -> 15 & packed"): "a & b = b & a",
    ("binarize", "1 -> 2"): "reshape takes -2 as it takes -1",
    ("binarize", "True -> 2"): "keepdims takes 2 as it takes True",
    ("bits_needed", "2 -> 1"): "with one bit the error is not a number: never enough",
    ("bits_needed", "33 -> 32"): "no case needs 32 bits",
    ("bits_needed", "33 -> 34"): "no case needs more than 32 bits",
    ("bits_needed", "33 -> 66"): "no case needs more than 32 bits",
    (
        "bits_needed",
        "2 ** (bits - 1) - 1 -> 1 - 2 ** (bits - 1)",
    ): "round(-x) = -round(x), so the scale's sign cancels",
    (
        "bits_needed",
        "weight - scale * np.round(weight / scale) -> "
        "scale * np.round(weight / scale) - weight",
    ): "a norm has no sign",
    (
        "bits_needed",
        "ValueError('no number of bits up to 32 is enough') -> "
        "'no number of bits up to 32 is enough'",
    ): "never reached",
    ("allocate_bits", "error < least -> error <= least"): "no two errors are equal",
    ("allocate_bits", "sizes -> errors"): "len(errors) = len(sizes)",
    (
        "allocate_bits",
        "np.dot(bits, sizes) -> np.dot(sizes, bits)",
    ): "the dot product commutes",
    ("allocate_bits", "list(bits) -> bits"): "a tuple of the same numbers",
    ("allocate_bits", "True -> 2"): "strict takes 2 as it takes True",
    ("allocate_bits", "True -> 0"): "the lengths are equal",
    (
        "fake_quantize",
        "(q >= lowest) & (q <= highest) -> (q <= highest) & (q >= lowest)",
    ): "a and b = b and a",
    (
        "fake_quantize",
        "np.clip(q, lowest, highest) -> np.clip(lowest, q, highest)",
    ): "min(max(a, b), c) = min(max(b, a), c)",
    (
        "fold_and_quantize",
        "2 ** (bits - 1) - 1 -> 1 - 2 ** (bits - 1)",
    ): "round(-x) = -round(x), so the scale's sign cancels",
    (
        "compressed_bits",
        "symbols.tolist() -> symbols",
    ): "NumPy's integers are counted as Python's are",
    ("quantized_report", "bias -> weight"): "len(weight) = len(bias)",
}
