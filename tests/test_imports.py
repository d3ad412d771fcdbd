"""Who may import whom: contracts over the sources, and what an import really loads."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def loads_beyond_torch(module):
    """Import a module where torch is already loaded; return the packages that adds."""
    program = f"""
import json, sys
import torch
before = set(sys.modules)
import {module}
added = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(json.dumps(sorted(added - sys.stdlib_module_names)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'kernels'}"},
        check=True,
    )
    return json.loads(done.stdout)


def test_topics_load_torch_and_nothing_heavier():
    topics = "mlopt_edu.optim, mlopt_edu.parallel"
    assert loads_beyond_torch(topics) == ["mlopt_edu"]


def test_what_is_heavier_would_be_seen():
    assert "matplotlib" in loads_beyond_torch("matplotlib")


def lint_imports(folder):
    """Hold the contracts of pyproject.toml against the packages in a folder."""
    program = (
        "import sys; from importlinter.cli import lint_imports; "
        "sys.exit(lint_imports(config_filename=sys.argv[1], no_cache=True))"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(ROOT / "pyproject.toml")],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{folder / 'kernels'}"},
        check=False,
    )


def test_contracts_are_kept():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("mlopt_edu/optim/sgd.py", "matplotlib"),
        ("mlopt_edu/optim/sgd.py", "mlopt_edu.datasets"),
        ("mlopt_edu/datasets/images.py", "sklearn"),
        ("mlopt_edu/plots/curves.py", "mlopt_edu.optim"),
        ("mlopt_edu/checks/__init__.py", "mlopt_edu.plots"),
        ("mlopt_edu/grading/__init__.py", "mlopt_edu.optim"),
        ("mlopt_edu/widgets/__init__.py", "mlopt_edu.checks"),
        ("mlopt_edu/cli.py", "mlopt_edu.widgets"),
        ("kernels/mlopt_kernels/vector_add.py", "mlopt_edu.optim"),
        ("mlopt_edu/optim/sgd.py", "mlopt_kernels"),
    ],
)
def test_a_forbidden_import_breaks_a_contract(tmp_path, importer, imported):
    for package in ("mlopt_edu", "kernels/mlopt_kernels"):
        for source in (ROOT / package).rglob("*.py"):
            target = tmp_path / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    with (tmp_path / importer).open("a") as file:
        file.write(f"\nimport {imported}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 broken" in done.stdout or "2 broken" in done.stdout
