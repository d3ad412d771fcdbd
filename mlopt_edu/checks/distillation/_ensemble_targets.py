"""Task 11: what several generations of students say together."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, log_softmax, one_hot, softmax


def ensemble_targets_reference(logits: Array, temperature: float) -> Array:
    """Mean over the members of their softened probabilities."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=2)[..., None])
    return np.asarray((powers / powers.sum(axis=2)[..., None]).mean(axis=0))


def _members(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = np.array([[[6.0, 0, 0]], [[0, 3, 0]]])
    yield Case("two that disagree", {"logits": by_hand, "temperature": 1.0})
    for members, n, classes, temperature, label in (
        (3, 5, 4, 1.0, "three generations"),
        (5, 2, 10, 4.0, "five generations, temperature 4"),
        (2, 6, 3, 0.5, "temperature 1/2"),
        (1, 4, 3, 2.0, "one generation"),
        (4, 1, 2, 3.0, "one example"),
        (3, 3, 3, 2.5, "3 everywhere"),
    ):
        logits = 3 * rng.normal(size=(members, n, classes))
        yield Case(label, {"logits": logits, "temperature": temperature})
    high = 1500 * (np.eye(3, 4) + np.eye(3, 4, k=1))  # two classes of each example
    logits = rng.normal(size=(2, 3, 4)) + high
    yield Case("large logits", {"logits": logits, "temperature": 1.5})
    yield Case("large logits, much softened", {"logits": logits, "temperature": 900.0})


ensemble_targets = Task(
    "ensemble_targets",
    points=1,
    section="12 · Write it small",
    reference=ensemble_targets_reference,
    draw=_members,
    forbid=LIBRARIES,
    hints=(
        "One member says 99 % and shouts it with logits of 100, another says 60 %. "
        "Which of the two means lets the first one decide alone?",
        "First the probabilities of each member, softened; then their mean. Axis 0 "
        "counts the members.",
        "`softened(logits, temperature).mean(axis=0)`, if task 1 works on the last "
        "axis.",
    ),
)


@ensemble_targets.mistake
def logits_averaged(logits: Array, temperature: float) -> Array:
    """You average the *logits*: whoever has the largest ones decides alone.

    The mean of logarithms, made to sum to 1, is the same. Average the probabilities.
    """
    return softmax(logits.mean(axis=0) / temperature)


@ensemble_targets.mistake
def logarithms_averaged(logits: Array, temperature: float) -> Array:
    """You average the logarithms: that is a geometric mean, and sums to less than 1.

    Average the probabilities.
    """
    return np.asarray(np.exp(log_softmax(logits / temperature).mean(axis=0)))


@ensemble_targets.mistake
def softened_after_averaging(logits: Array, temperature: float) -> Array:
    """You average at temperature 1 and soften the mean; soften each member first."""
    with np.errstate(divide="ignore"):
        return softmax(np.log(softmax(logits).mean(axis=0)) / temperature)


@ensemble_targets.mistake
def softmax_twice(logits: Array, temperature: float) -> Array:
    """You take the softmax of a mean of probabilities: it is taken twice."""
    return softmax(softmax(logits / temperature).mean(axis=0))


@ensemble_targets.mistake
def temperature_left_out(logits: Array, temperature: float) -> Array:
    """The members are not softened: `temperature` is not used."""
    return np.asarray(softmax(logits).mean(axis=0))


@ensemble_targets.mistake
def votes(logits: Array, temperature: float) -> Array:
    """You count votes; what each member knows beyond its first choice is lost."""
    return np.asarray(one_hot(logits).mean(axis=0))


@ensemble_targets.mistake
def youngest_alone(logits: Array, temperature: float) -> Array:
    """Only the last generation is asked; it teaches the next, but they all answer."""
    return softmax(logits[-1] / temperature)


@ensemble_targets.mistake
def oldest_alone(logits: Array, temperature: float) -> Array:
    """Only the first generation is asked; they all answer together."""
    return softmax(logits[0] / temperature)


@ensemble_targets.mistake
def summed(logits: Array, temperature: float) -> Array:
    """You sum over the members, so a row sums to their number; take the mean."""
    return np.asarray(softmax(logits / temperature).sum(axis=0))


@ensemble_targets.mistake
def averaged_over_examples(logits: Array, temperature: float) -> Array:
    """You average over the examples; axis 0 counts the members."""
    return np.asarray(softmax(logits / temperature).mean(axis=1))


@ensemble_targets.mistake
def averaged_over_both(logits: Array, temperature: float) -> Array:
    """You average over the examples too; each example has its own targets."""
    return np.asarray(softmax(logits / temperature).mean(axis=(0, 1)))


@ensemble_targets.mistake
def softmax_over_members(logits: Array, temperature: float) -> Array:
    """Your softmax runs over the members, axis 0; it runs over the classes."""
    return np.asarray(np.exp(log_softmax((logits / temperature).T)).T.mean(axis=0))


@ensemble_targets.mistake
def multiplied(logits: Array, temperature: float) -> Array:
    """You multiply the logits by the temperature; divide them."""
    return np.asarray(softmax(logits * temperature).mean(axis=0))


@ensemble_targets.mistake
def products(logits: Array, temperature: float) -> Array:
    """You multiply the members' probabilities: one member's 0 rules a class out."""
    return softmax(log_softmax(logits / temperature).sum(axis=0))


@ensemble_targets.mistake
def surest_member(logits: Array, temperature: float) -> Array:
    """You take the largest probability of any member, and rows sum to more than 1."""
    return np.asarray(softmax(logits / temperature).max(axis=0))


@ensemble_targets.mistake
def median_member(logits: Array, temperature: float) -> Array:
    """You take the median, and rows do not sum to 1; take the mean."""
    return np.asarray(np.median(softmax(logits / temperature), axis=0))


@ensemble_targets.mistake
def overflow(logits: Array, temperature: float) -> Array:
    """Large logits give nan: `np.exp(1000)` is inf. Subtract each row's maximum."""
    powers = np.exp(logits / temperature)
    return np.asarray((powers / powers.sum(axis=-1, keepdims=True)).mean(axis=0))


@ensemble_targets.mistake
def never_averaged(logits: Array, temperature: float) -> Array:
    """These are the members' probabilities one by one; return their mean."""
    return softmax(logits / temperature)


@ensemble_targets.mistake
def mean_divided_by_temperature(logits: Array, temperature: float) -> Array:
    """You divide the *probabilities* by T, so they no longer sum to 1."""
    return np.asarray(softmax(logits).mean(axis=0) / temperature)


@ensemble_targets.mistake
def softmax_over_examples(logits: Array, temperature: float) -> Array:
    """Your softmax is over axis 1, the examples; the classes are the last axis."""
    swapped = np.swapaxes(logits / temperature, 1, 2)
    return np.asarray(np.swapaxes(softmax(swapped), 1, 2).mean(axis=0))
