"""Task 4: the factor of the slowest direction."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import Array, bound, problem


def contraction_reference(X: Array, lr: float) -> float:
    """Worst factor max |1 - lr lambda| by which one step multiplies the error."""
    curvatures = np.linalg.eigvalsh(X.T @ X / len(X))
    return float(np.abs(1 - lr * curvatures).max())


def _contraction_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("slow in the flat direction", {"X": np.diag([1.0, 3]), "lr": 0.1})
    yield Case("fast in the flat direction", {"X": np.diag([1.0, 3]), "lr": 0.43})
    for n, d, share, label in (
        (30, 1, 0.8, "one weight"),
        (40, 5, 0.3, "small step"),
        (40, 5, 0.97, "near the bound"),
        (40, 5, 1.4, "above the bound"),
        (12, 4, 0.0, "step size 0"),
        (5, 9, 0.5, "more weights than examples"),
    ):
        X = problem(rng, n, d)[0]
        yield Case(label, {"X": X, "lr": share * bound(X)})


contraction = Task(
    "contraction",
    points=2,
    section="01 · Derive",
    reference=contraction_reference,
    draw=_contraction_cases,
    hints=(
        "Each eigenvector has its own factor. Which of them decides how fast the "
        "whole error shrinks?",
        "Compute all factors at once as an array, then ask for the largest in size. A "
        "factor of -0.9 is as slow as 0.9.",
        "Take 1 minus `lr` times each eigenvalue of X^T X / n, then the absolute "
        "value, then the maximum.",
    ),
)


@contraction.mistake
def steep_direction_only(X: Array, lr: float) -> float:
    """You look only at the steepest direction; for small steps the flat one is slow."""
    return float(abs(1 - lr * np.linalg.eigvalsh(X.T @ X / len(X))[-1]))


@contraction.mistake
def flat_direction_only(X: Array, lr: float) -> float:
    """This is the flattest direction; near the bound the steep one is slower.

    Take the absolute value of *all* factors first, and the maximum then.
    """
    return float(abs(1 - lr * np.linalg.eigvalsh(X.T @ X / len(X))[0]))


@contraction.mistake
def sign_kept(X: Array, lr: float) -> float:
    """This is the largest *signed* factor, and it belongs to the flattest direction.

    -0.9 is slower than 0.5: take the absolute values first, and the maximum then.
    """
    return float((1 - lr * np.linalg.eigvalsh(X.T @ X / len(X))).max())


@contraction.mistake
def steep_and_signed(X: Array, lr: float) -> float:
    """This is the steepest direction alone, with its sign. A size is never negative.

    Take the absolute values of all factors, and the maximum of these.
    """
    return float(1 - lr * np.linalg.eigvalsh(X.T @ X / len(X))[-1])


@contraction.mistake
def all_factors(X: Array, lr: float) -> Array:
    """You return the factors of all directions; return only the largest in size."""
    return np.asarray(np.abs(1 - lr * np.linalg.eigvalsh(X.T @ X / len(X))))


@contraction.mistake
def rate_of_the_best_step(X: Array, lr: float) -> float:
    """(κ - 1) / (κ + 1) holds for the *best* step size; use the `lr` you are given."""
    curvatures = np.linalg.eigvalsh(X.T @ X / len(X))
    return float((curvatures[-1] - curvatures[0]) / (curvatures[-1] + curvatures[0]))


@contraction.mistake
def best_direction(X: Array, lr: float) -> float:
    """You report the *fastest* direction; the slowest decides when you are done."""
    return float(np.abs(1 - lr * np.linalg.eigvalsh(X.T @ X / len(X))).min())


@contraction.mistake
def loss_factor(X: Array, lr: float) -> float:
    """This is the factor of the *loss*; the error in w shrinks by its square root."""
    return contraction_reference(X, lr) ** 2


@contraction.mistake
def examples_not_averaged(X: Array, lr: float) -> float:
    """The Hessian of the mean loss is X^T X *divided by n*; the n is missing."""
    return float(np.abs(1 - lr * np.linalg.eigvalsh(X.T @ X)).max())
