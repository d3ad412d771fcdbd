"""Exercise 04."""

EQUIVALENT = {
    (
        "cosine_with_warmup",
        "step < warmup_steps -> step <= warmup_steps",
    ): "both parts are 1 where they meet",
    (
        "cosine_with_warmup",
        "min((step - warmup_steps) / (total_steps - warmup_steps), 1.0) -> "
        "min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))",
    ): "min(a, b) = min(b, a)",
    ("range_test_pick", "losses -> lrs"): "len(lrs) = len(losses)",
    (
        "range_test_pick",
        "weights @ losses[:step + 1] -> losses[:step + 1] @ weights",
    ): "a . b = b . a",
    (
        "decaying_descent",
        "base_lr * inverse_sqrt_reference(step) * H @ w -> "
        "w @ (base_lr * inverse_sqrt_reference(step) * H)",
    ): "H is symmetric",
    ("scheduled_training", "X -> y"): "len(X) = len(y)",
    ("scheduled_training", "y -> X"): "len(X) = len(y)",
}
