"""Task 6: clip all gradients together, by the norm of the whole."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from .._task import Case, Task
from ._soft_threshold import Array


def clip_by_global_norm_reference(
    grads: Sequence[Array], max_norm: float
) -> tuple[Array, ...]:
    """Scale all arrays by one factor, so that together they are at most `max_norm`."""
    norm = np.sqrt(sum(np.sum(grad**2) for grad in grads))
    factor = max_norm / norm if norm > max_norm else 1.0
    return tuple(factor * grad for grad in grads)


def _gradients(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = [np.array([3.0, 0]), np.array([[-4.0]])]
    yield Case("norm 5", {"grads": by_hand, "max_norm": 1.0})
    yield Case("norm 5, nothing to clip", {"grads": by_hand, "max_norm": 10.0})
    yield Case("norm 5, just allowed", {"grads": by_hand, "max_norm": 5.0})
    layers: tuple[tuple[int, ...], ...] = ((8, 5), (8,), (3, 8), (3,))
    for shapes, scale, max_norm, label in (
        (layers, 1.0, 1.0, "two layers"),
        (layers, 1e4, 0.5, "huge gradients"),
        (layers, 1e-3, 1.0, "small gradients"),
        (layers, 1e-7, 1e-8, "tiny gradients"),
        (((4, 3, 3, 3), (4,)), 1.0, 2.5, "a convolution"),
        (((6,),), 3.0, 1.0, "one array"),
        (((), (2, 2), ()), 2.0, 1.0, "two single numbers and a matrix"),
        (((0,), (3, 2), (0, 4)), 2.0, 1.0, "empty arrays"),
        (((10,), (10,), (10,)), 1.0, 4.0, "each array below, all of them above"),
    ):
        grads = [np.asarray(scale * rng.normal(size=shape)) for shape in shapes]
        if label.startswith("each"):
            grads = [3 * grad / np.linalg.norm(grad) for grad in grads]
        yield Case(label, {"grads": grads, "max_norm": max_norm})
    unequal = [1e3 * rng.normal(size=4), 1e-3 * rng.normal(size=(2, 3))]
    yield Case("a large and a small array", {"grads": unequal, "max_norm": 1.0})
    zeros = [np.zeros((2, 3)), np.zeros(4)]
    yield Case("zeros", {"grads": zeros, "max_norm": 1.0})


clip_by_global_norm = Task(
    "clip_by_global_norm",
    points=2,
    section="07 · Write it small",
    reference=clip_by_global_norm_reference,
    draw=_gradients,
    forbid=("torch.nn.utils", "mlopt_edu.regularization"),
    hints=(
        "Lay all arrays end to end, as one long vector. What is its norm, and what "
        "happens to its direction?",
        "Add up the squares of *all* entries of all arrays and take one root. If that "
        "is above `max_norm`, multiply every array by the same factor.",
        "The factor is `max_norm / norm` if `norm > max_norm`, else 1. Return `[factor "
        "* grad for grad in grads]`.",
    ),
)


def _norms(grads: Sequence[Array]) -> Array:
    return np.array([np.sqrt(np.sum(grad**2)) for grad in grads])


def _scaled(
    grads: Sequence[Array], max_norm: float, size: Callable[[Array], float]
) -> tuple[Array, ...]:
    """Clip with a wrong `size` of all entries in the place of the norm."""
    norm = size(np.concatenate([grad.ravel() for grad in grads]))
    factor = max_norm / norm if norm > max_norm else 1.0
    return tuple(factor * grad for grad in grads)


@clip_by_global_norm.mistake
def each_by_its_own_norm(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """You clip each array by its own norm, which turns the gradient as a whole.

    Compute *one* norm over all arrays, and one factor.
    """
    factors = [max_norm / norm if norm > max_norm else 1.0 for norm in _norms(grads)]
    return tuple(f * grad for f, grad in zip(factors, grads, strict=True))


@clip_by_global_norm.mistake
def clipped_by_value(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """You clip every entry to ±max_norm: this is clipping by *value*.

    It turns the gradient. Scale all entries by the same factor.
    """
    return tuple(np.clip(grad, -max_norm, max_norm) for grad in grads)


@clip_by_global_norm.mistake
def small_ones_scaled_up(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """You scale gradients *up* when their norm is below `max_norm`; leave them alone.

    Clipping sets a limit and no length.
    """
    norm = np.sqrt(np.sum(_norms(grads) ** 2))
    return tuple(max_norm / norm * grad for grad in grads)


@clip_by_global_norm.mistake
def norms_added(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """You add up the norms of the arrays; add up their *squares* and take the root."""
    norm = _norms(grads).sum()
    factor = max_norm / norm if norm > max_norm else 1.0
    return tuple(factor * grad for grad in grads)


@clip_by_global_norm.mistake
def largest_norm_of_all(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """You take the largest norm of the arrays; take the norm of all together."""
    norm = _norms(grads).max()
    factor = max_norm / norm if norm > max_norm else 1.0
    return tuple(factor * grad for grad in grads)


@clip_by_global_norm.mistake
def mean_of_the_norms(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """You take the mean of the arrays' norms; take the norm of all together."""
    norm = _norms(grads).mean()
    factor = max_norm / norm if norm > max_norm else 1.0
    return tuple(factor * grad for grad in grads)


