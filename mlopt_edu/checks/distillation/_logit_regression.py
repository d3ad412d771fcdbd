"""Task 5: what is left of the soft targets when the temperature is high."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, softmax

Outcome = tuple[float, Array]


def logit_regression_reference(student_logits: Array, teacher_logits: Array) -> Outcome:
    """Half the squared distance of centred logits, mean over examples; its gradient."""
    gap = student_logits - teacher_logits
    gap = gap - gap.mean(axis=1)[:, None]
    return float(np.sum(gap**2) / 2 / len(gap)), np.asarray(gap / len(gap))


def _logits(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = {"student_logits": np.array([[0.0, 1, 2]])}
    yield Case("by hand", {**by_hand, "teacher_logits": np.array([[8.0, 2, 2]])})
    for n, classes, level, label in (
        (5, 4, 1.0, "four classes"),
        (3, 10, 5.0, "ten classes"),
        (1, 6, 2.0, "one example"),
        (7, 2, 0.0, "two classes"),
        (4, 4, 3.0, "4 × 4"),
    ):
        student, teacher = 2 * rng.normal(size=(2, n, classes))
        student = student + level * rng.normal(size=(n, 1)) + level
        teacher = teacher - level
        yield Case(label, {"student_logits": student, "teacher_logits": teacher})


logit_regression = Task(
    "logit_regression",
    points=1,
    section="12 · Derive",
    reference=logit_regression_reference,
    draw=_logits,
    forbid=LIBRARIES,
    seconds=10.0,  # the first backward pass of torch imports much
    hints=(
        "No softmax sees what is added to all logits of an example. So subtract each "
        "example's mean, from both nets' logits or from their difference.",
        "Half the squared length of a vector has that vector as its gradient. And both "
        "are means over the examples.",
        "`gap = student_logits - teacher_logits`, minus `gap.mean(axis=1, "
        "keepdims=True)`. The loss is `np.sum(gap**2) / 2 / len(gap)`.",
    ),
)


def _centred(x: Array) -> Array:
    return np.asarray(x - x.mean(axis=1, keepdims=True))


def _from(gap: Array) -> Outcome:
    return float(np.sum(gap**2) / 2 / len(gap)), gap / len(gap)


@logit_regression.mistake
def not_centred(student: Array, teacher: Array) -> Outcome:
    """The means are still in your difference: from each net subtract its *own*.

    No softmax sees an example's mean, so the student need not learn it.
    """
    return _from(student - teacher)


@logit_regression.mistake
def centred_over_examples(student: Array, teacher: Array) -> Outcome:
    """You subtract each *class's* mean; subtract each example's, along axis 1."""
    gap = student - teacher
    return _from(gap - gap.mean(axis=0))


@logit_regression.mistake
def one_mean_for_all(student: Array, teacher: Array) -> Outcome:
    """You subtract one mean for all; each example has its own."""
    gap = student - teacher
    return _from(gap - gap.mean())


@logit_regression.mistake
def only_the_teacher_centred(student: Array, teacher: Array) -> Outcome:
    """Only the teacher's logits are centred; centre the student's too."""
    return _from(student - _centred(teacher))


@logit_regression.mistake
def only_the_student_centred(student: Array, teacher: Array) -> Outcome:
    """Only the student's logits are centred; centre the teacher's too."""
    return _from(_centred(student) - teacher)


@logit_regression.mistake
def gradient_not_centred(student: Array, teacher: Array) -> Outcome:
    """The loss is right, but your gradient still has a mean in each row."""
    loss, _ = logit_regression_reference(student, teacher)
    return loss, (student - teacher) / len(student)


@logit_regression.mistake
def half_missing(student: Array, teacher: Array) -> Outcome:
    """The half is missing: loss and gradient are twice as large."""
    loss, gradient = logit_regression_reference(student, teacher)
    return 2 * loss, 2 * gradient


@logit_regression.mistake
def half_missing_in_the_loss(student: Array, teacher: Array) -> Outcome:
    """The gradient is right, but the loss lacks the half."""
    loss, gradient = logit_regression_reference(student, teacher)
    return 2 * loss, gradient


@logit_regression.mistake
def gradient_doubled(student: Array, teacher: Array) -> Outcome:
    """The loss is right, but the gradient is doubled: the half takes the 2."""
    loss, gradient = logit_regression_reference(student, teacher)
    return loss, 2 * gradient


@logit_regression.mistake
def mean_over_classes_too(student: Array, teacher: Array) -> Outcome:
    """You take the mean over the classes too; sum over them."""
    loss, gradient = logit_regression_reference(student, teacher)
    return loss / student.shape[1], gradient / student.shape[1]


@logit_regression.mistake
def summed_over_examples(student: Array, teacher: Array) -> Outcome:
    """You sum over the examples; take the mean, in the gradient too."""
    loss, gradient = logit_regression_reference(student, teacher)
    return len(student) * loss, len(student) * gradient


@logit_regression.mistake
def gradient_of_each(student: Array, teacher: Array) -> Outcome:
    """The loss is a mean over N examples, so the gradient has the factor 1/N."""
    loss, gradient = logit_regression_reference(student, teacher)
    return loss, len(student) * gradient


@logit_regression.mistake
def sign_reversed(student: Array, teacher: Array) -> Outcome:
    """Your gradient points from the student to the teacher: the sign is reversed."""
    loss, gradient = logit_regression_reference(student, teacher)
    return loss, -gradient


@logit_regression.mistake
def probabilities_compared(student: Array, teacher: Array) -> Outcome:
    """You compare probabilities; logits also tell the small ones apart."""
    return _from(softmax(student) - softmax(teacher))


@logit_regression.mistake
def standardised(student: Array, teacher: Array) -> Outcome:
    """You also divide by the spread; only the mean is taken away."""
    spread = [x.std(axis=1, keepdims=True) for x in (student, teacher)]
    return _from(_centred(student) / spread[0] - _centred(teacher) / spread[1])


@logit_regression.mistake
def length_not_squared(student: Array, teacher: Array) -> Outcome:
    """The square is missing in the loss: you add up lengths."""
    gap = _centred(student - teacher)
    return float(np.linalg.norm(gap, axis=1).mean() / 2), gap / len(gap)


@logit_regression.mistake
def gradient_first(student: Array, teacher: Array) -> tuple[Array, float]:
    """The order is reversed: return the loss first, then the gradient."""
    loss, gradient = logit_regression_reference(student, teacher)
    return gradient, loss


@logit_regression.mistake
def half_left_in_the_gradient(student: Array, teacher: Array) -> Outcome:
    """The loss is right, but the gradient is halved: the square's 2 takes the half."""
    loss, gradient = logit_regression_reference(student, teacher)
    return loss, gradient / 2


@logit_regression.mistake
def one_loss_a_row(student: Array, teacher: Array) -> tuple[Array, Array]:
    """The gradient is right, but you return each example's loss; return the mean."""
    gap = _centred(student - teacher)
    return np.sum(gap**2, axis=1) / 2, gap / len(gap)
