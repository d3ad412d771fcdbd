"""Task 1: probabilities from logits, softened by a temperature."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, log_softmax, one_hot, softmax


def softened_reference(logits: Array, temperature: float) -> Array:
    """Softmax of logits / temperature over the last axis, safe for large logits."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=-1)[..., None])
    return np.asarray(powers / powers.sum(axis=-1)[..., None])


def _logits(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = np.array([[2.0, 0.0, -2.0], [0.0, 1.0, 5.0]])
    yield Case("two examples", {"logits": by_hand, "temperature": 2.0})
    for shape, temperature, label in (
        ((6, 4), 1.0, "temperature 1"),
        ((5, 10), 4.0, "temperature 4"),
        ((4, 3), 0.5, "temperature 1/2, which sharpens"),
        ((3, 7), 50.0, "temperature 50"),
        ((1, 2), 3.0, "one example, two classes"),
        ((6,), 2.5, "a single row"),
        ((2, 3, 5), 2.0, "a batch of sequences"),
        ((4, 1), 3.0, "one class"),
        ((5, 5), 1.5, "5 × 5"),
    ):
        inputs = {"logits": 3 * rng.normal(size=shape), "temperature": temperature}
        yield Case(label, inputs)
    large = rng.uniform(-2000, 2000, size=(3, 4))
    large[:, 0] = large[:, 1] + 1
    yield Case("logits of some thousand", {"logits": large, "temperature": 1.5})
    far = rng.uniform(-2000, 2000, size=(3, 4))
    far[:, 0] = far[:, 1] + 1000
    yield Case("far apart, at a high temperature", {"logits": far, "temperature": 400})
    levels = rng.normal(size=(3, 4)) + np.array([[0.0], [-6000.0], [5000.0]])
    yield Case(
        "examples on very different levels", {"logits": levels, "temperature": 2.0}
    )


softened = Task(
    "softened",
    points=1,
    section="12 · Derive",
    reference=softened_reference,
    draw=_logits,
    forbid=(*LIBRARIES, ".softmax", ".log_softmax"),
    hints=(
        "Divide the logits by the temperature, and take the softmax of that. What does "
        "`np.exp(1000.0)` give?",
        "The softmax does not change if the same number is subtracted from all logits "
        "of an example. Which number keeps every exponent at 0 or below?",
        "`scaled = logits / temperature`; subtract `scaled.max(axis=-1, "
        "keepdims=True)`, take `np.exp`, divide by the sum over the last axis.",
    ),
)


@softened.mistake
def multiplied(logits: Array, temperature: float) -> Array:
    """You multiply by the temperature, which sharpens; divide the logits by it."""
    return softmax(logits * temperature)


@softened.mistake
def overflow(logits: Array, temperature: float) -> Array:
    """Large logits give nan: `np.exp(1000)` is inf, and inf / inf is nan.

    Subtract each row's largest logit first; the softmax stays the same.
    """
    powers = np.exp(logits / temperature)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


@softened.mistake
def temperature_left_out(logits: Array, temperature: float) -> Array:
    """This is the softmax at temperature 1: `temperature` is not used."""
    return softmax(logits)


@softened.mistake
def probabilities_divided(logits: Array, temperature: float) -> Array:
    """You divide the *probabilities*, so they no longer sum to 1; divide the logits."""
    return softmax(logits) / temperature


@softened.mistake
def softmax_twice(logits: Array, temperature: float) -> Array:
    """You take the softmax twice: of the logits, and of the probabilities divided by T.

    Probabilities lie between 0 and 1, so the second makes them almost equal.
    """
    return softmax(softmax(logits) / temperature)


@softened.mistake
def over_examples(logits: Array, temperature: float) -> Array:
    """Your probabilities sum to 1 over the examples; sum over the last axis."""
    return np.asarray(np.exp(log_softmax((logits / temperature).T).T))


@softened.mistake
def over_all(logits: Array, temperature: float) -> Array:
    """All entries together sum to 1; each row is an example and sums to 1."""
    return softmax((logits / temperature).ravel()).reshape(logits.shape)


@softened.mistake
def one_maximum_for_all(logits: Array, temperature: float) -> Array:
    """You subtract one maximum for all: a row far below it becomes 0 / 0.

    Subtract each row's own.
    """
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max())
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


@softened.mistake
def not_normalised(logits: Array, temperature: float) -> Array:
    """The largest of each row is 1: divide by the row's sum."""
    scaled = logits / temperature
    return np.asarray(np.exp(scaled - scaled.max(axis=-1, keepdims=True)))


@softened.mistake
def logarithms(logits: Array, temperature: float) -> Array:
    """These are the logarithms of the probabilities; return the probabilities."""
    return log_softmax(logits / temperature)


@softened.mistake
def hard_labels(logits: Array, temperature: float) -> Array:
    """You return hard labels; all that the teacher knows beyond them is lost."""
    return one_hot(logits)


@softened.mistake
def root_not_normalised(logits: Array, temperature: float) -> Array:
    """A power of the probabilities is right up to a factor: the rows must sum to 1."""
    return np.asarray(softmax(logits) ** (1 / temperature))


@softened.mistake
def temperature_squared(logits: Array, temperature: float) -> Array:
    """You divide by T²; that belongs to the loss. Divide the logits by T."""
    return softmax(logits / temperature**2)


@softened.mistake
def size_of_logits(logits: Array, temperature: float) -> Array:
    """You lose the sign: a logit of -3 speaks against a class."""
    return softmax(np.abs(logits) / temperature)


@softened.mistake
def shifted_after_dividing(logits: Array, temperature: float) -> Array:
    """You divide the sum of the powers by T, not the logits."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    return np.asarray(powers / (powers.sum(axis=-1, keepdims=True) / temperature))


@softened.mistake
def eps_in_the_sum(logits: Array, temperature: float) -> Array:
    """You add a small number to the sum: it is 1 at least, so nothing can go wrong.

    With it the rows no longer sum to 1.
    """
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / (powers.sum(axis=-1, keepdims=True) + 1e-5))


@softened.mistake
def root_of_the_probabilities(logits: Array, temperature: float) -> Array:
    """You soften probabilities: one that became 0 in floating point stays 0.

    On paper it is the same. Divide the *logits* by the temperature, then take the
    softmax once.
    """
    powers = softmax(logits) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


@softened.mistake
def nan_replaced(logits: Array, temperature: float) -> Array:
    """You replace the nan of inf / inf by a number, but the probability is lost.

    Subtract each row's largest logit first; then no nan arises.
    """
    powers = np.exp(logits / temperature)
    return np.asarray(np.nan_to_num(powers / powers.sum(axis=-1, keepdims=True)))


@softened.mistake
def no_softmax(logits: Array, temperature: float) -> Array:
    """These are the softened logits; take their softmax."""
    return logits / temperature
