"""Takes the answers out of a submitted notebook or script, and nothing else.

Tests, points, outputs and kernel of the file are ignored, so forging them gains
nothing. What counts as the answer to a task is what the notebook's own check would
see when its cells are run from top to bottom:

- A cell with the task's name (its nbgrader id, or its own) that is not as it was
  released. A copied cell keeps its name: then the last one that defines the task
  counts. Where it stands does not matter.
- A cell without a name that defines the task between that cell and its check, or
  anywhere if no named cell is left or written. Whoever pastes an answer into a new
  cell, merges two cells, or uses an editor that drops ids, loses nothing.

From cells that have no task's name only those statements are taken that an answer
needs: a helper function that it calls, an import, a constant, and what these need in
turn. They are put in front of the answer and share its fate: they run where it runs,
under the same limits, and a name that the task forbids is found in them too. What no
answer needs (plots, experiments, a training that takes an hour, a mistake further
down) is not run, so it cannot take points. Only what binds a name is seen: a cell
that fills a list, line by line, gives an answer the empty list. A check sees the same
if it is written so that the cell alone makes sense, which is what we ask of learners.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .answers import Answers
from .cells import notebook_cells, script_cells
from .exercise import Exercise
from .names import defined
from .submissions import Found, content
from .untrusted import UnreadableError, text_of


@dataclass(frozen=True)
class Submission:
    """The answers of one learner to one exercise.

    Attributes:
        exercise: The exercise that it answers.
        answers: Source by task name, in the order of the notebook.
        notes: What a person should know about how the answers were found.
    """

    exercise: Exercise
    answers: Mapping[str, str]
    notes: Sequence[str] = field(default=())


def read(found: Found, exercises: Sequence[Exercise]) -> Submission:
    """Read what `find` found.

    Raises:
        UnreadableError: If it is no notebook or script, or answers no exercise.
    """
    return extract(content(found), exercises, is_script=is_script(found))


def is_script(found: Found) -> bool:
    """Whether something is a script by its name."""
    name = found.member[-1] if found.member else found.path.name
    return name.lower().endswith(".py")


def read_submission(path: Path, exercises: Sequence[Exercise]) -> Submission:
    """Read a submitted notebook or script in a file.

    Raises:
        UnreadableError: If it is no notebook or script, or answers no exercise.
    """
    return read(Found(path.stem, path.stem, None, path), exercises)


def extract(
    data: bytes, exercises: Sequence[Exercise], *, is_script: bool = False
) -> Submission:
    """Take the answers out of the content of a file.

    The exercise is the one of which most tasks are named by cells, or defined.

    Args:
        data: Content of the file.
        exercises: What may be answered.
        is_script: Whether it is a script, not a notebook.

    Raises:
        UnreadableError: If it is no notebook or script, or answers no exercise.
    """
    text, notes = text_of(data)
    cells = script_cells(text) if is_script else notebook_cells(text)
    names = {name for cell in cells for name in cell.names}
    definitions: set[str] = set()
    for source in {cell.source for cell in cells if cell.is_code}:
        definitions |= defined(source)

    def matches(exercise: Exercise) -> tuple[int, int]:
        tasks = exercise.tasks.keys()
        return len(tasks & names), len(tasks & definitions)

    exercise = max(exercises, key=matches)
    if matches(exercise) == (0, 0):
        kind = "script" if is_script else "notebook"
        raise UnreadableError(
            f"the {kind} holds no answer cell of any exercise of this course"
        )
    answers, more = Answers(exercise, cells).take()
    return Submission(exercise, answers, notes + more)
