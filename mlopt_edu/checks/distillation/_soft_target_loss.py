"""Task 2: T² times the divergence of the student from the teacher."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, log_softmax, one_hot, softmax


def soft_target_loss_reference(
    student_logits: Array, teacher_logits: Array, temperature: float
) -> float:
    """T² · KL(teacher ‖ student) at temperature T, the mean over the examples."""
    log_p = log_softmax(teacher_logits / temperature)
    log_q = log_softmax(student_logits / temperature)
    divergence = np.sum(np.exp(log_p) * (log_p - log_q), axis=1)
    return float(temperature**2 * divergence.mean())


def _logits(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = {
        "student_logits": np.zeros((1, 2)),
        "teacher_logits": np.array([[4.0, 0]]),
    }
    yield Case("a student without a clue", {**by_hand, "temperature": 2.5})
    for n, classes, temperature, label in (
        (5, 4, 1.0, "temperature 1"),
        (6, 10, 4.0, "temperature 4"),
        (4, 3, 0.5, "temperature 1/2"),
        (7, 5, 10.0, "temperature 10"),
        (1, 6, 3.0, "one example"),
        (8, 2, 1.5, "two classes"),
        (5, 5, 3.0, "5 × 5"),
    ):
        student, teacher = 4 * rng.normal(size=(2, n, classes)) + rng.normal() * 3
        inputs = {"student_logits": student, "teacher_logits": teacher}
        yield Case(label, {**inputs, "temperature": temperature})
    student, teacher = rng.normal(size=(2, 3, 4))
    sure, torn = 900 * np.eye(4)[:3], np.array([0.0, 1, 2, 3]) * 700
    inputs = {"student_logits": student + sure, "teacher_logits": teacher}
    yield Case("a student too sure of itself", {**inputs, "temperature": 1.0})
    inputs = {"student_logits": student, "teacher_logits": teacher + torn}
    yield Case("a teacher that is sure", {**inputs, "temperature": 1.5})
    far = {"student_logits": 1000 * student, "teacher_logits": 1000 * teacher}
    yield Case("far apart, at a high temperature", {**far, "temperature": 400.0})
    inputs = {"student_logits": student + 3000, "teacher_logits": teacher - 2000}
    yield Case("levels that no softmax sees", {**inputs, "temperature": 2.0})


soft_target_loss = Task(
    "soft_target_loss",
    points=2,
    section="12 · Derive",
    reference=soft_target_loss_reference,
    draw=_logits,
    forbid=LIBRARIES,
    hints=(
        "Both nets' logits are divided by the temperature. Which of the two gives the "
        "probabilities that weigh the logarithms?",
        "A probability may be 0 in floating point, and its logarithm -inf. Compute the "
        "logarithm of a softmax directly: z - log sum exp z.",
        "With the logarithms `log_p` of the teacher and `log_q` of the student: "
        "`np.sum(np.exp(log_p) * (log_p - log_q), axis=1)` is the divergence of each "
        "example. Take the mean, and multiply by T².",
    ),
)


def _divergences(log_p: Array, log_q: Array) -> Array:
    return np.asarray(np.sum(np.exp(log_p) * (log_p - log_q), axis=1))


def _loss(
    student: Array, teacher: Array, at_student: float, at_teacher: float
) -> float:
    log_p, log_q = log_softmax(teacher / at_teacher), log_softmax(student / at_student)
    return float(_divergences(log_p, log_q).mean())


@soft_target_loss.mistake
def t_squared_missing(student: Array, teacher: Array, temperature: float) -> float:
    """T² is missing: at T = 4 your gradients are 16 times too small.

    Beside a hard loss the teacher would then hardly count.
    """
    return _loss(student, teacher, temperature, temperature)


@soft_target_loss.mistake
def t_once(student: Array, teacher: Array, temperature: float) -> float:
    """You multiply by T; the factor is T²."""
    return temperature * _loss(student, teacher, temperature, temperature)


@soft_target_loss.mistake
def divided_by_t_squared(student: Array, teacher: Array, temperature: float) -> float:
    """You divide by T²: the softening has done that already. Multiply."""
    return _loss(student, teacher, temperature, temperature) / temperature**2


@soft_target_loss.mistake
def divergence_reversed(student: Array, teacher: Array, temperature: float) -> float:
    """The arguments of KL are reversed: the *teacher's* probabilities weigh.

    Yours does not mind where the student leaves a class of the teacher out.
    """
    return soft_target_loss_reference(teacher, student, temperature)


@soft_target_loss.mistake
def softmax_twice(student: Array, teacher: Array, temperature: float) -> float:
    """You take the softmax of probabilities, for both nets: it is taken twice.

    The second makes them almost equal, and the loss almost 0. It takes logits.
    """
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    return temperature**2 * _loss(q, p, 1, 1)


@soft_target_loss.mistake
def softmax_twice_for_the_student(
    student: Array, teacher: Array, temperature: float
) -> float:
    """The student's softmax is taken twice, the teacher's once.

    A loss that takes the softmax itself wants logits, not probabilities.
    """
    q = softmax(student / temperature)
    return temperature**2 * _loss(q, teacher, 1, temperature)


@soft_target_loss.mistake
def softmax_twice_for_the_teacher(
    student: Array, teacher: Array, temperature: float
) -> float:
    """The teacher's softmax is taken twice, so its targets are almost equal."""
    p = softmax(teacher / temperature)
    return temperature**2 * _loss(student, p, temperature, 1)


