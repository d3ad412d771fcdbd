"""Measure structured pruning: MACs, time, accuracy together; against Torch-Pruning.

Claims:

1. Removing channels for real saves time: half of the channels of every layer leave
   about a quarter of the MACs, and the measured time falls too, though less.
2. Accuracy right after the removal says little; fine-tuning brings most of it back.
3. Without batch norm the low end of the entropies is the one to remove: with the high
   end removed accuracy falls below that of random units.
4. Where both work, ours and Torch-Pruning leave the same shapes; the rows say how the
   accuracies after the same fine-tuning differ.

For each seed a model is trained on the 4,000 images of Fashion-MNIST that come with the
package. Every method prunes a copy of it, which is fine-tuned on the same batches in
the same order, and tested on 2,000 images. Times are those of a batch of test images
in evaluation mode, dense and pruned in turns; a ratio is the median over rounds, of
the first seed, its spread the quartiles. Accuracies are means over seeds with 95 %
intervals; differences are paired by seed. Rows are appended to
`results/structured_pruning.csv`.

    python -m benchmarks.structured_pruning [--seeds 5] [--threads 1] [--quick]
"""

import argparse
import copy
import datetime
import itertools
import platform
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.optimizers import append_rows, device_name
from mlopt_edu.architectures import Bottleneck, ConvNormReLU, MobileNet
from mlopt_edu.datasets import fashion_mnist
from mlopt_edu.evaluation import (
    compare_latency,
    count_macs,
    count_parameters,
    mean_interval,
)
from mlopt_edu.models import SmallCNN
from mlopt_edu.pruning import prune_
from mlopt_edu.pruning.structured import (
    ActivationEntropy,
    BatchNormScale,
    Channels,
    Graph,
    Importance,
    L1Norm,
    L2Norm,
    RandomUnits,
    UnitTaylor,
    UnitWanda,
)

RESULTS = Path(__file__).parent / "results" / "structured_pruning.csv"

Split = tuple[Tensor, Tensor]
BATCH = 64
TORCH_PRUNING = "Torch-Pruning, L2 norm"


