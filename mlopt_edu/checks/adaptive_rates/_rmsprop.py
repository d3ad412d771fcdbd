"""Task 2: RMSprop, which forgets old gradients."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._run import Array, averages, counts, earlier, first_weight, follow, gradients


def rmsprop_reference(
    param: Array, grads: Array, lr: float, beta: float, eps: float
) -> Array:
    """Every point that RMSprop visits, the start included."""
    average = np.zeros(param.shape)
    path = [param]
    for grad in grads:
        average = beta * average + (1 - beta) * grad**2
        param = param - lr * grad / (np.sqrt(average) + eps)
        path.append(param)
    return np.array(path)


def _rmsprop_cases(rng: np.random.Generator) -> Iterator[Case]:
    small = {"param": np.array([1.0, -1]), "grads": np.array([[1.0, -2], [3, 0.5]])}
    yield Case("two weights, 2 steps", {**small, "lr": 0.1, "beta": 0.8, "eps": 1e-8})
    for steps, d, lr, beta, eps, scale, kept, label in (
        (7, 1, 0.5, 0.9, 1e-8, 1.0, 1.0, "one weight"),
        (150, 5, 0.01, 0.99, 1e-8, 1.0, 1.0, "150 steps"),
        (40, 3, 0.1, 0.999, 1e-8, 1.0, 1.0, "a long memory"),
        (20, 4, 0.3, 0.5, 1e-2, 0.1, 1.0, "a large eps"),
        (15, 3, 0.2, 0.9, 1e-8, 1e-6, 1.0, "tiny gradients"),
        (60, 6, 0.1, 0.95, 1e-3, 1.0, 0.1, "rare gradients"),
        (12, 3, 0.1, 0.0, 1e-3, 1.0, 1.0, "no memory: beta = 0"),
        (1, 3, 0.1, 0.9, 1e-3, 1.0, 1.0, "a single step"),
        (0, 3, 0.1, 0.9, 1e-8, 1.0, 1.0, "no step at all"),
        (4, 3, 0.0, 0.9, 1e-8, 1.0, 1.0, "step size 0"),
    ):
        grads = gradients(rng, steps, d, scale, kept)
        inputs = {"param": rng.normal(size=d), "grads": grads, "lr": lr, "beta": beta}
        yield Case(label, {**inputs, "eps": eps})
    grads = gradients(rng, 6, 2)
    grads[0] = 0
    inputs = {"param": rng.normal(size=2), "grads": grads, "lr": 0.1, "beta": 0.7}
    yield Case("a first gradient of zeros", {**inputs, "eps": 1e-8})


rmsprop = Task(
    "rmsprop",
    points=2,
    section="03 · Write it small",
    reference=rmsprop_reference,
    draw=_rmsprop_cases,
    forbid=("torch.optim", "mlopt_edu.optim"),
    picture=first_weight,
    axes=("step", "param[0]"),
    hints=(
        "Take your `adagrad` and change one line: the one that remembers.",
        "The new average is a mixture: a share `beta` of the old average and a share "
        "`1 - beta` of the new squared gradient.",
        "First `average = beta * average + (1 - beta) * grad**2`, then subtract "
        "`lr * grad / (np.sqrt(average) + eps)`.",
    ),
)


@rmsprop.mistake
def weights_swapped(
    param: Array, grads: Array, lr: float, beta: float, eps: float
) -> Array:
    """The weights are swapped: `beta` belongs to the *old* average.

    With beta = 0.99 the average should change slowly, and yours nearly forgets it.
    """
    return rmsprop_reference(param, grads, lr, 1 - beta, eps)


@rmsprop.mistake
def never_forgets(
    param: Array, grads: Array, lr: float, beta: float, eps: float
) -> Array:
    """This is AdaGrad: the total only grows. RMSprop forgets, with `beta`."""
    return follow(param, grads / (np.sqrt(np.cumsum(grads**2, axis=0)) + eps), lr)


@rmsprop.mistake
def remembers_nothing(
    param: Array, grads: Array, lr: float, beta: float, eps: float
) -> Array:
    """`beta` has no effect: you divide by the newest gradient alone.

    Keep the average from step to step, and mix the new square into it.
    """
    return follow(param, grads / (np.abs(grads) + eps), lr)


@rmsprop.mistake
def beta_fixed(param: Array, grads: Array, lr: float, beta: float, eps: float) -> Array:
    """You write 0.9 into the average; use the `beta` that you are given."""
    return rmsprop_reference(param, grads, lr, 0.9, eps)


@rmsprop.mistake
def new_weight_missing(
    param: Array, grads: Array, lr: float, beta: float, eps: float
) -> Array:
    """The new square enters with weight 1; its share is `1 - beta`.

    Without it this is no average: with beta = 0.99 it grows 100 times too large.
    """
    total = averages(grads**2, beta, new=1.0)
    return follow(param, grads / (np.sqrt(total) + eps), lr)


@rmsprop.mistake
def eps_inside(param: Array, grads: Array, lr: float, beta: float, eps: float) -> Array:
    """`eps` stands inside the root, where it acts like its own root: 1e-8 becomes 1e-4.

    Take the root of the average first, and add eps after that.
    """
    return follow(param, grads / np.sqrt(averages(grads**2, beta) + eps), lr)


@rmsprop.mistake
def eps_left_out(
    param: Array, grads: Array, lr: float, beta: float, eps: float
) -> Array:
    """`eps` is missing: a weight whose gradients were all zero gives 0 / 0."""
    return follow(param, grads / np.sqrt(averages(grads**2, beta)), lr)


@rmsprop.mistake
def root_left_out(
    param: Array, grads: Array, lr: float, beta: float, eps: float
) -> Array:
    """The root is missing. RMS is the *root* of the mean of the squares."""
    return follow(param, grads / (averages(grads**2, beta) + eps), lr)


@rmsprop.mistake
def square_left_out(
    param: Array, grads: Array, lr: float, beta: float, eps: float
) -> Array:
    """You average the gradients themselves; the root of a negative average is nan.

    RMS is the root of the mean of the *squares*.
    """
    return follow(param, grads / (np.sqrt(averages(grads, beta)) + eps), lr)


@rmsprop.mistake
def squared_after_averaging(
    param: Array, grads: Array, lr: float, beta: float, eps: float
) -> Array:
    """You square the average of the gradients, in which plus and minus cancel.

    Average the squares.
    """
    return follow(param, grads / (np.abs(averages(grads, beta)) + eps), lr)


@rmsprop.mistake
def sizes_averaged(
    param: Array, grads: Array, lr: float, beta: float, eps: float
) -> Array:
    """You average the sizes |g|; RMSprop averages the squares, then takes the root."""
    return follow(param, grads / (averages(np.abs(grads), beta) + eps), lr)


@rmsprop.mistake
def average_too_late(
    param: Array, grads: Array, lr: float, beta: float, eps: float
) -> Array:
    """You use the average before the new gradient is in it.

    The first step then divides by eps alone and jumps. Mix it in, then step.
    """
    average = earlier(averages(grads**2, beta))
    return follow(param, grads / (np.sqrt(average) + eps), lr)


@rmsprop.mistake
def bias_corrected(
    param: Array, grads: Array, lr: float, beta: float, eps: float
) -> Array:
    """You correct the average for its start at zero. Adam does that; RMSprop does not.

    Here, leave the first steps as long as they are.
    """
    average = averages(grads**2, beta) / (1 - beta ** counts(grads))
    return follow(param, grads / (np.sqrt(average) + eps), lr)


@rmsprop.mistake
def starts_at_the_first_square(
    param: Array, grads: Array, lr: float, beta: float, eps: float
) -> Array:
    """Your average begins with the first squared gradient; let it begin with zeros."""
    begin = beta ** counts(grads) * (grads[:1] ** 2)
    average = averages(grads**2, beta) + begin
    return follow(param, grads / (np.sqrt(average) + eps), lr)


@rmsprop.mistake
def one_rate_for_all(
    param: Array, grads: Array, lr: float, beta: float, eps: float
) -> Array:
    """You add over the weights too, so that all of them share one rate.

    Keep the average as an array, with an entry for each weight.
    """
    average = averages((grads**2).sum(axis=1, keepdims=True), beta)
    return follow(param, grads / (np.sqrt(average) + eps), lr)


@rmsprop.mistake
def climbs(param: Array, grads: Array, lr: float, beta: float, eps: float) -> Array:
    """You climb: the gradient points uphill, so *subtract* the step."""
    return rmsprop_reference(param, grads, -lr, beta, eps)
