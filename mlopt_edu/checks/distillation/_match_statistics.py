"""Task 10: inputs that look inside the teacher as its training data did."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array


def match_statistics_reference(
    x: Array, weight: Array, mean: Array, var: Array, lr: float, steps: int
) -> Array:
    """Descend on the squared gaps of mean and variance inside; only x moves."""
    for _ in range(steps):
        hidden = x @ weight.T
        centred = hidden - hidden.mean(axis=0)
        mean_gap = hidden.mean(axis=0) - mean
        var_gap = np.mean(centred**2, axis=0) - var
        slope = (2 * mean_gap + 4 * var_gap * centred) / len(hidden)
        x = x - lr * slope @ weight
    return x


def _noise(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, hidden, lr, steps, label in (
        (3, 2, 2, 0.05, 1, "one step"),
        (8, 3, 4, 0.02, 10, "ten steps"),
        (20, 5, 3, 0.05, 25, "25 steps"),
        (4, 4, 4, 0.01, 6, "4 everywhere"),
        (1, 3, 2, 0.05, 5, "one input, without variance"),
        (6, 3, 5, 0.0, 3, "step size 0"),
        (6, 3, 5, 0.03, 0, "no step"),
    ):
        inputs: dict[str, Any] = {
            "x": rng.normal(size=(n, d)),
            "weight": 0.6 * rng.normal(size=(hidden, d)),
        }
        inputs |= {"mean": rng.normal(size=hidden) + 1}
        inputs |= {"var": rng.uniform(0.5, 2, size=hidden), "lr": lr, "steps": steps}
        yield Case(label, inputs)


match_statistics = Task(
    "match_statistics",
    points=2,
    section="12 · Write it small",
    reference=match_statistics_reference,
    draw=_noise,
    forbid=LIBRARIES,
    seconds=10.0,  # the first backward pass of torch imports much
    hints=(
        "Everything about the teacher stays: its weight, its mean, its variance. What "
        "is left to move?",
        "Take the slope for the hidden values first, with m and v for their mean and "
        "variance: 2 (m - mean) / N, and 2 (v - var) times that of v, which is "
        "2 (h - m) / N. Then go through the weight.",
        "`slope = (2 * mean_gap + 4 * var_gap * centred) / len(hidden)`, and "
        "`x = x - lr * slope @ weight`.",
    ),
)


def _variant(
    x: Array,
    weight: Array,
    mean: Array,
    var: Array,
    lr: float,
    steps: int,
    *,
    mean_factor: float = 2.0,
    var_factor: float = 4.0,
    centre: bool = True,
    average: Any = len,
    drift: float = 0.0,
) -> Array:
    """The right program, with one thing in it changed."""
    for _ in range(steps):
        hidden = x @ weight.T
        m = hidden.mean(axis=0)
        v = np.sum((hidden - m) ** 2, axis=0) / len(x)
        mean, var = mean + drift * (m - mean), var + drift * (v - var)
        around = hidden - m if centre else hidden
        slope = mean_factor * (m - mean) + var_factor * (v - var) * around
        x = x - lr * slope / average(x) @ weight
    return x


@match_statistics.mistake
def inputs_never_move(*inputs: Any) -> Array:
    """The inputs come back as they went in: they are what is to be trained here."""
    start: Array = inputs[0]
    return start


@match_statistics.mistake
def statistics_of_teacher_updated(*inputs: Any) -> Array:
    """The teacher's statistics move towards your noise, as in train mode.

    They are all that is left of its training data. Keep them as they came.
    """
    return _variant(*inputs, drift=0.1)


@match_statistics.mistake
def ascent(*inputs: Any) -> Array:
    """The gaps grow: step *against* the gradient."""
    *rest, lr, steps = inputs
    return match_statistics_reference(*[*rest, -lr, steps])


@match_statistics.mistake
def means_alone(*inputs: Any) -> Array:
    """You match the means alone; the variances have their gap too."""
    return _variant(*inputs, var_factor=0.0)


@match_statistics.mistake
def variances_alone(*inputs: Any) -> Array:
    """You match the variances alone; the means have their gap too."""
    return _variant(*inputs, mean_factor=0.0)


@match_statistics.mistake
def inner_derivative_missing(*inputs: Any) -> Array:
    """The slope of the variance is too short: (h - m)² has its own factor 2."""
    return _variant(*inputs, var_factor=2.0)


@match_statistics.mistake
def outer_derivative_missing(*inputs: Any) -> Array:
    """The slope is half of what it should be: a square has the factor 2."""
    return _variant(*inputs, mean_factor=1.0, var_factor=2.0)


@match_statistics.mistake
def factor_of_the_mean_missing(*inputs: Any) -> Array:
    """The slope of the mean's gap lacks its factor 2."""
    return _variant(*inputs, mean_factor=1.0)


@match_statistics.mistake
def not_centred(*inputs: Any) -> Array:
    """In the slope of the variance you take h; take h - m."""
    return _variant(*inputs, centre=False)


@match_statistics.mistake
def inputs_not_averaged(*inputs: Any) -> Array:
    """Each input has the share 1/N in mean and variance: divide the slope by N."""
    return _variant(*inputs, average=lambda _: 1)


