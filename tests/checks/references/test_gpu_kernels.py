"""The right programs of exercise 15, proved by torch and by kernels that are run.

References and mistakes stand in NumPy, counts included. Here the solution's own
kernels run, and the same kernels with a mistake in them: each must be called by name.
"""

import linecache
import math
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from mlopt_edu.checks import find_task, tasks
from mlopt_edu.checks.gpu_kernels._axpy import axpy_reference
from mlopt_edu.checks.gpu_kernels._block_sum import block_sum_reference
from mlopt_edu.checks.gpu_kernels._fused_adamw_step import fused_adamw_step_reference
from mlopt_edu.checks.gpu_kernels._matmul_cost import matmul_cost_reference
from mlopt_edu.checks.gpu_kernels._program_offsets import program_offsets_reference
from mlopt_edu.checks.gpu_kernels._program_tile import program_tile_reference
from mlopt_edu.checks.gpu_kernels._roofline import roofline_reference
from mlopt_edu.checks.gpu_kernels._row_softmax import row_softmax_reference
from mlopt_edu.checks.gpu_kernels._tiled_matmul import tiled_matmul_reference
from mlopt_edu.checks.gpu_kernels._tiled_transpose import tiled_transpose_reference
from tests.checks.references import cases

SOLUTION = Path(__file__).parents[3] / "solutions" / "15_gpu_kernels.ipynb"
KERNELS = (
    *("axpy", "row_softmax", "block_sum", "tiled_transpose", "tiled_matmul"),
    "fused_adamw_step",
)

UPDATE = "update = exp_avg / correction1 / (tl.sqrt(exp_avg_sq / correction2) + eps)\n"
SECOND_LAUNCH = "sum_kernel[(1,)](partials, total, n_programs, BLOCK_SIZE=power)"