@clip_by_global_norm.mistake
def root_left_out(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """The root is missing: you compare the *squared* norm with `max_norm`."""
    return _scaled(grads, max_norm, lambda x: float(x @ x))


@clip_by_global_norm.mistake
def mean_for_sum(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """You take the mean of the squares; a norm is the root of their *sum*."""
    return _scaled(grads, max_norm, lambda x: float(np.sqrt(np.mean(x**2))))


@clip_by_global_norm.mistake
def sizes_added(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """You add up the sizes |g|: the L1 norm. Add up the squares, and take a root."""
    return _scaled(grads, max_norm, lambda x: float(np.abs(x).sum()))


@clip_by_global_norm.mistake
def largest_entry(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """You take the largest entry for the norm; it is the root of the sum of squares."""
    return _scaled(grads, max_norm, lambda x: float(np.abs(x).max()))


@clip_by_global_norm.mistake
def entries_cancel(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """You add up the entries, so that plus and minus cancel; square them first."""
    return _scaled(grads, max_norm, lambda x: float(abs(x.sum())))


@clip_by_global_norm.mistake
def length_one(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """What you clip has norm 1 afterwards; it should be `max_norm`: multiply by it."""
    norm = np.sqrt(np.sum(_norms(grads) ** 2))
    factor = 1 / norm if norm > max_norm else 1.0
    return tuple(factor * grad for grad in grads)


@clip_by_global_norm.mistake
def factor_upside_down(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """Your factor is upside down: what is too long gets longer.

    It is `max_norm / norm`.
    """
    norm = np.sqrt(np.sum(_norms(grads) ** 2))
    factor = norm / max_norm if norm > max_norm else 1.0
    return tuple(factor * grad for grad in grads)


@clip_by_global_norm.mistake
def condition_upside_down(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """You scale when the norm is *below* `max_norm`, and leave the long ones.

    Scale when it is above.
    """
    norm = np.sqrt(np.sum(_norms(grads) ** 2))
    factor = max_norm / norm if norm < max_norm else 1.0
    return tuple(factor * grad for grad in grads)


@clip_by_global_norm.mistake
def eps_in_the_divisor(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """You add 1e-6 to the norm, as torch does, so the result is a little too short.

    With tiny gradients it is not little. Where the norm is above `max_norm` there is
    no 0 to guard against: divide by the norm alone.
    """
    norm = np.sqrt(np.sum(_norms(grads) ** 2))
    factor = min(1.0, max_norm / (norm + 1e-6))
    return tuple(factor * grad for grad in grads)


@clip_by_global_norm.mistake
def long_ones_zeroed(grads: Sequence[Array], max_norm: float) -> tuple[Array, ...]:
    """You throw away a gradient that is too long; scale it, its direction is good."""
    norm = np.sqrt(np.sum(_norms(grads) ** 2))
    return tuple(0.0 * grad if norm > max_norm else grad for grad in grads)


@clip_by_global_norm.mistake
def one_long_vector(grads: Sequence[Array], max_norm: float) -> Array:
    """You return one long vector; return as many arrays as you got, in their shapes."""
    clipped = clip_by_global_norm_reference(grads, max_norm)
    return np.concatenate([grad.ravel() for grad in clipped])


@clip_by_global_norm.mistake
def small_ones_scaled_up_zeros_kept(
    grads: Sequence[Array], max_norm: float
) -> tuple[Array, ...]:
    """You bring every gradient that is not 0 to the norm `max_norm`, short ones too.

    Clipping only shortens: scale only if the norm is above `max_norm`.
    """
    norm = np.sqrt(np.sum(_norms(grads) ** 2))
    factor = max_norm / norm if norm > 0 else 1.0
    return tuple(factor * grad for grad in grads)
