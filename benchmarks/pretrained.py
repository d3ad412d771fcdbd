"""Prune, quantize and distil a pretrained model that is not ours, by few calls each.

The model says which phonemes the letters of a word stand for, and CMUdict what is right
(`benchmarks/pronouncer.py` tells which packages to install). A word is right when all
its phonemes are, in one of its pronunciations. The makers trained on that dictionary,
most likely on the test words too; what is compared here is the compressed with the
original, and no way sees a test word while it tunes.

Claims:

1. 8 bits cost next to nothing. At 4 and 3 bits one scale for each layer breaks the
   model; groups of 32 hold, and GPTQ holds better.
2. Magnitude pruning to a quarter of the weights breaks it. Tuning brings much back,
   about as much from the original's answers as from the dictionary.
3. A student of half the width, trained from scratch for a few hundred steps: labels
   and the original's answers are compared, without a promise which is better.

Each seed draws its words to tune on and to test on. A difference is the mean over the
seeds of the difference to the original, with Student's 95 % interval. Bytes are those
of the file, the embeddings in float32 included. Rows are appended to
`results/pretrained.csv`.

    python -m benchmarks.pretrained [--seeds 5]
"""

import argparse
import copy
import datetime
import platform
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.optimizers import append_rows, device_name
from benchmarks.pronouncer import NOTHING, Pronouncer, Words, dictionary, pretrained
from mlopt_edu.coding import save_compressed
from mlopt_edu.distillation import soft_target_loss
from mlopt_edu.evaluation import mean_interval
from mlopt_edu.pruning import Magnitude, cubic_sparsity, make_permanent_, prune_
from mlopt_edu.quantization import (
    GPTQ,
    Codebook,
    Int8Dynamic,
    WeightOnly,
    WeightOnlyLinear,
    fake_quantize,
    quantize_,
    save_quantized,
    scale_and_zero_point,
)
from mlopt_edu.quantization.methods import Quantization

RESULTS = Path(__file__).parent / "results" / "pretrained.csv"
PRUNED = 0.75  # share of the weights that go
STUDENT = 128  # width; the original has 256
ORIGINAL = "original"
WAYS_TO_TUNE = {"the dictionary": False, "the original's answers": True}
TEST, TUNE, BATCH = 2000, 20_000, 64


