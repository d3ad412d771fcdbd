"""Where submissions are graded: in this process, on its cores, or on a cluster.

Workers are trusted: they judge. What a learner wrote runs in answer processes of its
own below them. A worker may still die (the machine ran out of memory, a node went
down); its submissions are graded again elsewhere, and none is lost or counted twice.
"""

import contextlib
import importlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from .grader import Graded, Grader, Rules, Weights, course_digest, grade_answers

AHEAD = 4  # submissions on their way to each worker: none idles, few lie in memory


@dataclass(frozen=True)
class Job:
    """Answers to one exercise, and files of weights; `name` says whose."""

    name: str
    stem: str
    answers: Mapping[str, str]
    weights: Weights = field(default_factory=dict)


Result = tuple[Job, Graded | BaseException]


class Workers(Protocol):
    """Grades jobs, in whatever order is fastest."""

    def grade(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Yield each job with its result, or with why there is none."""


class InProcess:
    """Grades one job after another in this process."""

    def __init__(self, grader: Grader) -> None:
        self._grader = grader

    def grade(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Yield each job with its result, in order."""
        for job in jobs:
            try:
                yield job, self._grader.grade(job.stem, job.answers, job.weights)
            except Exception as error:  # the grader's fault; the class goes on
                yield job, error


class Pool:
    """Grades on the workers of an executor.

    Args:
        rules: What decides a result.
        start: Makes the executor; called again when its workers died.
        size: How many workers it has.
    """

    def __init__(self, rules: Rules, start: Callable[[], Executor], size: int) -> None:
        self._rules, self._start, self._size = rules, start, size

    def grade(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Yield each job with its result as it is done."""
        todo, suspects = iter(jobs), list[Job]()
        while (yield from self._grade_until_one_dies(todo, suspects)):
            pass
        for job in suspects:  # alone, so that the guilty one takes no other with it
            with self._start() as executor:
                yield job, _outcome(self._submit(executor, job))

    def _grade_until_one_dies(
        self, todo: Iterator[Job], suspects: list[Job]
    ) -> Generator[Result, None, bool]:
        """Go on until all is done, or a worker died with some jobs on their way."""
        pending: dict[Future[Graded], Job] = {}
        executor = self._start()
        try:
            while True:
                room = range(AHEAD * self._size - len(pending))
                for _, job in zip(room, todo, strict=False):
                    pending[self._submit(executor, job)] = job
                if not pending:
                    return False
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    if isinstance(future.exception(), BrokenProcessPool):
                        suspects.extend(pending.values())
                        return True
                    yield pending.pop(future), _outcome(future)
        finally:
            for future in pending:
                future.cancel()
            executor.shutdown(wait=False)

    def _submit(self, executor: Executor, job: Job) -> "Future[Graded]":
        answers, weights = dict(job.answers), dict(job.weights)
        return executor.submit(grade_answers, self._rules, job.stem, answers, weights)


def on_cores(rules: Rules, count: int) -> Pool:
    """Return workers on this machine, one a core."""
    context = multiprocessing.get_context("forkserver")
    # Imported once, then forked: a worker is there in milliseconds.
    context.set_forkserver_preload([f"{__package__}.grader", "torch"])
    start = partial(ProcessPoolExecutor, count, context, _end_with_parent)
    return Pool(rules, start, count)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def on_cluster(rules: Rules, address: str) -> Iterator[Pool]:
    """Return the workers of a Dask cluster, for as long as the context lasts.

    Dask itself gives a dead worker's submissions to another, three times at most.

    Args:
        rules: What decides a result.
        address: Where its scheduler listens, as "tcp://10.0.0.5:8786".

    Raises:
        ValueError: If nobody answers there, it has no workers, or a worker has
            another version of the course.
    """
    distributed: Any = importlib.import_module("distributed")  # it has no types
    try:
        client = distributed.Client(address, timeout=20, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {address}: {error}") from None
    with client:
        here, there = course_digest(), client.run(course_digest)
        if not there:
            raise ValueError(f"the cluster at {address} has no workers; start some")
        for worker, digest in there.items():
            if digest != here:
                raise ValueError(
                    f"the worker {worker} has another version of the course than this "
                    "machine; install the same one on all"
                )
        size = sum(client.nthreads().values())
        yield Pool(rules, lambda: client.get_executor(pure=False), size)


def _outcome(future: "Future[Graded]") -> Graded | BaseException:
    error = future.exception()
    return future.result() if error is None else error
