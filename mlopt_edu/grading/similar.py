"""Find answers that are more alike than the class explains. A person then looks.

Each answer is brought to a normal form by way of its syntax tree: without comments,
docstrings, annotations and formatting, and with one name for everything it names
itself. Its pieces are the fingerprints of winnowing (Schleimer, Wilkerson & Aiken,
"Winnowing: Local Algorithms for Document Fingerprinting", SIGMOD 2003): hashes of 8
tokens, of which the smallest in every window of 8 is kept, so that 15 tokens in common
always share a piece. Pieces of the stub are removed, since everyone has them.

Many honest students write the same three lines. Two answers are therefore listed only
if all of this holds:

- Both are long: at least 15 pieces beyond the stub, some 70 tokens or ten lines.
- At least four fifths of the pieces of the one with fewer are in the other.
- What they share is rare *in this class*. A piece that k of n students wrote is
  evidence of log2(n / k) bits; one unusual line changes about three pieces, so a
  third of that is counted. The sum must exceed log2(number of pairs) + 10 bits: if
  lines were chosen independently, one class in a thousand would have such a pair by
  chance. They are not quite, so this is a reason to look and never a proof.
- At most 10 students form a group. What more of them write is a way to write it.

A small class can say little about what is rare, and the rule then lists little.
"""

import ast
import contextlib
import itertools
import math
import re
import warnings
import zlib
from array import array
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

K = WINDOW = 8  # tokens in a piece; pieces in a window
SHORTEST = 15  # pieces beyond the stub
MOST = 10  # students in a group
SHARED = 0.8
MARGIN = 10.0  # bits

Array = np.ndarray[Any, Any]

_NO_PROGRAM = (SyntaxError, ValueError, RecursionError, MemoryError)
_TOKEN = re.compile(r"\w+|[^\w\s]")
_POWERS = np.array(
    [pow(0x9E3779B97F4A7C15, i, 2**64) for i in range(K)], dtype=np.uint64
)


