"""The anatomy of a lesson: each rule is a function that yields what is wrong."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from mlopt_edu.grading.notebook import Cell, Notebook, source, tags

SECTIONS = (
    "Predict",
    "Derive",
    "Write it small",
    "Compare",
    "Real data",
    "Explore",
    "What goes wrong",
    "Quiz",
    "Read",
    "Exercise",
)
WITH_CODE = ("Write it small", "Compare", "Real data")
MOST_LINES = 25
FOLLOWS = "follows-code"  # tag of a code cell that needs no text before it

_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_ARXIV = re.compile(r"arXiv:\d{4}\.\d{4,5}\b")


@dataclass(frozen=True)
class Lesson:
    """A lesson with its stem, as "01_gradient_descent"."""

    stem: str
    notebook: Notebook

    @property
    def cells(self) -> list[Cell]:
        cells: list[Cell] = self.notebook["cells"]
        return cells

    @cached_property
    def code(self) -> list[Cell]:
        return [cell for cell in self.cells if cell["cell_type"] == "code"]

    def headings(self, level: int) -> list[str]:
        found: list[str] = []
        for cell in self.cells:
            found += headings(cell, level)
        return found

    def section(self, name: str) -> list[Cell]:
        """Return the cells from one second-level heading to the next."""
        inside, found = False, []
        for cell in self.cells:
            titles = headings(cell, 2)
            inside = name in titles if titles else inside
            if inside:
                found.append(cell)
        return found

    def prose(self, name: str) -> str:
        cells = self.section(name)
        return "\n\n".join(source(c) for c in cells if c["cell_type"] == "markdown")

    def programs(self, name: str) -> list[Cell]:
        return [cell for cell in self.section(name) if cell["cell_type"] == "code"]


def headings(cell: Cell, level: int) -> list[str]:
    if cell["cell_type"] != "markdown":
        return []
    text = _FENCE.sub("", source(cell))
    return re.findall(rf"^#{{{level}}}\s+(.+?)\s*$", text, re.MULTILINE)


def calls(cell: Cell) -> list[tuple[str, ast.Call]]:
    """Return the calls in a code cell, each with its dotted name."""
    try:
        nodes = ast.walk(ast.parse(source(cell)))
        found = [node for node in nodes if isinstance(node, ast.Call)]
    except SyntaxError:  # the rule `python` says so
        return []
    return [(ast.unparse(node.func), node) for node in found]


def ends_with_show(cell: Cell) -> bool:
    """Is the value of the cell, which Jupyter displays, that of a call of `show`?"""
    last = ast.parse(source(cell)).body[-1]
    value = getattr(last, "value", None) if isinstance(last, ast.Expr) else None
    return isinstance(value, ast.Call) and ast.unparse(value.func).endswith("show")


def called(cells: list[Cell]) -> set[str]:
    """Return the last part of every name that is called: `show` of `plots.show`."""
    return {name.rpartition(".")[2] for cell in cells for name, _ in calls(cell)}


def title(lesson: Lesson) -> Iterator[str]:
    first, number = lesson.cells[0], lesson.stem[:2]
    if first["cell_type"] != "markdown" or first["id"] != "title":
        yield "the first cell must be markdown with the id 'title'"
    found = re.fullmatch(rf"{number} · (.+)", "|".join(lesson.headings(1)))
    slug = re.sub(r"[^a-z0-9]+", "_", found[1].lower()) if found else ""
    if not headings(first, 1) or slug != lesson.stem[3:]:
        yield (
            f"the one heading of the first level must be '{number} · ' and the words "
            f"of {lesson.stem[3:]!r}, got {lesson.headings(1)}"
        )


def three_aims(lesson: Lesson) -> Iterator[str]:
    aims = re.findall(r"^[-*] ", source(lesson.cells[0]), re.MULTILINE)
    if len(aims) != 3:
        yield f"the title cell must list three aims, got {len(aims)}"


def time_needed(lesson: Lesson) -> Iterator[str]:
    if not re.search(r"^Time: about \d+ minutes", source(lesson.cells[0]), re.M):
        yield "the title cell must have a line as 'Time: about 40 minutes'"


def sections(lesson: Lesson) -> Iterator[str]:
    if lesson.headings(2) != list(SECTIONS):
        yield f"the sections must be {list(SECTIONS)}, got {lesson.headings(2)}"


def prediction(lesson: Lesson) -> Iterator[str]:
    if "Prediction" not in called(lesson.programs("Predict")):
        yield "the section Predict must ask for a guess with Prediction(…)"


def code_where_it_is_due(lesson: Lesson) -> Iterator[str]:
    for name in WITH_CODE:
        if not lesson.programs(name):
            yield f"the section {name} must have a code cell"


def widget(lesson: Lesson) -> Iterator[str]:
    widgets = set()
    for cell in lesson.code:
        imported = re.findall(
            r"^from mlopt_edu\.widgets import (\([^)]*\)|.+)$", source(cell), re.M
        )
        widgets |= set(re.findall(r"\w+", " ".join(imported)))
    if not (widgets - {"Prediction", "Quiz"}) & called(lesson.programs("Explore")):
        yield "the section Explore must show a widget from mlopt_edu.widgets"


def mistakes(lesson: Lesson) -> Iterator[str]:
    cells = lesson.programs("What goes wrong")
    if len(cells) < 2:
        yield "the section What goes wrong must show at least two wrong programs"
    shown = [c for c in cells if re.search(r"^\s*assert ", source(c), re.MULTILINE)]
    if not shown and not any("raises-exception" in tags(cell) for cell in cells):
        yield (
            "the section What goes wrong must show its programs fail: assert what is "
            "wrong with their results, or tag the cell raises-exception"
        )


def quiz(lesson: Lesson) -> Iterator[str]:
    if "Quiz" not in called(lesson.programs("Quiz")):
        yield "the section Quiz must ask at least one Quiz(…)"


def reading(lesson: Lesson) -> Iterator[str]:
    if not _ARXIV.search(lesson.prose("Read")):
        yield "the section Read must name a paper with its number, as arXiv:1606.04838"


def exercise(lesson: Lesson) -> Iterator[str]:
    link = f"](../exercises/{lesson.stem}.ipynb)"
    if link not in lesson.prose("Exercise"):
        yield f"the section Exercise must link to it: [exercise{link}"


def python(lesson: Lesson) -> Iterator[str]:
    for cell in lesson.code:
        if source(cell).startswith("%%"):
            continue
        try:
            ast.parse(source(cell))
        except SyntaxError as error:
            yield (
                f"the cell {cell['id']!r} must be plain Python, without IPython's own "
                f"lines: line {error.lineno}: {error.msg}"
            )


def one_thing_per_cell(lesson: Lesson) -> Iterator[str]:
    for cell in lesson.code:
        lines = [line for line in source(cell).splitlines() if line.strip()]
        if len(lines) > MOST_LINES:
            yield (
                f"the cell {cell['id']!r} has {len(lines)} lines of code; more than "
                f"{MOST_LINES} is more than one thing"
            )


def text_between_code(lesson: Lesson) -> Iterator[str]:
    for before, cell in zip(lesson.cells, lesson.cells[1:], strict=False):
        both = before["cell_type"] == cell["cell_type"] == "code"
        if both and FOLLOWS not in tags(cell):
            yield (
                f"the cell {cell['id']!r} follows another code cell; say between them "
                f"what it does, or tag it {FOLLOWS}"
            )


def figures(lesson: Lesson) -> Iterator[str]:
    for cell in lesson.code:
        names = [name for name, _ in calls(cell)]
        if "matplotlib" in source(cell) or any(n.startswith("plt.") for n in names):
            yield f"the cell {cell['id']!r} must draw with mlopt_edu.plots"
        drawn = [name for name in names if name.startswith("plots.")]
        if drawn and not {"plots.show", "show"} & set(names):
            yield f"the cell {cell['id']!r} must show its figure with plots.show(…)"
        if {"plots.show", "show"} & set(names) and not ends_with_show(cell):
            yield f"the cell {cell['id']!r} must end with plots.show(…)"
        for name, call in calls(cell):
            given = {keyword.arg for keyword in call.keywords}
            if name in ("plots.show", "show") and not {"alt", "caption"} <= given:
                yield f"the figure in cell {cell['id']!r} must have alt= and caption="


def compared(lesson: Lesson) -> Iterator[str]:
    if not any("nbval-check-output" in tags(cell) for cell in lesson.code):
        yield "at least one cell must be tagged nbval-check-output and have its output"


Rule = Callable[[Lesson], Iterator[str]]
RULES: tuple[Rule, ...] = (
    title,
    three_aims,
    time_needed,
    sections,
    prediction,
    code_where_it_is_due,
    widget,
    mistakes,
    quiz,
    reading,
    exercise,
    python,
    one_thing_per_cell,
    text_between_code,
    figures,
    compared,
)
