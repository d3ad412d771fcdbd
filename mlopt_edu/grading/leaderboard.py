"""The leaderboard of a class: who got how accurate a model into how few bytes.

Names are pseudonyms unless asked for: a keyed hash (HMAC-SHA-256) of the student with
a secret of the class. Nobody can compute another's without the secret, and the same
student has the same one next week.
"""

import base64
import bisect
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from .document import document, figure, table
from .notebook import write_atomically
from .results import MARKER, read_record
from .table import as_csv

SHORTEST = 16  # bytes of a secret
_LETTERS = 8  # of a pseudonym: 40 bits
_LESS_IS_BETTER = frozenset({"bytes", "macs", "seconds"})


@dataclass(frozen=True)
class Line:
    """One student's best attempt.

    Attributes:
        student: Who it is; not shown.
        name: What is shown.
        rank: 1 for the best; equal results share a rank. None above the budget.
        front: Whether nobody has a result at least as good in both respects and
            better in one: the Pareto front.
        metrics: What was measured.
    """

    student: str
    name: str
    rank: int | None
    front: bool
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Leaderboard:
    """The lines of a class, the best first.

    Attributes:
        task: Name of the task.
        by: The metric that ranks.
        cost: The metric it is weighed against.
        lines: The best attempt of each student.
    """

    task: str
    by: str
    cost: str
    lines: Sequence[Line]

    def csv(self) -> str:
        """Return the lines as CSV."""
        shown = self._metrics()
        rows: list[list[object]] = [
            [
                "" if one.rank is None else one.rank,
                one.name,
                int(one.front),
                *(one.metrics.get(metric, "") for metric in shown),
            ]
            for one in self.lines
        ]
        return as_csv(["rank", "name", "pareto_front", *shown], rows)

    def html(self, *, own: str = "") -> str:
        """Return a page of its own.

        Args:
            own: The student for whom it is: that line is marked.
        """
        shown = self._metrics()
        rows = []
        for one in self.lines:
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
            f"<p>Ranked by {escape(self.by)}; equal results share a rank. On the front "
            f"are those whom nobody beats in {escape(self.by)} without more "
            f"{escape(self.cost)}.</p>{self._picture(own)}"
        )
        body += table("Ranking", head, rows, numbers=range(2, 2 + len(shown)))
        return document(f"Leaderboard: {self.task}", body)

    def _metrics(self) -> list[str]:
        more = {name for one in self.lines for name in one.metrics}
        return [self.by, self.cost, *sorted(more - {self.by, self.cost})]

    def _picture(self, own: str) -> str:
        drawn = [
            one for one in self.lines if {self.by, self.cost} <= one.metrics.keys()
        ]
        if not drawn:
            return ""
        width, height, left, right, top, foot = 720, 300, 90, 24, 16, 48
        xs = _scale([one.metrics[self.cost] for one in drawn], left, width - right)
        ys = _scale([one.metrics[self.by] for one in drawn], height - foot, top)
        dots = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{7 if one.student == own else 5}" '
            f'fill="var(--{"right" if one.front else "rule"})" '
            f'stroke="var(--ink)" stroke-width="{2 if one.student == own else 0}"/>'
            for one, x, y in zip(drawn, xs, ys, strict=True)
        )
        front = sorted(
            (x, y) for one, x, y in zip(drawn, xs, ys, strict=True) if one.front
        )
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in front)
        costs = [one.metrics[self.cost] for one in drawn]
        goods = [one.metrics[self.by] for one in drawn]
        title = f"{self.by} over {self.cost}; joined: the Pareto front"
        picture = (
            f'<path d="M{left - 10} {top}V{height - foot + 10}H{width - right}" '
            'fill="none" stroke="var(--rule)"/>'
            f'<polyline points="{line}" fill="none" stroke="var(--right)"/>{dots}'
            f'<text x="{left - 16}" y="{top + 8}" text-anchor="end">'
            f"{_shown(self.by, max(goods))}</text>"
            f'<text x="{left - 16}" y="{height - foot}" text-anchor="end">'
            f"{_shown(self.by, min(goods))}</text>"
            f'<text x="{left}" y="{height - 20}">{_shown(self.cost, min(costs))}</text>'
            f'<text x="{width - right}" y="{height - 20}" text-anchor="end">'
            f"{_shown(self.cost, max(costs))}</text>"
            f'<text x="{(left + width) // 2}" y="{height - 6}" text-anchor="middle">'
            f"{escape(self.cost)}</text>"
        )
        return figure(title, width, height, picture)


