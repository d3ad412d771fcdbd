"""Task 7: entropy of activations, and which end of it to prune."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Integers

Outcome = tuple[Array, Integers]


def units_to_keep_reference(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """Entropy of each unit's histogram in bits, and the units that stay, in order."""
    entropies = []
    for unit in activations.T:
        counts, _ = np.histogram(unit, bins)
        shares = counts[counts > 0] / len(unit)
        entropies.append(np.sum(shares * np.log2(1 / shares)))
    order = np.argsort(entropies)
    return np.array(entropies), np.sort(order[n_pruned:])


def _activations(rng: np.random.Generator, n: int, units: int) -> Array:
    """Units that say more and more: from one that never answers to a flat spread."""
    columns = []
    for unit in range(units):
        kind = (unit + 1) % 6
        before = rng.normal(size=n) + (-1.5, -0.5, 0, 0.7, 0, 0)[kind]
        column = np.maximum(before, 0)
        if kind == 4:
            column = np.exp(1.5 * before)
        elif kind == 5:
            column = rng.random(n)
        columns.append(rng.uniform(0.1, 9) * column)
    columns[units // 2] = np.zeros(n)
    return np.column_stack(columns)


def _layers(rng: np.random.Generator) -> Iterator[Case]:
    activations = np.array([[0.0, 1, 0], [0, 2, 0], [0, 3, 0], [0, 4, 1.0]])
    inputs = {"activations": activations, "bins": 4, "n_pruned": 1}
    yield Case("three units", inputs)
    for n, units, bins, share, label in (
        (60, 7, 10, 0.3, "seven units"),
        (90, 5, 3, 0.4, "three bins"),
        (50, 4, 2, 0.4, "two bins"),
        (40, 6, 100, 0.7, "more bins than examples"),
        (6, 6, 5, 0.5, "as many examples as units"),
        (200, 4, 20, 0.0, "nothing is pruned"),
        (70, 5, 8, 0.9, "one unit is left"),
    ):
        activations = _activations(rng, n, units)
        n_pruned = _without_a_tie(activations, bins, round(share * units))
        inputs = {"activations": activations, "bins": bins, "n_pruned": n_pruned}
        yield Case(label, inputs)
    saturated = np.tanh(3 * rng.normal(size=(80, 5)) + 2 * rng.normal(size=5))
    n_pruned = _without_a_tie(saturated, 12, 2)
    inputs = {"activations": saturated, "bins": 12, "n_pruned": n_pruned}
    yield Case("tanh, of both signs", inputs)


def _without_a_tie(activations: Array, bins: int, wanted: int) -> int:
    """Return the number nearest to `wanted` that cuts between different entropies."""
    found, _ = units_to_keep_reference(activations, bins, 0)
    gaps = np.diff(np.sort(found), prepend=-1.0)
    return int(min(np.flatnonzero(gaps > 1e-9), key=lambda n: abs(n - wanted)))


units_to_keep = Task(
    "units_to_keep",
    points=2,
    section="10 · Derive",
    reference=units_to_keep_reference,
    draw=_layers,
    forbid=LIBRARIES,
    rtol=3e-7,  # between log(p + 1e-8), which is near enough, and log(p + 1e-7)
    hints=(
        "A unit gives 0 for every input. How many bins does it fill, what is its "
        "entropy, and would anybody miss it?",
        "`np.histogram(unit, bins)` counts one unit. Divide by the number of examples, "
        "leave the empty bins out, and add up `-p * log2(p)`.",
        "Sort the units by entropy with `argsort`. The first `n_pruned`, the lowest, "
        "go; `np.sort` the rest.",
    ),
)


def _shares(unit: Array, bins: int) -> Array:
    counts, _ = np.histogram(unit, bins)
    return counts[counts > 0] / len(unit)


def _entropy(shares: Array) -> float:
    return float(np.sum(shares * np.log2(1 / shares)))


def _keep(scores: Array | list[float], n_pruned: int) -> Outcome:
    """Keep the units of the highest scores."""
    return np.array(scores), np.sort(np.argsort(scores)[n_pruned:])


@units_to_keep.mistake
def high_entropy_pruned(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """You prune the units with the *highest* entropy: those that say the most.

    A unit of entropy 0 answers the same to every input. The low end goes.
    """
    entropies, _ = units_to_keep_reference(activations, bins, n_pruned)
    return entropies, np.sort(np.argsort(-entropies)[n_pruned:])


@units_to_keep.mistake
def units_that_go(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """These are the units that go; return those that stay."""
    entropies, _ = units_to_keep_reference(activations, bins, n_pruned)
    return entropies, np.sort(np.argsort(entropies)[:n_pruned])


@units_to_keep.mistake
def not_in_order(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """You list the units by their entropy; list them in the order of the layer."""
    entropies, _ = units_to_keep_reference(activations, bins, n_pruned)
    return entropies, np.argsort(entropies)[n_pruned:]


@units_to_keep.mistake
def in_nats(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """Your entropy is in nats; for bits take the logarithm to base 2."""
    entropies, keep = units_to_keep_reference(activations, bins, n_pruned)
    return entropies * np.log(2), keep


@units_to_keep.mistake
def divided_by_its_bound(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """You divide by log2(bins), so that the most is 1; here it stays in bits."""
    entropies, keep = units_to_keep_reference(activations, bins, n_pruned)
    return entropies / np.log2(bins), keep


@units_to_keep.mistake
def sign_lost(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """The minus is missing: your entropies are negative, and the order turns round."""
    entropies, _ = units_to_keep_reference(activations, bins, n_pruned)
    return _keep(-entropies, n_pruned)


@units_to_keep.mistake
def empty_bins_give_nan(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """An empty bin gives 0 · log 0, which is nan, and so the sum is; leave it out."""
    shares = [np.histogram(unit, bins)[0] / len(unit) for unit in activations.T]
    with np.errstate(all="ignore"):
        return _keep([_entropy(share) for share in shares], n_pruned)


@units_to_keep.mistake
def eps_in_the_log(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """You add a small number in the logarithm against empty bins: that shifts it.

    A unit that is always 0 even gets an entropy below 0. Leave empty bins out.
    """
    shares = [np.histogram(unit, bins)[0] / len(unit) for unit in activations.T]
    return _keep([float(-np.sum(p * np.log2(p + 1e-6))) for p in shares], n_pruned)


@units_to_keep.mistake
def one_range_for_all(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """You cut one range for all units; a unit of small activations fills one bin.

    Cut each unit's own range, from its smallest activation to its largest.
    """
    edges = np.histogram_bin_edges(activations, bins)
    scores = []
    for unit in activations.T:
        counts = np.histogram(unit, edges)[0]
        scores.append(_entropy(counts[counts > 0] / len(unit)))
    return _keep(scores, n_pruned)


@units_to_keep.mistake
def range_from_zero(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """Your bins start at 0; they start at the unit's smallest activation."""
    scores = []
    for unit in activations.T:
        counts, _ = np.histogram(unit, bins, range=(0, max(unit.max(), 0)))
        scores.append(_entropy(counts[counts > 0] / len(unit)))
    return _keep(scores, n_pruned)


@units_to_keep.mistake
def densities_for_shares(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """`density=True` divides by the width of a bin: these are no probabilities.

    Divide the counts by the number of examples.
    """
    scores = []
    for unit in activations.T:
        density, _ = np.histogram(unit, bins, density=True)
        scores.append(_entropy(density[density > 0]))
    return _keep(scores, n_pruned)


@units_to_keep.mistake
def counts_for_shares(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """You put counts into the formula; divide them by the number of examples."""
    scores = [_entropy(_shares(unit, bins) * len(unit)) for unit in activations.T]
    return _keep(scores, n_pruned)


@units_to_keep.mistake
def activations_as_probabilities(
    activations: Array, bins: int, n_pruned: int
) -> Outcome:
    """You take the activations themselves for probabilities; count them in bins.

    This asks how evenly a unit answers. A unit that always says 1 then comes first.
    """
    scores = []
    for unit in np.abs(activations.T):
        positive = unit[unit > 0]
        scores.append(_entropy(positive / positive.sum()) if len(positive) else 0.0)
    return _keep(scores, n_pruned)


@units_to_keep.mistake
def zeros_left_out(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """You leave the zeros out; that a unit is silent is one of the things it says."""
    scores = []
    for unit in activations.T:
        active = unit[unit != 0]
        scores.append(_entropy(_shares(active, bins)) if len(active) else 0.0)
    return _keep(scores, n_pruned)


@units_to_keep.mistake
def largest_dropped(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """The largest activation falls into no bin; the last bin includes its upper end."""
    scores = []
    for unit in activations.T:
        low, width = unit.min(), (np.ptp(unit) or 1.0) / bins
        places: NDArray[np.int64] = ((unit - low) / width).astype(int)
        counts = np.bincount(places, minlength=bins)[:bins]
        scores.append(_entropy(counts[counts > 0] / len(unit)))
    return _keep(scores, n_pruned)


@units_to_keep.mistake
def largest_in_a_bin_of_its_own(
    activations: Array, bins: int, n_pruned: int
) -> Outcome:
    """The largest activation gets a bin of its own, one more than `bins`.

    The last bin includes its upper end. `np.digitize` leaves it out.
    """
    scores = []
    for unit in activations.T:
        edges = np.linspace(unit.min(), unit.max(), bins + 1)
        _, counts = np.unique(np.digitize(unit, edges), return_counts=True)
        scores.append(_entropy(counts / len(unit)))
    return _keep(scores, n_pruned)


@units_to_keep.mistake
def slice_up_to_minus_0(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """If no unit is to go, all go: `[:-n_pruned]` is `[:0]` then, which is empty.

    Sort from the lowest and take `[n_pruned:]`.
    """
    entropies, keep = units_to_keep_reference(activations, bins, n_pruned)
    return entropies, keep if n_pruned else keep[:0]


@units_to_keep.mistake
def only_of_those_that_stay(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """You return the entropies of the units that stay; return those of all units."""
    entropies, keep = units_to_keep_reference(activations, bins, n_pruned)
    return entropies[keep], keep


@units_to_keep.mistake
def spread_for_entropy(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """This is the standard deviation; the entropy comes from a histogram."""
    return _keep(activations.std(axis=0), n_pruned)


@units_to_keep.mistake
def share_of_activity(activations: Array, bins: int, n_pruned: int) -> Outcome:
    """You rank units by how often they are not 0; the entropy asks for all bins."""
    return _keep((activations != 0).mean(axis=0), n_pruned)


@units_to_keep.mistake
def only_the_units(activations: Array, bins: int, n_pruned: int) -> Integers:
    """The entropies are missing: return them first, then the units that stay."""
    return units_to_keep_reference(activations, bins, n_pruned)[1]
