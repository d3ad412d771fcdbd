"""The commands of an instructor: grade a class, keep its gradebook, look at it.

As in `cli`, every command imports what it needs when it runs.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlopt_edu.grading.gradebook import Gradebook, Policies

FAILED = 1

Add = Callable[..., argparse.ArgumentParser]


def add_commands(command: Add) -> None:
    """Add `grade`, `report`, `leaderboard`, `hidden` and `gradebook`.

    Args:
        command: Adds a command of this name, summary and function to a parser.
    """
    _add_grade(command(_grade, "grade", "grade a folder of submissions"))
    sub = command(_report, "report", "write a report on each exercise of a class")
    sub.add_argument("results", type=Path, metavar="RESULTS", help="what grade wrote")
    sub = command(_leaderboard, "leaderboard", "rank models that a class handed in")
    sub.add_argument("results", type=Path, metavar="RESULTS", help="what grade wrote")
    sub.add_argument("--task", required=True, metavar="NAME")
    sub.add_argument(
        "--by", default="accuracy", choices=("accuracy", "bytes", "macs"),
        help="what ranks (%(default)s)",
    )  # fmt: skip
    names = "real names in place of pseudonyms"
    sub.add_argument("--names", action="store_true", help=names)
    sub = command(_hidden, "hidden", "prove a folder of hidden checks")
    sub.add_argument("folder", type=Path, metavar="FOLDER")
    sub = command(None, "gradebook", "keep and export the grades of a course")
    _add_gradebook(sub)


def _add_grade(sub: argparse.ArgumentParser) -> None:
    def option(name: str, kind: type, metavar: str, text: str, default: Any) -> None:
        sub.add_argument(name, type=kind, metavar=metavar, help=text, default=default)

    sub.add_argument(
        "folder", type=Path, metavar="FOLDER", help="or an archive, as a system exports"
    )
    option("--out", Path, "DIR", "where results go (FOLDER/graded)", None)
    option("--seed", int, "N", "seed of the hidden cases (random)", None)
    option("--hidden", Path, "DIR", "your folder of hidden checks and seed", None)
    option("--students", Path, "FILE", "names and times as CSV", None)
    option("--note", Path, "FILE", "text for the end of each student's page", None)
    time = "time limit for one submission (%(default)s)"
    option("--seconds", float, "S", time, 60.0)
    memory = "memory limit for one submission (%(default)s)"
    option("--memory", int, "MB", memory, 2048)
    option("--workers", int, "N", "processes that grade (one a core)", None)
    scheduler = "Dask cluster that grades (tcp://HOST:PORT)"
    option("--scheduler", str, "URL", scheduler, None)
    isolation = "bubblewrap, landlock or limits (the strongest)"
    option("--isolation", str, "NAME", isolation, None)
    sub.add_argument(
        "--allow-weak-isolation",
        action="store_true",
        help="go on where a submission could reach your files",
    )


def _grade(options: argparse.Namespace) -> int:
    from mlopt_edu.grading.grade import grade_folder

    note = options.note.read_text(encoding="utf-8") if options.note else ""
    try:
        out = grade_folder(
            options.folder,
            out=options.out,
            seed=options.seed,
            hidden=options.hidden,
            students=options.students,
            note=note,
            seconds=options.seconds,
            memory_mb=options.memory,
            workers=options.workers,
            scheduler=options.scheduler,
            isolation=options.isolation,
            allow_weak_isolation=options.allow_weak_isolation,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on where it was") from None
    print(f"The class is in {out / 'class.csv'}; pages are in {out / 'results'}.")
    return 0


def _report(options: argparse.Namespace) -> int:
    from mlopt_edu.grading.report import write_reports

    for path in write_reports(options.results):
        print(f"A report is in {path}.")
    return 0


def _leaderboard(options: argparse.Namespace) -> int:
    from mlopt_edu.grading.leaderboard_page import write_leaderboard

    path = write_leaderboard(
        options.results, options.task, by=options.by, real_names=options.names
    )
    print(f"The leaderboard is in {path}.")
    return 0


def _hidden(options: argparse.Namespace) -> int:
    from mlopt_edu.grading.hidden_faults import check_hidden

    problems = check_hidden(options.folder)
    if not problems:
        print("The hidden checks hold.")
    return _told(problems)


def _told(sentences: list[str]) -> int:
    for sentence in sentences:
        print(sentence)
    return FAILED if sentences else 0


# The gradebook.


def _add_gradebook(sub: argparse.ArgumentParser) -> None:
    commands = sub.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(
        parent: Any, run: Callable[[argparse.Namespace], int], name: str, summary: str
    ) -> argparse.ArgumentParser:
        one: argparse.ArgumentParser = parent.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            allow_abbrev=False,
        )
        one.set_defaults(run=run)
        one.add_argument(
            "--book",
            default="gradebook.sqlite",
            metavar="FILE",
            help="or the URL of a database (%(default)s)",
        )
        return one

    one = add(commands, _record, "record", "take over the results of a graded class")
    one.add_argument("results", type=Path, metavar="RESULTS")
    one.add_argument("--why", default="graded again", help="reason of what changes")
    one.add_argument("--by", default="", metavar="NAME", help="who does it (you)")

    one = add(commands, _regrade, "regrade", "replace the scores of one task")
    one.add_argument("results", type=Path, metavar="RESULTS", help="the new results")
    one.add_argument("--task", required=True, metavar="NAME")
    one.add_argument("--why", required=True, metavar="TEXT", help="kept in the history")
    one.add_argument("--by", default="", metavar="NAME", help="who does it (you)")

    one = add(commands, _history, "history", "tell what changed, when, by whom, why")
    one.add_argument("--student", metavar="NAME", help="of one student only")

    kinds = commands.add_parser(
        "export",
        help="write the grades for other systems",
        description="Write the grades for other systems.",
    ).add_subparsers(title="systems", metavar="SYSTEM", required=True)

    def export(name: str, what: str, where: str) -> argparse.ArgumentParser:
        kind = add(kinds, _EXPORTS[name], name, what)
        kind.add_argument("target", metavar=where)
        if name != "gradescope":
            kind.add_argument(
                "--policies",
                type=Path,
                metavar="FILE",
                help="attempts, due dates (TOML)",
            )
        return kind

    kind = export("csv", "a table for a spreadsheet", "FILE")
    kind.add_argument(
        "--details", action="store_true", help="one row a student and exercise"
    )
    kind = export("canvas", "a gradebook for Canvas", "FILE")
    kind.add_argument("--fill", type=Path, metavar="FILE", help="what Canvas exported")
    kind.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="STEM=HEADER",
        help="its column for an exercise; may be given again",
    )
    kind = export("moodle", "the grading worksheet of Moodle, filled in", "FILE")
    kind.add_argument("--worksheet", type=Path, required=True, metavar="FILE")
    kind.add_argument("--exercise", required=True, metavar="STEM")
    export("gradescope", "results.json for each submission", "DIR")
    kind = export("nbgrader", "the gradebook of nbgrader", "URL")
    kind.add_argument("--course", default="default_course", metavar="ID")


@contextmanager
def _book(options: argparse.Namespace, *, new: bool = False) -> "Iterator[Gradebook]":
    from mlopt_edu.grading.gradebook import Gradebook

    if not new and "://" not in options.book and not Path(options.book).is_file():
        raise FileNotFoundError(
            f"there is no gradebook {options.book}; mlopt gradebook record makes one"
        )
    is_url = "://" in options.book
    book = Gradebook(options.book if is_url else Path(options.book))
    try:
        yield book
    finally:
        book.close()


def _record(options: argparse.Namespace) -> int:
    from mlopt_edu.grading.gradebook import record_class

    with _book(options, new=True) as book:
        done = record_class(book, options.results, why=options.why, by=options.by)
    print(done)
    return _told(list(done.problems))


def _regrade(options: argparse.Namespace) -> int:
    from mlopt_edu.grading.gradebook import regrade

    with _book(options) as book:
        done = regrade(
            book, options.results, task=options.task, why=options.why, by=options.by
        )
    print(done)
    return _told(list(done.problems))


def _history(options: argparse.Namespace) -> int:
    from mlopt_edu.grading.gradebook import history

    with _book(options) as book:
        for change in history(book, student=options.student):
            print(change)
    return 0


def _policies(options: argparse.Namespace, book: "Gradebook") -> "Policies | None":
    """Read the policies, and say whose extensions are nobody's."""
    from mlopt_edu.grading.gradebook import read_policies
    from mlopt_edu.grading.gradebook.read import unknown_students

    if not options.policies:
        return None
    policies = read_policies(options.policies)
    for stem, policy in policies.by_exercise.items():
        for sentence in unknown_students(book, policy.extensions):
            print(f"An extension of {stem}: {sentence}")
    return policies


