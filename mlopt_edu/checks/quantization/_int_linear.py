"""Task 4: a linear layer that computes with integers only, to the last bit."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Integers

Bytes = NDArray[np.int8]


def int_linear_reference(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """Add up in 32 bits, rescale with a product and a shift, clamp to 8 bits."""
    total = (x_q.astype(np.int64) - x_zero) @ w_q.astype(np.int64).T + bias_q
    doubled = (total * multiplier) >> (shift - 1)
    rescaled = (doubled + 1) >> 1
    clamped: Integers = np.clip(rescaled + y_zero, -128, 127)
    return clamped


def _layers(rng: np.random.Generator) -> Iterator[Case]:
    def case(
        label: str, rows: int, size: int, outputs: int, real: float, shift: int
    ) -> Case:
        return Case(
            label,
            {
                "x_q": rng.integers(-128, 128, size=(rows, size)).astype(np.int8),
                "x_zero": int(rng.integers(5, 40)),
                "w_q": rng.integers(-127, 128, size=(outputs, size)).astype(np.int8),
                "bias_q": rng.integers(-9000, 9000, size=outputs),
                "multiplier": round(real * 2**shift),
                "shift": shift,
                "y_zero": -int(rng.integers(5, 40)),
            },
        )

    yield case("two by two", 2, 2, 2, 0.004, 24)
    yield case("a batch", 6, 9, 4, 0.0011, 31)
    yield case("wide", 3, 300, 5, 0.0009, 29)
    yield case("one example", 1, 20, 7, 0.002, 27)
    yield case("one output", 5, 12, 1, 0.003, 20)
    yield case("most outputs too large", 4, 16, 6, 0.05, 30)
    halves = case("every other sum is half way", 8, 3, 5, 0.5, 31)
    small = {"x_q": halves.inputs["x_q"] // 40, "w_q": halves.inputs["w_q"] // 40}
    near = {"x_zero": 1, "bias_q": rng.integers(-9, 9, size=5)}
    yield Case(halves.label, {**halves.inputs, **small, **near})
    # (m 2^27 - 1) (m 2^27 + 1) by 2^55: half way but for 2^-55, and m^2 is odd.
    whole = case("a product of 58 bits", 1, 6, 3, 0.5, 55)
    m = 2 * int(rng.integers(1, 6)) + 1
    sums = np.array([m * 2**27 - 1, 1 - m * 2**27, int(rng.integers(0, 2**30))])
    layer = whole.inputs
    bias = sums - _total(layer["x_q"], layer["x_zero"], layer["w_q"], 0 * sums)[0]
    exact = {"bias_q": bias, "multiplier": m * 2**27 + 1}
    yield Case(whole.label, {**layer, **exact})


int_linear = Task(
    "int_linear",
    points=2,
    section="11 · Write it small",
    reference=int_linear_reference,
    draw=_layers,
    forbid=LIBRARIES,
    rtol=0,
    hints=(
        "`x_q` and `w_q` are of dtype int8, and int8 times int8 is int8 in NumPy: 100 "
        "times 2 is -56. What must you do before you multiply?",
        "`x_q.astype(np.int64) - x_zero` stands for the input, counted in steps. "
        "Multiply by the transposed weight, add the bias, then rescale.",
        "`(total * multiplier + 2 ** (shift - 1)) >> shift` rounds to the nearest and "
        "halves up. Then add `y_zero`, and clamp to -128 and 127 last.",
    ),
)


def _total(x_q: Bytes, x_zero: int, w_q: Bytes, bias_q: Integers) -> Integers:
    wide = x_q.astype(np.int64) - x_zero
    total: Integers = wide @ w_q.astype(np.int64).T + bias_q
    return total


def _out(total: Integers, multiplier: int, shift: int, y_zero: int) -> Integers:
    rescaled = (total * multiplier + 2 ** (shift - 1)) >> shift
    clamped: Integers = np.clip(rescaled + y_zero, -128, 127)
    return clamped


@int_linear.mistake
def sums_in_int8(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """You multiply and add in int8, where 100 times 2 is -56: widen both sides first.

    The sum of a row needs 32 bits, which is why hardware has int32 accumulators.
    """
    return _out((x_q - np.int8(x_zero)) @ w_q.T + bias_q, multiplier, shift, y_zero)


@int_linear.mistake
def sums_in_int16(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """16 bits hold one product of two int8 numbers, but not the sum of a few: use 32.

    127 times 127 is 16,129, and three of these are too many.
    """
    total = (x_q.astype(np.int16) - np.int16(x_zero)) @ w_q.astype(np.int16).T
    return _out(total + bias_q, multiplier, shift, y_zero)


@int_linear.mistake
def input_zero_point_left_out(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """The input's zero point is missing: the integer `x_zero` stands for 0.

    Subtract it from `x_q` before you multiply.
    """
    return _out(_total(x_q, 0, w_q, bias_q), multiplier, shift, y_zero)


@int_linear.mistake
def input_zero_point_added(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """You add the input's zero point; on the way *into* a sum it is subtracted."""
    return _out(_total(x_q, -x_zero, w_q, bias_q), multiplier, shift, y_zero)


