"""Answers submissions from a warm process: torch is imported once, not each time.

    grader (trusted, judges) ── orders ──► warm process (trusted code, in the sandbox)
        │                                      │ forks
        └───── requests, replies ─────────► child (runs one submission, confined)

The grader makes the line to the child and hands its end through, so that the warm
process never reads what a submission says, and a submission never what another said.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mlopt_edu.checks._answer import Answer

from .process import GRACE, AnswerProcess, Limits, ProcessDiedError
from .run import Asked, run_answers
from .sandbox import Sandbox

START_SECONDS = 120.0  # to import torch, or to run a setup, on a busy machine
ORDER_SECONDS = 20.0  # to fork, or to end a child


class WarmProcessError(RuntimeError):
    """The warm process did not do what it should: no fault of the submission."""


class Warm:
    """A warm process for some exercises; starts when it is first needed.

    One submission at a time. The thread that starts it must live as long as it does,
    or else it is started again.

    Args:
        setups: For each exercise the code that is executed before the answers.
        limits: What each submission may use.
        isolation: Name of the level, one that `isolation.available` has.
        preload: Modules to import before the first submission.

    Raises:
        ValueError: If there is no level of that name.
    """

    def __init__(
        self,
        setups: Mapping[str, str],
        limits: Limits,
        *,
        isolation: str,
        preload: Sequence[str] = ("numpy", "torch"),
    ) -> None:
        self.isolation = isolation
        self._sandbox = Sandbox(isolation, setups, limits, preload)
        self._limits = limits
        self._running: _Running | None = None

    def answer(
        self,
        stem: str,
        sources: Mapping[str, str],
        tasks: Mapping[str, Asked],
        inputs: Mapping[str, Sequence[Any]],
    ) -> dict[str, list[Answer]]:
        """Run the answers to one exercise.

        If the warm process itself dies, all is tried once more from the start.

        Args:
            stem: Name of the exercise.
            sources: Answer cells by task name, in the order of the notebook.
            tasks: What each task asks, by name, for every name in `sources`.
            inputs: For each task the inputs of its cases, encoded by `wire`.

        Returns:
            By task name, an answer for each of its inputs.

        Raises:
            WarmProcessError: If there is no process to be had.
        """
        try:
            return self._answer(stem, sources, tasks, inputs)
        except WarmProcessError:
            self.close()
            return self._answer(stem, sources, tasks, inputs)

    def close(self) -> None:
        """End the warm process and all that it started."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answer(
        self,
        stem: str,
        sources: Mapping[str, str],
        tasks: Mapping[str, Asked],
        inputs: Mapping[str, Sequence[Any]],
    ) -> dict[str, list[Answer]]:
        if self._running is None:
            self._running = _Running(self._sandbox)
        running = self._running
        failed = running.order({"do": "setup", "stem": stem}, seconds=START_SECONDS)
        if failed["error"]:
            text = f"the course's setup failed: {failed['error']}"
            crashed = Answer(status="crashed", error=text)
            return {name: [crashed] * len(inputs[name]) for name in sources}

        def start() -> AnswerProcess:
            return running.fork(stem)

        try:
            return run_answers(start, sources, tasks, inputs, self._limits)
        except BaseException:
            self.close()  # whatever happened, the next submission starts clean
            raise


class _Running:
    """A warm process that runs, and the folder with its copy of the package."""

    def __init__(self, box: Sandbox) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mlopt-answer-"))
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs, (self._folder / "errors.txt").open("wb") as errors:
                self._process = subprocess.Popen(
                    box.prepare(self._folder),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    cwd="/",
                    env=box.environment,
                    start_new_session=True,
                )
            self._receive(START_SECONDS)
        except BaseException:
            self.close()
            raise

    def order(
        self, order: Mapping[str, Any], *, seconds: float, passed: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Send an order and return what came of it."""
        try:
            socket.send_fds(self._orders, [json.dumps(order).encode()], list(passed))
        except OSError as error:
            raise self._failed(f"ended: {error}") from None
        return self._receive(seconds)

    def fork(self, stem: str) -> AnswerProcess:
        """Start the process of one submission, and see that it is confined."""
        ours, theirs = socket.socketpair()
        process = AnswerProcess(ours, self._end)
        try:
            with theirs:
                done = self.order(
                    {"do": "fork", "stem": stem},
                    seconds=ORDER_SECONDS,
                    passed=[theirs.fileno()],
                )
            greeting = {"do": "greet"}
            error = done["error"] or process.ask(greeting, seconds=ORDER_SECONDS).get(
                "error", "it did not answer"
            )
        except ProcessDiedError as death:
            error = str(death)
        except BaseException:
            ours.close()
            raise
        if error:
            ours.close()
            raise WarmProcessError(f"the process of a submission failed: {error}")
        return process

    def close(self) -> None:
        """End the warm process and all that it started, and remove the folder."""
        self._orders.close()
        if hasattr(self, "_process"):
            # It ends by itself when its orders do. The kill is for one that is stuck,
            # and takes all of its namespaces with it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE)
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, grace: float) -> int | None:
        order = {"do": "end", "grace": grace}
        code: int | None = self.order(order, seconds=grace + ORDER_SECONDS)["code"]
        return code

    def _receive(self, seconds: float) -> dict[str, Any]:
        self._orders.settimeout(seconds)
        try:
            packet = self._orders.recv(1 << 16)
        except OSError as error:
            raise self._failed(f"does not answer: {error}") from None
        if not packet:
            raise self._failed("ended")
        reply: dict[str, Any] = json.loads(packet)
        return reply

    def _failed(self, how: str) -> WarmProcessError:
        """Return an error that says what the warm process said last."""
        said = ""
        with contextlib.suppress(OSError):
            said = (self._folder / "errors.txt").read_text(errors="replace").strip()
        last = said.splitlines()[-1][:300] if said else "it said nothing"
        return WarmProcessError(f"the warm process {how} ({last})")