# (task, mistake, what stands in the solution, what stands in the wrong one), …
WRONG = [
    ("axpy", "missing_mask", ("mask=mask", "mask=None"), ("other=0.0", "other=None")),
    ("axpy", "store_mask_missing", ("alpha * x + y, mask=mask", "alpha * x + y")),
    ("axpy", "load_masks_missing", ("mask=mask, other=0.0", "mask=None")),
    ("axpy", "one_too_many", ("offsets < n", "offsets <= n")),
    ("axpy", "y_scaled", ("alpha * x + y", "x + alpha * y")),
    ("axpy", "alpha_forgotten", ("alpha * x + y", "x + y")),
    ("axpy", "sum_scaled", ("alpha * x + y", "alpha * (x + y)")),
    ("axpy", "all_the_first_block", ("tl.program_id(0) * BLOCK_SIZE + ", "")),
    (
        "axpy",
        "not_fused",
        (
            "    y = tl.load(y",
            "    tl.store(output_ptr + offsets, alpha * x, mask=mask)\n"
            "    x = tl.load(output_ptr + offsets, mask=mask, other=0.0)\n"
            "    y = tl.load(y",
        ),
        ("alpha * x + y", "x + y"),
    ),
    ("row_softmax", "unsafe", ("x - tl.max(x, axis=0)", "x")),
    (
        "row_softmax",
        "minimum_subtracted",
        ("tl.max(x", "tl.min(tl.where(mask, x, 1e9)"),
    ),
    ("row_softmax", "padded_with_zero", ('-float("inf")', "0.0")),
    ("row_softmax", "lanes_undefined", (', other=-float("inf")', "")),
    (  # only the maximum meets the lanes past the end
        "row_softmax",
        "lanes_undefined",
        (', other=-float("inf")', ""),
        (
            "tl.exp(x - tl.max(x, axis=0))",
            "tl.where(mask, tl.exp(x - tl.max(x, axis=0)), 0.0)",
        ),
    ),
    ("row_softmax", "store_mask_missing", ("axis=0), mask=mask)", "axis=0))")),
    (
        "row_softmax",
        "missing_mask",
        ('mask=mask, other=-float("inf")', "mask=None"),
        (", mask=mask", ""),
    ),
    (
        "row_softmax",
        "read_twice",
        (
            "    weights = ",
            "    top = tl.max(x, axis=0)\n"
            '    x = tl.load(x_ptr + offsets, mask=mask, other=-float("inf"))\n'
            "    weights = ",
        ),
        ("x - tl.max(x, axis=0)", "x - top"),
    ),
    (
        "row_softmax",
        "read_three_times",
        (
            "    weights = ",
            "    top = tl.max(x, axis=0)\n"
            '    x = tl.load(x_ptr + offsets, mask=mask, other=-float("inf"))\n'
            "    total = tl.sum(tl.exp(x - top), axis=0)\n"
            '    x = tl.load(x_ptr + offsets, mask=mask, other=-float("inf"))\n'
            "    weights = ",
        ),
        ("x - tl.max(x, axis=0)", "x - top"),
        ("tl.sum(weights, axis=0)", "total"),
    ),
    ("row_softmax", "sum_forgotten", (" / tl.sum(weights, axis=0)", "")),
    ("block_sum", "race", ("output_ptr + program", "output_ptr")),
    (
        "block_sum",
        "race_for_the_total",
        ("(x, partials, len", "(x, total, len"),
        ("output_ptr + program", "output_ptr"),
        (SECOND_LAUNCH, ""),
    ),
    (
        "block_sum",
        "race_between_load_and_store",
        ("memory.empty((1,))", "memory.copy(np.zeros(1, np.float32))"),
        ("(x, partials, len", "(x, total, len"),
        ("output_ptr + program, ", "output_ptr, tl.load(output_ptr) + "),
        (SECOND_LAUNCH, ""),
    ),
    (
        "block_sum",
        "atomic",
        ("memory.empty((1,))", "memory.copy(np.zeros(1, np.float32))"),
        ("(x, partials, len", "(x, total, len"),
        ("tl.store(output_ptr + program", "tl.atomic_add(output_ptr"),
        (SECOND_LAUNCH, ""),
    ),
    (
        "block_sum",
        "partial_sums",
        (SECOND_LAUNCH, ""),
        ("report(total)", "report(partials)"),
    ),
    ("block_sum", "lanes_undefined", (", other=0.0", "")),
    (
        "block_sum",
        "missing_mask",
        ("mask=offsets < n_elements, other=0.0", "mask=None"),
    ),
    (
        "block_sum",
        "atomic_on_poison",
        ("(x, partials, len", "(x, total, len"),
        ("tl.store(output_ptr + program", "tl.atomic_add(output_ptr"),
        (SECOND_LAUNCH, ""),
    ),
    (
        "block_sum",
        "atomic_in_both_launches",
        ("tl.store(output_ptr + program", "tl.atomic_add(output_ptr"),
    ),
    ("block_sum", "atomic_in_both_launches", ("tl.store(", "tl.atomic_add(")),
    ("block_sum", "first_block_only", ("total, n_programs", "total, 1")),
    ("block_sum", "second_launch_too_wide", ("[(1,)]", "[(n_programs,)]")),
    ("block_sum", "second_length_of_x", ("total, n_programs", "total, len(x)")),
    ("block_sum", "second_block_too_small", ("=power)", "=block_size)")),
    (
        "block_sum",
        "first_launch_repeated",
        ("[(1,)]", "[(n_programs,)]"),
        ("=power)", "=block_size)"),
    ),
    (
        "tiled_transpose",
        "copied",
        ("cols[:, None] * n_rows + rows[None, :]", "tl.trans(x_places)"),
    ),
    (
        "tiled_transpose",
        "edges_left_out",
        ("grid = (triton.cdiv(n_rows, block_size), ", "grid = (n_rows // block_size, "),
        ("triton.cdiv(n_cols, block_size))", "n_cols // block_size)"),
    ),
    (  # one row of x in each program: `rows` has one entry, and `cols` all
        "tiled_transpose",
        "uncoalesced",
        ("rows = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)", "ROWS"),
        ("ROWS", "rows = tl.program_id(0) + tl.arange(0, 1)"),
        ("(triton.cdiv(n_rows, block_size), ", "(n_rows, "),
    ),
    (  # one column of x in each program
        "tiled_transpose",
        "uncoalesced",
        ("cols = tl.program_id(1) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)", "COLS"),
        ("COLS", "cols = tl.program_id(1) + tl.arange(0, 1)"),
        ("triton.cdiv(n_cols, block_size))", "n_cols)"),
    ),
    ("tiled_transpose", "tiles_in_place", ("tl.trans(tile)", "tile")),
    ("tiled_transpose", "store_mask_missing", (", mask=tl.trans(mask)", "")),
    (
        "tiled_transpose",
        "missing_mask",
        (", mask=mask, other=0.0", ""),
        (", mask=tl.trans(mask)", ""),
    ),
    ("tiled_transpose", "load_mask_reused", ("mask=tl.trans(mask)", "mask=mask")),
    (
        "tiled_transpose",
        "only_places_turned",
        ("tl.trans(tile), mask=tl.trans(mask)", "tile, mask=mask"),
    ),
    ("tiled_transpose", "stride_of_x", ("[:, None] * n_rows", "[:, None] * n_cols")),
    (
        "tiled_matmul",
        "output_read",
        (
            "total = tl.dot(x, y, total)",
            "places = output_ptr + rows[:, None] * n_cols + cols[None, :]\n"
            "        if start > 0:\n"
            "            total = tl.load(places, row_mask & col_mask, 0.0)\n"
            "        total = tl.dot(x, y, total)\n"
            "        tl.store(places, total, row_mask & col_mask)",
        ),
        ("tl.store(output_ptr + places, total, mask=row_mask & col_mask)", ""),
    ),
    (
        "tiled_matmul",
        "fp16_accumulator",
        ("dtype=tl.float32", "dtype=tl.float16"),
        (
            "total = tl.dot(x, y, total)",
            "total = (total + tl.dot(x, y)).to(tl.float16)",
        ),
    ),
    (
        "tiled_matmul",
        "fp16_accumulator",
        ("dtype=tl.float32", "dtype=tl.float16"),
        ("tl.dot(x, y, total)", "tl.dot(x, y, total, out_dtype=tl.float16)"),
    ),
    (
        "tiled_matmul",
        "fp16_products",
        ("total = tl.dot(x, y, total)", "total += tl.dot(x, y, out_dtype=tl.float16)"),
    ),
    (
        "tiled_matmul",
        "missing_inner_mask",
        (" & (inner[None, :] < n_inner)", ""),
        ("(inner[:, None] < n_inner) & ", ""),
    ),
    (
        "tiled_matmul",
        "missing_mask",
        (", mask=x_mask, other=0.0", ""),
        (", mask=y_mask, other=0.0", ""),
        (", mask=row_mask & col_mask", ""),
    ),
    (
        "tiled_matmul",
        "edges_not_masked",
        ("row_mask & (inner", "(inner"),
        (" < n_inner) & col_mask", " < n_inner)"),
    ),
    (
        "tiled_matmul",
        "only_inner_masked",
        ("row_mask & (inner", "(inner"),
        (" < n_inner) & col_mask", " < n_inner)"),
        (", mask=row_mask & col_mask", ""),
    ),
    (
        "tiled_matmul",
        "x_inner_mask_missing",
        (" & (inner[None, :] < n_inner)", ""),
    ),
    (
        "tiled_matmul",
        "y_inner_mask_missing",
        ("(inner[:, None] < n_inner) & ", ""),
    ),
    (
        "tiled_matmul",
        "wrapped_around",
        ("x_places = rows[:, None]", "x_places = (rows % n_rows)[:, None]"),
        (
            "+ cols[None, :]\n        x_mask",
            "+ (cols % n_cols)[None, :]\n        x_mask",
        ),
        ("row_mask & (inner", "(inner"),
        (" < n_inner) & col_mask", " < n_inner)"),
    ),
    (
        "tiled_matmul",
        "store_mask_missing",
        (", total, mask=row_mask & col_mask", ", total"),
    ),
    ("tiled_matmul", "lanes_undefined", (", other=0.0", "")),
    ("tiled_matmul", "first_block_only", ("range(0, n_inner, ", "range(0, 1, ")),
    ("tiled_matmul", "last_block_only", ("tl.dot(x, y, total)", "tl.dot(x, y)")),
    (
        "tiled_matmul",
        "not_advanced",
        ("+ inner[None, :]\n", "+ inner[None, :] - start\n"),
        ("= inner[:, None] * n_cols", "= (inner[:, None] - start) * n_cols"),
    ),
    (
        "fused_adamw_step",
        "old_averages",
        (UPDATE, "\n"),
        ("exp_avg = beta1", UPDATE + "    exp_avg = beta1"),
    ),
    (
        "fused_adamw_step",
        "three_kernels",
        (
            "    update = ",
            "    tl.store(exp_avg_ptr + offsets, exp_avg, mask=mask)\n"
            "    grad = tl.load(grad_ptr + offsets, mask=mask)\n"
            "    tl.store(exp_avg_sq_ptr + offsets, exp_avg_sq, mask=mask)\n"
            "    exp_avg = tl.load(exp_avg_ptr + offsets, mask=mask)\n"
            "    exp_avg_sq = tl.load(exp_avg_sq_ptr + offsets, mask=mask)\n"
            "    update = ",
        ),
        (
            "param, mask=mask)\n"
            "    tl.store(exp_avg_ptr + offsets, exp_avg, mask=mask)\n"
            "    tl.store(exp_avg_sq_ptr + offsets, exp_avg_sq, mask=mask)\n",
            "param, mask=mask)\n",
        ),
    ),
    (
        "fused_adamw_step",
        "not_fused",
        (
            "    update = ",
            "    tl.store(exp_avg_ptr + offsets, exp_avg, mask=mask)\n"
            "    tl.store(exp_avg_sq_ptr + offsets, exp_avg_sq, mask=mask)\n"
            "    exp_avg = tl.load(exp_avg_ptr + offsets, mask=mask)\n"
            "    exp_avg_sq = tl.load(exp_avg_sq_ptr + offsets, mask=mask)\n"
            "    update = ",
        ),
        (
            "param, mask=mask)\n"
            "    tl.store(exp_avg_ptr + offsets, exp_avg, mask=mask)\n"
            "    tl.store(exp_avg_sq_ptr + offsets, exp_avg_sq, mask=mask)\n",
            "param, mask=mask)\n",
        ),
    ),
    (
        "fused_adamw_step",
        "missing_mask",
        (", mask=mask, other=0.0", ""),
        (", mask=mask", ""),
    ),
    ("fused_adamw_step", "load_masks_missing", (", mask=mask, other=0.0", "")),
    (
        "fused_adamw_step",
        "store_masks_missing",
        (", param, mask=mask", ", param"),
        (", exp_avg, mask=mask", ", exp_avg"),
        (", exp_avg_sq, mask=mask", ", exp_avg_sq"),
    ),
    (
        "fused_adamw_step",
        "decay_in_the_gradient",
        (
            "    exp_avg = beta1",
            "    grad += weight_decay * param\n    exp_avg = beta1",
        ),
        ("(update + weight_decay * param)", "update"),
    ),
    (
        "fused_adamw_step",
        "decay_forgotten",
        ("(update + weight_decay * param)", "update"),
    ),
    (
        "fused_adamw_step",
        "decay_without_lr",
        ("lr * (update + weight_decay * param)", "lr * update - weight_decay * param"),
    ),
    (
        "fused_adamw_step",
        "decay_after_the_update",
        (
            "param = param - lr * (update + weight_decay * param)",
            "param -= lr * update\n    param -= lr * weight_decay * param",
        ),
    ),
    (
        "fused_adamw_step",
        "averages_not_stored",
        ("    tl.store(exp_avg_ptr + offsets, exp_avg, mask=mask)\n", ""),
        ("    tl.store(exp_avg_sq_ptr + offsets, exp_avg_sq, mask=mask)\n", ""),
    ),
    (
        "fused_adamw_step",
        "exp_avg_not_stored",
        ("    tl.store(exp_avg_ptr + offsets, exp_avg, mask=mask)\n", ""),
    ),
    (
        "fused_adamw_step",
        "second_correction_missing",
        ("exp_avg_sq / correction2", "exp_avg_sq"),
    ),
    ("fused_adamw_step", "eps_missing", (" + eps)", ")")),
    (
        "fused_adamw_step",
        "correction_missing",
        ("exp_avg / correction1", "exp_avg"),
        ("exp_avg_sq / correction2", "exp_avg_sq"),
    ),
    (
        "fused_adamw_step",
        "eps_under_the_root",
        ("exp_avg_sq / correction2) + eps", "exp_avg_sq / correction2 + eps)"),
    ),
    (
        "fused_adamw_step",
        "root_forgotten",
        ("tl.sqrt(exp_avg_sq / correction2)", "exp_avg_sq / correction2"),
    ),
]


