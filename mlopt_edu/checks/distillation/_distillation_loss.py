"""Task 4: labels and teacher together, where not every example has a label."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Integers, log_softmax, softmax
from ._soft_target_loss import soft_target_loss_reference

NO_LABEL = -100


def distillation_loss_reference(
    student_logits: Array,
    teacher_logits: Array,
    labels: Integers,
    temperature: float,
    hard_weight: float,
    soft_weight: float,
) -> float:
    """Weighted sum of the cross-entropy with known labels and of the soft targets."""
    rows = np.flatnonzero(labels != NO_LABEL)
    log_q = log_softmax(student_logits)[rows, labels[rows]]
    hard = -log_q.mean() if len(rows) else 0.0
    soft = soft_target_loss_reference(student_logits, teacher_logits, temperature)
    return float(hard_weight * hard + soft_weight * soft)


def _batches(rng: np.random.Generator) -> Iterator[Case]:
    by_hand: dict[str, Any] = {"student_logits": np.array([[1.0, 0], [0, 0]])}
    by_hand |= {"teacher_logits": np.array([[3.0, 0], [0, 2]])}
    by_hand |= {"labels": np.array([1, NO_LABEL]), "temperature": 2.5}
    weights = {"hard_weight": 0.5, "soft_weight": 2.0}
    yield Case("one of two has a label", {**by_hand, **weights})
    for n, classes, known, temperature, hard, soft, label in (
        (6, 4, 6, 3.0, 0.4, 0.7, "all labels"),
        (9, 5, 4, 4.0, 0.1, 0.9, "4 of 9 labels"),
        (7, 3, 1, 1.0, 1.0, 0.25, "one label, temperature 1"),
        (5, 10, 0, 2.0, 0.8, 0.5, "no label"),
        (6, 3, 4, 5.0, 0.0, 1.0, "the teacher alone"),
        (6, 3, 4, 5.0, 1.0, 0.0, "the labels alone"),
        (1, 4, 1, 0.5, 0.3, 0.6, "one example, temperature 1/2"),
    ):
        student, teacher = 2 * rng.normal(size=(2, n, classes))
        labels = rng.integers(0, classes, size=n)
        labels[rng.permutation(n)[known:]] = NO_LABEL
        inputs = {"student_logits": student, "teacher_logits": teacher}
        inputs |= {"labels": labels, "temperature": temperature}
        yield Case(label, {**inputs, "hard_weight": hard, "soft_weight": soft})
    student, teacher = rng.normal(size=(2, 4, 3)) + 1000 * np.eye(4)[:, :3]
    inputs = {"student_logits": student, "teacher_logits": teacher}
    inputs |= {"labels": np.array([0, 2, NO_LABEL, 1]), "temperature": 3.0}
    yield Case("sure of themselves", {**inputs, "hard_weight": 0.5, "soft_weight": 0.5})


distillation_loss = Task(
    "distillation_loss",
    points=2,
    section="12 · Write it small",
    reference=distillation_loss_reference,
    draw=_batches,
    forbid=LIBRARIES,
    hints=(
        "Two losses. Which examples count in each, and at which temperature?",
        "The hard loss is at temperature 1, and its mean is over the examples that "
        "have a label. The soft loss is task 2, over all examples. The mean of no "
        "numbers is nan: ask first whether there are any.",
        "`rows = np.flatnonzero(labels != -100)`, then "
        "`-log_softmax[rows, labels[rows]].mean()` if there are rows, else 0.",
    ),
)


def _variant(
    student: Array,
    teacher: Array,
    labels: Integers,
    temperature: float,
    hard_weight: float,
    soft_weight: float,
    *,
    hard_logits: Any = lambda z, _: z,
    hard_count: Any = len,
    targets: Any = lambda labels, _: labels,
    soft: Any = soft_target_loss_reference,
    hard_factor: float = 1.0,
) -> float:
    """The right program, with one thing in it changed."""
    labels = targets(labels, teacher)
    rows = np.flatnonzero(labels != NO_LABEL)
    log_q = log_softmax(hard_logits(student, temperature))[rows, labels[rows]]
    hard = -log_q.sum() / hard_count(rows) if len(rows) else 0.0
    loss = soft(student, teacher, temperature)
    return float(hard_weight * hard_factor * hard + soft_weight * loss)


@distillation_loss.mistake
def hard_loss_softened(*inputs: Any) -> float:
    """Your hard loss is softened too; labels are met at temperature 1."""
    return _variant(*inputs, hard_logits=lambda z, t: z / t)


@distillation_loss.mistake
def softmax_twice(*inputs: Any) -> float:
    """Your cross-entropy takes the softmax of probabilities; give it the logits."""
    return _variant(*inputs, hard_logits=lambda z, _: softmax(z))


@distillation_loss.mistake
def t_squared_missing(*inputs: Any) -> float:
    """T² is missing in the soft loss, so the labels outweigh the teacher."""
    return _variant(
        *inputs, soft=lambda z, v, t: soft_target_loss_reference(z, v, t) / t**2
    )


@distillation_loss.mistake
def t_squared_on_both(*inputs: Any) -> float:
    """You multiply both losses by T²; it belongs to the soft one alone."""
    return _variant(*inputs, hard_factor=inputs[3] ** 2)


@distillation_loss.mistake
def divergence_reversed(*inputs: Any) -> float:
    """The arguments of KL are reversed: the teacher's probabilities weigh."""
    return _variant(*inputs, soft=lambda z, v, t: soft_target_loss_reference(v, z, t))


