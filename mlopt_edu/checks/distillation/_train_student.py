"""Task 8: a loop that asks no teacher and trains no student, to mend."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Integers, one_hot, relu, softmax

Layer = tuple[Array, Array]


def train_student_reference(
    X: Array,
    labels: Integers,
    teacher: list[Layer],
    student: Layer,
    temperature: float,
    lr: float,
    steps: int,
) -> Layer:
    """Descend on T² · KL(teacher ‖ student): a linear student, a teacher of two layers.

    The teacher is asked once, since it does not change. The labels are not needed.
    """
    (inner, inner_bias), (outer, outer_bias) = teacher
    weight, bias = student
    p = softmax((relu(X @ inner.T + inner_bias) @ outer.T + outer_bias) / temperature)
    for _ in range(steps):
        q = softmax((X @ weight.T + bias) / temperature)
        gradient = temperature * (q - p) / len(p)
        weight = weight - lr * gradient.T @ X
        bias = bias - lr * gradient.sum(axis=0)
    return weight, bias


def _pupils(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, hidden, classes, temperature, share, steps, label in (
        (4, 2, 3, 2, 2.5, 0.5, 1, "one step"),
        (20, 5, 8, 4, 4.0, 0.8, 12, "12 steps"),
        (15, 3, 6, 3, 1.0, 0.5, 30, "30 steps at temperature 1"),
        (10, 4, 5, 3, 0.5, 0.2, 5, "temperature 1/2"),
        (12, 4, 4, 4, 3.0, 0.6, 7, "4 everywhere"),
        (1, 3, 4, 5, 2.0, 0.5, 3, "one example"),
        (8, 3, 4, 3, 2.0, 0.5, 0, "no step"),
        (8, 3, 4, 3, 2.0, 0.0, 4, "step size 0"),
    ):
        X = rng.normal(size=(n, d)) + 0.3
        teacher = [
            (rng.normal(size=(hidden, d)), rng.normal(size=hidden)),
            (2 * rng.normal(size=(classes, hidden)), rng.normal(size=classes)),
        ]
        student = (rng.normal(size=(classes, d)), rng.normal(size=classes))
        labels = rng.integers(0, classes, size=n)
        inputs = {"X": X, "labels": labels, "teacher": teacher, "student": student}
        inputs |= {"temperature": temperature, "lr": share, "steps": steps}
        yield Case(label, inputs)


train_student = Task(
    "train_student",
    kind="repair",
    points=2,
    section="12 · What goes wrong",
    reference=train_student_reference,
    draw=_pupils,
    forbid=LIBRARIES,
    seconds=10.0,  # the first backward pass of torch imports much
    hints=(
        "Print the student before and after. Then change the teacher: what changes in "
        "the result?",
        "There are two faults. One: what the student is compared with. Two: which "
        "weights the next step starts from.",
        "Give `teacher_logits` to `soft_target_gradient`, and let the step assign to "
        "`weight` and `bias` themselves.",
    ),
)

Targets = Callable[[Array, Integers, float], Array]


def _soft(logits: Array, labels: Integers, temperature: float) -> Array:
    return softmax(logits / temperature)


def _hard(logits: Array, labels: Integers, temperature: float) -> Array:
    return np.asarray(np.eye(logits.shape[1])[labels])


def _answers(X: Array, teacher: list[Layer], act: Any = relu) -> Array:
    (inner, inner_bias), (outer, outer_bias) = teacher
    return np.asarray(act(X @ inner.T + inner_bias) @ outer.T + outer_bias)


def _variant(
    X: Array,
    labels: Integers,
    teacher: list[Layer],
    student: Layer,
    temperature: float,
    lr: float,
    steps: int,
    *,
    targets: Targets = _soft,
    slope: Callable[[Array, Array, float], Array] = lambda q, p, t: (
        t * (q - p) / len(p)
    ),
    act: Any = relu,
    at_student: float | None = None,
    bias_factor: Callable[[Array], float] = lambda _: 1.0,
) -> Layer:
    """The right program, with one thing in it changed."""
    weight, bias = student
    p = targets(_answers(X, teacher, act), labels, temperature)
    for _ in range(steps):
        q = softmax((X @ weight.T + bias) / (at_student or temperature))
        gradient = slope(q, p, temperature)
        weight = weight - lr * gradient.T @ X
        bias = bias - lr * gradient.sum(axis=0) * bias_factor(X)
    return weight, bias


@train_student.mistake
def as_given(*inputs: Any) -> Layer:
    """The student comes back as it went in: it is frozen.

    So nobody can see whom it is compared with. Is that the teacher?
    """
    student: Layer = inputs[3]
    return student


@train_student.mistake
def teacher_never_used(*inputs: Any) -> Layer:
    """The student learns now, but from the labels: the teacher is never used.

    Its logits are computed and then nobody looks at them.
    """
    return _variant(*inputs, targets=lambda *a: softmax(_hard(*a) / a[2]))


@train_student.mistake
def labels_alone(*inputs: Any) -> Layer:
    """You compare with the labels' ones and zeros: the teacher is never used."""
    return _variant(*inputs, targets=_hard)


@train_student.mistake
def only_the_bias_learns(*inputs: Any) -> Layer:
    """The student's bias learns, but its weight is frozen."""
    X, labels, teacher, (weight, bias), temperature, lr, steps = inputs
    p = _soft(_answers(X, teacher), labels, temperature)
    for _ in range(steps):
        q = softmax((X @ weight.T + bias) / temperature)
        bias = bias - lr * temperature * (q - p).mean(axis=0)
    return weight, bias


