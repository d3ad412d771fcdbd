"""The warm process: started once, the same for everyone, and gone when it should be."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from mlopt_edu.checks._answer import Answer
from mlopt_edu.grading import isolation, sandbox, wire
from mlopt_edu.grading.confine import SCRATCH
from mlopt_edu.grading.process import Limits
from mlopt_edu.grading.warm import Warm, WarmProcessError

SETUPS = {
    "counting": "import random, time\nimport numpy as np\n"
    "MADE = time.time_ns()\nSHARED = []\nnp.random.seed(3)",
    "threads": "import threading\n"
    "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    "LOCK = threading.Lock()",
    "broken": "import no_such_module",
    "checks": "from mlopt_edu.checks import check, progress\n"
    "from mlopt_edu.datasets import two_classes",
}
LIMITS = Limits(seconds=20.0, cell_seconds=5.0, memory_mb=512)
STRONGEST = isolation.available()[0].name


@dataclass(frozen=True)
class Asks:
    seconds: float = 5.0
    is_value: bool = False


def ask(warm: Warm, stem: str, **sources: str) -> dict[str, Answer]:
    """Run functions without arguments, and return the one answer of each."""
    inputs = {name: [wire.encode({})] for name in sources}
    # Without inputs only what can be called is called.
    given = warm.answer(stem, sources, {name: Asks() for name in sources}, inputs)
    return {name: answers[0] for name, answers in given.items()}


def value(warm: Warm, stem: str, expression: str) -> Any:
    answer = ask(warm, stem, f=f"def f():\n    return {expression}")["f"]
    assert answer.status == "returned", answer
    return answer.value


def children(pid: int) -> list[int]:
    """Return a process and all below it."""
    try:
        own = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(deep for child in own for deep in children(int(child)))]


def gone(pids: list[int]) -> bool:
    """Wait until all have ended; who inherits them may take a while to bury them."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if not any(map(alive, pids)):
            return True
        time.sleep(0.01)
    return False


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def running(warm: Warm) -> subprocess.Popen[bytes]:
    assert warm._running is not None
    process: subprocess.Popen[bytes] = warm._running._process
    return process


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    with Warm(SETUPS, LIMITS, isolation=STRONGEST, preload=["numpy"]) as one:
        yield one


def test_values_come_back_case_by_case(warm: Warm) -> None:
    sources = {"twice": "def twice(x):\n    return 2 * x", "word": "word = 'b'"}
    tasks = {"twice": Asks(), "word": Asks(is_value=True)}
    numbers: list[Any] = [np.arange(3.0), np.ones((2, 2)), 4]
    inputs = {
        "twice": [wire.encode({"x": x}) for x in numbers],
        "word": [wire.encode({})],
    }
    given = warm.answer("counting", sources, tasks, inputs)
    assert [one.value for one in given["word"]] == ["b"]
    for x, one in zip(numbers, given["twice"], strict=True):
        assert np.array_equal(np.multiply(x, 2), one.value)


def test_setup_runs_once_and_nobody_can_change_it(warm: Warm) -> None:
    made = value(warm, "counting", "MADE")
    assert value(warm, "counting", "(SHARED.append(1), len(SHARED))[1]") == 1
    assert value(warm, "counting", "(SHARED.append(1), len(SHARED))[1]") == 1
    assert value(warm, "counting", "MADE") == made


def test_generators_start_where_the_setup_left_them(warm: Warm) -> None:
    draw = "[np.random.rand(), random.random()]"
    first = value(warm, "counting", draw)
    value(warm, "counting", "(np.random.seed(1), random.seed(1), 0)[2]")
    value(warm, "checks", "0")  # another exercise's setup in between
    assert value(warm, "counting", draw) == first
    assert first[0] == np.random.RandomState(3).rand()


def test_a_setup_may_leave_threads(warm: Warm) -> None:
    expression = "(LOCK.acquire(), threading.active_count())[1]"
    for _ in range(3):
        # The child has its own thread only, and answers in it.
        assert value(warm, "threads", expression) == 1


def test_a_setup_that_fails_is_no_fault_of_the_answers(warm: Warm) -> None:
    answer = ask(warm, "broken", f="def f(): return 1")["f"]
    assert answer.status == "crashed"
    assert "the course's setup failed" in answer.error
    assert "no_such_module" in answer.error
    assert value(warm, "checks", "check() or progress() or two_classes.__name__")


