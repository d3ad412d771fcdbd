"""Measure a step of each optimizer against torch's own forms of it, in one run.

Claims:

1. Where torch has the algorithm, a step takes no longer than torch's foreach form
   (ratio at most 1 within the spread), with equal memory.
2. With `fused=True` it takes no longer than torch's fused class: much less on many
   small tensors, where finding out what to do takes most of the time, and as long on
   large ones, where both wait for the same primitive.
3. Where torch has no fused form, the rows "torch.compile" say what compiling the same
   step is worth: its ratio, above 1 where the compiled one is faster, and the seconds
   that its first step takes.

Both optimizers step in turn on tensors of the same shapes, so that a busy machine slows
both; on a CPU a step is timed in CPU seconds, which leave out the time other programs
take. A ratio is the median over rounds, its spread the quartiles. Rows are appended to
`results/optimizers.csv`.

    python benchmarks/optimizers.py [--rounds 200] [--threads 1] [--only Adam Lion]
"""

import argparse
import csv
import datetime
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn import Parameter

from mlopt_edu import optim

RESULTS = Path(__file__).parent / "results" / "optimizers.csv"

Shapes = list[tuple[int, ...]]
Make = Callable[[list[Parameter]], torch.optim.Optimizer]

MLP, MANY, LARGE = "MLP 64-128-64-10", "100 tensors of 16x16", "10 tensors of 1000x1000"
MODELS: dict[str, Shapes] = {
    MLP: [(128, 64), (128,), (64, 128), (64,), (10, 64), (10,)],
    MANY: [(16, 16)] * 100,
    LARGE: [(1000, 1000)] * 10,
}

DECAY = {"lr": 1e-4, "weight_decay": 1e-4}
MOMENTUM = {"lr": 1e-4, "momentum": 0.9}

# What torch has: our class, torch's, the options of both, the forms that torch has.
OPTIMIZERS: dict[str, tuple[type, type, dict[str, Any], tuple[str, ...]]] = {
    "GradientDescent": (
        optim.GradientDescent,
        torch.optim.SGD,
        {"lr": 1e-4},
        ("foreach",),
    ),
    "SGD momentum": (optim.SGD, torch.optim.SGD, MOMENTUM, ("foreach", "fused")),
    "SGD Nesterov, decay": (
        optim.SGD,
        torch.optim.SGD,
        MOMENTUM | DECAY | {"nesterov": True},
        ("foreach", "fused"),
    ),
    "Adagrad": (optim.Adagrad, torch.optim.Adagrad, DECAY, ("foreach", "fused")),
    "Adadelta": (optim.Adadelta, torch.optim.Adadelta, {}, ("foreach",)),
    "RMSprop": (optim.RMSprop, torch.optim.RMSprop, DECAY, ("foreach",)),
    "RMSprop centered, momentum": (
        optim.RMSprop,
        torch.optim.RMSprop,
        MOMENTUM | {"centered": True},
        ("foreach",),
    ),
    "Adam": (optim.Adam, torch.optim.Adam, {"lr": 1e-4}, ("foreach", "fused")),
    "AMSGrad": (
        optim.Adam,
        torch.optim.Adam,
        {"lr": 1e-4, "amsgrad": True},
        ("foreach", "fused"),
    ),
    "AdamW": (optim.AdamW, torch.optim.AdamW, DECAY, ("foreach", "fused")),
    "NAdam": (optim.NAdam, torch.optim.NAdam, {"lr": 1e-4}, ("foreach",)),
    "Adafactor": (optim.Adafactor, torch.optim.Adafactor, {"lr": 1e-4}, ("foreach",)),
    # In float32, where torch takes bfloat16. It has one form, for matrices only.
    "Muon": (optim.Muon, torch.optim.Muon, {"lr": 1e-4}, ("Muon",)),
}

# What torch has not fused: eager against the same step compiled.
COMPILED: dict[str, type] = {
    "Lion": optim.Lion,
    "ScheduleFreeSGD": optim.ScheduleFreeSGD,
    "ScheduleFreeAdamW": optim.ScheduleFreeAdamW,
    "Adafactor": optim.Adafactor,
    "LAMB": optim.LAMB,
    "Muon": optim.Muon,
}


def parameters(shapes: Shapes, device: str) -> list[Parameter]:
    """Draw parameters with gradients."""
    torch.manual_seed(0)
    params = [Parameter(torch.randn(shape, device=device)) for shape in shapes]
    for param in params:
        param.grad = torch.randn_like(param)
    return params


