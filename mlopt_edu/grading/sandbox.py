"""How what a learner wrote is kept from everything else, in three levels.

Strongest first:

- `bubblewrap`: Linux namespaces. The processes see a read-only disk that holds Python,
  its packages and a copy of this package without checks, graders and exercises. There
  is no network, no home, no `/proc` of a submission's own, and no other process.
- `landlock`: no namespaces (a container, a locked-down kernel). The same disk by rules
  of Landlock, no writing at all, and no sockets, processes or signals by seccomp.
- `limits`: resource limits only, for where there is nothing else (macOS).

In each, `confine` bounds memory, processor time and files.
"""

import importlib.util
import json
import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from . import syscalls
from .confine import SCRATCH, Confinement, landlock_version
from .process import Limits

PACKAGE = Path(__file__).resolve().parents[1]
HIDDEN = ("checks", "grading", "_course", "cli.py", "labextension")
ANSWER_SIDE = (
    "checks/_answer.py",
    *(
        f"grading/{name}.py"
        for name in ("answer", "confine", "pages", "server", "wire")
    ),
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime")
INSIDE = "/mlopt"  # where the copy of the package is in bubblewrap's file system


class Sandbox:
    """A level with what runs in it.

    Args:
        level: Name of the isolation.
        setups: Code of the exercises' setups by stem.
        limits: What one submission may use.
        preload: Modules that the warm process imports.
    """

    def __init__(
        self,
        level: str,
        setups: Mapping[str, str],
        limits: Limits,
        preload: Sequence[str],
    ) -> None:
        if level not in ("bubblewrap", "landlock", "limits"):
            raise ValueError(
                f"isolation must be bubblewrap, landlock or limits, got {level!r}"
            )
        self._level = level
        self._setups, self._limits, self._preload = setups, limits, preload

    @property
    def environment(self) -> dict[str, str]:
        """All that the processes see of the environment."""
        threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        return {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "HOME": SCRATCH,
            "TMPDIR": SCRATCH,
            "MPLBACKEND": "Agg",
            "TRITON_INTERPRET": "1",  # torch.optim imports Triton, which reads it then
            **dict.fromkeys(threads, "1"),
            "MALLOC_ARENA_MAX": "1",  # a thread takes no address space of its own
        }

    def prepare(self, folder: Path) -> list[str]:
        """Write what the warm process needs into a folder; return how to start it."""
        folder.chmod(0o755)  # it may run as another user
        program = folder / "program"
        copy_package(program)
        settings = {
            "setups": dict(self._setups),
            "preload": list(self._preload),
            "confinement": asdict(self._confinement(program)),
        }
        text = json.dumps(settings)
        (program / "settings.json").write_text(text, encoding="utf-8")
        bubblewrap = self._level == "bubblewrap"
        inside = INSIDE if bubblewrap else str(program)
        code = (
            f"import sys; sys.path[:0] = {[inside, *_packages()]!r}; "
            "from mlopt_edu.grading.server import main; "
            f"main({inside + '/settings.json'!r})"
        )
        command = [sys.executable, "-I", "-B", "-c", code]
        return [*_bubblewrap(program), *command] if bubblewrap else command

    def _confinement(self, program: Path) -> Confinement:
        common = Confinement(
            namespaces=False,
            memory_mb=self._limits.memory_mb,
            cpu_seconds=math.ceil(self._limits.seconds) + 1,
        )
        if self._level == "limits":
            return common
        kept = {**asdict(common), "seccomp": syscalls.program().hex()}
        kept["landlock"] = landlock_version()
        if self._level == "bubblewrap":
            kept |= {"namespaces": True, "readable": ["/"]}
            return Confinement(**kept | {"writable": [SCRATCH, "/dev/null"]})
        roots = [*_roots(), *DEVICES]
        shown = [str(path) for root in roots for path in _without_package(Path(root))]
        kept |= {
            "readable": [*shown, str(program)],
            "listable": list(filter(os.path.isdir, _roots())),
        }
        return Confinement(**kept | {"writable": ["/dev/null"]})


def copy_package(target: Path) -> None:
    """Copy this package without what a submission must not see.

    Its checks and graders are empty packages with the few files of the answer side.
    """

    def hide(folder: str, names: list[str]) -> set[str]:
        return {*HIDDEN} & {*names} if Path(folder) == PACKAGE else set()

    package = target / PACKAGE.name
    shutil.copytree(PACKAGE, package, ignore=hide)
    for name in ANSWER_SIDE:
        file = package / name
        file.parent.mkdir(exist_ok=True)
        file.with_name("__init__.py").touch()
        shutil.copyfile(PACKAGE / name, file)


def _bubblewrap(program: Path) -> list[str]:
    """Return the command that everything in the sandbox is started by."""
    words = ["bwrap", "--die-with-parent", "--new-session", "--unshare-pid"]
    words += ["--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if os.getuid() == 0:
        # Root must not be root inside, under whatever name: keep the right to become
        # another user, use it at once (`confine.enter`), and nothing else.
        words += ["--cap-drop", "ALL"]
        words += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        words += ["--unshare-user"]
    roots = [Path(path) for path in _roots()]
    outer = [path for path in roots if not any(r in path.parents for r in roots)]
    system = [Path(path) for path in (*SYSTEM, *SYSTEM_FILES) if Path(path).exists()]
    for path in dict.fromkeys([*system, *outer]):
        for parent in reversed(path.parents[:-1]):  # bubblewrap's own are for one user
            words += ["--perms", "0755", "--dir", str(parent)]
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
        else:
            words += ["--ro-bind", str(path), str(path)]
    if any(path in PACKAGE.parents for path in outer):
        words += ["--tmpfs", str(PACKAGE)]  # the copy takes its place
    words += ["--perms", "0755", "--dir", "/dev"]
    for device in DEVICES:
        words += ["--dev-bind", device, device]
    words += ["--proc", "/proc", "--dir", SCRATCH, "--ro-bind", str(program), INSIDE]
    return [*words, "--remount-ro", "/", "--chdir", "/", "--"]


def _packages() -> list[str]:
    """Return the folders from which this process imports NumPy and torch."""
    found = [importlib.util.find_spec(name) for name in ("numpy", "torch")]
    origins = [Path(spec.origin).parents[1] for spec in found if spec and spec.origin]
    return [str(path) for path in dict.fromkeys(origins)]


def _roots() -> list[str]:
    """Return the folders that Python needs, and its executable."""
    python = [sys.base_prefix, sys.prefix, os.path.realpath(sys.executable)]
    whole = [path for path in python if path not in ("/usr", "/usr/local")]
    system = [path for path in SYSTEM if Path(path).is_dir()]
    return list(dict.fromkeys([*system, *whole, *_packages()]))


def _without_package(root: Path) -> Iterator[Path]:
    """Yield paths that make up a folder, but for this package in it."""
    if root == PACKAGE:
        return
    if not PACKAGE.is_relative_to(root):
        yield root
        return
    for path in root.iterdir():
        yield from _without_package(path)
