"""A rank that fails is named within a bounded time, and nothing outlives the launch.

The fixture `no_orphans` looks after each test here for what was left.
"""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import types

import psutil
import pytest
import torch
import torch.distributed as dist

from mlopt_edu.parallel import RankError, launch

LONG = 1000  # seconds: longer than any test may take


@pytest.fixture(scope="module", autouse=True)
def _forkserver_that_has_loaded_torch():
    """A limit of seconds is for the ranks, not for the first import of torch."""
    launch(divmod, 1, 1, 1)


def is_gone(pid, seconds=20):
    """Wait until a process has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def raise_on(guilty):
    if dist.get_rank() in guilty:
        raise ValueError("the batch is empty")
    dist.barrier()


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_rank_that_raises_is_named_with_its_traceback_once(rank):
    with pytest.raises(RankError) as caught:
        launch(raise_on, 3, [rank], timeout=30)
    message = str(caught.value)
    assert rank == caught.value.rank
    assert message.startswith(
        f"rank {rank} of 3 raised ValueError: the batch is empty\n"
    )
    assert message.count("Traceback (most recent call last)") == 1
    assert "in raise_on" in message
    assert "launch.py" not in message


def test_one_is_reported_where_all_raise():
    with pytest.raises(RankError, match="raised ValueError") as caught:
        launch(raise_on, 3, [0, 1, 2])
    assert str(caught.value).count("Traceback") == 1


def end(how):
    if dist.get_rank() == 1:
        os.kill(os.getpid(), how) if how > 0 else os._exit(-how)
    dist.barrier()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (signal.SIGKILL, "SIGKILL"),
        (signal.SIGSEGV, "SIGSEGV"),
        (-3, "status 3"),
        (0, "status 0"),
    ],
)
def test_a_rank_that_dies_is_named(how, told):
    with pytest.raises(RankError, match=f"^rank 1 of 3 died with {told}") as caught:
        launch(end, 3, how, timeout=30)
    assert caught.value.rank == 1


def sleep_on_rank(guilty):
    if dist.get_rank() == guilty:
        time.sleep(LONG)
    dist.barrier()


def test_a_rank_that_hangs_is_ended_and_each_rank_says_where_it_stands():
    begin = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        launch(sleep_on_rank, 2, 1, timeout=5)
    assert time.monotonic() - begin < LONG / 10
    message = str(caught.value)
    assert message.startswith("of 2 ranks, 0, 1 had not returned after 5 s\n")
    first, second = message.split("rank 1 stands at")
    assert "dist.barrier()" in first
    assert "time.sleep(LONG)" not in first
    assert "time.sleep(LONG)" in second


def return_early():
    if dist.get_rank() == 0:
        time.sleep(LONG)


def test_only_late_ranks_are_reported():
    with pytest.raises(TimeoutError, match=r"^of 3 ranks, 0 had not returned"):
        launch(return_early, 3, timeout=5)


def test_an_interrupt_ends_all_ranks():
    # Who starts pytest in the background has it ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt = threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            launch(time.sleep, 3, LONG)
        interrupt.join()
    finally:
        signal.signal(signal.SIGINT, before)


def hang_beside_a_child(path):
    child = subprocess.Popen(["sleep", str(LONG)])
    path.write_text(str(child.pid))
    time.sleep(LONG)


def test_what_a_rank_has_started_ends_with_it(tmp_path):
    with pytest.raises(TimeoutError):
        launch(hang_beside_a_child, 1, tmp_path / "pid", timeout=5)
    assert is_gone(int((tmp_path / "pid").read_text()))


def write_pid_and_hang(folder):
    (folder / f"{dist.get_rank()}").write_text(str(os.getpid()))
    dist.barrier()
    (folder / "ready").touch()
    time.sleep(LONG)


def launch_and_be_killed(folder):
    def kill_myself():
        while not (folder / "ready").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGKILL)

    # This rank starts a forkserver of its own, which needs no optimizers.
    importlib.import_module("mlopt_edu.parallel.launch").PRELOAD[:] = [
        "torch.distributed"
    ]
    threading.Thread(target=kill_myself).start()
    launch(write_pid_and_hang, 2, folder)


def test_ranks_end_when_their_parent_is_killed(tmp_path):
    with pytest.raises(RankError, match="rank 0 of 1 died with SIGKILL"):
        launch(launch_and_be_killed, 1, tmp_path)
    for rank in ["0", "1"]:
        assert is_gone(int((tmp_path / rank).read_text()))


def return_a_lock():
    return threading.Lock()


def test_a_result_that_cannot_be_pickled_is_an_error_of_its_rank():
    with pytest.raises(RankError, match="rank 0 of 1 raised TypeError: cannot pickle"):
        launch(return_a_lock, 1)


def return_nothing():
    pass


def test_a_launch_after_a_failed_one_works():
    with pytest.raises(RankError):
        launch(raise_on, 2, [0])
    assert launch(return_nothing, 2) == [None, None]


def test_a_script_without_main_guard_gets_one_sentence(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text(
        "import time\nfrom mlopt_edu.parallel import launch\nlaunch(time.time, 2)\n"
    )
    main = types.ModuleType("__main__")
    main.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", main)
    with pytest.raises(RuntimeError, match='under `if __name__ == "__main__":`'):
        launch(time.time, 2)


CELL = """
import torch
import torch.distributed as dist

SCALE = 10

class Answer:
    def __init__(self, value):
        self.value = value

def worker(tensor):
    total = SCALE * (tensor + dist.get_rank())
    dist.all_reduce(total)
    return Answer(total)
"""


@pytest.fixture
def cell(monkeypatch):
    """The main module of a notebook's kernel, which has no file."""
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(CELL, main.__dict__)
    return main


def test_a_function_of_a_cell_runs_with_its_globals_and_classes(cell):
    pytest.importorskip("cloudpickle")
    answers = launch(cell.worker, 2, torch.ones(2))
    assert [answer.value.tolist() for answer in answers] == [[30.0, 30.0]] * 2
    assert all(type(answer) is cell.Answer for answer in answers)


def test_a_cell_is_computed_anew_after_the_parent_used_threads(cell):
    pytest.importorskip("cloudpickle")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        matrix = torch.randn(300, 300, requires_grad=True)
        (matrix @ matrix).sum().backward()
        assert len(launch(cell.worker, 2, matrix.detach(), timeout=30)) == 2
    finally:
        torch.set_num_threads(threads)


def test_a_cell_without_cloudpickle_gets_one_sentence(cell, monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(RuntimeError, match="needs the package cloudpickle"):
        launch(cell.worker, 2, torch.ones(2))