def tune_(
    model: Pronouncer,
    words: Words,
    *,
    teacher: Pronouncer | None,
    steps: int,
    seed: int,
    lr: float = 1e-3,
    each_step: Callable[[int], None] = lambda step: None,
) -> None:
    """Train on the dictionary, or on the teacher's probabilities for the same words."""
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for step in range(steps):
        each_step(step)
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        letters, before, after = words.batch(torch.randint(TUNE, (BATCH,)))
        logits = model(letters, before)
        if teacher is None:
            loss = cross_entropy(logits.flatten(0, 1), after.flatten())
        else:
            with torch.no_grad():
                target = teacher(letters, before)
            kept = (after != NOTHING).float()
            loss = soft_target_loss(logits, target, temperature=2.0, weights=kept)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def pruned_in_steps(model: Pronouncer, steps: int) -> Callable[[int], None]:
    """Return what prunes the model to a quarter over the first half of the steps."""

    def prune_now(step: int) -> None:
        if step == steps // 2 or (step < steps // 2 and step % 10 == 0):
            amount = cubic_sparsity(step, final=PRUNED, steps=steps // 2)
            prune_(model, Magnitude(amount=amount))

    return prune_now


@torch.no_grad()
def round_per_tensor_(model: Pronouncer, bits: int) -> None:
    """Round each weight with one scale for the whole layer."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            grid = scale_and_zero_point(*layer.weight.aminmax(), bits=bits)
            layer.weight.copy_(fake_quantize(layer.weight, *grid, bits=bits))


def bytes_on_disk(model: Pronouncer) -> int:
    """Return the size of the file that holds the model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        save_quantized(path, model)
        return path.stat().st_size


def bytes_coded(model: Pronouncer) -> int:
    """Return the size of a compressed file of weights that share few values."""
    state = {
        f"{name}.weight": layer.weight
        for name, layer in model.named_modules()
        if isinstance(layer, WeightOnlyLinear)
    }
    rest = {name: x for name, x in model.state_dict().items() if "packed" not in name}
    with tempfile.TemporaryDirectory() as folder:
        return save_compressed(Path(folder) / "model.mlc", state | rest).total


def run(seed: int, steps: int) -> dict[str, tuple[float, int | None]]:
    """Return of each way the percentage of words that are right, and the bytes."""
    said = dictionary()
    words = sorted(said)
    order = np.random.default_rng(seed).permutation(len(words))
    test = Words([words[i] for i in order[:TEST]], said)
    known = Words([words[i] for i in order[TEST : TEST + TUNE]], said)
    original = pretrained()
    found: dict[str, tuple[float, int | None]] = {}

    def note(way: str, model: Pronouncer, size: int | None) -> None:
        found[way] = (test.right(model), size)
        print(f"seed {seed}  {way:42} {found[way][0]:6.2f} %  {size}", flush=True)

    note(ORIGINAL, original, bytes_on_disk(original))
    calibration = [known.batch(torch.arange(256))[:2]]
    for bits in (8, 4, 3):
        model = copy.deepcopy(original)
        round_per_tensor_(model, bits)
        note(f"{bits} bits, one scale a layer", model, None)
        grouped = WeightOnly(bits=bits, group_size=32)
        methods: dict[str, Quantization] = {
            "one scale a row": WeightOnly(bits=bits),
            "groups of 32": grouped,
            "groups of 32, GPTQ": GPTQ(inputs=calibration, bits=bits, group_size=32),
        }
        for name, method in methods.items():
            model = copy.deepcopy(original)
            quantize_(model, method)
            note(f"{bits} bits, {name}", model, bytes_on_disk(model))
    model = copy.deepcopy(original)
    quantize_(model, Int8Dynamic())
    note("8 bits, inputs too", model, bytes_on_disk(model))

    model = copy.deepcopy(original)
    prune_(model, Magnitude(amount=PRUNED))
    note("a quarter stays", model, None)
    for way, teacher in WAYS_TO_TUNE.items():
        teaches = original if teacher else None
        model = copy.deepcopy(original)
        each_step = pruned_in_steps(model, steps)
        tune_(
            model, known, teacher=teaches, steps=steps, seed=seed, each_step=each_step
        )
        make_permanent_(model)
        note(f"a quarter stays, tuned on {way}", model, None)
        quantize_(model, Codebook(bits=5, keep_zeros=True))
        note(f"the same with 32 values a layer ({way})", model, bytes_coded(model))
    for way, teacher in WAYS_TO_TUNE.items():
        torch.manual_seed(seed)
        student = Pronouncer(width=STUDENT)
        teaches = original if teacher else None
        tune_(student, known, teacher=teaches, steps=3 * steps, seed=seed, lr=5e-3)
        note(f"student, {way}", student, bytes_on_disk(student))
    return found


def main() -> None:
    """Run every seed and store the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--no-save", action="store_true", help="only print the rows")
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs = [run(seed, args.steps) for seed in range(args.seeds)]
    rows: list[dict[str, object]] = []
    for way in runs[0]:
        right = [found[way][0] for found in runs]
        change = [found[way][0] - found[ORIGINAL][0] for found in runs]
        row: dict[str, object] = {
            "way": way,
            "words_right": round(statistics.mean(right), 2),
            "minus_original": round(statistics.mean(change), 2),
        }
        if args.seeds > 1 and way != ORIGINAL:
            low, high = mean_interval(change)
            row |= {"low": round(low, 2), "high": round(high, 2)}
        sizes = [size for _, size in (found[way] for found in runs) if size]
        row["bytes_disk"] = round(statistics.mean(sizes)) if sizes else ""
        rows.append(
            row
            | {
                "seeds": args.seeds,
                "steps": args.steps,
                "date": datetime.date.today().isoformat(),
                "device": device_name("cpu"),
                "python": platform.python_version(),
                "torch": torch.__version__,
            }
        )
        print(way, row)
    if not args.no_save:
        append_rows(RESULTS, rows)


if __name__ == "__main__":
    main()
