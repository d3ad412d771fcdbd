"""Finds an answer that an exercise gives away, however it is spaced or commented.

A program or a sentence becomes a row of tokens without white space, quotes, brackets
and comment marks. An answer leaks if its row stands inside a row of the exercise.
"""

import ast
import base64
import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

from .notebook import Cell, Notebook, source

SMALLEST = 5  # tokens: `return w` and `lr * g(w)` are no answers, `w - lr * g` is
SMALLEST_EXPRESSION = 2  # operations: `model.weight.grad` is no answer either
SMALLEST_SENTENCE = 6  # words

_TOKEN = re.compile(r"[^\W\d]\w*|\d[\w.]*|[^\w\s()\[\]'\"`#$\\]")
_OPERATIONS = (
    ast.BinOp,
    ast.BoolOp,
    ast.Call,
    ast.Compare,
    ast.IfExp,
    ast.Lambda,
    ast.Subscript,
    ast.UnaryOp,
    ast.comprehension,
)
_TICKED = re.compile(r"```(?:python)?\n(.*?)```|`([^`\n]+)`", re.DOTALL)


def answers_of(region: str, given: str = "") -> dict[str, str]:
    """Return what a solution region must not give away, as row of tokens to text.

    Args:
        region: Lines between the solution marks.
        given: Lines that the learner starts from; what they hold is no secret.
    """
    smallest = 2 if _is_value(region) else SMALLEST
    found = {}
    for line in region.splitlines():
        program, _, comment = line.partition("#")
        for part in (program, comment):
            found[_row(part)] = part.strip()
    found |= {_row(expression): expression for expression in _expressions(region)}
    found = {row: text for row, text in found.items() if len(row.split()) >= smallest}
    known = _haystack_of_code(given)
    return {row: text for row, text in found.items() if f" {row} " not in known}


def sentences_of(text: str) -> dict[str, str]:
    """Return the sentences of a solution's text, as row of tokens to text."""
    found = {}
    for sentence in re.split(r"(?<=[.!?:])\s+|\n\s*\n", text):
        row = _row(sentence.strip(" .*_-"))
        if len(row.split()) >= SMALLEST_SENTENCE:
            found[row] = " ".join(sentence.split())
    return found


def leaks(exercise: Notebook, secrets: dict[str, str]) -> list[str]:
    """Return a sentence for each cell of an exercise that gives an answer away.

    Args:
        exercise: The released notebook.
        secrets: Rows from `answers_of` and `sentences_of`.
    """
    found = []
    for index, cell in enumerate(exercise["cells"]):
        name = cell.get("id", index)
        for place, text in _texts(cell):
            if "BEGIN SOLUTION" in text or "END SOLUTION" in text:
                found.append(f"cell {name!r} still has a solution mark in its {place}")
            haystack = _haystack_of_code(text) + _haystack_of_ticked(text)
            told = [secret for row, secret in secrets.items() if f" {row} " in haystack]
            if told:
                # The longest says most; the others are usually parts of it.
                longest = max(told, key=len)
                found.append(f"cell {name!r} gives `{longest}` away in its {place}")
    return found


def _texts(cell: Cell) -> Iterator[tuple[str, str]]:
    yield "text" if cell.get("cell_type") == "markdown" else "source", source(cell)
    if cell.get("outputs"):
        yield "outputs", "\n".join(_strings(cell["outputs"]))
    if cell.get("attachments"):
        yield "attachments", "\n".join(_strings(cell["attachments"]))
    if cell.get("metadata"):
        yield "metadata", json.dumps(cell["metadata"])


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        with contextlib.suppress(ValueError):
            yield base64.b64decode(value, validate=True).decode()
    elif isinstance(value, list):
        if value and all(isinstance(part, str) for part in value):
            value = ["".join(value)]
        for part in value:
            yield from _strings(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _strings(part)


def _row(text: str) -> str:
    return " ".join(_TOKEN.findall(text))


def _haystack_of_code(text: str) -> str:
    haystack = f" {_row(text)} "
    with contextlib.suppress(SyntaxError, ValueError, RecursionError):
        haystack += f" {_row(ast.unparse(ast.parse(text)))} "
    return haystack


def _haystack_of_ticked(text: str) -> str:
    spans = _TICKED.findall(text)
    return "".join(_haystack_of_code(block or span) for block, span in spans)


def _is_value(region: str) -> bool:
    """Whether the whole answer is `name = constant`, secret however short."""
    tree = _parse(region)
    return bool(tree.body) and all(
        isinstance(node, ast.Assign)
        and not any(isinstance(part, _OPERATIONS[:4]) for part in ast.walk(node.value))
        for node in tree.body
    )


def _expressions(region: str) -> Iterator[str]:
    for node in ast.walk(_parse(region)):
        if isinstance(node, ast.expr):
            size = sum(isinstance(part, _OPERATIONS) for part in ast.walk(node))
            if size >= SMALLEST_EXPRESSION:
                yield ast.unparse(node)


def _parse(region: str) -> ast.Module:
    lines = [line for line in region.splitlines() if line.strip()]
    margin = min((len(ln) - len(ln.lstrip()) for ln in lines), default=0)
    body = "\n".join(line[margin:] for line in lines)
    # A region is often the body of a function: `return` is right only in one.
    wrapped = "def _():\n" + "\n".join("    " + line for line in body.splitlines())
    for text in (body, wrapped):
        with contextlib.suppress(SyntaxError):
            return ast.parse(text)
    return ast.Module(body=[], type_ignores=[])
