"""Programs that mean harm gain nothing, take nothing and reach nothing.

Each file in `attacks/` is a learner's answer to `double` (not named .py, so that no
tool ever imports one); its docstring says what it
tries, after "Reported:" what the learner is told, and with "Spoils:" that it ruins
other answers of the same submission. The names SUBMISSIONS, RESULTS,
COURSE and DECOY stand for folders of this machine, which a learner may well know.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mlopt_edu.checks import Report, Task
from mlopt_edu.checks._answer import Answer
from mlopt_edu.checks._judge import judge
from mlopt_edu.checks._key import AnswerKey
from mlopt_edu.grading import isolation, sandbox, syscalls, wire
from mlopt_edu.grading.process import Limits
from mlopt_edu.grading.warm import Warm

from .conftest import ANSWERS, make_tasks

ATTACKS = sorted((Path(__file__).parent / "attacks").glob("*.txt"))
COURSE = Path(__file__).resolve().parents[2]
SECRET = "NEIGHBOUR'S SECRET"
LEVELS = [one.name for one in isolation.available() if not one.weak]
LIMITS = Limits(seconds=30.0, cell_seconds=1.5, memory_mb=1024)
SETUP = "import random\n\nimport numpy as np"

# What does harm by signal, process or disk runs only where namespaces hold it as well.
WITHOUT_NAMESPACES = (
    "equal_array", "exit", "forged_reply", "frames", "gc_search", "memory_hoard",
    "patch_comparisons", "raise_limits", "read_by_link", "read_checks", "read_home",
    "read_neighbour", "read_proc", "environment", "segfault", "sleep", "tcp",
    "trace_parent", "udp", "write_outside",
)  # fmt: skip

# What the namespaces hold alone, should a hole be found in the other locks.
BY_NAMESPACES = (
    "daemon", "fork_bomb", "kill_all", "kill_group", "kill_parent", "mounts",
    "read_checks", "read_neighbour", "read_proc", "stop_parent", "write_outside",
)  # fmt: skip

# A fresh process looks like this to every submission, whoever came before.
STATE = f"""
SECRET = {SECRET!r}

def state():
    import os, sys, tempfile, threading
    return {{
        "random": [random.random(), np.random.rand()],
        "modules": sorted(name for name in sys.modules if "." not in name),
        "names": sorted(globals()),
        "environment": dict(os.environ),
        "files": [] if os.getcwd() == "/" else os.listdir("."),
        "threads": threading.active_count(),
        "patched": [np.allclose.__module__, np.geterr()],
    }}
