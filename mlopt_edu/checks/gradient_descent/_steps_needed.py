"""Task 5: how many steps a condition number costs."""

import numpy as np

from .._task import number


def steps_needed_reference() -> float:
    """Steps with the best constant lr until the slowest error is 1000 times smaller."""
    condition_number, shrink = 100, 1000
    factor = (condition_number - 1) / (condition_number + 1)
    return float(np.ceil(np.log(shrink) / -np.log(factor)))


steps_needed = number(
    "steps_needed",
    "The condition number is 100, and you use the best constant step size. How many "
    "steps until the slowest part of the error in w is at least 1000 times smaller?",
    reference=steps_needed_reference,
    points=1,
    section="01 · Derive",
    rtol=1e-6,
    hints=(
        "One step multiplies the slowest error by a factor; k steps by factor ** k.",
        "With the best step size the factor is (κ - 1) / (κ + 1). Solve factor ** k = "
        "1/1000 for k.",
        "Take logarithms: k is log(1000) divided by -log(factor), rounded up.",
    ),
)


@steps_needed.mistake
def step_size_one_over_l() -> float:
    """This belongs to lr = 1/L, with factor 1 - 1/κ.

    The best step size, 2 / (λ_min + λ_max), is about twice as fast.
    """
    return float(np.ceil(np.log(1000) / -np.log(1 - 1 / 100)))


@steps_needed.mistake
def loss_for_error() -> float:
    """After these steps the *loss* is 1000 times smaller, but the error in w is not.

    The loss is quadratic, so the error has shrunk by the square root of that.
    """
    return float(np.ceil(np.log(1000) / -np.log(99 / 101) / 2))


@steps_needed.mistake
def rounded_down() -> float:
    """Nearly: after 345 steps it is not quite there yet. Round up."""
    return float(np.floor(np.log(1000) / -np.log(99 / 101)))


@steps_needed.mistake
def not_rounded() -> float:
    """The formula is right. Steps are whole: round up to the first that is enough."""
    return float(np.log(1000) / -np.log(99 / 101))


@steps_needed.mistake
def logarithms_mixed() -> float:
    """You divided a decimal logarithm by a natural one; use the same one twice."""
    return float(np.ceil(np.log10(1000) / -np.log(99 / 101)))


@steps_needed.mistake
def kappa_times_log() -> float:
    """This is twice too many. κ log(1000) is the rule of thumb for lr = 1/L.

    And it is the *error* that shrinks by (κ - 1) / (κ + 1), not its square root.
    """
    return float(np.round(100 * np.log(1000)))


@steps_needed.mistake
def rate_of_momentum() -> float:
    """This is the rate of the best *momentum*, with √κ; plain descent has κ."""
    return float(np.ceil(np.log(1000) / -np.log(9 / 11)))
