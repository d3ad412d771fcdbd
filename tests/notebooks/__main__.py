"""Run every lesson and solution once, and compare the outputs that are tagged.

    python -m tests.notebooks [more options of pytest]

Apart from pyproject.toml, whose runs collect no notebooks: notebooks run side by side,
each in one process (`loadfile`), with the guards of `nbval_guard`.
"""

import os
import sys
import tempfile

import pytest

OPTIONS = [
    "-o",
    "addopts=",
    "-p",
    "tests.notebooks.nbval_guard",
    "--nbval-lax",
    "--nbval-current-env",
    "--nbval-cell-timeout=50",
    "--nbval-sanitize-with=tests/notebooks/sanitize.cfg",
    "-n",
    "2",
    "--dist",
    "loadfile",
]


def main() -> int:
    """Run them with an empty progress, one torch thread each."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as progress:
        os.environ["MLOPT_PROGRESS"] = progress
        return int(pytest.main([*OPTIONS, *sys.argv[1:], "lessons", "solutions"]))


if __name__ == "__main__":
    sys.exit(main())