@distillation_loss.mistake
def cross_entropy_with_teacher(*inputs: Any) -> float:
    """Your soft loss is the cross-entropy, and not 0 where both nets agree; take KL."""
    return _variant(
        *inputs,
        soft=lambda z, v, t: (
            -(t**2) * np.mean(np.sum(softmax(v / t) * log_softmax(z / t), axis=1))
        ),
    )


@distillation_loss.mistake
def weights_exchanged(*inputs: Any) -> float:
    """The weights are exchanged: `hard_weight` belongs to the labels."""
    return distillation_loss_reference(*[*inputs[:4], inputs[5], inputs[4]])


@distillation_loss.mistake
def rest_for_the_teacher(*inputs: Any) -> float:
    """You weigh the teacher by 1 - hard_weight; it has a weight of its own."""
    return distillation_loss_reference(*[*inputs[:5], 1 - inputs[4]])


@distillation_loss.mistake
def weights_divided_by_their_sum(*inputs: Any) -> float:
    """You divide by the sum of the weights; it is a plain weighted sum."""
    return float(distillation_loss_reference(*inputs) / (inputs[4] + inputs[5]))


@distillation_loss.mistake
def weights_left_out(*inputs: Any) -> float:
    """You add the two losses as they are: the weights are not used."""
    return distillation_loss_reference(*[*inputs[:4], 1.0, 1.0])


@distillation_loss.mistake
def teacher_never_used(*inputs: Any) -> float:
    """The teacher is never used: this is training with labels alone."""
    return distillation_loss_reference(*[*inputs[:5], 0.0])


@distillation_loss.mistake
def labels_never_used(*inputs: Any) -> float:
    """The labels are never used: this is the soft loss alone."""
    return distillation_loss_reference(*[*inputs[:4], 0.0, inputs[5]])


@distillation_loss.mistake
def unlabelled_dropped(*inputs: Any) -> float:
    """You drop the examples without a label; the teacher has an answer to each.

    That it needs no labels is what distillation is best at.
    """
    student, teacher, labels, *rest = inputs
    known = labels != NO_LABEL
    if not known.any():
        return 0.0
    return distillation_loss_reference(
        student[known], teacher[known], labels[known], *rest
    )


@distillation_loss.mistake
def hard_mean_over_all(*inputs: Any) -> float:
    """You divide the hard loss by *all* examples; only those with a label count."""
    return _variant(*inputs, hard_count=lambda _: len(inputs[2]))


@distillation_loss.mistake
def hard_loss_summed(*inputs: Any) -> float:
    """Your hard loss is a sum; take the mean over the examples that have a label."""
    return _variant(*inputs, hard_count=lambda _: 1)


