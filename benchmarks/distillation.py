"""Measure when a teacher helps: each student with and without, on the same seeds.

Claims:

1. Few labels: 200 labelled images and 3,800 without labels. A teacher that saw all
   labels is worth many points to the student; a copy of itself as teacher is not.
2. Noisy labels: 40 % of the labels are drawn at random. A teacher that learnt from
   clean labels helps, with the noisy ones or without; a copy of itself does not.
3. Character GPT: at equal steps the student with a teacher has the lower loss. At equal
   compute, with the teacher's forward passes counted and its training not, hard labels
   and more steps win.
4. Where it does not help: all labels are there and right, and the student is tiny.
5. MNIST-1D, the textbook case: a strong teacher, long training, and the same freshly
   shifted and noisy inputs for both. With a teacher the student is better.

All ways of a case share data, initial weights, batches, step sizes and, but for "equal
compute", the number of steps; nothing was tuned for one way. Batches are drawn from the
labelled images alone where there is no teacher. A gain is the mean over the seeds of
the differences to the case's first way, with Student's 95 % interval; for a loss below
0 is better. The GPT's teacher is trained once, all others anew for each seed. Rows are
appended to `results/distillation.csv`.

    python -m benchmarks.distillation [--seeds 5] [--only gpt] [--no-save]
"""

import argparse
import copy
import datetime
import functools
import itertools
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from mnist1d.data import get_dataset_args, make_dataset
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.optimizers import append_rows, device_name
from mlopt_edu.datasets import (
    fashion_mnist,
    first_of_each_class,
    random_windows,
    shakespeare,
)
from mlopt_edu.distillation import (
    cache_outputs,
    distillation_loss,
    frozen,
)
from mlopt_edu.evaluation import count_macs, mean_interval
from mlopt_edu.models import CharGPT, SmallCNN, mlp

RESULTS = Path(__file__).parent / "results" / "distillation.csv"
NO_LABEL = -100
STEPS = 500

Measured = dict[str, float]
Batches = Iterable[tuple[Tensor, ...]]


def train(
    model: nn.Module,
    batches: Batches,
    loss: Callable[..., Tensor],
    *,
    steps: int,
    lr: float = 2e-3,
) -> nn.Module:
    """Train a model by Adam on `loss(model, *batch)`; `lr` falls along a cosine."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for batch in itertools.islice(batches, steps):
        optimizer.zero_grad()
        loss(model, *batch).backward()
        optimizer.step()
        schedule.step()
    return model


def hard_loss(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy with labels of shape (n,) or (n, time)."""
    return cross_entropy(model(x).flatten(0, -2), labels.flatten())


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, labels: Tensor) -> float:
    """Return the share of right answers, in percent."""
    with frozen(model):
        return 100 * (model(x).argmax(-1) == labels).float().mean().item()


@functools.cache
def fashion() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training and test images, (n, 1, 28, 28) in [0, 1], and their labels."""
    data = fashion_mnist()
    return (
        torch.from_numpy(data.train_images).unsqueeze(1) / 255,
        torch.from_numpy(data.train_labels),
        torch.from_numpy(data.test_images).unsqueeze(1) / 255,
        torch.from_numpy(data.test_labels),
    )


def chosen(places: Tensor, seed: int, *tensors: Tensor) -> Batches:
    """Yield batches of 64 rows of all tensors, drawn from `places`, for ever."""
    draw = torch.Generator().manual_seed(seed)
    while True:
        batch = places[torch.randint(len(places), (64,), generator=draw)]
        yield tuple(tensor[batch] for tensor in tensors)


def learn(
    start: nn.Module,
    labels: Tensor,
    teacher: nn.Module | None,
    *,
    seed: int,
    steps: int = STEPS,
) -> nn.Module:
    """Return a copy of a model, trained on Fashion-MNIST with or without a teacher.

    Args:
        start: Stays as it is.
        labels: Labels of the training images, -100 where there is none.
        teacher: Asked once for all images; None to learn from the labelled ones alone.
        seed: Draws the batches.
        steps: Number of batches.
    """
    images, _, _, _ = fashion()
    model = copy.deepcopy(start)
    if teacher is None:
        places = (labels != NO_LABEL).nonzero().squeeze(1)
        batches = chosen(places, seed, images, labels)
        return train(model, batches, hard_loss, steps=steps)
    answers = cache_outputs(teacher, images.split(500))
    return train(
        model,
        chosen(torch.arange(len(images)), seed, images, answers, labels),
        lambda net, x, v, y: distillation_loss(net(x), v, y),
        steps=steps,
    )


@functools.cache
def image_teacher(seed: int) -> nn.Module:
    """Return a CNN that learnt from all labels."""
    torch.manual_seed(1000 + seed)
    return learn(SmallCNN(), fashion()[1], None, seed=1000 + seed, steps=800)


def few_labels(seed: int) -> Measured:
    """Compare a CNN with 200 labels to the same with a teacher's answers."""
    _, labels, x, y = fashion()
    order = np.random.default_rng(seed).permutation(len(labels))
    shown = order[first_of_each_class(labels.numpy()[order], 20)]
    few = torch.full_like(labels, NO_LABEL)
    few[shown] = labels[shown]
    torch.manual_seed(seed)
    start, teacher = SmallCNN(channels=(8, 16)), image_teacher(seed)
    alone = learn(start, few, None, seed=seed)
    models = {
        "200 labels": alone,
        "with a teacher of all labels": learn(start, few, teacher, seed=seed),
        "with itself as teacher": learn(start, few, alone, seed=seed),
        "teacher of all labels itself": teacher,
    }
    return {name: accuracy(model, x, y) for name, model in models.items()}


