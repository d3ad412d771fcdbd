"""Measure what threads, processes and vectorisation are worth on real work.

Questions:

1. Vectorisation: how much faster is one call on an array than a Python loop over it?
2. The GIL: do two threads halve the time of Python code, of NumPy and torch code that
   lets go of the GIL, and do two processes?
3. Intra-op threads: what do 1, 2 and 8 threads inside torch do to a small and a large
   matrix product, and what do two processes that each want all cores?
4. Loader workers: how long is an epoch with samples prepared in Python by 0, 1 and 2
   workers beside the training?

Times are wall seconds, medians over rounds; in each round all ways of a question take
their turn. A ratio is to the first way of the same work. Rows count only from an idle
machine: of a busy one, two threads get a larger share than one. Rows are appended to
`results/threads.csv`.

    python -m benchmarks.threads [--rounds 10] [--only vectorisation GIL]
"""

import argparse
import datetime
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from benchmarks.optimizers import append_rows, device_name
from mlopt_edu.datasets import fashion_mnist
from mlopt_edu.models import SmallCNN

RESULTS = Path(__file__).parent / "results" / "threads.csv"

Work = Callable[[], object]
Ways = dict[str, Work]


def sum_of_squares(values: list[float]) -> float:
    """Return the sum of squares by a loop in Python, which holds the GIL."""
    total = 0.0
    for value in values:
        total += value * value
    return total


def python_work(_: int = 0) -> float:
    """Do 20 ms or so of Python."""
    return sum_of_squares([0.5] * 400_000)


def sort_work(_: int = 0) -> None:
    """Sort with NumPy, which lets go of the GIL."""
    np.sort(np.random.default_rng(0).random(400_000))


def product_work(threads: int, size: int = 700) -> None:
    """Multiply matrices with so many threads inside torch; torch lets go of the GIL."""
    torch.set_num_threads(threads)
    matrix = torch.ones(size, size)
    for _ in range(2):
        matrix @ matrix


def small_products() -> None:
    """Multiply matrices too small to be shared."""
    matrix = torch.ones(32, 32)
    for _ in range(500):
        matrix @ matrix


def vectorisation(_: ExitStack) -> Ways:
    """Return ways to sum 100,000 squares, each on one thread."""
    torch.set_num_threads(1)
    array = np.random.default_rng(0).random(100_000)
    values, tensor = array.tolist(), torch.from_numpy(array)
    return {
        "Python loop": partial(sum_of_squares, values),
        "sum of a generator": lambda: sum(value * value for value in values),
        "NumPy": lambda: float(np.square(array).sum()),
        "torch": lambda: float(torch.dot(tensor, tensor)),
    }


def gil(stack: ExitStack) -> Ways:
    """Return ways to do two pieces of work: in turn, on threads, on processes."""
    threads = stack.enter_context(ThreadPoolExecutor(2))
    processes = stack.enter_context(workers(2))
    ways: Ways = {}
    for name, work in (
        ("Python", python_work),
        ("NumPy sort", sort_work),
        ("torch product", partial(product_work, 1)),
    ):
        pieces: Callable[..., Any] = work
        arguments = [700, 700] if name == "torch product" else [0, 0]
        ways[f"{name}: in turn"] = partial(both, map, pieces, arguments)
        ways[f"{name}: two threads"] = partial(both, threads.map, pieces, arguments)
        ways[f"{name}: two processes"] = partial(both, processes.map, pieces, arguments)
    return ways


def intra_op(stack: ExitStack) -> Ways:
    """Return matrix products under numbers of threads, then under two processes."""
    processes = stack.enter_context(workers(2))
    ways: Ways = {}
    for threads in (1, 2, 8):
        ways[f"product of 700: {threads} threads"] = partial(product_work, threads)
    for threads in (1, 2, 8):
        ways[f"500 products of 32: {threads} threads"] = partial(with_threads, threads)
    for threads in (1, 2, 8):
        ways[f"two processes: {threads} threads each"] = partial(
            both, processes.map, product_work, [threads, threads]
        )
    return ways


