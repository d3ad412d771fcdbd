"""Task 12: more units, the same function."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Integers

Wider = tuple[Array, Array, Array]


def net2wider_reference(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """Copy units as `mapping` says; the copies of a unit share what it passed on."""
    copies = np.bincount(mapping)[mapping]
    return weight[mapping], bias[mapping], following[:, mapping] / copies


def _layers(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = {"weight": np.array([[1.0, 2], [3, 4]]), "bias": np.array([5.0, 6])}
    by_hand |= {"following": np.array([[8.0, 12]]), "mapping": np.array([0, 1, 1])}
    yield Case("one unit twice", by_hand)
    for inputs_, units, outputs, new, label in (
        (3, 4, 2, 9, "4 to 9 units"),
        (5, 2, 3, 7, "2 to 7 units"),
        (2, 6, 1, 8, "6 to 8 units"),
        (4, 1, 3, 3, "one unit three times"),
        (3, 5, 2, 5, "no unit more"),
        (4, 4, 4, 6, "a square layer"),
    ):
        mapping = np.r_[np.arange(units), rng.integers(0, units, size=new - units)]
        inputs = {"weight": rng.normal(size=(units, inputs_))}
        inputs |= {"bias": rng.normal(size=units)}
        inputs |= {"following": rng.normal(size=(outputs, units)), "mapping": mapping}
        yield Case(label, inputs)
        if label == "4 to 9 units":
            mapping = rng.permutation(mapping)
            yield Case("in another order", {**inputs, "mapping": mapping})


net2wider = Task(
    "net2wider",
    points=1,
    section="12 · Write it small",
    reference=net2wider_reference,
    draw=_layers,
    forbid=LIBRARIES,
    hints=(
        "A unit and its copy say the same. If both pass it on whole, what does the "
        "next layer get?",
        "A copy has the weights and the bias of its unit. What it passes on is divided "
        "by the number of copies, the unit itself included.",
        "`np.bincount(mapping)` counts the copies of each old unit, and "
        "`np.bincount(mapping)[mapping]` says it for each new one. Divide the columns "
        "`following[:, mapping]` by that.",
    ),
)


def _copies(mapping: Integers) -> Integers:
    return np.bincount(mapping)[mapping]


def _is_first(mapping: Integers) -> Array:
    first = np.unique(mapping, return_index=True)[1]
    return np.isin(np.arange(len(mapping)), first).astype(float)


@net2wider.mistake
def passed_on_whole(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """Every copy passes on the whole: what a unit says counts twice and more.

    Divide the columns of `following` by the number of copies.
    """
    return weight[mapping], bias[mapping], following[:, mapping]


@net2wider.mistake
def divided_by_growth(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """You divide every column by the growth of the layer; each by its own copies."""
    growth = len(mapping) / len(bias)
    return weight[mapping], bias[mapping], following[:, mapping] / growth


@net2wider.mistake
def only_copies_divided(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """The first of the copies passes on the whole; divide its column too."""
    share = np.where(_is_first(mapping) > 0, 1, _copies(mapping))
    return weight[mapping], bias[mapping], following[:, mapping] / share


@net2wider.mistake
def silent_copies(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """Your net computes the same, but its new units pass on nothing, 0.

    Here every copy of a unit passes on an equal share.
    """
    return weight[mapping], bias[mapping], following[:, mapping] * _is_first(mapping)


@net2wider.mistake
def units_divided(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """You divide the *incoming* weights, and a ReLU's copies then pass on the whole.

    It works for a linear unit or a ReLU alone. Divide the outgoing ones.
    """
    copies = _copies(mapping)
    return (
        weight[mapping] / copies[:, None],
        bias[mapping] / copies,
        following[:, mapping],
    )


@net2wider.mistake
def divided_twice(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """You divide incoming and outgoing weights; the outgoing ones are enough."""
    copies = _copies(mapping)
    new, shift = weight[mapping] / copies[:, None], bias[mapping] / copies
    return new, shift, following[:, mapping] / copies


@net2wider.mistake
def bias_divided(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """You divide the bias of the copies; a copy has the whole bias of its unit."""
    copies = _copies(mapping)
    return weight[mapping], bias[mapping] / copies, following[:, mapping] / copies


@net2wider.mistake
def bias_of_copies_zero(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """The copies have the bias 0; they need that of their unit."""
    shift = bias[mapping] * _is_first(mapping)
    return weight[mapping], shift, following[:, mapping] / _copies(mapping)


@net2wider.mistake
def new_units_zero(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """The new units have weights of 0, and they pass on their unit's share."""
    new = weight[mapping] * _is_first(mapping)[:, None]
    return new, bias[mapping], following[:, mapping] / _copies(mapping)


