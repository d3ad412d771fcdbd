"""Has a submission's answers run, whatever its cells do to their process.

A cell that fails takes only its own task's points. When a process dies another is
started for the tasks that are left, without the cell that killed it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from mlopt_edu.checks._answer import Answer, too_slow

from . import wire
from .process import (
    GRACE,
    NO_ANSWER,
    AnswerProcess,
    Limits,
    ProcessDiedError,
    nonsense,
)

_STATUSES = ("returned", "blank", "raised", "timeout", "crashed", "missing")


class Asked(Protocol):
    """What the driver needs to know about a task."""

    @property
    def seconds(self) -> float:
        """Time limit for all cases together, in seconds."""

    @property
    def is_value(self) -> bool:
        """Whether the answer is a value, not something to call."""


def run_answers(
    start: Callable[[], AnswerProcess],
    sources: Mapping[str, str],
    tasks: Mapping[str, Asked],
    inputs: Mapping[str, Sequence[Any]],
    limits: Limits,
) -> dict[str, list[Answer]]:
    """Run a submission and return an answer for each case of each task.

    Args:
        start: Starts a process in which the course's setup was executed.
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
            late = Answer(status="timeout", error=_used_up(limits))
            return results | {name: [late] * len(inputs[name]) for name in left}
        cells = {name: text for name, text in sources.items() if name not in lethal}
        with start() as process:
            _run(process, cells, tasks, inputs, limits, deadline, results, lethal)
    return {name: results[name] for name in sources}


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
            ended = read_answer(process.ask(request, seconds=seconds))
        except ProcessDiedError as death:
            lethal.add(name)
            results.setdefault(name, [death.answer] * len(inputs[name]))
            return
        if ended.status != "returned":
            results.setdefault(name, [ended] * len(inputs[name]))
    for name in cells:
        if name in results:
            continue
        answers = _cases(process, name, tasks[name], inputs[name], limits, deadline)
        results[name] = answers
        if any(answer.status in ("timeout", "crashed") for answer in answers):
            return


def _cases(
    process: AnswerProcess,
    name: str,
    task: Asked,
    inputs: Sequence[Any],
    limits: Limits,
    deadline: float,
) -> list[Answer]:
    # Twice the learner's own limit: while grading, the machine does other work too.
    seconds = max(0.1, min(2 * task.seconds, deadline - time.monotonic()))
    request = {
        "do": "answer",
        "name": name,
        "is_value": task.is_value,
        "inputs": inputs,
        "seconds": seconds,
    }
    answers: list[Answer] = []
    try:
        for reply in process.ask_each(request, len(inputs), seconds=seconds + GRACE):
            answers.append(read_answer(reply))
            if answers[-1].status in ("timeout", "crashed"):
                break
    except ProcessDiedError as death:
        answers.append(death.answer)
    last = answers[-1]
    if last.status == "timeout":  # say the whole limit, not what was left of it
        own = time.monotonic() < deadline
        error = too_slow(2 * task.seconds) if own else _used_up(limits)
        answers[-1] = replace(last, error=error)
    return answers + [answers[-1]] * (len(inputs) - len(answers))


def _used_up(limits: Limits) -> str:
    return f"the {limits.seconds:g} seconds of the submission were used up"


def read_answer(reply: Mapping[str, Any]) -> Answer:
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
        return nonsense(NO_ANSWER)
    try:
        value = wire.decode(reply.get("value"))
    except wire.WireError as broken:
        return nonsense(f"{NO_ANSWER}: {broken}")
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
