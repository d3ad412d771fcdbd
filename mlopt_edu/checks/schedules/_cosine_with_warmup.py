"""Task 3: a linear warm-up, then half a cosine down to a floor."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task


def cosine_with_warmup_reference(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """Rise in a line to 1, then fall along half a cosine to `final_factor`."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = min((step - warmup_steps) / (total_steps - warmup_steps), 1.0)
    return float(final_factor + (1 - final_factor) * (1 + np.cos(np.pi * progress)) / 2)


def _run(rng: np.random.Generator) -> Iterator[Case]:
    def case(step: int, label: str) -> Case:
        return Case(label, {"step": step, **limits})

    warmup, rest = int(rng.integers(5, 20)), int(rng.integers(31, 90))
    limits = {
        "warmup_steps": warmup,
        "total_steps": warmup + rest,
        "final_factor": float(rng.uniform(0.05, 0.4)),
    }
    yield case(0, "the first step")
    yield case(warmup // 2, "during the warm-up")
    yield case(warmup - 1, "the last step of the warm-up")
    yield case(warmup, "the first step after the warm-up")
    yield case(warmup + 1, "the second step after the warm-up")
    yield case(warmup + rest // 3, "on the way down")
    yield case(warmup + 4 * rest // 5, "far down")
    yield case(warmup + rest - 1, "one step before the end")
    yield case(warmup + rest, "the end")
    yield case(warmup + rest + 1, "one step after the end")
    yield case(2 * (warmup + rest), "long after the end")
    limits |= {"final_factor": 0.0}
    yield case(warmup + rest // 4, "a floor of 0")
    limits |= {"final_factor": 1.0}
    yield case(warmup + rest // 2, "a floor of 1")
    limits = {"warmup_steps": 0, "total_steps": 40, "final_factor": 0.1}
    yield case(0, "the first step without a warm-up")
    yield case(13, "on the way down without a warm-up")
    limits = {"warmup_steps": 1, "total_steps": 2, "final_factor": 0.1}
    yield case(0, "a warm-up of one step")
    limits = {"warmup_steps": 2000, "total_steps": 100_000, "final_factor": 0.01}
    yield case(70_000, "a long run")


cosine_with_warmup = Task(
    "cosine_with_warmup",
    points=3,
    section="04 · Write it small",
    reference=cosine_with_warmup_reference,
    draw=_run,
    forbid=("torch.optim", "mlopt_edu.schedules"),
    # A Python float may come from a tensor in single precision, where 1 + cos near
    # the end of a fall has lost most of its digits.
    rtol=2e-4,
    hints=(
        "Treat the two parts apart. Which share of *its own* part has this step "
        "behind it?",
        "In the second part let a progress run from 0 at `warmup_steps` to 1 at "
        "`total_steps`, and no further. The cosine of π times it runs from 1 to -1; "
        "move that to run from 1 to 0.",
        "(1 + cos(π · progress)) / 2 runs from 1 to 0. To end at the floor, multiply "
        "it by 1 minus the floor and add the floor.",
    ),
)


def _fall(progress: float, final_factor: float) -> float:
    return float(final_factor + (1 - final_factor) * (1 + np.cos(np.pi * progress)) / 2)


def _progress(step: int, warmup_steps: int, total_steps: int) -> float:
    return min((step - warmup_steps) / (total_steps - warmup_steps), 1.0)


@cosine_with_warmup.mistake
def first_step_wasted(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """Step 0 has factor 0: it changes nothing. Count this step too: `step + 1`."""
    if step < warmup_steps:
        return step / warmup_steps
    return _fall(_progress(step, warmup_steps, total_steps), final_factor)


@cosine_with_warmup.mistake
def top_reached_one_step_early(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """You reach 1 in the warm-up's last step, so two steps have the factor 1.

    The line goes on to step `warmup_steps`: it has one stair more than the warm-up.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return _fall(_progress(step, warmup_steps, total_steps), final_factor)


@cosine_with_warmup.mistake
def top_passed(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """At step `warmup_steps` your factor is above 1: your warm-up is one step too long.

    It has the steps *below* `warmup_steps`, and 1 comes in the step after them.
    """
    if step <= warmup_steps:
        return (step + 1) / max(warmup_steps, 1)
    return _fall(_progress(step, warmup_steps, total_steps), final_factor)


@cosine_with_warmup.mistake
def warmup_ignored(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """There is no warm-up: the first steps have factor 1 already."""
    progress = max(_progress(step, warmup_steps, total_steps), 0.0)
    return _fall(progress, final_factor)


@cosine_with_warmup.mistake
def warmup_from_the_floor(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """Your warm-up starts at the floor. Its first factor is one step's share."""
    if step < warmup_steps:
        return final_factor + (1 - final_factor) * (step + 1) / (warmup_steps + 1)
    return _fall(_progress(step, warmup_steps, total_steps), final_factor)


@cosine_with_warmup.mistake
def cosine_starts_at_step_zero(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """Your cosine runs over *all* steps, so it is below 1 when the warm-up ends.

    It has only the steps after the warm-up: measure its progress from there.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return _fall(min(step / total_steps, 1.0), final_factor)


@cosine_with_warmup.mistake
def two_curves_multiplied(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """You multiply a warm-up by a cosine over all steps, so 1 is never reached.

    One follows the other: first the warm-up alone, then the cosine alone.
    """
    rise = min((step + 1) / (warmup_steps + 1), 1.0)
    return rise * _fall(min(step / total_steps, 1.0), final_factor)


@cosine_with_warmup.mistake
def fall_too_slow(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """The floor is reached too late: you divide the progress by *all* the steps.

    The fall has `total_steps - warmup_steps` of them.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return _fall(min((step - warmup_steps) / total_steps, 1.0), final_factor)


@cosine_with_warmup.mistake
def ends_one_step_early(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """You reach the floor one step early; it is reached *at* `total_steps`."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    length = max(total_steps - warmup_steps - 1, 1)
    return _fall(min((step - warmup_steps) / length, 1.0), final_factor)


@cosine_with_warmup.mistake
def falls_one_step_ahead(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """Your cosine is one step ahead: the first step after the warm-up still has 1."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    length = total_steps - warmup_steps
    return _fall(min((step + 1 - warmup_steps) / length, 1.0), final_factor)


@cosine_with_warmup.mistake
def rises_again(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """After `total_steps` your factor rises again: a cosine is periodic.

    Let the progress grow to 1 and no further.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    length = total_steps - warmup_steps
    return _fall((step - warmup_steps) / length, final_factor)


@cosine_with_warmup.mistake
def zero_after_the_end(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """At the end your factor drops to 0; it stays at `final_factor`."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if step >= total_steps:
        return 0.0
    return _fall(_progress(step, warmup_steps, total_steps), final_factor)


@cosine_with_warmup.mistake
def half_missing(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """1 + cos runs from 2 to 0: divide it by 2."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = _progress(step, warmup_steps, total_steps)
    return float(final_factor + (1 - final_factor) * (1 + np.cos(np.pi * progress)))


@cosine_with_warmup.mistake
def cosine_not_lifted(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """A plain cosine runs from 1 to -1: half-way down you would climb the loss.

    Add 1 and halve, and it runs from 1 to 0.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = _progress(step, warmup_steps, total_steps)
    return float(final_factor + (1 - final_factor) * np.cos(np.pi * progress))


@cosine_with_warmup.mistake
def quarter_of_a_cosine(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """This is a quarter of a cosine, which ends in a steep fall.

    Take (1 + cos(π · progress)) / 2, which starts flat and ends flat.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = _progress(step, warmup_steps, total_steps)
    return float(final_factor + (1 - final_factor) * np.cos(np.pi / 2 * progress))


@cosine_with_warmup.mistake
def degrees_for_radians(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """`np.cos` takes radians: half a turn is π, not 180."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = _progress(step, warmup_steps, total_steps)
    return float(final_factor + (1 - final_factor) * (1 + np.cos(180 * progress)) / 2)


@cosine_with_warmup.mistake
def pi_forgotten(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """The π is missing, so you fall by less than a quarter: half a turn is π."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = _progress(step, warmup_steps, total_steps)
    return float(final_factor + (1 - final_factor) * (1 + np.cos(progress)) / 2)


@cosine_with_warmup.mistake
def straight_line(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """This falls in a straight line. Bend it: (1 + cos(π · progress)) / 2."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = _progress(step, warmup_steps, total_steps)
    return final_factor + (1 - final_factor) * (1 - progress)


@cosine_with_warmup.mistake
def floor_ignored(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """You fall to 0 and ignore `final_factor`; a step of length 0 learns nothing."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return _fall(_progress(step, warmup_steps, total_steps), 0.0)


@cosine_with_warmup.mistake
def floor_added_on_top(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """You add the floor to the whole curve, which then starts above 1.

    Shrink the curve to the height 1 - `final_factor` first.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return final_factor + _fall(_progress(step, warmup_steps, total_steps), 0.0)


@cosine_with_warmup.mistake
def floor_cuts_the_curve(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """You cut the curve off at the floor, so it falls too fast and then stands still.

    Shrink it to the height 1 - `final_factor` and add the floor.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    fall = _fall(_progress(step, warmup_steps, total_steps), 0.0)
    return max(fall, final_factor)


@cosine_with_warmup.mistake
def floor_multiplies(
    step: int, warmup_steps: int, total_steps: int, final_factor: float
) -> float:
    """You multiply the curve by `final_factor`; it must *end* there, and start at 1."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return final_factor * _fall(_progress(step, warmup_steps, total_steps), 0.0)