@pytest.fixture(scope="module")
def answers():
    """The code of the solution's cells by their names."""
    if not SOLUTION.exists():
        pytest.skip(f"{SOLUTION.name} has no solution yet")
    return {cell.id: cell.source for cell in nbformat.read(SOLUTION, 4).cells}


@pytest.fixture
def execute(answers):
    """Define a task's answer, after the setup, from code that Triton can look up."""

    def run(name, source):
        namespace = {"__name__": "__main__"}
        exec(answers["setup"], namespace)
        filename = f"<{name} {hash(source)}>"
        lines = source.splitlines(keepends=True)
        linecache.cache[filename] = (len(source), None, lines, filename)
        exec(compile(source, filename, "exec"), namespace)
        return namespace[name]

    return run


@pytest.mark.parametrize("seed", [20, 3])
@pytest.mark.parametrize("name", KERNELS)
def test_the_kernel_of_the_solution_gives_what_the_reference_says(
    name, seed, answers, execute, judged
):
    report = judged(find_task(name), execute(name, answers[name]), seed)
    assert report.passed, str(report)


@pytest.mark.parametrize(
    ("name", "mistake", "changes"),
    [(name, mistake, changes) for name, mistake, *changes in WRONG],
    ids=[f"{name}-{mistake}" for name, mistake, *_ in WRONG],
)
def test_a_kernel_with_a_mistake_is_told_so(
    name, mistake, changes, answers, execute, judged
):
    source = answers[name]
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    report = judged(find_task(name), execute(name, source), 20)
    assert (report.passed, report.mistake) == (False, mistake), str(report)


