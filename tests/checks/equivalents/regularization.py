"""Exercise 07."""

EQUIVALENT = {
    (
        "soft_threshold",
        "np.maximum(np.abs(x) - threshold, 0.0) -> "
        "np.maximum(0.0, np.abs(x) - threshold)",
    ): "max(a, b) = max(b, a)",
    ("proximal_descent", "y -> X"): "len(X) = len(y)",
    ("decayed_adam", "X -> y"): "len(X) = len(y)",
    ("decayed_adam", "y -> X"): "len(X) = len(y)",
    (
        "clip_by_global_norm",
        "norm > max_norm -> norm >= max_norm",
    ): "where they are equal the factor is 1",
    (
        "clip_by_global_norm",
        "tuple((factor * grad for grad in grads)) -> (factor * grad for grad in grads)",
    ): "a generator of the same arrays is an answer too",
}
