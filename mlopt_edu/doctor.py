"""What is here, what is missing, and what works without it.

Only the standard library is imported at the top, because a broken installation is
just where this has to run.
"""

import importlib
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

OLDEST_PYTHON = (3, 11)
NOTEBOOK_PACKAGES = ("jupyterlab", "ipykernel", "ipywidgets", "anywidget", "matplotlib")
GRADING_PACKAGES = ("nbformat", "safetensors", "sqlalchemy")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
TESTED_CHROMIUM = "/usr/bin/chromium"  # unless MLOPT_CHROMIUM names another
ENOUGH_DISK = 1.0  # GB
ENOUGH_MEMORY = 4.0  # GB

_CGROUP_MEMORY_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        name: What was looked at, in a word or two.
        ok: Whether it is there and fit for use.
        sentence: What was seen; if not `ok`, what works without it and what to type.
        essential: Whether the lessons cannot run without it.
    """

    name: str
    ok: bool
    sentence: str
    essential: bool = False


def diagnose() -> list[Finding]:
    """Look at this machine and this installation, most important first."""
    torch, torch_finding = _torch()
    gpu = _gpu(torch)
    return [
        _python(),
        _numpy(),
        torch_finding,
        _notebooks(),
        _grading(),
        _isolation(),
        gpu,
        _triton(on_gpu=gpu.ok),
        _chromium(),
        _disk(),
        _machine(),
    ]


def lessons_can_run(findings: Iterable[Finding]) -> bool:
    """Return whether nothing essential is missing."""
    return all(finding.ok for finding in findings if finding.essential)


def _python() -> Finding:
    wanted = ".".join(map(str, OLDEST_PYTHON))
    ok = sys.version_info >= OLDEST_PYTHON
    sentence = f"{platform.python_version()} at {sys.executable}."
    if not ok:
        sentence += f" The course needs {wanted} or newer: install it from python.org."
    return Finding("Python", ok, sentence, essential=True)


def _numpy() -> Finding:
    module, problem = _import("numpy")
    if module is None:
        sentence = f"{problem} No lesson runs without it. Type: pip install numpy"
    else:
        sentence = f"{_version('numpy')}."
    return Finding("NumPy", module is not None, sentence, essential=True)


def _torch() -> tuple[ModuleType | None, Finding]:
    module, problem = _import("torch")
    if module is None:
        sentence = (
            f"{problem} No lesson runs without it; notebooks can be opened and read. "
            "Type: pip install torch"
        )
    else:
        sentence = f"{_version('torch')}."
    return module, Finding("torch", module is not None, sentence, essential=True)


def _gpu(torch: ModuleType | None) -> Finding:
    without = (
        "Every lesson and exercise runs on the CPU; only measurements on a GPU are "
        "left out."
    )
    if torch is None:
        return Finding(
            "GPU", False, f"Not looked for, because torch is missing. {without}"
        )
    with warnings.catch_warnings():
        # torch warns about drivers it does not like; the sentence below says it.
        warnings.simplefilter("ignore")
        found = bool(torch.cuda.is_available())
    if found:
        gpu = torch.cuda.get_device_properties(0)
        return Finding("GPU", True, f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB.")
    if shutil.which("nvidia-smi") is None:
        return Finding("GPU", False, f"No CUDA GPU. {without}")
    if torch.version.cuda is None:
        return Finding(
            "GPU",
            False,
            f"This machine has an NVIDIA driver, but this torch is the CPU build. "
            f"{without} To use the GPU, install the CUDA build of torch "
            "(pytorch.org tells the command for your system).",
        )
    return Finding(
        "GPU",
        False,
        f"This machine has an NVIDIA driver, but torch for CUDA {torch.version.cuda} "
        f"cannot use it. {without} Type nvidia-smi to see the driver's own message.",
    )


def _triton(*, on_gpu: bool) -> Finding:
    if find_spec("triton") is not None:
        where = "on the GPU" if on_gpu else "in Triton's interpreter, on the CPU"
        return Finding("Triton", True, f"{_version('triton')}. Kernels run {where}.")
    without = "Missing. Everything works without it except running the GPU kernels."
    if sys.platform == "linux" and platform.machine() == "x86_64":
        advice = 'Type: pip install "mlopt-edu[kernels]"'
    else:
        advice = (
            "It is made for Linux on x86-64: read the kernels here, run them there."
        )
    return Finding("Triton", False, f"{without} {advice}")


def _notebooks() -> Finding:
    missing = _missing(NOTEBOOK_PACKAGES)
    if missing:
        sentence = (
            f"Missing: {', '.join(missing)}. The library (mlopt_edu.optim) works "
            "without; lessons and exercises do not open. "
            'Type: pip install "mlopt-edu[widgets]"'
        )
    else:
        seen = ", ".join(f"{name} {_version(name)}" for name in NOTEBOOK_PACKAGES)
        sentence = f"{seen}."
    return Finding("Notebooks", not missing, sentence, essential=True)


def _grading() -> Finding:
    missing = _missing(GRADING_PACKAGES)
    if missing:
        sentence = (
            f"Missing: {', '.join(missing)}. Lessons and their checks work without; "
            "mlopt grade, release and check do not. "
            'Type: pip install "mlopt-edu[grading]"'
        )
    else:
        seen = ", ".join(f"{name} {_version(name)}" for name in GRADING_PACKAGES)
        sentence = f"{seen}."
    return Finding("Grading", not missing, sentence)


def _isolation() -> Finding:
    """Say how submissions are kept from the rest of this machine, by trying it."""
    if os.name != "posix":
        sentence = "Not here: mlopt grade needs Linux or macOS. Lessons do not."
        return Finding("Isolation", False, sentence)
    try:
        from mlopt_edu.grading.isolation import available, unavailable
    except Exception as error:  # a broken torch or checks, of which others tell
        sentence = f"Not tried: {error}. Only mlopt grade and check need it."
        return Finding("Isolation", False, sentence)
    strongest = available()[0]
    sentence = f"{strongest.name}: {strongest.sentence}"
    if strongest.weak:
        faults = "; ".join(f"{name}: {why}" for name, why in unavailable().items())
        sentence += f" Better is not to be had here ({faults})."
    return Finding("Isolation", not strongest.weak, sentence)


def _chromium() -> Finding:
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found is not None:
        sentence = f"{found}. The browser tests can use it"
        if found != TESTED_CHROMIUM:
            sentence += f": set MLOPT_CHROMIUM={found}"
        return Finding("Chromium", True, f"{sentence}.")
    return Finding(
        "Chromium",
        False,
        "Missing. Only the project's own browser tests need it; lessons open in any "
        "browser. Install the chromium package of your system to run those tests.",
    )


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    sentence = f"{free:.1f} GB free here."
    if free < ENOUGH_DISK:
        sentence += (
            f" Have {ENOUGH_DISK:.0f} GB, or saving notebooks and weights may fail; "
            "what is there can be opened and run."
        )
    return Finding("Disk", free >= ENOUGH_DISK, sentence)


def _machine() -> Finding:
    cores, memory = _cores(), _memory()
    seen = f"{cores} core{'s' if cores > 1 else ''}"
    if memory is None:
        return Finding("Machine", True, f"{seen}.")
    sentence = f"{seen}, {memory:.1f} GB of memory."
    if memory < ENOUGH_MEMORY:
        sentence += (
            f" Below {ENOUGH_MEMORY:.0f} GB a kernel may be killed: shut down kernels "
            "you do not use. Small lessons still run."
        )
    return Finding("Machine", memory >= ENOUGH_MEMORY, sentence)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> float | None:
    """Return the memory this process may use in GB, `None` where unknown."""
    if not hasattr(os, "sysconf"):
        return None
    amounts = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in _CGROUP_MEMORY_LIMITS:
        if limit.is_file() and (text := limit.read_text().strip()).isdigit():
            amounts.append(int(text))
    return min(amounts) / 1e9


def _import(name: str) -> tuple[ModuleType | None, str]:
    """Return the module, or `None` and a sentence on why there is none."""
    if find_spec(name) is None:
        return None, "Missing."
    try:
        return importlib.import_module(name), ""
    except Exception as error:  # a half-installed package fails in its own ways
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        return None, f"Installed, but cannot be imported ({reason})."


def _missing(names: Sequence[str]) -> list[str]:
    return [name for name in names if find_spec(name) is None]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "of unknown version"
