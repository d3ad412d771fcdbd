"""The warm process: imports what is slow once, then forks a child a submission.

Runs inside the sandbox, from a copy of the package without the checks (`sandbox`). It
takes three orders from the grader on a socket of its own: run an exercise's setup,
fork a child for a submission, be rid of that child. It never sees a submission: the
child talks with the grader on another socket, which came with the order, and this
process keeps no copy of it. So nothing that a learner wrote is read, parsed or
executed here, and every child starts from the same memory.

It holds setups, which learners have too, and no check, reference, seed or solution:
they are neither imported nor on its disk.
"""

import contextlib
import gc
import importlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import answer
from .confine import Confinement, Confiner
from .pages import use_huge_pages

SEED = 0  # of every generator when a setup starts


def main(config: str) -> NoReturn:
    """Serve the grader, whose socket is standard input."""
    orders = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    settings = json.loads(Path(config).read_text(encoding="utf-8"))
    Server(orders, settings).serve(settings["preload"])


class Server:
    """Obeys the grader's orders, one at a time, until it hangs up."""

    def __init__(self, orders: socket.socket, settings: dict[str, Any]) -> None:
        self._orders = orders
        self._setups: dict[str, str] = settings["setups"]
        self._confiner = Confiner(Confinement(**settings["confinement"]))
        self._ready: dict[str, tuple[answer.Notebook, Callable[[], None]]] = {}
        self._child = 0

    def serve(self, modules: Sequence[str]) -> NoReturn:
        """Prepare, say so, and obey."""
        self._confiner.enter()
        _preload(modules)
        self._reply("")
        while True:
            packet, passed, _, _ = socket.recv_fds(self._orders, 1 << 16, 1)
            if not packet:
                os._exit(0)  # the grader is gone; the sandbox ends with this process
            order = json.loads(packet)
            if order["do"] == "setup":
                self._reply(self._setup(order["stem"]))
            elif order["do"] == "fork":
                self._reply(self._fork(order["stem"], passed[0]))
            else:
                self._reply("", code=self._end(order["grace"]))

    def _reply(self, error: str, *, code: int | None = None) -> None:
        self._orders.sendall(json.dumps({"error": error, "code": code}).encode())

    def _setup(self, stem: str) -> str:
        if stem in self._ready:
            return ""
        notebook = answer.Notebook()
        notebook.enter()
        _seed()
        reply = notebook.execute("setup", self._setups[stem])
        if reply["status"] != "returned":
            return str(reply["error"])
        self._ready[stem] = notebook, _generators()
        # What exists by now is no garbage: a collection in a child would write into,
        # and so copy, every page of it.
        gc.collect()
        gc.freeze()
        use_huge_pages()
        return ""

    def _fork(self, stem: str, connection: int) -> str:
        try:
            self._child = self._confiner.fork()
        except OSError as error:
            os.close(connection)
            return str(error)
        if not self._child:
            self._become_child(stem, connection)
        os.close(connection)
        return ""

    def _become_child(self, stem: str, connection: int) -> NoReturn:
        try:
            notebook, restore = self._ready[stem]
            restore()
            self._confiner.confine()
            _keep_only(connection)
        except BaseException as error:  # the grader's first request is only a greeting
            text = f"{type(error).__name__}: {error}"
            os.write(connection, json.dumps({"n": 1, "error": text}).encode() + b"\n")
            os._exit(1)
        answer.serve(notebook, connection)

    def _end(self, grace: float) -> int | None:
        """Return the child's exit code, or None if it had to be killed."""
        child, end = self._child, time.monotonic() + grace
        peek = os.WEXITED | os.WNOHANG | os.WNOWAIT
        ended = os.waitid(os.P_PID, child, peek)
        while not ended and time.monotonic() < end:
            time.sleep(0.002)
            ended = os.waitid(os.P_PID, child, peek)
        # It is not reaped yet, so that its number is still its own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) if ended else None


def _preload(modules: Sequence[str]) -> None:
    """Import what answers use, and do once what is slow the first time."""
    for name in modules:
        importlib.import_module(name)
    if "torch" in modules:
        import torch

        torch.set_num_threads(1)
        # The first optimizer that is made imports half of torch again.
        parameter = torch.nn.Parameter(torch.ones(2))
        parameter.grad = torch.ones(2)
        torch.optim.SGD([parameter], lr=0.1).step()


def _seed() -> None:
    """Put every generator where it always starts."""
    random.seed(SEED)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(SEED)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED)


def _generators() -> Callable[[], None]:
    """Return a function that puts every generator back where it is now."""
    state = random.getstate()
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    of_numpy = numpy.random.get_state() if numpy else None
    of_torch = torch.get_rng_state() if torch else None

    def restore() -> None:
        random.setstate(state)
        if numpy:
            numpy.random.set_state(of_numpy)
        if torch:
            torch.set_rng_state(of_torch)

    return restore


def _keep_only(connection: int) -> None:
    """Close every file but one; standard input and output lead nowhere."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.closerange(3, connection)
    os.closerange(connection + 1, 1 << 16)