def test_a_death_takes_only_its_own_task(warm: Warm) -> None:
    right = "def {}(): return 1"
    given = ask(
        warm, "counting",
        a=right.format("a"), b="import os\nos._exit(3)", c=right.format("c"),
        d="import os\ndef d(): os._exit(4)", e=right.format("e"),
    )  # fmt: skip
    assert {name: one.status for name, one in given.items()} == {
        "a": "returned", "b": "crashed", "c": "returned", "d": "crashed",
        "e": "returned",
    }  # fmt: skip
    assert given["b"].error == "it ended its process (exit code 3)"
    assert given["d"].error == "it ended its process (exit code 4)"


def test_the_time_of_a_submission_is_bounded() -> None:
    limits = Limits(seconds=2.0, cell_seconds=0.8)
    endless = "import time\ntime.sleep(99)"
    with Warm(SETUPS, limits, isolation=STRONGEST, preload=["numpy"]) as warm:
        start = time.monotonic()
        given = ask(warm, "counting", a=endless, b=endless, c=endless, d="d = 1")
        assert time.monotonic() - start < 60
    assert {one.status for one in given.values()} == {"timeout"}
    assert "2 seconds of the submission were used up" in given["d"].error


def test_processor_time_is_bounded_too() -> None:
    limits = Limits(seconds=1.0, cell_seconds=30.0)
    # Threads that compute without Python's lock use it up faster than a clock shows.
    burn = (
        "import threading, hashlib\n"
        "for _ in range(8):\n"
        "    threading.Thread(target=lambda: [hashlib.sha256(bytes(2**24))\n"
        "        for _ in range(10**6)]).start()\n"
        "def f(): threading.Event().wait()\n"
    )
    with Warm(SETUPS, limits, isolation=STRONGEST, preload=["numpy"]) as warm:
        answer = ask(warm, "counting", f=burn)["f"]
    assert answer.status in ("crashed", "timeout")


def test_a_warm_process_that_died_is_started_again(warm: Warm) -> None:
    made = value(warm, "counting", "MADE")
    running(warm).kill()
    running(warm).wait()
    assert value(warm, "counting", "MADE") != made


def test_a_submission_is_tried_again_when_the_warm_process_dies(warm: Warm) -> None:
    value(warm, "counting", "0")
    first = running(warm)
    killer = threading.Timer(0.5, first.kill)
    killer.start()
    given = ask(
        warm, "counting", f="import time\ndef f():\n    time.sleep(2); return 1"
    )
    assert given["f"].value == 1
    assert running(warm) is not first


def test_nothing_is_left_when_it_is_closed() -> None:
    with Warm(SETUPS, LIMITS, isolation=STRONGEST, preload=["numpy"]) as warm:
        value(warm, "counting", "0")
        assert warm._running is not None
        folder, pids = warm._running._folder, children(running(warm).pid)
        assert len(pids) > 1 or STRONGEST != "bubblewrap"
        assert folder.is_dir()
    assert gone(pids)
    assert not folder.exists()


def test_a_grader_that_is_killed_takes_its_submission_with_it(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom mlopt_edu.grading.warm import Warm\n"
        "from mlopt_edu.grading.process import Limits\n"
        "class Asks:\n    seconds, is_value = 5.0, True\n"
        "def ask(**sources):\n"
        "    tasks = dict.fromkeys(sources, Asks)\n"
        "    return warm.answer('a', sources, tasks, dict.fromkeys(sources, [{}]))\n"
        f"level = {STRONGEST!r}\n"
        "warm = Warm({'a': ''}, Limits(), isolation=level, preload=['numpy'])\n"
        "ask()\nprint(warm._running._process.pid, flush=True)\n"
        "ask(f='import time; time.sleep(600)')\n"
    )
    root = Path(__file__).resolve().parents[2]
    grader = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert grader.stdout is not None
    pid = int(grader.stdout.readline())
    end = time.monotonic() + 20
    while len(pids := children(pid)) < 5 and time.monotonic() < end:
        time.sleep(0.05)
    grader.send_signal(signal.SIGKILL)
    grader.wait()
    grader.stdout.close()
    assert gone(pids)


# What a submission finds where it runs.


