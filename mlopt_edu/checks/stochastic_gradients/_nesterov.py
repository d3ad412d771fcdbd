"""Task 7: look ahead before you take the gradient."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._task import Task
from ._heavy_ball import heavy_ball_reference
from ._problem import Array, ravines


def nesterov_reference(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """Every point w that Nesterov's momentum visits, the start included."""
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        ahead = w - lr * momentum * velocity
        velocity = momentum * velocity + curvatures * ahead
        w = w - lr * velocity
        path.append(w)
    return np.array(path)


def _path(_: Mapping[str, Any], value: Any) -> tuple[Any, Any]:
    return value[:, 0], value[:, 1]


nesterov = Task(
    "nesterov",
    points=3,
    section="02 · Derive",
    reference=nesterov_reference,
    draw=ravines,
    forbid=("torch.optim", "mlopt_edu.optim"),
    picture=_path,
    axes=("w[0]", "w[1]"),
    hints=(
        "Start from your `heavy_ball`. Only one thing changes: the point at which the "
        "gradient is taken.",
        "If there were no gradient in this step, the velocity would become `momentum * "
        "velocity`, and you would move by `lr` times that. Where would you be?",
        "ahead = w - lr * momentum * velocity. The gradient is curvatures * ahead. The "
        "rest is as in task 6, and the move starts from `w`, not from `ahead`.",
    ),
)


@nesterov.mistake
def look_ahead_left_out(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """This is the heavy ball: the gradient is taken at `w`; the look-ahead is left out.

    Take it where the velocity alone would carry you: w - lr * momentum * velocity.
    """
    return heavy_ball_reference(curvatures, w0, lrs, momentum)


def _walk(
    curvatures: Array, w0: Array, lrs: Array, momentum: float, *, ahead: Any
) -> Array:
    """Walk with a wrong look-ahead point, `ahead(w, lr, velocity)`."""
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        slope = curvatures * ahead(w, lr, velocity)
        velocity = momentum * velocity + slope
        w = w - lr * velocity
        path.append(w)
    return np.array(path)


@nesterov.mistake
def look_ahead_without_lr(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """`lr` is missing in the look-ahead: the velocity holds gradients, not steps.

    Without lr you look far beyond where you would go.
    """
    return _walk(curvatures, w0, lrs, momentum, ahead=lambda w, lr, v: w - momentum * v)


@nesterov.mistake
def look_ahead_without_momentum(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """`momentum` is missing in the look-ahead: the old velocity fades before it moves.

    Look ahead along `momentum * velocity`.
    """
    return _walk(curvatures, w0, lrs, momentum, ahead=lambda w, lr, v: w - lr * v)


@nesterov.mistake
def looks_back(curvatures: Array, w0: Array, lrs: Array, momentum: float) -> Array:
    """You look *back*: the velocity points uphill, so subtract it here too."""
    return _walk(
        curvatures, w0, lrs, momentum, ahead=lambda w, lr, v: w + lr * momentum * v
    )


@nesterov.mistake
def one_lr_late(curvatures: Array, w0: Array, lrs: Array, momentum: float) -> Array:
    """You look ahead with the lr of the step *before*; use the lr of this step.

    It is this step's move that you foresee.
    """
    w, velocity, path, before = w0, np.zeros_like(w0), [w0], 0.0
    for lr in lrs:
        ahead = w - before * momentum * velocity
        velocity = momentum * velocity + curvatures * ahead
        w, before = w - lr * velocity, lr
        path.append(w)
    return np.array(path)


@nesterov.mistake
def moves_from_the_look_ahead(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """The move starts from the look-ahead point, so the old velocity counts twice.

    Look from there, and move from `w`.
    """
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        ahead = w - lr * momentum * velocity
        velocity = momentum * velocity + curvatures * ahead
        w = ahead - lr * velocity
        path.append(w)
    return np.array(path)


@nesterov.mistake
def points_of_torch(curvatures: Array, w0: Array, lrs: Array, momentum: float) -> Array:
    """These are the points that torch keeps: with a constant lr, the look-ahead points.

    Nothing is wrong with them, but you are asked for the points that the velocity
    leads to: gradient at the look-ahead, and the move from `w`.
    """
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        slope = curvatures * w
        velocity = momentum * velocity + slope
        w = w - lr * (slope + momentum * velocity)
        path.append(w)
    return np.array(path)


@nesterov.mistake
def look_ahead_points(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """You return the look-ahead points; return the points `w` that you reach."""
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        ahead = w - lr * momentum * velocity
        velocity = momentum * velocity + curvatures * ahead
        w = w - lr * velocity
        path.append(ahead)
    return np.array(path)


@nesterov.mistake
def lr_inside_the_velocity(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """`lr` is inside the velocity, as in Sutskever's form: old steps keep their old lr.

    That is the same only while lr is constant. Here the velocity holds gradients.
    """
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        slope = curvatures * (w - momentum * velocity)
        velocity = momentum * velocity + lr * slope
        w = w - velocity
        path.append(w)
    return np.array(path)


@nesterov.mistake
def look_ahead_by_the_new_velocity(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """You look ahead along a velocity that already holds the gradient at `w`.

    Two gradients a step is one too many: look along the *old* velocity.
    """
    return _walk(
        curvatures,
        w0,
        lrs,
        momentum,
        ahead=lambda w, lr, v: w - lr * (momentum * v + curvatures * w),
    )


@nesterov.mistake
def look_ahead_but_no_velocity(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """The gradient is right, but the move leaves out the old velocity.

    Keep it in: velocity = momentum * velocity + gradient, and move along that.
    """
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        velocity = curvatures * (w - lr * momentum * velocity)
        w = w - lr * velocity
        path.append(w)
    return np.array(path)


@nesterov.mistake
def dampened(curvatures: Array, w0: Array, lrs: Array, momentum: float) -> Array:
    """You weigh the gradient by 1 - momentum; here it enters with weight 1."""
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        ahead = w - lr * momentum * velocity
        velocity = momentum * velocity + (1 - momentum) * curvatures * ahead
        w = w - lr * velocity
        path.append(w)
    return np.array(path)


@nesterov.mistake
def applied_before_updated(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """You move along the old velocity and renew it then: the first step goes nowhere.

    Renew the velocity, then move along it.
    """
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        ahead = w - lr * momentum * velocity
        new = momentum * velocity + curvatures * ahead
        w, velocity = w - lr * velocity, new
        path.append(w)
    return np.array(path)


@nesterov.mistake
def climbs(curvatures: Array, w0: Array, lrs: Array, momentum: float) -> Array:
    """You climb: the velocity adds up gradients, which point uphill. Subtract it."""
    return nesterov_reference(curvatures, w0, -lrs, momentum)
