"""The class report: one page for the instructor, from the numbers of `statistics`.

Every chart has its numbers in a table beside it. The report counts and compares; it
says where to look and accuses nobody.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mlopt_edu.checks._html import prose
from mlopt_edu.checks._report import sentence

from .document import STATUSES, document, figure, readable_name, table
from .exercise import Exercise, course_exercises
from .notebook import write_atomically
from .results import MARKER, read_record
from .similar import MOST, SHARED, SHORTEST
from .statistics import ENOUGH, WEAK, class_numbers

_MOST_BARS = 25

_ALIKE = f"""<p>These answers are more alike than the class explains: look at them side
by side. They may come from the same lesson, the same group at a table or the same
page. Names, comments and formatting are ignored, and so is what stood in the cell at
first. An answer is compared if {SHORTEST} of its pieces (some 70 tokens) are its own;
a pair is listed if at least {SHARED:.0%} of the pieces of the one with fewer are in
the other and these are rare in this class; what more than {MOST} students write is a
way to write it and not listed. More bits: rarer.</p>"""

_DISCRIMINATION = f"""<p>“Right” is the share of submissions that got the task right: a
task that nearly all or nearly none get right separates nobody. “Discrimination” is the
correlation between having it right and the points on the other tasks. Below {WEAK}
(with at least {ENOUGH} submissions) the task says little about who understood: its
text may be unclear, or it asks for something else.</p>"""

_TOO_FEW = f"<p>These are fewer than {ENOUGH} submissions: too few to say.</p>"


def write_reports(
    results: Path, *, exercises: Sequence[Exercise] | None = None
) -> list[Path]:
    """Write a page and its numbers for each exercise of a graded class.

    Args:
        results: Folder that `grade_folder` wrote.
        exercises: What was graded; the course's exercises when None.

    Returns:
        The pages, `EXERCISE.html` in that folder; the numbers lie beside them as JSON.

    Raises:
        ValueError: If it is no such folder.
    """
    if not (results / MARKER).is_file():
        raise ValueError(f"{results} must be a folder of results, as mlopt grade makes")
    found: dict[str, list[Path]] = {}
    for path in sorted((results / "results").rglob("*.json")):
        record = read_record(path)
        if record is not None:
            found.setdefault(record["exercise"], []).append(path)
    unknown, written = found.pop("", []), []
    for exercise in course_exercises() if exercises is None else exercises:
        if exercise.stem not in found:
            continue
        records = map(read_record, [*found[exercise.stem], *unknown])
        numbers = class_numbers(filter(None, records), exercise=exercise)
        page = results / f"{exercise.stem}.html"
        text = json.dumps(numbers, indent=1, ensure_ascii=False) + "\n"
        write_atomically(page.with_suffix(".json"), text)
        write_atomically(page, class_report(numbers))
        written.append(page)
    return written


def class_report(numbers: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        numbers: From `class_numbers`, also after a trip through JSON.
    """
    graded = numbers["statuses"].get("graded", 0)
    parts = [
        f"<p>{_count(numbers['submissions'], 'submission')}, {graded} of them "
        "graded.</p>",
        _statuses(numbers["statuses"]),
        _points(numbers["points"], graded),
        _time(numbers["seconds"]),
        "<h2>Tasks</h2>",
        _shares(numbers["tasks"]) if graded else "",
        _overview(numbers["tasks"]),
        _DISCRIMINATION,
        _TOO_FEW if graded < ENOUGH else "",
        *(_task(task, graded) for task in numbers["tasks"]),
        _alike(numbers["alike"]),
        _ungraded(numbers["ungraded"]),
    ]
    return document(f"Class report: {numbers['exercise']}", "\n".join(parts))


def _statuses(statuses: Mapping[str, int]) -> str:
    rows = [[escape(name), str(count)] for name, count in statuses.items()]
    return table("Submissions by status", ("Status", "Number"), rows, numbers=(1,))


