"""The leaderboard of a class as a page of its own, with a picture of the front."""

import secrets
from collections.abc import Sequence
from html import escape
from pathlib import Path

from .document import document, figure, table
from .leaderboard import Leaderboard, leaderboard
from .notebook import write_atomically
from .results import MARKER, read_record


def write_leaderboard(
    results: Path, task: str, *, by: str = "accuracy", real_names: bool = False
) -> Path:
    """Write the leaderboard of a graded class as a page and as a table.

    The secret of the pseudonyms is drawn once and kept in the folder, for its owner
    alone to read: graded again there, everyone has the same name.

    Args:
        results: Folder that `grade_folder` wrote.
        task: Name of an artifact task.
        by: The metric that ranks: "accuracy", "bytes" or "macs".
        real_names: Whether students are shown by name.

    Returns:
        The page, `leaderboard_TASK.html` in that folder, with a CSV beside it.

    Raises:
        ValueError: If it is no such folder, or nobody has a result of the task.
    """
    if not (results / MARKER).is_file():
        raise ValueError(f"{results} must be a folder of results, as mlopt grade makes")
    secret = results / ".leaderboard_secret"
    if not secret.exists():
        write_atomically(secret, secrets.token_hex(32))
        secret.chmod(0o600)
    records = map(read_record, sorted((results / "results").rglob("*.json")))
    board = leaderboard(
        filter(None, records), task=task, secret=secret.read_bytes(),
        by=by, real_names=real_names,
    )  # fmt: skip
    if not board.lines:
        raise ValueError(
            f"task must be one that was answered by weights with {by}, got {task!r}"
        )
    page = results / f"leaderboard_{task}.html"
    write_atomically(page.with_suffix(".csv"), board.csv())
    write_atomically(page, leaderboard_page(board))
    return page


def leaderboard_page(board: Leaderboard, *, own: str = "") -> str:
    """Return a ranking as HTML, in one file that needs no other.

    Args:
        board: What it shows.
        own: The student for whom it is: that line is marked.
    """
    shown = board.metrics()
    rows = []
    for one in board.lines:
        mine = one.student == own and bool(own)
        rows.append(
            [
                "over budget" if one.rank is None else str(one.rank),
                f"<strong>{escape(one.name)} (you)</strong>"
                if mine
                else escape(one.name),
                *(_shown(metric, one.metrics.get(metric)) for metric in shown),
                "yes" if one.front else "",
            ]
        )
    head = ("Rank", "Name", *(name.capitalize() for name in shown), "On the front")
    body = (
        f"<p>Ranked by {escape(board.by)}; equal results share a rank. On the front "
        f"are those whom nobody beats in {escape(board.by)} without more "
        f"{escape(board.cost)}.</p>{_picture(board, own)}"
    )
    body += table("Ranking", head, rows, numbers=range(2, 2 + len(shown)))
    return document(f"Leaderboard: {board.task}", body)


def _picture(board: Leaderboard, own: str) -> str:
    drawn = [one for one in board.lines if {board.by, board.cost} <= one.metrics.keys()]
    if not drawn:
        return ""
    width, height, left, right, top, foot = 720, 300, 90, 24, 16, 48
    xs = _scale([one.metrics[board.cost] for one in drawn], left, width - right)
    ys = _scale([one.metrics[board.by] for one in drawn], height - foot, top)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{7 if one.student == own else 5}" '
        f'fill="var(--{"right" if one.front else "rule"})" '
        f'stroke="var(--ink)" stroke-width="{2 if one.student == own else 0}"/>'
        for one, x, y in zip(drawn, xs, ys, strict=True)
    )
    front = sorted((x, y) for one, x, y in zip(drawn, xs, ys, strict=True) if one.front)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in front)
    costs = [one.metrics[board.cost] for one in drawn]
    goods = [one.metrics[board.by] for one in drawn]
    title = f"{board.by} over {board.cost}; joined: the Pareto front"
    picture = (
        f'<path d="M{left - 10} {top}V{height - foot + 10}H{width - right}" '
        'fill="none" stroke="var(--rule)"/>'
        f'<polyline points="{line}" fill="none" stroke="var(--right)"/>{dots}'
        f'<text x="{left - 16}" y="{top + 8}" text-anchor="end">'
        f"{_shown(board.by, max(goods))}</text>"
        f'<text x="{left - 16}" y="{height - foot}" text-anchor="end">'
        f"{_shown(board.by, min(goods))}</text>"
        f'<text x="{left}" y="{height - 20}">{_shown(board.cost, min(costs))}</text>'
        f'<text x="{width - right}" y="{height - 20}" text-anchor="end">'
        f"{_shown(board.cost, max(costs))}</text>"
        f'<text x="{(left + width) // 2}" y="{height - 6}" text-anchor="middle">'
        f"{escape(board.cost)}</text>"
    )
    return figure(title, width, height, picture)


def _shown(metric: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1%}" if metric == "accuracy" else f"{value:,.6g}"


def _scale(values: Sequence[float], start: float, end: float) -> list[float]:
    low, span = min(values), (max(values) - min(values)) or 1.0
    return [start + (value - low) / span * (end - start) for value in values]
