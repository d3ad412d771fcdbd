"""The kernels' benchmark knows every kernel, counts as by hand, compares like."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import kernel_counts as counts
from benchmarks import kernels

FOLDER = Path(kernels.__file__).parents[1] / "kernels" / "mlopt_kernels"


def test_every_kernel_file_is_measured():
    files = {path.stem for path in FOLDER.glob("*.py") if path.stem[0] != "_"}
    assert files == set(kernels.KERNELS)
    assert not set(kernels.MEMORY_BOUND) & set(kernels.TENSOR_CORE)


def test_counts_agree_with_those_by_hand():
    assert counts.elementwise_bytes(10, 4, reads=2, writes=1) == 120
    assert counts.optimizer_bytes(10, 4, averages=2) == 280  # AdamW: 28 each
    assert counts.optimizer_bytes(10, 2, averages=1) == 140  # Lion, bfloat16: 14
    assert counts.mask_bytes(10, 4) == 210  # 4 passes of 4, 4 and 1
    assert counts.mask_bytes(10, 2) == 70  # 2 passes of 2, 2 and 1
    # Two groups of 5: 40 bytes of x, 10 or 5 of codes, 10 of scales and zero points.
    assert counts.quantize_bytes(10, 4, bits=8, group_size=5) == 60
    assert counts.quantize_bytes(10, 4, bits=4, group_size=5) == 55
    assert counts.matmul_operations(2, 3, 5) == 60
    assert counts.matmul_operations(2, 3, 5, density=0.5) == 30
    # x: 6, output: 10, both of 2 bytes; the weight: 15 of 4.
    assert counts.matmul_bytes(2, 3, 5, 2, weight_bytes=4) == 92
    assert counts.attention_operations(1, 3, 5, causal=False) == 2 * 2 * 9 * 5
    assert counts.attention_operations(2, 3, 5, causal=True) == 180


def test_rates_shares_and_ratios():
    case = counts.Case("half", min, min, bytes=3e9, operations=4e12)
    ceiling = {"ceiling_gb_s": 2e3, "ceiling_tflop_s": 400.0}
    took = {"ours": 0.002, "eager": 0.004, "cublas": 0.001}
    assert kernels.row("matmul", case, took, ceiling) == {
        "kernel": "matmul",
        "variant": "half",
        "ours_us": 2000.0,
        "gb_s": 1500.0,
        "tflop_s": 2000.0,
        "copy_share": 0.75,
        "matmul_share": 5.0,
        "eager_ratio": 2.0,
        "cublas_ratio": 0.5,
    }


@pytest.mark.parametrize("kernel", kernels.KERNELS)
def test_what_is_compared_computes_the_same(kernel):
    torch.manual_seed(0)
    for case in kernels.KERNELS[kernel](counts.TINY, "cpu"):
        assert case.bytes > 0
        assert case.operations > 0
        ours, eager = case.ours(), case.eager()
        # Other masks, other scales and steps in place are the business of other tests.
        if kernel in ("dropout", "int8_matmul") or ours is None:
            continue
        if kernel == "clip_grad_norm":  # each clips what the other one has left
            assert eager < ours
            continue
        torch.testing.assert_close(ours, eager, rtol=2e-2, atol=2e-2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here the benchmark would run")
def test_without_a_gpu_it_says_so_in_one_sentence():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kernels"],
        capture_output=True,
        text=True,
        cwd=Path(kernels.__file__).parents[1],
    )
    assert done.returncode == 2
    assert done.stdout.count(".") == done.stdout.count("\n") == 1
    assert "NVIDIA GPU is needed" in done.stdout
