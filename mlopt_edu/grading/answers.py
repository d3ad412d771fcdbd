"""Finds the answers to an exercise among the cells of a learner.

What counts, and why, says `extract`.
"""

from collections.abc import Sequence
from functools import cached_property

from .cell_ids import check_id
from .cells import Cell
from .exercise import Exercise
from .names import Statement, defined, needed, statements

MAX_ANSWER = 20_000  # characters
MAX_SEARCHED = 100_000  # characters: no course's notebook has half as many

Place = tuple[int, int]  # a cell, and a statement in it


class Answers:
    """Finds the answers to one exercise among cells."""

    def __init__(self, exercise: Exercise, cells: Sequence[Cell]) -> None:
        self.exercise = exercise
        self.cells = cells
        self.notes: list[str] = []
        self.whole: set[int] = set()  # cells that run as they are
        self.named: dict[str, list[int]] = {}
        self.defining: dict[str, list[int]] = {}
        self.checks: dict[str, int] = {}  # where a task is last checked
        checks = {check_id(name): name for name in exercise.tasks}
        released = {stub.strip(): task for task, stub in exercise.stubs.items()}
        memory: dict[str, frozenset[str]] = {}
        for index, cell in enumerate(cells):
            for name in cell.names:
                if name in exercise.tasks:
                    self.named.setdefault(name, []).append(index)
                    break
                if name in checks:
                    self.checks[checks[name]] = index
            else:  # a cell that lost its name and is still as it was released
                if task := released.get(cell.source.strip()):
                    self.named.setdefault(task, []).append(index)
            if cell.is_code:
                if cell.source not in memory:
                    own = defined(cell.source) & exercise.tasks.keys()
                    memory[cell.source] = own
                for name in memory[cell.source]:
                    self.defining.setdefault(name, []).append(index)

    def take(self) -> tuple[dict[str, str], list[str]]:
        """Return the answers in the order of the notebook, and notes."""
        chosen: dict[str, int] = {}
        elsewhere = []
        for task in self.exercise.tasks:
            own, other = self.own(task), self.other(task)
            if other is not None and (
                own is None or other > own or not self.is_written(task, own)
            ):
                chosen[task] = other
                elsewhere.append(task)
            elif own is not None:
                chosen[task] = own
                self.whole.add(own)
        if elsewhere and (self.named or self.checks):
            self.notes.append(
                "found by the names that they define, in other cells than their own: "
                + ", ".join(elsewhere)
            )
        elif elsewhere:
            self.notes.append(
                "no cell carries a task's name; the answers were found by the names "
                "that they define"
            )
        answers = {}
        for task in sorted(chosen, key=lambda name: chosen[name]):
            source = self.source(task, chosen[task], is_own=task not in elsewhere)
            if len(source) > MAX_ANSWER:
                self.notes.append(
                    f"the answer to {task!r} has more than {MAX_ANSWER:,} characters "
                    "and was not run"
                )
            else:
                answers[task] = source
        return answers, self.notes

    def own(self, task: str) -> int | None:
        """Return the cell with a task's name that counts."""
        indices = self.named.get(task, [])
        code = [i for i in indices if self.cells[i].is_code]
        if indices and not code:
            self.notes.append(
                f"the cell of {task!r} is not a code cell any more, so it was not run"
            )
        written = [i for i in code if self.is_written(task, i)]
        if len(written) > 1:
            self.notes.append(
                f"{len(written)} cells answer {task!r}; the last one counts"
            )
        definers = set(self.defining.get(task, []))
        defining = [i for i in written if i in definers]
        best = defining or written or code
        return best[-1] if best else None

    def other(self, task: str) -> int | None:
        """Return the cell that defines a task without having its name, if it counts."""
        own = {i for i in self.named.get(task, []) if self.cells[i].is_code}
        others = [
            i
            for i in self.defining.get(task, [])
            if i not in own and self.is_written(task, i)
        ]
        before = [i for i in others if i < self.checks.get(task, len(self.cells))]
        if any(self.is_written(task, i) for i in own):
            return before[-1] if before else None
        return next(reversed(before or others), None)

    def is_written(self, task: str, index: int) -> bool:
        """Return whether a cell holds more than what was released."""
        stub = self.exercise.stubs.get(task, "").strip()
        return self.cells[index].source.strip() not in ("", stub)

    def source(self, task: str, index: int, *, is_own: bool) -> str:
        """Return an answer with the helpers that it needs in front."""
        cell = self.cells[index].source
        parts = [] if is_own else [s for s in statements(cell) if task in s.binds]
        own = parts[-1].text if parts else cell
        helpers = self.helpers(own, index, given={task})
        if not helpers:
            return own
        whole = "\n".join([*helpers, own])
        if len(whole) > MAX_ANSWER >= len(own):
            self.notes.append(f"what {task!r} uses from other cells is too long to run")
            return own
        lines = whole.split("\n")
        future = [line for line in lines if line.startswith("from __future__ ")]
        return "\n".join(future + [line for line in lines if line not in future])

    def helpers(self, source: str, index: int, *, given: set[str]) -> list[str]:
        """Return the statements of other cells that a source needs, in their order."""
        taken: dict[Place, str] = {}
        seen = given | self.setup | set(self.exercise.tasks)
        wanted, size = sorted(needed(source) - seen), 0
        while wanted and size <= MAX_ANSWER:
            name = wanted.pop()
            found = None if name in seen else self.definition(name, index)
            seen.add(name)
            if found and found[0] not in taken:
                place, statement = found
                taken[place] = statement.text
                size += len(statement.text)
                wanted += sorted(needed(statement.text) - seen)
        return [taken[place] for place in sorted(taken)]

    def definition(self, name: str, index: int) -> tuple[Place, Statement] | None:
        """Return the statement that defines a name where it is in force at a cell."""
        places = self.bound.get(name) or self.bound.get("*") or []
        before = [one for one in places if one[0][0] <= index]
        nearest = [one for one in places if one[0][0] == places[0][0][0]]
        return next(reversed(before or nearest), None)

    @cached_property
    def bound(self) -> dict[str, list[tuple[Place, Statement]]]:
        """For each name the statements that bind it, outside of whole answers."""
        found: dict[str, list[tuple[Place, Statement]]] = {}
        left = MAX_SEARCHED
        for index, cell in enumerate(self.cells):
            if not cell.is_code or index in self.whole:
                continue
            left -= len(cell.source)
            if left < 0:
                self.notes.append(
                    f"only the first {MAX_SEARCHED:,} characters of the other cells "
                    "were searched for what the answers use"
                )
                break
            for row, statement in enumerate(statements(cell.source)):
                for name in statement.binds:
                    found.setdefault(name, []).append(((index, row), statement))
        return found

    @cached_property
    def setup(self) -> set[str]:
        """Return the names that the course's own setup defines."""
        return {
            name
            for statement in statements(self.exercise.setup)
            for name in statement.binds
        }