@soft_target_loss.mistake
def mean_over_classes_too(student: Array, teacher: Array, temperature: float) -> float:
    """You take the mean over the classes too; they are summed.

    It is what `reduction="mean"` of torch's KL does; "batchmean" is the right one.
    """
    loss = soft_target_loss_reference(student, teacher, temperature)
    return float(loss / student.shape[1])


@soft_target_loss.mistake
def summed_over_examples(student: Array, teacher: Array, temperature: float) -> float:
    """You sum over the examples; take the mean, or a larger batch steps further."""
    return len(student) * soft_target_loss_reference(student, teacher, temperature)


@soft_target_loss.mistake
def one_a_row(student: Array, teacher: Array, temperature: float) -> Array:
    """This is the loss of each example; return their mean, one number."""
    log_p, log_q = (
        log_softmax(teacher / temperature),
        log_softmax(student / temperature),
    )
    return temperature**2 * _divergences(log_p, log_q)


@soft_target_loss.mistake
def only_the_student_softened(
    student: Array, teacher: Array, temperature: float
) -> float:
    """Only the student's logits are divided by T; divide the teacher's too."""
    return temperature**2 * _loss(student, teacher, temperature, 1)


@soft_target_loss.mistake
def only_the_teacher_softened(
    student: Array, teacher: Array, temperature: float
) -> float:
    """Only the teacher's logits are divided by T: the student would learn to be vague.

    Divide the student's too, in training; in use it runs at T = 1.
    """
    return temperature**2 * _loss(student, teacher, 1, temperature)


@soft_target_loss.mistake
def never_softened(student: Array, teacher: Array, temperature: float) -> float:
    """No logits are divided by T: at temperature 1 the teacher is almost a label."""
    return temperature**2 * _loss(student, teacher, 1, 1)


@soft_target_loss.mistake
def multiplied_by_temperature(
    student: Array, teacher: Array, temperature: float
) -> float:
    """You multiply the logits by T; divide them."""
    return temperature**2 * _loss(student, teacher, 1 / temperature, 1 / temperature)


@soft_target_loss.mistake
def cross_entropy(student: Array, teacher: Array, temperature: float) -> float:
    """This is the cross-entropy: KL and the teacher's entropy besides.

    The gradient is the same. But KL is 0 where the student has learnt everything.
    """
    p, log_q = softmax(teacher / temperature), log_softmax(student / temperature)
    return float(-(temperature**2) * np.mean(np.sum(p * log_q, axis=1)))


@soft_target_loss.mistake
def hard_targets(student: Array, teacher: Array, temperature: float) -> float:
    """You take the teacher's first choice for the target; all else it knows is lost."""
    log_q = log_softmax(student / temperature)
    return float(-(temperature**2) * np.sum(one_hot(teacher) * log_q) / len(student))


