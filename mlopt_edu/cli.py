"""The command `mlopt`: open the course, check an exercise, grade a class.

Every command imports what it needs when it runs, so that `mlopt doctor` and
`mlopt --help` work in a broken installation.
"""

import argparse
import difflib
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import mlopt_edu
from mlopt_edu.cli_class import add_commands

FAILED, UNUSABLE = 1, 2

_EXTRAS = {
    "anywidget": "widgets",
    "cloudpickle": "widgets",
    "ipykernel": "widgets",
    "ipywidgets": "widgets",
    "jupyterlab": "widgets",
    "matplotlib": "widgets",
    "nbformat": "grading",
    "safetensors": "grading",
    "sqlalchemy": "grading",
    "yaml": "grading",
    "distributed": "cluster",
    "triton": "kernels",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after `mlopt`; those of this process if not given.

    Returns:
        0 if all is well, 1 if what was looked at is not (a failed check, a stale
        exercise, something essential missing), 2 if the command could not be done.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # A Windows console may lack a character; that is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    parser, names = _parser()
    if not arguments:
        parser.print_help()
        return UNUSABLE
    if not arguments[0].startswith("-") and arguments[0] not in names:
        return _unusable(_no_command(arguments[0], names))
    options, rest = parser.parse_known_args(arguments)
    if options.run is _lab:
        options.arguments = rest
    elif rest:
        parser.error(f"unknown argument: {' '.join(rest)}")
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mlopt_edu"):
            raise
        return _unusable(_missing_module(error))
    except (ValueError, OSError) as error:
        return _unusable(_sentence(error))
    except KeyboardInterrupt as stop:
        return _unusable(": ".join(("stopped", *map(str, stop.args))))


def _lab(options: argparse.Namespace) -> int:
    from mlopt_edu.lab import course_to_serve, is_root, run_lab

    course_to_serve()  # what stops the server stops the announcement too
    if is_root():
        print("You are root: JupyterLab is started with --allow-root.", flush=True)
    run_lab(options.arguments)
    return 0


def _start(options: argparse.Namespace) -> int:
    from mlopt_edu.course import start_course

    course = start_course(options.directory)
    print(f"The course is in {course}. To open it:")
    if course != Path.cwd().resolve():
        print(f"    cd {_quoted(options.directory)}")
    print("    mlopt lab")
    return 0


def _progress(options: argparse.Namespace) -> int:
    from mlopt_edu.checks import progress

    print(progress())
    return 0


def _check(options: argparse.Namespace) -> int:
    from mlopt_edu.grading.grade import check_notebook

    text, passed = check_notebook(options.notebook)
    print(text)
    return 0 if passed else FAILED


def _release(options: argparse.Namespace) -> int:
    from mlopt_edu.course import checkout, find_course

    root = find_course() or checkout()
    if root is None or not (root / "solutions").is_dir():
        raise FileNotFoundError(
            "there is no solutions/ folder in this course; release needs a checkout"
        )
    from mlopt_edu.grading.release import release

    problems = release(root, check=options.check)
    for sentence in problems:
        print(sentence)
    return FAILED if problems else 0


def _doctor(options: argparse.Namespace) -> int:
    from mlopt_edu.doctor import diagnose, lessons_can_run

    findings = diagnose()
    for finding in findings:
        word = "ok" if finding.ok else "MISSING" if finding.essential else "without"
        print(f"{word:9}{finding.name:11}{finding.sentence}")
    if not lessons_can_run(findings):
        print("\nThe lessons cannot run yet: see the lines marked MISSING.")
        return FAILED
    print("\nThe lessons can run.")
    return 0


def _parser() -> tuple[argparse.ArgumentParser, list[str]]:
    """Return the parser and the names of the commands."""
    parser = argparse.ArgumentParser(
        prog="mlopt",
        description="Learn how deep-learning models are made faster and smaller.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"mlopt-edu {mlopt_edu.__version__}"
    )
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )

    def command(
        run: Callable[[argparse.Namespace], int] | None, name: str, summary: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            allow_abbrev=False,
        )
        sub.set_defaults(run=run)
        return sub

    sub = command(_lab, "lab", "open the course in JupyterLab")
    sub.usage = "mlopt lab [JUPYTERLAB OPTIONS]"
    sub.epilog = "Options go to JupyterLab, for example --no-browser or --port=8899."

    sub = command(_start, "start", "copy the course into a new folder")
    sub.add_argument("directory", type=Path, metavar="DIR", help="new or empty folder")

    command(_progress, "progress", "show the points earned in this course folder")

    sub = command(_check, "check", "check the answers in one exercise notebook")
    sub.add_argument("notebook", type=Path, metavar="NOTEBOOK")

    sub = command(_release, "release", "build exercises/ from solutions/")
    sub.add_argument(
        "--check", action="store_true", help="only tell what is stale or leaks"
    )

    add_commands(command)

    command(_doctor, "doctor", "tell what is missing here and what works without it")
    return parser, list(commands.choices)


def _no_command(word: str, names: list[str]) -> str:
    if word in ("record", "regrade", "history", "export"):
        return f"there is no command {word!r}; did you mean 'gradebook {word}'?"
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    return f"there is no command {word!r}; {advice}"


def _missing_module(error: ModuleNotFoundError) -> str:
    name = (error.name or "").partition(".")[0]
    if name in _EXTRAS:
        # Double quotes: a Windows shell would pass single ones on to pip.
        return f'{name} is not installed; pip install "mlopt-edu[{_EXTRAS[name]}]"'
    return f"{name or error} is not installed; type mlopt doctor to see what is missing"


def _quoted(path: Path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {error.filename}"
    return str(error)


def _unusable(sentence: str) -> int:
    print(f"mlopt: {sentence}", file=sys.stderr)
    return UNUSABLE


if __name__ == "__main__":
    sys.exit(main())
