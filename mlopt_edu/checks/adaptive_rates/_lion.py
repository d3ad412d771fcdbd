"""Task 6: Lion, the sign of an interpolated momentum.

Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, arXiv:2302.06675,
Algorithm 2.
"""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._run import Array, Betas, averages, earlier, first_weight, follow, gradients


def lion_reference(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """Every point that Lion visits, the start included."""
    beta1, beta2 = betas
    exp_avg = np.zeros(param.shape)
    path = [param]
    for grad in grads:
        direction = np.sign(beta1 * exp_avg + (1 - beta1) * grad)
        param = param - lr * (direction + weight_decay * param)
        exp_avg = beta2 * exp_avg + (1 - beta2) * grad
        path.append(param)
    return np.array(path)


def _lion_cases(rng: np.random.Generator) -> Iterator[Case]:
    small = {"param": np.array([1.0, -1]), "grads": np.array([[1.0, -2], [-3, 0.5]])}
    settings = {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.5}
    yield Case("two weights, 2 steps", {**small, **settings})
    for steps, d, lr, betas, weight_decay, kept, label in (
        (30, 1, 0.5, (0.9, 0.99), 0.0, 1.0, "one weight"),
        (150, 5, 0.01, (0.9, 0.99), 0.1, 1.0, "150 steps"),
        (40, 4, 0.1, (0.5, 0.999), 0.01, 1.0, "betas (0.5, 0.999)"),
        (40, 4, 0.1, (0.95, 0.6), 1.0, 1.0, "betas (0.95, 0.6)"),
        (40, 6, 0.2, (0.7, 0.9), 0.3, 0.1, "rare gradients"),
        (30, 3, 0.1, (0.0, 0.9), 0.1, 1.0, "beta1 = 0"),
        (30, 3, 0.1, (0.9, 0.0), 0.1, 1.0, "beta2 = 0"),
        (1, 3, 0.1, (0.9, 0.99), 0.5, 1.0, "a single step"),
        (0, 3, 0.1, (0.9, 0.99), 0.1, 1.0, "no step at all"),
        (4, 3, 0.0, (0.9, 0.99), 0.1, 1.0, "step size 0"),
    ):
        grads = gradients(rng, steps, d, kept=kept)
        inputs = {"param": rng.normal(size=d), "grads": grads, "lr": lr}
        yield Case(label, {**inputs, "betas": betas, "weight_decay": weight_decay})
    grads = gradients(rng, 9, 4)
    grads[0], grads[:, 1] = 0, 0
    inputs = {"param": rng.normal(size=4), "grads": grads, "lr": 0.1}
    settings = {"betas": (0.9, 0.8), "weight_decay": 0.2}
    yield Case("a weight without gradients", {**inputs, **settings})
    grads = gradients(rng, 12, 3, scale=1e-13)
    inputs = {"param": rng.normal(size=3), "grads": grads, "lr": 0.1}
    yield Case("tiny gradients", {**inputs, **settings})


lion = Task(
    "lion",
    points=2,
    section="03 · Write it small",
    reference=lion_reference,
    draw=_lion_cases,
    forbid=("torch.optim", "mlopt_edu.optim"),
    picture=first_weight,
    axes=("step", "param[0]"),
    hints=(
        "One state, two mixtures of it with the gradient: which one is kept, and "
        "which one is only looked at for its sign?",
        "In each step: first the direction, from the *old* momentum with beta1; then "
        "the step, with decay as in AdamW; then the new momentum, with beta2.",
        "`direction = np.sign(beta1 * exp_avg + (1 - beta1) * grad)`, and at the end "
        "of the step `exp_avg = beta2 * exp_avg + (1 - beta2) * grad`.",
    ),
)


def _mixture(grads: Array, betas: Betas) -> Array:
    """Return what Lion takes the sign of, in each step."""
    beta1, beta2 = betas
    return beta1 * earlier(averages(grads, beta2)) + (1 - beta1) * grads


@lion.mistake
def momentum_with_beta1(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """You mix the momentum with beta1 too, so beta2 has no effect.

    beta1 is for the direction, beta2 for the momentum that is kept.
    """
    return lion_reference(param, grads, lr, (betas[0], betas[0]), weight_decay)


@lion.mistake
def sign_of_the_momentum(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """You take the sign of the new momentum, so beta1 has no effect.

    The direction is the sign of a mixture of its own, with beta1.
    """
    return lion_reference(param, grads, lr, (betas[1], betas[1]), weight_decay)


@lion.mistake
def sign_of_the_old_momentum(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """You take the sign of the old momentum, which does not know the new gradient.

    Mix the new gradient in with weight `1 - beta1`, then take the sign.
    """
    momentum = earlier(averages(grads, betas[1]))
    return follow(param, np.sign(momentum), lr, weight_decay)


@lion.mistake
def sign_of_the_gradient(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """You take the sign of the newest gradient: this step remembers nothing."""
    return follow(param, np.sign(grads), lr, weight_decay)


@lion.mistake
def sign_left_out(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """The sign is missing: each entry of the direction must be -1, 0 or 1."""
    return follow(param, _mixture(grads, betas), lr, weight_decay)


@lion.mistake
def betas_swapped(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """The betas are swapped: the first is for the direction, the second is kept."""
    return lion_reference(param, grads, lr, betas[::-1], weight_decay)


@lion.mistake
def weights_swapped(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """In the mixtures the weights are swapped: beta belongs to the *old* momentum."""
    swapped = (1 - betas[0], 1 - betas[1])
    return lion_reference(param, grads, lr, swapped, weight_decay)


@lion.mistake
def momentum_first(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """You renew the momentum before the direction, so the gradient counts twice.

    The direction takes the *old* momentum: renew it at the end of the step.
    """
    mixture = betas[0] * averages(grads, betas[1]) + (1 - betas[0]) * grads
    return follow(param, np.sign(mixture), lr, weight_decay)


@lion.mistake
def mixture_kept(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """You mix the *mixture* into the momentum; mix in the gradient itself."""
    momentum = np.zeros(param.shape)
    directions = np.zeros(grads.shape)
    for step, grad in enumerate(grads):
        mixture = betas[0] * momentum + (1 - betas[0]) * grad
        directions[step] = np.sign(mixture)
        momentum = betas[1] * momentum + (1 - betas[1]) * mixture
    return follow(param, directions, lr, weight_decay)


@lion.mistake
def never_rests(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """A weight that never had a gradient moves: the sign of 0 is 0, and not 1."""
    return follow(
        param, np.where(_mixture(grads, betas) >= 0, 1.0, -1.0), lr, weight_decay
    )


@lion.mistake
def decay_in_the_gradient(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """You add the decay to the gradient, where the sign swallows it.

    Add it to the step, beside the direction.
    """
    momentum = np.zeros(param.shape)
    path = [param]
    for grad in grads:
        pull = grad + weight_decay * path[-1]
        direction = np.sign(betas[0] * momentum + (1 - betas[0]) * pull)
        momentum = betas[1] * momentum + (1 - betas[1]) * pull
        path.append(path[-1] - lr * direction)
    return np.array(path)


@lion.mistake
def decay_in_the_sign(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """You take the sign of mixture *and* decay; the decay stays outside the sign."""
    path = [param]
    for mixture in _mixture(grads, betas):
        path.append(path[-1] - lr * np.sign(mixture + weight_decay * path[-1]))
    return np.array(path)


@lion.mistake
def lr_missing(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """The decay is not multiplied by `lr`; both parts of the step are."""
    path = [param]
    for mixture in _mixture(grads, betas):
        path.append(path[-1] - lr * np.sign(mixture) - weight_decay * path[-1])
    return np.array(path)


@lion.mistake
def decay_after_the_step(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """You decay the point *after* the signed step; take the point before it."""
    path = [param]
    for mixture in _mixture(grads, betas):
        path.append((1 - lr * weight_decay) * (path[-1] - lr * np.sign(mixture)))
    return np.array(path)


@lion.mistake
def decay_left_out(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """`weight_decay` is never used."""
    return lion_reference(param, grads, lr, betas, 0.0)


@lion.mistake
def climbs(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """You climb: the gradient points uphill, so *subtract* the signed step."""
    return lion_reference(param, -grads, lr, betas, weight_decay)


@lion.mistake
def gradient_mixed_in_twice(
    param: Array, grads: Array, lr: float, betas: Betas, weight_decay: float
) -> Array:
    """You keep the mixture for the direction and mix the gradient into it once more.

    It is only looked at for its sign. Mix beta2 into the *old* momentum.
    """
    beta1, beta2 = betas
    momentum, directions = np.zeros(param.shape), np.zeros(grads.shape)
    for step, grad in enumerate(grads):
        momentum = beta1 * momentum + (1 - beta1) * grad
        directions[step] = np.sign(momentum)
        momentum = beta2 * momentum + (1 - beta2) * grad
    return follow(param, directions, lr, weight_decay)