@soft_target_loss.mistake
def sign_reversed(student: Array, teacher: Array, temperature: float) -> float:
    """Your loss is negative: the sign is reversed. KL is 0 at least."""
    return -soft_target_loss_reference(student, teacher, temperature)


@soft_target_loss.mistake
def log_of_zero(student: Array, teacher: Array, temperature: float) -> float:
    """A probability becomes 0, and its logarithm -inf: your loss is inf or nan.

    Compute the logarithm of the softmax directly: z - log sum exp z.
    """
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    return float(temperature**2 * np.mean(np.sum(p * (np.log(p) - np.log(q)), axis=1)))


@soft_target_loss.mistake
def overflow(student: Array, teacher: Array, temperature: float) -> float:
    """Large logits give nan: `np.exp(1000)` is inf. Subtract each row's maximum."""
    p, q = np.exp(teacher / temperature), np.exp(student / temperature)
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    return float(temperature**2 * np.mean(np.sum(p * (np.log(p) - np.log(q)), axis=1)))


@soft_target_loss.mistake
def eps_in_the_log(student: Array, teacher: Array, temperature: float) -> float:
    """A small number in the logarithm hides how wrong a student is that is sure.

    Compute the logarithm of the softmax directly: z - log sum exp z.
    """
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    gap = np.log(p + 1e-8) - np.log(q + 1e-8)
    return float(temperature**2 * np.mean(np.sum(p * gap, axis=1)))


@soft_target_loss.mistake
def probabilities_clipped(student: Array, teacher: Array, temperature: float) -> float:
    """You clip probabilities: below the limit the student's gradient is 0.

    Compute the logarithm of the softmax directly: z - log sum exp z.
    """
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    gap = np.log(np.clip(p, 1e-8, 1)) - np.log(np.clip(q, 1e-8, 1))
    return float(temperature**2 * np.mean(np.sum(p * gap, axis=1)))


@soft_target_loss.mistake
def squares_of_probabilities(
    student: Array, teacher: Array, temperature: float
) -> float:
    """This is the squared distance of the probabilities, not the divergence."""
    gap = softmax(teacher / temperature) - softmax(student / temperature)
    return float(temperature**2 * np.mean(np.sum(gap**2, axis=1)))


@soft_target_loss.mistake
def in_bits(student: Array, teacher: Array, temperature: float) -> float:
    """Your loss is in bits; take the natural logarithm."""
    return soft_target_loss_reference(student, teacher, temperature) / float(np.log(2))


@soft_target_loss.mistake
def temperature_left_out(student: Array, teacher: Array, temperature: float) -> float:
    """`temperature` is not used: it divides both nets' logits, and T² is a factor."""
    return _loss(student, teacher, 1, 1)


@soft_target_loss.mistake
def only_the_students_log_of_zero(
    student: Array, teacher: Array, temperature: float
) -> float:
    """Where the *student's* probability becomes 0, its logarithm is -inf.

    You have taken care of the teacher's zeros. Compute both logarithms directly:
    z - log sum exp z.
    """
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    with np.errstate(divide="ignore"):
        gap = np.log(np.where(p > 0, p, 1)) - np.log(q)
    gaps = np.where(p > 0, p, 1) * np.where(p > 0, gap, 0)
    return float(temperature**2 * np.mean(np.sum(gaps, axis=1)))


@soft_target_loss.mistake
def tiny_eps_in_the_log(student: Array, teacher: Array, temperature: float) -> float:
    """A tiny number in the logarithm, or a clip at one, hides how wrong a student is.

    Compute the logarithm of the softmax directly: z - log sum exp z.
    """
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    gap = np.log(p + 1e-12) - np.log(q + 1e-12)
    return float(temperature**2 * np.mean(np.sum(p * gap, axis=1)))


@soft_target_loss.mistake
def mean_of_both_directions(
    student: Array, teacher: Array, temperature: float
) -> float:
    """This is the mean of both divergences; the teacher's probabilities alone weigh."""
    there = soft_target_loss_reference(student, teacher, temperature)
    back = soft_target_loss_reference(teacher, student, temperature)
    return (there + back) / 2
