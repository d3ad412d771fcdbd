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
from collections.abc import Callable, Iterator, Mapping
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
        self._searched = 0  # of these bytes, none of which ends a line

    def ask(self, request: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        """Send a request and return the reply.

        Raises:
            ProcessDiedError: If the process ended, or had not replied after `seconds`.
        """
        return next(self.ask_each(request, 1, seconds=seconds))

    def ask_each(
        self, request: Mapping[str, Any], count: int, *, seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Send a request that has several replies, and yield them as they come.

        One request instead of many spares both processes most of their waking up. Who
        stops taking replies must not ask again.

        Args:
            request: What is sent.
            count: Number of its replies.
            seconds: Limit for all of them together, in seconds.

        Raises:
            ProcessDiedError: If the process ended, or replies were left to come.
        """
        first = self._asked + 1
        line = json.dumps({**request, "n": first}).encode() + b"\n"
        deadline, unsent = time.monotonic() + seconds, memoryview(line)
        both = selectors.EVENT_READ | selectors.EVENT_WRITE
        with selectors.DefaultSelector() as selector:
            key = selector.register(self._connection, both)
            for _ in range(count):
                self._asked += 1
                self._lines = heard = 0
                # A reply may be here before it was asked for.
                while (reply := self._reply()) is None:
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
                        heard += self._receive()
                        if heard > MAX_REPLY:
                            raise ProcessDiedError(nonsense("more than it may"))
                yield reply

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

    def _receive(self) -> int:
        """Take what has come; return how much it was."""
        try:
            chunk = self._connection.recv(1 << 16)
        except BlockingIOError:
            return 0
        except OSError:
            chunk = b""
        if not chunk:
            raise ProcessDiedError(self._ending())
        self._received += chunk
        return len(chunk)

    def _reply(self) -> dict[str, Any] | None:
        """Return the reply that is waited for, if it is there."""
        while (end := self._received.find(b"\n", self._searched)) >= 0:
            line = bytes(self._received[:end])
            del self._received[: end + 1]
            self._searched = 0
            self._lines += 1
            if self._lines > _MAX_LINES:
                raise ProcessDiedError(nonsense("more lines than it may"))
            reply = parse_reply(line)
            # Another number: something written by a thread that was left behind.
            if reply.get("n") == self._asked:
                return reply
        self._searched = len(self._received)
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
