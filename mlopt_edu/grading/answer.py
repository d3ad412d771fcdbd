"""Runs what a learner wrote, in a process that does nothing else.

The process is a confined child of the warm one (`server`, `confine`). Requests come
as lines of JSON on its one connection, replies go back on it, and what the learner's
code prints goes nowhere. It holds no reference, no mistake, no seed and no points: it
gets inputs and returns values (`wire`). Which values is its own affair, so whatever
the code does to this process, or writes on the connection, is just another answer.
"""

import ast
import json
import linecache
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from mlopt_edu.checks import _answer as engine

from . import wire

OUT_OF_MEMORY = "it used more memory than it may"


def plain_python(source: str) -> ast.Module:
    """Parse a cell without what only a notebook understands.

    Lines of IPython (`%timeit`, `!ls`) do nothing here, nor do imports of the checks.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        lines = source.splitlines()
        tree = ast.parse("\n".join(_without_magic(line) for line in lines))
    tree.body = [node for node in tree.body if not _imports_checks(node)]
    return tree


def _without_magic(line: str) -> str:
    text = line.lstrip()
    return line[: len(line) - len(text)] + "pass" if text[:1] in ("%", "!") else line


def _imports_checks(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").startswith("mlopt_edu.checks")
    return isinstance(node, ast.Import) and all(
        alias.name.startswith("mlopt_edu.checks") for alias in node.names
    )


def describe(error: BaseException) -> str:
    """Return what an exception says, if saying it does not raise another."""
    try:
        return " ".join(str(error).split())[:200]
    except BaseException:
        return ""


def call_with_alarm(
    function: Callable[..., Any], args: list[Any], seconds: float
) -> engine.Answer:
    """Call a function in this thread, which an alarm interrupts when time is up.

    A thread for each of a class's calls would cost more than most of the calls. An
    answer that disarms the alarm is ended with its process, by the grader.
    """
    armed = True

    def stop(number: int, frame: object) -> None:
        if armed:
            raise engine.Stop

    signal.signal(signal.SIGALRM, stop)
    try:
        try:
            # Again and again: a bare `except:` in a loop swallows the first one.
            signal.setitimer(signal.ITIMER_REAL, seconds, 0.02)
            return engine.call(function, args)
        finally:
            armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
    except engine.Stop:  # perhaps while it was being disarmed
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        return engine.Answer(status="timeout", error=engine.too_slow(seconds))


class Notebook:
    """The namespace in which setup and answers are executed, as a kernel has one."""

    def __init__(self) -> None:
        self._module = types.ModuleType("__main__")
        self.names = vars(self._module)
        # A learner may leave a call of these in an answer: they do nothing here.
        for name in ("check", "progress"):
            self.names[name] = lambda *args, **options: None

    def enter(self) -> None:
        """Be the module that runs, as far as the code in it can tell."""
        sys.modules["__main__"] = self._module

    def execute(self, label: str, source: str) -> dict[str, str]:
        """Execute a cell; say how it ended."""
        filename = f"<{label}>"
        lines = source.splitlines(keepends=True)
        linecache.cache[filename] = (len(source), None, lines, filename)
        try:
            exec(compile(plain_python(source), filename, "exec"), self.names)
        except NotImplementedError:
            return {"status": "blank", "error": "it is not written yet"}
        except SyntaxError as error:
            where = f" in line {error.lineno}" if error.lineno else ""
            text = f"its cell has a syntax error{where}: {error.msg}"
            return {"status": "missing", "error": text[:400]}
        except BaseException as error:  # sys.exit() ends a cell, not the process
            detail = describe(error)
            text = f"its cell raised {type(error).__name__}"
            return {"status": "missing", "error": f"{text}: {detail}".rstrip(": ")}
        return {"status": "returned", "error": ""}

    def answer(
        self, name: str, is_value: bool, inputs: Sequence[Any], seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Answer one case after another; `seconds` is the limit for all together.

        After a case that ran out of time there are no more.
        """
        end = time.monotonic() + seconds
        for case in inputs:
            left = max(end - time.monotonic(), 0.05)
            reply = self._answer_case(name, is_value, case, left)
            yield reply
            if reply["status"] == "timeout":
                return

    def _answer_case(
        self, name: str, is_value: bool, inputs: Any, seconds: float
    ) -> dict[str, Any]:
        if name not in self.names:
            return {"status": "missing", "error": f"its cell does not define {name!r}"}
        value = self.names[name]
        try:
            if is_value:
                answer = engine.Answer(value)
            else:
                given = wire.decode(inputs)
                answer = engine.answer_case(
                    value, given, seconds=seconds, caller=call_with_alarm
                )
            encoded = wire.encode(answer.value)
        except wire.WireError as error:
            return {"status": "raised", "error": f"its result is too large: {error}"}
        except MemoryError:
            return {"status": "raised", "error": OUT_OF_MEMORY}
        return {
            "status": answer.status,
            "error": answer.error,
            "value": encoded,
            "mutated": list(answer.mutated),
            "printed": answer.printed,
        }


def serve(notebook: Notebook, connection: int) -> NoReturn:
    """Answer one request after another until there is none."""
    notebook.enter()
    own = os.getpid()
    requests, replies = os.fdopen(connection, "rb"), os.fdopen(connection, "wb")
    for line in requests:
        request = json.loads(line)
        for number, reply in enumerate(_replies(notebook, request), request["n"]):
            try:
                text = json.dumps({**reply, "n": number})
            except MemoryError:
                error = {"status": "raised", "error": OUT_OF_MEMORY, "n": number}
                text = json.dumps(error)
            if os.getpid() != own:
                os._exit(0)  # a child that the answer forked does not speak for it
            replies.write(text.encode() + b"\n")
            replies.flush()
    os._exit(0)  # without waiting for threads that an answer left behind


def _replies(notebook: Notebook, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if request["do"] == "greet":
        return iter([{"error": ""}])
    if request["do"] == "execute":
        return iter([notebook.execute(request["name"], request["source"])])
    return notebook.answer(
        request["name"], request["is_value"], request["inputs"], request["seconds"]
    )