@int_linear.mistake
def output_zero_point_left_out(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """The output's zero point is missing: add `y_zero` before you clamp."""
    return _out(_total(x_q, x_zero, w_q, bias_q), multiplier, shift, 0)


@int_linear.mistake
def output_zero_point_after_the_clamp(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """You clamp and then add `y_zero`, which leads out of the range: clamp last."""
    return _out(_total(x_q, x_zero, w_q, bias_q), multiplier, shift, 0) + y_zero


@int_linear.mistake
def not_clamped(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """Some outputs do not fit into int8: clamp to -128 and 127."""
    total = _total(x_q, x_zero, w_q, bias_q)
    outputs: Integers = ((total * multiplier + 2 ** (shift - 1)) >> shift) + y_zero
    return outputs


@int_linear.mistake
def wrapped_around(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """Outputs that are too large come out at the other end: clamp before the cast."""
    wide = not_clamped(x_q, x_zero, w_q, bias_q, multiplier, shift, y_zero)
    outputs: Integers = (wide + 128) % 256 - 128
    return outputs


@int_linear.mistake
def shift_rounds_down(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """A shift alone rounds down; add one half, `2 ** (shift - 1)`, before it."""
    total = _total(x_q, x_zero, w_q, bias_q)
    clamped: Integers = np.clip(((total * multiplier) >> shift) + y_zero, -128, 127)
    return clamped


@int_linear.mistake
def halves_to_even(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Array | Integers:
    """`np.round` takes halves to the nearest *even* number; this layer rounds them up.

    With a shift that is what adding one half does.
    """
    total = _total(x_q, x_zero, w_q, bias_q)
    clamped: Integers = np.clip(
        np.round(total * multiplier / 2**shift) + y_zero, -128, 127
    )
    return clamped


@int_linear.mistake
def product_in_32_bits(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """The sum fits into 32 bits, the sum times the multiplier does not: use 64.

    Even hardware forms this one product in 64 bits.
    """
    product = _total(x_q, x_zero, w_q, bias_q) * multiplier + 2 ** (shift - 1)
    narrow = (product + 2**31) % 2**32 - 2**31
    clamped: Integers = np.clip((narrow >> shift) + y_zero, -128, 127)
    return clamped


@int_linear.mistake
def bias_after_rescaling(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """You add the bias after rescaling; it is counted in the steps of the *sum*."""
    rescaled = not_clamped(x_q, x_zero, w_q, 0 * bias_q, multiplier, shift, y_zero)
    clamped: Integers = np.clip(rescaled + bias_q, -128, 127)
    return clamped


@int_linear.mistake
def bias_left_out(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """The bias is missing: it joins the sum before that is rescaled."""
    return _out(_total(x_q, x_zero, w_q, 0 * bias_q), multiplier, shift, y_zero)


@int_linear.mistake
def zero_point_subtracted_in_int8(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """You subtract the zero point in int8, where -120 less 20 is 116.

    Widen `x_q` first: `x_q.astype(np.int64) - x_zero`.
    """
    narrow = x_q - np.int8(x_zero)
    return _out(_total(narrow, 0, w_q, bias_q), multiplier, shift, y_zero)


@int_linear.mistake
def products_in_int8(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """You correct for the zero point, but `x_q @ w_q.T` itself is in int8.

    There 100 times 2 is -56: widen both before you multiply.
    """
    total = (x_q @ w_q.T).astype(np.int64) - x_zero * w_q.astype(np.int64).sum(axis=1)
    return _out(total + bias_q, multiplier, shift, y_zero)


@int_linear.mistake
def rescaled_in_floating_point(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Array | Integers:
    """You rescale in floating point: float64 has 53 bits, and the product up to 64.

    Add one half, `2 ** (shift - 1)`, and shift: then all bits count.
    """
    product = _total(x_q, x_zero, w_q, bias_q) * multiplier
    clamped: Integers = np.clip(np.floor(product / 2**shift + 0.5) + y_zero, -128, 127)
    return clamped


@int_linear.mistake
def halves_away_from_zero(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """You round halves away from 0, so -2.5 becomes -3; *up* is -2."""
    product = _total(x_q, x_zero, w_q, bias_q) * multiplier
    rescaled = np.sign(product) * ((np.abs(product) + 2 ** (shift - 1)) >> shift)
    clamped: Integers = np.clip(rescaled + y_zero, -128, 127)
    return clamped


@int_linear.mistake
def cut_off(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """You cut fractions off, towards 0: add one half, `2 ** (shift - 1)`, and shift."""
    product = _total(x_q, x_zero, w_q, bias_q) * multiplier
    rescaled = np.sign(product) * (np.abs(product) >> shift)
    clamped: Integers = np.clip(rescaled + y_zero, -128, 127)
    return clamped


@int_linear.mistake
def clamped_without_sign(
    x_q: Bytes,
    x_zero: int,
    w_q: Bytes,
    bias_q: Integers,
    multiplier: int,
    shift: int,
    y_zero: int,
) -> Integers:
    """You clamp to 0 and 255; these integers are signed: -128 to 127."""
    total = _total(x_q, x_zero, w_q, bias_q)
    rescaled = (total * multiplier + 2 ** (shift - 1)) >> shift
    clamped: Integers = np.clip(rescaled + y_zero, 0, 255)
    return clamped
