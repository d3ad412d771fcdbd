import subprocess
import sys
from types import SimpleNamespace

import pytest

from mlopt_edu import doctor


def torch_with(*, gpu=None, cuda=None):
    """Stand for a torch build: the only part of a machine that a test cannot have."""
    return SimpleNamespace(
        version=SimpleNamespace(cuda=cuda),
        cuda=SimpleNamespace(
            is_available=lambda: gpu is not None,
            get_device_properties=lambda index: gpu,
        ),
    )


def without(monkeypatch, *names):
    """Make packages look as if they were not installed."""
    real = doctor.find_spec
    monkeypatch.setattr(
        doctor, "find_spec", lambda name: None if name in names else real(name)
    )


def finding(name):
    return next(found for found in doctor.diagnose() if found.name == name)


def test_this_machine_can_run_the_lessons():
    findings = doctor.diagnose()
    assert doctor.lessons_can_run(findings)
    assert len(findings) == len({found.name for found in findings})


def test_the_versions_are_those_installed():
    import numpy as np
    import torch

    assert finding("torch").sentence == f"{torch.__version__}."
    assert finding("NumPy").sentence == f"{np.__version__}."


@pytest.mark.parametrize(
    ("package", "name", "advice"),
    [
        ("numpy", "NumPy", "pip install numpy"),
        ("torch", "torch", "pip install torch"),
        ("jupyterlab", "Notebooks", 'pip install "mlopt-edu[widgets]"'),
        ("anywidget", "Notebooks", 'pip install "mlopt-edu[widgets]"'),
        ("matplotlib", "Notebooks", 'pip install "mlopt-edu[widgets]"'),
    ],
)
def test_essential_and_missing(monkeypatch, package, name, advice):
    without(monkeypatch, package)
    found = finding(name)
    assert not found.ok
    assert found.sentence.startswith("Missing")
    assert advice in found.sentence
    assert not doctor.lessons_can_run([found])


@pytest.mark.parametrize(
    ("package", "name"), [("nbformat", "Grading"), ("triton", "Triton")]
)
def test_missing_and_not_essential(monkeypatch, package, name):
    without(monkeypatch, package)
    found = finding(name)
    assert not found.ok
    assert "without" in found.sentence
    assert doctor.lessons_can_run([found])


def test_the_missing_packages_are_named(monkeypatch):
    without(monkeypatch, "anywidget", "matplotlib")
    assert "Missing: anywidget, matplotlib." in finding("Notebooks").sentence


def test_a_package_that_breaks_on_import(monkeypatch, tmp_path):
    (tmp_path / "torch_broken.py").write_text(
        "raise OSError('libcudart.so.13: cannot open shared object file\\ntrace')",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    module, problem = doctor._import("torch_broken")
    assert module is None
    assert problem == (
        "Installed, but cannot be imported "
        "(libcudart.so.13: cannot open shared object file)."
    )


def test_python_too_old(monkeypatch):
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (99, 1))
    found = finding("Python")
    assert not found.ok
    assert "needs 99.1 or newer" in found.sentence


@pytest.mark.parametrize(
    ("torch", "driver", "ok", "words"),
    [
        (None, False, False, "because torch is missing"),
        (torch_with(), False, False, "No CUDA GPU"),
        (torch_with(), True, False, "CPU build"),
        (torch_with(cuda="13.0"), True, False, "torch for CUDA 13.0 cannot use it"),
        (
            torch_with(
                cuda="13.0", gpu=SimpleNamespace(name="H100", total_memory=80e9)
            ),
            True,
            True,
            "H100, 80 GB.",
        ),
    ],
)
def test_gpu(monkeypatch, torch, driver, ok, words):
    monkeypatch.setattr(
        doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi" if driver else None
    )
    found = doctor._gpu(torch)
    assert (ok, True) == (found.ok, words in found.sentence)
    assert ok or "runs on the CPU" in found.sentence


@pytest.mark.parametrize(
    ("on_gpu", "where"), [(True, "on the GPU"), (False, "interpreter, on the CPU")]
)
def test_triton_says_where_kernels_run(monkeypatch, on_gpu, where):
    monkeypatch.setattr(doctor, "find_spec", lambda name: object())
    assert where in doctor._triton(on_gpu=on_gpu).sentence


def test_triton_where_there_is_none(monkeypatch):
    without(monkeypatch, "triton")
    monkeypatch.setattr(doctor.sys, "platform", "win32")
    assert "pip install" not in doctor._triton(on_gpu=False).sentence


def test_a_full_disk(monkeypatch):
    monkeypatch.setattr(
        doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=2e8)
    )
    found = doctor._disk()
    assert not found.ok
    assert found.sentence.startswith("0.2 GB free here. Have 1 GB")


def test_memory_is_what_the_container_allows(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(doctor, "_CGROUP_MEMORY_LIMITS", (limit,))
    whole = doctor._memory()
    limit.write_text("max\n", encoding="utf-8")
    assert whole == doctor._memory()
    limit.write_text("500000000\n", encoding="utf-8")
    assert doctor._memory() == 0.5
    assert not doctor._machine().ok


def test_unknown_memory_is_no_fault(monkeypatch):
    monkeypatch.setattr(doctor, "_memory", lambda: None)
    assert doctor._machine().ok


def test_it_works_where_nothing_is_installed():
    # -S leaves out site-packages: there is the standard library and the checkout.
    root = str(doctor.Path(doctor.__file__).parents[1])
    code = (
        f"import sys; sys.path.insert(0, {root!r}); "
        "from mlopt_edu.cli import main; sys.exit(main(['doctor']))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "MISSING  torch" in done.stdout
    assert "MISSING  Notebooks" in done.stdout
    assert "The lessons cannot run yet" in done.stdout
