"""Task 6: a hint from inside, through a projector that is learnt too."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, relu

Outcome = tuple[float, Array]


def hint_loss_reference(
    student_features: Array, teacher_features: Array, projector: Array
) -> Outcome:
    """Half the mean squared difference, and its gradient for the projector."""
    projected = np.einsum("ts,nshw->nthw", projector, student_features)
    gap = projected - teacher_features
    gradient = np.einsum("nthw,nshw->ts", gap, student_features) / gap.size
    return float(np.mean(gap**2) / 2), gradient


def _features(rng: np.random.Generator) -> Iterator[Case]:
    for n, students, teachers, height, width, label in (
        (1, 1, 2, 1, 2, "two places"),
        (3, 2, 4, 3, 3, "2 to 4 channels"),
        (2, 4, 4, 2, 5, "as many channels"),
        (2, 5, 3, 4, 2, "more channels in the student"),
        (4, 2, 3, 1, 1, "one place"),
        (1, 3, 5, 4, 4, "one example"),
        (3, 3, 3, 3, 3, "3 everywhere"),
    ):
        student = rng.normal(size=(n, students, height, width)) + 0.5
        teacher = 2 * rng.normal(size=(n, teachers, height, width))
        projector = rng.normal(size=(teachers, students))
        inputs = {"student_features": student, "teacher_features": teacher}
        yield Case(label, {**inputs, "projector": projector})


hint_loss = Task(
    "hint_loss",
    points=2,
    section="12 · Write it small",
    reference=hint_loss_reference,
    draw=_features,
    forbid=LIBRARIES,
    seconds=10.0,  # the first backward pass of torch imports much
    hints=(
        "At one place of one example the student has a vector of its channels. The "
        "projector makes one of the teacher's size of it: a matrix times a vector.",
        "Channels are axis 1, so `projector @ features` does not fit. `np.einsum` "
        "does, with letters for axes; or move the channels to the end and back.",
        "`np.einsum('ts,nshw->nthw', projector, student_features)`. The gradient is "
        "`np.einsum('nthw,nshw->ts', gap, student_features) / gap.size`.",
    ),
)


def _project(student: Array, projector: Array) -> Array:
    return np.asarray(np.einsum("ts,nshw->nthw", projector, student))


def _from(gap: Array, student: Array) -> Outcome:
    gradient = np.einsum("nthw,nshw->ts", gap, student) / gap.size
    return float(np.mean(gap**2) / 2), gradient


@hint_loss.mistake
def half_missing(student: Array, teacher: Array, projector: Array) -> Outcome:
    """The half is missing: loss and gradient are twice as large."""
    loss, gradient = hint_loss_reference(student, teacher, projector)
    return 2 * loss, 2 * gradient


@hint_loss.mistake
def half_missing_in_the_loss(
    student: Array, teacher: Array, projector: Array
) -> Outcome:
    """The gradient is right, but the loss lacks the half."""
    loss, gradient = hint_loss_reference(student, teacher, projector)
    return 2 * loss, gradient


@hint_loss.mistake
def gradient_doubled(student: Array, teacher: Array, projector: Array) -> Outcome:
    """The loss is right, but the gradient is doubled: the half takes the 2."""
    loss, gradient = hint_loss_reference(student, teacher, projector)
    return loss, 2 * gradient


@hint_loss.mistake
def summed(student: Array, teacher: Array, projector: Array) -> Outcome:
    """You sum over all entries; take the mean, or a larger map counts for more."""
    loss, gradient = hint_loss_reference(student, teacher, projector)
    return loss * teacher.size, gradient * teacher.size


@hint_loss.mistake
def mean_over_examples_only(
    student: Array, teacher: Array, projector: Array
) -> Outcome:
    """You divide by the number of examples; the mean is over channels and places too.

    The paper sums them; then the weight of a hint hangs on the layer's size.
    """
    loss, gradient = hint_loss_reference(student, teacher, projector)
    size = teacher[0].size
    return loss * size, gradient * size


@hint_loss.mistake
def gradient_not_averaged(student: Array, teacher: Array, projector: Array) -> Outcome:
    """The loss is right. It is a mean over all entries, and so must the gradient be."""
    loss, gradient = hint_loss_reference(student, teacher, projector)
    return loss, gradient * teacher.size


@hint_loss.mistake
def gradient_averaged_over_examples(
    student: Array, teacher: Array, projector: Array
) -> Outcome:
    """The loss is right. The gradient is divided by N only; divide by all entries."""
    loss, gradient = hint_loss_reference(student, teacher, projector)
    return loss, gradient * teacher[0].size


@hint_loss.mistake
def gradient_averaged_over_student(
    student: Array, teacher: Array, projector: Array
) -> Outcome:
    """You divide the gradient by the entries of the student's map.

    The mean is over those of the difference, which has the teacher's size.
    """
    loss, gradient = hint_loss_reference(student, teacher, projector)
    return loss, gradient * teacher.size / student.size


@hint_loss.mistake
def sign_reversed(student: Array, teacher: Array, projector: Array) -> Outcome:
    """Your gradient has the wrong sign: it leads away from the teacher."""
    loss, gradient = hint_loss_reference(student, teacher, projector)
    return loss, -gradient


@hint_loss.mistake
def gradient_transposed(student: Array, teacher: Array, projector: Array) -> Outcome:
    """Your gradient is transposed; it has the shape of the projector."""
    loss, gradient = hint_loss_reference(student, teacher, projector)
    return loss, np.asarray(gradient).T


@hint_loss.mistake
def gradient_of_the_student(
    student: Array, teacher: Array, projector: Array
) -> Outcome:
    """This is the gradient for the student's features; return the projector's."""
    gap = _project(student, projector) - teacher
    back = np.einsum("ts,nthw->nshw", projector, gap) / gap.size
    return float(np.mean(gap**2) / 2), back


@hint_loss.mistake
def teacher_projected(student: Array, teacher: Array, projector: Array) -> Outcome:
    """You project the *teacher's* features down to the student's size.

    Then it may be asked for less than it knows. Project the student's.
    """
    gap = np.einsum("ts,nthw->nshw", projector, teacher) - student
    gradient = np.einsum("nthw,nshw->ts", teacher, gap) / gap.size
    return float(np.mean(gap**2) / 2), gradient


@hint_loss.mistake
def channels_mixed_with_examples(
    student: Array, teacher: Array, projector: Array
) -> Outcome:
    """A reshape to (channels, rest) mixes channels with examples: axis 0 counts those.

    Move the channels to the front first, or use `np.einsum`.
    """
    flat = student.reshape(student.shape[1], -1)
    gap = projector @ flat - teacher.reshape(teacher.shape[1], -1)
    return float(np.mean(gap**2) / 2), gap @ flat.T / gap.size


@hint_loss.mistake
def places_averaged_first(student: Array, teacher: Array, projector: Array) -> Outcome:
    """You average over the places first; compare place by place."""
    student, teacher = (x.mean(axis=(2, 3), keepdims=True) for x in (student, teacher))
    return _from(_project(student, projector) - teacher, student)


@hint_loss.mistake
def relu_after_projector(student: Array, teacher: Array, projector: Array) -> Outcome:
    """The projector is linear; no ReLU follows it."""
    projected = _project(student, projector)
    gap = relu(projected) - teacher
    gradient = np.einsum("nthw,nshw->ts", gap * (projected > 0), student) / gap.size
    return float(np.mean(gap**2) / 2), gradient


@hint_loss.mistake
def sizes_for_squares(student: Array, teacher: Array, projector: Array) -> Outcome:
    """You add up the sizes of the differences; square them."""
    gap = _project(student, projector) - teacher
    gradient = np.einsum("nthw,nshw->ts", np.sign(gap), student) / gap.size
    return float(np.mean(np.abs(gap)) / 2), gradient / 2


@hint_loss.mistake
def teacher_left_out(student: Array, teacher: Array, projector: Array) -> Outcome:
    """The teacher's features are not used: this pulls the projector to 0."""
    return _from(_project(student, projector), student)


