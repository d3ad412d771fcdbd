"""The networks without biases that tasks 4 and 5 send signals through."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Layers = list[Array]
Functions = dict[str, Callable[[Array], Array]]


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + exp(-z)), written so that nothing overflows."""
    return 0.5 + 0.5 * np.tanh(z / 2)


ACTIVATIONS: Functions = {
    "identity": lambda z: z,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
}

# Their derivatives, as functions of the pre-activation.
SLOPES: Functions = {
    "identity": np.ones_like,
    "sigmoid": lambda z: sigmoid(z) * (1 - sigmoid(z)),
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "relu": lambda z: np.where(z > 0, 1.0, 0.0),
}


def networks(rng: np.random.Generator) -> Iterator[tuple[str, dict[str, Any]]]:
    """Draw a label, weights, inputs and the activation's name."""
    # The first unit of the first layer gets exactly 0 from the first two examples.
    weights = [np.array([[1.0, -1], [2, 1]]), np.array([[1.0, 1]])]
    x = np.array([[1.0, 1], [-2, -2], [3, 1]])
    yield "two layers", {"weights": weights, "x": x, "activation": "relu"}
    for activation, widths, scale, n, label in (
        ("sigmoid", [12] * 11, 1.0, 8, "10 sigmoid layers"),
        ("tanh", [12] * 11, 1.0, 8, "10 tanh layers"),
        ("relu", [16] * 13, 2**0.5, 8, "12 ReLU layers"),
        ("tanh", [7, 30, 4, 9], 1.5, 5, "tanh, changing widths"),
        ("sigmoid", [6, 3, 11, 2], 2.0, 6, "sigmoid, changing widths"),
        ("relu", [3, 20, 5, 8], 1.2, 7, "ReLU, changing widths"),
        ("identity", [8, 9] * 4, 2.5, 6, "no activation, large weights"),
        ("sigmoid", [6, 10, 5], 10.0, 4, "a saturated sigmoid"),
        ("tanh", [6, 10, 5], 5.0, 4, "a saturated tanh"),
        ("sigmoid", [5, 3], 1.0, 4, "a single layer"),
        ("tanh", [1, 1, 1, 1], 0.8, 3, "one unit in each layer"),
        ("relu", [9, 14, 6], 1.5, 1, "a batch of one"),
    ):
        weights = [
            scale / before**0.5 * rng.normal(size=(after, before))
            for before, after in pairwise(widths)
        ]
        x = rng.normal(size=(n, widths[0]))
        yield label, {"weights": weights, "x": x, "activation": activation}
    # exp(z) and exp(-z) are infinite for all examples but the first.
    weights = [np.array([[900.0, 300], [-800, 400]]), rng.normal(size=(3, 2))]
    x = np.array([[0.001, -0.002], [-1, 0.25], [1.5, 1], [1.25, -1]])
    for activation in ("sigmoid", "tanh"):
        inputs = {"weights": weights, "x": x, "activation": activation}
        yield f"{activation} of hundreds", inputs
    weights = [-rng.uniform(0.5, 1, size=size) for size in ((4, 3), (2, 4))]
    x = rng.uniform(0.1, 1, size=(5, 3))
    yield "dead from the start", {"weights": weights, "x": x, "activation": "relu"}
