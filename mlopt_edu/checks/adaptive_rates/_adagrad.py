"""Task 1: AdaGrad, a rate for each weight from all the gradients so far."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._run import Array, counts, earlier, first_weight, follow, gradients


def adagrad_reference(param: Array, grads: Array, lr: float, eps: float) -> Array:
    """Every point that AdaGrad visits, the start included."""
    total = np.zeros(param.shape)
    path = [param]
    for grad in grads:
        total = total + grad**2
        param = param - lr * grad / (np.sqrt(total) + eps)
        path.append(param)
    return np.array(path)


def _adagrad_cases(rng: np.random.Generator) -> Iterator[Case]:
    small = {"param": np.array([1.0, -1]), "grads": np.array([[1.0, -2], [3, 0.5]])}
    yield Case("two weights, 2 steps", {**small, "lr": 0.1, "eps": 1e-8})
    for steps, d, lr, eps, scale, kept, label in (
        (7, 1, 0.5, 1e-8, 1.0, 1.0, "one weight"),
        (150, 5, 0.1, 1e-8, 1.0, 1.0, "150 steps"),
        (20, 4, 0.3, 1e-2, 0.1, 1.0, "a large eps"),
        (15, 3, 0.2, 1e-8, 1e-6, 1.0, "tiny gradients"),
        (60, 6, 0.1, 1e-6, 1.0, 0.1, "rare gradients"),
        (1, 3, 0.1, 1e-3, 1.0, 1.0, "a single step"),
        (0, 3, 0.1, 1e-8, 1.0, 1.0, "no step at all"),
        (4, 3, 0.0, 1e-8, 1.0, 1.0, "step size 0"),
    ):
        grads = gradients(rng, steps, d, scale, kept)
        inputs = {"param": rng.normal(size=d), "grads": grads, "lr": lr, "eps": eps}
        yield Case(label, inputs)
    grads = gradients(rng, 6, 2)
    grads[0] = 0
    inputs = {"param": rng.normal(size=2), "grads": grads, "lr": 0.1, "eps": 1e-8}
    yield Case("a first gradient of zeros", inputs)


adagrad = Task(
    "adagrad",
    points=2,
    section="03 · Write it small",
    reference=adagrad_reference,
    draw=_adagrad_cases,
    forbid=("torch.optim", "mlopt_edu.optim"),
    picture=first_weight,
    axes=("step", "param[0]"),
    hints=(
        "What must you remember from one step to the next, and which shape has it?",
        "Before the loop set a total of zeros, one for each weight. In each step add "
        "the squared gradient to it *first*, then use it.",
        "The step is `lr * grad / (np.sqrt(total) + eps)`, entry by entry; subtract "
        "it. Collect the points in a list that begins with `param`.",
    ),
)


@adagrad.mistake
def squares_not_accumulated(param: Array, grads: Array, lr: float, eps: float) -> Array:
    """You divide by the newest gradient alone, so every step has the length `lr`.

    Add its square to a total that keeps growing over the steps.
    """
    return follow(param, grads / (np.abs(grads) + eps), lr)


@adagrad.mistake
def eps_inside(param: Array, grads: Array, lr: float, eps: float) -> Array:
    """`eps` stands inside the root, where it acts like its own root: 1e-8 becomes 1e-4.

    Take the root of the total first, and add eps after that.
    """
    return follow(param, grads / np.sqrt(np.cumsum(grads**2, axis=0) + eps), lr)


@adagrad.mistake
def eps_left_out(param: Array, grads: Array, lr: float, eps: float) -> Array:
    """`eps` is missing: a weight whose gradients were all zero gives 0 / 0."""
    return follow(param, grads / np.sqrt(np.cumsum(grads**2, axis=0)), lr)


@adagrad.mistake
def root_left_out(param: Array, grads: Array, lr: float, eps: float) -> Array:
    """The root is missing: you divide by the total of the *squares*.

    Then gradients twice as large give steps half as long. Take the root first.
    """
    return follow(param, grads / (np.cumsum(grads**2, axis=0) + eps), lr)


@adagrad.mistake
def sizes_added(param: Array, grads: Array, lr: float, eps: float) -> Array:
    """You add up the sizes |g|; AdaGrad adds the squares and takes the root at last.

    With equal gradients your rate falls like 1/t, and AdaGrad's like 1/√t.
    """
    return follow(param, grads / (np.cumsum(np.abs(grads), axis=0) + eps), lr)


@adagrad.mistake
def root_of_sizes(param: Array, grads: Array, lr: float, eps: float) -> Array:
    """You take the root of a total of sizes |g|: add up the *squares* instead."""
    total = np.cumsum(np.abs(grads), axis=0)
    return follow(param, grads / (np.sqrt(total) + eps), lr)


@adagrad.mistake
def gradients_added(param: Array, grads: Array, lr: float, eps: float) -> Array:
    """You add up the gradients themselves, so that plus and minus cancel.

    Square each gradient before you add it.
    """
    return follow(param, grads / (np.sqrt(np.cumsum(grads, axis=0)) + eps), lr)


@adagrad.mistake
def squared_after_adding(param: Array, grads: Array, lr: float, eps: float) -> Array:
    """You square the *sum* of the gradients; add up the squares of each of them."""
    return follow(param, grads / (np.abs(np.cumsum(grads, axis=0)) + eps), lr)


@adagrad.mistake
def total_too_late(param: Array, grads: Array, lr: float, eps: float) -> Array:
    """You use the total before the new gradient is in it.

    The first step then divides by eps alone and jumps. Add first, then step.
    """
    total = earlier(np.cumsum(grads**2, axis=0))
    return follow(param, grads / (np.sqrt(total) + eps), lr)


@adagrad.mistake
def one_rate_for_all(param: Array, grads: Array, lr: float, eps: float) -> Array:
    """You add over the weights too, so that all of them share one rate.

    Keep the total as an array, with an entry for each weight.
    """
    total = np.cumsum((grads**2).sum(axis=1, keepdims=True), axis=0)
    return follow(param, grads / (np.sqrt(total) + eps), lr)


@adagrad.mistake
def mean_of_squares(param: Array, grads: Array, lr: float, eps: float) -> Array:
    """You divide by the *mean* of the squares; AdaGrad takes their sum.

    The sum is what makes its steps shorter and shorter.
    """
    mean = np.cumsum(grads**2, axis=0) / counts(grads)
    return follow(param, grads / (np.sqrt(mean) + eps), lr)


@adagrad.mistake
def climbs(param: Array, grads: Array, lr: float, eps: float) -> Array:
    """You climb: the gradient points uphill, so *subtract* the step."""
    return adagrad_reference(param, grads, -lr, eps)


@adagrad.mistake
def one_array_for_all_points(
    param: Array, grads: Array, lr: float, eps: float
) -> Array:
    """All rows are the last point: your list holds *one* array many times.

    `param -= ...` changes that array in place, and your input too. Write
    `param = param - ...`, which makes a new one.
    """
    end = adagrad_reference(param, grads, lr, eps)[-1]
    return np.array([end] * (len(grads) + 1))


@adagrad.mistake
def start_left_out(param: Array, grads: Array, lr: float, eps: float) -> Array:
    """The start is missing: row 0 is `param` as you got it, before any step."""
    return adagrad_reference(param, grads, lr, eps)[1:]