"""


@dataclass(frozen=True)
class Free:
    """A task of the driver that has no judge."""

    seconds: float = 10.0
    is_value: bool = False


@dataclass
class World:
    """A warm process, and a class around it."""

    level: str
    warm: Warm
    folder: Path
    tasks: Mapping[str, Task]
    state: Any = None
    keys: dict[str, AnswerKey] = field(default_factory=dict)
    inputs: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, task in self.tasks.items():
            self.keys[name] = AnswerKey(task, task.cases(5))
            cases = self.keys[name].cases
            self.inputs[name] = [wire.encode(dict(case.inputs)) for case in cases]
        for place in ("submissions", "results", "decoy/mlopt_edu"):
            (self.folder / place).mkdir(parents=True)
            (self.folder / place / "canary.txt").write_text(SECRET)
        self.state = self.look()

    def source(self, attack: Path) -> str:
        text = attack.read_text(encoding="utf-8")
        for name in ("SUBMISSIONS", "RESULTS", "DECOY"):
            text = text.replace(name, str(self.folder / name.lower()))
        return text.replace("COURSE", str(COURSE))

    def grade(
        self, answers: Mapping[str, str]
    ) -> tuple[dict[str, Report], dict[str, list[Answer]]]:
        given = self.warm.answer("91", answers, self.tasks, self.inputs)
        reports = {
            name: judge(key, given[name], source=answers[name])
            for name, key in self.keys.items()
        }
        return reports, given

    def look(self) -> Any:
        """Return what another submission sees of its process."""
        given = self.warm.answer(
            "91", {"state": STATE}, {"state": Free()}, {"state": [wire.encode({})]}
        )
        assert given["state"][0].status == "returned", given
        return given["state"][0].value

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.folder)): path.read_text()
            for path in self.folder.rglob("*")
            if path.is_file()
        }


def make_world(level: str, folder: Path) -> Iterator[World]:
    if level not in (*LEVELS, "limits"):
        pytest.skip(isolation.unavailable()[level])
    tasks = make_tasks()
    for task in tasks.values():
        task.seconds = 0.5
    modules = ["numpy", "torch"] if level == "bubblewrap" else ["numpy"]
    with Warm({"91": SETUP}, LIMITS, isolation=level, preload=modules) as warm:
        yield World(level, warm, folder, tasks)


@pytest.fixture(scope="module")
def bubblewrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield from make_world("bubblewrap", tmp_path_factory.mktemp("bubblewrap"))


@pytest.fixture(scope="module")
def landlock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield from make_world("landlock", tmp_path_factory.mktemp("landlock"))


@pytest.fixture(scope="module")
def namespaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Bubblewrap without seccomp and Landlock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syscalls, "program", lambda: b"")
        patch.setattr(sandbox, "landlock_version", lambda: 0)
        yield from make_world("bubblewrap", tmp_path_factory.mktemp("namespaces"))


@pytest.fixture(scope="module")
def limits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """No isolation: resource limits alone."""
    yield from make_world("limits", tmp_path_factory.mktemp("limits"))


def attempt(world: World, path: Path) -> None:
    source, files = world.source(path), world.files()
    says = ast.get_docstring(ast.parse(source)) or ""
    said = says.partition("Reported: ")[2].partition("\n")[0]
    reports, given = world.grade({**ANSWERS, "double": source})
    report = reports.pop("double")
    assert report.points == 0, report
    assert said, "an attack must say what is reported"
    assert said in report.message + str(report.case), report
    lost = [one.task for one in reports.values() if not one.passed]
    # A process belongs to one learner: what it does to itself is its own loss.
    assert "Spoils: " in says or lost == []
    assert SECRET not in str(given)
    assert world.files() == files
    assert world.look() == world.state


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.stem)
def test_an_attack_gains_nothing(path: Path, bubblewrap: World) -> None:
    attempt(bubblewrap, path)


@pytest.mark.parametrize("name", WITHOUT_NAMESPACES)
def test_an_attack_gains_nothing_without_namespaces(name: str, landlock: World) -> None:
    attempt(landlock, Path(__file__).with_name("attacks") / f"{name}.txt")


@pytest.mark.parametrize("name", BY_NAMESPACES)
def test_namespaces_hold_alone(name: str, namespaces: World) -> None:
    path = Path(__file__).with_name("attacks") / f"{name}.txt"
    files, before = namespaces.files(), namespaces.warm._running
    source = namespaces.source(path)
    reports, given = namespaces.grade({**ANSWERS, "double": source})
    lost = [name for name, one in reports.items() if not one.passed]
    assert lost == ["double"]
    assert SECRET not in str(given)
    assert namespaces.files() == files
    assert namespaces.look() == namespaces.state
    assert namespaces.warm._running is before, "the warm process died"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("double = " + "-" * 15_000 + "1", "MemoryError"),
        ("double = " + "(" * 9_000 + ")" * 9_000, "too many nested"),
        ("double = '\0'", "null bytes"),
        ("\ud800", "double"),
        ("%%bash\nrm -rf /", "syntax error"),
    ],
    ids=["deep", "brackets", "null byte", "surrogate", "magic"],
)
def test_a_source_that_is_no_program(source: str, said: str, bubblewrap: World) -> None:
    reports, _ = bubblewrap.grade({**ANSWERS, "double": source})
    assert said in reports["double"].message
    assert [name for name, one in reports.items() if not one.passed] == ["double"]


def test_the_corpus_is_large() -> None:
    assert len(ATTACKS) >= 40


@pytest.mark.parametrize("name", ["read_neighbour", "abstract_socket", "udp"])
def test_an_attack_works_where_nothing_holds_it(name: str, limits: World) -> None:
    # Or else the tests above could not fail. These leave nothing behind.
    source = limits.source(Path(__file__).with_name("attacks") / f"{name}.txt")
    reports, given = limits.grade({**ANSWERS, "double": source})
    gained = reports["double"].points > 0, SECRET in str(given)
    assert gained == ((False, True) if name.startswith("read") else (True, False))
