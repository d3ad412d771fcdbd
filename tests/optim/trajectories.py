"""The same noisy descent, driven by an optimizer or by a formula in NumPy."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

SHAPES = ((4, 3), (5,), (), (3, 4), (2, 3, 2, 2))


def starts(shapes: Sequence[tuple[int, ...]] = SHAPES) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [np.array(generator.standard_normal(shape)) for shape in shapes]


@functools.cache
def noise(shape: tuple[int, ...], step: int) -> np.ndarray:
    return np.array(np.random.default_rng([1, step]).standard_normal(shape))


def gradients(params: Sequence[np.ndarray], step: int) -> list[np.ndarray]:
    """The slope of a soft absolute value, which is bounded, and noise."""
    return [2 * np.tanh(2 * param) + noise(param.shape, step) for param in params]


def values(params: Sequence[Tensor]) -> list[np.ndarray]:
    # torch's tanh is not NumPy's in the last bit: the slope is always NumPy's.
    return [param.detach().double().numpy() for param in params]


def by_optimizer(
    make: Callable[[list[Parameter]], Any],
    *,
    dtype: torch.dtype = torch.float64,
    steps: int = 50,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
    finish: Callable[[Any], object] = lambda optimizer: None,
) -> list[np.ndarray]:
    """`make` takes the parameters; `finish` is called with what it returned."""
    params = [Parameter(torch.tensor(start, dtype=dtype)) for start in starts(shapes)]
    optimizer = make(params)
    for step in range(1, steps + 1):
        for param, grad in zip(params, gradients(values(params), step), strict=True):
            param.grad = torch.tensor(grad, dtype=dtype)
        optimizer.step()
    finish(optimizer)
    return [value.copy() for value in values(params)]


def by_formula(
    update: Callable[[np.ndarray, np.ndarray, dict[str, Any], int], np.ndarray],
    *,
    steps: int = 50,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
) -> list[np.ndarray]:
    """`update(param, grad, state, step)` returns the new parameter; step is from 1."""
    params, states = starts(shapes), [{} for _ in shapes]
    for step in range(1, steps + 1):
        params = [
            np.asarray(update(param, grad, state, step))
            for param, grad, state in zip(
                params, gradients(params, step), states, strict=True
            )
        ]
    return params


def assert_same(
    actual: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    *,
    rtol: float = 1e-9,
    atol: float = 1e-12,
) -> None:
    assert all(np.isfinite(value).all() for value in expected)
    for mine, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol)
