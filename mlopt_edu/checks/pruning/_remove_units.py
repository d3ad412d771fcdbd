"""Task 8: a program that pops the last layer and lets the others not fit, to mend."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Integers

Layer = tuple[Array, Array]
Network = tuple[Layer, ...]


def remove_units_reference(layers: list[Layer], keep: list[Integers]) -> Network:
    """Keep the listed hidden units: their rows, their biases, the columns they feed."""
    weight, bias = layers[0]
    smaller = []
    for i, units in enumerate(keep):
        smaller.append((weight[units], bias[units]))
        weight, bias = layers[i + 1]
        weight = weight[:, units]
    return (*smaller, (weight, bias))


def _networks(rng: np.random.Generator) -> Iterator[Case]:
    for widths, left, label in (
        ((2, 3, 1), (2,), "one hidden layer"),
        ((4, 6, 5, 3), (3, 2), "two hidden layers"),
        ((3, 5, 7, 4, 2), (4, 5, 1), "three hidden layers"),
        ((5, 5, 5, 5), (4, 4), "all of one width"),
        ((6, 8, 1), (8,), "every unit stays"),
        ((2, 9, 9, 2), (9, 3), "only the second layer shrinks"),
        ((3, 4), (), "no hidden layer"),
    ):
        layers = [
            (rng.normal(size=(after, before)), rng.normal(size=after))
            for before, after in pairwise(widths)
        ]
        keep = [
            # Unit 0 goes where one may: so the first columns are the wrong ones.
            np.sort(n - 1 - rng.permutation(n - (stay < n))[:stay])
            for n, stay in zip(widths[1:-1], left, strict=True)
        ]
        yield Case(label, {"layers": layers, "keep": keep})


remove_units = Task(
    "remove_units",
    kind="repair",
    points=2,
    section="10 · What goes wrong",
    reference=remove_units_reference,
    draw=_networks,
    forbid=LIBRARIES,
    hints=(
        "Print the shapes that come back. How many layers are there, and can the "
        "second one take what the first one gives?",
        "There are two faults. One: the output layer has no entry in `keep`, and the "
        "loop never gets to it. Two: a unit that goes takes a *column* of the next "
        "layer with it.",
        "Remember the units of the layer before: `weight[:, before]`. All inputs of "
        "the network stay, and so do all rows of the last layer; append it after the "
        "loop.",
    ),
)


def _rows(layers: list[Layer], keep: list[Integers]) -> list[Layer]:
    """Shrink the hidden layers' own rows and nothing else."""
    hidden = zip(layers[:-1], keep, strict=True)
    return [(weight[units], bias[units]) for (weight, bias), units in hidden]


@remove_units.mistake
def as_given(layers: list[Layer], keep: list[Integers]) -> Network:
    """Both faults of the given program are still in it.

    A network without its last layer has not been pruned: it answers nothing at all.
    And does each layer fit the one before it?
    """
    return tuple(_rows(layers, keep))


@remove_units.mistake
def last_layer_popped(layers: list[Layer], keep: list[Integers]) -> Network:
    """The layers fit now, but the last one is gone: nothing gives the outputs.

    `keep` has no entry for it, since all of its units stay. Its columns follow the
    last hidden layer.
    """
    return remove_units_reference(layers, keep)[:-1]


@remove_units.mistake
def next_layer_as_it_was(layers: list[Layer], keep: list[Integers]) -> Network:
    """All layers are there, but none fits the one before: its columns must follow.

    A unit is a row of its own layer *and* a column of the next.
    """
    return (*_rows(layers, keep), layers[-1])


@remove_units.mistake
def output_layer_as_it_was(layers: list[Layer], keep: list[Integers]) -> Network:
    """The hidden layers are right; the columns of the *last* layer must follow too."""
    return (*remove_units_reference(layers, keep)[:-1], layers[-1])


@remove_units.mistake
def only_zeroed(layers: list[Layer], keep: list[Integers]) -> Network:
    """You set the units to 0, and every shape is what it was.

    Zeros take as much memory and time as other numbers. Take the rows out.
    """
    zeroed = []
    for (weight, bias), units in zip(layers[:-1], keep, strict=True):
        stays = np.isin(np.arange(len(bias)), units)
        zeroed.append((weight * stays[:, None], bias * stays))
    return (*zeroed, layers[-1])


@remove_units.mistake
def popped_whole(layers: list[Layer], keep: list[Integers]) -> Network:
    """You drop the last layer and leave the rest: that is another network, not pruning.

    Every layer stays; each hidden one loses units.
    """
    return tuple(layers[:-1])


@remove_units.mistake
def bias_as_it_was(layers: list[Layer], keep: list[Integers]) -> Network:
    """The weights are right; a unit that goes takes its *bias* with it."""
    smaller = remove_units_reference(layers, keep)
    pairs = zip(smaller, layers, strict=True)
    return tuple((weight, bias) for (weight, _), (_, bias) in pairs)


@remove_units.mistake
def first_columns_kept(layers: list[Layer], keep: list[Integers]) -> Network:
    """The shapes fit, but you keep the *first* columns of the next layer.

    Keep those of the units that stay.
    """
    smaller, width = [], layers[0][0].shape[1]
    for (weight, bias), units in zip(layers[:-1], keep, strict=True):
        smaller.append((weight[units, :width], bias[units]))
        width = len(units)
    return (*smaller, (layers[-1][0][:, :width], layers[-1][1]))


@remove_units.mistake
def listed_ones_removed(layers: list[Layer], keep: list[Integers]) -> Network:
    """You remove the units that are listed; these are the ones that stay."""
    others = [
        np.setdiff1d(np.arange(len(bias)), units)
        for (_, bias), units in zip(layers[:-1], keep, strict=True)
    ]
    return remove_units_reference(layers, others)


@remove_units.mistake
def columns_for_rows(layers: list[Layer], keep: list[Integers]) -> Network:
    """You take columns out of the *next* layer, but no rows out of a unit's own.

    The rows compute the units: without taking them out nothing gets faster.
    """
    pairs = zip(layers[1:], keep, strict=True)
    return (layers[0], *((weight[:, units], bias) for (weight, bias), units in pairs))
