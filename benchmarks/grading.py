"""Measure `mlopt grade` against nbgrader and otter-grader, on the same submissions.

Questions:

1. What does a submission cost in CPU seconds? Ours, which isolates it, is to need a
   hundredth of what `nbgrader autograde` and `otter run` need, which do not.
2. Who scores it as it should be scored, also where an answer crashes?
3. With `--large N`: is our time linear in the number of submissions, and memory flat?

All grade submissions of exercise 01 in one run, without the last cell of the notebook,
which earns no points and which only the others would run. No two are equal: local names
differ, and what is right, wrong in a known way, blank or broken takes turns. Each way
judges every task once, on as many cases, by the same rules: nbgrader in cells and otter
in doctests that call `check`, ours with cases of another seed. CPU seconds are user and
system time of a command and of all that it started, also of what outlived it. Two
classes of different sizes tell what a class costs at the start (imports, a kernel's
first start) from what each submission adds; otter starts anew for each. The ratios are
theirs to ours: of all seconds by submissions, where ours is the larger class, and of
what a submission adds.
Rows are appended to `results/grading.csv`.

    python -m benchmarks.grading [--submissions 20] [--large 10000] [--otter PATH]

A tool that is not there has no row. Otter needs an environment of its own, in which
this package and `ipykernel` are installed too.
"""

import argparse
import contextlib
import csv
import ctypes
import datetime
import itertools
import json
import os
import platform
import re
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.learners import KINDS, STEM, TASKS, exercise, students
from benchmarks.optimizers import append_rows, device_name
from mlopt_edu.grading.isolation import choose
from mlopt_edu.grading.notebook import Notebook, dumps

RESULTS = Path(__file__).parent / "results" / "grading.csv"

Row = dict[str, Any]
Points = dict[str, float]  # of each student; whoever got no score is missing


# What a command costs


