"""Measure a step of each optimizer against torch's own forms of it, in one run.

Claim: a step takes no longer than torch's foreach form (ratio at most 1 within the
spread), with equal memory. Both optimizers step in turn on tensors of the same shapes,
so that a busy machine slows both; on a CPU a step is timed in CPU seconds, which leave
out the time other programs take. A ratio is the median over rounds, its spread the
quartiles. Rows are appended to `results/optimizers.csv`.

    python benchmarks/optimizers.py [--rounds 200] [--threads 1]
"""

import argparse
import csv
import datetime
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch.nn import Parameter

from mlopt_edu.optim import SGD, GradientDescent

RESULTS = Path(__file__).parent / "results" / "optimizers.csv"

Shapes = list[tuple[int, ...]]
Make = Callable[[list[Parameter]], torch.optim.Optimizer]

MODELS: dict[str, Shapes] = {
    "MLP 64-128-64-10": [(128, 64), (128,), (64, 128), (64,), (10, 64), (10,)],
    "100 tensors of 16x16": [(16, 16)] * 100,
    "4 tensors of 1000x1000": [(1000, 1000)] * 4,
}

MOMENTUM = {"lr": 1e-4, "momentum": 0.9}
NESTEROV = {"lr": 1e-4, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}

# Per case: ours, then torch's with the choice of its form left open.
OPTIMIZERS: dict[str, tuple[Make, Callable[..., torch.optim.Optimizer], dict]] = {
    "GradientDescent": (
        lambda params: GradientDescent(params, 1e-4),
        torch.optim.SGD,
        {"lr": 1e-4},
    ),
    "SGD momentum": (lambda params: SGD(params, **MOMENTUM), torch.optim.SGD, MOMENTUM),
    "SGD Nesterov, decay": (
        lambda params: SGD(params, **NESTEROV),
        torch.optim.SGD,
        NESTEROV,
    ),
}

FORMS = {"foreach": {"foreach": True}, "fused": {"fused": True}}


def parameters(shapes: Shapes, device: str) -> list[Parameter]:
    """Draw parameters with gradients."""
    torch.manual_seed(0)
    params = [Parameter(torch.randn(shape, device=device)) for shape in shapes]
    for param in params:
        param.grad = torch.randn_like(param)
    return params


def step_seconds(optimizer: torch.optim.Optimizer, device: str) -> float:
    """Time one step: in CPU seconds, or on a GPU to the end of its work."""
    if device == "cpu":
        begin = time.process_time()
        optimizer.step()
        return time.process_time() - begin
    torch.cuda.synchronize()
    begin = time.perf_counter()
    optimizer.step()
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


def compare(make: Make, make_torch: Make, shapes: Shapes, *, rounds: int, device: str):
    """Step both in turn and return one result row."""
    ours = make(parameters(shapes, device))
    theirs = make_torch(parameters(shapes, device))
    pairs = []
    for step in range(rounds + 20):
        # Whoever goes second finds other caches: take turns.
        if step % 2:
            second = step_seconds(theirs, device)
            pairs.append((step_seconds(ours, device), second))
        else:
            pairs.append((step_seconds(ours, device), step_seconds(theirs, device)))
    del pairs[:20]
    low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    return {
        "ours_us": round(1e6 * statistics.median(a for a, _ in pairs), 1),
        "torch_us": round(1e6 * statistics.median(b for _, b in pairs), 1),
        "ratio": round(middle, 3),
        "ratio_q1": round(low, 3),
        "ratio_q3": round(high, 3),
        "ours_state_bytes": state_bytes(ours),
        "torch_state_bytes": state_bytes(theirs),
    }


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
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, newline="", delete=False
    ) as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def main() -> None:
    """Measure every optimizer on every model and store the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-save", action="store_true", help="only print the rows")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    measured_on = {
        "date": datetime.date.today().isoformat(),
        "device": device_name(device),
        "threads": args.threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    rows = []
    for name, (make, torch_class, options) in OPTIMIZERS.items():
        for model, shapes in MODELS.items():
            for form, chosen in FORMS.items():

                def make_torch(
                    params: list[Parameter],
                    torch_class: Callable[..., torch.optim.Optimizer] = torch_class,
                    options: dict = options | chosen,
                ) -> torch.optim.Optimizer:
                    return torch_class(params, **options)

                row = compare(
                    make, make_torch, shapes, rounds=args.rounds, device=device
                )
                case = {"optimizer": name, "model": model, "against": f"torch {form}"}
                rows.append(case | row | measured_on)
                print(
                    f"{name:20} {model:23} {form:8} {row['ours_us']:9.1f} us"
                    f"  ratio {row['ratio']:.2f} [{row['ratio_q1']:.2f},"
                    f" {row['ratio_q3']:.2f}]"
                )
    if not args.no_save:
        append_rows(RESULTS, rows)


if __name__ == "__main__":
    main()
