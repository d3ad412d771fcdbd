"""A class as a whole: resumed, shared out, interrupted, out of disk."""

import errno
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlopt_edu.grading import results as results_module
from mlopt_edu.grading.exercise import Exercise
from mlopt_edu.grading.grade import grade_folder
from mlopt_edu.grading.grader import Graded, Grader, Rules
from mlopt_edu.grading.hidden import load_hidden
from mlopt_edu.grading.report import write_reports
from mlopt_edu.grading.results import Results
from mlopt_edu.grading.workers import Job, Pool

ROOT = Path(__file__).parents[2]
STEM = "01_gradient_descent"


def hand_in(folder: Path, count: int) -> Path:
    """Write right answers to exercise 01 that all differ, by a remark."""
    notebook = json.loads((ROOT / f"solutions/{STEM}.ipynb").read_text("utf-8"))
    answer = next(cell for cell in notebook["cells"] if cell["id"] == "descend")
    source = "".join(answer["source"])
    folder.mkdir()
    for i in range(count):
        answer["source"] = f"# {i}\n{source}"
        (folder / f"student_{i}.ipynb").write_text(json.dumps(notebook), "utf-8")
    return folder


def states(out: Path) -> dict[str, int]:
    """Return when each record was written."""
    files = (out / "results").rglob("*.json")
    return {file.stem: file.stat().st_mtime_ns for file in files}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count what is really run."""
    seen: list[str] = []
    grade = Grader.grade

    def counted(self: Grader, stem: str, answers: Any, weights: Any) -> Graded:
        seen.append(answers["double"])
        return grade(self, stem, answers, weights)

    monkeypatch.setattr(Grader, "grade", counted)
    return seen


@pytest.fixture
def grade(exercise: Exercise, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def run(**options: Any) -> dict[str, Any]:
        options = {
            "seed": 5, "exercises": [exercise], "progress": io.StringIO(), **options
        }  # fmt: skip
        out = grade_folder(tmp_path / "class", out=tmp_path / "out", **options)
        files = (out / "results").rglob("*.json")
        records = [json.loads(file.read_text("utf-8")) for file in files]
        return {record["submission"]: record for record in records}

    return run


def test_equal_answers_run_once(submit: Any, grade: Any, runs: list[str]) -> None:
    for name in ("ada", "bob", "eve"):
        submit(name)
    submit("other", double="def double(x):\n    return x + x")
    records = grade()
    assert len(runs) == 2
    assert [records[name]["points"] for name in ("ada", "bob", "eve")] == [7, 7, 7]
    assert records["ada"]["answers"] == records["eve"]["answers"]
    assert records["ada"]["student"] == "ada"


def test_a_second_run_does_what_is_new(
    submit: Any, grade: Any, runs: list[str], tmp_path: Path
) -> None:
    for i in range(3):
        submit(f"s{i}", double=f"def double(x):\n    return 2 * x + {i} * 0")
    grade()
    before = states(tmp_path / "out")
    submit("s1", double="def double(x):\n    return x * 2")
    submit("s3", double="def double(x):\n    return 2 * x + 2 * 0")  # as s2's
    grade()
    after = states(tmp_path / "out")
    assert len(runs) == 4
    assert [after[name] == before[name] for name in ("s0", "s1", "s2")] == [1, 0, 1]
    assert len((tmp_path / "out/class.csv").read_text("utf-8").splitlines()) == 5


@pytest.mark.parametrize("change", [{"seed": 6}, {"seconds": 30.0}])
def test_other_rules_are_another_result(
    change: dict[str, Any], submit: Any, grade: Any, runs: list[str]
) -> None:
    submit("ada")
    grade()
    record = grade(**change)["ada"]
    assert len(runs) == 2
    assert record["seed"] == change.get("seed", 5)


def test_a_record_that_was_cut_off_is_made_again(
    submit: Any, grade: Any, tmp_path: Path
) -> None:
    submit("ada")
    whole = grade()
    file = tmp_path / "out/results/ada.json"
    file.write_text(file.read_text("utf-8")[:100], "utf-8")
    again = grade()
    assert again["ada"]["points"] == whole["ada"]["points"] == 7


def test_what_the_grader_cannot_do_is_said_and_tried_again(
    submit: Any, grade: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit("ada")
    submit("bob", double="def double(x):\n    return x + x")
    with monkeypatch.context() as patch:
        patch.setattr(Grader, "grade", lambda *_: 1 / 0)
        records = grade()
    assert {record["status"] for record in records.values()} == {"error"}
    assert "ZeroDivisionError" in records["bob"]["reason"]
    assert [record["points"] for record in grade().values()] == [7, 7]


def test_one_grader_at_a_time(submit: Any, grade: Any, tmp_path: Path) -> None:
    submit("ada")
    with (
        Results(tmp_path / "out", tmp_path / "class"),
        pytest.raises(ValueError, match="another grader is at work"),
    ):
        grade()
    assert grade()["ada"]["points"] == 7


def test_a_full_disk_is_said_and_takes_nothing(
    submit: Any, grade: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(4):
        submit(f"s{i}", double=f"def double(x):\n    return 2 * x + {i} * 0")
    write = results_module.write_atomically

    def full(path: Path, text: str) -> None:
        if path.name == "s2.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(results_module, "write_atomically", full)
        with pytest.raises(OSError, match="No space left"):
            grade()
    assert set(states(tmp_path / "out")) == {"s0", "s1"}
    assert [record["points"] for record in grade().values()] == [7] * 4


# Workers that die. `work` runs in processes of their own.


def work(name: str) -> Graded:
    if name == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return Graded((), len(name), "")


class Deadly(Pool):
    def _submit(self, executor: Any, job: Job) -> Any:
        return executor.submit(work, job.name)


def test_a_worker_that_dies_loses_and_doubles_nothing() -> None:
    # Not by a plain fork: an earlier test may have left a thread with a lock behind.
    context = multiprocessing.get_context("forkserver")
    pool = Deadly(Rules(1), lambda: ProcessPoolExecutor(2, context), 2)
    names = [*(f"n{i}" for i in range(9)), "deadly", "last", "deadly"]
    done = list(pool.grade(Job(name, STEM, {}) for name in names))
    assert sorted(job.name for job, _ in done) == sorted(names)
    for job, outcome in done:
        if job.name == "deadly":
            assert isinstance(outcome, BaseException)
        else:
            assert isinstance(outcome, Graded)
            assert outcome.seconds == len(job.name)


# The command, with the course's own first exercise.


def start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mlopt_edu.cli", "grade", str(folder)]
    return subprocess.Popen(
        [*command, "--seed", "3", *options], stderr=subprocess.DEVNULL
    )


def wait_for(what: Callable[[], bool], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_run_that_was_killed_goes_on(tmp_path: Path) -> None:
    """Killed twice while it writes, the class is graded as if it never had been."""
    folder = hand_in(tmp_path / "class", 9)
    out = folder / "graded"
    written: dict[str, int] = {}
    for least, workers in ((1, "2"), (4, "1")):
        run = start(folder, "--workers", workers)
        with psutil.Process(run.pid).oneshot():
            wait_for(lambda least=least: len(states(out)) >= least)  # type: ignore[misc]
            below = psutil.Process(run.pid).children(recursive=True)
        run.kill()
        run.wait()
        _, alive = psutil.wait_procs(below, timeout=60)
        assert alive == []
        assert not (out / "class.csv").exists()
        assert states(out).items() >= written.items()
        written = states(out)
    assert start(folder, "--workers", "1").wait() == 0
    assert states(out).items() >= written.items()
    whole = grade_folder(folder, out=tmp_path / "o", seed=3, progress=io.StringIO())
    assert (out / "class.csv").read_bytes() == (whole / "class.csv").read_bytes()
    assert b"15,15" in (out / "class.csv").read_bytes()


@pytest.mark.filterwarnings("ignore")  # of Dask's
def test_a_cluster_that_loses_a_worker_loses_no_submission(tmp_path: Path) -> None:
    from distributed import Client, LocalCluster

    folder, out = hand_in(tmp_path / "class", 12), tmp_path / "out"
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        with Client(cluster) as client:
            victim = next(iter(client.run(os.getpid).values()))

        def kill() -> None:
            wait_for(lambda: len(states(out)) >= 2)
            os.kill(victim, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        grade_folder(
            folder, out=out, seed=3, progress=io.StringIO(),
            scheduler=cluster.scheduler_address,
        )  # fmt: skip
        killer.join()
        assert not psutil.pid_exists(victim)
    lines = (out / "class.csv").read_text("utf-8").splitlines()
    assert len(lines) == 13
    assert sum(",graded,8 of 8" in line for line in lines) == 12


def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    folder = hand_in(tmp_path / "class", 1)
    with pytest.raises(ValueError, match="no Dask scheduler answers at tcp://127"):
        grade_folder(folder, scheduler="tcp://127.0.0.1:9", progress=io.StringIO())


def test_reports_on_the_class(
    submit: Any, grade: Any, exercise: Exercise, tmp_path: Path
) -> None:
    submit("ada")
    submit("bob", double="def double(x):\n    return x ** 2")
    (tmp_path / "class/eve.ipynb").write_text("no notebook", "utf-8")
    grade()
    out = tmp_path / "out"
    assert write_reports(out, exercises=[exercise]) == [out / "91_small.html"]
    numbers = json.loads((out / "91_small.json").read_text("utf-8"))
    assert numbers["statuses"] == {"graded": 2, "unreadable": 1}
    assert "squared" in (out / "91_small.html").read_text("utf-8")
    with pytest.raises(ValueError, match="must be a folder of results"):
        write_reports(tmp_path / "class")


def test_hidden_checks_decide_and_their_seed_is_the_folders(
    submit: Any, grade: Any, exercise: Exercise, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "seed.txt").write_text("a phrase that nobody guesses", "utf-8")
    submit("ada")
    record = grade(seed=None, hidden=hidden, note="Ask by Friday.")["ada"]
    assert record["points"] == 7
    _, seed = load_hidden(hidden, [exercise])
    assert record["seed"] == seed
    page = (tmp_path / "out/results/ada.html").read_text("utf-8")
    assert "Ask by Friday." in page
    assert str(seed) not in page
    with pytest.raises(ValueError, match="seed must be left out"):
        grade(hidden=hidden)
