"""Which isolation this machine has: each is tried before it is offered.

A level counts as there only if a program that tries to get out of it could not: read a
file, write one, reach the network, signal its parent.
"""

import functools
import shutil
import socket
import tempfile
from dataclasses import dataclass

from . import syscalls
from .confine import landlock_version
from .process import Limits
from .warm import Warm, WarmProcessError


@dataclass(frozen=True)
class Isolation:
    """One level that this machine has.

    Attributes:
        name: "bubblewrap", "landlock" or "limits".
        sentence: What it stops, and what it does not.
        weak: Whether a submission can reach other files and processes.
    """

    name: str
    sentence: str
    weak: bool = False


LIMITS = Isolation(
    "limits",
    "Bounds memory, processor time and file size only: a submission can read and "
    "change what you can, use the network, and leave processes behind.",
    weak=True,
)


def available() -> list[Isolation]:
    """Return the levels that work on this machine, strongest first."""
    return [one for one in _tried() if isinstance(one, Isolation)]


def unavailable() -> dict[str, str]:
    """Return why the other levels do not work, by name."""
    return dict(one for one in _tried() if isinstance(one, tuple))


def choose(name: str | None = None, *, allow_weak: bool = False) -> Isolation:
    """Return the isolation of that name, or the strongest.

    Args:
        name: "bubblewrap", "landlock" or "limits"; None for the strongest.
        allow_weak: Whether "limits" will do.

    Raises:
        ValueError: If this machine does not have it, or it is weak and may not be.
    """
    levels = {one.name: one for one in available()}
    chosen = next(iter(levels.values())) if name is None else levels.get(name)
    if chosen is None:
        why = unavailable().get(str(name), f"there is only {', '.join(levels)}")
        raise ValueError(f"isolation {name!r} does not work on this machine: {why}")
    if chosen.weak and not allow_weak:
        why = "; ".join(f"{other}: {text}" for other, text in unavailable().items())
        raise ValueError(
            "the isolation here is weak: a submission could read and change your files "
            f"({why or 'limits was asked for'}); allow it with --allow-weak-isolation"
        )
    return chosen


@functools.cache
def _tried() -> tuple[Isolation | tuple[str, str], ...]:
    abi, seccomp = landlock_version(), bool(syscalls.program())
    more = [name for name, has in (("seccomp", seccomp), ("Landlock", abi)) if has]
    missing = "" if seccomp else " Install pyseccomp for the second lock, seccomp."
    bubblewrap = Isolation(
        "bubblewrap",
        "Each submission is alone: its own processes, no network, a read-only disk "
        f"without checks or other work ({', '.join(['namespaces', *more])}). It does "
        f"not stop who knows a hole in the kernel.{missing}",
    )
    landlock = Isolation(
        "landlock",
        "A submission can read Python's files only, write none, and has no network, "
        "processes or signals (Landlock, seccomp). It can see that other processes "
        "exist, and does not stop who knows a hole in the kernel.",
    )
    found: list[Isolation | tuple[str, str]] = []
    for level, lacks in (
        (bubblewrap, "" if shutil.which("bwrap") else "bwrap is not installed"),
        (landlock, "" if abi and seccomp else "it needs Linux 5.13 and pyseccomp"),
    ):
        fault = lacks or _fault(level.name)
        found.append((level.name, fault) if fault else level)
    return (*found, LIMITS)


_PROBE = """
import os, socket

def probe(path, port):
    could = []
    def attempt(what, action):
        try:
            action()
        except Exception:
            return
        could.append(what)
    attempt("read a file", lambda: open(path).close())
    try:
        open(path, "a").write("x")  # may write one of its own: the grader looks
    except OSError:
        pass
    attempt("reach the network",
            lambda: socket.create_connection(("127.0.0.1", port), timeout=1).close())
    if os.getppid():
        attempt("signal its parent", lambda: os.kill(os.getppid(), 0))
    return could
"""


@dataclass(frozen=True)
class _Probed:
    seconds: float = 5.0
    is_value: bool = False


def _fault(level: str) -> str:
    """Try a level on a program that tries to get out; return what went wrong."""
    with (
        tempfile.NamedTemporaryFile() as canary,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        inputs = {
            "t": "dict",
            "v": [["p", canary.name], ["q", server.getsockname()[1]]],
        }
        warm = Warm({"": ""}, Limits(20.0), isolation=level, preload=())
        try:
            with warm:
                given = warm.answer(
                    "", {"probe": _PROBE}, {"probe": _Probed()}, {"probe": [inputs]}
                )
        except (WarmProcessError, OSError) as error:
            return str(error)
        if canary.read():
            return "a submission could write a file"
    answer = given["probe"][0]
    if answer.value == []:
        return ""
    return answer.error or f"a submission could {', '.join(map(str, answer.value))}"
