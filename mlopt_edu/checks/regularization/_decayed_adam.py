"""Task 4: Adam that promises decoupled weight decay and does L2, to mend."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from .._task import Case, Task
from ._soft_threshold import Array


def decayed_adam_reference(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """Every point of Adam with decoupled decay of the weights; the bias is spared."""
    beta1, beta2, eps = 0.9, 0.999, 1e-8
    with_ones = np.column_stack([X, np.ones(len(X))])
    decay = np.append(np.full(X.shape[1], weight_decay), 0.0)
    exp_avg, exp_avg_sq = np.zeros(param.shape), np.zeros(param.shape)
    path = [param]
    for step in range(1, steps + 1):
        grad = with_ones.T @ (with_ones @ param - y) / len(y)
        exp_avg = beta1 * exp_avg + (1 - beta1) * grad
        exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * grad**2
        mean = exp_avg / (1 - beta1**step)
        mean_sq = exp_avg_sq / (1 - beta2**step)
        direction = mean / (np.sqrt(mean_sq) + eps)
        param = param - lr * (direction + decay * param)
        path.append(param)
    return np.array(path)


def _runs(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, lr, weight_decay, steps, scale, label in (
        (4, 1, 0.1, 0.5, 3, 1.0, "one weight and a bias"),
        (20, 4, 0.05, 0.1, 12, 1.0, "four weights"),
        (15, 3, 0.02, 1.5, 40, 1.0, "40 steps, strong decay"),
        (10, 6, 0.3, 0.01, 12, 1.0, "weak decay"),
        (12, 3, 0.1, 0.2, 8, 1e-4, "tiny features, where eps counts"),
        (10, 2, 0.1, 0.0, 6, 1.0, "weight decay 0"),
        (1, 3, 0.1, 0.3, 1, 1.0, "a single step"),
        (8, 2, 0.1, 0.3, 0, 1.0, "no step at all"),
        (8, 2, 0.0, 0.3, 4, 1.0, "step size 0"),
    ):
        X = scale * rng.normal(size=(n, d)) * rng.uniform(0.1, 2, size=d)
        y = X @ rng.normal(size=d) + scale * (rng.normal(size=n) + 2)
        param = rng.normal(size=d + 1)
        param[-1] *= scale
        inputs = {"X": X, "y": y, "param": param, "lr": lr}
        yield Case(label, {**inputs, "weight_decay": weight_decay, "steps": steps})
    X = rng.normal(size=(12, 3))
    X[:, 1] = 0
    inputs = {"X": X, "y": rng.normal(size=12), "param": np.array([1.0, 2, -1, 3])}
    inputs |= {"lr": 0.1, "weight_decay": 0.5, "steps": 15}
    yield Case("a feature that never occurs", inputs)


def _first_weight(_: Mapping[str, Any], value: Any) -> tuple[Any, Any]:
    return np.arange(len(value)), value[:, 0]


decayed_adam = Task(
    "decayed_adam",
    kind="repair",
    points=2,
    section="07 · What goes wrong",
    reference=decayed_adam_reference,
    draw=_runs,
    forbid=("torch.optim", "mlopt_edu.optim", "mlopt_edu.regularization"),
    picture=_first_weight,
    axes=("step", "param[0]"),
    hints=(
        "Run it with a column of zeros in X. Its weight has no gradient and should "
        "decay by the factor `1 - lr * weight_decay` in each step. What does it do?",
        "There are two faults. One: where the decay enters. Two: which entries of "
        "`param` it reaches.",
        "Leave `grad` alone. Subtract from `param`, beside Adam's own step, `lr * "
        "decay * param` with the `param` before the step, where `decay` holds "
        "`weight_decay` for each weight and 0 for the bias.",
    ),
)


def _run(
    X: Array,
    y: Array,
    param: Array,
    lr: float,
    steps: int,
    *,
    coupled: Array | float = 0.0,
    decoupled: Array | float = 0.0,
    when: Literal["before", "beside", "after"] = "beside",
) -> Array:
    """Run Adam with multiples of `param` in the gradient and around the step."""
    with_ones = np.column_stack([X, np.ones(len(X))])
    m, v = np.zeros(param.shape), np.zeros(param.shape)
    path = [param]
    for step in range(1, steps + 1):
        now = path[-1] * (1 - decoupled) if when == "before" else path[-1]
        grad = with_ones.T @ (with_ones @ now - y) / len(y) + coupled * now
        m = 0.9 * m + 0.1 * grad
        v = 0.999 * v + 0.001 * grad**2
        size = np.sqrt(v / (1 - 0.999**step)) + 1e-8
        moved = now - lr * m / (1 - 0.9**step) / size
        if when != "before":
            moved = moved - decoupled * (now if when == "beside" else moved)
        path.append(moved)
    return np.array(path)


def _weights(X: Array) -> Array:
    """Return 1 for each weight and 0 for the bias."""
    return np.append(np.ones(X.shape[1]), 0.0)


@decayed_adam.mistake
def as_given(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """Both faults of the given program are still in it.

    By what does Adam divide everything that is in the gradient? And does the bias
    make a model overfit?
    """
    return _run(X, y, param, lr, steps, coupled=weight_decay)


@decayed_adam.mistake
def still_in_the_gradient(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """The bias is spared now, but the decay is still in the gradient: Adam with L2.

    The root divides it there, so weights with large gradients hardly decay. Subtract
    it beside Adam's step.
    """
    return _run(X, y, param, lr, steps, coupled=weight_decay * _weights(X))


@decayed_adam.mistake
def bias_still_decays(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """The decay is decoupled now, but the bias, the last entry, still decays.

    It only shifts the predictions: spare it.
    """
    return _run(X, y, param, lr, steps, decoupled=lr * weight_decay)


@decayed_adam.mistake
def only_the_bias_decays(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """Only the bias decays; it is the one that should not."""
    return _run(X, y, param, lr, steps, decoupled=lr * weight_decay * (1 - _weights(X)))


@decayed_adam.mistake
def last_weight_spared_too(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """You spare the last *weight* too; only the last entry is the bias."""
    decay = weight_decay * _weights(X)
    decay[-2:] = 0
    return _run(X, y, param, lr, steps, decoupled=lr * decay)


@decayed_adam.mistake
def first_spared(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """You spare the first entry of `param`; the bias is the *last*."""
    return _run(X, y, param, lr, steps, decoupled=lr * weight_decay * _weights(X)[::-1])


@decayed_adam.mistake
def both_ways(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """The weights decay twice: beside the step, and still in the gradient.

    Take the decay out of the gradient.
    """
    decay = weight_decay * _weights(X)
    return _run(X, y, param, lr, steps, coupled=decay, decoupled=lr * decay)


@decayed_adam.mistake
def gradient_left_as_it_was(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """You decay beside the step, but the given line in the gradient is still there.

    Take it out.
    """
    decay = weight_decay * _weights(X)
    return _run(X, y, param, lr, steps, coupled=weight_decay, decoupled=lr * decay)


@decayed_adam.mistake
def lr_missing(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """The decay is not multiplied by `lr`; both parts of the step are."""
    decay = weight_decay * _weights(X)
    return _run(X, y, param, lr, steps, decoupled=decay)


@decayed_adam.mistake
def after_the_step(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """You decay the point *after* Adam's step; take the point before it."""
    decay = weight_decay * _weights(X)
    return _run(X, y, param, lr, steps, decoupled=lr * decay, when="after")


