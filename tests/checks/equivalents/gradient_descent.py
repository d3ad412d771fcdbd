"""Exercise 01."""

_ANY_STEP_ALONG = "any distance of at least 1 along the flat direction is an answer"
EQUIVALENT = {
    ("gradient", "y -> X"): "len(X) = len(y)",
    ("largest_lr", "X.T @ X -> X @ X.T"): "both have the same largest eigenvalue",
    ("contraction", "1 - lr * curvatures -> lr * curvatures - 1"): "|a| = |-a|",
    ("stubborn_start", "X.T @ X / len(X) -> X.T @ X * len(X)"): "same eigenvectors",
    ("stubborn_start", "X.T @ X / len(X) -> X.T @ X"): "same eigenvectors",
    ("stubborn_start", "X -> y"): "len(X) = len(y)",
    (
        "stubborn_start",
        "best + 2 * directions[:, 0] -> best - 2 * directions[:, 0]",
    ): _ANY_STEP_ALONG,
    ("stubborn_start", "2 * directions[:, 0] -> directions[:, 0]"): _ANY_STEP_ALONG,
    ("stubborn_start", "2 -> 3"): _ANY_STEP_ALONG,
    ("stubborn_start", "2 -> 1"): _ANY_STEP_ALONG,
    ("stubborn_start", "2 -> 4"): _ANY_STEP_ALONG,
    ("steps_needed", "1000 -> 1001"): "rounds up to the same number of steps",
    ("steps_needed", "1000 -> 999"): "rounds up to the same number of steps",
}
