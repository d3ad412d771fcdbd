"""A class of learners who answer exercise 01, for `benchmarks.grading`.

What they hand in is right, or wrong in a way that the course knows, or blank, or
broken, in turns. No two hand in the same: each names local variables in a way of
their own.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

from mlopt_edu.checks import Task, exercises
from mlopt_edu.grading.notebook import Notebook, read, source

ROOT = Path(__file__).parents[1]
STEM = "01_gradient_descent"
TASKS = exercises()[STEM]
UNGRADED = "use-it-on-shoes"  # earns no points, and only other graders would run it

# What each twenty submissions are, besides right.
KINDS = (
    "right", "mistake", "blank", "raises", "mistake", "prints", "right",
    "mistake", "right", "syntax", "right", "mistake", "warns", "right", "right",
    "mistake", "right", "dies", "right", "mistake",
)  # fmt: skip
BROKEN = {
    "raises": "def contraction(X, lr):\n    return eigenvalues(X)[-1]",
    "syntax": "def contraction(X, lr)\n    return 1 - lr",
    "dies": "def contraction(X, lr):\n    import os\n    os._exit(1)",
}
HARMLESS = {
    "prints": "print(X.shape, lr)",
    "warns": "np.log(np.zeros(1))",
}


def exercise() -> Notebook:
    """Return the exercise as learners get it, without its ungraded end."""
    notebook = read(ROOT / f"exercises/{STEM}.ipynb")
    cells = [cell for cell in notebook["cells"] if cell["id"] != UNGRADED]
    return notebook | {"cells": [cell | {"source": source(cell)} for cell in cells]}


def right_answers() -> dict[str, str]:
    """Return the solution's answers; what they say of stubs are comments."""
    cells = read(ROOT / f"solutions/{STEM}.ipynb")["cells"]
    return {cell["id"]: source(cell) for cell in cells if cell["id"] in TASKS}


def mistakes(task: Task) -> list[str]:
    """Return the known mistakes of a task as learners write them.

    A program that calls what only the course has is left out.
    """
    found = []
    for mistake in task.mistakes:
        if task.is_value:
            found.append(f"{task.name} = {mistake.program()!r}")
            continue
        used = set(inspect.getclosurevars(mistake.program).globals)
        if used - {"np", "gradient_reference"}:
            continue
        text = inspect.getsource(mistake.program)
        tree = ast.parse(text.replace("gradient_reference", "gradient"))
        (function,) = tree.body
        assert isinstance(function, ast.FunctionDef)
        function.name, function.decorator_list, function.returns = task.name, [], None
        del function.body[0]  # the explanation
        for argument in function.args.args:
            argument.annotation = None
        found.append(ast.unparse(tree))
    return found


def in_own_words(text: str, name: str, i: int) -> str:
    """Rename what an answer calls its own, so that no two learners write the same."""
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    given = {node.arg for node in nodes if isinstance(node, ast.arg)} | {name}
    names = [node for node in nodes if isinstance(node, ast.Name)]
    own = {node.id for node in names if isinstance(node.ctx, ast.Store)} - given
    for node in names:
        if node.id in own:
            node.id = f"{node.id}_{i}"
    return ast.unparse(tree)


def learner(i: int, right: dict[str, str], wrong: list[tuple[str, str]]) -> tuple[
    dict[str, str], float
]:  # fmt: skip
    """Return the answers of learner number i by task, and the points they earn."""
    kind = KINDS[i % len(KINDS)]
    answers = {name: in_own_words(text, name, i) for name, text in right.items()}
    lost = set()
    if kind == "mistake":
        turn = i // len(KINDS) * KINDS.count(kind) + KINDS[: i % len(KINDS)].count(kind)
        name, text = wrong[turn % len(wrong)]
        answers[name] = in_own_words(text, name, i)
        lost = {name}
    elif kind == "blank":
        lost = set(list(answers)[-1 - i // len(KINDS) % 4 :])
    elif kind in BROKEN:
        answers["contraction"], lost = BROKEN[kind], {"contraction"}
    elif kind in HARMLESS:
        head, body = answers["contraction"].split("\n", 1)
        answers["contraction"] = f"{head}\n    {HARMLESS[kind]}\n{body}"
    if "gradient" in lost:  # these two call it
        lost |= {"descend", "descend_until"}
    if kind == "blank":
        answers = {name: text for name, text in answers.items() if name not in lost}
    points = sum(task.points for name, task in TASKS.items() if name not in lost)
    return answers, points


def students(count: int) -> Iterator[tuple[str, Notebook, float]]:
    """Yield each learner's name, notebook and points, as they should be."""
    right = right_answers()
    listed = [[(name, m) for m in mistakes(task)] for name, task in TASKS.items()]
    longest = max(map(len, listed))
    wrong = [some[k] for k in range(longest) for some in listed if k < len(some)]
    blank = exercise()
    for i in range(count):
        answers, points = learner(i, right, wrong)
        cells = [
            cell | {"source": answers.get(cell["id"], cell["source"])}
            for cell in blank["cells"]
        ]
        yield f"s{i:05}", blank | {"cells": cells}, points
