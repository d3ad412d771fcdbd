"""Draw a report as a self-contained fragment of HTML that follows the theme.

Everything that a learner wrote passes through `escape`. Hints are nested <details>,
so that each opens only inside the one before, by mouse or keyboard.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ._report import Report, sentence

# JupyterLab's variables first, then values for a plain page in light and dark.
STYLE = """<style>
.mlopt-report { --ink: var(--jp-content-font-color1, #1c1c1c);
  --paper: var(--jp-layout-color1, #fff); --rule: var(--jp-border-color1, #bdbdbd);
  --good: #00694d; --bad: #a33b00; --right: #0072b2; --yours: #c04f00;
  max-width: 46rem; margin: .5em 0; padding: .6em 1em; color: var(--ink);
  background: var(--paper); border: 1px solid var(--rule); border-radius: 6px;
  border-left: 6px solid var(--bad); font-family: var(--jp-ui-font-family, sans-serif);
  font-size: var(--jp-content-font-size1, 14px); line-height: 1.5; }
[data-jp-theme-light="false"] .mlopt-report { --good: #5fd3ae; --bad: #ffab70;
  --right: #56b4e9; --yours: #ffb000; }
@media (prefers-color-scheme: dark) { .mlopt-plain .mlopt-report { --ink: #eee;
  --paper: #1b1b1b; --rule: #666; --good: #5fd3ae; --bad: #ffab70;
  --right: #56b4e9; --yours: #ffb000; } }
.mlopt-report.mlopt-passed { border-left-color: var(--good); }
.mlopt-report p { margin: .35em 0; }
.mlopt-report .mlopt-head { display: flex; gap: 1em; justify-content: space-between;
  font-weight: 600; }
.mlopt-report .mlopt-head > :first-child { color: var(--bad); }
.mlopt-report.mlopt-passed .mlopt-head > :first-child { color: var(--good); }
.mlopt-report table { border-collapse: collapse; margin: .4em 0; }
.mlopt-report th, .mlopt-report td { text-align: left !important; vertical-align: top;
  padding: .15em .8em .15em 0; background: var(--paper); color: var(--ink);
  white-space: pre-wrap; font-size: .93em; }
.mlopt-report td { font-family: var(--jp-code-font-family, monospace); }
.mlopt-report details { margin: .3em 0 .3em .2em; }
.mlopt-report summary { cursor: pointer; }
.mlopt-report summary:focus-visible { outline: 2px solid var(--right); }
.mlopt-report details details { margin-left: 1em; }
.mlopt-report code { color: var(--ink); background: transparent; }
.mlopt-report svg { max-width: 100%; height: auto; }
.mlopt-report svg text { fill: var(--ink); font-size: 12px; }
.mlopt-report progress { accent-color: var(--right); width: 9em; }
</style>"""

_STARS = re.compile(r"\*(\w[^*]*\w|\w)\*")
_HINTS = ("A nudge", "The approach", "Almost the answer")


def report_html(report: Report, *, points_so_far: str = "") -> str:
    """Return the fragment for one report, with its style.

    Args:
        report: What was judged.
        points_so_far: A sentence for the last line, as "5 of 15 points in 01 so far".
    """
    return STYLE + report_body(report, points_so_far=points_so_far)


def report_body(report: Report, *, points_so_far: str = "") -> str:
    """Return the fragment without `STYLE`, for a page that has it once in its head."""
    state = "mlopt-passed" if report.passed else "mlopt-failed"
    word = "✓ Right" if report.passed else "✗ Not yet"
    parts = [
        f'<div class="mlopt-report {state}">',
        f'<div class="mlopt-head"><span>{word}: <code>{escape(report.task)}</code>'
        "</span>"
        f"<span>{report.points} of {report.max_points} points</span></div>",
        f"<p>{prose(report.message)}</p>",
        _cases(report),
        _smallest_case(report.case),
        picture_svg(report.picture) if report.picture else "",
        f"<p>{escape(report.note)}</p>" if report.note else "",
        _section(report),
        _hints(report.hints),
        f"<p>{escape(points_so_far)}</p>" if points_so_far else "",
        "</div>",
    ]
    return "".join(parts)


def prose(text: str) -> str:
    """Escape a text; set `between backticks` as code and *between stars* in italics.

    Example:
        >>> prose("the *mean* of `a < b`")
        'the <em>mean</em> of <code>a &lt; b</code>'
    """
    pieces = escape(text).split("`")
    if len(pieces) % 2 == 0:  # an odd backtick: leave the text as it is
        return escape(text)
    return "".join(
        f"<code>{piece}</code>" if i % 2 else _STARS.sub(r"<em>\1</em>", piece)
        for i, piece in enumerate(pieces)
    )


def _cases(report: Report) -> str:
    if not report.failed_cases or report.status not in ("wrong", "raised"):
        return ""
    if report.passed_cases + report.failed_cases == ("your answer",):
        return ""
    marks = [f"✓ {label}" for label in report.passed_cases]
    marks += [f"✗ {label}" for label in report.failed_cases]
    return f"<p>{escape(' · '.join(marks))}</p>"


def _smallest_case(case: Mapping[str, str] | None) -> str:
    if case is None:
        return ""
    rows = (("inputs", "inputs"), ("expected", "should be"), ("got", "is"))
    cells = "".join(
        f'<tr><th scope="row">{title}</th><td>{escape(case[key])}</td></tr>'
        for key, title in rows
    )
    text = f"The smallest case that fails is “{case['label']}”"
    text += f": {case['difference']}" if case["difference"] else ""
    return f"<p>{prose(sentence(text))}</p><table>{cells}</table>"


def _section(report: Report) -> str:
    if report.passed or not report.section:
        return ""
    return f"<p>Read again: lesson {escape(report.section)}.</p>"


def _hints(hints: Sequence[str]) -> str:
    inner = ""
    for name, hint in reversed(list(zip(_HINTS, hints, strict=False))):
        inner = (
            f"<details><summary>Hint: {name.lower()}</summary>"
            f"<p>{prose(hint)}</p>{inner}</details>"
        )
    return inner


def picture_svg(picture: Mapping[str, Any]) -> str:
    """Draw the right curve and the learner's in one small figure.

    Args:
        picture: "right" and "yours" as lists of (x, y), "axes" as two names.
    """
    width, height, left, bottom, top, far = 440, 270, 62, 44, 14, 12
    curves = {name: picture[name] for name in ("right", "yours")}
    xs = [x for points in curves.values() for x, _ in points]
    ys = [y for points in curves.values() for _, y in points]
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)
    x_span, y_span = (x1 - x0) or 1.0, (y1 - y0) or 1.0

    def place(x: float, y: float) -> str:
        across = left + (x - x0) / x_span * (width - left - far)
        down = height - bottom - (y - y0) / y_span * (height - bottom - top)
        return f"{across:.1f},{down:.1f}"

    def curve(name: str, style: str) -> str:
        points = " ".join(place(x, y) for x, y in curves[name])
        dots = "".join(
            f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="2.5" '
            f'fill="var(--{name})"/>'
            for p in points.split()[:60]
        )
        return (
            f'<polyline points="{points}" fill="none" stroke="var(--{name})" '
            f'stroke-width="2" {style}/>{dots}'
        )

    base, end = height - bottom, width - far
    x_name, y_name = (escape(name) for name in picture["axes"])
    title = f"Your result against the right one: {y_name} over {x_name}"
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="{title}"><title>{title}</title>'
        f'<path d="M{left} {top}V{base}H{end}" fill="none" stroke="var(--rule)"/>'
        f'<text x="{left}" y="{base + 16}">{x0:.3g}</text>'
        f'<text x="{end}" y="{base + 16}" text-anchor="end">{x1:.3g}</text>'
        f'<text x="{left - 6}" y="{base}" text-anchor="end">{y0:.3g}</text>'
        f'<text x="{left - 6}" y="{top + 10}" text-anchor="end">{y1:.3g}</text>'
        f'<text x="{(left + end) // 2}" y="{height - 8}" text-anchor="middle">{x_name}'
        f'</text><text transform="translate(16 {(top + base) // 2}) rotate(-90)" '
        f'text-anchor="middle">{y_name}</text>'
        + curve("right", "")
        + curve("yours", 'stroke-dasharray="6 4"')
        + "</svg>"
        '<p><span style="color:var(--right)" aria-hidden="true">●━●</span> right, '
        'solid &nbsp; <span style="color:var(--yours)" aria-hidden="true">●╌●</span> '
        "yours, dashed</p>"
    )
