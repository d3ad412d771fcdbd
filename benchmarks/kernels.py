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
import importlib
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.optimizers import append_rows

RESULTS = Path(__file__).parent / "results" / "kernels.csv"


@dataclass(frozen=True)
class Sizes:
    """How large the tensors are: far larger than the cache of a GPU, or tiny."""

    elements: int = 2**27
    rows: int = 2**14
    cols: int = 4096
    tensors: int = 300
    inner: int = 8192
    batch: int = 16
    length: int = 4096


TINY = Sizes(600, 8, 64, 3, 64, 16, 32)


@dataclass(frozen=True)
class Case:
    """What is timed: ours, the same in torch, and the same in cuBLAS if it has it."""

    variant: str
    ours: Callable[[], Any]
    eager: Callable[[], Any]
    bytes: float = 0
    operations: float = 0
    cublas: Callable[[], Any] | None = None
    fused: Callable[[], Any] | None = None  # torch's own fused form
    compiled: bool = True


# What is counted: bytes of an element are b, as in the docstrings of the kernels.


def elementwise_bytes(elements: int, b: int, *, reads: int, writes: int) -> int:
    """Count what a kernel moves that touches each element so many times."""
    return elements * b * (reads + writes)


def optimizer_bytes(elements: int, b: int, *, averages: int) -> int:
    """Count w, g read and w written, and each float32 average read and written."""
    return elements * (3 * b + 8 * averages)


def mask_bytes(elements: int, b: int) -> int:
    """Count a pass for each 8 bits, then a read and a byte of the mask."""
    return elements * (b * b + b + 1)


def quantize_bytes(elements: int, b: int, *, bits: int, group_size: int) -> float:
    """Count elements, codes, and 5 bytes a group for its scale and zero point."""
    return elements * (b + bits / 8 + 5 / group_size)


def matmul_operations(rows: int, inner: int, cols: int, *, density: float = 1) -> float:
    """Count a product and a sum for each pair that is multiplied."""
    return 2 * rows * inner * cols * density


def matmul_bytes(
    rows: int, inner: int, cols: int, b: int, *, weight_bytes: float
) -> float:
    """Count input and output at b bytes and the weight at bytes of its own."""
    return b * rows * (inner + cols) + weight_bytes * inner * cols


def attention_operations(batch: int, length: int, dim: int, *, causal: bool) -> float:
    """Count scores and output, 2 L L D each, half of them where a causal mask is."""
    return batch * 4 * length * length * dim / (2 if causal else 1)


# The cases. A function of a kernel is looked up when it is asked for.


def of(kernel: str, name: str | None = None) -> Any:
    """Return the function of a kernel's file that has its name, or another one."""
    return getattr(importlib.import_module(f"mlopt_kernels.{kernel}"), name or kernel)


def _vector_add(sizes: Sizes, device: str) -> Iterator[Case]:
    x, y = (torch.randn(sizes.elements, device=device) for _ in range(2))
    add = of("vector_add")
    moved = elementwise_bytes(sizes.elements, 4, reads=2, writes=1)
    yield Case("float32", lambda: add(x, y), lambda: x + y, moved, sizes.elements)


def _axpy(sizes: Sizes, device: str) -> Iterator[Case]:
    x, y = (torch.randn(sizes.elements, device=device) for _ in range(2))
    ours = of("axpy")
    moved = elementwise_bytes(sizes.elements, 4, reads=2, writes=1)
    yield Case(
        "float32",
        lambda: ours(x, y, alpha=1.5),
        lambda: torch.add(y, x, alpha=1.5),
        moved,
        2 * sizes.elements,
    )


def _reduction(sizes: Sizes, device: str) -> Iterator[Case]:
    x = torch.randn(sizes.rows, sizes.cols, device=device)
    total, rows = of("reduction", "sum_all"), of("reduction", "sum_rows")
    moved = elementwise_bytes(x.numel(), 4, reads=1, writes=0)
    yield Case("all, float32", lambda: total(x), lambda: x.sum(), moved, x.numel())
    yield Case("rows, float32", lambda: rows(x), lambda: x.sum(-1), moved, x.numel())


