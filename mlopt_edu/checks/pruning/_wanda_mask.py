"""Task 6: Wanda's score, compared within each row."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Mask, places


def wanda_mask_reference(weight: Array, inputs: Array, amount: float) -> Mask:
    """True where a weight stays: the largest |w| * norm of its input in each row."""
    n_pruned = round(amount * weight.shape[1])
    before = tuple(range(inputs.ndim - 1))
    scores = np.abs(weight) * np.sqrt(np.sum(inputs**2, axis=before))
    place = np.argsort(np.argsort(scores, axis=1), axis=1)
    return np.asarray(place >= n_pruned)


def _layers(rng: np.random.Generator) -> Iterator[Case]:
    inputs = np.array([[1.0, 4, 0.1], [2, -3, -0.2]])
    weight = np.array([[2.0, -1, 3], [-0.5, 0.01, 9]])
    yield Case("two rows", {"weight": weight, "inputs": inputs, "amount": 0.34})
    for rows, columns, batch, amount, label in (
        (6, 10, (30,), 0.5, "10 inputs, half of them"),
        (12, 17, (40,), 0.51, "17 inputs"),
        (12, 17, (40,), 0.9, "17 inputs, 90 %"),
        (8, 11, (3, 7), 0.6, "a batch of sequences"),
        (8, 12, (2, 3, 4), 0.3, "three axes before the features"),
        (5, 5, (5,), 0.4, "5 × 5, five examples"),
        (9, 6, (1,), 0.5, "one example"),
        (1, 8, (20,), 0.7, "one row"),
        (7, 1, (20,), 0.3, "one input"),
        (4, 6, (20,), 0.0, "amount 0"),
        (4, 6, (20,), 1.0, "amount 1"),
    ):
        # Rare large values and a mean: so every other norm gives another ranking.
        shape = (*batch, columns)
        inputs = rng.normal(size=shape) * np.exp(rng.normal(size=shape))
        inputs = (inputs + rng.normal(size=columns)) * rng.uniform(0.2, 2, size=columns)
        weight = rng.normal(size=(rows, columns)) * rng.uniform(0.3, 3, size=(rows, 1))
        yield Case(label, {"weight": weight, "inputs": inputs, "amount": amount})
        if label == "10 inputs, half of them":
            inputs = inputs * (np.arange(columns) != 4)
            case = {"weight": weight, "inputs": inputs, "amount": 0.1}
            yield Case("an input that is always 0", case)
        if label == "amount 0":
            weight = weight * (np.arange(columns) != 2)
            case = {"weight": weight, "inputs": inputs, "amount": 0.0}
            yield Case("zeros, and nothing goes", case)


wanda_mask = Task(
    "wanda_mask",
    points=2,
    section="10 · Write it small",
    reference=wanda_mask_reference,
    draw=_layers,
    forbid=LIBRARIES,
    hints=(
        "A large weight on an input that is always near 0: what does it change in the "
        "outputs? And which weights feed the *same* output?",
        "The score of a weight is its size times the Euclidean norm of its input over "
        "all examples: one norm for each column. Rank each row by itself.",
        "`inputs.reshape(-1, inputs.shape[-1])` has one row an example. Its "
        "`np.linalg.norm(…, axis=0)` times `np.abs(weight)` are the scores; `argsort` "
        "twice along `axis=1` gives the places.",
    ),
)


def _examples(inputs: Array) -> Array:
    return inputs.reshape(-1, inputs.shape[-1])


def _norms(inputs: Array) -> Array:
    return np.asarray(np.linalg.norm(_examples(inputs), axis=0))


def _row_by_row(scores: Array, n_pruned: int) -> Mask:
    return np.argsort(np.argsort(scores, axis=1), axis=1) >= n_pruned


def _by(scores: Array, amount: float) -> Mask:
    return _row_by_row(scores, round(amount * scores.shape[1]))


@wanda_mask.mistake
def one_ranking_for_all_rows(weight: Array, inputs: Array, amount: float) -> Mask:
    """You rank the whole matrix; Wanda compares the weights of one output only.

    Rank each row by itself, so that every output keeps as many inputs.
    """
    scores = np.abs(weight) * _norms(inputs)
    return places(scores) >= round(amount * scores.size)


@wanda_mask.mistake
def magnitude_alone(weight: Array, inputs: Array, amount: float) -> Mask:
    """This ranks a row by magnitude: no input counts for more than another.

    Each input has a norm of its own, over the examples, so one for each column.
    """
    return _by(np.abs(weight), amount)


@wanda_mask.mistake
def column_by_column(weight: Array, inputs: Array, amount: float) -> Mask:
    """You rank each column, the weights of one *input*; a row is one output."""
    scores = np.abs(weight) * _norms(inputs)
    place = np.argsort(np.argsort(scores, axis=0), axis=0)
    return place >= round(amount * len(weight))


@wanda_mask.mistake
def small_ones_kept(weight: Array, inputs: Array, amount: float) -> Mask:
    """Your mask is True for the lowest scores: those go. True means that it stays."""
    return ~wanda_mask_reference(weight, inputs, amount)


@wanda_mask.mistake
def mean_size_of_inputs(weight: Array, inputs: Array, amount: float) -> Mask:
    """You take the mean (or sum) of each input's *sizes*; its norm squares them first.

    A feature that is rare and large then counts for more.
    """
    return _by(np.abs(weight) * np.abs(_examples(inputs)).mean(axis=0), amount)


@wanda_mask.mistake
def mean_of_inputs(weight: Array, inputs: Array, amount: float) -> Mask:
    """You take the mean of each input, where plus and minus cancel; take its norm."""
    return _by(np.abs(weight * _examples(inputs).mean(axis=0)), amount)


@wanda_mask.mistake
def sum_with_its_sign(weight: Array, inputs: Array, amount: float) -> Mask:
    """You add up each input as it is: plus and minus cancel, and scores are negative.

    The Euclidean norm squares first.
    """
    return _by(np.abs(weight) * _examples(inputs).sum(axis=0), amount)


@wanda_mask.mistake
def threshold_of_none(weight: Array, inputs: Array, amount: float) -> Mask:
    """If none of a row is to go, all go: the score number `n_pruned - 1` is the last.

    That is the largest. The smallest that *stays* has the number `n_pruned`.
    """
    scores = np.abs(weight) * _norms(inputs)
    number = round(amount * weight.shape[1]) - 1
    return np.asarray(scores > np.sort(scores, axis=1)[:, [number]])


@wanda_mask.mistake
def zeros_masked(weight: Array, inputs: Array, amount: float) -> Mask:
    """Your mask is False wherever a weight is 0, even where nothing goes.

    The mask says what is pruned. It does not follow from the pruned weights, `!= 0`.
    """
    stays = wanda_mask_reference(weight, inputs, amount)
    return stays & np.not_equal(weight, 0)


@wanda_mask.mistake
def spread_of_inputs(weight: Array, inputs: Array, amount: float) -> Mask:
    """You take the standard deviation, so an input with a mean counts for too little.

    The norm is that of the inputs as they are.
    """
    return _by(np.abs(weight) * _examples(inputs).std(axis=0), amount)


@wanda_mask.mistake
def largest_of_inputs(weight: Array, inputs: Array, amount: float) -> Mask:
    """You take each input's largest size, which hangs on one example; take its norm."""
    return _by(np.abs(weight) * np.abs(_examples(inputs)).max(axis=0), amount)


