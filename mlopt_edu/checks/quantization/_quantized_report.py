"""Task 13: a report that evaluates the float model, to mend."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Integers
from ._quantize_per_channel import quantize_per_channel_reference

Outcome = tuple[float, int]


def quantized_report_reference(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """Accuracy of the model that is stored, and the bits of its three arrays."""
    q, scale = quantize_per_channel_reference(weight, bits)
    logits = (X @ q.T) * scale + bias
    accuracy = float(np.mean(np.argmax(logits, axis=1) == labels))
    return accuracy, bits * q.size + 32 * (len(scale) + len(bias))


def _classifiers(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, classes, bits, label in (
        (9, 4, 3, 2, "nine examples"),
        (90, 12, 5, 2, "two bits"),
        (90, 20, 6, 3, "three bits"),
        (60, 9, 2, 2, "two classes"),
        (80, 8, 7, 4, "four bits"),
        (40, 8, 4, 8, "eight bits"),
        (1, 6, 3, 8, "one example"),
    ):
        spread = 10.0 ** rng.uniform(-0.5, 0.5, size=(classes, 1))
        weight = spread * rng.normal(size=(classes, d))
        X, bias = rng.normal(size=(n, d)), rng.normal(size=classes)
        labels = np.argmax(X @ weight.T + bias, axis=1)
        wrong = rng.random(n) < 0.15
        labels = np.where(wrong, rng.integers(0, classes, size=n), labels)
        inputs = {"X": X, "labels": labels, "weight": weight, "bias": bias}
        yield Case(label, {**inputs, "bits": bits})


quantized_report = Task(
    "quantized_report",
    kind="repair",
    points=1,
    section="11 · What goes wrong",
    reference=quantized_report_reference,
    draw=_classifiers,
    forbid=LIBRARIES,
    hints=(
        "Call it with `bits=2` and with `bits=8`. Why is the accuracy the same to the "
        "last digit?",
        "There are two faults. One: `weight` gives the logits, not what is stored. "
        "Two: the integers are not all that is stored.",
        "The stored weight is `q * scale[:, None]`. The bits are `bits` for each "
        "integer, and 32 for each scale and each entry of the bias.",
    ),
)


def _accuracy(
    X: Array, labels: Integers, weight: Array | Integers, bias: Array
) -> float:
    return float(np.mean(np.argmax(X @ weight.T + bias, axis=1) == labels))


def _stored(weight: Array, bits: int) -> Array:
    q, scale = quantize_per_channel_reference(weight, bits)
    return np.asarray(q * scale[:, None])


def _bits(weight: Array, bits: int) -> int:
    return bits * weight.size + 64 * len(weight)


@quantized_report.mistake
def as_given(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """Both faults of the given program are still in it.

    Which model has this accuracy? And what else must be stored?
    """
    return _accuracy(X, labels, weight, bias), bits * weight.size


@quantized_report.mistake
def float_model_evaluated(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """The bits are right, but you evaluate the float model: `weight` gives the logits.

    A report must use the very numbers that are stored: the integers and the scales.
    """
    return _accuracy(X, labels, weight, bias), _bits(weight, bits)


@quantized_report.mistake
def integers_alone_counted(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """The accuracy is right; the scales and the bias are stored too, 32 bits each."""
    return _accuracy(X, labels, _stored(weight, bits), bias), bits * weight.size


@quantized_report.mistake
def scales_left_out_of_the_logits(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """You use the integers without their scales: the classes no longer compare.

    Multiply each class by its scale before you add the bias.
    """
    q, _ = quantize_per_channel_reference(weight, bits)
    return _accuracy(X, labels, q, bias), _bits(weight, bits)


@quantized_report.mistake
def bias_scaled(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """You add the bias before you multiply by the scales: it is not an integer here."""
    q, scale = quantize_per_channel_reference(weight, bits)
    predicted = np.argmax((X @ q.T + bias) * scale, axis=1)
    return float(np.mean(predicted == labels)), _bits(weight, bits)


@quantized_report.mistake
def bias_left_out(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """The bits are right, but your logits lack the bias."""
    stored = _stored(weight, bits)
    return _accuracy(X, labels, stored, 0 * bias), _bits(weight, bits)


@quantized_report.mistake
def scales_not_counted(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """Your bits lack 32 for each class: the scales are stored, and the bias as well.

    Count both.
    """
    n_bits = bits * weight.size + 32 * len(bias)
    return _accuracy(X, labels, _stored(weight, bits), bias), n_bits


@quantized_report.mistake
def bytes_for_bits(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> tuple[float, float]:
    """You count bytes; the report is in bits."""
    accuracy = _accuracy(X, labels, _stored(weight, bits), bias)
    return accuracy, _bits(weight, bits) / 8


@quantized_report.mistake
def float_weights_counted(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """You count 32 bits for each weight, as if none had been quantized."""
    return _accuracy(X, labels, _stored(weight, bits), bias), _bits(weight, 32)


@quantized_report.mistake
def everything_at_few_bits(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """You count `bits` for scales and bias too; these stay in 32 bits."""
    n_bits = bits * (weight.size + 2 * len(bias))
    return _accuracy(X, labels, _stored(weight, bits), bias), n_bits


@quantized_report.mistake
def one_scale_for_all(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """You use one scale for all classes; `quantize_per_channel` gives each its own."""
    stored = _stored(weight.reshape(1, -1), bits).reshape(weight.shape)
    return _accuracy(X, labels, stored, bias), _bits(weight, bits)


@quantized_report.mistake
def bits_before_accuracy(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> tuple[int, float]:
    """The order is reversed: return the accuracy first, then the bits."""
    accuracy, n_bits = quantized_report_reference(X, labels, weight, bias, bits)
    return n_bits, accuracy


@quantized_report.mistake
def one_of_two_at_few_bits(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """You count `bits` for the scales or for the bias; both stay in 32 bits."""
    n_bits = bits * (weight.size + len(bias)) + 32 * len(bias)
    return _accuracy(X, labels, _stored(weight, bits), bias), n_bits


@quantized_report.mistake
def one_entry_counted(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """You count 32 bits once where there are 32 for each class.

    There is a scale for each class, and an entry of the bias.
    """
    n_bits = bits * weight.size + 32 + 32 * len(bias)
    return _accuracy(X, labels, _stored(weight, bits), bias), n_bits


@quantized_report.mistake
def eight_bits_for_each_integer(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """You count 8 bits for each integer; packed, it takes only `bits`."""
    return _accuracy(X, labels, _stored(weight, bits), bias), _bits(weight, 8)


@quantized_report.mistake
def agreement_with_the_float_model(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """You count how often both models agree; accuracy compares with `labels`."""
    predicted = np.argmax(X @ weight.T + bias, axis=1)
    return _accuracy(X, predicted, _stored(weight, bits), bias), _bits(weight, bits)


@quantized_report.mistake
def share_of_errors(
    X: Array, labels: Integers, weight: Array, bias: Array, bits: int
) -> Outcome:
    """This is the share of errors; the accuracy is the share that is right."""
    accuracy, n_bits = quantized_report_reference(X, labels, weight, bias, bits)
    return 1 - accuracy, n_bits
