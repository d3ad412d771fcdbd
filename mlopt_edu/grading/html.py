"""One submission as a page of its own: nothing is loaded, nothing is unescaped."""

from collections.abc import Sequence
from html import escape
from typing import Any

from mlopt_edu.checks import Report
from mlopt_edu.checks._report import sentence

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto;
  padding: 0 1rem; background: Canvas; color: CanvasText; }}
dt {{ font-weight: 600; float: left; clear: left; min-width: 8rem; }}
dd {{ margin-left: 8rem; }}
</style>
</head>
<body class="mlopt-plain">
<main>
<h1>{title}</h1>
<p><strong>{points}</strong> {reason}</p>
{notes}
{reports}
<footer><dl>
<dt>Exercise</dt><dd>{exercise}</dd>
</dl></footer>
</main>
</body>
</html>
"""


def page(record: dict[str, Any], reports: Sequence[Report]) -> str:
    """Return the page of one submission.

    Args:
        record: Its result, as it is written in JSON.
        reports: The report of each task.
    """
    points = f"{record['points']} of {record['max_points']} points."
    notes = "".join(f"<li>{escape(note)}</li>" for note in record["notes"])
    return _PAGE.format(
        title=escape(record["submission"]),
        points=points if record["status"] == "graded" else "Not graded.",
        reason=escape(_sentence(record["reason"])),
        notes=f"<ul>{notes}</ul>" if notes else "",
        reports="\n".join(report._repr_html_() for report in reports),
        exercise=escape(record["exercise"] or "unknown"),
    )


def _sentence(reason: str) -> str:
    return sentence(reason[:1].upper() + reason[1:]) if reason else ""
