"""Find names in a program that its task asks the learner not to use.

A reminder, not a lock: a learner who hides the name cheats no one but themselves.
"""

import ast
from collections.abc import Sequence


def forbidden_name(source: str, forbid: Sequence[str]) -> str:
    """Return the first forbidden dotted name that a program uses, or "".

    A name that begins with a dot forbids a method, whatever it is called on.

    Example:
        >>> forbidden_name("from torch import optim as o", ["torch.optim"])
        'torch.optim'
        >>> forbidden_name("tensor(x).bfloat16().float()", [".bfloat16"])
        '.bfloat16'
    """
    # Most programs have not even the word in them; Python reads some letters as others.
    words = [bad.rpartition(".")[2] for bad in forbid]
    if source.isascii() and not any(word in source for word in words):
        return ""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    imported: dict[str, str] = {}  # the name used here, and what it stands for
    for node in nodes:
        if isinstance(node, ast.Import):
            imported |= {a.asname or a.name: a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            for a in node.names:
                imported[a.asname or a.name] = f"{node.module}.{a.name}"
    names = list(imported.values())
    for node in nodes:
        if isinstance(node, ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            names.append(f"{imported.get(first, first)}.{rest}")
    for name in names:
        for bad in forbid:
            if name == bad or name.startswith(bad + "."):
                return bad
            if bad.startswith(".") and name.endswith(bad):
                return bad
    return ""
