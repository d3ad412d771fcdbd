"""Task 2: the bounds of uniform weights after Xavier and after He."""

import math
from collections.abc import Iterator

import numpy as np

from .._task import Case, Task


def uniform_bounds_reference(
    fan_in: int, fan_out: int, slope: float
) -> tuple[float, float]:
    """Bounds of Xavier (gain 1) and of He for a leaky ReLU."""
    xavier = math.sqrt(6 / (fan_in + fan_out))
    he = math.sqrt(6 / ((1 + slope**2) * fan_in))
    return xavier, he


def _fan_cases(rng: np.random.Generator) -> Iterator[Case]:
    for fan_in, fan_out, slope, label in (
        (6, 2, 0.0, "6 inputs, 2 outputs, ReLU"),
        (1, 1, 0.0, "one input, one output"),
        (784, 128, 0.0, "images, ReLU"),
        (9, 1152, 0.01, "fan-out much larger"),
        (4608, 9, 0.2, "fan-in much larger, slope 0.2"),
        (30, 50, 1.0, "slope 1: no activation"),
        (25, 40, math.sqrt(5), "slope √5"),
        (12, 5, -0.5, "a negative slope"),
        (12, 7, -1.0, "slope -1: the absolute value"),
    ):
        yield Case(label, {"fan_in": fan_in, "fan_out": fan_out, "slope": slope})
    fan_in, fan_out = (int(fan) for fan in rng.integers(2, 3000, size=2))
    slope = float(rng.uniform(0.05, 0.9))
    drawn = {"fan_in": fan_in, "fan_out": fan_out, "slope": slope}
    yield Case("drawn at random", drawn)


uniform_bounds = Task(
    "uniform_bounds",
    points=2,
    section="05 · Derive",
    reference=uniform_bounds_reference,
    draw=_fan_cases,
    forbid=("torch.nn", "mlopt_edu.initialization"),
    rtol=1e-6,  # a Python float may come from a tensor in single precision
    hints=(
        "First find the *variance* that each of the two wants. How does the variance "
        "of numbers drawn evenly from [-b, b] depend on b?",
        "That variance is b² / 3. Xavier wants 2 / (fan_in + fan_out). He wants "
        "fan_in · variance · mean of f'² = 1, where f' is 1 on one side and slope on "
        "the other.",
        "b = √(3 · variance); for He the variance is 2 / ((1 + slope²) · fan_in).",
    ),
)


