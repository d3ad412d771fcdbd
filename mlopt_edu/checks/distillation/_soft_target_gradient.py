"""Task 3: where the soft targets pull the student's logits."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, log_softmax, one_hot, softmax


def soft_target_gradient_reference(
    student_logits: Array, teacher_logits: Array, temperature: float
) -> Array:
    """Gradient of T² · KL for the student's logits: T (q - p) / N."""
    p = softmax(teacher_logits / temperature)
    q = softmax(student_logits / temperature)
    return np.asarray(temperature * (q - p) / len(q))


def _logits(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = {
        "student_logits": np.zeros((1, 2)),
        "teacher_logits": np.array([[3.0, 0]]),
    }
    yield Case("a student without a clue", {**by_hand, "temperature": 3.0})
    for n, classes, temperature, label in (
        (5, 4, 1.0, "temperature 1"),
        (6, 10, 4.0, "temperature 4"),
        (4, 3, 0.5, "temperature 1/2"),
        (7, 5, 60.0, "temperature 60"),
        (1, 6, 3.0, "one example"),
        (8, 2, 1.5, "two classes"),
        (5, 5, 2.5, "5 × 5"),
    ):
        student, teacher = 3 * rng.normal(size=(2, n, classes)) + rng.normal() * 3
        inputs = {"student_logits": student, "teacher_logits": teacher}
        yield Case(label, {**inputs, "temperature": temperature})
    student, teacher = rng.uniform(-3000, 3000, size=(2, 3, 4))
    inputs = {"student_logits": student, "teacher_logits": teacher / 1000}
    yield Case("logits of some thousand", {**inputs, "temperature": 2.0})
    far = {"student_logits": student, "teacher_logits": teacher}
    yield Case("far apart, at a high temperature", {**far, "temperature": 400.0})


soft_target_gradient = Task(
    "soft_target_gradient",
    points=2,
    section="12 · Derive",
    reference=soft_target_gradient_reference,
    draw=_logits,
    forbid=(*LIBRARIES, ".backward", "torch.autograd", "torch.func"),
    hints=(
        "Of the cross-entropy of a softmax you know the gradient: what it says minus "
        "what it should say. Here it should say p.",
        "The student's logits are divided by T, which gives a factor 1/T. The loss "
        "has the factor T², and it is a mean over N examples.",
        "`temperature * (q - p) / len(q)`, with the softened probabilities q of the "
        "student and p of the teacher.",
    ),
)


def _gap(student: Array, teacher: Array, temperature: float) -> Array:
    return softmax(student / temperature) - softmax(teacher / temperature)


@soft_target_gradient.mistake
def sign_reversed(student: Array, teacher: Array, temperature: float) -> Array:
    """The sign is reversed: a step against yours leads away from the teacher."""
    return -soft_target_gradient_reference(student, teacher, temperature)


@soft_target_gradient.mistake
def t_squared_missing(student: Array, teacher: Array, temperature: float) -> Array:
    """This is the gradient of KL alone, (q - p) / T: the factor T² is missing."""
    return _gap(student, teacher, temperature) / temperature / len(student)


@soft_target_gradient.mistake
def t_missing(student: Array, teacher: Array, temperature: float) -> Array:
    """The factor T is missing: T² of the loss, and 1/T from inside the softmax."""
    return _gap(student, teacher, temperature) / len(student)


@soft_target_gradient.mistake
def inner_derivative_missing(
    student: Array, teacher: Array, temperature: float
) -> Array:
    """You forget that the logits are divided by T inside: that makes T of T²."""
    return temperature**2 * _gap(student, teacher, temperature) / len(student)


@soft_target_gradient.mistake
def examples_not_averaged(student: Array, teacher: Array, temperature: float) -> Array:
    """The loss is a *mean* over N examples: divide by N."""
    return temperature * _gap(student, teacher, temperature)


@soft_target_gradient.mistake
def mean_over_classes_too(student: Array, teacher: Array, temperature: float) -> Array:
    """You divide by the number of classes too; the loss sums over them."""
    return temperature * _gap(student, teacher, temperature) / student.size


@soft_target_gradient.mistake
def divided_by_classes(student: Array, teacher: Array, temperature: float) -> Array:
    """You divide by the number of classes; divide by that of the examples."""
    gap = _gap(student, teacher, temperature)
    return np.asarray(temperature * gap / student.shape[1])


@soft_target_gradient.mistake
def never_softened(student: Array, teacher: Array, temperature: float) -> Array:
    """Neither softmax is softened: divide both nets' logits by T."""
    return temperature * _gap(student, teacher, 1) / len(student)


@soft_target_gradient.mistake
def only_the_student_softened(
    student: Array, teacher: Array, temperature: float
) -> Array:
    """Only the student's logits are divided by T; divide the teacher's too."""
    gap = softmax(student / temperature) - softmax(teacher)
    return temperature * gap / len(student)


@soft_target_gradient.mistake
def only_the_teacher_softened(
    student: Array, teacher: Array, temperature: float
) -> Array:
    """Only the teacher's logits are divided by T; divide the student's too."""
    gap = softmax(student) - softmax(teacher / temperature)
    return temperature * gap / len(student)


@soft_target_gradient.mistake
def hard_targets(student: Array, teacher: Array, temperature: float) -> Array:
    """You compare with the teacher's first choice; compare with its probabilities."""
    gap = softmax(student / temperature) - one_hot(teacher)
    return temperature * gap / len(student)


@soft_target_gradient.mistake
def divergence_reversed(student: Array, teacher: Array, temperature: float) -> Array:
    """This is the gradient of KL(student ‖ teacher): its arguments are reversed."""
    log_p, log_q = (
        log_softmax(teacher / temperature),
        log_softmax(student / temperature),
    )
    ratio, q = log_q - log_p, np.exp(log_q)
    mean = np.sum(q * ratio, axis=1, keepdims=True)
    return np.asarray(temperature * q * (ratio - mean) / len(student))


@soft_target_gradient.mistake
def softmax_twice(student: Array, teacher: Array, temperature: float) -> Array:
    """You take the softmax of probabilities, so that q and p are almost equal."""
    q, p = softmax(student / temperature), softmax(teacher / temperature)
    return temperature * (softmax(q) - softmax(p)) / len(student)


@soft_target_gradient.mistake
def logits_compared(student: Array, teacher: Array, temperature: float) -> Array:
    """You compare logits; this is the gradient of logit regression. Compare q and p."""
    return temperature * (student - teacher) / len(student)


@soft_target_gradient.mistake
def overflow(student: Array, teacher: Array, temperature: float) -> Array:
    """Large logits give nan: `np.exp(1000)` is inf. Subtract each row's maximum."""
    q, p = np.exp(student / temperature), np.exp(teacher / temperature)
    gap = q / q.sum(axis=1, keepdims=True) - p / p.sum(axis=1, keepdims=True)
    return np.asarray(temperature * gap / len(student))


@soft_target_gradient.mistake
def through_the_squares(student: Array, teacher: Array, temperature: float) -> Array:
    """This is the gradient of the squared distance of the *probabilities*.

    There the softmax's own slope stays: it stops a student that is sure and wrong.
    """
    q, gap = softmax(student / temperature), _gap(student, teacher, temperature)
    mean = np.sum(q * gap, axis=1, keepdims=True)
    return np.asarray(2 * temperature * q * (gap - mean) / len(student))


@soft_target_gradient.mistake
def factor_missing(student: Array, teacher: Array, temperature: float) -> Array:
    """Only q - p is there, as for one example at T = 1: T / N is missing.

    T² of the loss and 1/T from inside the softmax make T; the mean makes 1/N.
    """
    return _gap(student, teacher, temperature)


@soft_target_gradient.mistake
def t_squared_missing_and_not_averaged(
    student: Array, teacher: Array, temperature: float
) -> Array:
    """This is the gradient of one example's KL: T² is missing, and 1/N of the mean."""
    return _gap(student, teacher, temperature) / temperature


@soft_target_gradient.mistake
def temperature_left_out(student: Array, teacher: Array, temperature: float) -> Array:
    """`temperature` is not used: both nets' logits are divided by it."""
    return _gap(student, teacher, 1) / len(student)


@soft_target_gradient.mistake
def gradient_for_the_teacher(
    student: Array, teacher: Array, temperature: float
) -> Array:
    """This is the gradient for the *teacher's* logits; the student's move."""
    log_p, log_q = (
        log_softmax(teacher / temperature),
        log_softmax(student / temperature),
    )
    ratio, p = log_p - log_q, np.exp(log_p)
    mean = np.sum(p * ratio, axis=1, keepdims=True)
    return np.asarray(temperature * p * (ratio - mean) / len(student))


@soft_target_gradient.mistake
def summed_over_examples(student: Array, teacher: Array, temperature: float) -> Array:
    """You sum over the examples; each example's logits have a gradient of their own."""
    gradient = soft_target_gradient_reference(student, teacher, temperature)
    return np.asarray(gradient.sum(axis=0))
