"""Measure what 16-bit training costs and saves: time, memory, final loss, in one run.

Claims: 16-bit weights halve what is held for the backward pass; bfloat16 with master
weights reaches the loss of float32; whether it saves time depends on the model and on
whether the processor has matrix units for it. On a CPU float16 is slower throughout.
float16 alone fails: the squared gradients that Adam keeps underflow. Where gradients
are small, as in the autoencoder of pixels in thousandths, it needs the loss scaler too.

All ways to train see the same batches from the same start and step in turn, so that a
busy machine slows all; on a CPU a step is timed in CPU seconds, which leave out the
time other programs take. A ratio is the median over steps of a way's time by that of
float32 in the same round, its spread the quartiles. Bytes are those of the tensors that
autograd saves in one forward pass, the parameters themselves left out and 16-bit copies
of them counted. The share of zeros among the gradients of the last batch, more than
float32 has, tells what underflowed. Rows are appended to `results/mixed_precision.csv`.

    python -m benchmarks.mixed_precision [--steps 50] [--seeds 3] [--threads 1]
"""

import argparse
import copy
import datetime
import platform
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from benchmarks.optimizers import append_rows, device_name, seconds
from mlopt_edu.datasets import fashion_mnist, random_windows, shakespeare
from mlopt_edu.mixed_precision import LossScaler, MasterWeights
from mlopt_edu.models import CharGPT, SmallCNN, mlp

RESULTS = Path(__file__).parent / "results" / "mixed_precision.csv"

Batch = tuple[Tensor, Tensor]


class Way:
    """One way to train: a model, its optimizer, and which types they use.

    Args:
        model: Copied, so that all ways begin alike.
        criterion: Loss of float32 outputs against targets.
        lr: Step size of AdamW.
        weights: Type of the weights.
        autocast: Type to which torch casts inside, or None.
        master: Keep float32 copies of the weights.
        scaled: Scale the loss.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Callable[[Tensor, Tensor], Tensor],
        *,
        lr: float,
        device: str,
        weights: torch.dtype = torch.float32,
        autocast: torch.dtype | None = None,
        master: bool = False,
        scaled: bool = False,
    ) -> None:
        self.model = copy.deepcopy(model).to(device, weights)
        self.criterion = criterion
        self.device, self.weights, self.autocast = device, weights, autocast
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr)
        self.optimizer = MasterWeights(optimizer) if master else optimizer
        # Growth every 25 steps: a run is short.
        self.scaler = LossScaler(growth_interval=25, enabled=scaled)
        self.skipped = 0

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss, computed in float32."""
        x, y = (part.to(self.device) for part in batch)
        if x.is_floating_point():
            x = x.to(self.weights)
        with torch.autocast(
            self.device, self.autocast, enabled=self.autocast is not None
        ):
            outputs = self.model(x)
        return self.criterion(outputs.float(), y)

    def step(self, batch: Batch) -> None:
        """Take one step of training."""
        before = self.scaler.get_scale()
        self.scaler.scale(self.loss(batch)).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.skipped += self.scaler.get_scale() < before


WAYS: dict[str, dict] = {
    "float32": {},
    "bfloat16 autocast": {"autocast": torch.bfloat16},
    "bfloat16 alone": {"weights": torch.bfloat16},
    "bfloat16, master weights": {"weights": torch.bfloat16, "master": True},
    "float16 alone": {"weights": torch.float16},
    "float16 autocast": {"autocast": torch.float16},
    "float16 autocast, scaled": {"autocast": torch.float16, "scaled": True},
    "float16, master weights, scaled": {
        "weights": torch.float16,
        "master": True,
        "scaled": True,
    },
}


def image_batches(rng: np.random.Generator, size: int) -> tuple[Iterator[Batch], Batch]:
    """Yield batches of training images for ever, and return the test set."""
    data = fashion_mnist()

    def tensors(images: np.ndarray, labels: np.ndarray) -> Batch:
        x = torch.from_numpy(images[:, None].astype(np.float32) / 255)
        return x, torch.from_numpy(labels)

    def batches() -> Iterator[Batch]:
        while True:
            places = rng.integers(len(data.train_labels), size=size)
            yield tensors(data.train_images[places], data.train_labels[places])

    return batches(), tensors(data.test_images, data.test_labels)


def small_pixels(rng: np.random.Generator, size: int) -> tuple[Iterator[Batch], Batch]:
    """Pair images, flat, with their pixels in thousandths of the full brightness."""
    batches, (images, _) = image_batches(rng, size)

    def paired(images: Tensor) -> Batch:
        return images.flatten(1), images.flatten(1) / 1000

    return (paired(images) for images, _ in batches), paired(images)


def autoencoder() -> nn.Module:
    """Return a net whose first answer is 0, as small as its targets."""
    net = mlp([784, 64, 784])
    nn.init.zeros_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    return net