class Compared:
    """Collects the answers of a class, then tells which are alike.

    Args:
        stubs: What the answer cell of each task holds at first.
    """

    def __init__(self, stubs: Mapping[str, str]) -> None:
        self._stubs = {name: pieces(normal_form(t)) for name, t in stubs.items()}
        self._labels: list[str] = []
        self._students: list[str] = []
        self._owners: dict[str, array[int]] = {}  # by task: who wrote each piece
        self._pieces: dict[str, array[int]] = {}

    def add(self, label: str, student: str, sources: Mapping[str, str]) -> None:
        """Add one submission: its answers by task."""
        number = len(self._labels)
        self._labels.append(label)
        self._students.append(student)
        for name, source in sources.items():
            own = pieces(normal_form(source))
            own = own[~np.isin(own, self._stubs.get(name, ()))]
            if len(own) >= SHORTEST:
                self._pieces.setdefault(name, array("Q")).frombytes(own.tobytes())
                owners = array("q", [number]) * len(own)
                self._owners.setdefault(name, array("q")).extend(owners)

    def groups(self) -> list[dict[str, Any]]:
        """Return tasks with submissions worth a look, the strongest evidence first.

        Each has "task", "submissions", "shared" (the least share of pieces that a
        listed pair has in common) and "bits" (the most evidence of a pair).
        """
        found = []
        for name, own in self._pieces.items():
            owners = np.frombuffer(self._owners[name], dtype=np.int64)
            pairs = self._alike(owners, np.frombuffer(own, dtype=np.uint64))
            for group in _connected(pairs):
                if len({self._students[i] for i in group}) > MOST:
                    continue
                inside = [pairs[p] for p in pairs if p[0] in group]
                found.append(
                    {
                        "task": name,
                        "submissions": sorted(self._labels[i] for i in group),
                        "shared": round(min(share for share, _ in inside), 3),
                        "bits": round(max(bits for _, bits in inside), 1),
                    }
                )
        return sorted(found, key=lambda one: (-one["bits"], one["submissions"]))

    def _alike(
        self, owners: Array, own: Array
    ) -> dict[tuple[int, int], tuple[float, float]]:
        """Return pairs with their share of pieces and bits in common."""
        people = {name: i for i, name in enumerate(dict.fromkeys(self._students))}
        person = np.array([people[name] for name in self._students])
        kinds, kind = np.unique(own, return_inverse=True)
        writers = len(np.unique(person[owners]))
        once = np.unique(kind.astype(np.int64) * len(people) + person[owners])
        students = np.bincount(once // len(people), minlength=len(kinds))
        bits = np.log2(writers / students) / 3
        needed = math.log2(max(writers * (writers - 1) / 2, 1)) + MARGIN
        sets = {
            int(owners[part[0]]): frozenset(kind[part].tolist())
            for part in np.split(
                np.arange(len(owners)), np.flatnonzero(np.diff(owners)) + 1
            )
        }
        found = {}
        for a, b in _candidates(owners, kind, students, sets):
            shared = sets[a] & sets[b]
            share = len(shared) / min(len(sets[a]), len(sets[b]))
            if person[a] != person[b] and share >= SHARED:
                evidence = float(bits[list(shared)].sum())
                if evidence > needed:
                    found[a, b] = (share, evidence)
        return found


def _candidates(
    owners: Array, kind: Array, students: Array, sets: Mapping[int, frozenset[int]]
) -> set[tuple[int, int]]:
    """Return pairs that share a rare piece, or everything with few others."""
    groups: dict[object, list[int]] = {}
    rare = (students >= 2) & (students <= MOST)
    for i in np.flatnonzero(rare[kind]).tolist():
        groups.setdefault(int(kind[i]), []).append(int(owners[i]))
    for number, own in sets.items():
        groups.setdefault(own, []).append(number)
    return {
        (min(pair), max(pair))
        for group in groups.values()
        # Attempts of one student may add to a group, but not without end.
        if len(group) <= 5 * MOST
        for pair in itertools.combinations(group, 2)
    }


@lru_cache(maxsize=4096)
def normal_form(source: str) -> str:
    r"""Return a program without what its writer chose freely; "" if it is none.

    Example:
        >>> normal_form("def f(x: int): # twice\n    y = 2*x\n    return np.sum( y )")
        'def v(v):\n    v = 2 * v\n    return np.sum(v)'
    """
    lines = source.splitlines()
    plain = "\n".join(line for line in lines if line.lstrip()[:1] not in ("%", "!"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a parser warns of odd escapes
        for text in (source, plain):
            with contextlib.suppress(*_NO_PROGRAM):
                tree = ast.parse(text)
                own = {name for node in ast.walk(tree) for name in _bound(node)}
                return ast.unparse(_Plain(own).visit(tree))
    return ""


def pieces(text: str) -> Array:
    """Return the distinct fingerprints of a normal form, sorted."""
    tokens = [zlib.crc32(token.encode()) for token in _TOKEN.findall(text)]
    if len(tokens) < K:
        return np.empty(0, dtype=np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view
    grams = windows(np.array(tokens, dtype=np.uint64), K)
    hashes = (grams * _POWERS).sum(axis=1, dtype=np.uint64)
    # The product leaves low bits regular: mix, so that the smallest is a fair draw.
    hashes = (hashes ^ (hashes >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    if len(hashes) <= WINDOW:
        return np.unique(hashes.min())
    found: Array = np.unique(windows(hashes, WINDOW).min(axis=1))
    return found


def _bound(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name


class _Plain(ast.NodeTransformer):
    """Renames what the program names itself; drops docstrings and annotations."""

    def __init__(self, own: set[str]) -> None:
        self.own = own

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name("v" if node.id in self.own else node.id, node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg("v")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name, node.returns = "v", None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        plain = ast.Assign([node.target], node.value, lineno=0)
        return self.generic_visit(plain)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant):
            return None
        return self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if hasattr(node, "body") and node.body == []:
            node.body = [ast.Pass()]
        return node


def _connected(pairs: Mapping[tuple[int, int], Any]) -> list[set[int]]:
    """Return the groups that pairs form when they are joined."""
    groups: dict[int, set[int]] = {}
    for a, b in pairs:
        joined = groups.get(a, {a}) | groups.get(b, {b})
        groups.update(dict.fromkeys(joined, joined))
    return list({id(group): group for group in groups.values()}.values())
