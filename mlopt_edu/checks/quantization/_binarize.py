"""Task 6: a program that takes signs and calls it mixed quantization, to mend."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array


def binarize_reference(weight: Array) -> Array:
    """Replace each weight by its channel's mean size, with the weight's sign."""
    rows = weight.reshape(len(weight), -1)
    scale: Array = np.abs(rows).mean(axis=1, keepdims=True)
    return np.where(rows >= 0, scale, -scale).reshape(weight.shape)


def _weights(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = np.array([[0.5, -1.5, 1.0], [0.0, 0.2, -0.1]])
    yield Case("two channels, one 0", {"weight": by_hand})
    for shape, label in (
        ((4, 4), "4 × 4"),
        ((3, 7), "3 × 7"),
        ((5, 2, 3, 3), "filters"),
        ((2, 3, 4), "three axes"),
        ((1, 6), "one channel"),
        ((6, 1), "one weight a channel"),
    ):
        spread = 10.0 ** rng.uniform(-2, 1, size=(shape[0], *[1] * (len(shape) - 1)))
        yield Case(label, {"weight": spread * rng.normal(size=shape)})
    weight = rng.normal(size=(4, 9)) * (rng.random((4, 9)) < 0.4)
    weight[2] = 0
    yield Case("pruned, one channel all of it", {"weight": weight})
    yield Case("negative", {"weight": -rng.uniform(1, 2, size=(3, 5))})


binarize = Task(
    "binarize",
    kind="repair",
    points=1,
    section="11 · What goes wrong",
    reference=binarize_reference,
    draw=_weights,
    forbid=LIBRARIES,
    hints=(
        "Run it on `np.array([[0.03, -0.01, 0.0]])`. How large are the numbers that "
        "come back, and how many different ones are there?",
        "There are two faults. One: signs alone are ±1, however small the weights are. "
        "Two: `np.sign` has a third value, 0, for which one bit has no room.",
        "`np.abs(weight).mean(axis=..., keepdims=True)` over all axes but the first is "
        "the scale; `np.where(weight >= 0, scale, -scale)` has two values a channel.",
    ),
)


def _axes(weight: Array) -> tuple[int, ...]:
    return tuple(range(1, weight.ndim))


def _sizes(weight: Array) -> Array:
    scale: Array = np.abs(weight).mean(axis=_axes(weight), keepdims=True)
    return scale


@binarize.mistake
def as_given(weight: Array) -> Array:
    """Both faults of the given program are still in it.

    How large is what comes back, beside the weights? And how many values are there?
    """
    return np.sign(weight)


@binarize.mistake
def no_scale(weight: Array) -> Array:
    """There are two values now, but they are ±1, however small the weights are.

    Sign alone loses every layer's size, and it is not “mixed”: it is one bit
    everywhere. Give each channel the scale mean |w|.
    """
    return np.where(weight >= 0, 1.0, -1.0)


@binarize.mistake
def three_values(weight: Array) -> Array:
    """The scale is right, but `np.sign(0)` is 0: a third value, which no bit can hold.

    Let 0 count as positive.
    """
    return np.sign(weight) * _sizes(weight)


@binarize.mistake
def zero_taken_as_negative(weight: Array) -> Array:
    """You take 0 as negative; here 0 counts as positive: `>=`, not `>`."""
    scale = _sizes(weight)
    return np.where(weight > 0, scale, -scale)


@binarize.mistake
def one_scale_for_all(weight: Array) -> Array:
    """You use one scale for the whole tensor; give each channel its own."""
    scale: Array = np.abs(weight).mean()
    return np.where(weight >= 0, scale, -scale)


@binarize.mistake
def scale_from_the_wrong_axis(weight: Array) -> Array:
    """Your scales belong to the inputs: average over all axes but the *first*."""
    return np.moveaxis(binarize_reference(np.moveaxis(weight, 1, 0)), 0, 1)


@binarize.mistake
def last_axis_alone(weight: Array) -> Array:
    """You average each row of a filter by itself; a channel has one scale."""
    scale: Array = np.abs(weight).mean(axis=-1, keepdims=True)
    return np.where(weight >= 0, scale, -scale)


@binarize.mistake
def scale_from_the_largest(weight: Array) -> Array:
    """You scale by the largest size; the best scale for two values is the mean size."""
    scale: Array = np.abs(weight).max(axis=_axes(weight), keepdims=True)
    return np.where(weight >= 0, scale, -scale)


@binarize.mistake
def scale_from_the_standard_deviation(weight: Array) -> Array:
    """You scale by the standard deviation; what lies nearest is the mean of |w|."""
    scale: Array = weight.std(axis=_axes(weight), keepdims=True)
    return np.where(weight >= 0, scale, -scale)


@binarize.mistake
def root_mean_square(weight: Array) -> Array:
    """You scale by the root mean square; what lies nearest is the mean of |w|."""
    scale: Array = np.sqrt((weight**2).mean(axis=_axes(weight), keepdims=True))
    return np.where(weight >= 0, scale, -scale)


@binarize.mistake
def mean_with_signs(weight: Array) -> Array:
    """You average the weights with their signs, and they cancel: average |w|."""
    scale: Array = weight.mean(axis=_axes(weight), keepdims=True)
    return np.where(weight >= 0, scale, -scale)


@binarize.mistake
def zeros_not_counted(weight: Array) -> Array:
    """You average over the weights that are not 0; the zeros count too.

    They get the scale like all others.
    """
    size = np.abs(weight)
    n = np.maximum((size > 0).sum(axis=_axes(weight), keepdims=True), 1)
    scale: Array = size.sum(axis=_axes(weight), keepdims=True) / n
    return np.where(weight >= 0, scale, -scale)


@binarize.mistake
def summed(weight: Array) -> Array:
    """You scale by the sum of the sizes; take their mean."""
    scale: Array = np.abs(weight).sum(axis=_axes(weight), keepdims=True)
    return np.where(weight >= 0, scale, -scale)


@binarize.mistake
def first_axis_alone(weight: Array) -> Array:
    """`axis=0` averages *over* the channels, and mixes them: take all other axes."""
    scale: Array = np.abs(weight).mean(axis=0)
    return np.where(weight >= 0, scale, -scale)


@binarize.mistake
def second_axis_alone(weight: Array) -> Array:
    """For a matrix this is right; a filter has more axes than two.

    Average over all axes but the first.
    """
    scale: Array = np.abs(weight).mean(axis=1, keepdims=True)
    return np.where(weight >= 0, scale, -scale)


@binarize.mistake
def size_of_the_mean(weight: Array) -> Array:
    """You take the size of the mean, in which signs cancel: take the mean of sizes."""
    scale: Array = np.abs(weight.mean(axis=_axes(weight), keepdims=True))
    return np.where(weight >= 0, scale, -scale)


@binarize.mistake
def two_sizes(weight: Array) -> Array:
    """You average the two signs apart: here both numbers of a channel have *one* size.

    Two sizes would lie nearer, and need two scales a channel.
    """
    out = np.zeros(weight.shape)
    for channel, place in zip(weight, out, strict=True):
        for part in (channel >= 0, channel < 0):
            if part.any():
                place[part] = channel[part].mean()
    return out