def character_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy over all characters."""
    return cross_entropy(logits.flatten(0, 1), targets.flatten())


def text_batches(
    rng: np.random.Generator, size: int, context: int
) -> tuple[Iterator[Batch], Batch]:
    """Yield windows of Shakespeare for ever, and return 200 of the validation part."""
    data = shakespeare()

    def windows(ids: np.ndarray, count: int) -> Batch:
        x, y = random_windows(ids, count=count, context=context, rng=rng)
        return torch.from_numpy(x), torch.from_numpy(y)

    validation = windows(data.validation, 200)

    def batches() -> Iterator[Batch]:
        while True:
            yield windows(data.train, size)

    return batches(), validation


@dataclass(frozen=True)
class Case:
    """A model, its data, its loss, its step size, and its share of the steps."""

    make: Callable[[np.random.Generator], tuple[nn.Module, Iterator[Batch], Batch]]
    criterion: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    lr: float = 1e-3
    share: float = 1.0


CASES = {
    "MLP 784-512-512-10, batch 128": Case(
        lambda rng: (
            nn.Sequential(nn.Flatten(), mlp([784, 512, 512, 10])),
            *image_batches(rng, 128),
        )
    ),
    # The backward pass of a float16 convolution has no fast form on CPUs and takes
    # some thirty times as long.
    "CNN 16-32, batch 16": Case(
        lambda rng: (SmallCNN(), *image_batches(rng, 16)), share=0.2
    ),
    "GPT 2x128, batch 8x32": Case(
        lambda rng: (CharGPT(63, width=128), *text_batches(rng, 8, 32)), character_loss
    ),
    "autoencoder 784-64-784, batch 256": Case(
        lambda rng: (autoencoder(), *small_pixels(rng, 256)), mse_loss, lr=1e-4
    ),
}


def saved_bytes(way: Way, batch: Batch) -> int:
    """Count the bytes that autograd holds between forward and backward."""
    known = {param.untyped_storage().data_ptr() for param in way.model.parameters()}
    held: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = way.loss(batch)
    del loss
    return sum(held.values())


def zero_share(way: Way, batch: Batch) -> float:
    """Return the share of zeros among the gradients of a batch."""
    way.scaler.scale(way.loss(batch)).backward()
    grads = [param.grad for param in way.model.parameters() if param.grad is not None]
    way.optimizer.zero_grad()
    return sum((grad == 0).sum().item() for grad in grads) / sum(
        grad.numel() for grad in grads
    )


def train(
    model: str, *, seed: int, steps: int, device: str
) -> dict[str, dict[str, float | list[float]]]:
    """Train in every way, each step in turn; return what was measured of each."""
    torch.manual_seed(seed)
    case = CASES[model]
    net, batches, test = case.make(np.random.default_rng(seed))
    ways = {
        name: Way(net, case.criterion, lr=case.lr, device=device, **options)
        for name, options in WAYS.items()
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for _ in range(round(case.share * steps)):
        batch = next(batches)
        for name in names:
            times[name].append(seconds(partial(ways[name].step, batch), device))
        names.append(names.pop(0))  # whoever comes first finds other caches
    measured = {}
    for name, way in ways.items():
        size, zeros = saved_bytes(way, batch), zero_share(way, batch)
        way.model.float()
        way.weights, way.autocast = torch.float32, None
        with torch.no_grad():
            loss = way.loss(test).item()
        measured[name] = {
            "times": times[name],
            "bytes": size,
            "zeros": zeros,
            "loss": loss,
            "skipped": way.skipped,
        }
    return measured


def summary(runs: list[dict], name: str) -> dict[str, float]:
    """Return one result row from the runs of all seeds."""
    pairs = [
        pair
        for run in runs
        for pair in zip(run[name]["times"], run["float32"]["times"], strict=True)
    ]
    low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    losses = [run[name]["loss"] for run in runs]
    ratios = [run[name]["loss"] / run["float32"]["loss"] for run in runs]
    return {
        "step_us": round(1e6 * statistics.median(a for a, _ in pairs), 1),
        "ratio": round(middle, 3),
        "ratio_q1": round(low, 3),
        "ratio_q3": round(high, 3),
        "saved_bytes": runs[0][name]["bytes"],
        "saved_ratio": round(runs[0][name]["bytes"] / runs[0]["float32"]["bytes"], 3),
        "loss": float(f"{statistics.mean(losses):.4g}"),
        "loss_ratio": round(statistics.mean(ratios), 4),
        "loss_ratio_lowest": round(min(ratios), 4),
        "loss_ratio_highest": round(max(ratios), 4),
        "zero_gradients": round(statistics.mean(run[name]["zeros"] for run in runs), 4),
        "skipped_steps": sum(run[name]["skipped"] for run in runs),
        "seeds": len(runs),
        "steps": len(runs[0][name]["times"]),
    }


def main() -> None:
    """Train every model in every way and store the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-save", action="store_true", help="only print the rows")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    measured_on = {
        "date": datetime.date.today().isoformat(),
        "device": device_name(device),
        "matrix_units": device == "cuda" or torch.cpu._is_amx_tile_supported(),
        "threads": args.threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    rows = []
    for model in CASES:
        runs = [
            train(model, seed=seed, steps=args.steps, device=device)
            for seed in range(args.seeds)
        ]
        for name in WAYS:
            row = summary(runs, name)
            rows.append({"model": model, "way": name} | row | measured_on)
            print(
                f"{model:34} {name:32} {row['step_us']:9.1f} us  ratio "
                f"{row['ratio']:.2f} [{row['ratio_q1']:.2f}, {row['ratio_q3']:.2f}]"
                f"  saved {row['saved_ratio']:.2f}  loss {row['loss']:.4g}"
                f" ({row['loss_ratio']:.3f})"
                f"  zeros {row['zero_gradients']:.4f}  skipped {row['skipped_steps']}"
            )
    if not args.no_save:
        append_rows(RESULTS, rows)


if __name__ == "__main__":
    main()
