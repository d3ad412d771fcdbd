"""Call an answer once, safely enough for a live kernel.

An answer may raise, print megabytes, change its inputs or never end. Each of these
becomes a field of the `Answer`, and the caller goes on. The answer runs in a thread
because a thread can be told to stop on every platform; a program that refuses is left
behind as a daemon. This protects a learner from themselves: the isolation for
submissions that nobody trusts is in `grading`.
"""

import contextlib
import copy
import ctypes
import importlib
import io
import itertools
import linecache
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

Status = Literal["returned", "blank", "raised", "timeout", "crashed", "missing"]


MOST_ITEMS = 100_000  # taken from an iterator, which may have no end


@dataclass(frozen=True)
class Answer:
    """What came back for one case.

    Attributes:
        value: What was returned; None unless `status` is "returned".
        status: How the call ended.
        error: One sentence when it did not return, else "".
        mutated: Names of the inputs that the call changed in place.
        printed: Number of characters that the call printed.
    """

    value: Any = None
    status: Status = "returned"
    error: str = ""
    mutated: tuple[str, ...] = ()
    printed: int = 0


class Stop(BaseException):
    """Thrown into an answer that used up its time."""


class _Sink(io.TextIOBase):
    """Counts what is printed and keeps none of it."""

    count = 0

    def write(self, text: str) -> int:
        self.count += len(text)
        return len(text)


# Calls a function with arguments, for so many seconds at most.
Caller = Callable[[Callable[..., Any], list[Any], float], Answer]


def call_in_thread(
    function: Callable[..., Any], args: list[Any], seconds: float
) -> Answer:
    """Call a function in a thread of its own, and leave that behind if it must be."""
    outcome = [Answer(status="timeout", error=too_slow(seconds))]

    def run() -> None:
        with contextlib.suppress(Stop):
            outcome[0] = call(function, args)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    finally:
        _stop(thread)
    return outcome[0]


def answer_case(
    answer: object,
    inputs: Mapping[str, Any],
    *,
    seconds: float,
    caller: Caller = call_in_thread,
) -> Answer:
    """Call `answer` on copies of `inputs`; a value that cannot be called is the answer.

    Args:
        answer: The learner's function, or value.
        inputs: Arguments by name; passed by position, in this order.
        seconds: Time limit of the call, in seconds.
        caller: How to call it for so long.

    Returns:
        The value, or one sentence that says why there is none.

    Example:
        >>> answer_case(lambda x: 2 * x, {"x": 1.5}, seconds=1).value
        3.0
        >>> answer_case(lambda x: x / 0, {"x": 1.5}, seconds=1).status
        'raised'
    """
    if not inputs and not callable(answer):
        return Answer(value=answer)
    if not callable(answer):
        kind = type(answer).__name__
        return Answer(status="missing", error=f"it must be a function, but is {kind}")
    _import_torch_if_used(answer)
    copies = copy.deepcopy(dict(inputs))
    sink = _Sink()
    with (
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        outcome = caller(answer, list(copies.values()), seconds)
    if outcome.status != "returned":
        return Answer(None, outcome.status, outcome.error, (), sink.count)
    mutated = tuple(n for n in inputs if not _unchanged(inputs[n], copies[n]))
    return Answer(outcome.value, "returned", "", mutated, sink.count)


def answer_cases(
    answer: object, inputs: Sequence[Mapping[str, Any]], *, seconds: float
) -> list[Answer]:
    """Answer each of several cases; `seconds` is the limit for all of them together.

    After a case that ran out of time the others are not tried.
    """
    answers: list[Answer] = []
    end = time.monotonic() + seconds
    for one in inputs:
        if answers and answers[-1].status == "timeout":
            answers.append(answers[-1])
            continue
        left = max(end - time.monotonic(), 0.05)
        answers.append(answer_case(answer, one, seconds=left))
    return [
        replace(one, error=too_slow(seconds)) if one.status == "timeout" else one
        for one in answers
    ]


def call(function: Callable[..., Any], args: list[Any]) -> Answer:
    """Call a function and say how it ended; only `Stop` is raised.

    A SystemExit is caught too: an answer must not end a kernel.
    """
    try:
        with np.errstate(all="ignore"):
            value = function(*args)
        # Whoever iterates a generator runs the learner's code: do it in here.
        if hasattr(value, "__next__"):
            value = list(itertools.islice(value, MOST_ITEMS + 1))
            if len(value) > MOST_ITEMS:
                raise ValueError(f"it yields more than {MOST_ITEMS:,} values")
        return Answer(value)
    except Stop:
        raise
    except NotImplementedError as error:
        return Answer(status="blank", error=_blank(error, function))
    except BaseException as error:
        return Answer(status="raised", error=_raised(error, function))


def _stop(thread: threading.Thread) -> None:
    """Ask repeatedly: a bare `except:` in a loop swallows the first request."""
    for _ in range(20):
        if not thread.is_alive():
            return
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Stop)
        )
        thread.join(0.02)


def _import_torch_if_used(function: Callable[..., Any]) -> None:
    """Import it before the clock starts: it takes longer than any right answer.

    The first optimizer imports half of torch again; stopped halfway, it stays broken.
    """
    code = getattr(function, "__code__", None)
    for name, module in (("torch", "torch"), ("optim", "torch._dynamo")):
        if code is not None and "torch" in code.co_names and name in code.co_names:
            with contextlib.suppress(ImportError):
                importlib.import_module(module)


def _blank(error: NotImplementedError, function: Callable[..., Any]) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1].name
    if where == getattr(function, "__name__", where):
        return "it is not written yet"
    return f"it calls `{where}`, which is not written yet"


def too_slow(seconds: float) -> str:
    """Say that an answer used up its time limit of `seconds`."""
    return (
        f"it was still running after {seconds:g} seconds and was stopped; "
        "does its loop ever end?"
    )


def _raised(error: BaseException, function: Callable[..., Any]) -> str:
    """Say the exception in one line, with the learner's own line where it rose."""
    text = f"it raised {type(error).__name__}"
    detail = ""
    with contextlib.suppress(Exception):  # its own __str__ may be broken too
        detail = " ".join(str(error).split())[:200]
    if detail:
        text += f": {detail}"
    code = getattr(function, "__code__", None)
    if code is not None:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == code.co_filename]
        line = linecache.getline(code.co_filename, own[-1].lineno or 0) if own else ""
        if line.strip():
            text += f", in the line `{line.strip()[:120]}`"
    return text


def _unchanged(before: Any, after: Any) -> bool:
    if type(before) is not type(after):
        return False
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(
            _unchanged(before[key], after[key]) for key in before
        )
    if isinstance(before, (list, tuple)):
        return len(before) == len(after) and all(map(_unchanged, before, after))
    if hasattr(before, "detach"):
        before, after = before.detach().numpy(), after.detach().numpy()
    if isinstance(before, np.ndarray):
        same: bool = before.shape == after.shape
        return same and before.tobytes() == after.tobytes()
    return bool(before == after or before != before)
