"""Pages that stand alone: nothing is loaded, and they follow light, dark and paper.

What a student gets (`html`), the class report (`report`) and the leaderboard are made
of these pieces. What somebody else wrote is escaped where markup is built from it.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape

_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
{style}
</head>
<body class="mlopt-plain">
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""

_STYLE = """<style>
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #fff; --rule: #bdbdbd;
  --quiet: #f3f3f3; --right: #0072b2; --yours: #c04f00; --link: #00558a; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --paper: #1b1b1b;
  --rule: #666; --quiet: #272727; --right: #56b4e9; --yours: #ffb000;
  --link: #8ecbf2; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto;
  padding: 0 1rem; background: var(--paper); color: var(--ink);
  overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.2rem; margin-top: 2rem; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--right); outline-offset: 2px; }
table.mlopt-table { border-collapse: collapse; margin: 1rem 0; }
.mlopt-table caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
.mlopt-table th, .mlopt-table td { text-align: left; vertical-align: top;
  padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--rule); }
.mlopt-table td:not(.mlopt-number) { min-width: 7rem; }
.mlopt-table .mlopt-number { text-align: right; font-variant-numeric: tabular-nums; }
.mlopt-scroll { overflow-x: auto; overflow-wrap: normal; }
pre { background: var(--quiet); border: 1px solid var(--rule); border-radius: 6px;
  padding: .6rem .8rem; overflow-x: auto; font: .875rem/1.45 monospace; tab-size: 4;
  overflow-wrap: normal; }
summary { cursor: pointer; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { font-weight: 600; }
dd { margin: 0; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--rule); font-size: .93rem; }
@media print { body { max-width: none; margin: 0; font-size: 11pt; }
  h2 { break-after: avoid; } .mlopt-report, tr { break-inside: avoid; }
  pre { white-space: pre-wrap; } }
</style>"""

STATUSES: Mapping[str, str] = {
    "passed": "right",
    "wrong": "not right yet",
    "blank": "not written yet",
    "raised": "raised an error",
    "timeout": "ran out of time",
    "crashed": "ended its process",
    "missing": "no usable answer",
    "forbidden": "uses what it should write itself",
}

# What a text may hold that is no character to read: controls, halves of surrogate
# pairs, and marks that turn the direction of what follows (CVE-2021-42574).
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufffe\uffff]"
)


def document(title: str, body: str, *, style: str = "") -> str:
    """Return a whole page.

    Args:
        title: Plain text; also the page's only main heading.
        body: Markup in which everything foreign is escaped.
        style: More `<style>` for the head.
    """
    text = _DOCUMENT.format(title=escape(title), body=body, style=_STYLE + style)
    return visible(text)


def visible(text: str) -> str:
    r"""Return a text in which what cannot be seen is spelt out.

    Example:
        >>> visible("a\x00b\u202e")
        'a⟨U+0000⟩b⟨U+202E⟩'
    """
    text = text.replace("\r\n", "\n")
    return _INVISIBLE.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
) -> str:
    """Return a table whose first column names its rows.

    Args:
        caption: Plain text.
        head: Plain text above each column.
        rows: Markup of the cells.
        numbers: Columns that are set flush right.
    """

    def mark(column: int) -> str:
        return ' class="mlopt-number"' if column in numbers else ""

    def line(cells: Sequence[str]) -> str:
        first, *rest = cells
        return f'<tr><th scope="row">{first}</th>' + "".join(
            f"<td{mark(column)}>{cell}</td>" for column, cell in enumerate(rest, 1)
        )

    top = "".join(
        f'<th scope="col"{mark(column)}>{escape(name)}</th>'
        for column, name in enumerate(head)
    )
    body = "</tr>\n".join(map(line, rows)) + ("</tr>" if rows else "")
    return (
        '<div class="mlopt-scroll" role="region" tabindex="0" '
        f'aria-label="{escape(caption)}"><table class="mlopt-table">'
        f"<caption>{escape(caption)}</caption>"
        f"<thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def figure(
    title: str, width: int, height: int, drawn: str, *, anchor: str = "start"
) -> str:
    """Return a drawing; where it is too wide it scrolls, so that it can be read.

    Args:
        title: What a screen reader says of it, in plain text.
        width: In pixels.
        height: In pixels.
        drawn: Elements of SVG in which everything foreign is escaped.
        anchor: Where a text stands at its place: start, middle or end.
    """
    name = escape(title)
    return (
        f'<div class="mlopt-scroll" role="region" tabindex="0" aria-label="{name}">'
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{name}"><title>{name}</title>'
        f'<g fill="var(--ink)" font-size="13" text-anchor="{anchor}">{drawn}</g>'
        "</svg></div>"
    )


def readable_name(name: str) -> str:
    """Return a program's name as words.

    Example:
        >>> readable_name("bias_correction_missing")
        'bias correction missing'
    """
    return name.replace("_", " ").strip()