def test_the_disk_holds_no_checks(warm: Warm) -> None:
    look = (
        "import os, mlopt_edu\n"
        "def look():\n    root = os.path.dirname(mlopt_edu.__file__)\n"
        "    return [sorted(os.listdir(f'{root}/{name}')) for name in\n"
        "            ('checks', 'grading')] + [sorted(os.listdir(root))]\n"
    )
    checks, grading, package = ask(warm, "counting", look=look)["look"].value
    assert checks == ["__init__.py", "_answer.py"]
    assert grading == [
        "__init__.py", "answer.py", "confine.py", "pages.py", "server.py", "wire.py"
    ]  # fmt: skip
    assert "datasets" in package
    assert not {"_course", "cli.py", "course"} & set(package)


def test_the_process_is_nobody_with_nothing() -> None:
    if STRONGEST != "bubblewrap":
        pytest.skip("only namespaces give a process a number and a user of its own")
    with Warm(
        {"a": "import os, socket"}, LIMITS, isolation=STRONGEST, preload=["numpy"]
    ) as warm:
        assert value(warm, "a", "os.getpid()") == 1
        assert value(warm, "a", "os.getuid()") != 0
        assert value(warm, "a", "os.listdir('/proc') + os.listdir('.')") == []
        assert value(warm, "a", "os.getcwd()") == SCRATCH
        assert value(warm, "a", "sorted(os.listdir('/dev'))") == [
            "full", "null", "random", "urandom", "zero"
        ]  # fmt: skip
        environment = value(warm, "a", "dict(os.environ)")
    names = {"HOME", "LANG", "MPLBACKEND", "PATH", "TMPDIR"}
    assert names <= environment.keys()
    assert not {name for name in os.environ if name.startswith("PYTEST")} & {
        *environment
    }


# Levels.


@pytest.mark.parametrize("level", [one.name for one in isolation.available()])
def test_each_level_answers(level: str) -> None:
    setups = {"a": "import os\nimport numpy as np"}
    with Warm(setups, LIMITS, isolation=level, preload=["numpy"]) as warm:
        assert warm.isolation == level
        assert value(warm, "a", "float(np.ones(3).sum())") == 3.0
        died = ask(warm, "a", f="def f(): os._exit(5)", g="def g(): return 1")
        assert died["f"].error == "it ended its process (exit code 5)"
        assert died["g"].value == 1
        big = ask(warm, "a", f="def f(): return bytearray(2**31)")["f"]
        assert "MemoryError" in big.error


def test_levels_are_described_and_the_weakest_is_last() -> None:
    levels = isolation.available()
    assert [one.name for one in levels if one.weak] == ["limits"]
    assert levels[-1].name == "limits"
    assert all(one.sentence.endswith(".") for one in levels)


def test_a_weak_level_must_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isolation.choose("limits", allow_weak=True).weak
    with pytest.raises(ValueError, match="allow it with --allow-weak-isolation"):
        isolation.choose("limits")
    with pytest.raises(ValueError, match="isolation 'jail' does not work"):
        isolation.choose("jail")
    only = (("bubblewrap", "bwrap is not installed"), isolation.LIMITS)
    monkeypatch.setattr(isolation, "_tried", lambda: only)
    with pytest.raises(ValueError, match="bubblewrap: bwrap is not installed"):
        isolation.choose()
    with pytest.raises(ValueError, match="bwrap is not installed"):
        isolation.choose("bubblewrap")


def test_a_level_that_lets_something_out_is_not_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if the kernel had kept none of its promises: the probe must notice.
    assert isolation._fault("limits") == "a submission could write a file"
    monkeypatch.setattr(isolation, "_fault", lambda level: "it leaks")
    isolation._tried.cache_clear()
    try:
        assert [one.name for one in isolation.available()] == ["limits"]
        assert set(isolation.unavailable().values()) == {"it leaks"}
    finally:
        isolation._tried.cache_clear()


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="isolation must be bubblewrap, landlock or"):
        Warm({}, LIMITS, isolation="jail")


def test_a_warm_process_that_cannot_start_says_why() -> None:
    with (
        Warm({}, LIMITS, isolation=STRONGEST, preload=["no_such_module"]) as warm,
        pytest.raises(WarmProcessError, match="no_such_module"),
    ):
        warm.answer("a", {}, {}, {})


def test_an_installed_package_is_left_out_of_what_may_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lib/site-packages/mlopt_edu"
    for folder in (package / "checks", tmp_path / "lib/site-packages/numpy"):
        folder.mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(sandbox, "PACKAGE", package)
    assert set(sandbox._without_package(tmp_path)) == {
        tmp_path / "bin", tmp_path / "lib/site-packages/numpy"
    }  # fmt: skip
    assert list(sandbox._without_package(tmp_path / "bin")) == [tmp_path / "bin"]
