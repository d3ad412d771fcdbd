"""Task 2: how many threads each rank may have without fighting for cores."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES


def threads_per_rank_reference(cores: int, ranks: int, workers: int) -> int:
    """Whole threads of each rank when its loader workers have a core each."""
    return max(cores // ranks - workers, 1)


def _machines(rng: np.random.Generator) -> Iterator[Case]:
    for cores, ranks, workers, label in (
        (8, 2, 1, "eight cores"),
        (2, 2, 0, "two cores, two ranks"),
        (16, 3, 2, "cores that do not divide"),
        (64, 8, 3, "a server"),
        (4, 1, 0, "one rank"),
        (10, 4, 0, "half a core each is left over"),
        (11, 4, 1, "three cores are left over"),
        (2, 4, 0, "more ranks than cores"),
        (4, 4, 2, "more processes than cores"),
        (6, 2, 3, "workers take every core"),
        (8, 4, 4, "workers want more cores than there are"),
    ):
        yield Case(label, {"cores": cores, "ranks": ranks, "workers": workers})
    ranks, workers = int(rng.integers(2, 9)), int(rng.integers(1, 5))
    cores = ranks * (workers + int(rng.integers(3, 20))) + 1
    yield Case("another", {"cores": cores, "ranks": ranks, "workers": workers})


threads_per_rank = Task(
    "threads_per_rank",
    points=1,
    section="14 · Derive",
    reference=threads_per_rank_reference,
    draw=_machines,
    forbid=LIBRARIES,
    hints=(
        "How many cores belong to one rank? And which of them are taken already?",
        "A rank has `cores // ranks` whole cores. Its loader workers take one each.",
        "Not less than one thread: `max(cores // ranks - workers, 1)`.",
    ),
)


@threads_per_rank.mistake
def oversubscribed(cores: int, ranks: int, workers: int) -> int:
    """Oversubscribed: every rank starts a thread for every core of the machine.

    That is what a library does if nobody tells it. The threads then take turns, and
    wait for each other. The cores are shared among the ranks.
    """
    return cores


@threads_per_rank.mistake
def workers_forgotten(cores: int, ranks: int, workers: int) -> int:
    """The loader workers are processes too: each takes a core from its rank."""
    return max(cores // ranks, 1)


@threads_per_rank.mistake
def workers_once(cores: int, ranks: int, workers: int) -> int:
    """You take the workers of one rank away; *each* rank has so many."""
    return max((cores - workers) // ranks, 1)


@threads_per_rank.mistake
def ranks_forgotten(cores: int, ranks: int, workers: int) -> int:
    """You give each rank all the cores that its own workers leave; there are more."""
    return max(cores - workers, 1)


@threads_per_rank.mistake
def threads_of_all(cores: int, ranks: int, workers: int) -> int:
    """This is how many threads all ranks have together; divide by the ranks."""
    return max(cores - ranks * workers, 1)


@threads_per_rank.mistake
def no_minimum(cores: int, ranks: int, workers: int) -> int:
    """Nothing computes with 0 threads, or fewer: a rank has at least one."""
    return cores // ranks - workers


@threads_per_rank.mistake
def fractions(cores: int, ranks: int, workers: int) -> float:
    """A thread is whole; what does not divide stays free. Round down."""
    return max(cores / ranks - workers, 1)


@threads_per_rank.mistake
def rounded_up(cores: int, ranks: int, workers: int) -> int:
    """You round up: together the ranks then have more threads than cores."""
    return max(-(-cores // ranks) - workers, 1)


@threads_per_rank.mistake
def rounded_to_nearest(cores: int, ranks: int, workers: int) -> int:
    """You round to the nearest; where that is up, there are more threads than cores."""
    return max(round(cores / ranks) - workers, 1)


@threads_per_rank.mistake
def workers_added(cores: int, ranks: int, workers: int) -> int:
    """The workers take cores away from their rank; they do not bring any."""
    return max(cores // ranks + workers, 1)


@threads_per_rank.mistake
def shared_with_the_workers(cores: int, ranks: int, workers: int) -> int:
    """You share the cores out evenly among all processes, workers too.

    A worker takes one core and no more; what is left of its rank's share computes.
    """
    return max(cores // (ranks * (workers + 1)), 1)


@threads_per_rank.mistake
def or_for_max(cores: int, ranks: int, workers: int) -> int:
    """`or 1` catches 0 alone; if the workers want still more, yours is below 0.

    Take the larger of the two, with `max`.
    """
    return cores // ranks - workers or 1
