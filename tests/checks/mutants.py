"""Wrong programs made by machine: every reference with one small thing changed.

A check that accepts one of these accepts a wrong answer, unless the change makes no
difference: those are listed, with the reason, in `EQUIVALENT`.

    python -m tests.checks.mutants      prints the score of every task
"""

import ast
import copy
import functools
import importlib
import inspect
import pkgutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlopt_edu.checks import Task, tasks
from mlopt_edu.checks._answer import answer_cases
from mlopt_edu.checks._check import PUBLIC_SEED, check_answer
from mlopt_edu.checks._judge import judge
from mlopt_edu.checks._key import AnswerKey
from tests.checks import equivalents

# (task, mutant): why no check can tell it from a right answer. A file an exercise.
EQUIVALENT: dict[tuple[str, str], str] = {
    key: reason
    for module in pkgutil.iter_modules(equivalents.__path__)
    for key, reason in importlib.import_module(
        f"{equivalents.__name__}.{module.name}"
    ).EQUIVALENT.items()
}

_BINARY = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.FloorDiv: (ast.Div,),
}
_COMPARE = {
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}
_SAME_VALUE = ("float", "np.array", "np.asarray")  # another type, the same numbers
_METHODS = {"max": "min", "min": "max", "mean": "sum", "sum": "mean"}


@dataclass(frozen=True)
class Mutant:
    """A changed program and what was changed."""

    change: str
    program: Callable[..., Any]


def mutants(task: Task) -> Iterator[Mutant]:
    """Yield every mutant of a task's reference that is a program at all."""
    source = textwrap.dedent(inspect.getsource(task.reference))
    tree = ast.parse(source)
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    names = [argument.arg for argument in function.args.args]
    body = function.body[1:] if ast.get_docstring(function) else function.body
    seen = {ast.unparse(tree)}
    for statement in body:
        for node in ast.walk(statement):
            for new in _changes(node, names):
                text = _replaced(tree, node, new)
                if text in seen:
                    continue
                seen.add(text)
                change = f"{ast.unparse(node)} -> {ast.unparse(new)}"
                yield Mutant(change, _compiled(text, task.reference))


def _changes(node: ast.AST, names: list[str]) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp):
        for operator in _BINARY.get(type(node.op), ()):
            yield ast.BinOp(node.left, operator(), node.right)
        if not isinstance(node.op, (ast.Add, ast.Mult)):  # these two commute
            yield ast.BinOp(node.right, node.op, node.left)
        yield node.left
        yield node.right
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for operator in _COMPARE.get(type(node.ops[0]), ()):
            yield ast.Compare(node.left, [operator()], node.comparators)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        for value in (node.value + 1, node.value - 1, 2 * node.value):
            yield ast.Constant(value)
    elif isinstance(node, ast.Call):
        renamed = ast.unparse(node.func) in _SAME_VALUE
        if len(node.args) == 1 and not node.keywords and not renamed:
            yield node.args[0]
        if len(node.args) > 1:
            yield ast.Call(
                node.func, [*node.args[1::-1], *node.args[2:]], node.keywords
            )
        if isinstance(node.func, ast.Attribute) and not node.args:
            yield node.func.value
    elif isinstance(node, ast.Attribute):
        if node.attr in _METHODS:
            yield ast.Attribute(node.value, _METHODS[node.attr], node.ctx)
        if node.attr == "T":
            yield node.value
    elif isinstance(node, ast.Name) and node.id in names:
        yield from (ast.Name(name, node.ctx) for name in names if name != node.id)


def _replaced(tree: ast.Module, old: ast.AST, new: ast.AST) -> str:
    """Return the program with `new` in the place of `old`; the tree stays as it is."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
                text = ast.unparse(tree)
                setattr(parent, field, old)
                return text
            if isinstance(value, list) and any(item is old for item in value):
                place = [item is old for item in value].index(True)
                value[place] = new
                text = ast.unparse(tree)
                value[place] = old
                return text
    raise ValueError(f"{ast.unparse(old)} must be a part of the tree")


def _compiled(text: str, reference: Callable[..., Any]) -> Callable[..., Any]:
    namespace = dict(vars(inspect.getmodule(reference)))  # type: ignore[arg-type]
    exec(compile(text, "<mutant>", "exec"), namespace)
    program: Callable[..., Any] = namespace[reference.__name__]
    return program


@functools.cache  # two tests ask, and each answer takes seconds
def survivors(task: Task) -> tuple[list[str], int]:
    """Return the mutants that pass the check, and how many there were."""
    alive, total = [], 0
    nameless = copy.copy(task)  # what the fault is called does not matter here
    nameless.mistakes = []
    keys = [AnswerKey(nameless, [case]) for case in task.cases(PUBLIC_SEED)]
    for mutant in mutants(task):
        total += 1
        answer = mutant.program if not task.is_value else _value(mutant.program)
        if _is_right(answer, keys) and check_answer(task, answer).passed:
            alive.append(mutant.change)
    return alive, total


def _is_right(answer: Any, keys: list[AnswerKey]) -> bool:
    """Judge the cases one by one: a wrong program is found out by the first or so."""
    for key in keys:
        inputs = [case.inputs for case in key.cases]
        answers = answer_cases(answer, inputs, seconds=key.task.seconds)
        if not judge(key, answers).passed:
            return False
    return True


def _value(program: Callable[[], Any]) -> Any:
    try:
        with np.errstate(all="ignore"):
            return program()
    except Exception:  # a mutant that cannot run is no answer
        return None


def main() -> int:
    """Print the mutation score of every task; return 1 if a wrong one passes."""
    bad = 0
    for name, task in tasks().items():
        if task.kind == "choice":
            continue
        alive, total = survivors(task)
        wrong = [change for change in alive if (name, change) not in EQUIVALENT]
        same = len(alive) - len(wrong)
        score = f"{total - len(alive)} of {total - same} rejected"
        print(f"{task.exercise} {name}: {score}, {same} equivalent")
        for change in wrong:
            print(f"    accepted: {change}")
        bad += len(wrong)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