@train_student.mistake
def bias_frozen(*inputs: Any) -> Layer:
    """The weight learns, but the student's bias is frozen."""
    return _variant(*inputs, bias_factor=lambda _: 0.0)


@train_student.mistake
def every_step_from_the_start(*inputs: Any) -> Layer:
    """Every step starts from the initial student, so you return it after one step."""
    *rest, steps = inputs
    return train_student_reference(*[*rest, min(steps, 1)])


@train_student.mistake
def first_choice_for_target(*inputs: Any) -> Layer:
    """You learn the teacher's first choice; learn its softened probabilities."""
    return _variant(*inputs, targets=lambda v, *_: one_hot(v))


@train_student.mistake
def teacher_not_softened(*inputs: Any) -> Layer:
    """The teacher's logits are not divided by the temperature."""
    return _variant(*inputs, targets=lambda v, *_: softmax(v))


@train_student.mistake
def student_not_softened(*inputs: Any) -> Layer:
    """The student's logits are not divided by the temperature, while it trains."""
    return _variant(*inputs, at_student=1.0)


@train_student.mistake
def softmax_twice(*inputs: Any) -> Layer:
    """You soften the teacher twice: what goes into `softened` must be logits."""
    return _variant(*inputs, targets=lambda v, _, t: softmax(softmax(v / t) / t))


@train_student.mistake
def logits_for_targets(*inputs: Any) -> Layer:
    """You compare probabilities with logits; soften the teacher's too."""
    return _variant(*inputs, targets=lambda v, *_: v)


@train_student.mistake
def t_squared_missing(*inputs: Any) -> Layer:
    """T² is missing in the loss: your gradient is (q - p) / T, and T² too small."""
    return _variant(*inputs, slope=lambda q, p, t: (q - p) / t / len(p))


@train_student.mistake
def t_missing(*inputs: Any) -> Layer:
    """The factor T is missing in the gradient."""
    return _variant(*inputs, slope=lambda q, p, t: (q - p) / len(p))


@train_student.mistake
def ascent(*inputs: Any) -> Layer:
    """The student runs away from the teacher: the gradient is q - p."""
    return _variant(*inputs, slope=lambda q, p, t: t * (p - q) / len(p))


@train_student.mistake
def examples_not_averaged(*inputs: Any) -> Layer:
    """The gradient is not divided by the number of examples."""
    return _variant(*inputs, slope=lambda q, p, t: t * (q - p))


@train_student.mistake
def teacher_without_relu(*inputs: Any) -> Layer:
    """Your teacher has lost its ReLU: leave the lines that ask it as they were."""
    return _variant(*inputs, act=lambda x: x)


@train_student.mistake
def labels_mixed_in(*inputs: Any) -> Layer:
    """You mix labels into the targets; the task asks for the teacher alone."""
    return _variant(*inputs, targets=lambda *a: (_soft(*a) + _hard(*a)) / 2)


@train_student.mistake
def teacher_learns_too(*inputs: Any) -> Layer:
    """Your teacher moves towards the student, so that both agree on anything.

    Only the student learns; the teacher stays as it was.
    """
    X, _, teacher, (weight, bias), temperature, lr, steps = inputs
    (inner, inner_bias), (outer, outer_bias) = teacher
    hidden = relu(X @ inner.T + inner_bias)
    for _ in range(steps):
        q = softmax((X @ weight.T + bias) / temperature)
        p = softmax((hidden @ outer.T + outer_bias) / temperature)
        gradient = temperature * (q - p) / len(X)
        outer = outer + lr * gradient.T @ hidden
        outer_bias = outer_bias + lr * gradient.sum(axis=0)
        weight = weight - lr * gradient.T @ X
        bias = bias - lr * gradient.sum(axis=0)
    return weight, bias


@train_student.mistake
def one_step_more(*inputs: Any) -> Layer:
    """You take one step too many."""
    *rest, steps = inputs
    return train_student_reference(*[*rest, steps + 1])


@train_student.mistake
def first_choice_for_logits(*inputs: Any) -> Layer:
    """You learn the teacher's first choice, and as if its ones were logits.

    `soft_target_gradient` wants the teacher's logits as they are.
    """
    return _variant(*inputs, targets=lambda v, _, t: softmax(one_hot(v) / t))


@train_student.mistake
def probabilities_for_logits(*inputs: Any) -> Layer:
    """You give `soft_target_gradient` the teacher's probabilities; it wants logits.

    It takes the softmax itself, and softens itself.
    """
    return _variant(*inputs, targets=lambda v, _, t: softmax(softmax(v) / t))


@train_student.mistake
def divided_by_t_twice(*inputs: Any) -> Layer:
    """The teacher's logits are divided by T twice: `soft_target_gradient` does it."""
    return _variant(*inputs, targets=lambda v, _, t: softmax(v / t**2))


@train_student.mistake
def averaged_twice(*inputs: Any) -> Layer:
    """You divide by the number of examples once more; your gradient has it already."""
    return _variant(*inputs, slope=lambda q, p, t: t * (q - p) / len(p) ** 2)


@train_student.mistake
def bias_averaged_twice(*inputs: Any) -> Layer:
    """The bias needs the *sum* over the examples: 1/N is in the gradient already."""
    return _variant(*inputs, bias_factor=lambda X: 1 / len(X))


@train_student.mistake
def labels_in_training(*inputs: Any) -> Layer:
    """You train with labels, at temperature 1: the teacher is never used."""
    return _variant(
        *inputs,
        targets=_hard,
        at_student=1.0,
        slope=lambda q, p, _: (q - p) / len(p),
    )
