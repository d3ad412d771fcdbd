"""One frozen record of a judged task: the cell's HTML, a JSON file, a gradebook row."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal[
    "passed", "wrong", "blank", "raised", "timeout", "crashed", "missing", "forbidden"
]


def sentence(text: str) -> str:
    """End a text with a full stop, unless it ends a sentence already.

    Example:
        >>> sentence("it is wrong"), sentence("is it?")
        ('it is wrong.', 'is it?')
    """
    return text if text.endswith((".", "?", "!")) else text + "."


@dataclass(frozen=True)
class Report:
    """What a learner, a grader and a gradebook need to know about one answer.

    Attributes:
        task: Name of the task.
        exercise: Stem of its exercise.
        points: Points earned.
        max_points: Points possible.
        status: How it ended; "passed" is the only one that earns all points. Part of
            them is earned by weights alone, which reach one level and not the next.
        message: One or two sentences: the mistake explained, or what was seen.
        mistake: Name of the recognised mistake, or "".
        section: Where the lesson teaches it.
        passed_cases: Labels of the cases that agree.
        failed_cases: Labels of the cases that do not.
        case: The smallest failing case as label, inputs, expected, got, difference.
        picture: Curves "right" and "yours" as lists of points, and the axes' names.
        hints: Nudge, approach, almost the answer.
        note: A remark that costs nothing, as on megabytes that were printed.
        metrics: What was measured, by name: bytes and accuracy of weights.
    """

    task: str
    exercise: str
    points: int
    max_points: int
    status: Verdict
    message: str
    mistake: str = ""
    section: str = ""
    passed_cases: tuple[str, ...] = ()
    failed_cases: tuple[str, ...] = ()
    case: Mapping[str, str] | None = None
    picture: Mapping[str, Any] | None = None
    hints: tuple[str, ...] = ()
    note: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""
        return self.status == "passed"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Report":
        """Restore what `to_dict` gave, also after a trip through JSON."""
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in record.items()
        }
        return cls(**fields)

    def __str__(self) -> str:
        mark = "✓" if self.passed else "✗"
        points = f"{self.points} of {self.max_points} points"
        text = f"{mark} {self.task}: {points}. {self.message}"
        if self.case and self.case["difference"] and not self.mistake:
            text += f" Smallest failing case ({self.case['label']}): "
            text += sentence(self.case["difference"])
        return text

    def __repr__(self) -> str:
        # nbgrader reads a cell's points from what its result prints.
        return str(self.points) if "NBGRADER_EXECUTION" in os.environ else str(self)

    def _repr_html_(self) -> str:
        from ._html import report_html

        return report_html(self)
