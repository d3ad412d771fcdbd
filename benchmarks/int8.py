"""Measure 8-bit linear layers against float32, torchao and onnxruntime, in one run.

Claims:

1. `Int8Dynamic` takes at most half the time of float32 at 64 rows and more. At one row
   it is about as fast: the steps around the product take what the product saves. It
   takes no more than torchao's dynamic 8-bit layer at any of the three sizes;
   onnxruntime, whose steps are one kernel, takes less than both.
2. The layer takes a quarter of the memory, and of the disk; 4 bits an eighth, and more
   time, since the weight is unpacked on each call.

All ways take turns, so that a busy machine slows all. A ratio is the median over rounds
of a way's time by that of float32 in the same round, its spread the quartiles. The
error is that of the results, ‖y - y'‖ / ‖y‖. Bytes in memory are those of parameters
and buffers (of onnxruntime unknown), bytes on disk those of the file. Rows are appended
to `results/int8.csv`.

    python -m benchmarks.int8 [--rounds 50] [--threads 1]
"""

import argparse
import copy
import datetime
import importlib.metadata
import logging
import platform
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from onnxruntime.quantization import quantize_dynamic
from torch import Tensor, nn
from torchao.quantization import Int8DynamicActivationInt8WeightConfig
from torchao.quantization import quantize_ as torchao_quantize_

from benchmarks.optimizers import append_rows, device_name
from mlopt_edu.evaluation import bytes_of, compare_latency
from mlopt_edu.quantization import (
    NF4,
    Int8Dynamic,
    Int8Static,
    WeightOnly,
    export_onnx,
    quantize_,
    save_quantized,
)

RESULTS = Path(__file__).parent / "results" / "int8.csv"

# Rows of the input, features in, features out.
SIZES = [(1, 1024, 1024), (64, 1024, 1024), (512, 2048, 2048)]

FLOAT, OURS, TORCHAO = "float32", "Int8Dynamic", "torchao dynamic"


def ways(
    model: nn.Module, x: Tensor, folder: Path, threads: int
) -> dict[str, tuple[Callable[[], Tensor], int | None, int]]:
    """Return of each way its call, its bytes in memory, and on disk."""
    methods = {
        OURS: Int8Dynamic(),
        "Int8Static": Int8Static(inputs=[x]),
        "WeightOnly(bits=8)": WeightOnly(bits=8),
        "WeightOnly(bits=4, group_size=64)": WeightOnly(bits=4, group_size=64),
        "NF4()": NF4(),
    }
    file = folder / "model"
    save_quantized(file, model)
    found = {FLOAT: (lambda: model(x), bytes_of(model), file.stat().st_size)}
    for name, method in methods.items():
        quantized = copy.deepcopy(model)
        quantize_(quantized, method)
        save_quantized(file, quantized)
        found[name] = (
            lambda quantized=quantized: quantized(x),
            bytes_of(quantized),
            file.stat().st_size,
        )
    theirs = copy.deepcopy(model)
    torchao_quantize_(theirs, Int8DynamicActivationInt8WeightConfig())
    torch.save(theirs.state_dict(), file)
    found[TORCHAO] = (lambda: theirs(x), bytes_of(theirs), file.stat().st_size)

    real, whole = folder / "float.onnx", folder / "int8.onnx"
    export_onnx(real, model, x, dynamic_batch=False)
    quantize_dynamic(real, whole, per_channel=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(whole, options)
    inputs = {session.get_inputs()[0].name: x.numpy()}
    found["onnxruntime dynamic"] = (
        lambda: torch.from_numpy(session.run(None, inputs)[0]),
        None,
        whole.stat().st_size,
    )
    return found


@torch.no_grad()
def measure(size: tuple[int, int, int], *, rounds: int, threads: int) -> list[dict]:
    """Return a row for each way."""
    rows, fan_in, fan_out = size
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(fan_in, fan_out)).eval()
    x = torch.randn(rows, fan_in)
    with tempfile.TemporaryDirectory() as folder:
        found = ways(model, x, Path(folder), threads)
        timed = compare_latency(
            {name: call for name, (call, *_) in found.items()}, rounds=rounds
        )
        y = model(x)
        return [
            {
                "rows": rows,
                "in_features": fan_in,
                "out_features": fan_out,
                "way": name,
                "microseconds": round(1e6 * timed[name].seconds.median, 1),
                "ratio": round(timed[name].ratio.median, 3),
                "ratio_q1": round(timed[name].ratio.low, 3),
                "ratio_q3": round(timed[name].ratio.high, 3),
                "error": float(f"{((call() - y).norm() / y.norm()).item():.3g}"),
                "bytes_memory": in_memory,
                "bytes_disk": on_disk,
                "rounds": rounds,
            }
            for name, (call, in_memory, on_disk) in found.items()
        ]


def main() -> None:
    """Measure every size and store the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-save", action="store_true", help="only print the rows")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable()  # onnxruntime's quantizer asks for what it can do without
    warnings.simplefilter("ignore")
    measured_on = {
        "date": datetime.date.today().isoformat(),
        "device": device_name("cpu"),
        "matrix_units": torch.cpu._is_amx_tile_supported(),
        "threads": args.threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchao": importlib.metadata.version("torchao"),
        "onnxruntime": onnxruntime.__version__,
    }
    rows = []
    for size in SIZES:
        for row in measure(size, rounds=args.rounds, threads=args.threads):
            rows.append(row | measured_on)
            print(
                f"{'x'.join(map(str, size)):14} {row['way']:34} "
                f"{row['microseconds']:10.1f} us  ratio {row['ratio']:.2f} "
                f"[{row['ratio_q1']:.2f}, {row['ratio_q3']:.2f}]  "
                f"error {row['error']:.4f}  memory {row['bytes_memory'] or 0:9d}  "
                f"disk {row['bytes_disk']:9d}"
            )
    if not args.no_save:
        append_rows(RESULTS, rows)


if __name__ == "__main__":
    main()
