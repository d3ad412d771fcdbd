"""What the tasks of exercise 14 share: the types, and one linear model on shards."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

LIBRARIES = ("mlopt_edu.parallel", "torch.distributed")


def gradient(X: Array, y: Array, w: Array) -> Array:
    """Gradient of the halved mean squared error of `X @ w`."""
    return X.T @ (X @ w - y) / len(y)


def equal_shards(
    rng: np.random.Generator, ranks: int, rows: int, columns: int
) -> tuple[list[Array], list[Array]]:
    """Draw inputs and targets of each rank; no two ranks have the same scale."""
    X = [rng.normal(size=(rows, columns)) * rng.uniform(0.5, 1.5) for _ in range(ranks)]
    return X, [rng.normal(size=rows) + rank for rank in range(ranks)]
