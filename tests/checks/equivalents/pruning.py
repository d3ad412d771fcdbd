"""Exercise 10."""

EQUIVALENT = {
    (
        "global_masks",
        "(p.ndim < 2) | (np.abs(p) >= threshold) -> "
        "(np.abs(p) >= threshold) | (p.ndim < 2)",
    ): "a or b = b or a",
    (
        "global_masks",
        "tuple(((p.ndim < 2) | (np.abs(p) >= threshold) for p in params)) -> "
        "((p.ndim < 2) | (np.abs(p) >= threshold) for p in params)",
    ): "a generator of the same masks is an answer too",
    (
        "cubic_sparsity",
        "min(max((step - begin) / (end - begin), 0.0), 1.0) -> "
        "min(1.0, max((step - begin) / (end - begin), 0.0))",
    ): "min(a, b) = min(b, a)",
    (
        "cubic_sparsity",
        "max((step - begin) / (end - begin), 0.0) -> "
        "max(0.0, (step - begin) / (end - begin))",
    ): "max(a, b) = max(b, a)",
    ("train_pruned", "w -> keep_mask"): "w.shape = keep_mask.shape",
    ("train_pruned", "1 -> 2"): "the loop is left when done = steps",
    ("train_pruned", "y -> X"): "len(X) = len(y)",
    ("wanda_mask", "np.sum -> np.mean"): "the same factor for all inputs",
    ("sparse_report", "X -> labels"): "len(X) = len(labels)",
}
