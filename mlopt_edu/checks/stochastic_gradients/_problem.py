"""The problems that the tasks of exercise 02 share."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .._task import Case

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


def problem(rng: np.random.Generator, n: int, d: int) -> tuple[Array, Array]:
    """Draw features of different scales, and targets that no weights fit exactly."""
    X = rng.normal(size=(n, d)) * rng.uniform(0.3, 2, size=d)
    return X, X @ rng.normal(size=d) + 0.5 * rng.normal(size=n)


def ravines(rng: np.random.Generator) -> Iterator[Case]:
    """Draw quadratics for momentum, most with a step size that changes."""

    def case(label: str, curvatures: Array, lrs: Array, momentum: float) -> Case:
        start = rng.uniform(1, 2, size=len(curvatures))
        inputs = {"curvatures": curvatures, "w0": start, "lrs": lrs}
        return Case(label, {**inputs, "momentum": momentum})

    ravine = np.array([1.0, 10])
    yield case("3 steps", ravine, np.array([0.1, 0.05, 0.02]), 0.5)
    yield case("a constant step size", ravine, np.full(20, 0.08), 0.9)
    yield case("one weight", np.array([2.0]), rng.uniform(0.1, 0.4, 12), 0.7)
    hilly = rng.uniform(0.2, 4, size=5)
    yield case("a warm-up", hilly, np.linspace(0.02, 0.3, 15), 0.9)
    yield case("200 steps", hilly, np.geomspace(0.3, 0.005, 200), 0.95)
    yield case("momentum 0.99", hilly, rng.uniform(0.05, 0.4, 60), 0.99)
    yield case("without momentum", hilly, rng.uniform(0.05, 0.4, 6), 0.0)
    yield case("one step is 0", ravine, np.array([0.1, 0.1, 0, 0.05]), 0.8)
    yield case("flat and saddle", np.array([0.0, -0.5, 3]), rng.uniform(0, 0.5, 8), 0.6)
    yield case("a single step", hilly, np.array([0.2]), 0.9)
    yield case("no step at all", hilly, np.zeros(0), 0.9)