def test_every_mistake_of_a_kernel_is_tried():
    tried = {(name, mistake) for name, mistake, *_ in WRONG}
    known = {
        (name, mistake.name)
        for name, task in tasks("15_gpu_kernels").items()
        for mistake in task.mistakes
        if name in KERNELS
    }
    assert tried == known


@cases("matmul_cost")
def test_matmul_cost_is_counted_tile_by_tile(case):
    rows, inner, cols, block_rows, block_cols, itemsize = case.inputs.values()
    x, y = np.zeros((rows, inner), bool), np.zeros((inner, cols), bool)
    moved = rows * cols
    for i in range(0, rows, block_rows):
        for j in range(0, cols, block_cols):
            moved += x[i : i + block_rows].size + y[:, j : j + block_cols].size
    operations, n_bytes, intensity = matmul_cost_reference(*case.inputs.values())
    assert n_bytes == itemsize * moved
    assert operations == 2 * rows * inner * cols
    assert intensity == pytest.approx(operations / n_bytes)


@cases("tiled_matmul")
def test_the_kernel_moves_the_bytes_of_task_1_and_its_product_is_torchs(case):
    x, y, block_size = case.inputs.values()
    output, read, written, *_ = tiled_matmul_reference(x, y, block_size)
    expected = torch.from_numpy(x).double() @ torch.from_numpy(y).double()
    np.testing.assert_array_equal(output, expected)
    sizes = (*x.shape, y.shape[1], block_size, block_size)
    _, n_bytes, _ = matmul_cost_reference(*sizes, 2)
    assert read == n_bytes - 2 * output.size
    assert written == 4 * output.size