def _points(points: Mapping[str, Any], graded: int) -> str:
    if not graded:
        return ""
    counts = points["counts"]
    width = -(-len(counts) // _MOST_BARS)
    bars = []
    for start in range(0, len(counts), width):
        last = min(start + width, len(counts)) - 1
        name = str(start) if last == start else f"{start}–{last}"
        bars.append((name, sum(counts[start : last + 1])))
    rows = [[name, str(n), f"{n / graded:.0%}"] for name, n in bars]
    head = ("Points", "Submissions", "Share")
    return (
        f"<h2>Points</h2><p>Mean {points['mean']:.3g}, median {points['median']:g} of "
        f"{points['max']} points.</p>"
        f"{columns('Submissions by points', bars)}"
        f"{table('Distribution of points', head, rows, numbers=(1, 2))}"
    )


def _time(seconds: Mapping[str, float] | None) -> str:
    if seconds is None:
        return ""
    return (
        "<h2>Time</h2><p>Running the answers of one submission took "
        f"{seconds['median']:.3g} seconds in the median, {seconds['ninth_decile']:.3g} "
        f"for the slowest tenth, {seconds['most']:.3g} at most.</p>"
    )


def _shares(tasks: Sequence[Mapping[str, Any]]) -> str:
    bars = [(task["task"], task["share_right"]) for task in tasks]
    return rows_of_bars("Share of right answers by task", bars)


def _overview(tasks: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for task in tasks:
        r, share = task["discrimination"], task["share_right"]
        remark = escape(task["remark"])
        rows.append(
            [
                f'<a href="#task-{escape(task["task"])}">{escape(task["task"])}</a>',
                str(task["max_points"]),
                "–" if share is None else f"{share:.0%}",
                str(task["statuses"].get("blank", 0)),
                str(task["statuses"].get("timeout", 0)),
                "–" if r is None else f"{r:.2f}",
                f"<strong>{remark}</strong>" if task["weak"] else remark,
            ]
        )
    head = (
        *("Task", "Points", "Right", "Blank", "Out of time"),
        *("Discrimination", "Remark"),
    )
    return table("Tasks in numbers", head, rows, numbers=(1, 2, 3, 4, 5))


def _task(task: Mapping[str, Any], graded: int) -> str:
    name = escape(task["task"])
    ends = [f"{count} {STATUSES[status]}" for status, count in task["statuses"].items()]
    parts = [
        f'<h3 id="task-{name}">{name}</h3>',
        f"<p>{escape(', '.join(ends))}. Taught in lesson {escape(task['section'])}.</p>"
        if ends
        else "",
    ]
    if task["mistakes"]:
        rows = [
            [
                escape(readable_name(one["mistake"])),
                str(one["count"]),
                f"{one['count'] / graded:.0%}",
                prose(one["explanation"]),
            ]
            for one in task["mistakes"]
        ]
        head = ("Mistake", "Submissions", "Share", "What its writer was told")
        caption = f"Known mistakes in {task['task']}"
        parts.append(table(caption, head, rows, numbers=(1, 2)))
    return "".join(parts)


def _alike(groups: Sequence[Mapping[str, Any]]) -> str:
    if not groups:
        return "<h2>Alike</h2><p>No answers stand out as alike.</p>" + _ALIKE.replace(
            "These answers are", "Listed would be answers that are"
        )
    rows = [
        [
            escape(group["task"]),
            "<br>".join(map(escape, group["submissions"])),
            f"{group['shared']:.0%}",
            f"{group['bits']:.0f}",
        ]
        for group in groups
    ]
    head = ("Task", "Submissions", "Shared", "Bits")
    return f"<h2>Alike</h2>{_ALIKE}" + table(
        "Answers to look at", head, rows, numbers=(2, 3)
    )


def _ungraded(ungraded: Sequence[Mapping[str, str]]) -> str:
    if not ungraded:
        return ""
    rows = [
        [
            escape(one["submission"]),
            escape(one["status"]),
            escape(sentence(one["reason"][:1].upper() + one["reason"][1:])),
        ]
        for one in ungraded
    ]
    head = ("Submission", "Status", "Reason")
    return "<h2>Not graded</h2>" + table("Not graded", head, rows)


def columns(title: str, bars: Sequence[tuple[str, int]]) -> str:
    """Draw counts as upright bars, each with its number above and name below.

    Args:
        title: What a screen reader says of the picture.
        bars: Name and count of each.
    """
    width, height, foot, top = 720, 240, 28, 22
    step = width / len(bars)
    most = max(count for _, count in bars) or 1
    drawn = []
    for i, (name, count) in enumerate(bars):
        tall = (height - foot - top) * count / most
        y, middle = height - foot - tall, (i + 0.5) * step
        drawn.append(
            f'<rect fill="var(--right)" x="{i * step + 0.1 * step:.1f}" y="{y:.1f}" '
            f'width="{0.8 * step:.1f}" height="{tall:.1f}"/>'
            f'<text x="{middle:.1f}" y="{y - 5:.1f}">{count or ""}</text>'
            f'<text x="{middle:.1f}" y="{height - 9}">{escape(name)}</text>'
        )
    line = f'<path d="M0 {height - foot}H{width}" stroke="var(--rule)"/>'
    return figure(title, width, height, "".join(drawn) + line, anchor="middle")


def rows_of_bars(title: str, bars: Sequence[tuple[str, float]]) -> str:
    """Draw shares in [0, 1] as lying bars with name and percentage."""
    width, left, line = 720, 260, 26
    drawn = []
    for i, (name, share) in enumerate(bars):
        y, long = i * line, (width - left - 60) * share
        short = name if len(name) <= 32 else name[:31] + "…"
        drawn.append(
            f'<text x="0" y="{y + 17}">{escape(short)}</text>'
            f'<rect fill="var(--right)" x="{left}" y="{y + 4}" width="{long:.1f}" '
            f'height="{line - 8}"/>'
            f'<text x="{left + long + 6:.1f}" y="{y + 17}">{share:.0%}</text>'
        )
    return figure(title, width, line * len(bars), "".join(drawn))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
