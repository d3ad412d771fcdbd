"""Task 4: a loop that clips the wrong gradient and steps into infinity, to mend."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task

Array = NDArray[np.float64]


def _half(scaled: Array) -> Array:
    """Round to fp16, as the hardware does, and go on in float64."""
    with np.errstate(over="ignore"):  # the caller looks for the infinities
        return scaled.astype(np.float16).astype(np.float64)


def scaled_training_reference(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    max_norm: float,
    scale: float,
    steps: int,
) -> tuple[Array, float]:
    """Unscale, then clip; where fp16 overflows, skip and halve the scale."""
    w = w0
    for _ in range(steps):
        slope = X.T @ (X @ w - y) / len(y)
        half = _half(scale * slope)
        if not np.isfinite(half).all():
            scale = scale / 2
            continue
        grad = half / scale
        norm = np.linalg.norm(grad)
        if norm > max_norm:
            grad = grad * (max_norm / norm)
        w = w - lr * grad
    return w, scale


def _fits(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, size, lr, max_norm, scale, steps, label in (
        (8, 2, 1.0, 0.3, 0.5, 64.0, 4, "a limit that clips"),
        (8, 2, 1.0, 0.3, 100.0, 64.0, 4, "a limit that does not"),
        (9, 3, 1e-7, 0.2, 1.0, 2.0**16, 12, "gradients near 1e-7"),
        (7, 1, 3.0, 0.1, 2.0, 2.0**19, 15, "one weight, the scale too large"),
        (15, 4, 20.0, 0.1, 5.0, 2.0**20, 25, "overflows, then clipping"),
        (12, 2, 5.0, 0.2, 1e3, 2.0**24, 9, "nothing left but a few steps"),
        (10, 3, 1.0, 0.1, 1.0, 2.0**40, 6, "an overflow in every step"),
        (6, 2, 1.0, 0.1, 1.0, 1.0, 1, "one step, scale 1"),
        (6, 2, 1.0, 0.1, 1.0, 8.0, 0, "no step"),
    ):
        X = rng.normal(size=(n, d))
        w0 = size * rng.uniform(1, 2, size=d)
        y = X @ (-w0) + 0.1 * size * rng.normal(size=n)
        limits = {"lr": lr, "max_norm": max_norm, "scale": scale, "steps": steps}
        yield Case(label, {"X": X, "y": y, "w0": w0, **limits})
    limits = {"lr": 0.1, "max_norm": 1.0, "scale": 1024.0, "steps": 3}
    X = np.eye(2)
    yield Case("a gradient of 0", {"X": X, "y": np.ones(2), "w0": np.ones(2), **limits})
    # The gradient is w / 2: with 102400 and 4096 the whole step must be skipped.
    for start, lr, scale, steps, label in (
        (50.0, 0.5, 4096.0, 3, "one entry overflows"),
        (126.0, 0.5, 1024.0, 2, "64512, which fp16 can hold"),
        (2.0, 5.0, 2.0**14, 7, "lr too large: an overflow after good steps"),
    ):
        limits = {"lr": lr, "max_norm": 100.0, "scale": scale, "steps": steps}
        w0 = np.array([start, 2.0])
        yield Case(label, {"X": X, "y": np.zeros(2), "w0": w0, **limits})
    limits = {"lr": 0.5, "max_norm": 1e6, "scale": 1.0, "steps": 2}
    w0 = np.array([-140_000.0, 2.0])
    inputs = {"X": X, "y": np.zeros(2), "w0": w0, **limits}
    yield Case("minus infinity, scale 1", inputs)


scaled_training = Task(
    "scaled_training",
    kind="repair",
    points=3,
    section="16 · What goes wrong",
    reference=scaled_training_reference,
    draw=_fits,
    forbid=("mlopt_edu.mixed_precision", "torch.amp", "torch.cuda.amp", "torch.optim"),
    hints=(
        "Print the norm that is compared with `max_norm`, once with `scale=1` and "
        "once with `scale=1024`. Should it change?",
        "There are two faults. One: the order of unscaling and clipping. Two: what "
        "happens when an entry of the fp16 gradient is infinite.",
        "Right after the rounding: `if not np.isfinite(grad).all(): scale = scale / 2; "
        "continue`. Then `grad = grad / scale`, and only then the norm.",
    ),
)


def _clipped(grad: Array, max_norm: float) -> Array:
    norm = np.linalg.norm(grad)
    return grad * (max_norm / norm) if norm > max_norm else grad


def _walk(
    X: Array,
    y: Array,
    w0: Array,
    lr: float,
    scale: float,
    steps: int,
    direction: Callable[[Array, float], Array],
    *,
    skip: bool = True,
) -> tuple[Array, float]:
    """Step along `direction(scaled slope, scale)`; skip overflows if `skip`."""
    w = w0
    for _ in range(steps):
        scaled = scale * (X.T @ (X @ w - y) / len(y))
        if skip and not np.isfinite(_half(scaled)).all():
            scale = scale / 2
            continue
        w = w - lr * direction(scaled, scale)
    return w, scale


@scaled_training.mistake
def as_given(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """Both faults of the given program are still in it.

    Which gradient does `max_norm` speak of? And what does an infinite one do to `w`?
    """

    def direction(scaled: Array, scale: float) -> Array:
        return _clipped(_half(scaled), max_norm) / scale

    return _walk(X, y, w0, lr, scale, steps, direction, skip=False)


@scaled_training.mistake
def clipped_before_unscaling(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """You still clip the *scaled* gradient: the limit is `scale` times too small.

    Divide by the scale first, then take the norm.
    """

    def direction(scaled: Array, scale: float) -> Array:
        return _clipped(_half(scaled), max_norm) / scale

    return _walk(X, y, w0, lr, scale, steps, direction)


@scaled_training.mistake
def steps_into_infinity(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """The order is right, but an infinite gradient still moves `w`: it becomes NaN.

    Clipping does not help: inf times 0 is NaN. Skip the step and halve the scale.
    """

    def direction(scaled: Array, scale: float) -> Array:
        return _clipped(_half(scaled) / scale, max_norm)

    return _walk(X, y, w0, lr, scale, steps, direction, skip=False)


@scaled_training.mistake
def no_scaling(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """You round the gradient to fp16 without the scale: small ones become 0.

    Multiply by `scale` before the rounding, and divide after it.
    """

    def direction(scaled: Array, scale: float) -> Array:
        return _clipped(_half(scaled / scale), max_norm)

    w, _ = _walk(X, y, w0, lr, 1.0, steps, direction)
    return w, scale


@scaled_training.mistake
def no_rounding(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """The gradient no longer passes through fp16. Keep that line: it is the hardware.

    Only the order and the overflow need mending.
    """

    def direction(scaled: Array, scale: float) -> Array:
        return _clipped(scaled / scale, max_norm)

    return _walk(X, y, w0, lr, scale, steps, direction)


@scaled_training.mistake
def unscaled_in_half(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """You divide by the scale in fp16, and lose the small gradients after all.

    Convert to float64 first, as the given program does.
    """

    def direction(scaled: Array, scale: float) -> Array:
        # Converted as NumPy does it, 65536 becomes infinite and the quotient 0.
        half = _half(scaled).astype(np.float16) / np.float16(scale)
        return _clipped(half.astype(np.float64), max_norm)

    return _walk(X, y, w0, lr, scale, steps, direction)


@scaled_training.mistake
def never_unscaled(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """The gradient is never divided by the scale, so you clip every step."""

    def direction(scaled: Array, scale: float) -> Array:
        return _clipped(_half(scaled), max_norm)

    return _walk(X, y, w0, lr, scale, steps, direction)


@scaled_training.mistake
def infinite_entries_zeroed(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """You set infinite entries to 0 and take the step with the rest.

    That is another direction than the gradient's. Skip the whole step.
    """
    w = w0
    for _ in range(steps):
        half = _half(scale * (X.T @ (X @ w - y) / len(y)))
        finite = np.isfinite(half)
        grad = np.where(finite, half, 0.0) / scale
        w = w - lr * _clipped(grad, max_norm)
        scale = scale if finite.all() else scale / 2
    return w, scale


@scaled_training.mistake
def scale_never_halved(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """You skip the step and keep the scale, so the next one overflows just the same.

    Halve the scale before you go on.
    """

    def direction(scaled: Array, scale: float) -> Array:
        half = _half(scaled)
        grad = half if np.isfinite(half).all() else np.zeros(len(half))
        return _clipped(grad / scale, max_norm)

    return _walk(X, y, w0, lr, scale, steps, direction, skip=False)


@scaled_training.mistake
def stops_at_an_overflow(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """You leave the loop at an overflow. Skip that step only: `continue`."""
    w = w0
    for _ in range(steps):
        half = _half(scale * (X.T @ (X @ w - y) / len(y)))
        if not np.isfinite(half).all():
            return w, scale / 2
        w = w - lr * _clipped(half / scale, max_norm)
    return w, scale


@scaled_training.mistake
def skipped_steps_repeated(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """You go on until `steps` updates are made; a skipped step counts as a step."""
    w, made = w0, 0
    while made < steps:
        half = _half(scale * (X.T @ (X @ w - y) / len(y)))
        if not np.isfinite(half).all():
            scale = scale / 2
            continue
        w, made = w - lr * _clipped(half / scale, max_norm), made + 1
    return w, scale


@scaled_training.mistake
def every_step_stretched(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """You bring every gradient to the norm `max_norm`, the short ones too.

    Clipping only shortens: keep the `if`.
    """

    def direction(scaled: Array, scale: float) -> Array:
        grad = _half(scaled) / scale
        norm = np.linalg.norm(grad)
        return grad * (max_norm / norm) if norm else grad

    return _walk(X, y, w0, lr, scale, steps, direction)


@scaled_training.mistake
def scale_forgotten(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """The walk is right, but you return the scale of the start, not of the end."""
    w, _ = scaled_training_reference(X, y, w0, lr, max_norm, scale, steps)
    return w, scale


@scaled_training.mistake
def unscaled_twice(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """You divide by the scale twice: before the clipping and still in the step."""

    def direction(scaled: Array, scale: float) -> Array:
        return _clipped(_half(scaled) / scale, max_norm) / scale

    return _walk(X, y, w0, lr, scale, steps, direction)


@scaled_training.mistake
def minus_infinity_missed(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """You look for +inf only; a large negative entry overflows to -inf.

    `np.isinf` and `np.isfinite` know both.
    """
    w = w0
    for _ in range(steps):
        half = _half(scale * (X.T @ (X @ w - y) / len(y)))
        if np.any(half == np.inf):
            scale = scale / 2
            continue
        w = w - lr * _clipped(half / scale, max_norm)
    return w, scale


@scaled_training.mistake
def nan_for_overflow(
    X: Array, y: Array, w0: Array, lr: float, max_norm: float, scale: float, steps: int
) -> tuple[Array, float]:
    """You look for nan; an overflow in fp16 is *infinite*. nan comes one step later.

    Ask `np.isfinite`, which is False for both.
    """
    w = w0
    for _ in range(steps):
        half = _half(scale * (X.T @ (X @ w - y) / len(y)))
        if np.isnan(half).any():
            scale = scale / 2
            continue
        w = w - lr * _clipped(half / scale, max_norm)
    return w, scale
