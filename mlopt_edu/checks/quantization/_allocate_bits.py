"""Task 8: mixed precision, the best number of bits for each layer under a budget."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Integers


def allocate_bits_reference(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """Try every combination, and keep the best of those that fit."""
    least, best = np.inf, []
    for bits in product(choices, repeat=len(sizes)):
        error = sum(row[choices.index(b)] for row, b in zip(errors, bits, strict=True))
        if np.dot(bits, sizes) <= budget and error < least:
            least, best = error, list(bits)
    return best


def _networks(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = {
        "errors": np.array([[5.0, 0.6], [3.0, 0.5], [2.9, 0.1]]),
        "sizes": np.array([30, 20, 20]),
        "choices": [4, 8],
        "budget": 440,
    }
    yield Case("three layers, the budget met to the bit", by_hand)
    for layers, choices, share, label in (
        (4, [2, 4, 8], 0.4, "four layers"),
        (4, [2, 3, 4, 8], 0.6, "four layers, four choices"),
        (5, [2, 4, 8], 0.7, "a wide budget"),
        (5, [2, 4, 8], 0.15, "a narrow budget"),
        (3, [3, 5, 6], 0.5, "odd choices"),
        (1, [2, 4, 8], 0.7, "one layer"),
    ):
        sizes = rng.integers(5, 60, size=layers)
        slope = rng.uniform(0.2, 1.2, size=(layers, 1))
        errors = rng.uniform(1, 40, size=(layers, 1)) * np.exp(
            -slope * (np.array(choices) + rng.uniform(-0.3, 0.3, size=len(choices)))
        )
        lowest, highest = choices[0] * sizes.sum(), choices[-1] * sizes.sum()
        budget = int(lowest + share * (highest - lowest))
        inputs = {"errors": errors, "sizes": sizes, "choices": choices}
        yield Case(label, {**inputs, "budget": budget})
    tempting = {
        "errors": np.array([[5.2, 0.2], [2.5, 0.5], [2.4, 0.4], [2.3, 0.3]]),
        "sizes": np.array([40, 10, 10, 10]),
        "choices": [4, 8],
        "budget": 440,
    }
    yield Case("one large layer or three small ones", tempting)
    near = np.array([[2.1, 0.2], [2.5, 0.5], [2.4, 0.4], [2.3, 0.3]])
    yield Case("a large layer that gains little", {**tempting, "errors": near})
    heavy = np.array([[7.2, 0.2], [2.5, 0.5], [2.4, 0.4], [2.3, 0.3]])
    yield Case("a large layer that gains most", {**tempting, "errors": heavy})
    much = {
        "errors": np.array([[10.0, 9.0], [3.0, 0.5]]),
        "sizes": np.array([20, 20]),
        "choices": [4, 8],
        "budget": 240,
    }
    yield Case("a layer that loses much either way", much)
    everything = {**by_hand, "budget": 8 * 70}
    nothing = {**by_hand, "budget": 4 * 70}
    yield Case("enough for everything", everything)
    yield Case("just enough for the fewest", nothing)


allocate_bits = Task(
    "allocate_bits",
    points=2,
    section="11 · Derive",
    reference=allocate_bits_reference,
    draw=_networks,
    forbid=LIBRARIES,
    hints=(
        "Five layers with three choices are 243 combinations. What must you know of "
        "each, to pick one?",
        "`itertools.product(choices, repeat=len(sizes))` lists them all. One costs the "
        "sum of bits times size, and its error is a sum of one entry a row.",
        "Skip what costs more than `budget`; equal is allowed. Of the rest keep the "
        "one with the smallest sum of errors, and return its bits.",
    ),
)


def _search(
    errors: Array, sizes: Array | Integers, choices: list[int], budget: float, how: str
) -> list[int]:
    """Search all combinations for another aim, or under another rule."""
    rows = np.arange(len(sizes))
    least, best = np.inf, [choices[0]] * len(sizes)
    for places in product(range(len(choices)), repeat=len(sizes)):
        bits = [choices[place] for place in places]
        cost, lost = np.dot(bits, sizes), errors[rows, list(places)]
        goal = {"sum": lost.sum(), "worst": lost.max(), "unspent": -cost}[how]
        if cost <= budget and goal < least:
            least, best = goal, bits
    return best


def _greedy(
    errors: Array, sizes: Integers, choices: list[int], budget: int, per_bit: bool
) -> list[int]:
    """Give one more step, again and again, to the layer that gains most by it."""
    places = np.zeros(len(sizes), dtype=int)
    while True:
        gains = {}
        for i, place in enumerate(places):
            if place + 1 < len(choices):
                cost = (choices[place + 1] - choices[place]) * sizes[i]
                spent = np.dot(np.array(choices)[places], sizes)
                if spent + cost <= budget:
                    gain = errors[i, place] - errors[i, place + 1]
                    gains[i] = gain / cost if per_bit else gain
        if not gains:
            return [choices[place] for place in places]
        places[max(gains, key=lambda i: gains[i])] += 1


@allocate_bits.mistake
def uniform(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """Every layer gets the same bits: that is uniform, not mixed, precision.

    A layer that loses much by rounding should get more bits than one that does not.
    """
    fits = [b for b in choices if b * sizes.sum() <= budget]
    return [fits[-1]] * len(sizes)


@allocate_bits.mistake
def greedy_gain_per_bit(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """You give bits to the largest gain per bit, step by step: near, but not the best.

    An early choice may take the room that two others would use better. Compare all.
    """
    return _greedy(errors, sizes, choices, budget, per_bit=True)


@allocate_bits.mistake
def greedy_gain(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """You give bits to the largest gain first, whatever the layer costs.

    A large layer uses up the budget. Compare all combinations by their sum of errors.
    """
    return _greedy(errors, sizes, choices, budget, per_bit=False)


@allocate_bits.mistake
def sizes_left_out(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """You keep the *mean* number of bits a layer in the budget; layers differ in size.

    A combination costs the sum of bits times size.
    """
    mean = np.full(len(sizes), sizes.mean())
    return _search(errors, mean, choices, budget, "sum")


@allocate_bits.mistake
def budget_not_kept(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """Your bits cost more than the budget: this is what loses least at any cost.

    Layer i takes `bits * sizes[i]`, and all layers together `budget` at most.
    """
    return _search(errors, sizes, choices, np.inf, "sum")


@allocate_bits.mistake
def budget_never_met(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """You leave out what meets the budget to the bit; equal is allowed: `<=`."""
    return _search(errors, sizes, choices, budget - 0.5, "sum")


@allocate_bits.mistake
def budget_spent(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """You spend as much of the budget as you can; what counts is the smallest error."""
    return _search(errors, sizes, choices, budget, "unspent")


@allocate_bits.mistake
def worst_layer(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """You make the *largest* error small; here their sum counts."""
    return _search(errors, sizes, choices, budget, "worst")


@allocate_bits.mistake
def errors_times_sizes(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """You weight the errors by size; they are those of whole layers already."""
    return _search(errors * sizes[:, None], sizes, choices, budget, "sum")


@allocate_bits.mistake
def errors_by_sizes(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """You divide the errors by size; they are those of whole layers, and add up."""
    return _search(errors / sizes[:, None], sizes, choices, budget, "sum")


@allocate_bits.mistake
def places_for_bits(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """You return the places in `choices`; return the bits themselves."""
    best = allocate_bits_reference(errors, sizes, choices, budget)
    return [choices.index(bits) for bits in best]


@allocate_bits.mistake
def fewest_everywhere(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """You stay at the fewest bits everywhere: spend the budget where it helps most."""
    return [choices[0]] * len(sizes)


@allocate_bits.mistake
def greedy_from_above(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """You begin with the most bits, and take them where a bit is missed least.

    One step after another is near, but not the best: compare all combinations.
    """
    places = np.full(len(sizes), len(choices) - 1)
    bits = np.array(choices)
    while np.dot(bits[places], sizes) > budget:
        losses = {
            i: (errors[i, place - 1] - errors[i, place])
            / ((bits[place] - bits[place - 1]) * sizes[i])
            for i, place in enumerate(places)
            if place > 0
        }
        places[min(losses, key=losses.__getitem__)] -= 1
    return [choices[place] for place in places]


@allocate_bits.mistake
def first_layers_first(
    errors: Array, sizes: Integers, choices: list[int], budget: int
) -> list[int]:
    """You give each layer in turn as much as is left, so the last ones get little.

    What counts is the sum of errors: compare all combinations.
    """
    bits = [choices[0]] * len(sizes)
    for i in range(len(sizes)):
        for more in choices:
            if np.dot([*bits[:i], more, *bits[i + 1 :]], sizes) <= budget:
                bits[i] = more
    return bits
