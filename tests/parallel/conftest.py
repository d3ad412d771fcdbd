"""What makes ranks cheap, and sees that none outlives its test.

A test calls `launch(worker, 2)` with a worker at the top level of its file.
"""

import importlib

import psutil
import pytest

# The package has the function of this name; what the forkserver loads, the module has.
PRELOAD = importlib.import_module("mlopt_edu.parallel.launch").PRELOAD
PRELOAD += [
    "pytest",
    "torch.distributed.fsdp",
    "torch.distributed.optim",
    "torch.distributed.pipelining",
    "torch.distributed.tensor.parallel",
]


def running_ranks():
    """Return the processes below this one, without those that stay between launches."""
    stay = ("multiprocessing.forkserver", "multiprocessing.resource_tracker")
    below = []
    for process in psutil.Process().children(recursive=True):
        try:
            command = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        is_rank = process.parent() != psutil.Process()
        if is_rank or not any(name in command for name in stay):
            below.append(process)
    return below


@pytest.fixture(autouse=True)
def no_orphans():
    """Fail a test that leaves a process behind; other files' browsers are theirs."""
    before = running_ranks()
    yield
    assert [process for process in running_ranks() if process not in before] == []