@cases("roofline")
def test_roofline_is_the_lower_of_two_lines(case):
    operations, bytes_moved, peak, bandwidth = case.inputs.values()
    seconds, share = roofline_reference(operations, bytes_moved, peak, bandwidth)
    attainable = min(peak, operations / bytes_moved * bandwidth)
    assert operations / seconds == pytest.approx(attainable)
    assert share == pytest.approx(attainable / peak)


@cases("program_offsets")
def test_program_offsets_are_the_program_s_part_of_the_array(case):
    program_id, block_size, n_elements = case.inputs.values()
    offsets, mask = program_offsets_reference(program_id, block_size, n_elements)
    part = np.arange(n_elements)[program_id * block_size :][:block_size]
    np.testing.assert_array_equal(offsets[mask], part)
    np.testing.assert_array_equal(offsets, np.arange(block_size) + offsets[0])
    assert offsets[0] == program_id * block_size


@cases("axpy")
def test_axpy_is_that_of_torch(case):
    alpha, x, y, _ = case.inputs.values()
    expected = torch.from_numpy(y).double().add(torch.from_numpy(x), alpha=alpha)
    output, read, written, outside, races = axpy_reference(*case.inputs.values())
    np.testing.assert_allclose(output, expected, rtol=1e-12)
    assert read + written == 12 * len(x)
    assert outside == races == 0


