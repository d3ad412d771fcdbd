"""Task 11: a report that evaluates the dense model and counts the mask, to mend."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Integers
from ._prune_smallest import prune_smallest_reference
from ._to_csr import to_csr_reference

Outcome = tuple[float, int]


def sparse_report_reference(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> Outcome:
    """Accuracy of the model that is stored, and the bytes of its three arrays."""
    pruned = prune_smallest_reference(weight, amount)
    values, columns, row_pointer = to_csr_reference(pruned)
    logits = np.tile(bias, (len(X), 1))
    for row, start in enumerate(row_pointer[:-1]):
        span = slice(start, row_pointer[row + 1])
        logits[:, row] += X[:, columns[span]] @ values[span]
    accuracy = float(np.mean(np.argmax(logits, axis=1) == labels))
    return accuracy, 4 * (len(values) + len(columns) + len(row_pointer))


def _classifiers(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, classes, amount, label in (
        (7, 4, 3, 0.5, "seven examples"),
        (60, 12, 5, 0.5, "half of the weights"),
        (80, 20, 6, 0.93, "93 %"),
        (40, 9, 2, 0.7, "two classes"),
        (30, 8, 4, 0.0, "amount 0"),
        (30, 8, 4, 1.0, "only the bias is left"),
        (1, 6, 3, 0.8, "one example"),
        (50, 8, 3, 0.1, "8 of 24 are 0 already"),
    ):
        weight = rng.normal(size=(classes, d)) * rng.uniform(0.2, 2, size=d)
        if label == "8 of 24 are 0 already":
            weight.flat[::3] = 0
        X, bias = rng.normal(size=(n, d)), rng.normal(size=classes)
        labels = np.argmax(X @ weight.T + bias, axis=1)
        wrong = rng.random(n) < 0.15
        labels = np.where(wrong, rng.integers(0, classes, size=n), labels)
        inputs = {"X": X, "labels": labels, "weight": weight, "bias": bias}
        yield Case(label, {**inputs, "amount": amount})


sparse_report = Task(
    "sparse_report",
    kind="repair",
    points=2,
    section="10 · What goes wrong",
    reference=sparse_report_reference,
    draw=_classifiers,
    forbid=(*LIBRARIES, "scipy.sparse"),
    hints=(
        "Call it with `amount=1.0`. What is left of the model, and what accuracy does "
        "the program report?",
        "There are two faults. One: which weights give the logits. Two: CSR stores "
        "more than the values, so count what is in its three arrays.",
        "`pruned` or the three arrays must give the logits, not `weight`. The bytes "
        "are 4 times the number of values, of columns and of row pointers.",
    ),
)


def _accuracy(X: Array, labels: Integers, weight: Array, bias: Array) -> float:
    return float(np.mean(np.argmax(X @ weight.T + bias, axis=1) == labels))


def _stored(weight: Array, amount: float) -> tuple[Array, int, int]:
    """Return the pruned weight, its number of values and of row pointers."""
    pruned = prune_smallest_reference(weight, amount)
    return pruned, int(np.count_nonzero(pruned)), len(weight) + 1


@sparse_report.mistake
def as_given(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> tuple[float, float]:
    """Both faults of the given program are still in it.

    Which model has this accuracy, and which array has this many bytes?
    """
    bytes_claimed = 4 * weight.size * (1 - amount)
    return _accuracy(X, labels, weight, bias), bytes_claimed


@sparse_report.mistake
def dense_evaluated(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> Outcome:
    """The bytes are right, but you still evaluate the *dense* model.

    Whoever gets the sparse one does not get this accuracy.
    """
    _, n_values, n_pointers = _stored(weight, amount)
    return _accuracy(X, labels, weight, bias), 4 * (2 * n_values + n_pointers)


@sparse_report.mistake
def bytes_of_a_mask(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> tuple[float, float]:
    """The accuracy is right. The bytes are a claim: zeros in a matrix save none.

    CSR saves them, and has columns and row pointers to store instead. Count those.
    """
    pruned, _, _ = _stored(weight, amount)
    return _accuracy(X, labels, pruned, bias), 4 * weight.size * (1 - amount)


@sparse_report.mistake
def values_alone(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> Outcome:
    """You count the values alone; nobody can tell where they belong.

    The columns and the row pointer are stored too.
    """
    pruned, n_values, _ = _stored(weight, amount)
    return _accuracy(X, labels, pruned, bias), 4 * n_values


@sparse_report.mistake
def row_pointer_left_out(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> Outcome:
    """The row pointer is missing in the bytes: one entry a row, and one more."""
    pruned, n_values, _ = _stored(weight, amount)
    return _accuracy(X, labels, pruned, bias), 8 * n_values


@sparse_report.mistake
def one_pointer_short(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> Outcome:
    """The bytes lack 4: the row pointer has one entry *more* than there are rows."""
    pruned, n_values, n_pointers = _stored(weight, amount)
    return _accuracy(X, labels, pruned, bias), 4 * (2 * n_values + n_pointers - 1)


@sparse_report.mistake
def stored_zeros_counted(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> Outcome:
    """You work out how many values stay; weights that were 0 before are not stored.

    Count what is in the three arrays.
    """
    pruned, _, n_pointers = _stored(weight, amount)
    n_values = weight.size - round(amount * weight.size)
    return _accuracy(X, labels, pruned, bias), 4 * (2 * n_values + n_pointers)


@sparse_report.mistake
def number_right(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> Outcome:
    """This is the *number* of examples that are right; divide by how many there are."""
    accuracy, n_bytes = sparse_report_reference(X, labels, weight, bias, amount)
    return accuracy * len(X), n_bytes


@sparse_report.mistake
def accuracy_in_percent(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> Outcome:
    """Your accuracy is in percent; it is a share, at most 1."""
    accuracy, n_bytes = sparse_report_reference(X, labels, weight, bias, amount)
    return 100 * accuracy, n_bytes


@sparse_report.mistake
def columns_left_out(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> Outcome:
    """The columns are missing in the bytes: one for each value."""
    pruned, n_values, n_pointers = _stored(weight, amount)
    return _accuracy(X, labels, pruned, bias), 4 * (n_values + n_pointers)


@sparse_report.mistake
def bytes_of_the_dense_matrix(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> Outcome:
    """These are the bytes of the dense matrix, zeros included; count the three arrays.

    It would be right if you stored the masked matrix.
    """
    pruned, _, _ = _stored(weight, amount)
    return _accuracy(X, labels, pruned, bias), 4 * weight.size


@sparse_report.mistake
def eight_bytes_a_number(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> Outcome:
    """You count the 8 bytes that NumPy uses here; stored are 4 for each number.

    `nbytes` measures the array in memory, in float64 and int64.
    """
    pruned, n_values, n_pointers = _stored(weight, amount)
    return _accuracy(X, labels, pruned, bias), 8 * (2 * n_values + n_pointers)


@sparse_report.mistake
def numbers_for_bytes(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> Outcome:
    """You count the numbers that are stored; each of them takes 4 bytes."""
    pruned, n_values, n_pointers = _stored(weight, amount)
    return _accuracy(X, labels, pruned, bias), 2 * n_values + n_pointers


@sparse_report.mistake
def bias_left_out(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> Outcome:
    """The bytes are right, but your logits lack the bias."""
    pruned, n_values, n_pointers = _stored(weight, amount)
    accuracy = _accuracy(X, labels, pruned, np.zeros(len(bias)))
    return accuracy, 4 * (2 * n_values + n_pointers)


@sparse_report.mistake
def bytes_before_accuracy(
    X: Array, labels: Integers, weight: Array, bias: Array, amount: float
) -> tuple[int, float]:
    """The order is reversed: return the accuracy first, then the bytes."""
    accuracy, n_bytes = sparse_report_reference(X, labels, weight, bias, amount)
    return n_bytes, accuracy