def seconds(step: Callable[[], object], device: str) -> float:
    """Time one step: in CPU seconds, or on a GPU to the end of its work."""
    if device == "cpu":
        begin = time.process_time()
        step()
        return time.process_time() - begin
    torch.cuda.synchronize()
    begin = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Count the bytes of every tensor in the optimizer's state."""
    return sum(
        value.nbytes
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )


def compare(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int, device: str
) -> dict[str, float]:
    """Step both in turn, for some seconds at most, and return medians and ratios."""
    once = seconds(ours, device) + seconds(theirs, device)
    rounds = min(rounds, max(5, int(3 / once)))
    warm_up = max(2, rounds // 10)
    pairs = []
    for step in range(rounds + warm_up):
        # Whoever goes second finds other caches: take turns.
        if step % 2:
            second = seconds(theirs, device)
            pairs.append((seconds(ours, device), second))
        else:
            pairs.append((seconds(ours, device), seconds(theirs, device)))
    del pairs[:warm_up]
    low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    return {
        "ours_us": round(1e6 * statistics.median(a for a, _ in pairs), 1),
        "torch_us": round(1e6 * statistics.median(b for _, b in pairs), 1),
        "ratio": round(middle, 3),
        "ratio_q1": round(low, 3),
        "ratio_q3": round(high, 3),
    }


def against_torch(name: str, rounds: int, device: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each model and each form that torch has of an optimizer."""
    cls, torch_class, options, forms = OPTIMIZERS[name]
    for model, shapes in MODELS.items():
        if name == "Muon" and any(len(shape) != 2 for shape in shapes):
            continue
        for form in forms:
            chosen = {} if form == "Muon" else {form: True}
            fused = {"fused": True} if form == "fused" else {}
            ours = cls(parameters(shapes, device), **options, **fused)
            theirs = torch_class(parameters(shapes, device), **options, **chosen)
            row = compare(ours.step, theirs.step, rounds, device)
            row["ours_state_bytes"] = state_bytes(ours)
            row["torch_state_bytes"] = state_bytes(theirs)
            suffix = ", fused=True" if fused else ""
            yield {
                "optimizer": name + suffix,
                "model": model,
                "against": f"torch {form}",
            } | row


def against_compiled(name: str, rounds: int, device: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each model: the step as it is, and compiled."""
    for model in (MLP, LARGE):
        torch.compiler.reset()
        ours, same = (
            COMPILED[name](parameters(MODELS[model], device)) for _ in range(2)
        )
        # The first step creates the state; compiled, it would be a program of its own.
        ours.step()
        same.step()
        compiled = torch.compile(same.step, fullgraph=True)
        begin = time.perf_counter()
        compiled()
        cold_start = time.perf_counter() - begin
        row = compare(ours.step, compiled, rounds, device)
        row["ours_state_bytes"] = state_bytes(ours)
        row["torch_state_bytes"] = state_bytes(same)
        row["cold_start_s"] = round(cold_start, 1)
        yield {"optimizer": name, "model": model, "against": "torch.compile"} | row


def device_name(device: str) -> str:
    """Name the processor as its maker does."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":")[1] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor()


def append_rows(path: Path, rows: Iterable[dict[str, object]]) -> None:
    """Append to a CSV file, which is either replaced whole or left as it was."""
    old = list(csv.DictReader(path.open(newline=""))) if path.exists() else []
    rows = [*old, *rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, newline="", delete=False
    ) as file:
        writer = csv.DictWriter(file, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def main() -> None:
    """Measure the optimizers on every model and store the rows."""
    names = list(dict.fromkeys([*OPTIMIZERS, *COMPILED]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--no-compile", action="store_true", help="leave out claim 3")
    parser.add_argument("--no-save", action="store_true", help="only print the rows")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    # A cold start is one that finds nothing compiled by an earlier run.
    torch.compiler.config.force_disable_caches = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    measured_on = {
        "date": datetime.date.today().isoformat(),
        "device": device_name(device),
        "threads": args.threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    rows = []
    for measure, table in (
        (against_torch, OPTIMIZERS),
        (against_compiled, {} if args.no_compile else COMPILED),
    ):
        for name in table:
            if name not in args.only:
                continue
            for row in measure(name, args.rounds, device):
                rows.append(row | measured_on)
                cold_start = row.get("cold_start_s")
                print(
                    f"{row['optimizer']:28} {row['model']:24} {row['against']:14}"
                    f" {row['ours_us']:9.1f} us  ratio {row['ratio']:.2f}"
                    f" [{row['ratio_q1']:.2f}, {row['ratio_q3']:.2f}]"
                    + (f"  first step {cold_start} s" if cold_start else ""),
                    flush=True,
                )
    if not args.no_save:
        append_rows(RESULTS, rows)


if __name__ == "__main__":
    main()
