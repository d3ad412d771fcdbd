"""Exercise 16."""

EQUIVALENT = {
    (
        "scaled_training",
        "norm > max_norm -> norm >= max_norm",
    ): "where they meet the factor is 1",
    ("scaled_training", "y -> X"): "len(X) = len(y)",
}
