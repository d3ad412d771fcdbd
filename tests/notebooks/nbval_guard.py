"""Makes sure that nbval compared something, and that no notebook holds it up.

Load it with `-p tests.notebooks.nbval_guard`. Without it nbval passes a notebook whose
outputs were stripped, runs on after a cell that failed, and waits the whole time limit
for a kernel that is dead.
"""

import time
from collections.abc import Iterator
from queue import Empty
from typing import Any

import pytest
from nbval.plugin import IPyNbCell

COMPARED = "nbval-compared"
GRACE = 8.0  # seconds beyond the cell's limit to interrupt it and read its output


class Guard:
    """Hooks of one run; in a worker of xdist, of that worker's share."""

    def __init__(self) -> None:
        self.compared: dict[str, int] = {}
        self.failed: set[object] = set()
        self.problems: dict[pytest.Item, str] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        notebooks: dict[object, list[IPyNbCell]] = {}
        for item in items:
            if isinstance(item, IPyNbCell):
                notebooks.setdefault(item.parent, []).append(item)
        for cells in notebooks.values():
            compared = [cell for cell in cells if cell.options["check"]]
            if not compared:
                self.problems[cells[0]] = (
                    "this notebook compares nothing: tag at least one cell with a "
                    "small, deterministic output nbval-check-output"
                )
            for item in compared:
                cell = item.cell
                if not cell.outputs or cell.execution_count is None:
                    self.problems[item] = (
                        f"the cell {cell.get('id')!r} is tagged nbval-check-output and "
                        "has no output to compare with; run the notebook and save it"
                    )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if item.parent in self.failed:
            pytest.skip("an earlier cell of this notebook failed")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        if not isinstance(item, IPyNbCell):
            return (yield)
        if item in self.problems:
            self.failed.add(item.parent)
            pytest.fail(self.problems[item], pytrace=False)
        watch(item.parent.kernel, item.config.getoption("nbval_cell_timeout"))
        try:
            result = yield
        except Exception:
            self.failed.add(item.parent)
            raise
        if item.options["check"]:
            item.user_properties.append((COMPARED, str(item.path)))
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for name, path in report.user_properties:
                if name == COMPARED:
                    self.compared[str(path)] = self.compared.get(str(path), 0) + 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.write_line(
            f"nbval compared {sum(self.compared.values())} outputs "
            f"in {len(self.compared)} notebooks"
        )


def watch(kernel: Any, seconds: float) -> None:
    """Make a kernel's next cell fail at once when it dies, and in time when it runs on.

    Args:
        kernel: nbval's `RunningKernel`.
        seconds: Time limit of a cell.
    """
    wait = type(kernel).get_message.__get__(kernel)
    end = time.monotonic() + seconds + GRACE

    def get_message(stream: str, timeout: float | None = None) -> Any:
        until = end if timeout is None else min(end, time.monotonic() + timeout)
        while True:
            left = until - time.monotonic()
            try:
                if left <= 0:
                    raise Empty
                return wait(stream, timeout=min(left, 1.0))
            except Empty:
                if not kernel.is_alive():
                    raise RuntimeError("the kernel died in this cell") from None
                if time.monotonic() >= until:
                    raise

    kernel.get_message = get_message


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Guard(), "nbval-guard")
