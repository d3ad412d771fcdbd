"""Task 5: one round of the lottery ticket: prune what was trained, rewind the rest."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Mask, places

Ticket = tuple[Mask, Array]


def lottery_round_reference(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """Prune `amount` of what is left by trained size; give the rest its first value."""
    n_gone = np.sum(~keep_mask)
    n_pruned = round(amount * np.sum(keep_mask))
    size = np.where(keep_mask, np.abs(trained), -np.inf)
    place = np.argsort(np.argsort(size, axis=None)).reshape(size.shape)
    keep = place >= n_gone + n_pruned
    return keep, keep * initial


def _rounds(rng: np.random.Generator) -> Iterator[Case]:
    inputs = {"initial": np.array([[1.0, -2.0], [0.5, -0.1]])}
    inputs |= {"trained": np.array([[0.2, -2.5], [0.0, 3.0]])}
    inputs |= {"keep_mask": np.array([[True, True], [False, True]])}
    yield Case("three of four are left", {**inputs, "amount": 0.3})
    for shape, gone, amount, label in (
        ((4, 5), 0, 0.2, "the first round"),
        ((4, 5), 4, 0.2, "the second round"),
        ((6, 7), 25, 0.2, "a later round"),
        ((6, 7), 11, 0.7, "a large amount"),
        ((3, 2, 2, 2), 7, 0.34, "filters"),
        ((9,), 3, 0.45, "one axis"),
        ((5, 5), 10, 0.0, "amount 0"),
        ((5, 5), 10, 1.0, "amount 1"),
        ((4, 3), 12, 0.2, "nothing is left"),
        ((4, 4), 4, 0.25, "a weight starts from 0 and stays"),
    ):
        keep = (rng.permutation(int(np.prod(shape))) >= gone).reshape(shape)
        initial = rng.normal(size=shape)
        trained = keep * (0.3 * initial + rng.normal(size=shape))
        if label == "a weight starts from 0 and stays":
            initial.flat[np.argmax(np.abs(trained))] = 0
        inputs = {"initial": initial, "trained": trained, "keep_mask": keep}
        yield Case(label, {**inputs, "amount": amount})
        if label == "a later round":
            # The optimizer was not told of the mask: what is gone has moved.
            moved = np.where(keep, trained, 5 + initial)
            yield Case(
                "pruned weights that moved", {**inputs, "trained": moved, "amount": 0.2}
            )


lottery_round = Task(
    "lottery_round",
    points=1,
    section="10 · Write it small",
    reference=lottery_round_reference,
    draw=_rounds,
    forbid=LIBRARIES,
    hints=(
        "Three arrays, three questions: which one says what is left, which one says "
        "what goes next, and which one says what the rest starts from?",
        "Count what is left, and round `amount` times that. Then rank `abs(trained)`, "
        "so that weights already gone cannot be chosen again.",
        "Give the weights that are gone the size -1: they come first. The new mask is "
        "True from the place `gone + n_pruned` on. The weights are `initial` there.",
    ),
)


def _keep(size: Array, keep_mask: Mask, n_pruned: int) -> Mask:
    """Prune the `n_pruned` smallest of those that are left."""
    first = np.where(keep_mask, size, -np.inf)
    return places(first) >= np.sum(~keep_mask) + n_pruned


def _number(keep_mask: Mask, amount: float) -> int:
    return round(amount * int(np.sum(keep_mask)))


@lottery_round.mistake
def not_rewound(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """The mask is right, but you keep the trained weights. Rewind: return `initial`."""
    keep, _ = lottery_round_reference(initial, trained, keep_mask, amount)
    return keep, keep * trained


@lottery_round.mistake
def ranked_by_initial(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """You rank the weights before training. Which ones matter, training has shown."""
    return lottery_round_reference(initial, initial, keep_mask, amount)


@lottery_round.mistake
def ranked_by_movement(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """You prune the weights that moved least; here the smallest trained ones go."""
    keep = _keep(np.abs(trained - initial), keep_mask, _number(keep_mask, amount))
    return keep, keep * initial


@lottery_round.mistake
def share_of_all(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """You prune `amount` of *all* weights; take the share of those that are left.

    Five rounds of 20 % leave a third, not nothing.
    """
    most = int(np.sum(keep_mask))
    n_pruned = min(round(amount * keep_mask.size), most)
    keep = _keep(np.abs(trained), keep_mask, n_pruned)
    return keep, keep * initial


@lottery_round.mistake
def gone_pruned_again(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """Weights that are gone are zeros, and you choose them again: too little goes.

    Rank only those that are left.
    """
    size = np.abs(np.where(keep_mask, trained, 0.0))
    keep = keep_mask & (places(size) >= _number(keep_mask, amount))
    return keep, keep * initial


@lottery_round.mistake
def gone_ranked_too(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """You rank all weights, those that are gone too: too little goes where they are 0.

    They take up the first places. Rank only those that are left.
    """
    keep = keep_mask & (places(np.abs(trained)) >= _number(keep_mask, amount))
    return keep, keep * initial


@lottery_round.mistake
def left_means_not_0(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """You take what is left from `trained != 0`: a weight that is gone may have moved.

    Only `keep_mask` says what is left.
    """
    return lottery_round_reference(initial, trained, trained != 0, amount)


@lottery_round.mistake
def mask_from_the_weights(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """Your mask is False where a weight starts from 0, though it stays.

    The mask comes from the ranking. It does not follow from the weights, `!= 0`.
    """
    _, weight = lottery_round_reference(initial, trained, keep_mask, amount)
    return weight != 0, weight


@lottery_round.mistake
def old_mask_forgotten(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """Your mask says what goes in *this* round; what was gone before is True again.

    Start from a copy of `keep_mask`, or combine the two with `&`.
    """
    keep, _ = lottery_round_reference(initial, trained, keep_mask, amount)
    fresh = keep | ~keep_mask
    return fresh, fresh * initial


@lottery_round.mistake
def true_where_it_goes(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """The weights are right; your mask is True where they *go*. True means it stays."""
    keep, weight = lottery_round_reference(initial, trained, keep_mask, amount)
    return ~keep, weight


@lottery_round.mistake
def total_share(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """You prune until the share `amount` is gone *altogether*, earlier rounds included.

    Each round takes `amount` of what is left.
    """
    n_pruned = max(0, round(amount * keep_mask.size) - int(np.sum(~keep_mask)))
    keep = _keep(np.abs(trained), keep_mask, n_pruned)
    return keep, keep * initial


@lottery_round.mistake
def gone_comes_back(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """You start from a fresh mask, so weights that are gone may come back.

    A new mask may be True only where the old one is.
    """
    keep = places(np.abs(trained)) >= round(amount * trained.size)
    return keep, keep * initial


@lottery_round.mistake
def old_mask_on_the_weights(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """The mask is right, but the weights are cut by the *old* one; use the new."""
    keep, _ = lottery_round_reference(initial, trained, keep_mask, amount)
    return keep, keep_mask * initial


@lottery_round.mistake
def weights_not_masked(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """The mask is right, but the weights are all there; set what is gone to 0."""
    keep, _ = lottery_round_reference(initial, trained, keep_mask, amount)
    return keep, initial


@lottery_round.mistake
def large_ones_pruned(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """You prune the largest weights of those that are left; the smallest go."""
    n_left = int(np.sum(keep_mask)) - _number(keep_mask, amount)
    size = np.where(keep_mask, np.abs(trained), np.inf)
    keep = places(size) < n_left
    return keep, keep * initial


@lottery_round.mistake
def sign_counts(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """You rank the weights with their sign, so -3 counts as small; rank |w|."""
    keep = _keep(trained, keep_mask, _number(keep_mask, amount))
    return keep, keep * initial


@lottery_round.mistake
def share_that_stays(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """You keep the share `amount` of what is left; it is the share that goes."""
    n_pruned = int(np.sum(keep_mask)) - _number(keep_mask, amount)
    keep = _keep(np.abs(trained), keep_mask, n_pruned)
    return keep, keep * initial


@lottery_round.mistake
def rounded_down(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """One weight too many may stay: `int` cuts fractions off, `round` does not."""
    n_pruned = int(amount * np.sum(keep_mask))
    keep = _keep(np.abs(trained), keep_mask, n_pruned)
    return keep, keep * initial


@lottery_round.mistake
def rounded_up(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> Ticket:
    """One weight too many may go: 3.2 of them are 3. Use `round`."""
    n_pruned = int(np.ceil(amount * np.sum(keep_mask)))
    keep = _keep(np.abs(trained), keep_mask, n_pruned)
    return keep, keep * initial


@lottery_round.mistake
def weights_before_mask(
    initial: Array, trained: Array, keep_mask: Mask, amount: float
) -> tuple[Array, Mask]:
    """The order is reversed: return the mask first, then the weights."""
    keep, weight = lottery_round_reference(initial, trained, keep_mask, amount)
    return weight, keep
