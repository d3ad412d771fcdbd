"""Exercise 02."""

_ZEROS = "zeros of any shape broadcast to those of the velocity"
EQUIVALENT = {
    (
        "epoch_batches",
        "tuple((order[start:start + batch_size] for start in starts)) -> "
        "(order[start:start + batch_size] for start in starts)",
    ): "a generator of the same batches is an answer too",
    ("gradient_noise", "X @ w - y -> y - X @ w"): "the squares lose the sign",
    ("gradient_noise", "y -> X"): "len(X) = len(y)",
    (
        "gradient_noise",
        "gradients - gradients.mean(axis=0) -> gradients.mean(axis=0) - gradients",
    ): "the squares lose the sign",
    ("heavy_ball", "w0 -> curvatures"): _ZEROS,
    ("heavy_ball", "w0 -> momentum"): _ZEROS,
    ("nesterov", "w0 -> curvatures"): _ZEROS,
    ("nesterov", "w0 -> momentum"): _ZEROS,
}