def noisy_labels(seed: int) -> Measured:
    """Compare a CNN with 40 % random labels to the same with a teacher's answers."""
    _, labels, x, y = fashion()
    draw = torch.Generator().manual_seed(seed)
    random = torch.randint(10, labels.shape, generator=draw)
    wrong = torch.rand(labels.shape, generator=draw) < 0.4
    noisy = torch.where(wrong, random, labels)
    none = torch.full_like(labels, NO_LABEL)
    torch.manual_seed(seed)
    start, teacher = SmallCNN(channels=(8, 16)), image_teacher(seed)
    alone = learn(start, noisy, None, seed=seed)
    models = {
        "noisy labels": alone,
        "with a teacher of clean labels": learn(start, noisy, teacher, seed=seed),
        "the same without the labels": learn(start, none, teacher, seed=seed),
        "with itself as teacher, without labels": learn(start, none, alone, seed=seed),
        "teacher of clean labels itself": teacher,
    }
    return {name: accuracy(model, x, y) for name, model in models.items()}


def all_labels(make: Callable[[], nn.Module], seed: int) -> Measured:
    """Compare a small net with all 4,000 right labels to the same with a teacher."""
    _, labels, x, y = fashion()
    torch.manual_seed(seed)
    start, teacher = make(), image_teacher(seed)
    models = {
        "all labels": learn(start, labels, None, seed=seed),
        "with a teacher": learn(start, labels, teacher, seed=seed),
        "teacher itself": teacher,
    }
    return {name: accuracy(model, x, y) for name, model in models.items()}


def windows(seed: int) -> Batches:
    """Yield batches of 16 pieces of Shakespeare, and each next character, for ever."""
    rng, ids = np.random.default_rng(seed), shakespeare().train
    while True:
        x, y = random_windows(ids, count=16, context=32, rng=rng)
        yield torch.from_numpy(x), torch.from_numpy(y)


@functools.cache
def gpt_teacher() -> nn.Module:
    """Return a GPT of 0.8 million parameters, trained once."""
    torch.manual_seed(1000)
    teacher = CharGPT(63, width=128, layers=4)
    return train(teacher, windows(1000), hard_loss, steps=1500)


