"""One process that runs a submission's code, with everything to be rid of it.

The process is untrusted from the first answer cell on. It is bounded in memory,
processor time and file size by itself (`answer.limit`), in wall time and in what it
sends by us.
"""

import contextlib
import json
import math
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mlopt_edu.checks._answer import Answer

from . import wire

MAX_REPLY = 2 * wire.MAX_BYTES  # bytes of one line
GRACE = 2.0  # seconds beyond a call's own limit before its process is killed
SETUP_SECONDS = 120.0  # the course's own cells: `import torch` on a busy machine
NO_ANSWER = "something that is not an answer"
_TOKEN = "MLOPT_ANSWER_PROCESS"
_PROGRAM = Path(__file__).with_name("answer.py")


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        seconds: Wall time of the whole submission, in seconds.
        cell_seconds: Wall time to execute one answer cell, in seconds.
        memory_mb: Address space of its process, in megabytes; torch needs 2000.
    """

    seconds: float = 300.0
    cell_seconds: float = 20.0
    memory_mb: int = 4096


class ProcessDiedError(Exception):
    """The answer process ended, or was killed, before it replied."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.error)
        self.answer = answer


class AnswerProcess:
    """One answer process with its folder; leaving the context kills it for sure."""

    def __init__(self, limits: Limits) -> None:
        self._folder = tempfile.mkdtemp(prefix="mlopt-answer-")
        self._token = secrets.token_hex(16)
        self._asked = 0
        self._received = bytearray()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            env=self._environment(),
            start_new_session=True,
        )
        for pipe in self._pipes():
            os.set_blocking(pipe.fileno(), False)
        cpu = math.ceil(limits.seconds) + 1
        limit = {"do": "limit", "memory_mb": limits.memory_mb, "cpu_seconds": cpu}
        try:
            self.ask(limit, seconds=SETUP_SECONDS)
        except BaseException:
            self.close()
            raise

    def ask(self, request: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        """Send a request and return the reply.

        Raises:
            ProcessDiedError: If the process ended, or had not replied after `seconds`.
        """
        self._asked += 1
        line = json.dumps({**request, "n": self._asked}).encode() + b"\n"
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            stdin, stdout = self._pipes()
            selector.register(stdin, selectors.EVENT_WRITE)
            selector.register(stdout, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                ready = selector.select(left) if left > 0 else []
                if not ready:
                    raise ProcessDiedError(_timeout(seconds))
                for key, _ in ready:
                    if key.fileobj is stdin:
                        line = self._send(line)
                        if not line:
                            selector.unregister(stdin)
                    else:
                        self._receive()
                        reply = self._reply()
                        if reply is not None:
                            return reply

    def close(self) -> None:
        """Kill the process, its group and whatever else carries its token."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for pipe in self._pipes():
            # A request that was cut off is still in the buffer.
            with contextlib.suppress(OSError):
                pipe.close()
        _kill_marked(f"{_TOKEN}={self._token}".encode())
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _pipes(self) -> tuple[Any, Any]:
        return self._process.stdin, self._process.stdout

    def _environment(self) -> dict[str, str]:
        one_thread = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        return {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "HOME": self._folder,
            "TMPDIR": self._folder,
            "MPLBACKEND": "Agg",
            _TOKEN: self._token,
            **dict.fromkeys(one_thread, "1"),
        }

    def _send(self, line: bytes) -> bytes:
        try:
            sent = os.write(self._process.stdin.fileno(), line)  # type: ignore[union-attr]
        except BlockingIOError:
            return line
        except OSError:
            raise ProcessDiedError(self._ending()) from None
        return line[sent:]

    def _receive(self) -> None:
        try:
            chunk = os.read(self._process.stdout.fileno(), 1 << 20)  # type: ignore[union-attr]
        except BlockingIOError:
            return
        if not chunk:
            raise ProcessDiedError(self._ending())
        self._received += chunk
        if len(self._received) > MAX_REPLY:
            raise ProcessDiedError(nonsense("more than it may"))

    def _reply(self) -> dict[str, Any] | None:
        while b"\n" in self._received:
            line, _, rest = self._received.partition(b"\n")
            self._received = bytearray(rest)
            # Cheap bound before the parser builds what the line describes.
            if line.count(b",") + line.count(b"[") > 3 * wire.MAX_NODES:
                raise ProcessDiedError(nonsense("more values than it may"))
            try:
                reply = json.loads(line)
            except (ValueError, RecursionError):
                raise ProcessDiedError(nonsense(NO_ANSWER)) from None
            # Another number: something written by a child or thread left behind.
            if isinstance(reply, dict) and reply.get("n") == self._asked:
                return reply
        return None

    def _ending(self) -> Answer:
        try:
            code = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return Answer(status="crashed", error="it closed its process's pipe")
        if code == -signal.SIGXCPU or code == -signal.SIGKILL:
            text = "its process used more time or memory than it may and was ended"
        elif code < 0:
            text = f"its process was ended by {signal.Signals(-code).name}"
        else:
            text = f"it ended its process (exit code {code})"
        return Answer(status="crashed", error=text)


def _timeout(seconds: float) -> Answer:
    text = f"it was still running after {seconds:.3g} seconds and was stopped"
    return Answer(status="timeout", error=text)


def nonsense(what: str) -> Answer:
    """Return the answer of a process that broke the protocol."""
    return Answer(status="crashed", error=f"its process sent {what}")


def _kill_marked(mark: bytes) -> None:
    """Kill what left the process group: it still has the token in its environment."""
    proc = Path("/proc")
    for _ in range(50):
        found = False
        for entry in proc.iterdir() if proc.is_dir() else ():
            if not entry.name.isdecimal():
                continue
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)
                    found = True
        if not found:
            return
        time.sleep(0.01)