def residual_net() -> nn.Module:
    """Return three bottleneck blocks with shortcuts, two of them strided."""
    return nn.Sequential(
        ConvNormReLU(1, 16),
        Bottleneck(16, 64, stride=2),
        Bottleneck(64, 128, stride=2),
        Bottleneck(128, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


MODELS: dict[str, Callable[[], nn.Module]] = {
    "CNN 32-64": lambda: SmallCNN(channels=(32, 64)),
    "MobileNet small, width 0.5": lambda: MobileNet.small(width=0.5),
    "residual 16-64-128": residual_net,
}


@dataclass(frozen=True)
class HighEntropy:
    """The wrong end: units of high entropy go."""

    entropy: ActivationEntropy
    comparable = True

    def scores(self, model: nn.Module, graph: Graph) -> list[Tensor]:
        """Return negative entropies."""
        return [-score for score in self.entropy.scores(model, graph)]


def criteria(calibration: Split, seed: int) -> dict[str, Importance]:
    """Return what ranks units, by name; data are the same 256 training images."""
    x, y = calibration
    entropy = ActivationEntropy(inputs=[x])
    generator = torch.Generator().manual_seed(seed)
    return {
        "L2 norm": L2Norm(),
        "L1 norm of filters": L1Norm(makers_only=True),
        "Taylor": UnitTaylor(
            loss=lambda model: cross_entropy(model(x[:64]), y[:64], reduction="none")
        ),
        "Wanda": UnitWanda(inputs=[x]),
        "batch-norm scale": BatchNormScale(),
        "low entropy goes": entropy,
        "high entropy goes": HighEntropy(entropy),
        "random": RandomUnits(generator=generator),
    }


def torch_pruning_(model: nn.Module, amount: float, x: Tensor) -> None:
    """Prune by Torch-Pruning, with its norm over the whole group."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch_pruning

        torch_pruning.pruner.BasePruner(
            model,
            x,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=amount,
            ignored_layers=[m for m in model.modules() if isinstance(m, nn.Linear)],
        ).step()


def batches(data: Split, epochs: int, seed: int) -> Iterator[Split]:
    """Yield shuffled batches."""
    generator = torch.Generator().manual_seed(seed)
    x, y = data
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            yield x[rows], y[rows]


def train_(model: nn.Module, data: Split, *, epochs: int, lr: float, seed: int) -> None:
    """Train by AdamW, the step size falling to 0 along a cosine."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    steps = epochs * -(-len(data[0]) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    for x, y in batches(data, epochs, seed):
        cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, data: Split) -> float:
    """Return the percentage of right answers."""
    x, y = data
    model.eval()
    right = [
        model(a).argmax(1) == b for a, b in zip(x.split(500), y.split(500), strict=True)
    ]
    return 100 * torch.cat(right).double().mean().item()


def load(rows: int) -> tuple[Split, Split]:
    """Return training and test images with mean 0 and deviation 1."""
    data = fashion_mnist()

    def tensors(images: np.ndarray, labels: np.ndarray) -> Split:
        # They are sorted by class: take every so manieth.
        some = slice(None, None, max(1, len(images) // rows))
        x = torch.from_numpy(images[some, None].astype(np.float32) / 255)
        return (x - 0.286) / 0.353, torch.from_numpy(labels[some])

    return (
        tensors(data.train_images, data.train_labels),
        tensors(data.test_images, data.test_labels),
    )


@dataclass(frozen=True)
class Plan:
    """How long to train and to fine-tune, on how many images."""

    seeds: int = 5
    epochs: int = 8
    tuning_epochs: int = 3
    rows: int = 4000
    rounds: int = 25


@dataclass(frozen=True)
class Outcome:
    """What one method made of the models of all seeds."""

    dense: list[float]
    pruned: list[float]
    tuned: list[float]
    first: nn.Module


def with_interval(name: str, values: list[float]) -> dict[str, float]:
    """Return mean and 95 % interval, under a name."""
    row = {name: round(float(np.mean(values)), 3)}
    if len(values) > 1:
        low, high = mean_interval(values)
        row |= {f"{name}_low": round(low, 3), f"{name}_high": round(high, 3)}
    return row


def ways_to_prune(
    calibration: Split, amount: float, seed: int, *, has_norms: bool
) -> dict[str, Callable[[nn.Module], None]]:
    """Return functions that prune a model in place, by the method's name."""
    x = calibration[0][:2]
    ways: dict[str, Callable[[nn.Module], None]] = {
        method: partial(
            prune_,
            method=Channels(amount=amount, importance=importance, example_inputs=x),
        )
        for method, importance in criteria(calibration, seed).items()
        if has_norms or method != "batch-norm scale"
    }
    return ways | {TORCH_PRUNING: partial(torch_pruning_, amount=amount, x=x)}


def run(name: str, amounts: Sequence[float], plan: Plan) -> Iterator[dict[str, object]]:
    """Yield a row for each amount and method, after all seeds have run."""
    data, test = load(plan.rows)
    outcomes: dict[float, dict[str, Outcome]] = {amount: {} for amount in amounts}
    for seed in range(plan.seeds):
        torch.manual_seed(seed)
        dense = MODELS[name]()
        train_(dense, data, epochs=plan.epochs, lr=3e-3, seed=seed)
        before = accuracy(dense, test)
        few = list(itertools.islice(batches(data, 1, 1000 + seed), 4))
        calibration = (torch.cat([x for x, _ in few]), torch.cat([y for _, y in few]))
        has_norms = "BatchNorm" in repr(dense)
        for amount in amounts:
            ways = ways_to_prune(calibration, amount, seed, has_norms=has_norms)
            for method, prune in ways.items():
                smaller = copy.deepcopy(dense)
                prune(smaller)
                after = accuracy(smaller, test)
                train_(
                    smaller, data, epochs=plan.tuning_epochs, lr=1e-3, seed=100 + seed
                )
                outcome = outcomes[amount].setdefault(
                    method, Outcome([], [], [], smaller)
                )
                outcome.dense.append(before)
                outcome.pruned.append(after)
                outcome.tuned.append(accuracy(smaller, test))
    # The last seed's dense model has the size of them all.
    for amount in amounts:
        yield from rows_of(name, amount, dense, outcomes[amount], test[0], plan.rounds)


def rows_of(
    name: str,
    amount: float,
    dense: nn.Module,
    outcomes: dict[str, Outcome],
    images: Tensor,
    rounds: int,
) -> Iterator[dict[str, object]]:
    """Yield a row for each method: what it costs, and what it knows."""
    x = images[:BATCH]
    macs, parameters = count_macs(dense, x).total, count_parameters(dense)
    with torch.no_grad():
        times = compare_latency(
            {"dense": partial(dense, x)}
            | {method: partial(o.first, x) for method, o in outcomes.items()},
            rounds=rounds,
        )
    for method, outcome in outcomes.items():
        ratio = times[method].ratio
        theirs = outcomes[TORCH_PRUNING].tuned
        difference = [a - b for a, b in zip(outcome.tuned, theirs, strict=True)]
        small = outcome.first
        yield {
            "model": name,
            "method": method,
            "amount": amount,
            "macs_ratio": round(count_macs(small, x).total / macs, 4),
            "parameters_ratio": round(count_parameters(small) / parameters, 4),
            "time_ratio": round(ratio.median, 3),
            "time_ratio_q1": round(ratio.low, 3),
            "time_ratio_q3": round(ratio.high, 3),
            **with_interval("accuracy_dense", outcome.dense),
            **with_interval("accuracy_pruned", outcome.pruned),
            **with_interval("accuracy_tuned", outcome.tuned),
            **with_interval("tuned_minus_torch_pruning", difference),
        }


def main() -> None:
    """Measure every model at every amount and store the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--amounts", type=float, nargs="+", default=[0.5, 0.75])
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--no-save", action="store_true", help="only print the rows")
    parser.add_argument("--quick", action="store_true", help="see that it runs")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan = Plan(seeds=args.seeds)
    if args.quick:
        plan = replace(plan, seeds=2, epochs=1, tuning_epochs=1, rows=400, rounds=3)
        args.amounts = args.amounts[:1]
    measured_on = {
        "seeds": plan.seeds,
        "epochs": plan.epochs,
        "tuning_epochs": plan.tuning_epochs,
        "date": datetime.date.today().isoformat(),
        "device": device_name("cpu"),
        "threads": args.threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    rows = []
    for name in args.only:
        for row in run(name, args.amounts, plan):
            rows.append(row | measured_on)
            print(
                f"{row['model']:28} {row['method']:24} {row['amount']:4}"
                f"  MACs {row['macs_ratio']:.3f}  time {row['time_ratio']:.2f}"
                f"  accuracy {row['accuracy_dense']:.1f} ->"
                f" {row['accuracy_pruned']:.1f} -> {row['accuracy_tuned']:.1f}"
                f"  against Torch-Pruning {row['tuned_minus_torch_pruning']:+.2f}",
                flush=True,
            )
    if not (args.no_save or args.quick):
        append_rows(RESULTS, rows)


if __name__ == "__main__":
    main()
