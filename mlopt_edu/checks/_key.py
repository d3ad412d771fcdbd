"""The answer key of a task: cases, what is right on them, and what is known wrong.

A class is judged by one key. Each reference and each mistake runs once a case, when
its values are first asked for, however many answers are compared with them.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from ._answer import Answer, answer_case
from ._task import Case, Mistake, Task


class AnswerKey:
    """A task with some of its cases.

    Args:
        task: What is asked.
        cases: The inputs, from `task.cases`.

    Example:
        >>> from mlopt_edu.checks import find_task
        >>> task = find_task("descend")
        >>> key = AnswerKey(task, task.cases(seed=3))
        >>> key.expected(0) is key.expected(0)
        True
    """

    def __init__(self, task: Task, cases: Sequence[Case]) -> None:
        self.task = task
        self.cases = tuple(cases)
        self._expected = cache(lambda i: task.reference(*self._inputs(i)))
        self._mistaken = cache(
            lambda mistake, i: answer_case(
                mistake.program, self.cases[i].inputs, seconds=task.seconds
            )
        )

    def expected(self, i: int) -> Any:
        """Return what the reference gives on case `i`; do not change it."""
        return self._expected(i)

    def mistaken(self, mistake: Mistake, i: int) -> Answer:
        """Return what a known mistake gives on case `i`."""
        answer: Answer = self._mistaken(mistake, i)
        return answer

    def _inputs(self, i: int) -> list[Any]:
        return list(self.cases[i].inputs.values())
