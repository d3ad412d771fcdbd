"""The grader's end of the line to the process that runs a submission.

Nothing that comes over it is believed: not that it is JSON, not that it is short, not
that it ever ends. What the process could do at worst is to send other values than its
code computed, and a process that runs a learner's code may do that anyway.
"""

import json
import selectors
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from mlopt_edu.checks._answer import Answer

from . import wire

MAX_REPLY = 2 * wire.MAX_BYTES  # bytes between a request and the end of its reply
GRACE = 2.0  # seconds beyond a call's own limit before its process is killed
NO_ANSWER = "something that is not an answer"
_MAX_LINES = 10_000  # before the reply: a thread left behind may write some
_MAX_MARKS = 6 * wire.MAX_NODES  # of `,`, `:` and `[`: more than any value of ours has
_MAX_DIGITS = 40  # of a number: `wire` tags the large ones


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        seconds: Wall time of the whole submission, in seconds.
        cell_seconds: Wall time to execute one answer cell, in seconds.
        memory_mb: Memory beyond what Python and torch take, in megabytes.
    """

    seconds: float = 300.0
    cell_seconds: float = 20.0
    memory_mb: int = 2048


class ProcessDiedError(Exception):
    """The answer process ended, or was killed, before it replied."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.error)
        self.answer = answer


class AnswerProcess:
    """A submission's process; leaving the context ends it and all that it started.

    Args:
        connection: Our end of its socket.
        end: Ends the process after a grace in seconds and returns its exit code, None
            if it was still alive then.
    """

    def __init__(
        self, connection: socket.socket, end: Callable[[float], int | None]
    ) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._end = end
        self._ended = False
        self._asked = self._lines = 0
        self._received = bytearray()

    def ask(self, request: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        """Send a request and return the reply.

        Raises:
            ProcessDiedError: If the process ended, or had not replied after `seconds`.
        """
        self._asked += 1
        self._lines = 0
        line = json.dumps({**request, "n": self._asked}).encode() + b"\n"
        deadline, heard, unsent = time.monotonic() + seconds, 0, memoryview(line)
        both = selectors.EVENT_READ | selectors.EVENT_WRITE
        chunk = b"\n"  # a reply may be here before it was asked for
        with selectors.DefaultSelector() as selector:
            key = selector.register(self._connection, both)
            while True:
                reply = self._reply() if b"\n" in chunk else None
                if reply is not None:
                    return reply
                chunk = b""
                left = deadline - time.monotonic()
                ready = selector.select(left) if left > 0 else []
                if not ready:
                    raise ProcessDiedError(_timeout(seconds))
                events = ready[0][1]
                if events & selectors.EVENT_WRITE:
                    unsent = self._send(unsent)
                    if not unsent:
                        key = selector.modify(key.fileobj, selectors.EVENT_READ)
                if events & selectors.EVENT_READ:
                    chunk = self._receive()
                    heard += len(chunk)
                    if heard > MAX_REPLY:
                        raise ProcessDiedError(nonsense("more than it may"))

    def close(self) -> None:
        """End the process, now."""
        self._connection.close()
        if not self._ended:
            self._ended = True
            self._end(0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, unsent: memoryview) -> memoryview:
        try:
            return unsent[self._connection.send(unsent) :]
        except BlockingIOError:
            return unsent
        except OSError:
            raise ProcessDiedError(self._ending()) from None

    def _receive(self) -> bytes:
        try:
            chunk = self._connection.recv(1 << 20)
        except BlockingIOError:
            return b""
        except OSError:
            chunk = b""
        if not chunk:
            raise ProcessDiedError(self._ending())
        self._received += chunk
        return chunk

    def _reply(self) -> dict[str, Any] | None:
        """Return the reply to the last request, if it is there."""
        end = self._received.rfind(b"\n")
        if end < 0:
            return None
        lines, self._received = bytes(self._received[:end]), self._received[end + 1 :]
        self._lines += lines.count(b"\n") + 1
        if self._lines > _MAX_LINES:
            raise ProcessDiedError(nonsense("more lines than it may"))
        for line in lines.split(b"\n"):
            reply = parse_reply(line)
            # Another number: something written by a thread that was left behind.
            if reply.get("n") == self._asked:
                return reply
        return None

    def _ending(self) -> Answer:
        self._ended = True
        code = self._end(GRACE)
        if code is None:
            text = "it closed its process's connection"
        elif code in (-signal.SIGXCPU, -signal.SIGKILL):
            text = "its process used more time or memory than it may and was ended"
        elif code < 0:
            text = f"its process was ended by {signal.Signals(-code).name}"
        else:
            text = f"it ended its process (exit code {code})"
        return Answer(status="crashed", error=text)


def parse_reply(line: bytes) -> dict[str, Any]:
    """Return the object on a line that nobody vouches for.

    Raises:
        ProcessDiedError: If it is none, or takes more to parse than a reply may.
    """
    # Cheap bound before the parser builds what the line describes.
    if sum(map(line.count, b",:[")) > _MAX_MARKS:
        raise ProcessDiedError(nonsense("more values than it may"))
    try:
        reply = json.loads(
            line, parse_int=_integer, parse_float=_real, parse_constant=_refuse
        )
    except (ValueError, RecursionError):
        raise ProcessDiedError(nonsense(NO_ANSWER)) from None
    if not isinstance(reply, dict):
        raise ProcessDiedError(nonsense(NO_ANSWER))
    return reply


def _integer(text: str) -> int:
    return int(text) if len(text) <= _MAX_DIGITS else _refuse(text)


def _real(text: str) -> float:
    return float(text) if len(text) <= _MAX_DIGITS else _refuse(text)


def _refuse(text: str) -> Any:
    raise ValueError(f"a number of {len(text)} characters, or none, must be tagged")


def _timeout(seconds: float) -> Answer:
    text = f"it was still running after {seconds:.3g} seconds and was stopped"
    return Answer(status="timeout", error=text)


def nonsense(what: str) -> Answer:
    """Return the answer of a process that broke the protocol."""
    return Answer(status="crashed", error=f"its process sent {what}")