def _softmax(sizes: Sizes, device: str) -> Iterator[Case]:
    x = torch.randn(sizes.rows, sizes.cols, device=device)
    ours = of("softmax")
    moved = elementwise_bytes(x.numel(), 4, reads=1, writes=1)
    yield Case("float32", lambda: ours(x), lambda: x.softmax(-1), moved, 5 * x.numel())


def _layer_norm(sizes: Sizes, device: str) -> Iterator[Case]:
    x = torch.randn(sizes.rows, sizes.cols, device=device)
    weight, bias = x[0].clone(), x[1].clone()
    ours = of("layer_norm")
    yield Case(
        "float32",
        lambda: ours(x, weight, bias),
        lambda: functional.layer_norm(x, x.shape[-1:], weight, bias),
        elementwise_bytes(x.numel(), 4, reads=1, writes=1),
        9 * x.numel(),
    )


def _rms_norm(sizes: Sizes, device: str) -> Iterator[Case]:
    x = torch.randn(sizes.rows, sizes.cols, device=device)
    weight = x[0].clone()
    ours = of("rms_norm")
    yield Case(
        "float32",
        lambda: ours(x, weight),
        lambda: functional.rms_norm(x, x.shape[-1:], weight, 1e-6),
        elementwise_bytes(x.numel(), 4, reads=1, writes=1),
        4 * x.numel(),
    )


def _dropout(sizes: Sizes, device: str) -> Iterator[Case]:
    x = torch.randn(sizes.elements, device=device)
    ours = of("dropout")
    yield Case(
        "float32",
        lambda: ours(x, 0.1, seed=3),
        lambda: functional.dropout(x, 0.1),
        elementwise_bytes(x.numel(), 4, reads=1, writes=1),
        25 * x.numel(),
    )


def _cross_entropy(sizes: Sizes, device: str) -> Iterator[Case]:
    logits = torch.randn(sizes.rows, sizes.cols, device=device, requires_grad=True)
    labels = torch.randint(sizes.cols, (sizes.rows,), device=device)
    ours = of("cross_entropy")
    # Ours stores the gradient as it finds the loss, and scales it in backward.
    yield Case(
        "forward and backward, float32",
        lambda: torch.autograd.grad(ours(logits, labels), logits),
        lambda: torch.autograd.grad(functional.cross_entropy(logits, labels), logits),
        elementwise_bytes(logits.numel(), 4, reads=2, writes=2),
        6 * logits.numel(),
        compiled=False,
    )


def _distillation_loss(sizes: Sizes, device: str) -> Iterator[Case]:
    student, teacher = (
        torch.randn(sizes.rows, sizes.cols, device=device) for _ in range(2)
    )
    labels = torch.randint(sizes.cols, (sizes.rows,), device=device)
    ours = of("distillation_loss")

    def eager() -> Tensor:
        soft = functional.kl_div(
            functional.log_softmax(student / 4, -1),
            functional.log_softmax(teacher / 4, -1),
            log_target=True,
            reduction="batchmean",
        )
        return 0.1 * functional.cross_entropy(student, labels) + 0.9 * 16 * soft

    yield Case(
        "forward, float32",
        lambda: ours(student, teacher, labels),
        eager,
        elementwise_bytes(student.numel(), 4, reads=2, writes=0),
        12 * student.numel(),
    )


