"""Task 5: AdamW, with the weight decay beside the gradient and not in it."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._adam import adam_reference
from ._run import Array, Betas, adam_inputs, first_weight, follow


def adamw_reference(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float, weight_decay: float
) -> Array:
    """Every point that AdamW visits, the start included."""
    beta1, beta2 = betas
    exp_avg, exp_avg_sq = np.zeros(param.shape), np.zeros(param.shape)
    path = [param]
    for step, grad in enumerate(grads, start=1):
        exp_avg = beta1 * exp_avg + (1 - beta1) * grad
        exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * grad**2
        mean = exp_avg / (1 - beta1**step)
        mean_sq = exp_avg_sq / (1 - beta2**step)
        direction = mean / (np.sqrt(mean_sq) + eps)
        param = param - lr * (direction + weight_decay * param)
        path.append(param)
    return np.array(path)


def _adamw_cases(rng: np.random.Generator) -> Iterator[Case]:
    for number, (label, inputs) in enumerate(adam_inputs(rng)):
        weight_decay = (0.5, 0.01, 0.1, 1.5)[number % 4]
        yield Case(label, {**inputs, "weight_decay": weight_decay})
    settings = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8}
    silent = {"param": rng.normal(size=3), "grads": np.zeros((8, 3)), **settings}
    yield Case("no gradient, only decay", {**silent, "weight_decay": 0.3})
    plain = {"param": rng.normal(size=3), "grads": rng.normal(size=(8, 3)), **settings}
    yield Case("weight decay 0", {**plain, "weight_decay": 0.0})


adamw = Task(
    "adamw",
    points=3,
    section="03 · Write it small",
    reference=adamw_reference,
    draw=_adamw_cases,
    forbid=("torch.optim", "mlopt_edu.optim"),
    picture=first_weight,
    axes=("step", "param[0]"),
    hints=(
        "Should the averages know anything of the decay?",
        "Take your `adam`, leave both averages alone, and change the line that moves "
        "`param`: the decay is a second part of that step.",
        "Subtract `lr * (m / (np.sqrt(v) + eps) + weight_decay * param)`, where "
        "`param` is the point *before* the step.",
    ),
)


def _directions(param: Array, grads: Array, betas: Betas, eps: float) -> Array:
    """Return Adam's direction in each step, which the gradients alone decide."""
    return -np.diff(adam_reference(0 * param, grads, 1.0, betas, eps), axis=0)


def _coupled(
    param: Array,
    grads: Array,
    lr: float,
    betas: Betas,
    eps: float,
    first: float,
    second: float,
) -> Array:
    """Adam with a multiple of `param` added to the gradient in each average."""
    m, v = np.zeros(param.shape), np.zeros(param.shape)
    path = [param]
    for step, grad in enumerate(grads, start=1):
        m = betas[0] * m + (1 - betas[0]) * (grad + first * path[-1])
        v = betas[1] * v + (1 - betas[1]) * (grad + second * path[-1]) ** 2
        m_hat, v_hat = m / (1 - betas[0] ** step), v / (1 - betas[1] ** step)
        path.append(path[-1] - lr * m_hat / (np.sqrt(v_hat) + eps))
    return np.array(path)


@adamw.mistake
def l2_in_the_gradient(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float, weight_decay: float
) -> Array:
    """You add the decay to the gradient: this is Adam with L2, which AdamW replaces.

    The root then divides the decay too, and weights with large gradients hardly
    decay. Keep it out of both averages and add it to the step.
    """
    return _coupled(param, grads, lr, betas, eps, weight_decay, weight_decay)


@adamw.mistake
def l2_in_the_first_average(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float, weight_decay: float
) -> Array:
    """You mix the decay into the average of the gradients; keep it out of both.

    There the root divides it, and beta1 delays it.
    """
    return _coupled(param, grads, lr, betas, eps, weight_decay, 0.0)


