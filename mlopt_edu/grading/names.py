"""Which names a piece of Python defines and which it needs.

Nothing is executed. What does not parse has no statements and needs nothing, so that
whoever asks goes on with the text as it is.
"""

import ast
import builtins
import re
import symtable
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

MAX_SOURCE = 100_000  # characters that are worth parsing

_DEFINITION = re.compile(
    r"^(?:(?:async[ \t]+)?def|class)[ \t]+(\w+)"
    r"|^([^\W\d]\w*(?:[ \t]*,[ \t]*[^\W\d]\w*)*)[ \t]*(?::[^=\n]+)?=(?!=)",
    re.MULTILINE,
)
# Lines that only a notebook understands: %timeit, !ls, ?sum, sum?
_MAGIC = re.compile(r"^([ \t]*)(?:[%!?].*|[\w.]+\?{1,2}[ \t]*)$", re.MULTILINE)
_CLOSED = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_REFUSED = (SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True)
class Statement:
    """A statement, or the statements of a line, and the names bound ("*": any)."""

    text: str
    binds: frozenset[str]


def defined(source: str) -> frozenset[str]:
    r"""Return the names that lines of a text define, even if it does not parse.

    Example:
        >>> sorted(defined("a, b = 1, 2\ndef double(x)\n  y = 3\nif a == b: pass"))
        ['a', 'b', 'double']
    """
    found: set[str] = set()
    # Longer than that is no answer, and a search through it takes its time.
    for function, targets in _DEFINITION.findall(source[: 10 * MAX_SOURCE]):
        found.update(re.findall(r"\w+", function or targets))
    return frozenset(found)


@lru_cache(maxsize=64)
def statements(source: str) -> tuple[Statement, ...]:
    r"""Return the statements of a cell, none if it does not parse.

    Example:
        >>> [sorted(s.binds) for s in statements("import os.path\nfor i in x: y = i")]
        [['os'], ['i', 'y']]
    """
    source = without_magic(source)
    lines = source.split("\n")
    found: list[tuple[int, int, set[str]]] = []  # first line, last line, names
    for node in _parse(source):
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(one.lineno for one in decorators)])
        last = node.end_lineno or node.lineno
        if found and first <= found[-1][1]:  # on one line: what stands so stays so
            found[-1][2].update(_bound(node))
            found[-1] = (found[-1][0], last, found[-1][2])
        else:
            found.append((first, last, set(_bound(node))))
    return tuple(
        Statement("\n".join(lines[first - 1 : last]), frozenset(names))
        for first, last, names in found
    )


@lru_cache(maxsize=64)
def needed(source: str) -> frozenset[str]:
    r"""Return the names that a text reads and neither binds nor finds in Python.

    Example:
        >>> sorted(needed("def f(x):\n    y = len(x) * scale\n    return g(y)"))
        ['g', 'scale']
    """
    source = without_magic(source)
    if len(source) > MAX_SOURCE:
        return frozenset()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = symtable.symtable(source, "<cell>", "exec")
    except _REFUSED:
        return frozenset()
    bound = frozenset().union(*(one.binds for one in statements(source)))
    return frozenset(_read(table)) - bound - frozenset(dir(builtins))


def without_magic(source: str) -> str:
    """Return a text in which lines for IPython do nothing."""
    return _MAGIC.sub(r"\1pass", source)


def _parse(source: str) -> list[ast.stmt]:
    if len(source) > MAX_SOURCE:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source).body
    except _REFUSED:
        return []


def _bound(statement: ast.stmt) -> Iterator[str]:
    nodes: list[ast.AST] = [statement]
    while nodes:  # without recursion: an expression may be as deep as it likes
        node = nodes.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0]
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                yield node.id
        elif not isinstance(node, _CLOSED):  # what is bound inside stays inside
            nodes.extend(ast.iter_child_nodes(node))


def _read(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (
            table.get_type() == "module" or symbol.is_global()
        ):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _read(child)
