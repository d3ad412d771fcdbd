"""Task 1: a program that keeps the wrong weights and loses the shape, to mend."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Mask, places


def prune_smallest_reference(weight: Array, amount: float) -> Array:
    """Set the share `amount` of the weights to 0, the smallest in size."""
    n_pruned = round(amount * weight.size)
    order = np.argsort(np.abs(weight), axis=None)
    place = np.argsort(order).reshape(weight.shape)
    return np.where(place >= n_pruned, weight, 0.0)


def _weights(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = np.array([[0.5, -2.0, 0.1], [-0.25, 1.0, -3.0]])
    yield Case("six weights", {"weight": by_hand, "amount": 0.5})
    for shape, amount, label in (
        ((4, 5), 0.33, "4 × 5, rounded up"),
        ((5, 4), 0.16, "5 × 4, rounded down"),
        ((3, 2, 2, 2), 0.9, "filters, 90 %"),
        ((1, 9), 0.4, "one row"),
        ((11,), 0.7, "one axis"),
        ((1, 1), 0.4, "one weight, which stays"),
        ((2, 1), 0.5, "one of two"),
        ((3, 4), 0.0, "amount 0"),
        ((3, 4), 1.0, "amount 1"),
    ):
        yield Case(label, {"weight": rng.normal(size=shape), "amount": amount})
    weight = rng.normal(size=(4, 6))
    weight[:, ::3] = 0
    yield Case("8 of 24 are 0 already", {"weight": weight, "amount": 0.75})
    yield Case("fewer than are 0 already", {"weight": weight, "amount": 0.25})
    yield Case("negative", {"weight": -rng.uniform(1, 2, size=(3, 5)), "amount": 0.6})


prune_smallest = Task(
    "prune_smallest",
    kind="repair",
    points=1,
    section="10 · What goes wrong",
    reference=prune_smallest_reference,
    draw=_weights,
    forbid=LIBRARIES,
    hints=(
        "Run it on `np.array([[0.5, -2, 0.1], [-0.25, 1, -3]])` with amount 0.5. Which "
        "three weights come back, and in what shape?",
        "There are two faults. One: which places in the ranking stay. Two: what "
        "`weight[mask]` makes of a matrix.",
        "The places from `n_pruned` on are those of the large weights. `np.where(mask, "
        "weight, 0)` keeps the shape, and so does `weight * mask`.",
    ),
)


def _stays(weight: Array, amount: float) -> Mask:
    return places(np.abs(weight)) >= round(amount * weight.size)


@prune_smallest.mistake
def as_given(weight: Array, amount: float) -> Array:
    """Both faults of the given program are still in it.

    Which weights does a network miss least? And what shape must a layer have?
    """
    return weight[~_stays(weight, amount)]


@prune_smallest.mistake
def flattened(weight: Array, amount: float) -> Array:
    """The right weights stay, but indexing with a mask gives a flat list of them.

    No layer can compute with that. Put zeros where the others were: `np.where`.
    """
    return weight[_stays(weight, amount)]


@prune_smallest.mistake
def small_ones_kept(weight: Array, amount: float) -> Array:
    """The shape is right now, but you keep the small weights and drop the large."""
    return np.where(_stays(weight, amount), 0.0, weight)


@prune_smallest.mistake
def mask_for_weights(weight: Array, amount: float) -> Mask:
    """This is the mask. Return the weights, with 0 where the mask is False."""
    return _stays(weight, amount)


@prune_smallest.mistake
def sign_counts(weight: Array, amount: float) -> Array:
    """You rank the weights with their sign, so -3 counts as small; rank |w|."""
    return np.where(places(weight) >= round(amount * weight.size), weight, 0.0)


@prune_smallest.mistake
def share_that_stays(weight: Array, amount: float) -> Array:
    """You keep the share `amount`; it is the share that goes."""
    n_pruned = weight.size - round(amount * weight.size)
    return np.where(places(np.abs(weight)) >= n_pruned, weight, 0.0)


@prune_smallest.mistake
def rounded_down(weight: Array, amount: float) -> Array:
    """One weight too many may stay: `int` cuts 6.6 off to 6, `round` makes it 7."""
    n_pruned = int(amount * weight.size)
    return np.where(places(np.abs(weight)) >= n_pruned, weight, 0.0)


@prune_smallest.mistake
def rounded_up(weight: Array, amount: float) -> Array:
    """One weight too many may go: 3.2 of them are 3. Use `round`."""
    n_pruned = np.ceil(amount * weight.size)
    return np.where(places(np.abs(weight)) >= n_pruned, weight, 0.0)


@prune_smallest.mistake
def one_too_many(weight: Array, amount: float) -> Array:
    """One weight too many goes: the place `n_pruned` is the first that stays, `>=`."""
    n_pruned = round(amount * weight.size)
    return np.where(places(np.abs(weight)) > n_pruned, weight, 0.0)


@prune_smallest.mistake
def order_for_place(weight: Array, amount: float) -> Array:
    """One `argsort` lists *which* weight is smallest, next, …: no weight's place.

    A second `argsort` turns that list into places.
    """
    order = np.argsort(np.abs(weight), axis=None).reshape(weight.shape)
    return np.where(order >= round(amount * weight.size), weight, 0.0)


@prune_smallest.mistake
def row_by_row(weight: Array, amount: float) -> Array:
    """You rank along one axis: without `axis=None` NumPy sorts each row by itself."""
    place = np.argsort(np.argsort(np.abs(weight)))
    return np.where(place >= round(amount * weight.shape[-1]), weight, 0.0)


@prune_smallest.mistake
def threshold_from_the_largest(weight: Array, amount: float) -> Array:
    """Your threshold is a share of the largest size; count the weights instead."""
    size = np.abs(weight)
    return np.where(size >= amount * size.max(), weight, 0.0)


@prune_smallest.mistake
def quantile_for_count(weight: Array, amount: float) -> Array:
    """A quantile lies between two sizes and gives a count that is one off at times.

    With amount 0 it even drops a weight. Prune `round(amount * weight.size)` of them.
    """
    size = np.abs(weight)
    return np.where(size > np.quantile(size, amount), weight, 0.0)


@prune_smallest.mistake
def threshold_of_none(weight: Array, amount: float) -> Array:
    """If no weight is to go, all go: `sizes[n_pruned - 1]` is `sizes[-1]` then.

    That is the largest size. A place in the ranking, `>= n_pruned`, has no such gap.
    """
    sizes = np.sort(np.abs(weight), axis=None)
    threshold = sizes[round(amount * weight.size) - 1]
    return np.where(np.abs(weight) > threshold, weight, 0.0)


@prune_smallest.mistake
def share_taken_for_percent(weight: Array, amount: float) -> Array:
    """Hardly a weight goes: `np.percentile` wants 50 where `amount` is 0.5."""
    size = np.abs(weight)
    return np.where(size > np.percentile(size, amount), weight, 0.0)