@net2wider.mistake
def multiplied(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """You multiply by the number of copies; divide by it."""
    return weight[mapping], bias[mapping], following[:, mapping] * _copies(mapping)


@net2wider.mistake
def root_of_copies(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """You divide by the root of the number of copies; the shares must sum to 1."""
    share = np.sqrt(_copies(mapping))
    return weight[mapping], bias[mapping], following[:, mapping] / share


@net2wider.mistake
def itself_not_counted(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """You count the copies without the unit itself; it is one of them."""
    share = np.maximum(_copies(mapping) - 1, 1)
    return weight[mapping], bias[mapping], following[:, mapping] / share


@net2wider.mistake
def counts_in_old_order(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """Your counts are in the order of the old units; index them with `mapping` too."""
    counts = np.bincount(mapping)
    place = np.arange(len(mapping)) % len(counts)
    return weight[mapping], bias[mapping], following[:, mapping] / counts[place]


@net2wider.mistake
def following_left(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """The layer that follows still reads the old units; its columns are copied too."""
    return weight[mapping], bias[mapping], following


@net2wider.mistake
def following_transposed(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """`following` is transposed: it has a row an output and a column a unit."""
    wide = following[:, mapping] / _copies(mapping)
    return weight[mapping], bias[mapping], wide.T


@net2wider.mistake
def bias_left_out(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> tuple[Array, Array]:
    """Return three things: the new weight, the new bias, and what follows."""
    return weight[mapping], following[:, mapping] / _copies(mapping)


@net2wider.mistake
def always_halved(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """You halve every column; a unit may be there once, or three times."""
    return weight[mapping], bias[mapping], following[:, mapping] / 2


@net2wider.mistake
def copied_units_halved(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """You halve what a copied unit passes on; it may be there three times and more."""
    share = np.minimum(_copies(mapping), 2)
    return weight[mapping], bias[mapping], following[:, mapping] / share


@net2wider.mistake
def halved_at_each_copy(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """Each new copy takes half of what is left, so that the shares are 1/2, 1/4, ....

    The net computes the same, but here the shares are equal.
    """
    rank = np.array([np.sum(mapping[:i] == k) for i, k in enumerate(mapping)])
    share = 0.5 ** np.minimum(rank + 1, _copies(mapping) - 1)
    return weight[mapping], bias[mapping], following[:, mapping] * share


@net2wider.mistake
def copies_side_by_side(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """Your copies stand side by side; new unit i is a copy of `mapping[i]`."""
    return net2wider_reference(weight, bias, following, np.sort(mapping))


@net2wider.mistake
def bias_as_it_was(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """The bias is still that of the old units; copy it too."""
    return weight[mapping], bias, following[:, mapping] / _copies(mapping)


@net2wider.mistake
def weight_divided_too(
    weight: Array, bias: Array, following: Array, mapping: Integers
) -> Wider:
    """You divide the incoming weights too; the outgoing ones are enough."""
    copies = _copies(mapping)
    new = weight[mapping] / copies[:, None]
    return new, bias[mapping], following[:, mapping] / copies
