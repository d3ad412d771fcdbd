"""Gradients to replay, and what runs on them are made of.

The references are plain loops. The wrong programs are formulas on whole runs: as the
gradients are given, the directions of all steps can be computed before the first.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Betas = tuple[float, float]


def gradients(
    rng: np.random.Generator, steps: int, d: int, scale: float = 1, kept: float = 1
) -> Array:
    """Draw noise around a drift, on another scale for each weight.

    About a share `kept` of the entries is left; the others are zero.
    """
    scales = scale * 10 ** rng.uniform(-1, 1, size=d)
    grads = scales * (0.5 * rng.normal(size=d) + rng.normal(size=(steps, d)))
    return np.where(rng.random((steps, d)) < kept, grads, 0.0)


def adam_inputs(rng: np.random.Generator) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a label and the inputs of a run, for Adam and AdamW."""
    small = {"param": np.array([1.0, -1]), "grads": np.array([[1.0, -2], [3, 0.5]])}
    yield "two weights, 2 steps", {**small, "lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-8}
    for steps, d, lr, betas, eps, scale, kept, label in (
        (7, 1, 0.5, (0.9, 0.999), 1e-8, 1.0, 1.0, "one weight"),
        (120, 5, 0.01, (0.9, 0.999), 1e-8, 1.0, 1.0, "120 steps"),
        (30, 3, 0.1, (0.5, 0.999), 1e-8, 1.0, 1.0, "betas (0.5, 0.999)"),
        (30, 3, 0.1, (0.99, 0.5), 1e-8, 1.0, 1.0, "betas (0.99, 0.5)"),
        (20, 4, 0.3, (0.9, 0.99), 1e-2, 0.1, 1.0, "a large eps"),
        (15, 3, 0.2, (0.9, 0.999), 1e-8, 1e-6, 1.0, "tiny gradients"),
        (60, 6, 0.1, (0.7, 0.95), 1e-3, 1.0, 0.1, "rare gradients"),
        (9, 3, 0.1, (0.0, 0.0), 1e-3, 1.0, 1.0, "no memory: betas (0, 0)"),
        (1, 3, 0.1, (0.9, 0.999), 1e-3, 1.0, 1.0, "a single step"),
        (0, 3, 0.1, (0.9, 0.999), 1e-8, 1.0, 1.0, "no step at all"),
        (4, 3, 0.0, (0.9, 0.999), 1e-8, 1.0, 1.0, "step size 0"),
    ):
        grads = gradients(rng, steps, d, scale, kept)
        inputs = {"param": rng.normal(size=d), "grads": grads, "lr": lr}
        yield label, {**inputs, "betas": betas, "eps": eps}
    grads = gradients(rng, 6, 2)
    grads[0] = 0
    inputs = {"param": rng.normal(size=2), "grads": grads, "lr": 0.1}
    yield "a first gradient of zeros", {**inputs, "betas": (0.9, 0.8), "eps": 1e-8}


def follow(
    param: Array, directions: Array, lr: float, weight_decay: float = 0.0
) -> Array:
    """Take a step along each row of `directions`, with decoupled weight decay."""
    path = [param]
    for direction in directions:
        path.append(path[-1] - lr * (direction + weight_decay * path[-1]))
    return np.array(path)


def averages(values: Array, beta: float, new: float | None = None) -> Array:
    """Return the running average after each row; the newest has weight `new`."""
    weight = 1 - beta if new is None else new
    seen = np.zeros(values.shape)
    average = np.zeros(values.shape[1:])
    for step, value in enumerate(values):
        average = beta * average + weight * value
        seen[step] = average
    return seen


def earlier(values: Array) -> Array:
    """Return what was known before each step: zeros, then all rows but the last."""
    return np.concatenate([np.zeros(values.shape)[:1], values[:-1]])


def counts(grads: Array) -> Array:
    """Return the step numbers 1, 2, ... as a column."""
    return np.arange(1.0, len(grads) + 1)[:, None]


def first_weight(_: Mapping[str, Any], value: Any) -> tuple[Any, Any]:
    """Picture a run: its first weight over the steps."""
    return np.arange(len(value)), value[:, 0]
