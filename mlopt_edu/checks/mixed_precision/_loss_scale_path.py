"""Task 3: the scale that grows while all is well and falls at an overflow."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task

Array = NDArray[np.float64]


def loss_scale_path_reference(
    overflows: Sequence[bool],
    init_scale: float,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> Array:
    """Count the good steps since the scale last moved."""
    scale, good_steps, path = init_scale, 0, []
    for overflow in overflows:
        good_steps = 0 if overflow else good_steps + 1
        if overflow:
            scale = scale * backoff_factor
        elif good_steps == growth_interval:
            scale, good_steps = scale * growth_factor, 0
        path.append(scale)
    return np.array(path)


def _flags(text: str) -> list[bool]:
    return [letter == "x" for letter in text]


def _runs(rng: np.random.Generator) -> Iterator[Case]:
    torch_like = {"growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 3}
    for text, label in (
        ("..........", "no overflow"),
        ("xxx", "nothing but overflows"),
        ("..x.....x..", "overflows that interrupt the count"),
        ("..x...x", "an overflow where it would have grown"),
        ("...x....", "an overflow right after it grew"),
        ("", "no step"),
        (".", "one step"),
    ):
        yield Case(label, {"overflows": _flags(text), "init_scale": 8.0, **torch_like})
    odd = {"growth_factor": 1.5, "backoff_factor": 0.4, "growth_interval": 4}
    overflows = _flags("x......x...x.....x......")
    yield Case("other factors", {"overflows": overflows, "init_scale": 100.0, **odd})
    always = {"growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 1}
    overflows = _flags("..xx.x..")
    yield Case("grows at once", {"overflows": overflows, "init_scale": 2.0, **always})
    overflows = [bool(flag) for flag in rng.random(120) < 0.25]
    inputs = {"overflows": overflows, "init_scale": 2.0**16, **torch_like}
    yield Case("many steps", {**inputs, "growth_factor": 1.75})
    inputs = {"overflows": _flags(".......x..."), "init_scale": 2.0**16, **torch_like}
    yield Case("above 65536", inputs)


loss_scale_path = Task(
    "loss_scale_path",
    points=2,
    section="16 · Write it small",
    reference=loss_scale_path_reference,
    draw=_runs,
    forbid=("mlopt_edu.mixed_precision", "torch.amp", "torch.cuda.amp"),
    rtol=1e-5,  # a scale may be kept in single precision, as torch does
    picture=lambda inputs, path: (np.arange(len(path)), path),
    axes=("step", "scale"),
    hints=(
        "Two things change from step to step: the scale, and a count of good steps.",
        "What ends the count? An overflow does, and so does growing.",
        "Per step: on an overflow multiply by `backoff_factor` and set the count to "
        "0; else add 1, and if it is now `growth_interval`, multiply by "
        "`growth_factor` and set it to 0. Then append the scale.",
    ),
)


@loss_scale_path.mistake
def overflow_keeps_the_count(
    overflows: Sequence[bool],
    init_scale: float,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> Array:
    """An overflow leaves your count as it is; set it to 0.

    The good steps must follow each other: an overflow says the scale is too large.
    """
    scale, good, path = init_scale, 0, []
    for overflow in overflows:
        if overflow:
            scale *= backoff_factor
        else:
            good += 1
            if good == growth_interval:
                scale, good = scale * growth_factor, 0
        path.append(scale)
    return np.array(path)


@loss_scale_path.mistake
def overflow_counts_as_good(
    overflows: Sequence[bool],
    init_scale: float,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> Array:
    """Your count goes on through an overflow, as if that step had been made.

    Count good steps in a row; an overflow sets the count to 0.
    """
    scale, count, path = init_scale, 0, []
    for overflow in overflows:
        count += 1
        if overflow:
            scale *= backoff_factor
        if count == growth_interval:
            scale, count = (scale if overflow else scale * growth_factor), 0
        path.append(scale)
    return np.array(path)


@loss_scale_path.mistake
def grows_by_the_clock(
    overflows: Sequence[bool],
    init_scale: float,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> Array:
    """You grow whenever the number of the step is a multiple of the interval.

    So the scale grows even at an overflow. Count the good steps since it last moved.
    """
    scale, path = init_scale, []
    for step, overflow in enumerate(overflows, start=1):
        if overflow:
            scale *= backoff_factor
        if step % growth_interval == 0:
            scale *= growth_factor
        path.append(scale)
    return np.array(path)


@loss_scale_path.mistake
def growing_keeps_the_count(
    overflows: Sequence[bool],
    init_scale: float,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> Array:
    """You grow once and then at every good step: set the count to 0 when you grow."""
    scale, good, path = init_scale, 0, []
    for overflow in overflows:
        good = 0 if overflow else good + 1
        if overflow:
            scale *= backoff_factor
        elif good >= growth_interval:
            scale *= growth_factor
        path.append(scale)
    return np.array(path)


@loss_scale_path.mistake
def grows_only_once(
    overflows: Sequence[bool],
    init_scale: float,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> Array:
    """You grow once, and never again before the next overflow.

    The count passes the interval and goes on: set it to 0 when you grow.
    """
    scale, good, path = init_scale, 0, []
    for overflow in overflows:
        good = 0 if overflow else good + 1
        if overflow:
            scale *= backoff_factor
        elif good == growth_interval:
            scale *= growth_factor
        path.append(scale)
    return np.array(path)


@loss_scale_path.mistake
def one_step_late(
    overflows: Sequence[bool],
    init_scale: float,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> Array:
    """You grow one step late: `growth_interval` good steps are enough.

    Count the step first, then compare.
    """
    return loss_scale_path_reference(
        overflows, init_scale, growth_factor, backoff_factor, growth_interval + 1
    )


@loss_scale_path.mistake
def one_step_early(
    overflows: Sequence[bool],
    init_scale: float,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> Array:
    """You grow one step early: wait for `growth_interval` good steps."""
    interval = max(growth_interval - 1, 1)
    return loss_scale_path_reference(
        overflows, init_scale, growth_factor, backoff_factor, interval
    )


@loss_scale_path.mistake
def no_backoff(
    overflows: Sequence[bool],
    init_scale: float,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> Array:
    """An overflow does not lower your scale: the next step overflows as well.

    Multiply by `backoff_factor`.
    """
    return loss_scale_path_reference(
        overflows, init_scale, growth_factor, 1.0, growth_interval
    )


@loss_scale_path.mistake
def divided_by_growth(
    overflows: Sequence[bool],
    init_scale: float,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> Array:
    """You undo one growth at an overflow; multiply by `backoff_factor` instead.

    The two agree only for 2 and 1/2.
    """
    return loss_scale_path_reference(
        overflows, init_scale, growth_factor, 1 / growth_factor, growth_interval
    )


@loss_scale_path.mistake
def backoff_divides(
    overflows: Sequence[bool],
    init_scale: float,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> Array:
    """You divide by `backoff_factor`, which is below 1: an overflow raises the scale.

    Multiply by it.
    """
    return loss_scale_path_reference(
        overflows, init_scale, growth_factor, 1 / backoff_factor, growth_interval
    )


@loss_scale_path.mistake
def back_to_the_start(
    overflows: Sequence[bool],
    init_scale: float,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> Array:
    """An overflow sets your scale to `init_scale`, even from below.

    Multiply the scale of *now* by `backoff_factor`.
    """
    scale, good, path = init_scale, 0, []
    for overflow in overflows:
        good = 0 if overflow else good + 1
        if overflow:
            scale = init_scale
        elif good == growth_interval:
            scale, good = scale * growth_factor, 0
        path.append(scale)
    return np.array(path)


@loss_scale_path.mistake
def before_each_step(
    overflows: Sequence[bool],
    init_scale: float,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> Array:
    """These are the scales that the steps *used*. Return those after each step.

    Append at the end of the loop.
    """
    factors = growth_factor, backoff_factor
    path = loss_scale_path_reference(overflows, init_scale, *factors, growth_interval)
    return np.concatenate([[init_scale], path])[: len(overflows)]


@loss_scale_path.mistake
def start_included(
    overflows: Sequence[bool],
    init_scale: float,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> Array:
    """You return one number too many: leave `init_scale` out, start after step 1."""
    factors = growth_factor, backoff_factor
    path = loss_scale_path_reference(overflows, init_scale, *factors, growth_interval)
    return np.concatenate([[init_scale], path])
