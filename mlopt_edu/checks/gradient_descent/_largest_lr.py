"""Task 3: the bound on the step size."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import Array, problem


def largest_lr_reference(X: Array) -> float:
    """Bound 2 / lambda_max above which gradient descent diverges."""
    curvatures = np.linalg.eigvalsh(X.T @ X / len(X))
    return float(2 / curvatures[-1])


def _feature_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("two weights", {"X": np.array([[1.0, 0], [0, 3]])})
    for n, d, label in (
        (40, 1, "one weight"),
        (60, 6, "60 × 6"),
        (5, 12, "12 weights"),
    ):
        yield Case(label, {"X": problem(rng, n, d)[0]})
    X = 1 + problem(rng, 30, 3)[0]
    yield Case("a weight that nothing depends on", {"X": X * np.array([1.0, 0, 2])})
    yield Case("large features", {"X": 100 + X})


largest_lr = Task(
    "largest_lr",
    points=2,
    section="01 · Derive",
    reference=largest_lr_reference,
    draw=_feature_cases,
    hints=(
        "Which direction is the first to blow up: the flattest or the steepest?",
        "Build the Hessian, take its eigenvalues, and use the one of the steepest "
        "direction. `np.linalg.eigvalsh` is made for symmetric matrices.",
        "A step multiplies the error by `1 - lr * eigenvalue`. Its size stays below 1 "
        "as long as `lr * eigenvalue` stays below 2, for every eigenvalue.",
    ),
)


@largest_lr.mistake
def smallest_eigenvalue(X: Array) -> float:
    """You use the smallest eigenvalue; the *largest* one blows up first."""
    curvatures = np.linalg.eigvalsh(X.T @ X / len(X))
    with np.errstate(divide="ignore"):
        return float(np.float64(2) / curvatures[0])


@largest_lr.mistake
def half_the_bound(X: Array) -> float:
    """This is half of it. 1/L is a safe choice, but descent converges up to 2/L.

    If you did write 2, your Hessian is twice too large: the loss has 2 n below.
    """
    return largest_lr_reference(X) / 2


@largest_lr.mistake
def twice_the_bound(X: Array) -> float:
    """This is twice the bound: differentiating the square twice cancels the ½."""
    return 2 * largest_lr_reference(X)


@largest_lr.mistake
def curvature_itself(X: Array) -> float:
    """This is the largest curvature; the bound is 2 *divided by* it."""
    return 2 / largest_lr_reference(X)


@largest_lr.mistake
def one_for_each_direction(X: Array) -> Array:
    """These are the bounds of all directions; one `lr` must respect the smallest."""
    with np.errstate(divide="ignore"):
        return np.asarray(2 / np.linalg.eigvalsh(X.T @ X / len(X)))


@largest_lr.mistake
def best_step_size(X: Array) -> float:
    """This is the *best* step size, 2 / (λ_min + λ_max); the bound is 2 / λ_max."""
    curvatures = np.linalg.eigvalsh(X.T @ X / len(X))
    return float(2 / (curvatures[0] + curvatures[-1]))


@largest_lr.mistake
def features_centred(X: Array) -> float:
    """You subtract the mean of the features first; the Hessian uses X as it is."""
    return largest_lr_reference(X - X.mean(axis=0))


@largest_lr.mistake
def hessian_of_the_sum(X: Array) -> float:
    """The Hessian of the mean loss is X^T X *divided by n*; the n is missing."""
    return largest_lr_reference(X) / len(X)


@largest_lr.mistake
def singular_value_not_squared(X: Array) -> float:
    """You use a singular value of X; the eigenvalue is its *square* over n."""
    return float(2 / np.linalg.norm(X, 2))


@largest_lr.mistake
def trace_for_eigenvalue(X: Array) -> float:
    """You use the sum of the eigenvalues (the trace); only the largest one counts."""
    return float(2 / np.trace(X.T @ X / len(X)))
