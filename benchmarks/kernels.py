"""How near does each kernel come to what the device can do, and to what torch does?

Claims, for one H100 or H200:

1. A kernel bound by memory moves its bytes at 90 % of the bandwidth of a plain copy.
2. The bfloat16 matmul reaches 85 % of cuBLAS, and the int8 one is faster than bfloat16
   cuBLAS. At a batch of 16, the int4 weight-only one is 2.5 times as fast.
3. Fused AdamW takes no longer than torch's fused form.

The ceilings, a copy and a large matmul of cuBLAS, are measured in the same run as what
is compared to them, and what is compared runs in turn. GB/s counts the bytes that the
docstring of a kernel derives, not what happened to be moved: a kernel that reads twice
shows it by a low share. A ratio is a time of torch over ours: above 1 ours is faster.
Rows are appended to `results/kernels.csv`. It needs an NVIDIA GPU and Triton.

    python -m benchmarks.kernels [--rounds 50] [--only softmax matmul] [--no-save]
"""

import argparse
import datetime
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.kernel_counts import Case, Sizes, matmul_operations
from benchmarks.memory_bound_kernels import MEMORY_BOUND
from benchmarks.optimizers import append_rows
from benchmarks.tensor_core_kernels import TENSOR_CORE

RESULTS = Path(__file__).parent / "results" / "kernels.csv"
KERNELS = MEMORY_BOUND | TENSOR_CORE


def seconds(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median time of each, on the device's own clock, run in turn."""
    for function in functions.values():
        for _ in range(3):  # compiles, and fills torch's cache of memory
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            function()
            end.record()
            end.synchronize()
            times[name].append(begin.elapsed_time(end) / 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def ceilings(rounds: int) -> dict[str, float]:
    """Measure what a copy moves and a large matmul of cuBLAS computes a second."""
    source = torch.empty(2**28, device="cuda")
    target = torch.empty_like(source)
    x, y = (torch.randn(8192, 8192, device="cuda").bfloat16() for _ in range(2))
    took = seconds(
        {"copy": lambda: target.copy_(source), "matmul": lambda: x @ y}, rounds
    )
    return {
        "ceiling_gb_s": 2 * source.nbytes / took["copy"] / 1e9,
        "ceiling_tflop_s": matmul_operations(8192, 8192, 8192) / took["matmul"] / 1e12,
    }


def row(
    kernel: str, case: Case, took: dict[str, float], ceiling: dict[str, float]
) -> dict[str, object]:
    """Return what is stored of a case: rates, shares of the ceilings, ratios."""
    gb_s = case.bytes / took["ours"] / 1e9
    tflop_s = case.operations / took["ours"] / 1e12
    ratios = {
        f"{name}_ratio": round(took[name] / took["ours"], 3)
        for name in ("eager", "compile", "cublas", "fused")
        if name in took
    }
    return {
        "kernel": kernel,
        "variant": case.variant,
        "ours_us": round(1e6 * took["ours"], 1),
        "gb_s": round(gb_s, 1),
        "tflop_s": round(tflop_s, 2),
        "copy_share": round(gb_s / ceiling["ceiling_gb_s"], 3),
        "matmul_share": round(tflop_s / ceiling["ceiling_tflop_s"], 3),
    } | ratios


def driver() -> str:
    """Return the version of the driver, which PyTorch does not know."""
    done = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[0]


def main() -> int:
    """Measure the kernels and store the rows; return 2 where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--only", nargs="+", choices=KERNELS, default=list(KERNELS))
    parser.add_argument("--no-save", action="store_true", help="only print the rows")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("An NVIDIA GPU is needed to measure kernels, and torch finds none.")
        return 2
    import triton

    ceiling = ceilings(args.rounds)
    measured_on = {
        "date": datetime.date.today().isoformat(),
        "device": torch.cuda.get_device_name(),
        "driver": driver(),
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": triton.__version__,
    } | {name: round(value, 1) for name, value in ceiling.items()}
    rows = []
    for kernel in args.only:
        for case in KERNELS[kernel](Sizes(), "cuda"):
            functions = {"ours": case.ours, "eager": case.eager}
            if case.compiled:
                torch.compiler.reset()
                functions["compile"] = torch.compile(case.eager)
            if case.cublas:
                functions["cublas"] = case.cublas
            if case.fused:
                functions["fused"] = case.fused
            rows.append(row(kernel, case, seconds(functions, args.rounds), ceiling))
            print(*rows[-1].values(), sep="  ", flush=True)
        torch.cuda.empty_cache()
    if not args.no_save:
        append_rows(RESULTS, (one | measured_on for one in rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
