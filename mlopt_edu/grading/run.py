"""Drives answer processes: sends inputs, receives values, kills what does not end.

A cell that fails takes only its own task's points. When a process dies it is started
again for the tasks that are left, without the cell that killed it.
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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from mlopt_edu.checks._answer import Answer

from . import wire

MAX_REPLY = 2 * wire.MAX_BYTES  # bytes of one line
GRACE = 2.0  # seconds beyond a call's own limit before its process is killed
SETUP_SECONDS = 120.0  # the course's own cells: `import torch` on a busy machine
NO_ANSWER = "something that is not an answer"
_TOKEN = "MLOPT_ANSWER_PROCESS"
_PROGRAM = Path(__file__).with_name("answer.py")
_STATUSES = ("returned", "blank", "raised", "timeout", "crashed", "missing")


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


class Asked(Protocol):
    """What the driver needs to know about a task."""

    @property
    def seconds(self) -> float:
        """Time limit for all cases together, in seconds."""

    @property
    def is_value(self) -> bool:
        """Whether the answer is a value, not something to call."""


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
            raise ProcessDiedError(_nonsense("more than it may"))

    def _reply(self) -> dict[str, Any] | None:
        while b"\n" in self._received:
            line, _, rest = self._received.partition(b"\n")
            self._received = bytearray(rest)
            # Cheap bound before the parser builds what the line describes.
            if line.count(b",") + line.count(b"[") > 3 * wire.MAX_NODES:
                raise ProcessDiedError(_nonsense("more values than it may"))
            try:
                reply = json.loads(line)
            except (ValueError, RecursionError):
                raise ProcessDiedError(
                    _nonsense("something that is not an answer")
                ) from None
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


def answer_tasks(
    setup: str,
    sources: Mapping[str, str],
    tasks: Mapping[str, Asked],
    inputs: Mapping[str, Sequence[Any]],
    limits: Limits,
) -> dict[str, list[Answer]]:
    """Run a submission and return an answer for each case of each task.

    Args:
        setup: The course's own code, executed first.
        sources: Answer cells by task name, in the order of the notebook.
        tasks: What each task asks, by name, for every name in `sources`.
        inputs: For each task the inputs of its cases, encoded by `wire`.
        limits: What the submission may use.

    Returns:
        By task name, as many answers as there are inputs.
    """
    deadline = time.monotonic() + limits.seconds
    results: dict[str, list[Answer]] = {}
    lethal: set[str] = set()
    while left := [name for name in sources if name not in results]:
        if time.monotonic() >= deadline:
            text = f"the {limits.seconds:g} seconds of the submission were used up"
            late = Answer(status="timeout", error=text)
            return results | {name: [late] * len(inputs[name]) for name in left}
        cells = {name: text for name, text in sources.items() if name not in lethal}
        try:
            with AnswerProcess(limits) as process:
                _prepare(process, setup)
                _run(process, cells, tasks, inputs, limits, deadline, results, lethal)
        except _SetupError as error:
            failed = Answer(status="crashed", error=str(error))
            return results | {name: [failed] * len(inputs[name]) for name in left}
    return {name: results[name] for name in sources}


class _SetupError(Exception):
    """The course's own code did not run: no fault of the submission."""


def _prepare(process: AnswerProcess, setup: str) -> None:
    request = {"do": "execute", "name": "setup", "source": setup}
    try:
        reply = process.ask(request, seconds=SETUP_SECONDS)
    except ProcessDiedError as death:
        raise _SetupError(f"the course's setup failed: {death.answer.error}") from None
    if reply.get("status") != "returned":
        raise _SetupError(f"the course's setup failed: {reply.get('error')}")


def _run(
    process: AnswerProcess,
    cells: Mapping[str, str],
    tasks: Mapping[str, Asked],
    inputs: Mapping[str, Sequence[Any]],
    limits: Limits,
    deadline: float,
    results: dict[str, list[Answer]],
    lethal: set[str],
) -> None:
    """Answer tasks until all have results or the process is no longer fit for use."""
    for name, source in cells.items():
        request = {"do": "execute", "name": name, "source": source}
        seconds = min(limits.cell_seconds, max(0.1, deadline - time.monotonic()))
        try:
            ended = _answer(process.ask(request, seconds=seconds))
        except ProcessDiedError as death:
            lethal.add(name)
            results.setdefault(name, [death.answer] * len(inputs[name]))
            return
        if ended.status != "returned":
            results.setdefault(name, [ended] * len(inputs[name]))
    for name in cells:
        if name in results:
            continue
        answers = _cases(process, name, tasks[name], inputs[name], deadline)
        results[name] = answers
        if any(answer.status in ("timeout", "crashed") for answer in answers):
            return


def _cases(
    process: AnswerProcess,
    name: str,
    task: Asked,
    inputs: Sequence[Any],
    deadline: float,
) -> list[Answer]:
    answers: list[Answer] = []
    # Twice the learner's own limit: while grading, the machine does other work too.
    end = min(time.monotonic() + 2 * task.seconds, deadline)
    for case in inputs:
        seconds = max(0.1, end - time.monotonic())
        request = {
            "do": "answer",
            "name": name,
            "is_value": task.is_value,
            "inputs": case,
            "seconds": seconds,
        }
        try:
            answer = _answer(process.ask(request, seconds=seconds + GRACE))
        except ProcessDiedError as death:
            answer = death.answer
        answers.append(answer)
        if answer.status in ("timeout", "crashed"):
            break
    return answers + [answers[-1]] * (len(inputs) - len(answers))


def _answer(reply: Mapping[str, Any]) -> Answer:
    """Build an answer from a reply that nobody vouches for."""
    status, error = reply.get("status"), reply.get("error")
    mutated, printed = reply.get("mutated", []), reply.get("printed", 0)
    if (
        status not in _STATUSES
        or not isinstance(error, str)
        or not isinstance(mutated, list)
        or not all(isinstance(name, str) for name in mutated)
        or type(printed) is not int
    ):
        return _nonsense(NO_ANSWER)
    try:
        value = wire.decode(reply.get("value"))
    except wire.WireError as broken:
        return _nonsense(f"{NO_ANSWER}: {broken}")
    kind = _foreign(value)
    if kind is not None:
        text = f"its result is a {kind}: not a number, array, text, list or dict"
        return Answer(status="raised", error=text)
    names = tuple(name[:80] for name in mutated[:100])
    text = error[:500].encode("utf-8", "replace").decode()
    return Answer(value, status, text, names, printed)


def _foreign(value: Any) -> str | None:
    if isinstance(value, wire.Unsupported):
        return value.kind
    parts = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, list, tuple)):
        return next((kind for part in parts if (kind := _foreign(part))), None)
    return None


def _timeout(seconds: float) -> Answer:
    text = f"it was still running after {seconds:.3g} seconds and was stopped"
    return Answer(status="timeout", error=text)


def _nonsense(what: str) -> Answer:
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
