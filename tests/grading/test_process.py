"""The line to a process that nobody vouches for: bounded in time, memory and trust."""

import contextlib
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlopt_edu.grading.process import (
    MAX_REPLY,
    AnswerProcess,
    ProcessDiedError,
    parse_reply,
)

Peer = Callable[[socket.socket], None]


def talk(peer: Peer, *, seconds: float = 10.0, asks: int = 1) -> list[dict[str, Any]]:
    """Ask a process that does as `peer` says."""
    ours, theirs = socket.socketpair()

    def run() -> None:
        with theirs, contextlib.suppress(OSError):
            peer(theirs)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with AnswerProcess(ours, lambda grace: 0 if grace else None) as process:
        replies = [process.ask({"do": "x"}, seconds=seconds) for _ in range(asks)]
    thread.join(10)
    assert not thread.is_alive()
    return replies


def says(*lines: bytes) -> Peer:
    def peer(line: socket.socket) -> None:
        line.recv(1 << 16)
        for text in lines:
            line.sendall(text)
        line.recv(1)  # stay until the other side has had enough

    return peer


def died(peer: Peer, *, seconds: float = 10.0) -> str:
    with pytest.raises(ProcessDiedError) as death:
        talk(peer, seconds=seconds)
    return death.value.answer.error


def test_the_reply_with_the_number_of_the_request_counts() -> None:
    stale = b'{"n": 0}\n{"n": 7, "status": "returned"}\n{"no": "number"}\n'
    assert talk(says(stale, b'{"n": 1, "v": 2}\n{"n": 1, "v": 3}\n')) == [
        {"n": 1, "v": 2}
    ]


def test_a_reply_in_pieces_is_put_together() -> None:
    text = b'{"n": 1, "v": "\xc3\xa4"}\n'
    assert talk(says(*(text[i : i + 1] for i in range(len(text))))) == [
        {"n": 1, "v": "ä"}
    ]


def test_a_reply_that_came_early_is_that_of_its_request() -> None:
    assert talk(says(b'{"n": 1}\n{"n": 2}\n'), asks=1) == [{"n": 1}]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"", "not an answer"),
        (b"{", "not an answer"),
        (b"[]", "not an answer"),
        (b'"text"', "not an answer"),
        (b"\xff\xfe", "not an answer"),
        (b'{"n": NaN}', "not an answer"),
        (b'{"n": 1, "v": Infinity}', "not an answer"),
        (b'{"n": 1, "v": -Infinity}', "not an answer"),
        (b'{"n": ' + b"9" * 10**6 + b"}", "not an answer"),
        (b'{"n": 0.' + b"9" * 10**6 + b"}", "not an answer"),
        (b'{"n": 1' + b"0" * 60 + b"}", "not an answer"),
        (b"[" * 100_000, "not an answer"),
        (b'{"a":' * 100_000, "not an answer"),
        (b"[" * (15 * 2**20), "more values than it may"),
        (b"[0" + b",0" * (7 * 2**20) + b"]", "more values than it may"),
        (b'{"a":{}' + b',"a":{}' * (2**21) + b"}", "more values than it may"),
        (b" " * (MAX_REPLY + 2**20), "more than it may"),
        (b'{"n": 0}\n' * (2 * 2**20), "more lines than it may"),
    ],
    ids=lambda part: str(part)[:20],
)
def test_a_line_that_is_no_reply(line: bytes, said: str) -> None:
    start = time.process_time()
    tracemalloc.start()
    try:
        assert said in died(says(line, b"\n"))
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_REPLY
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 30  # the parser's time, however it is built


def test_doubled_keys_are_one_reply() -> None:
    assert parse_reply(b'{"n": 1, "n": 2, "v": [1], "v": null}') == {"n": 2, "v": None}


def test_the_largest_numbers_that_are_sent_come_through() -> None:
    values = [2**53 - 1, -(2**53) + 1, 5e-324, -1.7976931348623157e308, 1e22]
    assert parse_reply(json.dumps({"v": values}).encode()) == {"v": values}


def test_silence_ends_at_the_deadline() -> None:
    start = time.monotonic()
    assert "still running after 0.3 seconds" in died(says(), seconds=0.3)
    assert time.monotonic() - start < 5


def test_a_byte_now_and_then_does_not_move_the_deadline() -> None:
    def drip(line: socket.socket) -> None:
        while True:
            line.sendall(b" ")
            time.sleep(0.01)

    start = time.monotonic()
    assert "still running after 0.5 seconds" in died(drip, seconds=0.5)
    assert time.monotonic() - start < 5


def test_a_process_that_reads_nothing_does_not_stall_us() -> None:
    ours, theirs = socket.socketpair()
    with theirs, AnswerProcess(ours, lambda grace: None) as process:
        start = time.monotonic()
        with pytest.raises(ProcessDiedError, match=r"still running after 0\.3 seconds"):
            process.ask({"v": "x" * 2**23}, seconds=0.3)
        assert time.monotonic() - start < 5


def test_a_large_request_arrives_whole() -> None:
    text = "x" * 2**22

    def peer(line: socket.socket) -> None:
        with line.makefile("rb") as file:
            request = json.loads(file.readline())
        length = len(request["v"])
        line.sendall(json.dumps({"n": request["n"], "v": length}).encode() + b"\n")

    ours, theirs = socket.socketpair()
    with theirs, AnswerProcess(ours, lambda grace: None) as process:
        thread = threading.Thread(target=peer, args=(theirs,))
        thread.start()
        assert process.ask({"v": text}, seconds=20)["v"] == len(text)
        thread.join()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, "it ended its process (exit code 0)"),
        (3, "it ended its process (exit code 3)"),
        (-9, "its process used more time or memory than it may and was ended"),
        (-11, "its process was ended by SIGSEGV"),
        (None, "it closed its process's connection"),
    ],
)
def test_an_end_is_told(code: int | None, said: str) -> None:
    graces: list[float] = []

    def end(grace: float) -> int | None:
        graces.append(grace)
        return code

    ours, theirs = socket.socketpair()
    with AnswerProcess(ours, end) as process:
        theirs.close()
        with pytest.raises(ProcessDiedError) as death:
            process.ask({}, seconds=5)
    assert death.value.answer.error == said
    assert len(graces) == 1  # it is ended once, after a grace
    assert graces[0] > 0


ANYTHING = st.lists(
    st.binary(max_size=40)
    | st.sampled_from(
        [b"\n", b'{"n": 1}', b'{"n": 1, "v": [', b"]}", b"NaN", b"1e999", b'"\\ud800"']
    ),
    max_size=12,
).map(b"".join)


@given(ANYTHING)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_bytes_are_an_object_or_refused(line: bytes) -> None:
    with contextlib.suppress(ProcessDiedError):
        assert type(parse_reply(line)) is dict


@given(ANYTHING)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_bytes_on_the_line_end_in_a_reply_or_a_death(sent: bytes) -> None:
    def peer(line: socket.socket) -> None:
        line.sendall(sent)

    with contextlib.suppress(ProcessDiedError):
        assert [reply["n"] for reply in talk(peer, seconds=10)] == [1]
