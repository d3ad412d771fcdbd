"""Task 3: Adam, an average of gradients over the root of an average of squares."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._run import Array, Betas, adam_inputs, averages, counts, first_weight, follow


def adam_reference(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """Every point that Adam visits, the start included."""
    beta1, beta2 = betas
    exp_avg, exp_avg_sq = np.zeros(param.shape), np.zeros(param.shape)
    path = [param]
    for step, grad in enumerate(grads, start=1):
        exp_avg = beta1 * exp_avg + (1 - beta1) * grad
        exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * grad**2
        mean = exp_avg / (1 - beta1**step)
        mean_sq = exp_avg_sq / (1 - beta2**step)
        param = param - lr * mean / (np.sqrt(mean_sq) + eps)
        path.append(param)
    return np.array(path)


def _adam_cases(rng: np.random.Generator) -> Iterator[Case]:
    for label, inputs in adam_inputs(rng):
        yield Case(label, inputs)


adam = Task(
    "adam",
    points=3,
    section="03 · Derive",
    reference=adam_reference,
    draw=_adam_cases,
    forbid=("torch.optim", "mlopt_edu.optim"),
    picture=first_weight,
    axes=("step", "param[0]"),
    hints=(
        "Take your `rmsprop` and add a second average, of the gradients themselves. "
        "Which of the two `betas` belongs to which?",
        "Both averages begin at zero and are too small at first. In step t divide the "
        "first by `1 - beta1**t` and the second by `1 - beta2**t`, with t = 1 in the "
        "first step. Keep the averages themselves as they are.",
        "With m and v the *divided* averages, subtract `lr * m / (np.sqrt(v) + eps)`. "
        "`for t, grad in enumerate(grads, start=1)` counts for you.",
    ),
)


def _moments(grads: Array, betas: Betas) -> tuple[Array, Array, Array, Array]:
    """Return both averages of every step, and what each must be divided by."""
    step = counts(grads)
    first, second = averages(grads, betas[0]), averages(grads**2, betas[1])
    return first, second, 1 - betas[0] ** step, 1 - betas[1] ** step


@adam.mistake
def no_correction(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """The bias correction is missing. Both averages begin at zero and are too small.

    With the usual betas the first step is then three times too long, and the next
    ones more. Divide the averages by `1 - beta1**t` and `1 - beta2**t`.
    """
    m, v, _, _ = _moments(grads, betas)
    return follow(param, m / (np.sqrt(v) + eps), lr)


@adam.mistake
def only_the_first_corrected(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """You correct the average of the gradients only; divide the squares' average too.

    Its divisor is `1 - beta2**t`.
    """
    m, v, c1, _ = _moments(grads, betas)
    return follow(param, m / c1 / (np.sqrt(v) + eps), lr)


@adam.mistake
def only_the_second_corrected(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """You correct the average of the squares only; divide the gradients' average too.

    Its divisor is `1 - beta1**t`.
    """
    m, v, _, c2 = _moments(grads, betas)
    return follow(param, m / (np.sqrt(v / c2) + eps), lr)


@adam.mistake
def steps_from_zero(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """Your first step is step 0, where `1 - beta**0` is 0: you divide by zero.

    Count from 1.
    """
    m, v, _, _ = _moments(grads, betas)
    step = counts(grads) - 1
    c1, c2 = 1 - betas[0] ** step, 1 - betas[1] ** step
    return follow(param, (m / c1) / (np.sqrt(v / c2) + eps), lr)


@adam.mistake
def one_step_ahead(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """The correction is one step ahead: in the first step the power is 1, not 2."""
    m, v, _, _ = _moments(grads, betas)
    step = counts(grads) + 1
    c1, c2 = 1 - betas[0] ** step, 1 - betas[1] ** step
    return follow(param, m / c1 / (np.sqrt(v / c2) + eps), lr)


@adam.mistake
def power_left_out(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """You divide by `1 - beta` in every step. The correction fades: `1 - beta**t`."""
    m, v, _, _ = _moments(grads, betas)
    return follow(param, m / (1 - betas[0]) / (np.sqrt(v / (1 - betas[1])) + eps), lr)


@adam.mistake
def correction_kept(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """You keep the corrected averages and mix the next gradient into them.

    So they are corrected again and again. Give the corrected ones names of their own.
    """
    first = second = np.zeros(param.shape)
    path = [param]
    for step, grad in enumerate(grads, start=1):
        first = betas[0] * first + (1 - betas[0]) * grad
        second = betas[1] * second + (1 - betas[1]) * grad**2
        first, second = first / (1 - betas[0] ** step), second / (1 - betas[1] ** step)
        path.append(path[-1] - lr * first / (np.sqrt(second) + eps))
    return np.array(path)


@adam.mistake
def eps_inside(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """`eps` stands inside the root, where it acts like its own root: 1e-8 becomes 1e-4.

    Take the root of the corrected average first, and add eps after that.
    """
    m, v, c1, c2 = _moments(grads, betas)
    return follow(param, m / c1 / np.sqrt(v / c2 + eps), lr)


@adam.mistake
def eps_before_correction(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """You add eps to the root of the *uncorrected* average, so its share changes.

    Correct the average first, then take the root, then add eps.
    """
    m, v, c1, c2 = _moments(grads, betas)
    return follow(param, m / c1 / ((np.sqrt(v) + eps) / np.sqrt(c2)), lr)


@adam.mistake
def eps_left_out(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """`eps` is missing: a weight whose gradients were all zero gives 0 / 0."""
    m, v, c1, c2 = _moments(grads, betas)
    return follow(param, m / c1 / np.sqrt(v / c2), lr)


@adam.mistake
def beta1_twice(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """beta2 is never used: the average of the squares has a memory of its own."""
    return adam_reference(param, grads, lr, (betas[0], betas[0]), eps)


@adam.mistake
def beta2_twice(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """beta1 is never used: it belongs to the average of the gradients."""
    return adam_reference(param, grads, lr, (betas[1], betas[1]), eps)


@adam.mistake
def betas_swapped(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """The betas are swapped: the first belongs to the gradients, not the squares."""
    return adam_reference(param, grads, lr, betas[::-1], eps)


@adam.mistake
def weights_swapped(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """In the averages the weights are swapped: beta belongs to the *old* average."""
    _, _, c1, c2 = _moments(grads, betas)
    m, v, _, _ = _moments(grads, (1 - betas[0], 1 - betas[1]))
    return follow(param, m / c1 / (np.sqrt(v / c2) + eps), lr)


@adam.mistake
def gradient_on_top(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """The newest gradient stands above the fraction, so beta1 has no effect.

    Put the corrected *average* of the gradients there.
    """
    _, v, _, c2 = _moments(grads, betas)
    return follow(param, grads / (np.sqrt(v / c2) + eps), lr)


@adam.mistake
def average_squared(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """Your second average takes the square of the first; it takes the *gradient's*."""
    m, _, c1, c2 = _moments(grads, betas)
    v = averages(m**2, betas[1])
    return follow(param, m / c1 / (np.sqrt(v / c2) + eps), lr)