def leaderboard(
    records: Iterable[Mapping[str, Any]],
    *,
    task: str,
    secret: bytes,
    by: str = "accuracy",
    cost: str = "bytes",
    budget: Mapping[str, float] | None = None,
    real_names: bool = False,
) -> Leaderboard:
    """Return the leaderboard of one task.

    Args:
        records: Results as written in JSON; those without metrics are left out.
        task: Name of an artifact task.
        secret: Key of the pseudonyms, at least 16 bytes; keep it for the course.
        by: The metric that ranks. Less is better for bytes, macs and seconds.
        cost: The metric that the picture and the front weigh it against.
        budget: The most of a metric that is ranked, by name.
        real_names: Whether students are shown by name.

    Raises:
        ValueError: If the secret is too short.
    """
    if len(secret) < SHORTEST:
        raise ValueError(
            f"secret must have at least {SHORTEST} bytes, got {len(secret)}"
        )
    limits = budget or {}

    def within(metrics: Mapping[str, float]) -> bool:
        return all(metrics.get(name, 0) <= most for name, most in limits.items())

    def merit(metrics: Mapping[str, float]) -> tuple[bool, float, float]:
        # A lower value is better of some: the sign makes more better of all.
        good, cheap = _sign(by) * metrics[by], float("-inf")
        if cost in metrics:
            cheap = _sign(cost) * metrics[cost]
        return within(metrics), good, cheap

    best: dict[str, Mapping[str, float]] = {}
    for record in records:
        student = record.get("student") or record["submission"]
        for report in record["reports"]:
            metrics = report.get("metrics", {})
            if report["task"] == task and by in metrics:
                held = best.get(student, metrics)
                best[student] = max(held, metrics, key=merit)
    shown = {name: name for name in best} if real_names else pseudonyms(best, secret)
    merits = [merit(metrics)[1:] for metrics in best.values() if within(metrics)]
    goods, front = sorted(good for good, _ in merits), _front(merits)
    lines = []
    for student, metrics in best.items():
        ranked, *own = merit(metrics)
        rank = 1 + len(goods) - bisect.bisect_right(goods, own[0]) if ranked else None
        name = shown[student]
        lines.append(Line(student, name, rank, ranked and tuple(own) in front, metrics))
    lines.sort(key=lambda one: (*(-part for part in merit(one.metrics)), one.name))
    return Leaderboard(task, by, cost, lines)


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
    write_atomically(page, board.html())
    return page


def pseudonyms(students: Iterable[str], secret: bytes) -> dict[str, str]:
    """Return a name for each student that tells nobody who it is.

    Example:
        >>> pseudonyms(["ada"], b"sixteen bytes ok")
        {'ada': '7praf2fw'}
    """
    digests = {
        name: base64.b32encode(
            hmac.digest(secret, name.encode("utf-8", "surrogatepass"), hashlib.sha256)
        )
        .decode()
        .lower()
        .rstrip("=")
        for name in students
    }
    letters = _LETTERS
    while len({text[:letters] for text in digests.values()}) < len(digests):
        letters += 1
    return {name: text[:letters] for name, text in digests.items()}


def _front(merits: Iterable[tuple[float, float]]) -> set[tuple[float, float]]:
    """Return the pairs of which no other is at least as good in both parts."""
    found: set[tuple[float, float]] = set()
    cheapest = float("-inf")
    for good, cheap in sorted(set(merits), reverse=True):
        if cheap > cheapest or not found:
            found.add((good, cheap))
            cheapest = cheap
    return found


def _sign(metric: str) -> int:
    return -1 if metric in _LESS_IS_BETTER else 1


def _shown(metric: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1%}" if metric == "accuracy" else f"{value:,.6g}"


def _scale(values: Sequence[float], start: float, end: float) -> list[float]:
    low, span = min(values), (max(values) - min(values)) or 1.0
    return [start + (value - low) / span * (end - start) for value in values]
