"""Fuzz the readers with atheris, which follows the branches of what it runs.

    pip install atheris
    python -m tests.grading.fuzz_notebook -max_total_time=60 -max_len=8000

Not part of the tests: it runs until it is stopped or finds something. Each input is
read as a notebook, a script, a zip and a tar; every reading must end with an answer or
with one sentence. Whatever else is raised is a finding, and atheris keeps the input.
"""

import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(
    include=["mlopt_edu.grading", "json", "zipfile", "tarfile"]
):
    from mlopt_edu.grading.extract import extract
    from mlopt_edu.grading.submissions import content, find
    from mlopt_edu.grading.untrusted import UnreadableError

from mlopt_edu.grading.exercise import Exercise
from mlopt_edu.grading.release import build
from tests.grading.conftest import STEM, make_solution, make_tasks

TASKS = make_tasks()
EXERCISE = Exercise.from_notebook(STEM, build(make_solution(), TASKS), TASKS)
CORPUS = Path(__file__).parent / "submissions"
FOLDER = Path(tempfile.mkdtemp())


def sentence(error: ValueError) -> None:
    """Check that a refusal is one sentence for a person."""
    assert 10 < len(str(error)) < 400, error
    assert "\n" not in str(error), error


def check(data: bytes, *, is_script: bool) -> None:
    """Read the bytes as a file of a learner."""
    try:
        submission = extract(data, [EXERCISE], is_script=is_script)
    except UnreadableError as error:
        sentence(error)
        return
    for answer in submission.answers.values():
        assert len(answer.encode()) < 100_000


def check_archive(data: bytes, name: str) -> None:
    """Read the bytes as an archive of a class."""
    path = FOLDER / name
    path.write_bytes(data)
    try:
        found = find(path)
    except ValueError as error:
        sentence(error)
        return
    assert len({one.label.casefold() for one in found}) == len(found)
    for one in found:
        assert one.student
        try:
            content(one)
        except UnreadableError as error:
            sentence(error)


def test_one_input(data: bytes) -> None:
    """Read one input in the way that its first byte says."""
    kind, rest = data[:1], data[1:]
    if kind < b"\x60":
        check(rest, is_script=False)
    elif kind < b"\xa0":
        check(rest, is_script=True)
    else:
        check_archive(rest, "x.zip" if kind < b"\xd0" else "x.tar")


def main() -> None:
    """Fuzz from the corpus of real files."""
    warnings.simplefilter("ignore")
    seeds = FOLDER / "seeds"
    seeds.mkdir()
    for path in CORPUS.glob("*.txt"):
        kind = b"\x80" if path.stem.endswith(".py") else b"\x00"
        (seeds / path.name).write_bytes(kind + path.read_bytes())
    (FOLDER / "class").mkdir()
    shutil.copy(CORPUS / "colab.ipynb.txt", FOLDER / "class" / "ada.ipynb")
    for kind, form in ((b"\xb0", "zip"), (b"\xe0", "tar")):
        packed = shutil.make_archive(str(FOLDER / "x"), form, FOLDER / "class")
        (seeds / form).write_bytes(kind + Path(packed).read_bytes())
    atheris.Setup([*sys.argv, str(seeds)], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
