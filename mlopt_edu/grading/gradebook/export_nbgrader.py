"""The grades in an nbgrader gradebook, so that its formgrader shows them.

An assignment and its notebook are called as the exercise, a cell as in the released
notebook. What a person entered in the formgrader (a manual score, extra credit) stays.
"""

import os
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy.exc import SAWarning

from mlopt_edu.grading.cell_ids import check_id

from .policies import Grade, Policies, grades
from .read import attempts
from .store import Gradebook


def write_nbgrader(
    book: Gradebook,
    url: str,
    *,
    course: str = "default_course",
    policies: Policies | None = None,
) -> int:
    """Write the grades into an nbgrader gradebook, which is made when missing.

    Args:
        book: The gradebook.
        url: nbgrader's own, as "sqlite:///gradebook.db" (its `db_url`).
        course: nbgrader's `course_id`.
        policies: Which attempt counts, and what coming late costs.

    Returns:
        How many grades were written.
    """
    given = grades(attempts(book), policies)
    import nbgrader.api  # type: ignore[import-untyped]

    with (
        _alembic_found(),
        nbgrader.api.Gradebook(url, course) as target,
        warnings.catch_warnings(),
    ):
        # nbgrader writes as SQLAlchemy 1.4 wanted it; newer ones warn of its order.
        warnings.simplefilter("ignore", SAWarning)
        for stem, own in groupby(given, lambda one: one.exercise):
            of_exercise = list(own)
            policy = (policies or Policies()).by_exercise.get(stem)
            _assignment(target, stem, of_exercise, policy.due if policy else None)
            for one in of_exercise:
                _submission(target, one)
    return len(given)


@contextmanager
def _alembic_found() -> Iterator[None]:
    """For a new gradebook nbgrader calls alembic by name, which lies beside Python."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _assignment(
    target: Any,
    stem: str,
    given: Sequence[Grade],
    due: datetime | None,
) -> None:
    """Make the assignment, its notebook and its cells where nbgrader has none yet."""
    target.update_or_create_assignment(stem, **({"duedate": due} if due else {}))
    target.update_or_create_notebook(stem, stem)
    points = {
        task: earned.max_points for one in given for task, earned in one.scores.items()
    }
    for task, most in points.items():
        target.update_or_create_grade_cell(
            check_id(task), stem, stem, max_score=most, cell_type="code"
        )


def _submission(target: Any, given: Grade) -> None:
    from nbgrader.api import Grade as Cell

    target.update_or_create_student(given.student)
    submitted = given.attempt.submitted
    submission = target.update_or_create_submission(
        given.exercise,
        given.student,
        **({"timestamp": submitted} if submitted else {}),
    )
    (notebook,) = [n for n in submission.notebooks if n.name == given.exercise]
    notebook.late_submission_penalty = given.penalty
    cells = {cell.name: cell for cell in notebook.grades}
    for task, earned in given.scores.items():
        name = check_id(task)
        if name not in cells:
            # The exercise got this task after nbgrader had taken the submission.
            new = target.find_grade_cell(name, given.exercise, given.exercise)
            cells[name] = Cell(cell_id=new.id, notebook_id=notebook.id)
            target.db.add(cells[name])
        cells[name].auto_score = float(earned.points)
        cells[name].needs_manual_grade = False
    target.db.commit()