@hint_loss.mistake
def half_left_in_the_gradient(
    student: Array, teacher: Array, projector: Array
) -> Outcome:
    """The loss is right, but the gradient is halved: the square's 2 takes the half."""
    loss, gradient = hint_loss_reference(student, teacher, projector)
    return loss, gradient / 2


@hint_loss.mistake
def gradient_averaged_over_places(
    student: Array, teacher: Array, projector: Array
) -> Outcome:
    """The loss is right. Your gradient is not divided by the number of channels.

    The mean is over all entries: examples, the teacher's channels and places.
    """
    loss, gradient = hint_loss_reference(student, teacher, projector)
    return loss, gradient * len(projector)


@hint_loss.mistake
def summed_over_channels(student: Array, teacher: Array, projector: Array) -> Outcome:
    """You sum over the channels; the mean is over them too."""
    loss, gradient = hint_loss_reference(student, teacher, projector)
    return loss * len(projector), gradient * len(projector)


@hint_loss.mistake
def reshaped_without_moving(
    student: Array, teacher: Array, projector: Array
) -> Outcome:
    """A reshape to (places, channels) does not move axes: rows mix places and channels.

    Move the channels to the end first, or use `np.einsum`.
    """
    rows = student.reshape(-1, student.shape[1])
    gap = (rows @ projector.T).reshape(teacher.shape) - teacher
    gradient = gap.reshape(-1, len(projector)).T @ rows / gap.size
    return float(np.mean(gap**2) / 2), gradient
