"""The page that a student gets: the points of every task, and what was seen in each.

For each task it has the mistake by name, what to read again, the smallest failing
case and the student's own answer. Nothing that a student wrote is markup.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mlopt_edu.checks import Report
from mlopt_edu.checks._html import STYLE as REPORT_STYLE
from mlopt_edu.checks._html import report_body
from mlopt_edu.checks._report import sentence

from .document import STATUSES, document, readable_name, table


def page(
    record: Mapping[str, Any],
    reports: Sequence[Report],
    *,
    answers: Mapping[str, str] | None = None,
    note: str = "",
) -> str:
    """Return the page of one submission.

    Args:
        record: Its result, as it is written in JSON. The seed is not shown.
        reports: The report of each task.
        answers: What the student wrote, by task; the record's `sources` when None.
        note: Plain text of the instructor's at the end, as how to ask for a regrade.
    """
    written = record.get("sources", {}) if answers is None else answers
    graded = record["status"] == "graded"
    points = f"{record['points']} of {record['max_points']} points."
    parts = [
        f"<p><strong>{points if graded else 'Not graded.'}</strong> "
        f"{escape(_capitalised(record['reason']))}</p>",
        _list(record["notes"]),
        _overview(reports),
        *(_task(report, written.get(report.task, "")) for report in reports),
        f"<footer>{_paragraphs(note)}{_origin(record)}</footer>",
    ]
    title = f"Feedback for {record.get('student') or record['submission']}"
    return document(title, "\n".join(parts), style=REPORT_STYLE)


def _overview(reports: Sequence[Report]) -> str:
    if not reports:
        return ""
    rows = [
        [
            f'<a href="#task-{escape(report.task)}">{escape(report.task)}</a>',
            escape(STATUSES[report.status]),
            f"{report.points} of {report.max_points}",
        ]
        for report in reports
    ]
    return table("Tasks", ("Task", "Result", "Points"), rows, numbers=(2,))


def _task(report: Report, source: str) -> str:
    name = escape(report.task)
    mistake = ""
    if report.mistake and not report.mistake.startswith("option_"):
        words = escape(readable_name(report.mistake))
        mistake = f"<p>The mistake has a name: <strong>{words}</strong>.</p>"
    return (
        f'<section aria-labelledby="task-{name}"><h2 id="task-{name}">{name}</h2>'
        f"{report_body(report)}{mistake}{_answer(name, source)}</section>"
    )


def _answer(name: str, source: str) -> str:
    if not source.strip():
        return ""
    # Open: a closed answer would be missing on paper.
    return (
        "<details open><summary>Your answer</summary>"
        f'<pre role="region" tabindex="0" aria-label="Your answer to {name}">'
        f"<code>{escape(source)}</code></pre></details>"
    )


def _origin(record: Mapping[str, Any]) -> str:
    rows = {
        "Exercise": record["exercise"] or "unknown",
        "Handed in": record.get("submitted", ""),
        "File (SHA-256)": record.get("sha256", "")[:16],
    }
    cells = "".join(
        f"<dt>{name}</dt><dd>{escape(value)}</dd>"
        for name, value in rows.items()
        if value
    )
    return f"<dl>{cells}</dl>"


def _list(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(_capitalised(note))}</li>" for note in notes)
    return f"<ul>{items}</ul>" if items else ""


def _paragraphs(text: str) -> str:
    blocks = [block for block in re.split(r"\n\s*\n", text) if block.strip()]
    return "".join(f"<p>{escape(block.strip())}</p>" for block in blocks)


def _capitalised(text: str) -> str:
    return sentence(text[:1].upper() + text[1:]) if text else ""