@cases("row_softmax")
def test_row_softmax_is_that_of_torch(case):
    x = torch.from_numpy(case.inputs["x"])
    output, *_ = row_softmax_reference(*case.inputs.values())
    np.testing.assert_allclose(output, x.double().softmax(dim=1), atol=1e-14)


@cases("block_sum")
def test_block_sum_is_exact(case):
    x, block_size = case.inputs.values()
    total, read, written, *_ = block_sum_reference(x, block_size)
    assert total[0] == pytest.approx(math.fsum(x.tolist()), rel=1e-14)
    programs = len([x[i : i + block_size] for i in range(0, len(x), block_size)])
    assert read - written == 4 * len(x) - 4
    assert written == 4 * programs + 4


@cases("tiled_transpose")
def test_tiled_transpose_is_that_of_torch(case):
    x = case.inputs["x"]
    output, *_, sectors = tiled_transpose_reference(*case.inputs.values())
    np.testing.assert_array_equal(output, torch.from_numpy(x).t())
    assert sectors == 2 * x.size / 8


@pytest.mark.parametrize(
    "sizes", [(5, 3, 2), (7, 4, 3), (4, 4, 1), (3, 5, 8), (9, 1, 4)]
)
def test_program_tile_takes_every_tile_once_and_groups_are_whole(sizes):
    rows, cols, group = sizes
    tiles = [program_tile_reference(i, *sizes) for i in range(rows * cols)]
    assert sorted(tiles) == [(row, col) for row in range(rows) for col in range(cols)]
    groups = [row // group for row, _ in tiles]
    assert groups == sorted(groups)
    for number in set(groups):
        inside = [tile for tile in tiles if tile[0] // group == number]
        assert inside == sorted(inside, key=lambda tile: tile[::-1])


@cases("fused_adamw_step")
def test_fused_adamw_step_is_that_of_torch(case):
    inputs = dict(case.inputs)
    param = torch.nn.Parameter(torch.from_numpy(inputs["param"]).double())
    optimizer = torch.optim.AdamW(
        [param],
        lr=inputs["lr"],
        betas=(inputs["beta1"], inputs["beta2"]),
        eps=inputs["eps"],
        weight_decay=inputs["weight_decay"],
    )
    optimizer.state[param] = {
        "step": torch.tensor(inputs["step"] - 1.0),
        "exp_avg": torch.from_numpy(inputs["exp_avg"]).double(),
        "exp_avg_sq": torch.from_numpy(inputs["exp_avg_sq"]).double(),
    }
    param.grad = torch.from_numpy(inputs["grad"]).double()
    optimizer.step()
    state = optimizer.state[param]
    expected = param.detach(), state["exp_avg"], state["exp_avg_sq"]
    *actual, read, written, _, _ = fused_adamw_step_reference(*inputs.values())
    for right, seen in zip(expected, actual, strict=True):
        np.testing.assert_allclose(seen, right, rtol=1e-6, atol=1e-9)
    assert read + written == 28 * len(inputs["param"])


def test_the_numbers_that_the_explanations_name():
    with np.errstate(over="ignore", under="ignore"):
        assert np.isinf(np.exp(np.float32(89)))
        assert np.isfinite(np.exp(np.float32(88)))
        assert np.exp(np.float32(-104)) == 0
    assert np.float16(2049) == 2048
    assert np.float16(2048) - np.float16(2047) == 1
