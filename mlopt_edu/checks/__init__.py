"""Graded tasks: what a learner must write, and what is said about the answer.

Every public module of this package is one exercise: `checks.gradient_descent` holds
the tasks of `exercises/01_gradient_descent.ipynb`, one a file. A new exercise joins
the checks, the tests and the grader by existing. The modules with a leading
underscore are the machinery, in reading order: `_task`, `_artifact`, `_catalog`,
`_answer`, `_compare`, `_forbid`, `_key`, `_judge`, `_report`, `_html`, `_progress`,
`_check`.
"""

from ._artifact import Artifact
from ._catalog import exercises, find_task, tasks
from ._check import check, progress, quiz
from ._report import Report
from ._task import Case, Task, choice, number

__all__ = [
    "Artifact",
    "Case",
    "Report",
    "Task",
    "check",
    "choice",
    "exercises",
    "find_task",
    "number",
    "progress",
    "quiz",
    "tasks",
]
