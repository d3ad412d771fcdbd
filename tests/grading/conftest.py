"""A small exercise with its solution, and submissions made from it."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt_edu.checks import Case, Task, choice, number
from mlopt_edu.grading.exercise import Exercise
from mlopt_edu.grading.notebook import Notebook, canonical
from mlopt_edu.grading.release import build

collect_ignore_glob = ["fuzz_*.py"]  # they need atheris, and run until stopped
STEM = "91_small"
Submit = Callable[..., Path]


def draw_vectors(rng: np.random.Generator) -> Iterator[Case]:
    for size in (1, 3, 8):
        yield Case(f"{size} numbers", {"x": rng.normal(size=size)})


def draw_steps(rng: np.random.Generator) -> Iterator[Case]:
    for steps in (0, 1, 5):
        w, lr = rng.normal(size=3), float(rng.uniform(0.01, 0.1))
        yield Case(f"{steps} steps", {"w": w, "lr": lr, "steps": steps})


def descend_reference(w: np.ndarray, lr: float, steps: int) -> np.ndarray:
    for _ in range(steps):
        w = w - lr * 2 * w
    return w


def double_reference(x: np.ndarray) -> np.ndarray:
    return 2 * x


def smallest_reference() -> float:
    return 0.625


def make_tasks() -> dict[str, Task]:
    double = Task(
        "double", points=2, section="91 §1", reference=double_reference,
        draw=draw_vectors, seconds=1.0,
    )  # fmt: skip

    @double.mistake
    def squared(x: np.ndarray) -> np.ndarray:
        """You squared; doubling is twice the number."""
        return x**2

    descend = Task(
        "descend", points=3, section="91 §2", reference=descend_reference,
        draw=draw_steps, seconds=1.0, forbid=("torch.optim",),
    )  # fmt: skip
    best = choice(
        "best_step", "Which?", {"a": ("one", "Too long."), "b": ("half", "Right so.")},
        answer="b", points=1, section="91 §3", module=__name__,
    )  # fmt: skip
    smallest = number(
        "smallest", "How small?", reference=smallest_reference, points=1,
        section="91 §4",
    )  # fmt: skip
    return {task.name: task for task in (double, descend, best, smallest)}


def code(cell_id: str, source: str, **metadata: Any) -> dict[str, Any]:
    return {
        "cell_type": "code", "id": cell_id, "source": source, "metadata": metadata,
        "outputs": [], "execution_count": None,
    }  # fmt: skip


def text(cell_id: str, source: str, **metadata: Any) -> dict[str, Any]:
    return {
        "cell_type": "markdown", "id": cell_id, "source": source, "metadata": metadata
    }  # fmt: skip


ANSWERS = {
    "double": "def double(x):\n    return 2 * x",
    "descend": (
        "def descend(w, lr, steps):\n    for _ in range(steps):\n"
        "        w = w - lr * 2 * w\n    return w"
    ),
    "best_step": 'best_step = "b"',
    "smallest": "smallest = 5 / 8",
}


def make_solution() -> Notebook:
    cells = [
        text("title", "# 91 · Small\n\nA small exercise."),
        code(
            "setup",
            "import numpy as np\n\nfrom mlopt_edu.checks import check",
            tags=["setup"],
        ),
        text("double-task", "## Double\n\nWrite `double(x)`."),
        code(
            "double",
            'def double(x):\n    """Return twice `x`."""\n    ### BEGIN SOLUTION\n'
            "    # twice each of the numbers\n    return np.add(x, x) + 0 * x\n"
            "    ### END SOLUTION",
        ),
        code("check-double", 'check("double")'),
        text(
            "why",
            "Adding a number to itself doubles it because two is one and one.",
            tags=["solution"],
        ),
        text("descend-task", "## Descend"),
        code(
            "descend",
            "def descend(w, lr, steps):\n    for _ in range(steps):\n"
            "        ### BEGIN SOLUTION\n        w = w - lr * 2 * w\n"
            "        ### END SOLUTION\n        ### BEGIN STUB\n"
            "        # w = w + lr * w\n        ### END STUB\n    return w",
        ),
        code("check-descend", 'check("descend", descend)'),
        code(
            "best_step",
            '### BEGIN SOLUTION\nbest_step = "b"\n### END SOLUTION\n'
            "### BEGIN STUB\n# best_step = None\n### END STUB",
        ),
        code("check-best-step", 'check("best_step")'),
        code(
            "smallest",
            "### BEGIN SOLUTION\nsmallest = 0.625\n### END SOLUTION\n"
            "### BEGIN STUB\n# smallest = None\n### END STUB",
        ),
        code("check-smallest", 'check("smallest")'),
    ]
    return canonical({"cells": cells, "metadata": {}, "nbformat": 4})


@pytest.fixture(scope="session")
def small_tasks() -> Mapping[str, Task]:
    return make_tasks()


@pytest.fixture
def solution() -> Notebook:
    return make_solution()


@pytest.fixture(scope="session")
def exercise(small_tasks: Mapping[str, Task]) -> Exercise:
    released = build(make_solution(), small_tasks)
    return Exercise.from_notebook(STEM, released, small_tasks)


@pytest.fixture
def answered(small_tasks: Mapping[str, Task]) -> Callable[..., Notebook]:
    """Return a function that fills answers into the released notebook."""
    released = build(make_solution(), small_tasks)

    def fill(**answers: str) -> Notebook:
        notebook = copy.deepcopy(released)
        for cell in notebook["cells"]:
            if cell["id"] in small_tasks:
                cell["source"] = answers.get(cell["id"], ANSWERS[cell["id"]])
        return notebook

    return fill


@pytest.fixture
def submit(tmp_path: Path, answered: Callable[..., Notebook]) -> Submit:
    """Return a function that writes a submission into `tmp_path / "class"`."""
    folder = tmp_path / "class"
    folder.mkdir()

    def write(name: str, **answers: str) -> Path:
        path = folder / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(answered(**answers)), encoding="utf-8")
        return path

    return write
