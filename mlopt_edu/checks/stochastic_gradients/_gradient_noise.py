"""Task 4: how far the gradient of a random batch lies from the full one."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import Array, problem


def gradient_noise_reference(X: Array, y: Array, w: Array, batch_size: int) -> float:
    """Expected squared distance of the batch's gradient from the full gradient."""
    gradients = X * (X @ w - y)[:, None]
    n = len(y)
    variance = ((gradients - gradients.mean(axis=0)) ** 2).sum() / n
    return float(variance / batch_size * (n - batch_size) / (n - 1))


def _noise_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, batch_size, label in (
        (4, 2, 2, "2 of 4 examples"),
        (6, 1, 3, "one weight"),
        (30, 4, 1, "one example at a time"),
        (12, 3, 11, "all but one"),
        (10, 3, 10, "all examples: no noise"),
        (5, 9, 2, "more weights than examples"),
        (300, 5, 32, "32 of 300 examples"),
    ):
        X, y = problem(rng, n, d)
        inputs = {"X": X, "y": y, "w": rng.normal(size=d), "batch_size": batch_size}
        yield Case(label, inputs)
    X, y = problem(rng, 40, 3)
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    inputs = {"X": X, "y": y, "w": best, "batch_size": 4}
    yield Case("at the minimum: the noise stays", inputs)


gradient_noise = Task(
    "gradient_noise",
    points=3,
    section="02 · Derive",
    reference=gradient_noise_reference,
    draw=_noise_cases,
    hints=(
        "First the batch of one: the gradients of the single examples scatter about "
        "their mean. What is their mean squared distance from it?",
        "A batch of B has 1/B of that variance. Without replacement the draws balance "
        "each other, and one factor more makes it smaller. Try it at B = n.",
        "Example i has the gradient `X[i] * (X[i] @ w - y[i])`. Average the squared "
        "distances from the mean, divide by B, multiply by (n - B) / (n - 1).",
    ),
)


@gradient_noise.mistake
def with_replacement(X: Array, y: Array, w: Array, batch_size: int) -> float:
    """This holds for draws *with* replacement. Without, all examples have no noise.

    The factor (n - B) / (n - 1) is missing.
    """
    return gradient_noise_reference(X, y, w, 1) / batch_size


@gradient_noise.mistake
def batch_size_forgotten(X: Array, y: Array, w: Array, batch_size: int) -> float:
    """This is the variance of a single example; the mean of B has 1/B of it.

    And drawn without replacement still less: times (n - B) / (n - 1).
    """
    return gradient_noise_reference(X, y, w, 1)


@gradient_noise.mistake
def not_divided_by_the_batch(X: Array, y: Array, w: Array, batch_size: int) -> float:
    """The factor for drawing without replacement is there, but not the 1/B."""
    return gradient_noise_reference(X, y, w, batch_size) * batch_size


@gradient_noise.mistake
def variance_of_the_sum(X: Array, y: Array, w: Array, batch_size: int) -> float:
    """You multiply by B: that is the variance of the *sum* over the batch.

    The mean divides the sum by B, and so its variance by B².
    """
    return gradient_noise_reference(X, y, w, batch_size) * batch_size**2


@gradient_noise.mistake
def divided_by_the_square(X: Array, y: Array, w: Array, batch_size: int) -> float:
    """You divide by B²; B examples add up B variances, so one B cancels."""
    return gradient_noise_reference(X, y, w, batch_size) / batch_size


@gradient_noise.mistake
def divided_by_the_root(X: Array, y: Array, w: Array, batch_size: int) -> float:
    """You divide by √B: that is how the *standard deviation* falls.

    The variance falls with B.
    """
    return float(gradient_noise_reference(X, y, w, batch_size) * batch_size**0.5)


@gradient_noise.mistake
def standard_deviation(X: Array, y: Array, w: Array, batch_size: int) -> float:
    """This is the root of it; the variance is the mean of the *squared* distance."""
    return float(gradient_noise_reference(X, y, w, batch_size) ** 0.5)


@gradient_noise.mistake
def factor_with_n(X: Array, y: Array, w: Array, batch_size: int) -> float:
    """The factor is (n - B) / (n - 1), not (n - B) / n.

    Try a batch of one: its variance must be that of the single examples. The factor
    with n goes with squared distances that are divided by n - 1.
    """
    n = len(y)
    return gradient_noise_reference(X, y, w, batch_size) * (n - 1) / n


@gradient_noise.mistake
def corrected_twice(X: Array, y: Array, w: Array, batch_size: int) -> float:
    """You divide by n - 1 twice: in the variance, and in the factor for the draw.

    These examples are all there are: divide their squared distances by n. With n - 1
    there, the factor is (n - B) / n.
    """
    n = len(y)
    return gradient_noise_reference(X, y, w, batch_size) * n / (n - 1)


@gradient_noise.mistake
def sample_variance_with_replacement(
    X: Array, y: Array, w: Array, batch_size: int
) -> float:
    """You divide by n - 1, and the factor for drawing without replacement is missing.

    These two belong together: with n - 1, the factor is (n - B) / n.
    """
    return gradient_noise_reference(X, y, w, 1) * len(y) / (len(y) - 1) / batch_size


@gradient_noise.mistake
def mean_not_subtracted(X: Array, y: Array, w: Array, batch_size: int) -> float:
    """You average the squared lengths; subtract the mean gradient first.

    Noise is what differs from the full gradient, not the gradient itself.
    """
    n, gradients = len(y), X * (X @ w - y)[:, None]
    square = (gradients**2).sum() / n
    return float(square / batch_size * (n - batch_size) / (n - 1))


@gradient_noise.mistake
def averaged_over_weights(X: Array, y: Array, w: Array, batch_size: int) -> float:
    """You average over the weights; the *total* variance adds them up (the trace)."""
    return gradient_noise_reference(X, y, w, batch_size) / len(w)


@gradient_noise.mistake
def one_for_each_weight(X: Array, y: Array, w: Array, batch_size: int) -> Array:
    """These are the variances of the single weights; return their sum."""
    n, gradients = len(y), X * (X @ w - y)[:, None]
    factor = (n - batch_size) / (n - 1) / batch_size
    return np.asarray(gradients.var(axis=0) * factor)


@gradient_noise.mistake
def whole_covariance(X: Array, y: Array, w: Array, batch_size: int) -> Array:
    """This is the whole covariance matrix; return the sum of its diagonal."""
    n, gradients = len(y), X * (X @ w - y)[:, None]
    centred = gradients - gradients.mean(axis=0)
    factor = (n - batch_size) / (n - 1) / batch_size
    return np.asarray(centred.T @ centred / n * factor)


@gradient_noise.mistake
def all_entries_pooled(X: Array, y: Array, w: Array, batch_size: int) -> float:
    """You subtract one mean over all entries; each weight has its own: `axis=0`."""
    n, gradients = len(y), X * (X @ w - y)[:, None]
    scatter = gradients.var() * len(w)
    return float(scatter / batch_size * (n - batch_size) / (n - 1))


@gradient_noise.mistake
def variance_of_the_residuals(X: Array, y: Array, w: Array, batch_size: int) -> float:
    """This is the variance of the residuals; an example's gradient is x times that."""
    n = len(y)
    scatter = (X @ w - y).var()
    return float(scatter / batch_size * (n - batch_size) / (n - 1))