def _tensors(sizes: Sizes, device: str) -> list[Tensor]:
    size = max(1, sizes.elements // sizes.tensors)
    return [torch.randn(size, device=device) for _ in range(sizes.tensors)]


def _fused_adamw(sizes: Sizes, device: str) -> Iterator[Case]:
    optimizers = []
    for build in (
        of("fused_adamw", "FusedAdamW"),
        lambda params: torch.optim.AdamW(params, foreach=True),
        lambda params: torch.optim.AdamW(params, fused=True),
    ):
        params = [torch.nn.Parameter(tensor) for tensor in _tensors(sizes, device)]
        for param in params:
            param.grad = torch.ones_like(param)
        optimizers.append(build(params))
    ours, foreach, fused = optimizers
    elements = sum(param.numel() for param in ours.param_groups[0]["params"])
    yield Case(
        f"{sizes.tensors} tensors, float32",
        ours.step,
        foreach.step,
        optimizer_bytes(elements, 4, averages=2),
        14 * elements,
        fused=fused.step,
        compiled=False,
    )


def _fused_lion(sizes: Sizes, device: str) -> Iterator[Case]:
    ours = of("fused_lion", "fused_lion_")
    params, grads, exp_avgs = (_tensors(sizes, device) for _ in range(3))
    elements = sum(param.numel() for param in params)

    def eager() -> None:
        directions = torch._foreach_lerp(exp_avgs, grads, 0.1)
        torch._foreach_sign_(directions)
        torch._foreach_add_(params, directions, alpha=-1e-4)
        torch._foreach_lerp_(exp_avgs, grads, 0.01)

    yield Case(
        f"{sizes.tensors} tensors, float32",
        lambda: ours(params, grads, exp_avgs, lr=1e-4),
        eager,
        optimizer_bytes(elements, 4, averages=1),
        10 * elements,
    )


def _clip_grad_norm(sizes: Sizes, device: str) -> Iterator[Case]:
    ours = of("clip_grad_norm", "clip_grad_norm_")
    params = _tensors(sizes, device)
    for param in params:
        param.grad = torch.randn_like(param)
    elements = sum(param.numel() for param in params)
    largest = [elements**0.5 / 2]  # of the norm, about

    def falling(clip: Callable[..., Tensor]) -> Tensor:
        # Each time a little less, so that each time all gradients must be scaled.
        largest[0] *= 0.999
        return clip(params, largest[0])

    yield Case(
        f"{sizes.tensors} tensors, float32",
        lambda: falling(ours),
        lambda: falling(torch.nn.utils.clip_grad_norm_),
        elementwise_bytes(elements, 4, reads=2, writes=1),
        3 * elements,
        compiled=False,
    )


def _magnitude_mask(sizes: Sizes, device: str) -> Iterator[Case]:
    weight = torch.randn(sizes.elements, device=device)
    ours = of("magnitude_mask")

    def eager() -> Tensor:
        magnitude = weight.abs()
        return magnitude > magnitude.kthvalue(weight.numel() // 2).values

    moved = mask_bytes(weight.numel(), 4)
    yield Case(
        "half, float32", lambda: ours(weight, 0.5), eager, moved, 22 * weight.numel()
    )


def _group_quantize(sizes: Sizes, device: str) -> Iterator[Case]:
    x = torch.randn(sizes.rows, sizes.cols, device=device)
    ours, back = of("group_quantize"), of("group_quantize", "group_dequantize")
    reference = of("group_quantize", "group_quantize_reference")
    undone = of("group_quantize", "group_dequantize_reference")
    for bits in (8, 4):
        codes = ours(x, 64, bits=bits)
        moved = quantize_bytes(x.numel(), 4, bits=bits, group_size=64)
        yield Case(
            f"{bits} bits, float32",
            lambda bits=bits: ours(x, 64, bits=bits),
            lambda bits=bits: reference(x, 64, bits=bits),
            moved,
            8 * x.numel(),
        )
        yield Case(
            f"back from {bits} bits, float32",
            lambda codes=codes: back(*codes),
            lambda codes=codes: undone(*codes),
            moved,
            3 * x.numel(),
        )


def _bfloat16(rows: int, cols: int, device: str) -> Tensor:
    return torch.randn(rows, cols, device=device).bfloat16()


def _matmul(sizes: Sizes, device: str) -> Iterator[Case]:
    n = sizes.inner
    x, y = _bfloat16(n, n, device), _bfloat16(n, n, device)
    ours = of("matmul")
    yield Case(
        "bfloat16",
        lambda: ours(x, y),
        lambda: x @ y,
        matmul_bytes(n, n, n, 2, weight_bytes=2),
        matmul_operations(n, n, n),
        cublas=lambda: x @ y,
    )


def _int8_matmul(sizes: Sizes, device: str) -> Iterator[Case]:
    n = sizes.inner
    x, weight = (
        torch.randint(-127, 128, (n, n), device=device).to(torch.int8) for _ in range(2)
    )
    scale = torch.full((n,), 0.01, device=device)
    wide, wide_weight = x.bfloat16(), weight.bfloat16()
    ours = of("int8_matmul")
    options = {"x_scale": scale, "weight_scale": scale, "dtype": torch.bfloat16}
    yield Case(
        "to bfloat16",
        lambda: ours(x, weight, **options),
        lambda: torch._int_mm(x, weight.t()),
        matmul_bytes(n, n, n, 1, weight_bytes=1) + n * n,
        matmul_operations(n, n, n),
        cublas=lambda: wide @ wide_weight.t(),
    )


def _int4_matmul(sizes: Sizes, device: str) -> Iterator[Case]:
    n, batch = sizes.inner, sizes.batch
    group_size = min(128, n)
    x, dense = _bfloat16(batch, n, device), _bfloat16(n, n, device)
    packed = torch.randint(256, (n, n // 2), device=device).to(torch.uint8)
    scale = torch.full((n, n // group_size), 0.01, device=device)
    zero_point = torch.full_like(scale, 8).to(torch.uint8)
    ours = of("int4_matmul")
    reference = of("int4_matmul", "int4_matmul_reference")
    moved = matmul_bytes(batch, n, n, 2, weight_bytes=0.5 + 5 / group_size)
    yield Case(
        f"batch {batch}, bfloat16",
        lambda: ours(x, packed, scale=scale, zero_point=zero_point),
        lambda: reference(x, packed, scale=scale, zero_point=zero_point),
        moved,
        matmul_operations(batch, n, n),
        cublas=lambda: x @ dense.t(),
    )


def _sparse24(sizes: Sizes, device: str) -> Iterator[Case]:
    n, batch = sizes.inner, sizes.batch
    x, dense = _bfloat16(batch, n, device), _bfloat16(n, n, device)
    dense *= torch.tensor([1, 0, 1, 0], device=device).repeat(n // 4)
    values, places = of("sparse24", "sparse24_compress")(dense)
    ours = of("sparse24", "sparse24_matmul")
    moved = matmul_bytes(batch, n, n, 2, weight_bytes=1 + 1 / 8)
    yield Case(
        f"batch {batch}, bfloat16",
        lambda: ours(x, values, places=places),
        lambda: x @ dense.t(),
        moved,
        matmul_operations(batch, n, n),
        cublas=lambda: x @ dense.t(),
    )


def _block_sparse_matmul(sizes: Sizes, device: str) -> Iterator[Case]:
    n, block = sizes.inner, 32
    x, dense = _bfloat16(n, n, device), _bfloat16(n, n, device)
    # A chessboard: exactly half of the blocks.
    place = torch.arange(n, device=device) // block
    dense *= (place[:, None] + place) % 2
    values, columns, starts = of("block_sparse_matmul", "block_sparse")(
        dense, block_size=block
    )
    ours = of("block_sparse_matmul")
    yield Case(
        "half of the blocks, bfloat16",
        lambda: ours(x, values, columns=columns, starts=starts, n_cols=n),
        lambda: x @ dense.t(),
        matmul_bytes(n, n, n, 2, weight_bytes=1),
        matmul_operations(n, n, n, density=0.5),
        cublas=lambda: x @ dense.t(),
    )


def _attention(sizes: Sizes, device: str) -> Iterator[Case]:
    shape = (4, 16, sizes.length, 64)
    query, key, value = (torch.randn(shape, device=device).bfloat16() for _ in range(3))
    ours = of("attention")
    for causal in (False, True):
        yield Case(
            f"{'causal, ' if causal else ''}bfloat16",
            lambda causal=causal: ours(query, key, value, causal=causal),
            lambda causal=causal: functional.scaled_dot_product_attention(
                query, key, value, is_causal=causal
            ),
            4 * query.nbytes,
            attention_operations(64, sizes.length, 64, causal=causal),
        )


MEMORY_BOUND = {
    case.__name__[1:]: case
    for case in (
        _vector_add,
        _axpy,
        _reduction,
        _softmax,
        _layer_norm,
        _rms_norm,
        _dropout,
        _cross_entropy,
        _distillation_loss,
        _fused_adamw,
        _fused_lion,
        _clip_grad_norm,
        _magnitude_mask,
        _group_quantize,
    )
}
TENSOR_CORE = {
    case.__name__[1:]: case
    for case in (
        _matmul,
        _int8_matmul,
        _int4_matmul,
        _sparse24,
        _block_sparse_matmul,
        _attention,
    )
}
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
    x, y = _bfloat16(8192, 8192, "cuda"), _bfloat16(8192, 8192, "cuda")
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