@adamw.mistake
def decay_over_the_root(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float, weight_decay: float
) -> Array:
    """The decay stands above the fraction, so the root divides it as well.

    Add it *after* the division: every weight decays at the same rate.
    """
    path = [param]
    v = np.zeros(param.shape)
    directions = _directions(param, grads, betas, eps)
    for step, (grad, direction) in enumerate(
        zip(grads, directions, strict=True), start=1
    ):
        v = betas[1] * v + (1 - betas[1]) * grad**2
        size = np.sqrt(v / (1 - betas[1] ** step)) + eps
        path.append(path[-1] - lr * (direction + weight_decay * path[-1] / size))
    return np.array(path)


@adamw.mistake
def grows(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float, weight_decay: float
) -> Array:
    """The sign of the decay is wrong: the weights *grow*. It pulls towards zero."""
    return adamw_reference(param, grads, lr, betas, eps, -weight_decay)


@adamw.mistake
def lr_missing(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float, weight_decay: float
) -> Array:
    """The decay is not multiplied by `lr`; both parts of the step are."""
    path = [param]
    for direction in _directions(param, grads, betas, eps):
        path.append(path[-1] - lr * direction - weight_decay * path[-1])
    return np.array(path)


@adamw.mistake
def lr_twice(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float, weight_decay: float
) -> Array:
    """The decay is multiplied by `lr` twice; once is right."""
    return adamw_reference(param, grads, lr, betas, eps, lr * weight_decay)


@adamw.mistake
def decay_after_the_step(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float, weight_decay: float
) -> Array:
    """You decay the point *after* Adam's step; take the point before it.

    Both parts of the step start from the same `param`.
    """
    path = [param]
    for direction in _directions(param, grads, betas, eps):
        path.append((1 - lr * weight_decay) * (path[-1] - lr * direction))
    return np.array(path)


@adamw.mistake
def start_decays(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float, weight_decay: float
) -> Array:
    """Every step pulls by the *start*; pull by the point where you are now."""
    directions = _directions(param, grads, betas, eps)
    return follow(param, directions + weight_decay * param, lr)


@adamw.mistake
def averages_decay(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float, weight_decay: float
) -> Array:
    """You let the average of the gradients decay; it is the *weights* that decay."""
    m, v = np.zeros(param.shape), np.zeros(param.shape)
    path = [param]
    for step, grad in enumerate(grads, start=1):
        m = (1 - lr * weight_decay) * m
        m = betas[0] * m + (1 - betas[0]) * grad
        v = betas[1] * v + (1 - betas[1]) * grad**2
        m_hat, v_hat = m / (1 - betas[0] ** step), v / (1 - betas[1] ** step)
        path.append(path[-1] - lr * m_hat / (np.sqrt(v_hat) + eps))
    return np.array(path)


@adamw.mistake
def twice_the_decay(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float, weight_decay: float
) -> Array:
    """You decay twice as much: there is no square here whose 2 comes down."""
    return adamw_reference(param, grads, lr, betas, eps, 2 * weight_decay)


@adamw.mistake
def decay_left_out(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float, weight_decay: float
) -> Array:
    """This is Adam: `weight_decay` is never used."""
    return adam_reference(param, grads, lr, betas, eps)


@adamw.mistake
def no_correction(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float, weight_decay: float
) -> Array:
    """The decay is right, and the bias correction is missing: see task 3."""
    m, v = np.zeros(param.shape), np.zeros(param.shape)
    directions = []
    for grad in grads:
        m = betas[0] * m + (1 - betas[0]) * grad
        v = betas[1] * v + (1 - betas[1]) * grad**2
        directions.append(m / (np.sqrt(v) + eps))
    return follow(param, np.array(directions), lr, weight_decay)


@adamw.mistake
def eps_inside(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float, weight_decay: float
) -> Array:
    """The decay is right, and eps stands inside the root: see task 3."""
    m, v = np.zeros(param.shape), np.zeros(param.shape)
    directions = []
    for step, grad in enumerate(grads, start=1):
        m = betas[0] * m + (1 - betas[0]) * grad
        v = betas[1] * v + (1 - betas[1]) * grad**2
        m_hat, v_hat = m / (1 - betas[0] ** step), v / (1 - betas[1] ** step)
        directions.append(m_hat / np.sqrt(v_hat + eps))
    return follow(param, np.array(directions), lr, weight_decay)
