"""The least-squares problem that all tasks of exercise 01 share."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def problem(rng: np.random.Generator, n: int, d: int) -> tuple[Array, Array]:
    """Draw features of different scales, and targets that no weights fit exactly."""
    X = rng.normal(size=(n, d)) * rng.uniform(0.3, 2, size=d)
    return X, X @ rng.normal(size=d) + 0.5 * rng.normal(size=n)


def bound(X: Array) -> float:
    """Return the bound on the step size, to draw step sizes on either side of it."""
    return float(2 / np.linalg.eigvalsh(X.T @ X / len(X))[-1])
