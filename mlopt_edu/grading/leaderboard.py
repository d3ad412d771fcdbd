"""The leaderboard of a class: who got how accurate a model into how few bytes.

Names are pseudonyms unless asked for: a keyed hash (HMAC-SHA-256) of the student with
a secret of the class. Nobody can compute another's without the secret, and the same
student has the same one next week.
"""

import base64
import bisect
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
        metrics = self.metrics()
        rows: list[list[object]] = [
            [
                "" if one.rank is None else one.rank,
                one.name,
                int(one.front),
                *(one.metrics.get(metric, "") for metric in metrics),
            ]
            for one in self.lines
        ]
        return as_csv(["rank", "name", "pareto_front", *metrics], rows)

    def metrics(self) -> list[str]:
        """Return the names of the metrics, what ranks first."""
        more = {name for one in self.lines for name in one.metrics}
        return [self.by, self.cost, *sorted(more - {self.by, self.cost})]


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
