r"""How sure a mean over seeds is: Student's interval.

    mean ± t * s / sqrt(n),    s the sample standard deviation of the n runs,

t the quantile of Student's distribution with n - 1 degrees of freedom. The interval
holds the true mean in `confidence` of all repetitions if the runs are independent and
nearly normal. To compare two methods on the same seeds, take the interval of their
*differences*: what a seed does to both cancels.

Source: "Student", "The probable error of a mean", Biometrika 6, 1908.
Differs from the source: nothing.
"""

import math

import numpy as np
from numpy.typing import ArrayLike


def mean_interval(
    values: ArrayLike, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return both ends of the interval for the mean of independent runs.

    Args:
        values: One measurement a run, shape (runs,), at least 2.
        confidence: Share of repetitions in which the interval holds the true mean,
            in (0, 1).

    Raises:
        ValueError: If there are fewer than 2 values, or `confidence` is out of range.

    Example:
        >>> low, high = mean_interval([1.0, 2.0, 3.0])
        >>> print(f"{low:.2f} to {high:.2f}")
        -0.48 to 4.48
    """
    runs = np.asarray(values, dtype=float)
    if runs.ndim != 1 or len(runs) < 2:
        raise ValueError(
            f"values must be one number a run, of at least 2 runs, got shape "
            f"{runs.shape}"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    quantile = _student_quantile(0.5 + confidence / 2, len(runs) - 1)
    half = quantile * runs.std(ddof=1) / math.sqrt(len(runs))
    return float(runs.mean() - half), float(runs.mean() + half)


def _student_quantile(share: float, freedom: int) -> float:
    """Return where Student's distribution function reaches `share`, above 1/2."""
    # With x = sqrt(freedom) tan(angle) the density becomes a power of a cosine, on a
    # bounded interval, so that the trapezoidal rule needs no cut.
    angle = np.linspace(0, math.pi / 2, 200_001)
    density = np.cos(angle) ** (freedom - 1)
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    reached = np.interp(2 * share - 1, area / area[-1], angle)
    return math.sqrt(freedom) * math.tan(reached)
