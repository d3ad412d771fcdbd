"""Task 2: a factor that falls in stairs."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task


def step_decay_reference(step: int, every: int, factor: float) -> float:
    """Multiply by `factor` once for every `every` steps that are complete."""
    return float(factor ** (step // every))


def _stairs(rng: np.random.Generator) -> Iterator[Case]:
    every = int(rng.integers(5, 30))
    factor = float(rng.uniform(0.2, 0.8))
    half = (every + 1) // 2
    for step, label in (
        (0, "the first step"),
        (1, "the second step"),
        (half, "half way along the first stair"),
        (every - 1, "the last step before the first drop"),
        (every, "the first drop"),
        (every + 1, "one step after the first drop"),
        (2 * every - 1, "the last step before the second drop"),
        (2 * every, "the second drop"),
        (7 * every + half, "the eighth stair"),
    ):
        yield Case(label, {"step": step, "every": every, "factor": factor})
    yield Case("a drop in every step", {"step": 4, "every": 1, "factor": 0.9})
    yield Case("a long run", {"step": 90_000, "every": 30_000, "factor": 0.1})
    yield Case("factor 1", {"step": 50, "every": 7, "factor": 1.0})


step_decay = Task(
    "step_decay",
    points=1,
    section="04 · Derive",
    reference=step_decay_reference,
    draw=_stairs,
    forbid=("torch.optim", "mlopt_edu.schedules"),
    rtol=1e-5,  # a Python float may come from a tensor in single precision
    hints=(
        "How many drops has step 25 behind it, if there is one every 10 steps?",
        "Count the drops as a whole number, then multiply by `factor` that often.",
        "`//` divides and rounds down: it counts the drops. `factor` to that power is "
        "the answer.",
    ),
)


@step_decay.mistake
def drops_one_step_early(step: int, every: int, factor: float) -> float:
    """You drop one step early: steps 0 to `every` - 1 have factor 1."""
    return float(factor ** ((step + 1) // every))


@step_decay.mistake
def drops_one_step_late(step: int, every: int, factor: float) -> float:
    """You drop one step late: step number `every` itself is already lower."""
    return float(factor ** (max(step - 1, 0) // every))


@step_decay.mistake
def one_step_late_and_too_large_at_first(step: int, every: int, factor: float) -> float:
    """You drop one step late, and step 0 gets a factor above 1.

    -1 // every is -1. Do not subtract 1 from the step.
    """
    return float(factor ** ((step - 1) // every))


@step_decay.mistake
def drops_from_the_start(step: int, every: int, factor: float) -> float:
    """Even step 0 is lowered. The first `every` steps have factor 1."""
    return float(factor ** (step // every + 1))


@step_decay.mistake
def rounded_up(step: int, every: int, factor: float) -> float:
    """You round the number of drops up; only complete stairs count. Round down."""
    return float(factor ** (-(-step // every)))


@step_decay.mistake
def rounded_to_nearest(step: int, every: int, factor: float) -> float:
    """You round to the nearest number, so each drop comes half a stair early."""
    return float(factor ** round(step / every))


@step_decay.mistake
def true_division(step: int, every: int, factor: float) -> float:
    """Your curve is smooth: `/` keeps the fraction. `//` counts whole stairs."""
    return float(factor ** (step / every))


@step_decay.mistake
def decays_in_every_step(step: int, every: int, factor: float) -> float:
    """You multiply by `factor` in every step. Do it once for `every` steps."""
    return float(factor**step)


@step_decay.mistake
def drops_only_once(step: int, every: int, factor: float) -> float:
    """You drop once and stay there. Every further `every` steps bring another drop."""
    return factor if step >= every else 1.0


@step_decay.mistake
def times_for_power(step: int, every: int, factor: float) -> float:
    """You multiply `factor` by the number of drops. Take it to that *power*."""
    return factor * (step // every)


@step_decay.mistake
def divided_by_the_drops(step: int, every: int, factor: float) -> float:
    """You divide by the number of drops. Each drop multiplies by `factor` anew."""
    return factor / max(step // every, 1) if step >= every else 1.0


@step_decay.mistake
def subtracts(step: int, every: int, factor: float) -> float:
    """You subtract the same amount at each drop, and will pass 0. Multiply instead."""
    return 1 - (1 - factor) * (step // every)


@step_decay.mistake
def grows(step: int, every: int, factor: float) -> float:
    """Your factor grows at every drop: multiply by `factor`, do not divide by it."""
    return float(factor ** -(step // every))


@step_decay.mistake
def remainder_for_quotient(step: int, every: int, factor: float) -> float:
    """`%` is the position on the stair; `//` is the number of the stair."""
    return float(factor ** (step % every))


@step_decay.mistake
def one_only_at_multiples(step: int, every: int, factor: float) -> float:
    """You lower the factor only *at* the drop, and forget it in the next step.

    A factor is a function of the step alone: count all the drops behind it.
    """
    return factor if step and step % every == 0 else 1.0