def gpt(seed: int, *, steps: int = 500) -> Measured:
    """Compare small GPTs, by their loss in nats a character on unseen text."""
    teacher = gpt_teacher()
    rng, ids = np.random.default_rng(0), shakespeare().validation
    x, y = map(torch.from_numpy, random_windows(ids, count=500, context=32, rng=rng))
    torch.manual_seed(seed)
    start = CharGPT(63)
    # A step of the student, there and back, costs three of its forward passes.
    step = 3 * count_macs(start, x[:16]).total
    longer = round(steps * (1 + count_macs(teacher, x[:16]).total / step))

    def soft_loss(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
        return distillation_loss(model(x), teacher(x), labels, temperature=2.0)

    models = {
        "hard labels": train(
            copy.deepcopy(start), windows(seed), hard_loss, steps=steps
        )
    }
    with frozen(teacher):
        models["with a teacher, equal steps"] = train(
            copy.deepcopy(start), windows(seed), soft_loss, steps=steps
        )
    models[f"hard labels, equal compute: {longer} steps"] = train(
        copy.deepcopy(start), windows(seed), hard_loss, steps=longer
    )
    models["teacher itself"] = teacher
    with torch.no_grad():
        return {name: hard_loss(model, x, y).item() for name, model in models.items()}


@functools.cache
def signals() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the 4,000 + 1,000 signals of MNIST-1D, (n, 40), and their labels."""
    data = make_dataset(get_dataset_args())
    return (
        torch.from_numpy(data["x"]).float(),
        torch.from_numpy(data["y"]),
        torch.from_numpy(data["x_test"]).float(),
        torch.from_numpy(data["y_test"]),
    )


def jittered(seed: int) -> Batches:
    """Yield 100 signals: shifted around by up to 2 places, scaled, noise added."""
    x, y, _, _ = signals()
    draw = torch.Generator().manual_seed(seed)
    while True:
        places = torch.randint(len(x), (100,), generator=draw)
        shifts = torch.randint(-2, 3, (100, 1), generator=draw)
        moved = x[places].gather(1, (torch.arange(40) + shifts) % 40)
        scaled = moved * (1 + 0.1 * torch.randn(100, 1, generator=draw))
        yield scaled + 0.05 * torch.randn(100, 40, generator=draw), y[places]


def mnist1d(seed: int, *, steps: int = 6000) -> Measured:
    """Compare MLPs on freshly jittered signals, with and without a CNN's answers."""
    _, _, x, y = signals()
    torch.manual_seed(seed)
    teacher: nn.Module = nn.Sequential(
        nn.Unflatten(1, (1, 40)),
        nn.Conv1d(1, 24, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv1d(24, 24, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(24, 24, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(120, 10),
    )
    start = mlp([40, 256, 256, 10])
    train(teacher, jittered(1000 + seed), hard_loss, steps=8000)
    alone = train(copy.deepcopy(start), jittered(seed), hard_loss, steps=steps)
    with frozen(teacher):
        student = train(
            copy.deepcopy(start),
            jittered(seed),
            lambda net, x, y: distillation_loss(net(x), teacher(x), y),
            steps=steps,
        )
    models = {
        "hard labels": alone,
        "with a teacher": student,
        "teacher itself": teacher,
    }
    return {name: accuracy(model, x, y) for name, model in models.items()}


def flat_mlp() -> nn.Module:
    """Return a net of 8 hidden units."""
    return nn.Sequential(nn.Flatten(), mlp([784, 8, 10]))


ACCURACY, LOSS = "test accuracy, %", "validation loss, nats"
CASES: dict[str, tuple[str, Callable[[int], Measured]]] = {
    "few labels": (ACCURACY, few_labels),
    "noisy labels": (ACCURACY, noisy_labels),
    "gpt": (LOSS, gpt),
    "all labels, CNN 4-8": (
        ACCURACY,
        lambda seed: all_labels(lambda: SmallCNN(channels=(4, 8)), seed),
    ),
    "all labels, MLP 784-8-10": (ACCURACY, lambda seed: all_labels(flat_mlp, seed)),
    "mnist1d": (ACCURACY, mnist1d),
}


def compare(case: str, seeds: int) -> list[dict[str, object]]:
    """Return a row for each way of a case: its mean, and its gain over the first."""
    measure, run = CASES[case]
    begin = time.process_time()
    runs = [run(seed) for seed in range(seeds)]
    spent = round(time.process_time() - begin, 1)
    first = next(iter(runs[0]))
    rows = []
    for way in runs[0]:
        values = np.array([run[way] for run in runs])
        gains = values - np.array([run[first] for run in runs])
        row: dict[str, object] = {"case": case, "way": way, "measure": measure}
        row["mean"] = round(values.mean(), 3)
        row["gain"] = round(gains.mean(), 3)
        if seeds > 1:
            low, high = mean_interval(gains)
            row["gain_low"], row["gain_high"] = round(low, 3), round(high, 3)
        row["values"] = " ".join(f"{value:.3f}" for value in values)
        row["seeds"], row["case_cpu_s"] = seeds, spent
        rows.append(row)
        interval = f" [{row['gain_low']}, {row['gain_high']}]" if seeds > 1 else ""
        print(
            f"{case:24} {way:52} {row['mean']:8.3f}  gain {row['gain']:7.3f}{interval}",
            flush=True,
        )
    print(f"{case:24} {spent} CPU seconds", flush=True)
    return rows


def main() -> None:
    """Run the cases and store the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
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
    rows = [
        row | measured_on for case in args.only for row in compare(case, args.seeds)
    ]
    if not args.no_save:
        append_rows(RESULTS, rows)


if __name__ == "__main__":
    main()
