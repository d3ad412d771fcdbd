"""Task 3: a scale for each output channel."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Integers, largest, limits

Quantized = tuple[Integers, Array]


def quantize_per_channel_reference(weight: Array, bits: int) -> Quantized:
    """Let the largest weight of each channel be the largest integer."""
    rows = weight.reshape(len(weight), -1)
    scale = np.abs(rows).max(axis=1) / (2 ** (bits - 1) - 1)
    scale[scale == 0] = 1.0
    q = np.round(rows / scale[:, None]).astype(np.int64)
    return q.reshape(weight.shape), scale


def _weights(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = np.array([[0.9, -1.27, 0.3], [-0.07, 0.02, 0.0508]])
    yield Case("two channels", {"weight": by_hand, "bits": 8})
    for shape, bits, label in (
        ((4, 4), 8, "4 × 4"),
        ((5, 3), 8, "5 × 3"),
        ((3, 2, 2, 2), 8, "filters"),
        ((4, 3, 5), 6, "three axes, six bits"),
        ((6, 7), 4, "four bits"),
        ((3, 8), 2, "two bits: -1, 0 and 1"),
        ((1, 5), 8, "one channel"),
        ((5, 1), 5, "one weight a channel"),
        ((4, 9), 12, "twelve bits"),
    ):
        spread = 10.0 ** rng.uniform(-3, 1, size=(shape[0], *[1] * (len(shape) - 1)))
        yield Case(label, {"weight": spread * rng.normal(size=shape), "bits": bits})
    weight = rng.normal(size=(4, 6))
    weight[[0, 2]] = 0
    yield Case("two channels of zeros", {"weight": weight, "bits": 8})
    negative = -rng.uniform(1, 3, size=(3, 4))
    yield Case("only negative weights", {"weight": negative, "bits": 8})
    tiny = 1e-20 * rng.normal(size=(2, 5))
    yield Case("tiny weights", {"weight": tiny, "bits": 8})


quantize_per_channel = Task(
    "quantize_per_channel",
    points=2,
    section="11 · Write it small",
    reference=quantize_per_channel_reference,
    draw=_weights,
    forbid=LIBRARIES,
    hints=(
        "A channel is `weight[i]`, with all its axes. What is the largest size in it, "
        "and which integer should that become?",
        "Make a matrix of it, `weight.reshape(len(weight), -1)`: one row a channel. "
        "Then the scale is the largest size of the row by `2**(bits - 1) - 1`.",
        "Divide by `scale[:, None]`, so that each row meets its own scale. Where a "
        "scale is 0, set it to 1 before you divide; at the end restore the shape.",
    ),
)


def _with(weight: Array, scale: Array) -> Quantized:
    """Quantize with these scales, given with axes that broadcast."""
    scale = np.where(scale == 0, 1.0, scale)
    return np.round(weight / scale).astype(np.int64), scale


@quantize_per_channel.mistake
def one_scale_for_all(weight: Array, bits: int) -> Quantized:
    """You use one scale for the whole tensor, so small channels get few integers.

    Give each channel its own.
    """
    scale = np.full((len(weight), 1), np.abs(weight).max() / limits(bits)[1])
    q, scale = _with(weight.reshape(len(weight), -1), scale)
    return q.reshape(weight.shape), scale[:, 0]


@quantize_per_channel.mistake
def scale_from_the_wrong_axis(weight: Array, bits: int) -> Quantized:
    """Your scales belong to the *inputs*: you took the maximum over the wrong axis.

    A channel is `weight[i]`: take the maximum over all axes but the first.
    """
    other = np.moveaxis(weight, 1, 0)
    q, scale = _with(other, largest(other) / limits(bits)[1])
    return np.moveaxis(q, 0, 1), scale.ravel()


@quantize_per_channel.mistake
def last_axis_alone(weight: Array, bits: int) -> Quantized:
    """A filter has more than one row: take the maximum over *all* axes but the first.

    `axis=-1` gives a scale for each row of each filter.
    """
    scale = np.abs(weight).max(axis=-1, keepdims=True) / limits(bits)[1]
    q, scale = _with(weight, scale)
    return q, scale[..., 0]


@quantize_per_channel.mistake
def signs_in_the_maximum(weight: Array, bits: int) -> Quantized:
    """You take the largest weight with its sign, so -1.27 is overlooked: use |w|."""
    axes = tuple(range(1, weight.ndim))
    top = weight.max(axis=axes, keepdims=True)
    q, scale = _with(weight, top / limits(bits)[1])
    return q, scale.ravel()


@quantize_per_channel.mistake
def one_integer_too_many(weight: Array, bits: int) -> Quantized:
    """You divide by 128, but the largest integer is 127: `2**(bits - 1) - 1`."""
    q, scale = _with(weight, largest(weight) / 2 ** (bits - 1))
    return np.clip(q, *limits(bits)), scale.ravel()


@quantize_per_channel.mistake
def whole_range_on_one_side(weight: Array, bits: int) -> Quantized:
    """You divide by 255, as if the largest size had all the integers for itself.

    Half of them are negative: divide by `2**(bits - 1) - 1`.
    """
    scale = largest(weight) / (2**bits - 1)
    q = np.round(weight / np.where(scale == 0, 1.0, scale)).astype(np.int64)
    return q, np.where(scale == 0, 1.0, scale).ravel()


@quantize_per_channel.mistake
def range_for_largest(weight: Array, bits: int) -> Quantized:
    """Your scale spreads the range from smallest to largest, as an affine grid does.

    Without a zero point 0 must be in the middle: use the largest |w|.
    """
    axes = tuple(range(1, weight.ndim))
    width = np.ptp(weight, axis=axes, keepdims=True)
    q, scale = _with(weight, width / (2**bits - 1))
    return q, scale.ravel()


@quantize_per_channel.mistake
def zeros_by_zero(weight: Array, bits: int) -> tuple[Array, Array]:
    """A channel of zeros gives 0 / 0, which is not a number: give it the scale 1."""
    q, scale = quantize_per_channel_reference(weight, bits)
    empty = largest(weight) == 0
    return np.where(empty, np.nan, q), np.where(empty.ravel(), 0.0, scale)


@quantize_per_channel.mistake
def zeros_scaled_by_zero(weight: Array, bits: int) -> Quantized:
    """The integers are right, but a channel of zeros has the scale 1 here, not 0.

    Else whoever divides by it next is in trouble.
    """
    q, scale = quantize_per_channel_reference(weight, bits)
    return q, np.where(largest(weight).ravel() == 0, 0.0, scale)


@quantize_per_channel.mistake
def cut_off(weight: Array, bits: int) -> Quantized:
    """You cut fractions off, so every weight moves towards 0: round first."""
    _, scale = quantize_per_channel_reference(weight, bits)
    shaped = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return np.trunc(weight / shaped).astype(np.int64), scale


@quantize_per_channel.mistake
def back_to_numbers(weight: Array, bits: int) -> tuple[Array, Array]:
    """You return the numbers that the integers stand for; return the integers."""
    q, scale = quantize_per_channel_reference(weight, bits)
    return q * scale.reshape(-1, *[1] * (weight.ndim - 1)), scale


@quantize_per_channel.mistake
def scale_first(weight: Array, bits: int) -> tuple[Array, Integers]:
    """The order is the other one: the integers first, then the scales."""
    q, scale = quantize_per_channel_reference(weight, bits)
    return scale, q


@quantize_per_channel.mistake
def first_axis_alone(weight: Array, bits: int) -> Quantized:
    """`axis=0` looks for the maximum *among* the channels, and mixes them.

    It gives a scale for each input. Take the maximum over all other axes.
    """
    return _with(weight, np.abs(weight).max(axis=0) / limits(bits)[1])


@quantize_per_channel.mistake
def second_axis_alone(weight: Array, bits: int) -> Quantized:
    """For a matrix this is right; a filter has more axes than two.

    `axis=1` leaves the others: take the maximum over all axes but the first.
    """
    scale = np.abs(weight).max(axis=1, keepdims=True) / limits(bits)[1]
    q, scale = _with(weight, scale)
    return q, scale[:, 0]


@quantize_per_channel.mistake
def largest_one_too_many(weight: Array, bits: int) -> Quantized:
    """Your largest integer is 128, and 8 bits end at 127: `2**(bits - 1) - 1`."""
    q, scale = _with(weight, largest(weight) / 2 ** (bits - 1))
    return q, scale.ravel()


@quantize_per_channel.mistake
def steps_from_end_to_end(weight: Array, bits: int) -> Quantized:
    """You spread 255 steps from -max to max, so 0 lies between two integers.

    The largest size becomes 127: divide by `2**(bits - 1) - 1`.
    """
    q, scale = _with(weight, 2 * largest(weight) / (2**bits - 1))
    return np.clip(q, *limits(bits)), scale.ravel()


@quantize_per_channel.mistake
def always_eight_bits(weight: Array, bits: int) -> Quantized:
    """You quantize to 8 bits whatever `bits` says."""
    return quantize_per_channel_reference(weight, 8)


@quantize_per_channel.mistake
def largest_of_zeros_taken_for_one(weight: Array, bits: int) -> Quantized:
    """In a channel of zeros you set the largest size to 1; its *scale* is 1."""
    q, scale = quantize_per_channel_reference(weight, bits)
    empty = largest(weight).ravel() == 0
    return q, np.where(empty, 1 / limits(bits)[1], scale)


@quantize_per_channel.mistake
def kept_in_int8(weight: Array, bits: int) -> tuple[NDArray[np.int8], Array]:
    """Your integers are of dtype int8, which holds no more than 8 bits."""
    q, scale = quantize_per_channel_reference(weight, bits)
    return q.astype(np.int8), scale
