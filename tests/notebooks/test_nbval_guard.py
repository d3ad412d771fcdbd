"""Run nbval on small notebooks, each with one fault, and see each guard fire."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
CHECKED = {"tags": ["nbval-check-output"]}
SECONDS = 2  # time limit of a cell


def cell(
    source: str, *, output: str | None = None, count: int | None = 1, **metadata: object
) -> nbformat.NotebookNode:
    made = nbformat.v4.new_code_cell(source, metadata=metadata)
    if output is not None:
        made.outputs = [nbformat.v4.new_output("stream", name="stdout", text=output)]
        made.execution_count = count
    return made


GOOD = cell("print(1 + 1)", output="2\n", **CHECKED)
REST = [cell("x = 1") for _ in range(10)]
DEAF = "while True:\n    try:\n        print('a')\n    except BaseException: pass"
TIMED = cell(
    "print(object(), '12.5 ms')",
    output="<object object at 0x7f0000000000> 99 ms\n",
    **CHECKED,
)
NOTEBOOKS = {
    "good": [cell("x = 1"), GOOD, TIMED],
    "changed": [cell("print(1 + 1)", output="3\n", **CHECKED), *REST],
    "stripped": [GOOD, cell("print(2)", **CHECKED)],
    "uncounted": [GOOD, cell("print(2)", output="2\n", count=None, **CHECKED)],
    "nothing": [cell("print(2)")],
    "endless": [GOOD, cell("while True: pass"), *REST],
    "deaf": [GOOD, cell(DEAF), *REST],
    "dead": [GOOD, cell("import os; os._exit(1)"), *REST],
}


@dataclass(frozen=True)
class Run:
    """What a run of nbval said: its output, and an outcome for each cell."""

    text: str
    code: int
    seconds: float
    outcomes: dict[str, list[str]]


def run_nbval(folder: Path, names: list[str]) -> Run:
    """Run nbval as `make test` does, on some of the notebooks."""
    for name in names:
        notebook = nbformat.v4.new_notebook(cells=NOTEBOOKS[name])
        nbformat.write(notebook, folder / f"{name}.ipynb")
    xml = folder / "result.xml"
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-W", "error"]
    command += ["-p", "tests.notebooks.nbval_guard", "--nbval-lax"]
    command += ["--nbval-current-env", f"--nbval-cell-timeout={SECONDS}"]
    command += ["--nbval-sanitize-with=tests/notebooks/sanitize.cfg"]
    command += ["-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile"]
    start = time.monotonic()
    done = subprocess.run(
        [*command, f"--junitxml={xml}", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "200", "IPYTHONDIR": str(folder / ".ipython")},
    )
    outcomes: dict[str, list[str]] = {name: [] for name in names}
    for case in ElementTree.parse(xml).iter("testcase"):
        name = next(n for n in names if n in case.attrib["classname"].split("."))
        found = [f"{part.tag}: {part.attrib.get('message')}" for part in case]
        found = [one for one in found if not one.startswith("properties")]
        outcomes[name].append(found[0] if found else "passed")
    seconds = time.monotonic() - start
    return Run(done.stdout + done.stderr, done.returncode, seconds, outcomes)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_nbval(tmp_path_factory.mktemp("faulty"), list(NOTEBOOKS))


def test_the_run_fails_in_time_and_says_what_was_compared(run: Run) -> None:
    assert run.code == 1, run.text
    assert "nbval compared 7 outputs in 6 notebooks" in run.text
    # Waiting the limit in each cell after a dead or endless one would take longer.
    assert run.seconds < 2 * SECONDS * len(REST) + 60


def test_a_good_notebook_passes_and_times_are_not_compared(run: Run) -> None:
    assert run.outcomes["good"] == ["passed"] * 3


@pytest.mark.parametrize(
    ("name", "position", "sentence"),
    [
        ("changed", 0, "Cell outputs differ"),
        ("stripped", 1, "has no output to compare with"),
        ("uncounted", 1, "has no output to compare with"),
        ("nothing", 0, "this notebook compares nothing"),
        ("endless", 1, "Timeout of 2 seconds exceeded"),
        ("deaf", 1, "Timeout of 2 seconds exceeded"),
        ("dead", 1, "the kernel died in this cell"),
    ],
)
def test_a_fault_fails_once_and_the_rest_is_skipped(
    run: Run, name: str, position: int, sentence: str
) -> None:
    before, fault = run.outcomes[name][:position], run.outcomes[name][position]
    assert before == ["passed"] * position
    assert fault.startswith("failure")
    assert sentence in fault
    rest = run.outcomes[name][position + 1 :]
    assert len(rest) == len(NOTEBOOKS[name]) - position - 1
    assert all("an earlier cell of this notebook failed" in one for one in rest)
