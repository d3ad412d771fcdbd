"""Task 5: cross-entropy with smoothed labels, on logits of any size."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task
from ._soft_threshold import Array

Labels = NDArray[np.int64]


def label_smoothing_loss_reference(
    logits: Array, labels: Labels, smoothing: float
) -> float:
    """Mean cross-entropy of targets that give `smoothing` away in equal shares."""
    n, n_classes = logits.shape
    shifted = logits - logits.max(axis=1)[:, None]
    log_probs = shifted - np.log(np.sum(np.exp(shifted), axis=1))[:, None]
    targets = np.full((n, n_classes), smoothing / n_classes)
    targets[np.arange(n), labels] += 1 - smoothing
    return float(-np.mean(np.sum(targets * log_probs, axis=1)))


def _batches(rng: np.random.Generator) -> Iterator[Case]:
    def case(label: str, logits: Array, smoothing: float) -> Case:
        labels = rng.integers(logits.shape[1], size=len(logits))
        inputs = {"logits": logits, "labels": labels, "smoothing": smoothing}
        return Case(label, inputs)

    inputs = {"logits": np.array([[2.0, 0, -1], [0, 1, 1]]), "labels": np.array([0, 1])}
    yield Case("two examples", {**inputs, "smoothing": 0.3})
    for n, n_classes, smoothing, label in (
        (32, 10, 0.1, "a batch of 32"),
        (1, 5, 0.2, "a batch of one"),
        (20, 2, 0.4, "two classes"),
        (3, 100, 0.1, "more classes than examples"),
        (8, 8, 0.1, "as many classes as examples"),
        (15, 4, 0.0, "smoothing 0"),
        (15, 4, 1.0, "smoothing 1"),
    ):
        yield case(label, 2 * rng.normal(size=(n, n_classes)), smoothing)
    logits = rng.normal(size=(12, 6))
    yield case("logits about 800", logits + 800, 0.1)
    yield case("logits about -800", logits - 800, 0.1)
    heights = np.where(np.arange(12) % 2, 800.0, -800.0)[:, None]
    yield case("rows of different heights", logits + heights, 0.1)
    yield case("logits up to ±1000", rng.uniform(-1000, 1000, size=(9, 5)), 0.1)


label_smoothing_loss = Task(
    "label_smoothing_loss",
    points=3,
    section="07 · Derive",
    reference=label_smoothing_loss_reference,
    draw=_batches,
    forbid=(
        "torch.nn.functional.cross_entropy",
        "torch.nn.CrossEntropyLoss",
        "sklearn",
        "mlopt_edu.regularization",
    ),
    hints=(
        "Write down the four targets of one example with label 2, K = 4 and smoothing "
        "0.2. What do they add up to?",
        "The target of the label is `1 - smoothing + smoothing / K`, every other is "
        "`smoothing / K`. The loss of an example is minus the sum of the targets times "
        "the log-probabilities.",
        "log p = z - log Σ exp(z) does not change if you subtract the largest logit "
        "of its row from all of z first. Then no exp overflows, and no log sees a 0.",
    ),
)


def _log_probs(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _hard(log_probs: Array, labels: Labels) -> Array:
    """Return the usual cross-entropy of each example."""
    return np.asarray(-log_probs[np.arange(len(labels)), labels])


def _smoothed(log_probs: Array, labels: Labels, smoothing: float) -> Array:
    """Return the smoothed cross-entropy of each example."""
    uniform = -log_probs.mean(axis=1)
    hard = _hard(log_probs, labels)
    return np.asarray((1 - smoothing) * hard + smoothing * uniform)


@label_smoothing_loss.mistake
def shared_by_the_others(logits: Array, labels: Labels, smoothing: float) -> float:
    """You share the smoothing among the other K - 1 classes.

    Here, as in torch, all K classes get smoothing / K, the label's own class too.
    """
    log_probs = _log_probs(logits)
    n_classes = logits.shape[1]
    targets = np.full(logits.shape, smoothing / (n_classes - 1))
    targets[np.arange(len(labels)), labels] = 1 - smoothing
    return float(-np.mean(np.sum(targets * log_probs, axis=1)))


@label_smoothing_loss.mistake
def label_without_its_share(logits: Array, labels: Labels, smoothing: float) -> float:
    """The label's class gets 1 - smoothing only; its share smoothing / K comes on top.

    Check that the targets of an example add up to 1.
    """
    log_probs = _log_probs(logits)
    targets = np.full(logits.shape, smoothing / logits.shape[1])
    targets[np.arange(len(labels)), labels] = 1 - smoothing
    return float(-np.mean(np.sum(targets * log_probs, axis=1)))


@label_smoothing_loss.mistake
def label_still_certain(logits: Array, labels: Labels, smoothing: float) -> float:
    """The label's class still gets 1, so that the targets add up to more than 1.

    Give it 1 - smoothing, and its share smoothing / K on top.
    """
    log_probs = _log_probs(logits)
    uniform = -log_probs.mean(axis=1)
    return float(np.mean(_hard(log_probs, labels) + smoothing * uniform))


@label_smoothing_loss.mistake
def others_not_raised(logits: Array, labels: Labels, smoothing: float) -> float:
    """You take the smoothing off the label and give it to no one.

    That only scales the loss. Share it among all K classes.
    """
    log_probs = _log_probs(logits)
    return float(np.mean((1 - smoothing) * _hard(log_probs, labels)))


@label_smoothing_loss.mistake
def not_shared(logits: Array, labels: Labels, smoothing: float) -> float:
    """Every class gets the whole smoothing; it is *shared*: divide by K."""
    log_probs = _log_probs(logits)
    every = -log_probs.sum(axis=1)
    hard = _hard(log_probs, labels)
    return float(np.mean((1 - smoothing) * hard + smoothing * every))


@label_smoothing_loss.mistake
def predictions_smoothed(logits: Array, labels: Labels, smoothing: float) -> float:
    """You smooth the predicted probabilities; smooth the *targets*."""
    probs = np.exp(_log_probs(logits))
    probs = (1 - smoothing) * probs + smoothing / logits.shape[1]
    return float(np.mean(-np.log(probs[np.arange(len(labels)), labels])))


@label_smoothing_loss.mistake
def roles_swapped(logits: Array, labels: Labels, smoothing: float) -> float:
    """`smoothing` is the share that is *spread*; you leave that much on the label."""
    return float(np.mean(_smoothed(_log_probs(logits), labels, 1 - smoothing)))


@label_smoothing_loss.mistake
def smoothing_left_out(logits: Array, labels: Labels, smoothing: float) -> float:
    """This is the usual cross-entropy: `smoothing` is never used."""
    return float(np.mean(_hard(_log_probs(logits), labels)))


@label_smoothing_loss.mistake
def entropy_subtracted(logits: Array, labels: Labels, smoothing: float) -> float:
    """This is the KL divergence: it lacks the entropy of the targets.

    Its gradient is the same, its value is not. Sum targets times log-probabilities
    and nothing else.
    """
    share = smoothing / logits.shape[1]
    targets = np.full(logits.shape, share)
    targets[np.arange(len(labels)), labels] += 1 - smoothing
    logs = np.log(np.where(targets > 0, targets, 1.0))
    entropy = -np.sum(targets * logs, axis=1)
    return float(np.mean(_smoothed(_log_probs(logits), labels, smoothing) - entropy))


@label_smoothing_loss.mistake
def summed(logits: Array, labels: Labels, smoothing: float) -> float:
    """You add up the losses of the batch; return their mean."""
    return float(np.sum(_smoothed(_log_probs(logits), labels, smoothing)))


@label_smoothing_loss.mistake
def mean_over_the_classes_too(logits: Array, labels: Labels, smoothing: float) -> float:
    """You take the mean over the classes too; *add up* over the classes.

    The targets are the weights already.
    """
    mean = np.mean(_smoothed(_log_probs(logits), labels, smoothing))
    return float(mean / logits.shape[1])


@label_smoothing_loss.mistake
def one_loss_for_each(logits: Array, labels: Labels, smoothing: float) -> Array:
    """You return a loss for each example; return their mean, one number."""
    return _smoothed(_log_probs(logits), labels, smoothing)


@label_smoothing_loss.mistake
def sign_lost(logits: Array, labels: Labels, smoothing: float) -> float:
    """Your loss is negative: the log of a probability is, so put a minus before it."""
    return float(np.mean(-_smoothed(_log_probs(logits), labels, smoothing)))


@label_smoothing_loss.mistake
def log_left_out(logits: Array, labels: Labels, smoothing: float) -> float:
    """You weigh probabilities; weigh their *logarithms*."""
    probs = np.exp(_log_probs(logits))
    return float(np.mean(_smoothed(probs, labels, smoothing)))


@label_smoothing_loss.mistake
def softmax_left_out(logits: Array, labels: Labels, smoothing: float) -> float:
    """You weigh the logits themselves; make log-probabilities of them first."""
    return float(np.mean(_smoothed(logits, labels, smoothing)))


@label_smoothing_loss.mistake
def softmax_over_the_batch(logits: Array, labels: Labels, smoothing: float) -> float:
    """Your softmax runs over the examples; each *row* must add up to 1: `axis=1`."""
    return float(np.mean(_smoothed(_log_probs(logits.T).T, labels, smoothing)))


@label_smoothing_loss.mistake
def overflows(logits: Array, labels: Labels, smoothing: float) -> float:
    """The formula is right, and np.exp overflows: exp(800) is inf.

    Subtract the largest logit of each row first; the log-probabilities stay the same.
    """
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(np.mean(_smoothed(log_probs, labels, smoothing)))


@label_smoothing_loss.mistake
def log_of_an_overflow(logits: Array, labels: Labels, smoothing: float) -> float:
    """The formula is right, and exp(800) / exp(800) is not a number.

    Subtract the largest logit of each row first, and take the log of the sum instead
    of the log of a quotient.
    """
    exps = np.exp(logits)
    log_probs = np.log(exps / exps.sum(axis=1, keepdims=True))
    return float(np.mean(_smoothed(log_probs, labels, smoothing)))


@label_smoothing_loss.mistake
def log_of_zero(logits: Array, labels: Labels, smoothing: float) -> float:
    """The softmax is safe, but a probability can be so small that it becomes 0.

    Its log is then -inf. Compute the log-probability without the probability: the
    shifted logit minus the log of the sum.
    """
    log_probs = np.log(np.exp(_log_probs(logits)))
    return float(np.mean(_smoothed(log_probs, labels, smoothing)))


@label_smoothing_loss.mistake
def eps_in_the_log(logits: Array, labels: Labels, smoothing: float) -> float:
    """You add a tiny number to avoid the log of 0; so no loss exceeds about 28.

    A confident mistake then has no gradient. Compute the log-probability without the
    probability: the shifted logit minus the log of the sum.
    """
    log_probs = np.log(np.exp(_log_probs(logits)) + 1e-12)
    return float(np.mean(_smoothed(log_probs, labels, smoothing)))


@label_smoothing_loss.mistake
def one_maximum_for_all_rows(logits: Array, labels: Labels, smoothing: float) -> float:
    """You subtract the largest logit of the whole batch; take that of each row.

    In rows far below it every exp becomes 0.
    """
    shifted = logits - logits.max()
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(np.mean(_smoothed(log_probs, labels, smoothing)))


@label_smoothing_loss.mistake
def every_label_in_every_row(logits: Array, labels: Labels, smoothing: float) -> float:
    """`log_probs[:, labels]` takes the labels of *all* examples from each row.

    Row i has its own label: `log_probs[np.arange(n), labels]`.
    """
    log_probs = _log_probs(logits)
    hard, uniform = -log_probs[:, labels].mean(), -log_probs.mean()
    return float((1 - smoothing) * hard + smoothing * uniform)


@label_smoothing_loss.mistake
def every_label_in_every_target(
    logits: Array, labels: Labels, smoothing: float
) -> float:
    """`targets[:, labels]` marks the labels of *all* examples in each row.

    Row i has its own label: `targets[np.arange(n), labels]`.
    """
    targets = np.full(logits.shape, smoothing / logits.shape[1])
    targets[:, labels] += 1 - smoothing
    return float(-np.mean(np.sum(targets * _log_probs(logits), axis=1)))


@label_smoothing_loss.mistake
def bits_for_nats(logits: Array, labels: Labels, smoothing: float) -> float:
    """Your loss is in bits: nats are asked, with the natural logarithm."""
    loss = _smoothed(_log_probs(logits), labels, smoothing).mean()
    return float(loss / np.log(2))