@wanda_mask.mistake
def norm_squared(weight: Array, inputs: Array, amount: float) -> Mask:
    """The root is missing: you multiply |w| by the *square* of the input's norm."""
    return _by(np.abs(weight) * _norms(inputs) ** 2, amount)


@wanda_mask.mistake
def norm_counts_too_little(weight: Array, inputs: Array, amount: float) -> Mask:
    """You square the weight but not the norm, or take the norm's root once more.

    The score is |w| times the norm. `np.linalg.norm` has taken the root already.
    """
    return _by(weight**2 * _norms(inputs), amount)


@wanda_mask.mistake
def norms_alone(weight: Array, inputs: Array, amount: float) -> Mask:
    """Your scores are those of the inputs alone, so every row loses the same ones.

    Multiply by |w|.
    """
    return _by(np.ones(weight.shape) * _norms(inputs), amount)


@wanda_mask.mistake
def sign_counts(weight: Array, inputs: Array, amount: float) -> Mask:
    """A weight of -3 counts as small: take |w| before you multiply."""
    return _by(weight * _norms(inputs), amount)


@wanda_mask.mistake
def divided_by_the_norm(weight: Array, inputs: Array, amount: float) -> Mask:
    """You divide by the norm; a weight on a large input matters *more*."""
    with np.errstate(divide="ignore"):
        return _by(np.abs(weight) / _norms(inputs), amount)


@wanda_mask.mistake
def share_that_stays(weight: Array, inputs: Array, amount: float) -> Mask:
    """You keep the share `amount` of each row; it is the share that goes."""
    columns = weight.shape[1]
    scores = np.abs(weight) * _norms(inputs)
    return _row_by_row(scores, columns - round(amount * columns))


@wanda_mask.mistake
def rounded_down(weight: Array, inputs: Array, amount: float) -> Mask:
    """One weight too many may stay in a row: `int` cuts fractions off; use `round`."""
    scores = np.abs(weight) * _norms(inputs)
    return _row_by_row(scores, int(amount * weight.shape[1]))


@wanda_mask.mistake
def rounded_up(weight: Array, inputs: Array, amount: float) -> Mask:
    """One weight too many may go in a row: 3.2 of them are 3. Use `round`."""
    scores = np.abs(weight) * _norms(inputs)
    return _row_by_row(scores, int(np.ceil(amount * weight.shape[1])))


@wanda_mask.mistake
def order_for_place(weight: Array, inputs: Array, amount: float) -> Mask:
    """One `argsort` lists *which* score is smallest, next, …: no score's place.

    A second `argsort` along the same axis turns that list into places.
    """
    order = np.argsort(np.abs(weight) * _norms(inputs), axis=1)
    return np.asarray(order >= round(amount * weight.shape[1]))


@wanda_mask.mistake
def weights_for_mask(weight: Array, inputs: Array, amount: float) -> Array:
    """These are the pruned weights; return the mask, True where a weight stays."""
    return weight * wanda_mask_reference(weight, inputs, amount)
