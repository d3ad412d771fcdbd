"""Task 11: the share of its time that a stage of a pipeline waits."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES


def bubble_share_reference(
    batch: int, replicas: int, micro_size: int, stages: int
) -> float:
    """Return (p - 1) / (m + p - 1), with the micro-batches m of one pipeline."""
    micro_batches = batch / replicas / micro_size
    return (stages - 1) / (micro_batches + stages - 1)


def _pipelines(rng: np.random.Generator) -> Iterator[Case]:
    for replicas, micro_size, micro_batches, stages, label in (
        (1, 4, 8, 2, "two stages"),
        (2, 2, 12, 4, "two replicas"),
        (8, 4, 1, 4, "one micro-batch"),
        (3, 1, 5, 6, "one row a micro-batch"),
        (4, 8, 32, 1, "one stage"),
        (2, 16, 3, 9, "more stages than micro-batches"),
        (64, 2, 48, 16, "a thousand devices"),
    ):
        batch = replicas * micro_size * micro_batches
        inputs = {"batch": batch, "replicas": replicas, "micro_size": micro_size}
        yield Case(label, {**inputs, "stages": stages})
    replicas, micro_size = int(rng.integers(2, 9)), int(rng.integers(2, 7))
    batch = replicas * micro_size * int(rng.integers(10, 90))
    inputs = {"batch": batch, "replicas": replicas, "micro_size": micro_size}
    yield Case("another", {**inputs, "stages": int(rng.integers(3, 30))})


bubble_share = Task(
    "bubble_share",
    points=1,
    section="14 · Derive",
    reference=bubble_share_reference,
    draw=_pipelines,
    forbid=LIBRARIES,
    hints=(
        "How many micro-batches go through *one* pipeline in a step? The batch is "
        "shared out twice.",
        "m = rows of a replica / rows of a micro-batch. The step takes m + p - 1 "
        "turns, and a stage works in m of them.",
        "`(stages - 1) / (m + stages - 1)` with `m = batch / (replicas * micro_size)`.",
    ),
)


def _share(micro_batches: float, stages: int) -> float:
    return (stages - 1) / (micro_batches + stages - 1)


@bubble_share.mistake
def batch_of_all_replicas(
    batch: int, replicas: int, micro_size: int, stages: int
) -> float:
    """The number of micro-batches is wrong: you take those of all replicas together.

    Each replica has a pipeline of its own, and 1 / replicas of the batch.
    """
    return _share(batch / micro_size, stages)


@bubble_share.mistake
def size_for_number(batch: int, replicas: int, micro_size: int, stages: int) -> float:
    """You take the *rows* of a micro-batch for the number of micro-batches."""
    return _share(micro_size, stages)


@bubble_share.mistake
def rows_for_micro_batches(
    batch: int, replicas: int, micro_size: int, stages: int
) -> float:
    """The number of micro-batches is wrong: you count the rows of a replica.

    `micro_size` rows travel together.
    """
    return _share(batch / replicas, stages)


@bubble_share.mistake
def rows_of_the_batch(batch: int, replicas: int, micro_size: int, stages: int) -> float:
    """The number of micro-batches is wrong: you count the rows of the batch."""
    return _share(batch, stages)


@bubble_share.mistake
def share_of_the_work(batch: int, replicas: int, micro_size: int, stages: int) -> float:
    """You divide the waiting by the time that a stage *works*; divide by all the time.

    Both numbers are in use. A share of the step cannot exceed 1.
    """
    return (stages - 1) / (batch / replicas / micro_size)


@bubble_share.mistake
def share_that_works(batch: int, replicas: int, micro_size: int, stages: int) -> float:
    """This is the share of time that a stage works; the bubble is the rest."""
    return 1 - bubble_share_reference(batch, replicas, micro_size, stages)


@bubble_share.mistake
def one_turn_too_many(batch: int, replicas: int, micro_size: int, stages: int) -> float:
    """The step takes m + p - 1 turns, not m + p: one turn is in both."""
    return (stages - 1) / (batch / replicas / micro_size + stages)


@bubble_share.mistake
def every_stage_waits(batch: int, replicas: int, micro_size: int, stages: int) -> float:
    """A stage waits for the p - 1 *others*, not for p."""
    return stages / (batch / replicas / micro_size + stages - 1)


@bubble_share.mistake
def replicas_for_stages(
    batch: int, replicas: int, micro_size: int, stages: int
) -> float:
    """You swap replicas and stages: a replica has all the stages, one after another."""
    return _share(batch / stages / micro_size, replicas)


@bubble_share.mistake
def in_percent(batch: int, replicas: int, micro_size: int, stages: int) -> float:
    """This is in percent; return a share, below 1."""
    return 100 * bubble_share_reference(batch, replicas, micro_size, stages)


@bubble_share.mistake
def one_stage_too_many(
    batch: int, replicas: int, micro_size: int, stages: int
) -> float:
    """You count one stage too many, above and below: a stage waits for the *others*."""
    return _share(batch / replicas / micro_size, stages + 1)


@bubble_share.mistake
def one_micro_batch(batch: int, replicas: int, micro_size: int, stages: int) -> float:
    """This is the share if all rows travel at once, as a single micro-batch.

    While one stage works on that, the others wait. Small ones keep all stages busy.
    """
    return _share(1, stages)