@match_statistics.mistake
def unbiased_variance(*inputs: Any) -> Array:
    """You divide the variance by N - 1; here it is a mean, with N.

    N - 1 is what torch does if nobody says `correction=0`. One input gives nan.
    """
    x, weight, mean, var, lr, steps = inputs
    for _ in range(steps):
        hidden = x @ weight.T
        m = hidden.mean(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            around = (hidden - m) / np.float64(len(x) - 1)
            var_gap = np.sum((hidden - m) * around, axis=0) - var
        slope = 2 * (m - mean) / len(x) + 4 * var_gap * around
        x = x - lr * slope @ weight
    return np.asarray(x)


@match_statistics.mistake
def sum_of_squares_for_variance(*inputs: Any) -> Array:
    """You forget to divide the squares by N: that is no variance."""
    x, weight, mean, var, lr, steps = inputs
    for _ in range(steps):
        hidden = x @ weight.T
        centred = hidden - hidden.mean(axis=0)
        var_gap = np.sum(centred**2, axis=0) - var
        slope = (2 * (hidden.mean(axis=0) - mean) + 4 * var_gap * centred) / len(x)
        x = x - lr * slope @ weight
    return np.asarray(x)


@match_statistics.mistake
def spread_for_variance(*inputs: Any) -> Array:
    """You compare standard deviations; `var` is a variance."""
    x, weight, mean, var, lr, steps = inputs
    for _ in range(steps):
        hidden = x @ weight.T
        m, s = hidden.mean(axis=0), hidden.std(axis=0)
        spread = (hidden - m) * (1 - np.sqrt(var) / np.where(s > 0, s, 1))
        x = x - lr * 2 * (m - mean + spread) / len(x) @ weight
    return np.asarray(x)


@match_statistics.mistake
def every_input_to_the_mean(*inputs: Any) -> Array:
    """You pull every input to the mean, which leaves no variance.

    Only the mean over the batch should be there.
    """
    x, weight, mean, var, lr, steps = inputs
    for _ in range(steps):
        hidden = x @ weight.T
        centred = hidden - hidden.mean(axis=0)
        var_gap = hidden.var(axis=0) - var
        slope = (2 * (hidden - mean) + 4 * var_gap * centred) / len(x)
        x = x - lr * slope @ weight
    return np.asarray(x)


@match_statistics.mistake
def one_step_only(*inputs: Any) -> Array:
    """You take one step; take `steps` of them."""
    *rest, steps = inputs
    return match_statistics_reference(*[*rest, min(steps, 1)])


@match_statistics.mistake
def one_step_more(*inputs: Any) -> Array:
    """You take one step too many."""
    *rest, steps = inputs
    return match_statistics_reference(*[*rest, steps + 1])


@match_statistics.mistake
def slope_of_the_first_inputs(*inputs: Any) -> Array:
    """You compute the slope once; compute it anew before every step."""
    *rest, lr, steps = inputs
    return match_statistics_reference(*[*rest, steps * lr, 1])


@match_statistics.mistake
def share_of_the_mean_missing(*inputs: Any) -> Array:
    """The slope of the *mean's* gap is not divided by N: an input has the share 1/N."""
    x, *_ = inputs
    return _variant(*inputs, mean_factor=2.0 * len(x))


@match_statistics.mistake
def mean_over_columns(*inputs: Any) -> Array:
    """You take the mean over the columns; the loss is their sum."""
    return _variant(*inputs, average=lambda _: len(inputs[0]) * len(inputs[2]))


@match_statistics.mistake
def slopes_pile_up(*inputs: Any) -> Array:
    """Each step takes the gradients of all steps before it too.

    In torch, `.grad` adds up until somebody sets it to zero.
    """
    x, weight, mean, var, lr, steps = inputs
    sum_ = np.zeros_like(x)
    for _ in range(steps):
        sum_ = sum_ + x - match_statistics_reference(x, weight, mean, var, 1.0, 1)
        x = x - lr * sum_
    return np.asarray(x)


@match_statistics.mistake
def around_the_mean_of_the_teacher(*inputs: Any) -> Array:
    """Your variance is taken around the teacher's mean; take it around the batch's."""
    x, weight, mean, var, lr, steps = inputs
    for _ in range(steps):
        hidden = x @ weight.T
        around = hidden - mean
        var_gap = np.mean(around**2, axis=0) - var
        slope = 2 * around.mean(axis=0) + 4 * var_gap * around
        x = x - lr * slope / len(x) @ weight
    return np.asarray(x)


@match_statistics.mistake
def squares_not_centred(*inputs: Any) -> Array:
    """Your variance is the mean of h²; subtract the mean of h before you square."""
    x, weight, mean, var, lr, steps = inputs
    for _ in range(steps):
        hidden = x @ weight.T
        var_gap = np.mean(hidden**2, axis=0) - var
        slope = 2 * (hidden.mean(axis=0) - mean) + 4 * var_gap * hidden
        x = x - lr * slope / len(x) @ weight
    return np.asarray(x)


@match_statistics.mistake
def one_step_less(*inputs: Any) -> Array:
    """You take one step too few."""
    *rest, steps = inputs
    return match_statistics_reference(*[*rest, max(steps - 1, 0)])
