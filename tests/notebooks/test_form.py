"""The form of all notebooks: canonical, released, without leaks, with their anatomy.

The commit hook runs this module. `make exercises` mends what a program can mend.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlopt_edu.checks import exercises
from mlopt_edu.grading.notebook import Notebook, canonical, read, source
from mlopt_edu.grading.release import release
from tests.notebooks.anatomy import RULES, SECTIONS, Lesson, Rule

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "lessons").glob("*.ipynb"))
EXEMPT = {"00_start_here": "it explains the parts that the other lessons have"}


def test_there_are_notebooks() -> None:
    """Without this an empty folder, or a moved one, would pass every test below."""
    assert {path.stem for path in LESSONS} >= set(EXEMPT)
    assert any(path.stem not in EXEMPT for path in LESSONS)
    assert list((ROOT / "solutions").glob("*.ipynb"))


def test_notebooks_are_canonical_and_exercises_are_built() -> None:
    assert "\n".join(release(ROOT, check=True)) == ""


@pytest.mark.parametrize(
    "path",
    [path for path in LESSONS if path.stem not in EXEMPT],
    ids=lambda path: path.stem,
)
def test_a_lesson_has_the_anatomy(path: Path) -> None:
    lesson = Lesson(path.stem, read(path))
    assert "\n".join(line for rule in RULES for line in rule(lesson)) == ""


def test_a_lesson_and_its_exercise_have_the_same_stem() -> None:
    solutions = {path.stem for path in (ROOT / "solutions").glob("*.ipynb")}
    assert {path.stem for path in LESSONS} - set(EXEMPT) == solutions - set(EXEMPT)


def stated_points(text: str) -> list[int]:
    """Return the points that headings such as "## 2 · Descend (3 points)" state."""
    return [int(n) for n in re.findall(r"^## .*\((\d+) points?\)$", text, re.MULTILINE)]


@pytest.mark.parametrize(
    "stem", [path.stem for path in LESSONS if path.stem in exercises()]
)
def test_points_in_the_prose_are_those_of_the_tasks(stem: str) -> None:
    points = [task.points for task in exercises()[stem].values()]
    solution = ROOT / "solutions" / f"{stem}.ipynb"
    if not solution.exists():
        pytest.skip("its tasks are part of the lesson, which states no points")
    prose = "\n\n".join(map(source, read(solution)["cells"]))
    assert stated_points(prose) == points
    lesson = "\n\n".join(map(source, read(ROOT / "lessons" / f"{stem}.ipynb")["cells"]))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    words = {8: "Eight"}
    total = f"{words.get(len(points), len(points))} tasks, {sum(points)} points"
    assert total in prose
    assert total in lesson
    assert f"{len(points)} tasks, {sum(points)} points" in readme


def test_points_that_are_wrong_would_be_seen() -> None:
    assert stated_points("## 1 · A (2 points)\n\n## 2 · B (1 point)\n\n## C") == [2, 1]


# The rules themselves: a good lesson passes, and each rule sees its own fault.

STEM = "91_small_steps"
TITLE = "# 91 · Small steps\n\nTime: about 5 minutes\n\n- one\n- two\n- three"
PROSE = {
    "Read": "A. Author, 2018, [arXiv:1606.04838](https://arxiv.org/abs/1606.04838)",
    "Exercise": f"Try [exercise 91](../exercises/{STEM}.ipynb).",
    "Derive": "```python\n# no heading\n## none either\n```",
}
CODE = {
    "Predict": ["guess = Prediction('?')"],
    "Write it small": ["def f(x):\n    return x"],
    "Compare": ["print(f(1))"],
    "Real data": ["plots.show(plots.images(data), alt='a', caption='c')"],
    "Explore": ["LossSurface(lr=1)"],
    "What goes wrong": ["def g(x): return -x", "assert g(1) < 0"],
    "Quiz": ["Quiz(**quiz('one'))"],
}


def small_lesson() -> Notebook:
    setup = "from mlopt_edu.widgets import (\n    LossSurface, Prediction, Quiz\n)"
    cells: list[dict[str, Any]] = [
        {"cell_type": "markdown", "id": "title", "source": TITLE},
        {"cell_type": "code", "id": "setup", "source": setup},
    ]
    for name in SECTIONS:
        slug, heading = name.lower().replace(" ", "-"), f"## {name}\n\n"
        text = heading + PROSE.get(name, "")
        cells.append({"cell_type": "markdown", "id": slug, "source": text})
        for number, program in enumerate(CODE.get(name, [])):
            kind = {"cell_type": "code", "id": f"{slug}-{number}-code"}
            cells.append({**kind, "source": program})
            note = {"cell_type": "markdown", "id": f"{slug}-{number}-text"}
            cells.append({**note, "source": "So."})
    notebook = canonical({"cells": cells, "nbformat": 4})
    checked = find(notebook, "compare-0-code")
    checked["metadata"]["tags"] = ["nbval-check-output"]
    return notebook


def find(notebook: Notebook, cell_id: str) -> dict[str, Any]:
    cell: dict[str, Any] = next(c for c in notebook["cells"] if c["id"] == cell_id)
    return cell


def replaced(cell_id: str, old: str, new: str) -> Callable[[Notebook], None]:
    def edit(notebook: Notebook) -> None:
        cell = find(notebook, cell_id)
        assert old in cell["source"]
        cell["source"] = cell["source"].replace(old, new)

    return edit


def dropped(cell_id: str) -> Callable[[Notebook], None]:
    return lambda notebook: notebook["cells"].remove(find(notebook, cell_id))


def untagged(cell_id: str) -> Callable[[Notebook], None]:
    return lambda notebook: find(notebook, cell_id)["metadata"].clear()


def renamed(cell_id: str, new: str) -> Callable[[Notebook], None]:
    return lambda notebook: find(notebook, cell_id).update(id=new)


FIGURE = "real-data-0-code"
FAULTS: list[tuple[str, Callable[[Notebook], None]]] = [
    ("title", renamed("title", "start")),
    ("title", replaced("title", "91 ·", "92 ·")),
    ("title", replaced("title", "Small steps", "Large steps")),
    ("title", replaced("title", "# 91", "## 91")),
    ("title", replaced("derive", "## Derive", "# Derive")),
    ("three_aims", replaced("title", "- two\n", "")),
    ("three_aims", replaced("title", "- two\n", "- two\n- more\n")),
    ("time_needed", replaced("title", "Time: about 5 minutes", "Time: short")),
    ("sections", replaced("derive", "## Derive", "## Derivation")),
    ("sections", replaced("derive", "## Derive", "### Derive")),
    ("sections", dropped("derive")),
    ("sections", replaced("read", "## Read", "## Extra\n\n## Read")),
    ("prediction", dropped("predict-0-code")),
    ("prediction", replaced("predict-0-code", "Prediction", "# Prediction")),
    ("code_where_it_is_due", dropped("compare-0-code")),
    ("widget", replaced("explore-0-code", "LossSurface(lr=1)", "1")),
    ("widget", replaced("explore-0-code", "LossSurface(lr=1)", "Quiz()")),
    ("mistakes", dropped("what-goes-wrong-0-code")),
    ("mistakes", replaced("what-goes-wrong-1-code", "assert", "print")),
    ("quiz", replaced("quiz-0-code", "Quiz(", "print(")),
    ("reading", replaced("read", "arXiv:1606.04838", "arXiv")),
    ("exercise", replaced("exercise", STEM, "01_other")),
    ("one_thing_per_cell", replaced("compare-0-code", "print(f(1))", "f(1)\n" * 26)),
    ("text_between_code", dropped("what-goes-wrong-0-text")),
    ("figures", replaced(FIGURE, ", alt='a'", "")),
    ("figures", replaced(FIGURE, ", caption='c'", "")),
    ("figures", replaced(FIGURE, "plots.show(", "print(")),
    ("figures", replaced(FIGURE, "plots.show(", "shown = plots.show(")),
    ("python", replaced(FIGURE, "data)", "data")),
    ("figures", replaced(FIGURE, "plots.images(data)", "plt.plot(data)")),
    ("figures", replaced("setup", "from", "import matplotlib.pyplot\nfrom")),
    ("compared", untagged("compare-0-code")),
]


def test_a_good_lesson_passes_every_rule() -> None:
    lesson = Lesson(STEM, small_lesson())
    assert [line for rule in RULES for line in rule(lesson)] == []


@pytest.mark.parametrize(("name", "spoil"), FAULTS)
def test_a_rule_sees_its_fault(name: str, spoil: Callable[[Notebook], None]) -> None:
    notebook = small_lesson()
    spoil(notebook)
    rule = next(rule for rule in RULES if rule.__name__ == name)
    assert list(rule(Lesson(STEM, notebook))) != []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_has_a_fault(rule: Rule) -> None:
    assert rule.__name__ in {name for name, _ in FAULTS}


def test_a_tag_excuses_code_after_code() -> None:
    notebook = small_lesson()
    dropped("what-goes-wrong-0-text")(notebook)
    find(notebook, "what-goes-wrong-1-code")["metadata"]["tags"] = ["follows-code"]
    lesson = Lesson(STEM, notebook)
    assert [line for rule in RULES for line in rule(lesson)] == []