@decayed_adam.mistake
def before_the_gradient(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """You decay first and compute the gradient at the decayed point.

    Both parts of a step start from the same `param`.
    """
    decay = weight_decay * _weights(X)
    return _run(X, y, param, lr, steps, decoupled=lr * decay, when="before")


@decayed_adam.mistake
def path_decays_in_place(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """You decay `param` in place, but the path holds the same array already.

    So a point changes after you stored it. Write `param = …`, which makes a new one.
    """
    path = decayed_adam_reference(X, y, param, lr, weight_decay, steps)
    path[:-1, :-1] *= 1 - lr * weight_decay
    return path


@decayed_adam.mistake
def grows(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """The sign of the decay is wrong: the weights *grow*. It pulls towards 0."""
    return decayed_adam_reference(X, y, param, lr, -weight_decay, steps)


@decayed_adam.mistake
def decay_left_out(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """Nothing decays any more: `weight_decay` is never used."""
    return _run(X, y, param, lr, steps)


@decayed_adam.mistake
def twice_the_decay(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """You decay twice as much: there is no square here whose 2 comes down."""
    return decayed_adam_reference(X, y, param, lr, 2 * weight_decay, steps)


@decayed_adam.mistake
def divided_with_the_rest(
    X: Array, y: Array, param: Array, lr: float, weight_decay: float, steps: int
) -> Array:
    """The decay is out of the averages, but the root still divides it.

    Add it after the division, so that all weights decay at the same rate.
    """
    with_ones = np.column_stack([X, np.ones(len(X))])
    m, v = np.zeros(param.shape), np.zeros(param.shape)
    path = [param]
    for step in range(1, steps + 1):
        now = path[-1]
        grad = with_ones.T @ (with_ones @ now - y) / len(y)
        m = 0.9 * m + 0.1 * grad
        v = 0.999 * v + 0.001 * grad**2
        size = np.sqrt(v / (1 - 0.999**step)) + 1e-8
        pull = weight_decay * _weights(X) * now
        path.append(now - lr * (m / (1 - 0.9**step) + pull) / size)
    return np.array(path)