class Cost:
    """CPU and wall seconds of commands, one after another."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0

    def run(self, command: Sequence[str | Path], folder: Path) -> None:
        """Run a command to its end, and wait for what it left behind.

        A tool may say by its exit code that a submission was bad: that is no failure.
        """
        before, start = (
            resource.getrusage(resource.RUSAGE_CHILDREN),
            time.perf_counter(),
        )
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
    set_child_subreaper = 36
    if ctypes.CDLL(None, use_errno=True).prctl(set_child_subreaper, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this needs Linux")


def _wait() -> bool:
    try:
        os.wait()
    except ChildProcessError:
        return False
    return True


# The ways to grade


def ours(count: int, folder: Path, program: Path) -> tuple[Cost, Points]:
    """Grade with `mlopt grade`, isolated as strongly as this machine can."""
    inbox, cost = folder / "inbox", Cost()
    inbox.mkdir()
    for name, notebook, _ in students(count):
        (inbox / f"{name}.ipynb").write_text(dumps(notebook), encoding="utf-8")
    # As many whatever the size of the class, or two sizes would not start alike.
    workers = ["--workers", str(os.cpu_count() or 1)]
    cost.run([program, "grade", inbox, "--out", folder / "graded", *workers], folder)
    with (folder / "graded" / "class.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return cost, {row["student"]: float(row["points"]) for row in rows}


def nbgrader(count: int, folder: Path, program: Path) -> tuple[Cost, Points]:
    """Grade with `nbgrader autograde`, in a course whose source is our exercise."""
    (folder / "nbgrader_config.py").write_text(
        # The answers are cut out already.
        "c = get_config()\nc.ClearSolutions.enabled = False\n"
    )
    _nbgrader_file(folder / "source", exercise())
    for name, notebook, _ in students(count):
        _nbgrader_file(folder / "submitted" / name, notebook)
    Cost().run([program, "generate_assignment", STEM], folder)
    cost = Cost()
    cost.run([program, "autograde", STEM], folder)
    query = """
        SELECT student_id, SUM(auto_score) FROM submitted_assignment
        JOIN submitted_notebook n ON submitted_assignment.id = n.assignment_id
        JOIN grade ON n.id = grade.notebook_id GROUP BY student_id
    """
    with contextlib.closing(sqlite3.connect(folder / "gradebook.db")) as book:
        found = book.execute(query).fetchall()
    return cost, {name: score for name, score in found if score is not None}


def _nbgrader_file(folder: Path, notebook: Notebook) -> None:
    (folder / STEM).mkdir(parents=True)
    (folder / STEM / f"{STEM}.ipynb").write_text(dumps(notebook), encoding="utf-8")


def otter(count: int, folder: Path, program: Path) -> tuple[Cost, Points]:
    """Grade with `otter run`, whose doctests call `check`."""
    (folder / "tests").mkdir()
    for name, task in TASKS.items():
        code = (
            ">>> from mlopt_edu.checks import check\n"
            f">>> check({name!r}, {name}).passed\nTrue"
        )
        case = {"code": code, "hidden": False, "locked": False}
        suite = {"cases": [case], "scored": True, "type": "doctest"}
        test = {"name": name, "points": task.points, "suites": [suite]}
        text = f"OK_FORMAT = True\n\ntest = {test!r}\n"
        (folder / "tests" / f"{name}.py").write_text(text)
    archive = folder / "autograder.zip"
    options = ["--no-requirements", "--no-environment", "--no-config"]
    Cost().run([program, "generate", "-t", "tests", "-o", archive, *options], folder)
    cost, points = Cost(), {}
    for name, notebook, _ in students(count):
        # Its tests come from the archive: the notebook's own would run twice.
        cells = [c for c in notebook["cells"] if not c["id"].startswith("check-")]
        file, out = folder / f"{name}.ipynb", folder / name
        file.write_text(dumps(notebook | {"cells": cells}), encoding="utf-8")
        out.mkdir()
        cost.run([program, "run", "-a", archive, "-o", out, "--no-logo", file], folder)
        if (out / "results.json").is_file():
            tests = json.loads((out / "results.json").read_text())["tests"]
            scores = [t["score"] for t in tests if t["name"] in TASKS]
            points[name] = sum(scores)
    return cost, points


Way = Callable[[int, Path, Path], tuple[Cost, Points]]


def measure(tool: str, way: Way, program: Path, counts: Sequence[int]) -> list[Row]:
    """Return a row for each class, the last with what a class and a submission cost."""
    rows: list[Row] = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            cost, points = way(count, Path(folder), program)
            said = (Path(folder) / "said.txt").read_text(errors="replace")
        due = {name: score for name, _, score in students(count)}
        wrong = [name for name in due if points.get(name) != due[name]]
        if len(wrong) == count:
            sys.exit(f"{tool} scored nothing right; it said:\n{said[-2000:]}")
        row: Row = {
            "tool": tool,
            "submissions": count,
            "scored_right": count - len(wrong),
            "cpu_s": round(cost.cpu, 2),
            "wall_s": round(cost.wall, 2),
            "cpu_each_s": round(cost.cpu / count, 4),
            "wall_each_s": round(cost.wall / count, 4),
        }
        rows.append(row)
        _tell(row)
        for name in wrong:
            kind, score = KINDS[int(name[1:]) % len(KINDS)], points.get(name)
            print(f"  {name} ({kind}) got {score}, should get {due[name]}", flush=True)
    first, last = rows[0], rows[-1]
    adds = last["cpu_each_s"]
    if first is not last:
        more = last["submissions"] - first["submissions"]
        adds = (last["cpu_s"] - first["cpu_s"]) / more
    last["cpu_added_s"] = round(adds, 4)
    last["cpu_start_s"] = round(last["cpu_s"] - adds * last["submissions"], 2)
    return rows


# Ten thousand


class Memory(threading.Thread):
    """Samples what all that this process started takes, shared pages counted once."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, float]] = []  # megabytes: all, the first alone
        self._done = threading.Event()

    def run(self) -> None:
        """Sample until told to stop."""
        while not self._done.wait(1):
            sizes = [_megabytes(p.pid) for p in psutil.Process().children(True)]
            if sizes:
                self.samples.append((sum(sizes), sizes[0]))

    def stop(self) -> None:
        """End the thread."""
        self._done.set()
        self.join()

    def parts(self) -> Row:
        """Return the peak, and medians after the start, half way, and at the end."""
        n = len(self.samples)
        row: Row = {"memory_peak_mb": round(max(both for both, _ in self.samples))}
        for name, at in (("first", 0.1), ("middle", 0.5), ("last", 0.9)):
            some = self.samples[int(n * at) - n // 20 :][: n // 10 + 1]
            row[f"memory_{name}_mb"] = round(statistics.median(a for a, _ in some))
            row[f"main_{name}_mb"] = round(statistics.median(b for _, b in some))
        return row


def _megabytes(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def rates(graded: Path) -> str:
    """Return how many a second were graded in each tenth of the class."""
    times = sorted(file.stat().st_mtime for file in graded.rglob("s*.json"))
    n = len(times)
    ends = [times[n * k // 10 - (k > 0)] for k in range(11)]
    pairs = itertools.pairwise(ends)
    return " ".join(f"{n / 10 / (b - a):.1f}" for a, b in pairs)


def large(count: int, program: Path) -> Row:
    """Return the row of a large class of ours."""
    memory, seen = Memory(), []

    def watched(count: int, folder: Path, program: Path) -> tuple[Cost, Points]:
        memory.start()
        done = ours(count, folder, program)
        memory.stop()
        seen.append(rates(folder / "graded" / "results"))
        return done

    (row,) = measure("mlopt", watched, program, [count])
    del row["cpu_added_s"], row["cpu_start_s"]
    return row | memory.parts() | {"each_tenth_a_second": seen[0]}


def _tell(row: Row) -> None:
    print(*(f"{name} {value}" for name, value in row.items()), sep="  ", flush=True)


def version(program: Path) -> str:
    """Return what a tool says its version is."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if "Python version" not in line]
    return next(iter(re.findall(r"\d+\.\d+\S*", "\n".join(lines))), "")


def main() -> None:
    """Measure every tool that is there and store the rows."""
    scripts = Path(sys.executable).parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--submissions", type=int, default=20)
    parser.add_argument("--large", type=int, metavar="N", help="also N of ours")
    parser.add_argument("--nbgrader", type=Path, default=scripts / "nbgrader")
    parser.add_argument("--otter", type=Path, default=scripts / "otter")
    parser.add_argument("--no-save", action="store_true", help="only print the rows")
    args = parser.parse_args()
    adopt_orphans()
    n, mlopt = args.submissions, scripts / "mlopt"
    plan: list[tuple[str, Way, Path, list[int]]] = [
        ("mlopt", ours, mlopt, [n, 10 * n]),
        ("nbgrader", nbgrader, args.nbgrader, [max(1, n // 10), n]),
        ("otter", otter, args.otter, [n]),
    ]
    measured_on = {
        "date": datetime.date.today().isoformat(),
        "device": device_name("cpu"),
        "cores": os.cpu_count(),
        "isolation": choose().name,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    rows: list[Row] = []
    for tool, way, program, counts in plan:
        if not program.is_file():
            print(f"{tool} is not there: {program}")
            continue
        found = measure(tool, way, program, counts)
        for row in found:
            row["version"] = version(program)
        last = found[-1]
        if tool == "mlopt":
            base = last
        else:
            last["ratio"] = round(last["cpu_each_s"] / base["cpu_each_s"], 1)
            last["ratio_added"] = round(last["cpu_added_s"] / base["cpu_added_s"], 1)
        rows += found
    if args.large:
        rows.append(large(args.large, mlopt) | {"version": version(mlopt)})
    print()
    for row in rows:
        _tell(row)
    if not args.no_save:
        append_rows(RESULTS, [row | measured_on for row in rows])


if __name__ == "__main__":
    main()