@distillation_loss.mistake
def nan_without_labels(*inputs: Any) -> float:
    """Without any label your loss is nan, the mean of nothing; the hard loss is 0."""
    if np.all(inputs[2] == NO_LABEL):
        return float("nan")
    return distillation_loss_reference(*inputs)


@distillation_loss.mistake
def teacher_labels_the_rest(*inputs: Any) -> float:
    """You let the teacher label the rest; its answer counts in the soft loss already.

    Pseudo-labels throw away all but its first choice.
    """
    return _variant(
        *inputs,
        targets=lambda labels, v: np.where(
            labels == NO_LABEL, v.argmax(axis=1), labels
        ),
    )


@distillation_loss.mistake
def first_class_without_label(*inputs: Any) -> float:
    """You take class 0 where there is no label; leave these examples out."""
    return _variant(*inputs, targets=lambda labels, _: np.maximum(labels, 0))


@distillation_loss.mistake
def sign_of_the_hard_loss(*inputs: Any) -> float:
    """The minus of the cross-entropy is missing: labels would be unlearnt."""
    return _variant(*inputs, hard_factor=-1.0)


@distillation_loss.mistake
def first_class_dropped(*inputs: Any) -> float:
    """You leave out the examples of class 0; only -100 says that there is no label."""
    return _variant(
        *inputs, targets=lambda labels, _: np.where(labels > 0, labels, NO_LABEL)
    )


@distillation_loss.mistake
def log_of_zero(*inputs: Any) -> float:
    """A label's probability becomes 0, and its logarithm -inf.

    Compute the logarithm of the softmax directly: z - log sum exp z.
    """
    loss = distillation_loss_reference(*inputs)
    known = np.flatnonzero(inputs[2] != NO_LABEL)
    lost = softmax(inputs[0])[known, inputs[2][known]] == 0
    return float(np.inf) if lost.any() and inputs[4] else loss


@distillation_loss.mistake
def eps_in_the_log(*inputs: Any) -> float:
    """A small number in the logarithm hides how wrong a student is that is sure.

    Compute the logarithm of the softmax directly: z - log sum exp z.
    """
    student, _, labels, _, hard_weight, _ = inputs
    known = np.flatnonzero(labels != NO_LABEL)
    q = softmax(student)[known, labels[known]]
    hard = -np.log(q + 1e-12).mean() if len(known) else 0.0
    return float(hard_weight * hard + labels_never_used(*inputs))


@distillation_loss.mistake
def soft_loss_not_softened(*inputs: Any) -> float:
    """Your soft loss is at temperature 1: it is that of task 2, with `temperature`."""
    return _variant(*inputs, soft=lambda z, v, _: soft_target_loss_reference(z, v, 1))


@distillation_loss.mistake
def hard_loss_as_the_soft_one(*inputs: Any) -> float:
    """You soften the hard loss and multiply it by T²; labels are met at T = 1."""
    t = inputs[3]
    return _variant(*inputs, hard_logits=lambda z, t: z / t, hard_factor=t**2)


@distillation_loss.mistake
def nothing_without_labels(*inputs: Any) -> float:
    """Without any label you return 0, but the soft loss is there all the same."""
    if np.all(inputs[2] == NO_LABEL):
        return 0.0
    return distillation_loss_reference(*inputs)


@distillation_loss.mistake
def teacher_for_the_rest_alone(*inputs: Any) -> float:
    """You ask the teacher about unlabelled examples alone; it has a say on *all*."""
    student, teacher, labels, *rest = inputs
    rows = labels == NO_LABEL
    soft = 0.0
    if rows.any():
        soft = soft_target_loss_reference(student[rows], teacher[rows], rest[0])
    return _variant(*inputs, soft=lambda *_: soft)


@distillation_loss.mistake
def logarithm_left_out(*inputs: Any) -> float:
    """Your hard loss lacks the logarithm: it is minus the label's probability."""
    student, _, labels, _, hard_weight, _ = inputs
    known = np.flatnonzero(labels != NO_LABEL)
    q = softmax(student)[known, labels[known]]
    hard = -q.mean() if len(known) else 0.0
    return float(hard_weight * hard + labels_never_used(*inputs))
