"""Task 7: Muon's Newton-Schulz iteration, singular values without a decomposition.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024. Each
step maps every singular value s to a s + b s^3 + c s^5 and leaves the singular vectors
as they are; five steps bring nearly all of them to about 1.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .._task import Case, Task
from ._run import Array

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize_reference(matrix: Array, steps: int) -> Array:
    """Normalise `matrix` and take `steps` steps of the quintic iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    size = np.sqrt(np.sum(matrix**2))
    X = matrix / size if size > 0 else matrix
    for _ in range(steps):
        gram = X @ X.T
        X = a * X + (b * gram + c * (gram @ gram)) @ X
    return X


def _matrix_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("2 × 2", {"matrix": np.array([[3.0, 0], [4, 1]]), "steps": 1})
    for rows, columns, scale, steps, label in (
        (6, 6, 1.0, 5, "square"),
        (4, 15, 1.0, 5, "wide"),
        (15, 4, 1.0, 5, "tall"),
        (1, 7, 1.0, 5, "a single row"),
        (7, 1, 1.0, 5, "a single column"),
        (5, 8, 1.0, 3, "3 steps"),
        (3, 12, 1.0, 10, "10 steps"),
        (5, 3, 1.0, 0, "no step at all"),
        (4, 6, 1e3, 5, "a large matrix"),
    ):
        matrix = scale * rng.normal(size=(rows, columns))
        yield Case(label, {"matrix": matrix, "steps": steps})
    # Not drawn from a normal: one entry near 0 would make much of an added 1e-7.
    yield Case("1 × 1", {"matrix": -rng.uniform(1, 2, size=(1, 1)), "steps": 5})
    small = rng.normal(size=(5, 4))
    inputs = {"matrix": small / 2 / np.linalg.norm(small), "steps": 5}
    yield Case("a small matrix", inputs)
    rank_one = np.outer(rng.normal(size=5), rng.normal(size=4))
    yield Case("rank one", {"matrix": rank_one, "steps": 5})
    yield Case("a matrix of zeros", {"matrix": np.zeros((3, 2)), "steps": 5})


def _singular_values(_: Mapping[str, Any], value: Any) -> tuple[Any, Any]:
    values = np.linalg.svd(value, compute_uv=False)
    return np.arange(1, len(values) + 1), values


orthogonalize = Task(
    "orthogonalize",
    points=3,
    section="03 · Derive",
    reference=orthogonalize_reference,
    draw=_matrix_cases,
    forbid=("torch.optim", "mlopt_edu.optim"),
    # Muon's own code adds 1e-7 to the norm.
    rtol=1e-5,
    picture=_singular_values,
    axes=("number", "singular value"),
    hints=(
        "With X = U S Vᵀ, what is X Xᵀ X? Try it before you write the loop.",
        "Divide by the root of the sum of all squares once, before the loop. In each "
        "step compute the Gram matrix X Xᵀ of the *present* X, then the polynomial.",
        "`gram = X @ X.T`, then `X = a * X + (b * gram + c * gram @ gram) @ X`. For a "
        "matrix of zeros skip the division.",
    ),
)


def _iterate(X: Array, steps: int, a: float, b: float, c: float) -> Array:
    for _ in range(steps):
        gram = X @ X.T
        X = a * X + (b * gram + c * (gram @ gram)) @ X
    return X


def _normalised(matrix: Array) -> Array:
    return matrix / max(float(np.linalg.norm(matrix)), 1e-30)


@orthogonalize.mistake
def not_normalised(matrix: Array, steps: int) -> Array:
    """You do not normalise: singular values above about 1.26 explode in this loop.

    Divide by the Frobenius norm first; then none is above 1.
    """
    return _iterate(matrix, steps, *COEFFICIENTS)


@orthogonalize.mistake
def spectral_norm(matrix: Array, steps: int) -> Array:
    """You divide by the largest singular value; use the Frobenius norm.

    Singular values are what this iteration is there to avoid; the sum of all squares
    is cheap.
    """
    size = float(np.linalg.norm(matrix, 2))
    return _iterate(matrix / max(size, 1e-30), steps, *COEFFICIENTS)


@orthogonalize.mistake
def norm_squared(matrix: Array, steps: int) -> Array:
    """You divide by the sum of the squares; take its root."""
    size = float(np.sum(matrix**2))
    return _iterate(matrix / max(size, 1e-30), steps, *COEFFICIENTS)