def loader(_: ExitStack) -> Ways:
    """Return epochs of training with so many workers that prepare samples."""
    return {f"{n} workers": partial(epoch, n) for n in (0, 1, 2)}


class Shifted(Dataset[tuple[Tensor, int]]):
    """Images moved by a few pixels, prepared in Python one by one."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an image moved by up to 3 pixels, and its label."""
        image, shift = self.images[index], int(index) % 7 - 3
        for _ in range(8):  # as much as decoding a small picture takes
            image = torch.roll(image, (shift, -shift), (-2, -1)).clamp(0, 1)
        return image, int(self.labels[index])


def epoch(n_workers: int) -> None:
    """Train a small network on 1,000 images."""
    torch.set_num_threads(1)
    data = fashion_mnist()
    images = torch.as_tensor(data.train_images[:1000]).float().reshape(-1, 1, 28, 28)
    labels = torch.as_tensor(data.train_labels[:1000]).long()
    network = SmallCNN()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    batches = DataLoader(
        Shifted(images / images.max(), labels),
        batch_size=50,
        num_workers=n_workers,
        multiprocessing_context="fork" if n_workers else None,
    )
    for x, y in batches:
        optimizer.zero_grad()
        cross_entropy(network(x), y).backward()
        optimizer.step()


def with_threads(threads: int) -> None:
    """Multiply small matrices under a number of intra-op threads."""
    torch.set_num_threads(threads)
    small_products()


def both(run: Callable[..., Any], work: Callable[..., Any], arguments: Any) -> None:
    """Do a piece of work for each argument, and wait for all."""
    list(run(work, arguments))


def workers(count: int) -> Executor:
    """Return processes that have imported this file and are up."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context)
    list(pool.map(python_work, range(4 * count)))
    return pool


QUESTIONS: dict[str, Callable[[ExitStack], Ways]] = {
    "vectorisation": vectorisation,
    "GIL": gil,
    "intra-op threads": intra_op,
    "loader workers": loader,
}


def answer(question: str, rounds: int) -> list[dict[str, Any]]:
    """Time every way of a question, in turns, and return a row for each."""
    times: dict[str, list[float]] = {}
    with ExitStack() as stack:
        ways = QUESTIONS[question](stack)
        for turn in range(rounds + 1):
            for name, work in ways.items():
                begin = time.perf_counter()
                work()
                if turn:  # the first one warms up
                    times.setdefault(name, []).append(time.perf_counter() - begin)
    rows = []
    for name, mine in times.items():
        work_name, _, way = name.rpartition(": ")
        first = next(k for k in times if k.rpartition(": ")[0] == work_name)
        ratios = [a / b for a, b in zip(mine, times[first], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows.append(
            {
                "question": question,
                "work": work_name,
                "way": way,
                "seconds": f"{statistics.median(mine):.3g}",
                "ratio": round(middle, 4),
                "ratio_q1": round(low, 4),
                "ratio_q3": round(high, 4),
            }
        )
    return rows


def main() -> None:
    """Answer the questions and store the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--no-save", action="store_true", help="only print the rows")
    args = parser.parse_args()
    measured_on = {
        "rounds": args.rounds,
        "date": datetime.date.today().isoformat(),
        "device": device_name("cpu"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    rows = []
    for question in args.only:
        for row in answer(question, max(2, args.rounds)):
            rows.append(row | measured_on)
            print(
                f"{question:18} {row['work']:20} {row['way']:20} {row['seconds']:>9} s"
                f"  ratio {row['ratio']:.3g} [{row['ratio_q1']:.3g},"
                f" {row['ratio_q3']:.3g}]",
                flush=True,
            )
    if not args.no_save:
        append_rows(RESULTS, rows)


if __name__ == "__main__":
    main()
