"""Measure `mlopt grade` against nbgrader and otter-grader, on the same submissions.

Claims:

1. A submission costs a hundredth of the CPU seconds that `nbgrader autograde` and
   `otter run` take for it, though ours runs it isolated and theirs do not.
2. Ours scores every submission as it should be scored, also where an answer crashes.
3. With `--large N` submissions the time is linear in their number, and memory flat.

All grade submissions of exercise 01 in one run, without the last cell of the notebook,
which earns no points and which only the others would run. No two are equal: local
names differ, and what is right, wrong in a known way, blank or broken takes turns.
Each way judges the same cases with the same `check`, once a task; to otter go doctests
that call it. CPU seconds are user and system time of a command and of all that it
started, also of what outlived it. Two classes of different sizes tell what a class
costs at the start (imports, a kernel's first start) from what each submission adds;
otter starts anew for each. The ratios are theirs to ours: of all seconds by
submissions, where ours is the larger class, and of what a submission adds.
Rows are appended to `results/grading.csv`.

    python -m benchmarks.grading [--submissions 20] [--large 10000] [--otter PATH]

A tool that is not there has no row. Otter needs an environment of its own, in which
this package and `ipykernel` are installed too.
"""

import argparse
import ast
import csv
import ctypes
import datetime
import inspect
import json
import os
import platform
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from benchmarks.optimizers import append_rows, device_name
from mlopt_edu.checks import Task, exercises
from mlopt_edu.grading.notebook import Notebook, dumps, read, source

RESULTS = Path(__file__).parent / "results" / "grading.csv"
ROOT = Path(__file__).parents[1]
STEM = "01_gradient_descent"
TASKS = exercises()[STEM]
UNGRADED = "use-it-on-shoes"

# What each twenty submissions are, besides right.
KINDS = (
    "right", "mistake", "blank", "raises", "mistake", "prints", "right",
    "mistake", "right", "syntax", "right", "mistake", "warns", "right", "right",
    "mistake", "right", "dies", "right", "mistake",
)  # fmt: skip
BROKEN = {
    "raises": "def contraction(X, lr):\n    return eigenvalues(X)[-1]",
    "syntax": "def contraction(X, lr)\n    return 1 - lr",
    "dies": "def contraction(X, lr):\n    import os\n    os._exit(1)",
}
HARMLESS = {
    "prints": "print(X.shape, lr)",
    "warns": "np.log(np.zeros(1))",
}

Points = dict[str, float]  # of each student; whoever got no score is missing


# A class of learners


def right_answers() -> dict[str, str]:
    """Return the solution's answers; what they say of stubs are comments."""
    cells = read(ROOT / f"solutions/{STEM}.ipynb")["cells"]
    return {cell["id"]: source(cell) for cell in cells if cell["id"] in TASKS}


def mistakes(task: Task) -> list[str]:
    """Return the known mistakes of a task as learners write them.

    A program that calls what only the course has is left out.
    """
    found = []
    for mistake in task.mistakes:
        if task.is_value:
            found.append(f"{task.name} = {mistake.program()!r}")
            continue
        if set(inspect.getclosurevars(mistake.program).globals) - {"np"}:
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(mistake.program)))
        (function,) = tree.body
        assert isinstance(function, ast.FunctionDef)
        function.name, function.decorator_list, function.returns = task.name, [], None
        del function.body[0]  # the explanation
        for argument in function.args.args:
            argument.annotation = None
        found.append(ast.unparse(tree))
    return found


def in_own_words(text: str, name: str, i: int) -> str:
    """Rename what an answer calls its own, so that no two learners write the same."""
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    given = {node.arg for node in nodes if isinstance(node, ast.arg)} | {name}
    names = [node for node in nodes if isinstance(node, ast.Name)]
    own = {node.id for node in names if isinstance(node.ctx, ast.Store)} - given
    for node in names:
        if node.id in own:
            node.id = f"{node.id}_{i}"
    return ast.unparse(tree)


