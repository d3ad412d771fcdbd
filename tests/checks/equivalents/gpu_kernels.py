"""Exercise 15."""

EQUIVALENT = {
    (
        "roofline",
        "max(bytes_moved / bandwidth, operations / peak) -> "
        "max(operations / peak, bytes_moved / bandwidth)",
    ): "the order of the two does not matter",
    ("row_softmax", "True -> 2"): "NumPy takes any number but 0 for keepdims",
    (
        "program_tile",
        "min(group, row_tiles - first) -> min(row_tiles - first, group)",
    ): "the order of the two does not matter",
}