@orthogonalize.mistake
def zeros_divided(matrix: Array, steps: int) -> Array:
    """A matrix of zeros gives 0 / 0: divide only if the norm is above 0."""
    size = np.linalg.norm(matrix)
    return _iterate(matrix / size, steps, *COEFFICIENTS)


@orthogonalize.mistake
def rows_normalised(matrix: Array, steps: int) -> Array:
    """You normalise each row by itself, which changes the singular vectors.

    Divide the whole matrix by one number.
    """
    sizes = np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-30)
    return _iterate(matrix / sizes, steps, *COEFFICIENTS)


@orthogonalize.mistake
def normalised_in_each_step(matrix: Array, steps: int) -> Array:
    """You normalise in every step, which makes the singular values small again.

    Once, before the loop, is enough.
    """
    X = matrix
    for _ in range(steps):
        X = _iterate(_normalised(X), 1, *COEFFICIENTS)
    return X


@orthogonalize.mistake
def only_normalised(matrix: Array, steps: int) -> Array:
    """You normalise, and no step changes anything: does the loop renew `X`?"""
    return _normalised(matrix)


@orthogonalize.mistake
def always_five_steps(matrix: Array, steps: int) -> Array:
    """You always take five steps; take `steps`."""
    return _iterate(_normalised(matrix), 5, *COEFFICIENTS)


@orthogonalize.mistake
def one_step_too_few(matrix: Array, steps: int) -> Array:
    """You take one step too few."""
    return _iterate(_normalised(matrix), steps - 1, *COEFFICIENTS)


@orthogonalize.mistake
def coefficients_swapped(matrix: Array, steps: int) -> Array:
    """`b` and `c` are swapped: b belongs to X Xᵀ, and c to its square."""
    a, b, c = COEFFICIENTS
    return _iterate(_normalised(matrix), steps, a, c, b)


@orthogonalize.mistake
def sign_of_b(matrix: Array, steps: int) -> Array:
    """`b` is negative. With plus the singular values grow without end."""
    a, b, c = COEFFICIENTS
    return _iterate(_normalised(matrix), steps, a, -b, c)


@orthogonalize.mistake
def cubic(matrix: Array, steps: int) -> Array:
    """This is the classic cubic iteration, 1.5 X - 0.5 X Xᵀ X. Use the quintic one.

    The cubic one goes to 1 exactly, but small singular values take it far longer.
    """
    return _iterate(_normalised(matrix), steps, 1.5, -0.5, 0.0)


@orthogonalize.mistake
def not_squared(matrix: Array, steps: int) -> Array:
    """`c` multiplies the Gram matrix itself; it belongs to its *square*."""
    a, b, c = COEFFICIENTS
    return _iterate(_normalised(matrix), steps, a, b + c, 0.0)


@orthogonalize.mistake
def squared_by_entry(matrix: Array, steps: int) -> Array:
    """You square the Gram matrix entry by entry; multiply it by itself: `@`."""
    a, b, c = COEFFICIENTS
    X = _normalised(matrix)
    for _ in range(steps):
        gram = X @ X.T
        X = a * X + (b * gram + c * gram**2) @ X
    return X


@orthogonalize.mistake
def powers_by_entry(matrix: Array, steps: int) -> Array:
    """You take the powers entry by entry, and every entry walks to 1 by itself.

    The polynomial is for the singular values: X Xᵀ X in place of X³.
    """
    a, b, c = COEFFICIENTS
    X = _normalised(matrix)
    for _ in range(steps):
        X = a * X + b * X**3 + c * X**5
    return X


@orthogonalize.mistake
def gram_of_the_start(matrix: Array, steps: int) -> Array:
    """The Gram matrix is computed once, before the loop; it changes in each step."""
    a, b, c = COEFFICIENTS
    X = _normalised(matrix)
    gram = X @ X.T
    for _ in range(steps):
        X = a * X + (b * gram + c * (gram @ gram)) @ X
    return X


@orthogonalize.mistake
def not_transposed_back(matrix: Array, steps: int) -> Array:
    """You transpose a tall matrix, which saves work, and forget to transpose back."""
    X = orthogonalize_reference(matrix, steps)
    return X.T if len(X) > X.shape[1] else X


@orthogonalize.mistake
def decomposed(matrix: Array, steps: int) -> Array:
    """This is U Vᵀ from a decomposition, the goal itself. The task is the iteration.

    It costs a few products of matrices, and its singular values end only near 1.
    """
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    return np.asarray(u @ vt)