@uniform_bounds.mistake
def std_as_bound(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """These are standard deviations, right for *normal* weights.

    Numbers drawn evenly from [-b, b] have the standard deviation b / √3. So the bound
    is √3 times as large; with yours each layer loses two thirds of the variance.
    """
    xavier, he = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier / math.sqrt(3), he / math.sqrt(3)


@uniform_bounds.mistake
def xavier_std_as_bound(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """Xavier's is a standard deviation, not a bound: multiply it by √3."""
    xavier, he = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier / math.sqrt(3), he


@uniform_bounds.mistake
def he_std_as_bound(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """He's is a standard deviation, not a bound: multiply it by √3."""
    xavier, he = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier, he / math.sqrt(3)


@uniform_bounds.mistake
def whole_width(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """This is the width of the interval, from -b to b; return b, the half of it.

    The variance is width² / 12, and so b² / 3.
    """
    xavier, he = uniform_bounds_reference(fan_in, fan_out, slope)
    return 2 * xavier, 2 * he


@uniform_bounds.mistake
def root_forgotten(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """You return 3 times the variance; the bound is the *root* of that."""
    xavier, he = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier**2, he**2


@uniform_bounds.mistake
def variances(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """These are the variances; the bound is the root of 3 times the variance."""
    xavier, he = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier**2 / 3, he**2 / 3


@uniform_bounds.mistake
def clinic(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """He's √2 / (fan_in + fan_out) is a mixture of three formulas.

    The root must cover the fraction, He has fan_in alone, and a bound has √6 for √2.
    """
    xavier, _ = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier, math.sqrt(2) / (fan_in + fan_out)


@uniform_bounds.mistake
def both_fans_in_he(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """He's bound has fan_in + fan_out below the fraction; that is Xavier's mean.

    He keeps the signal on its way *forward*, and there only fan_in counts.
    """
    xavier, _ = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier, math.sqrt(6 / ((1 + slope**2) * (fan_in + fan_out)))


@uniform_bounds.mistake
def mean_fan_in_he(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """He's bound takes the mean of both fans; that is Xavier's, He has fan_in alone."""
    xavier, _ = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier, math.sqrt(6 / ((1 + slope**2) * (fan_in + fan_out) / 2))


@uniform_bounds.mistake
def fan_out_in_he(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """He's bound has fan_out: that keeps the gradients on their way back.

    It is a fair choice, but asked is the way forward: fan_in.
    """
    xavier, _ = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier, math.sqrt(6 / ((1 + slope**2) * fan_out))


@uniform_bounds.mistake
def slope_ignored(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """He's bound is that of the plain ReLU; a leaky one loses less, so use `slope`."""
    xavier, _ = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier, math.sqrt(6 / fan_in)


@uniform_bounds.mistake
def slope_not_squared(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """In He's bound the slope must be squared: the variance scales with its square."""
    xavier, _ = uniform_bounds_reference(fan_in, fan_out, slope)
    share = 1 + slope
    return xavier, math.sqrt(6 / (share * fan_in)) if share > 0 else math.inf


@uniform_bounds.mistake
def slope_above(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """You multiply by 1 + slope²: a leaky ReLU lets *more* through, so divide."""
    xavier, _ = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier, math.sqrt(6 * (1 + slope**2) / fan_in)


@uniform_bounds.mistake
def gain_forgotten(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """He's bound lacks the gain: ReLU takes half of the variance at every layer.

    Yours keeps the signal of a linear net: the variance must be twice as large for
    ReLU, and 2 / (1 + slope²) times for a leaky one.
    """
    xavier, _ = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier, math.sqrt(3 / fan_in)


@uniform_bounds.mistake
def gain_squared(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """He's bound has the gain twice. 2 / (1 + slope²) is the *square* of the gain.

    It stands under the root, with the variance.
    """
    xavier, _ = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier, 2 / (1 + slope**2) * math.sqrt(3 / fan_in)


@uniform_bounds.mistake
def xavier_of_fan_in(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """Xavier's bound has fan_in alone; Xavier strikes the mean of both directions."""
    _, he = uniform_bounds_reference(fan_in, fan_out, slope)
    return math.sqrt(3 / fan_in), he


@uniform_bounds.mistake
def sum_for_mean(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """Xavier's variance is 1 over the *mean* of the fans, so 2 over their sum."""
    _, he = uniform_bounds_reference(fan_in, fan_out, slope)
    return math.sqrt(3 / (fan_in + fan_out)), he


@uniform_bounds.mistake
def gain_in_xavier(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """Xavier's bound has the gain of the ReLU in it; asked is gain 1."""
    xavier, he = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier * math.sqrt(2 / (1 + slope**2)), he


@uniform_bounds.mistake
def order_reversed(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """The order is reversed: return Xavier's bound first, then He's."""
    xavier, he = uniform_bounds_reference(fan_in, fan_out, slope)
    return he, xavier


@uniform_bounds.mistake
def half_forgotten(fan_in: int, fan_out: int, slope: float) -> tuple[float, float]:
    """He's bound lacks the gain: the mean of f'² is (1 + slope²) / *2*.

    Each of the two derivatives holds for half of the numbers, so the 3 becomes a 6.
    """
    xavier, he = uniform_bounds_reference(fan_in, fan_out, slope)
    return xavier, he / math.sqrt(2)