@adam.mistake
def climbs(param: Array, grads: Array, lr: float, betas: Betas, eps: float) -> Array:
    """You climb: the gradient points uphill, so *subtract* the step."""
    return adam_reference(param, grads, -lr, betas, eps)


@adam.mistake
def root_left_out(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """The root is missing: you divide by the average of the *squares*.

    Then gradients twice as large give steps half as long. Take the root first.
    """
    m, v, c1, c2 = _moments(grads, betas)
    return follow(param, m / c1 / (v / c2 + eps), lr)


@adam.mistake
def corrected_after_the_root(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """You take the root first and divide *it* by `1 - beta2**t`.

    The average is what is too small: divide it, and take the root of the quotient.
    """
    m, v, c1, c2 = _moments(grads, betas)
    return follow(param, m / c1 / (np.sqrt(v) / c2 + eps), lr)


@adam.mistake
def second_corrected_by_beta1(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """You divide both averages by `1 - beta1**t`; the second one has beta2."""
    m, v, c1, _ = _moments(grads, betas)
    return follow(param, m / c1 / (np.sqrt(v / c1) + eps), lr)


@adam.mistake
def one_array_for_both_averages(
    param: Array, grads: Array, lr: float, betas: Betas, eps: float
) -> Array:
    """Both averages are *one* array: `a = b = np.zeros(…)` gives it two names.

    What you add to one in place is in the other too. Make two arrays.
    """
    both, directions = np.zeros(param.shape), np.zeros(grads.shape)
    for step, grad in enumerate(grads, start=1):
        both = betas[0] * both + (1 - betas[0]) * grad
        both = betas[1] * both + (1 - betas[1]) * grad**2
        root = np.sqrt(both / (1 - betas[1] ** step))
        directions[step - 1] = both / (1 - betas[0] ** step) / (root + eps)
    return follow(param, directions, lr)
