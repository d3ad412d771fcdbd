"""Task 7: where a net looks, whatever the number of its channels."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, softmax


def attention_transfer_reference(
    student_features: Array, teacher_features: Array
) -> float:
    """Squared distance of the normalised maps, the mean over the examples."""
    maps = []
    for features in (student_features, teacher_features):
        energy = (features**2).sum(axis=1)
        length = np.sqrt((energy**2).sum(axis=(1, 2)))
        maps.append(energy / _or_one(length)[:, None, None])
    (gap,) = np.diff(maps, axis=0)
    return float(np.sum(gap**2, axis=(1, 2)).mean())


def _or_one(length: Array) -> Array:
    """An example that is 0 everywhere has the map 0."""
    return np.where(length == 0, 1, length)


def _features(rng: np.random.Generator) -> Iterator[Case]:
    student = np.array([[[[3.0, 0]], [[0, 2]]]])
    by_hand = {
        "student_features": student,
        "teacher_features": np.array([[[[0, 5.0]]]]),
    }
    yield Case("two places", by_hand)
    for n, students, teachers, height, width, label in (
        (3, 2, 6, 3, 4, "2 and 6 channels"),
        (5, 4, 4, 2, 2, "as many channels"),
        (1, 3, 1, 5, 5, "one example"),
        (4, 1, 3, 1, 6, "one channel"),
        (3, 3, 3, 3, 3, "3 everywhere"),
    ):
        scales = 10.0 ** rng.uniform(-1, 1, size=(2, n, 1, 1, 1))
        student = scales[0] * rng.normal(size=(n, students, height, width))
        teacher = scales[1] * rng.normal(size=(n, teachers, height, width))
        inputs = {"student_features": student, "teacher_features": teacher}
        yield Case(label, inputs)
        if label == "2 and 6 channels":
            silent = student * np.array([1.0, 0, 1])[:, None, None, None]
            yield Case("a silent example", {**inputs, "student_features": silent})


attention_transfer = Task(
    "attention_transfer",
    points=1,
    section="12 · Write it small",
    reference=attention_transfer_reference,
    draw=_features,
    forbid=LIBRARIES,
    hints=(
        "The map has one number a place: the sum of the squares over the channels. "
        "What makes the maps of two nets comparable?",
        "Divide each example's map by its Euclidean length, over all places. If the "
        "length is 0, the map is 0: divide by 1 instead.",
        "`energy = (features**2).sum(axis=1).reshape(len(features), -1)`; divide by "
        "`np.linalg.norm(energy, axis=1, keepdims=True)`. Then sum the squared "
        "differences, and divide by the number of examples.",
    ),
)


def _unit(energy: Array) -> Array:
    flat = energy.reshape(len(energy), -1)
    return np.asarray(flat / _or_one(np.linalg.norm(flat, axis=1))[:, None])


def _energy(features: Array) -> Array:
    return np.asarray((features**2).sum(axis=1))


def _gaps(student: Array, teacher: Array) -> Array:
    return _unit(_energy(student)) - _unit(_energy(teacher))


def _distance(student: Array, teacher: Array) -> float:
    return float(np.sum((student - teacher) ** 2) / len(student))


@attention_transfer.mistake
def sizes_for_squares(student: Array, teacher: Array) -> float:
    """You add up the sizes over the channels; square the features first."""
    maps = [_unit(np.abs(x).sum(axis=1)) for x in (student, teacher)]
    return _distance(maps[0], maps[1])


@attention_transfer.mistake
def channels_cancel(student: Array, teacher: Array) -> float:
    """You add the channels with their signs, so that they cancel; square first."""
    maps = [_unit(x.sum(axis=1)) for x in (student, teacher)]
    return _distance(maps[0], maps[1])


@attention_transfer.mistake
def squared_after_the_sum(student: Array, teacher: Array) -> float:
    """You square the *sum* over the channels; sum the squares."""
    maps = [_unit(x.sum(axis=1) ** 2) for x in (student, teacher)]
    return _distance(maps[0], maps[1])


@attention_transfer.mistake
def root_of_the_energy(student: Array, teacher: Array) -> float:
    """You take the root of the sum of squares; the map is the sum itself."""
    maps = [_unit(np.sqrt(_energy(x))) for x in (student, teacher)]
    return _distance(maps[0], maps[1])


@attention_transfer.mistake
def largest_channel(student: Array, teacher: Array) -> float:
    """You take the largest channel at each place; sum the squares of all."""
    maps = [_unit((x**2).max(axis=1)) for x in (student, teacher)]
    return _distance(maps[0], maps[1])


@attention_transfer.mistake
def never_normalised(student: Array, teacher: Array) -> float:
    """The maps are not normalised, so the net with more channels is larger everywhere.

    Divide each example's map by its length.
    """
    return _distance(_energy(student), _energy(teacher))


@attention_transfer.mistake
def normalised_together(student: Array, teacher: Array) -> float:
    """You divide by one length for the whole batch; each example has its own."""
    maps = [_energy(x) / np.linalg.norm(_energy(x)) for x in (student, teacher)]
    return _distance(maps[0], maps[1])


@attention_transfer.mistake
def sums_to_one(student: Array, teacher: Array) -> float:
    """Your maps sum to 1; divide by the Euclidean length, so their squares do."""
    maps = []
    for x in (student, teacher):
        energy = _energy(x)
        maps.append(energy / _or_one(energy.sum(axis=(1, 2)))[:, None, None])
    return _distance(maps[0], maps[1])


@attention_transfer.mistake
def softmax_over_places(student: Array, teacher: Array) -> float:
    """You take a softmax over the places; divide by the length."""
    maps = [softmax(_energy(x).reshape(len(x), -1)) for x in (student, teacher)]
    return _distance(maps[0], maps[1])


@attention_transfer.mistake
def largest_is_one(student: Array, teacher: Array) -> float:
    """You divide by the largest entry of a map; divide by its Euclidean length."""
    maps = []
    for x in (student, teacher):
        energy = _energy(x)
        maps.append(energy / _or_one(energy.max(axis=(1, 2)))[:, None, None])
    return _distance(maps[0], maps[1])


@attention_transfer.mistake
def rows_normalised(student: Array, teacher: Array) -> float:
    """You divide each row of the map by its own length; it has one, over all places."""
    maps = []
    for x in (student, teacher):
        energy = _energy(x)
        maps.append(energy / _or_one(np.linalg.norm(energy, axis=2))[:, :, None])
    return _distance(maps[0], maps[1])


@attention_transfer.mistake
def mean_over_places_too(student: Array, teacher: Array) -> float:
    """You take the mean over the places too; sum over them."""
    return float(np.mean(_gaps(student, teacher) ** 2))


@attention_transfer.mistake
def summed_over_examples(student: Array, teacher: Array) -> float:
    """You sum over the examples; take the mean."""
    return float(np.sum(_gaps(student, teacher) ** 2))


@attention_transfer.mistake
def not_squared(student: Array, teacher: Array) -> float:
    """This is the mean *distance*; square it, so that it has a gradient at 0."""
    return float(np.mean(np.linalg.norm(_gaps(student, teacher), axis=1)))


@attention_transfer.mistake
def halved(student: Array, teacher: Array) -> float:
    """This is half of it, which is 1 - cosine; here there is no half."""
    return float(np.sum(_gaps(student, teacher) ** 2) / len(student) / 2)


@attention_transfer.mistake
def zero_length(student: Array, teacher: Array) -> float:
    """A map that is 0 everywhere has the length 0, and 0 / 0 is nan; it stays 0."""
    maps = []
    for x in (student, teacher):
        energy = _energy(x)
        length = np.sqrt((energy**2).sum(axis=(1, 2), keepdims=True))
        maps.append(energy / length)
    return _distance(maps[0], maps[1])


@attention_transfer.mistake
def over_the_examples(student: Array, teacher: Array) -> float:
    """You sum the squares over axis 0, the examples; the channels are axis 1."""
    maps = []
    for x in (student, teacher):
        energy = (x**2).sum(axis=0).mean(axis=0)
        maps.append(energy / np.linalg.norm(energy))
    return float(np.sum((maps[0] - maps[1]) ** 2))


@attention_transfer.mistake
def one_a_row(student: Array, teacher: Array) -> Array:
    """This is the distance of each example; return their mean, one number."""
    return np.asarray(np.sum(_gaps(student, teacher) ** 2, axis=1))


@attention_transfer.mistake
def root_of_the_length_left_out(student: Array, teacher: Array) -> float:
    """You divide by the *squared* length; take the root of the sum of squares."""
    maps = []
    for x in (student, teacher):
        energy = _energy(x)
        squares = (energy**2).sum(axis=(1, 2))
        maps.append(energy / _or_one(squares)[:, None, None])
    return _distance(maps[0], maps[1])


@attention_transfer.mistake
def silent_examples_left_out(student: Array, teacher: Array) -> float:
    """You leave out an example whose map is 0; its map stays 0, and it counts."""
    loud = student.any(axis=(1, 2, 3)) & teacher.any(axis=(1, 2, 3))
    gaps = _gaps(student, teacher)[loud]
    return float(np.sum(gaps**2, axis=1).mean())


@attention_transfer.mistake
def silent_examples_count_nothing(student: Array, teacher: Array) -> float:
    """An example with a map that is 0 has the distance 0 in yours.

    Its map stays 0, but the other net's map is not 0: their distance is 1.
    """
    loud = student.any(axis=(1, 2, 3)) & teacher.any(axis=(1, 2, 3))
    return float(np.sum(_gaps(student, teacher)[loud] ** 2) / len(student))


@attention_transfer.mistake
def eps_in_the_length(student: Array, teacher: Array) -> float:
    """You add a small number to every length; only a length of 0 needs care.

    Where the length is 0, divide by 1.
    """
    maps = []
    for x in (student, teacher):
        energy = _energy(x).reshape(len(x), -1)
        length = np.linalg.norm(energy, axis=1, keepdims=True)
        maps.append(energy / (length + 1e-6))
    return _distance(maps[0], maps[1])


@attention_transfer.mistake
def sizes_of_differences(student: Array, teacher: Array) -> float:
    """You add up the sizes of the differences; square them."""
    return float(np.sum(np.abs(_gaps(student, teacher))) / len(student))
