"""Task 12: what a stage does when, in the schedule 1F1B."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES


def stage_order_reference(stage: int, stages: int, micro_batches: int) -> list[str]:
    """Warm up with forwards, then one forward and one backward, then backwards."""
    warm_up = min(stages - 1 - stage, micro_batches)
    order = [f"F{micro}" for micro in range(warm_up)]
    for micro in range(warm_up, micro_batches):
        order += [f"F{micro}", f"B{micro - warm_up}"]
    return order + [f"B{m}" for m in range(micro_batches - warm_up, micro_batches)]


def _stages(rng: np.random.Generator) -> Iterator[Case]:
    for stage, stages, micro_batches, label in (
        (0, 2, 3, "the first of two stages"),
        (1, 2, 3, "the last of two stages"),
        (0, 4, 8, "the first of four stages"),
        (1, 4, 8, "the second of four stages"),
        (2, 4, 6, "the third of four stages"),
        (3, 4, 5, "the last of four stages"),
        (0, 4, 4, "as many micro-batches as stages"),
        (0, 5, 2, "fewer micro-batches than stages"),
        (2, 5, 1, "one micro-batch"),
        (0, 1, 3, "one stage"),
    ):
        inputs = {"stage": stage, "stages": stages, "micro_batches": micro_batches}
        yield Case(label, inputs)
    stages = int(rng.integers(5, 9))
    inputs = {"stage": int(rng.integers(1, stages - 2)), "stages": stages}
    yield Case("another", {**inputs, "micro_batches": int(rng.integers(9, 20))})


stage_order = Task(
    "stage_order",
    points=2,
    section="14 · Write it small",
    reference=stage_order_reference,
    draw=_stages,
    forbid=LIBRARIES,
    hints=(
        "The last stage can go back at once: F0 B0 F1 B1. How many micro-batches must "
        "a stage before it send off until the first gradient can be back?",
        "Warm-up: `stages - 1 - stage` forwards, or all if there are fewer. Then one "
        "forward and one backward in turn. Then the backwards that are left.",
        "In the middle forward `m` goes with backward `m - warm_up`. At the end come "
        "the last `warm_up` backwards.",
    ),
)


def _order(warm_up: int, micro_batches: int) -> list[str]:
    """1F1B after a warm-up of this length; with all of them, GPipe."""
    warm_up = max(min(warm_up, micro_batches), 0)
    order = [f"F{m}" for m in range(warm_up)]
    for m in range(warm_up, micro_batches):
        order += [f"F{m}", f"B{m - warm_up}"]
    return order + [f"B{m}" for m in range(micro_batches - warm_up, micro_batches)]


@stage_order.mistake
def all_forwards_first(stage: int, stages: int, micro_batches: int) -> list[str]:
    """This is GPipe, all forwards and then all backwards: it holds every micro-batch.

    1F1B goes back as soon as it can, and holds `stages - stage` at most.
    """
    return _order(micro_batches, micro_batches)


@stage_order.mistake
def back_at_once(stage: int, stages: int, micro_batches: int) -> list[str]:
    """Only the last stage can go back at once; the others wait for its gradient.

    They warm up with `stages - 1 - stage` forwards.
    """
    return _order(0, micro_batches)


@stage_order.mistake
def warm_up_by_stage(stage: int, stages: int, micro_batches: int) -> list[str]:
    """You warm up the *later* stages longer; the first has the longest way to wait."""
    return _order(stage, micro_batches)


@stage_order.mistake
def same_warm_up(stage: int, stages: int, micro_batches: int) -> list[str]:
    """All your stages warm up alike; later ones get their gradient sooner."""
    return _order(stages - 1, micro_batches)


@stage_order.mistake
def one_too_many(stage: int, stages: int, micro_batches: int) -> list[str]:
    """You warm up with one forward too many, and hold one micro-batch more than needed.

    The last stage, `stages - 1`, needs no warm-up.
    """
    return _order(stages - stage, micro_batches)


@stage_order.mistake
def one_too_few(stage: int, stages: int, micro_batches: int) -> list[str]:
    """You warm up with one forward too few: the first gradient is not back yet."""
    return _order(stages - 2 - stage, micro_batches)


@stage_order.mistake
def last_backwards_missing(stage: int, stages: int, micro_batches: int) -> list[str]:
    """At the end backwards are missing: as many as the warm-up had forwards."""
    return stage_order_reference(stage, stages, micro_batches)[
        : 2 * micro_batches - min(stages - 1 - stage, micro_batches)
    ]


@stage_order.mistake
def backward_first(stage: int, stages: int, micro_batches: int) -> list[str]:
    """After the warm-up you go back first; the forward comes first, in each pair.

    The gradient that you wait for needs this forward in front of it.
    """
    warm_up = min(stages - 1 - stage, micro_batches)
    order = [f"F{m}" for m in range(warm_up)]
    for m in range(warm_up, micro_batches):
        order += [f"B{m - warm_up}", f"F{m}"]
    return order + [f"B{m}" for m in range(micro_batches - warm_up, micro_batches)]


@stage_order.mistake
def last_first(stage: int, stages: int, micro_batches: int) -> list[str]:
    """Your backwards start with the last micro-batch; they come in order, from 0."""
    n = micro_batches - 1
    order = stage_order_reference(stage, stages, micro_batches)
    return [a if a[0] == "F" else f"B{n - int(a[1:])}" for a in order]


@stage_order.mistake
def counted_from_one(stage: int, stages: int, micro_batches: int) -> list[str]:
    """You count micro-batches from 1; they count from 0."""
    order = stage_order_reference(stage, stages, micro_batches)
    return [f"{action[0]}{int(action[1:]) + 1}" for action in order]


@stage_order.mistake
def back_with_the_newest(stage: int, stages: int, micro_batches: int) -> list[str]:
    """You go back with the micro-batch that just went forward: its gradient is far off.

    It still has to pass the later stages. The oldest one that waits comes first.
    """
    warm_up = min(stages - 1 - stage, micro_batches)
    order = [f"F{m}" for m in range(warm_up)]
    for m in range(warm_up, micro_batches):
        order += [f"F{m}", f"B{m}"]
    return order + [f"B{m}" for m in range(warm_up)]


@stage_order.mistake
def some_go_back_twice(stage: int, stages: int, micro_batches: int) -> list[str]:
    """Some micro-batches go back twice, others never: each goes back once.

    In a pair the backward is behind the forward by as many as the warm-up had.
    """
    warm_up = min(stages - 1 - stage, micro_batches)
    order = [f"F{m}" for m in range(warm_up)]
    for m in range(warm_up, micro_batches):
        order += [f"F{m}", f"B{m}"]
    return order + [f"B{m}" for m in range(micro_batches - warm_up, micro_batches)]
