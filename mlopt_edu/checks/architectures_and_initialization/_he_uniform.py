"""Task 3: an initializer that is called He and lets the signal die, to mend."""

import math
from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._fans import fans_reference
from ._network import Array


def he_uniform_reference(uniform: Array) -> Array:
    """Weights in [-bound, bound) from numbers in [0, 1)."""
    fan_in = uniform.size / len(uniform)
    return math.sqrt(6 / fan_in) * (2 * uniform - 1)


def _uniform_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("the ends and the middle", {"uniform": np.array([[0.0, 0.5, 0.75]])})
    for shape, label in (
        ((3, 5), "a linear layer"),
        ((1, 1), "a single weight"),
        ((7, 2), "more outputs than inputs"),
        ((4, 3, 3, 3), "3 x 3 kernels"),
        ((2, 5, 1, 1), "1 x 1 kernels"),
        ((3, 2, 5), "a convolution along a line"),
        ((6, 4, 3, 2), "kernels of 3 x 2"),
    ):
        yield Case(label, {"uniform": rng.random(shape)})


he_uniform = Task(
    "he_uniform",
    kind="repair",
    points=2,
    section="05 · What goes wrong",
    reference=he_uniform_reference,
    draw=_uniform_cases,
    forbid=("torch.nn", "mlopt_edu.initialization"),
    hints=(
        "Take it for a layer with 300 inputs and 300 outputs. Between which numbers do "
        "its weights lie, and between which should they?",
        "One fault is the bound: compare it with task 2, slope 0. The other is the "
        "last line: what becomes of 0, and what of nearly 1?",
        "The bound is √(6 / fan_in). `uniform - 0.5` goes from -½ to ½; what goes from "
        "-1 to 1?",
    ),
)


def _weights(uniform: Array, bound: float) -> Array:
    return bound * (2 * uniform - 1)


@he_uniform.mistake
def as_given(uniform: Array) -> Array:
    """Both faults of the given program are still in it.

    Put in fan_in = fan_out = 300: the weights lie within ±0.0012. He's reach ±0.14.
    """
    return math.sqrt(2) / sum(fans_reference(uniform.shape, 1)) * (uniform - 0.5)


@he_uniform.mistake
def bound_as_given(uniform: Array) -> Array:
    """The bound is still √2 / (fan_in + fan_out), which is wrong three times.

    The root must cover the fraction, He has fan_in alone, and √2 belongs to a standard
    deviation: for a bound it is √6.
    """
    return _weights(uniform, math.sqrt(2) / sum(fans_reference(uniform.shape, 1)))


@he_uniform.mistake
def interval_as_given(uniform: Array) -> Array:
    """The bound is right, but the weights reach only half of it on either side.

    `uniform - 0.5` goes from -½ to ½.
    """
    return he_uniform_reference(uniform) / 2


@he_uniform.mistake
def std_for_bound(uniform: Array) -> Array:
    """√(2 / fan_in) is He's standard deviation; a bound is √3 times as large."""
    return _weights(uniform, math.sqrt(2 / uniform[0].size))


@he_uniform.mistake
def std_for_bound_and_interval(uniform: Array) -> Array:
    """√(2 / fan_in) is He's standard deviation: a bound is √3 times as large.

    And `uniform - 0.5` reaches only half of the bound on either side.
    """
    return _weights(uniform, math.sqrt(2 / uniform[0].size) / 2)


@he_uniform.mistake
def root_of_the_two_alone(uniform: Array) -> Array:
    """√2 / fan_in: the root must cover fan_in too, and a bound has √6 for √2."""
    return _weights(uniform, math.sqrt(2) / uniform[0].size)


@he_uniform.mistake
def root_of_the_six_alone(uniform: Array) -> Array:
    """√6 / fan_in: the root must cover the whole fraction, fan_in too."""
    return _weights(uniform, math.sqrt(6) / uniform[0].size)


@he_uniform.mistake
def std_of_xavier(uniform: Array) -> Array:
    """√(2 / (fan_in + fan_out)) is Xavier's standard deviation.

    Asked is He's bound: fan_in alone, and √6 for √2.
    """
    return _weights(uniform, math.sqrt(2 / sum(fans_reference(uniform.shape, 1))))


@he_uniform.mistake
def bound_of_xavier(uniform: Array) -> Array:
    """√(6 / (fan_in + fan_out)) is Xavier's bound; He has fan_in alone."""
    return _weights(uniform, math.sqrt(6 / sum(fans_reference(uniform.shape, 1))))


@he_uniform.mistake
def fan_out_for_fan_in(uniform: Array) -> Array:
    """You use fan_out; keep the signal on its way forward, with fan_in."""
    return _weights(uniform, math.sqrt(6 / fans_reference(uniform.shape, 1)[1]))


@he_uniform.mistake
def window_forgotten(uniform: Array) -> Array:
    """You take the number of input channels for fan_in; the window belongs to it."""
    return _weights(uniform, math.sqrt(6 / uniform.shape[1]))


@he_uniform.mistake
def outputs_for_inputs(uniform: Array) -> Array:
    """You take the first size of the shape for fan_in; it is the number of outputs."""
    return _weights(uniform, math.sqrt(6 / uniform.shape[0]))


@he_uniform.mistake
def gain_forgotten(uniform: Array) -> Array:
    """√(3 / fan_in) lacks the gain of ReLU, which takes half of the variance."""
    return _weights(uniform, math.sqrt(3 / uniform[0].size))


@he_uniform.mistake
def only_positive(uniform: Array) -> Array:
    """No weight is negative: 0 must become -bound, so shift the interval too."""
    return math.sqrt(6 / uniform[0].size) * uniform


@he_uniform.mistake
def one_not_scaled(uniform: Array) -> Array:
    """You subtract 1 after the scaling: 0 becomes -1. Bracket `2 * uniform - 1`."""
    return math.sqrt(6 / uniform[0].size) * 2 * uniform - 1


@he_uniform.mistake
def mirrored(uniform: Array) -> Array:
    """As a distribution it is right, but 0 must become -bound, and yours is +bound."""
    return -he_uniform_reference(uniform)
