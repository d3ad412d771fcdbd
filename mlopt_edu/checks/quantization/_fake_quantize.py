"""Task 9: quantize and come back, with a gradient that goes straight through."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, limits

Pass = tuple[Array, Array]


def fake_quantize_reference(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """Return what the integers stand for, and the gradient where none was clamped."""
    q = np.round(x / scale) + zero_point
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    inside = (q >= lowest) & (q <= highest)
    return scale * (np.clip(q, lowest, highest) - zero_point), grad * inside


def _numbers(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = np.array([0.26, -0.74, 1.7, 1.9, -2.2, -2.4])
    grad = np.array([1.0, -2.0, 3.0, 0.5, 4.0, -1.5])
    inputs = {"x": by_hand, "scale": 0.5, "zero_point": 0, "bits": 3, "grad": grad}
    yield Case("six numbers, three bits", inputs)
    for shape, zero_point, bits, scale, label in (
        ((4, 5), 0, 8, 0.03, "8 bits"),
        ((4, 5), -17, 8, 0.02, "with a zero point"),
        ((3, 2, 2, 2), 2, 4, 0.7, "filters, four bits"),
        ((12,), -1, 2, 2.5, "two bits"),
        ((5, 4), 900, 16, 1e-4, "sixteen bits"),
    ):
        lowest, highest = limits(bits)
        beyond = 2 ** (bits - 2)
        steps = rng.integers(lowest - beyond, highest + beyond + 1, size=shape)
        # Both ends, from both sides and beyond the last integer, but not clamped.
        steps.flat[:6] = lowest, lowest, highest, highest, lowest - 1, highest + 1
        part = rng.uniform(-0.4, 0.4, size=shape)
        part.flat[:6] = -0.3, 0.3, -0.3, 0.3, 0.3, -0.3
        x = scale * (steps - zero_point + part)
        inputs = {"x": x, "scale": scale, "zero_point": zero_point, "bits": bits}
        yield Case(label, {**inputs, "grad": rng.normal(size=shape)})
    inputs = {"scale": 0.1, "zero_point": 5, "bits": 8, "grad": np.ones((2, 3))}
    yield Case("zeros", {"x": np.zeros((2, 3)), **inputs})


fake_quantize = Task(
    "fake_quantize",
    points=2,
    section="11 · Derive",
    reference=fake_quantize_reference,
    draw=_numbers,
    forbid=LIBRARIES,
    seconds=10.0,  # the first backward pass of torch imports much
    hints=(
        "The derivative of rounding is 0 almost everywhere. What would training do "
        "with it? The straight-through estimator takes rounding for the identity.",
        "Clamping keeps its true derivative: 1 inside, 0 where the number was clamped. "
        "Compute the integers once, before the clamp, and look which fit.",
        "`q = np.round(x / scale) + zero_point`; the value is `scale * (np.clip(q, "
        "lowest, highest) - zero_point)`, and the gradient is `grad` where `lowest <= "
        "q <= highest`.",
    ),
)


def _value(x: Array, scale: float, zero_point: int, bits: int) -> Array:
    q = np.clip(np.round(x / scale) + zero_point, *limits(bits))
    return np.asarray(scale * (q - zero_point))


@fake_quantize.mistake
def no_gradient(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """Your gradient is 0 everywhere, as that of rounding is: nothing would ever learn.

    Straight through means to take rounding for the identity on the way back.
    """
    return _value(x, scale, zero_point, bits), np.zeros(x.shape)


@fake_quantize.mistake
def gradient_of_the_clamped(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """Numbers that were clamped get a gradient too, but they do not move the output.

    It must be 0 there.
    """
    return _value(x, scale, zero_point, bits), grad * 1


@fake_quantize.mistake
def gradient_only_of_the_clamped(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """It is the other way round: the gradient is 0 where a number *was* clamped."""
    value, inside = fake_quantize_reference(x, scale, zero_point, bits, grad)
    return value, grad - inside


@fake_quantize.mistake
def ends_left_out(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """Numbers that round to the lowest or highest integer need no clamp: `<=`, `>=`."""
    lowest, highest = limits(bits)
    q = np.round(x / scale) + zero_point
    inside = (q > lowest) & (q < highest)
    return _value(x, scale, zero_point, bits), grad * inside


@fake_quantize.mistake
def looked_before_rounding(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """127.3 becomes 127 without a clamp: look whether the *rounded* integer fits."""
    lowest, highest = limits(bits)
    exact = x / scale + zero_point
    inside = (exact >= lowest) & (exact <= highest)
    return _value(x, scale, zero_point, bits), grad * inside


@fake_quantize.mistake
def zero_point_left_out_of_the_mask(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """The value is right; your gradient's mask lacks the zero point.

    The integer that must fit is `np.round(x / scale) + zero_point`.
    """
    lowest, highest = limits(bits)
    q = np.round(x / scale)
    inside = (q >= lowest) & (q <= highest)
    return _value(x, scale, zero_point, bits), grad * inside


@fake_quantize.mistake
def integers_returned(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """You return the integers; *fake* quantization returns what they stand for."""
    value, inside = fake_quantize_reference(x, scale, zero_point, bits, grad)
    return np.round(value / scale) + zero_point, inside


@fake_quantize.mistake
def zero_point_left_on(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """On the way back the zero point is subtracted before you multiply by the scale."""
    value, inside = fake_quantize_reference(x, scale, zero_point, bits, grad)
    return value + scale * zero_point, inside


@fake_quantize.mistake
def gradient_times_the_scale(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """You multiply the gradient by the scale; dividing and multiplying cancel out."""
    value, inside = fake_quantize_reference(x, scale, zero_point, bits, grad)
    return value, inside * scale


@fake_quantize.mistake
def gradient_by_the_scale(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """You divide the gradient by the scale; dividing and multiplying cancel out."""
    value, inside = fake_quantize_reference(x, scale, zero_point, bits, grad)
    return value, inside / scale


@fake_quantize.mistake
def mask_returned(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """You return the mask alone: multiply it by `grad`, as the chain rule says."""
    value, inside = fake_quantize_reference(x, scale, zero_point, bits, 0 * grad + 1)
    return value, inside


@fake_quantize.mistake
def not_clamped(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """The gradient is right, but your value is not clamped to the range of `bits`."""
    _, inside = fake_quantize_reference(x, scale, zero_point, bits, grad)
    return scale * np.round(x / scale), inside


@fake_quantize.mistake
def not_rounded(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """You clamp but do not round: straight through is for the gradient alone."""
    _, inside = fake_quantize_reference(x, scale, zero_point, bits, grad)
    q = np.clip(x / scale + zero_point, *limits(bits))
    return scale * (q - zero_point), inside


@fake_quantize.mistake
def gradient_first(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """The order is the other one: the value first, then the gradient."""
    value, inside = fake_quantize_reference(x, scale, zero_point, bits, grad)
    return inside, value


@fake_quantize.mistake
def numbers_compared_with_integers(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """Your mask compares `x` itself with the ends, which count in steps.

    Compare the rounded integer, `np.round(x / scale) + zero_point`.
    """
    lowest, highest = limits(bits)
    inside = (x >= lowest) & (x <= highest)
    return _value(x, scale, zero_point, bits), grad * inside


@fake_quantize.mistake
def zero_point_forgotten(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """You never use the zero point: it says which numbers fit between the ends."""
    return fake_quantize_reference(x, scale, 0, bits, grad)


@fake_quantize.mistake
def zero_point_added_twice(
    x: Array, scale: float, zero_point: int, bits: int, grad: Array
) -> Pass:
    """On the way back you add the zero point once more; there it is subtracted."""
    value, back = fake_quantize_reference(x, scale, zero_point, bits, grad)
    return value + 2 * scale * zero_point, back
