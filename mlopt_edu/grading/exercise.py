"""What the course itself knows about an exercise, when submissions are graded."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlopt_edu.checks import Task, exercises
from mlopt_edu.course import bundled_course

from .notebook import Notebook, parse, source, tags


@dataclass(frozen=True)
class Exercise:
    """An exercise as released.

    Attributes:
        stem: Its name, as "01_gradient_descent".
        tasks: Its tasks by name, in order.
        setup: The code of its cells tagged `setup`, executed before the answers.
        stubs: For each task what its answer cell holds at first.
    """

    stem: str
    tasks: Mapping[str, Task]
    setup: str
    stubs: Mapping[str, str]

    @classmethod
    def from_notebook(
        cls, stem: str, notebook: Notebook, tasks: Mapping[str, Task]
    ) -> "Exercise":
        """Read setup and stubs from the released notebook."""
        code = [cell for cell in notebook["cells"] if cell.get("cell_type") == "code"]
        setup = [source(cell) for cell in code if "setup" in tags(cell)]
        stubs = {c["id"]: source(c) for c in code if c.get("id") in tasks}
        return cls(stem, tasks, "\n".join(setup), stubs)


def course_exercises() -> list[Exercise]:
    """Return the exercises of the course that have tasks and a released notebook.

    Raises:
        ValueError: If there is none.
    """
    folder = bundled_course().get("exercises")
    found = []
    for stem, own in exercises().items():
        file = folder.joinpath(f"{stem}.ipynb") if folder is not None else None
        if file is not None and file.is_file():
            notebook = parse(file.read_text(encoding="utf-8"), f"{stem}.ipynb")
            found.append(Exercise.from_notebook(stem, notebook, own))
    if not found:
        raise ValueError("this course has no exercises to grade; run `make exercises`")
    return found