def _csv(options: argparse.Namespace) -> int:
    from mlopt_edu.grading.gradebook.export_csv import write_csv

    with _book(options) as book:
        write_csv(
            book,
            Path(options.target),
            policies=_policies(options, book),
            details=options.details,
        )
    return 0


def _canvas(options: argparse.Namespace) -> int:
    from mlopt_edu.grading.gradebook.export_canvas import write_canvas

    pairs = [text.partition("=") for text in options.column]
    with _book(options) as book:
        problems = write_canvas(
            book,
            Path(options.target),
            exported=options.fill,
            columns={stem: header for stem, _, header in pairs},
            policies=_policies(options, book),
        )
    return _told(problems)


def _moodle(options: argparse.Namespace) -> int:
    from mlopt_edu.grading.gradebook.export_moodle import write_moodle

    with _book(options) as book:
        problems = write_moodle(
            book,
            Path(options.target),
            worksheet=options.worksheet,
            exercise=options.exercise,
            policies=_policies(options, book),
        )
    return _told(problems)


def _gradescope(options: argparse.Namespace) -> int:
    from mlopt_edu.grading.gradebook.export_gradescope import write_gradescope

    with _book(options) as book:
        files = write_gradescope(book, Path(options.target))
    print(f"{len(files)} files are in {options.target}.")
    return 0


def _nbgrader(options: argparse.Namespace) -> int:
    from mlopt_edu.grading.gradebook.export_nbgrader import write_nbgrader

    with _book(options) as book:
        count = write_nbgrader(
            book,
            options.target,
            course=options.course,
            policies=_policies(options, book),
        )
    print(f"{count} grades are in {options.target}.")
    return 0


_EXPORTS: dict[str, Callable[[argparse.Namespace], int]] = {
    "csv": _csv,
    "canvas": _canvas,
    "moodle": _moodle,
    "gradescope": _gradescope,
    "nbgrader": _nbgrader,
}
