"""The answer process: runs what a learner wrote, and nothing else.

Run as a script, in a folder of its own. Requests come as lines of JSON on standard
input, replies go out on what was standard output: both are moved to private places
first, and the learner's code prints into nothing. It holds no reference, no mistake,
no seed and no points: it gets inputs and returns values (`wire`).

The script loads its two neighbours by path, because importing `mlopt_edu.checks`
would bring every reference into its memory.
"""

import ast
import contextlib
import importlib.util
import json
import linecache
import os
import sys
import types
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
MAX_FILE = 16 * 2**20  # bytes of any file that an answer writes


def load(name: str, path: Path) -> types.ModuleType:
    """Import one file without the package around it."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


wire = load("_mlopt_wire", HERE / "wire.py")
engine = load("_mlopt_answer", HERE.parent / "checks" / "_answer.py")


def limit(memory_mb: int, cpu_seconds: int) -> None:
    """Bound this process and its children for good."""
    import resource

    for what, most in (
        (resource.RLIMIT_AS, memory_mb * 2**20),
        (resource.RLIMIT_DATA, memory_mb * 2**20),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, MAX_FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        # A system without this bound is still bounded in wall time by the driver.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


def plain_python(source: str) -> ast.Module:
    """Parse a cell without what only a notebook understands.

    Lines of IPython (`%timeit`, `!ls`) do nothing here, nor do imports of the checks.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        lines = source.splitlines()
        tree = ast.parse("\n".join(_without_magic(line) for line in lines))
    tree.body = [node for node in tree.body if not _imports_checks(node)]
    return tree


def _without_magic(line: str) -> str:
    text = line.lstrip()
    return line[: len(line) - len(text)] + "pass" if text[:1] in ("%", "!") else line


def _imports_checks(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").startswith("mlopt_edu.checks")
    return isinstance(node, ast.Import) and all(
        alias.name.startswith("mlopt_edu.checks") for alias in node.names
    )


def describe(error: BaseException) -> str:
    """Return what an exception says, if saying it does not raise another."""
    try:
        return " ".join(str(error).split())[:200]
    except BaseException:
        return ""


class Notebook:
    """The namespace in which setup and answers are executed, as a kernel has one."""

    def __init__(self) -> None:
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self.names = vars(module)
        # A learner may leave a call of `check` in an answer: it does nothing here.
        self.names["check"] = lambda *args, **options: None

    def execute(self, label: str, source: str) -> dict[str, str]:
        """Execute a cell; say how it ended."""
        filename = f"<{label}>"
        lines = source.splitlines(keepends=True)
        linecache.cache[filename] = (len(source), None, lines, filename)
        try:
            exec(compile(plain_python(source), filename, "exec"), self.names)
        except NotImplementedError:
            return {"status": "blank", "error": "it is not written yet"}
        except SyntaxError as error:
            where = f" in line {error.lineno}" if error.lineno else ""
            text = f"its cell has a syntax error{where}: {error.msg}"
            return {"status": "missing", "error": text[:400]}
        except BaseException as error:  # sys.exit() ends a cell, not the process
            detail = describe(error)
            text = f"its cell raised {type(error).__name__}"
            return {"status": "missing", "error": f"{text}: {detail}".rstrip(": ")}
        return {"status": "returned", "error": ""}

    def answer(
        self, name: str, is_value: bool, inputs: Any, seconds: float
    ) -> dict[str, Any]:
        """Answer one case."""
        if name not in self.names:
            return {"status": "missing", "error": f"its cell does not define {name!r}"}
        value = self.names[name]
        if is_value:
            answer = engine.Answer(value)
        else:
            answer = engine.answer_case(value, wire.decode(inputs), seconds=seconds)
        try:
            encoded = wire.encode(answer.value)
        except wire.WireError as error:
            return {"status": "raised", "error": f"its result is too large: {error}"}
        return {
            "status": answer.status,
            "error": answer.error,
            "value": encoded,
            "mutated": list(answer.mutated),
            "printed": answer.printed,
        }


def serve(requests: Any, replies: Any) -> NoReturn:
    """Answer one request after another until there is none."""
    notebook, own = Notebook(), os.getpid()
    for line in requests:
        request = json.loads(line)
        task = request["do"]
        try:
            if task == "limit":
                limit(request["memory_mb"], request["cpu_seconds"])
                reply: dict[str, Any] = {"status": "returned", "error": ""}
            elif task == "execute":
                reply = notebook.execute(request["name"], request["source"])
            else:
                reply = notebook.answer(
                    request["name"],
                    request["is_value"],
                    request["inputs"],
                    request["seconds"],
                )
            text = json.dumps({**reply, "n": request["n"]})
        except MemoryError:
            error = "it used more memory than it may"
            text = json.dumps({"status": "raised", "error": error, "n": request["n"]})
        if os.getpid() != own:
            os._exit(0)  # a child that the answer forked does not speak for it
        replies.write(text.encode() + b"\n")
        replies.flush()
    os._exit(0)  # without waiting for threads that an answer left behind


def main() -> NoReturn:
    """Move the pipes away from standard input and output, then serve."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    # Setup cells may import the course; its checks are not for answers to call.
    sys.path.append(str(HERE.parent.parent))
    for private in ("mlopt_edu.checks", "mlopt_edu.grading"):
        sys.modules[private] = None  # type: ignore[assignment]
    serve(requests, replies)


if __name__ == "__main__":
    main()