def learner(i: int, right: dict[str, str], wrong: list[tuple[str, str]]) -> tuple[
    dict[str, str], float
]:  # fmt: skip
    """Return the answers of learner number i by task, and the points they earn."""
    kind = KINDS[i % len(KINDS)]
    answers = {name: in_own_words(text, name, i) for name, text in right.items()}
    lost = set()
    if kind == "mistake":
        turn = i // len(KINDS) * KINDS.count(kind) + KINDS[: i % len(KINDS)].count(kind)
        name, text = wrong[turn % len(wrong)]
        answers[name] = in_own_words(text, name, i)
        lost = {name}
    elif kind == "blank":
        lost = set(list(answers)[-1 - i // len(KINDS) % 4 :])
    elif kind in BROKEN:
        answers["contraction"], lost = BROKEN[kind], {"contraction"}
    elif kind in HARMLESS:
        head, body = answers["contraction"].split("\n", 1)
        answers["contraction"] = f"{head}\n    {HARMLESS[kind]}\n{body}"
    if "gradient" in lost:  # these two call it
        lost |= {"descend", "descend_until"}
    if kind == "blank":
        answers = {name: text for name, text in answers.items() if name not in lost}
    points = sum(task.points for name, task in TASKS.items() if name not in lost)
    return answers, points


def students(count: int) -> Iterator[tuple[str, Notebook, float]]:
    """Yield each learner's name, notebook and points, as they should be."""
    right = right_answers()
    listed = [[(name, m) for m in mistakes(task)] for name, task in TASKS.items()]
    longest = max(map(len, listed))
    wrong = [some[k] for k in range(longest) for some in listed if k < len(some)]
    exercise = read(ROOT / f"exercises/{STEM}.ipynb")
    cells = [cell for cell in exercise["cells"] if cell["id"] != UNGRADED]
    for i in range(count):
        answers, points = learner(i, right, wrong)
        filled = [
            cell | {"source": answers.get(cell["id"], source(cell))} for cell in cells
        ]
        yield f"s{i:05}", exercise | {"cells": filled}, points


# What a command costs


class Cost:
    """CPU and wall seconds of commands, one after another."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0

    def run(self, command: Sequence[str | Path], folder: Path) -> None:
        """Run a command to its end, and wait for what it left behind.

        A tool may say by its exit code that a submission was bad: that is no failure.
        """
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        scripts = Path(command[0]).parent  # tools call each other by their names
        environment = os.environ | {
            "PATH": os.pathsep.join([str(scripts), os.environ["PATH"]]),
            "OMP_NUM_THREADS": "1",
            "JUPYTER_PREFER_ENV_PATH": "1",
            "MLOPT_PROGRESS": str(folder),
        }
        with (folder / "said.txt").open("ab") as said:
            subprocess.run(
                command, cwd=folder, stdout=said, stderr=said, env=environment,
                check=False,
            )  # fmt: skip
        self.wall += time.perf_counter() - start
        while _wait():
            pass
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu += after.ru_utime + after.ru_stime
        self.cpu -= before.ru_utime + before.ru_stime


def adopt_orphans() -> None:
    """Become the parent of what outlives its own, or its seconds would be lost."""
    PR_SET_CHILD_SUBREAPER = 36
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this needs Linux")


def _wait() -> bool:
    try:
        os.wait()
    except ChildProcessError:
        return False
    return True


# The three ways


def ours(count: int, folder: Path, _: Path, workers: int | None = None) -> tuple[
    Cost, Points
]:  # fmt: skip
    """Grade with `mlopt grade`, isolated as strongly as this machine can."""
    inbox, out, cost = folder / "inbox", folder / "out", Cost()
    inbox.mkdir()
    for name, notebook, _points in students(count):
        (inbox / f"{name}.ipynb").write_text(dumps(notebook), encoding="utf-8")
    chosen = [] if workers is None else ["--workers", str(workers)]
    command = [sys.executable, "-m", "mlopt_edu.cli", "grade", inbox, "--out", out]
    cost.run([*command, *chosen], folder)
    with (out / "class.csv").open(newline="", encoding="utf-8") as file:
        return cost, {row["student"]: float(row["points"]) for row in csv.DictReader(file)}
