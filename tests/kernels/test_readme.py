"""The tables of kernels/README.md name every kernel, and claim what a test shows."""

import csv
import re
from pathlib import Path

from .compiled import memory_bound, tensor_core, updates

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "kernels"
FILES = {
    path.stem
    for path in (KERNELS / "mlopt_kernels").glob("*.py")
    if path.stem[0] != "_"
}
README = (KERNELS / "README.md").read_text()


def rows_of_what_was_tested():
    """Return the cells of each row of the last table by the name of its kernel."""
    table = README[README.index("## What was tested") :]
    return {
        row[0].strip("`"): row[1:]
        for row in (
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in table.splitlines()
            if line.startswith("| `")
        )
    }


def test_both_tables_list_every_kernel_in_one_order():
    order = re.findall(r"^\| \[`(\w+)\.py`\]\(mlopt_kernels/\1\.py\)", README, re.M)
    assert len(order) == len(set(order))
    assert set(order) == FILES
    assert list(rows_of_what_was_tested()) == order


def test_what_is_called_tested_has_a_test():
    cases = memory_bound.KERNELS | tensor_core.KERNELS | updates.KERNELS
    compiled = {case.kernel.split(":")[0].split(".")[1] for case in cases.values()}
    for kernel, (interpreter, machine_code, _, _) in rows_of_what_was_tested().items():
        has_test = (HERE / f"test_{kernel}.py").exists()
        assert (interpreter == "not yet") != has_test, kernel
        assert (machine_code == "not yet") != (kernel in compiled), kernel


def test_what_is_called_measured_has_a_row():
    results = HERE.parents[1] / "benchmarks" / "results" / "kernels.csv"
    rows = list(csv.DictReader(results.open())) if results.exists() else []
    measured = {row["kernel"] for row in rows}
    for kernel, (_, _, on_gpu, measurement) in rows_of_what_was_tested().items():
        assert (measurement == "not yet") != (kernel in measured), kernel
        assert measurement == "not yet" or on_gpu != "not yet", kernel
