"""Task 6: momentum, as torch writes it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._task import Task
from ._problem import Array, ravines


def heavy_ball_reference(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """Every point that descent with momentum visits, the start included."""
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        velocity = momentum * velocity + curvatures * w
        w = w - lr * velocity
        path.append(w)
    return np.array(path)


def _path(_: Mapping[str, Any], value: Any) -> tuple[Any, Any]:
    return value[:, 0], value[:, 1]


heavy_ball = Task(
    "heavy_ball",
    points=2,
    section="02 · Write it small",
    reference=heavy_ball_reference,
    draw=ravines,
    forbid=("torch.optim", "mlopt_edu.optim"),
    picture=_path,
    axes=("w[0]", "w[1]"),
    hints=(
        "Do two steps on paper with one weight. The first is a step of plain descent; "
        "what does the second add?",
        "Before the loop, the velocity is zeros. In a step: first the new velocity, "
        "from the old one and the gradient, then the move along it.",
        "velocity = momentum * velocity + curvatures * w, and then w = w - lr * "
        "velocity. The gradient enters unscaled; `lr` appears in the move only.",
    ),
)


@heavy_ball.mistake
def applied_before_updated(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """You move first and renew the velocity then, so the first step goes nowhere.

    Each gradient comes one step late. Renew the velocity, then move along it.
    """
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        new = momentum * velocity + curvatures * w
        w = w - lr * velocity
        velocity = new
        path.append(w)
    return np.array(path)


@heavy_ball.mistake
def applied_before_updated_in_place(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """You move along the old velocity and renew it then, from the *new* point.

    The first step goes nowhere. Renew the velocity first, at the point you leave.
    """
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        w = w - lr * velocity
        velocity = momentum * velocity + curvatures * w
        path.append(w)
    return np.array(path)


@heavy_ball.mistake
def lr_inside_the_velocity(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """`lr` is inside the velocity, as Polyak wrote it: old steps keep their old lr.

    That is the same only while lr is constant. Here, as in torch, the velocity holds
    gradients, and the lr of this step multiplies all of it.
    """
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        velocity = momentum * velocity + lr * curvatures * w
        w = w - velocity
        path.append(w)
    return np.array(path)


@heavy_ball.mistake
def lr_twice(curvatures: Array, w0: Array, lrs: Array, momentum: float) -> Array:
    """`lr` is applied twice, inside the velocity and in the move; only move with it."""
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        velocity = momentum * velocity + lr * curvatures * w
        w = w - lr * velocity
        path.append(w)
    return np.array(path)


@heavy_ball.mistake
def dampened(curvatures: Array, w0: Array, lrs: Array, momentum: float) -> Array:
    """You weigh the gradient by 1 - momentum: an average, and steps that much shorter.

    That is Adam's form (torch's `dampening`). Here the gradient enters with weight 1.
    """
    return heavy_ball_reference(curvatures, w0, (1 - momentum) * lrs, momentum)


@heavy_ball.mistake
def dampened_but_the_first(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """From the second step on you weigh the gradient by 1 - momentum.

    That is torch with `dampening=momentum`. Here the gradient enters with weight 1.
    """
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for step, lr in enumerate(lrs):
        share = 1 - momentum if step else 1.0
        velocity = momentum * velocity + share * curvatures * w
        w = w - lr * velocity
        path.append(w)
    return np.array(path)


@heavy_ball.mistake
def velocity_not_kept(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """This is plain descent: the velocity starts from zero in every step.

    Make it once, before the loop, and use `momentum`.
    """
    return heavy_ball_reference(curvatures, w0, lrs, 0.0)


@heavy_ball.mistake
def only_one_gradient_back(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """You add only the *last* gradient; the velocity holds all of them, fading.

    Keep the velocity from step to step, not the gradient.
    """
    w, before, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        slope = curvatures * w
        w = w - lr * (slope + momentum * before)
        before = slope
        path.append(w)
    return np.array(path)


@heavy_ball.mistake
def momentum_on_the_sum(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """`momentum` multiplies the new gradient too; only the old velocity fades."""
    return heavy_ball_reference(curvatures, w0, momentum * lrs, momentum)


@heavy_ball.mistake
def momentum_on_the_gradient(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """`momentum` multiplies the gradient, and the old velocity never fades.

    It belongs before the *old velocity*.
    """
    return heavy_ball_reference(curvatures, w0, momentum * lrs, 1.0)


@heavy_ball.mistake
def never_fades(curvatures: Array, w0: Array, lrs: Array, momentum: float) -> Array:
    """The old velocity never fades: multiply it by `momentum`."""
    return heavy_ball_reference(curvatures, w0, lrs, 1.0)


@heavy_ball.mistake
def climbs(curvatures: Array, w0: Array, lrs: Array, momentum: float) -> Array:
    """You climb: the velocity adds up gradients, which point uphill. Subtract it."""
    return heavy_ball_reference(curvatures, w0, -lrs, momentum)


@heavy_ball.mistake
def velocity_subtracted(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """The old velocity has the wrong sign: it holds gradients, as the new one does.

    `momentum * velocity` minus the gradient fits a move that *adds* the velocity.
    """
    return heavy_ball_reference(curvatures, w0, lrs, -momentum)


@heavy_ball.mistake
def first_lr_kept(curvatures: Array, w0: Array, lrs: Array, momentum: float) -> Array:
    """Every step uses the first `lr`; step k has its own, `lrs[k]`."""
    constant = np.full_like(lrs, lrs[0]) if len(lrs) else lrs
    return heavy_ball_reference(curvatures, w0, constant, momentum)


@heavy_ball.mistake
def stale_gradient(curvatures: Array, w0: Array, lrs: Array, momentum: float) -> Array:
    """The gradient is that of the start in every step; take it at `w`."""
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        velocity = momentum * velocity + curvatures * w0
        w = w - lr * velocity
        path.append(w)
    return np.array(path)


@heavy_ball.mistake
def looks_ahead(curvatures: Array, w0: Array, lrs: Array, momentum: float) -> Array:
    """You take the gradient at a look-ahead point: that is Nesterov, in task 7.

    The heavy ball takes it where it is.
    """
    w, velocity, path = w0, np.zeros_like(w0), [w0]
    for lr in lrs:
        ahead = w - lr * momentum * velocity
        velocity = momentum * velocity + curvatures * ahead
        w = w - lr * velocity
        path.append(w)
    return np.array(path)


@heavy_ball.mistake
def start_left_out(curvatures: Array, w0: Array, lrs: Array, momentum: float) -> Array:
    """The start is missing: the first row must be `w0`."""
    return heavy_ball_reference(curvatures, w0, lrs, momentum)[1:]


@heavy_ball.mistake
def one_array_for_all_points(
    curvatures: Array, w0: Array, lrs: Array, momentum: float
) -> Array:
    """All rows are the last point: your list holds *one* array many times.

    `w -= …` changes that array in place. Write `w = w - …`, which makes a new one.
    """
    path = heavy_ball_reference(curvatures, w0, lrs, momentum)
    return np.tile(path[-1], (len(path), 1))
