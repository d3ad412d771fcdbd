"""Exercise 03."""

EQUIVALENT = {
    ("train_with_adam", "X @ w - y -> y - X @ w"): "(-a)^2 = a^2",
    ("train_with_adam", "y -> X"): "len(X) = len(y)",
}
