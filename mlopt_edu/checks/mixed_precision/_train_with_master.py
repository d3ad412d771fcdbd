"""Task 5: fp16 weights that move because a copy in fp32 remembers the small steps."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task

Half = NDArray[np.float16]
Single = NDArray[np.float32]


def train_with_master_reference(w0: Half, gradients: Half, lr: float) -> Single:
    """Step in fp32; round a copy to fp16 after every step."""
    master = w0.astype(np.float32)
    seen = []
    for grad in gradients:
        master = master - lr * grad.astype(np.float32)
        seen.append(master.astype(np.float16))
    return np.array(seen, dtype=np.float32)


def _dyadic(
    rng: np.random.Generator, low: int, high: int, size: tuple[int, ...]
) -> Half:
    """Draw multiples of 1/64: with lr a power of 2, fp32 makes no rounding error.

    So the order of the operations cannot decide a tie.
    """
    return (rng.integers(low, high, size) / 64).astype(np.float16)


def _weights(rng: np.random.Generator) -> Iterator[Case]:
    one = {"w0": np.array([1.0], np.float16), "lr": 2.0**-12}
    small = {"w0": one["w0"], "gradients": -np.ones((9, 1), np.float16)}
    yield Case("one weight, steps of 2^-12", {**small, "lr": one["lr"]})
    ones = (1 + rng.integers(0, 200, 3) / 1024).astype(np.float16)
    for steps, low, high, lr, label in (
        (400, -64, -31, 2.0**-12, "steps below half a spacing"),
        (150, -64, 65, 2.0**-10, "gradients of both signs"),
        (60, 32, 65, 2.0**-9, "downwards"),
        (5, 8, 20, 0.5, "long steps"),
        (4, -64, 65, 0.0, "lr 0"),
        (1, 5, 40, 0.125, "one step"),
    ):
        grads = _dyadic(rng, low, high, (steps, 3))
        yield Case(label, {"w0": ones, "gradients": grads, "lr": lr})
    grads = _dyadic(rng, 16, 65, (300, 2))
    tiny = (rng.integers(500, 900, 2) * 2.0**-24).astype(np.float16)
    inputs = {"w0": tiny, "gradients": grads, "lr": 2.0**-25}
    yield Case("updates too small for fp16", inputs)
    wide = {"w0": _dyadic(rng, 64, 96, (2, 4)), "lr": 2.0**-11}
    grads = _dyadic(rng, 16, 64, (50, 2, 4))
    yield Case("a matrix", {"w0": wide["w0"], "gradients": grads, "lr": wide["lr"]})


train_with_master = Task(
    "train_with_master",
    points=2,
    section="16 · Write it small",
    reference=train_with_master_reference,
    draw=_weights,
    forbid=("mlopt_edu.mixed_precision", "torch.amp", "torch.cuda.amp", "torch.optim"),
    rtol=0,  # the inputs are such that fp32 is exact
    hints=(
        "Near 1 the fp16 numbers are 2^-10 apart. What is 1 + 2^-12 in fp16, however "
        "often you add?",
        "Keep `master`, in fp32, through the whole loop. The fp16 weights are a "
        "rounded copy of it and never come back.",
        "Convert before you multiply: a float times an fp16 array is an fp16 array. "
        "`master = master - lr * grad.astype(np.float32)`.",
    ),
)


@train_with_master.mistake
def no_master_copy(w0: Half, gradients: Half, lr: float) -> Single:
    """The rounded weights go into the next step, so small steps never add up.

    Keep a master copy in fp32 that is not rounded to fp16, and step from it.
    """
    w, seen = w0, []
    for grad in gradients:
        step = lr * grad.astype(np.float32)
        w = (w.astype(np.float32) - step).astype(np.float16)
        seen.append(w)
    return np.array(seen, dtype=np.float32)


@train_with_master.mistake
def update_in_half(w0: Half, gradients: Half, lr: float) -> Single:
    """You multiply lr by the gradient in fp16: small products become 0.

    A Python float times an fp16 array is fp16. Convert the gradient first.
    """
    master, seen = w0.astype(np.float32), []
    for grad in gradients:
        master = master - (lr * grad.astype(np.float32)).astype(np.float16)
        seen.append(master.astype(np.float16))
    return np.array(seen, dtype=np.float32)


@train_with_master.mistake
def master_returned(w0: Half, gradients: Half, lr: float) -> Single:
    """This is the master copy. Return what the network sees: it, rounded to fp16."""
    master, seen = w0.astype(np.float32), []
    for grad in gradients:
        master = master - lr * grad.astype(np.float32)
        seen.append(master)
    return np.array(seen)


@train_with_master.mistake
def start_included(w0: Half, gradients: Half, lr: float) -> Single:
    """You return one row too many: leave `w0` out, begin after the first step."""
    rows = train_with_master_reference(w0, gradients, lr)
    return np.concatenate([w0[None].astype(np.float32), rows])


@train_with_master.mistake
def before_each_step(w0: Half, gradients: Half, lr: float) -> Single:
    """These are the weights *before* each step. Append after the update."""
    rows = train_with_master_reference(w0, gradients, lr)
    return np.concatenate([w0[None].astype(np.float32), rows[:-1]])


@train_with_master.mistake
def uphill(w0: Half, gradients: Half, lr: float) -> Single:
    """You add the gradient. Subtract it: the step goes downhill."""
    return train_with_master_reference(w0, -gradients, lr)


@train_with_master.mistake
def last_weights_only(w0: Half, gradients: Half, lr: float) -> Single:
    """These are the weights of the end. Return those after every step, a row each."""
    last: Single = train_with_master_reference(w0, gradients, lr)[-1]
    return last


@train_with_master.mistake
def gradients_never_add_up(w0: Half, gradients: Half, lr: float) -> Single:
    """Every step starts from `w0` again. Keep the master copy from step to step."""
    rows: Single = w0.astype(np.float32) - lr * gradients.astype(np.float32)
    return rows.astype(np.float16).astype(np.float32)
