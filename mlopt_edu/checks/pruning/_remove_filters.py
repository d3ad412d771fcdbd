"""Task 9: channels leave a convolution, its batch norm and the layer behind flatten."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Integers

Norm = tuple[Array, Array, Array, Array]
Outcome = tuple[Array, Norm | tuple[Array, ...], Array]


def remove_filters_reference(
    conv: Array, norm: Norm, linear: Array, n_keep: int
) -> Outcome:
    """Keep the channels with the largest scale of the norm; all three layers follow."""
    channels = len(conv)
    order = np.argsort(np.abs(norm[0]))
    keep = np.sort(order[channels - n_keep :])
    positions = linear.shape[1] // channels
    columns = (keep[:, None] * positions + np.arange(positions)).ravel()
    return conv[keep], tuple(vector[keep] for vector in norm), linear[:, columns]


def _networks(rng: np.random.Generator) -> Iterator[Case]:
    for channels, inputs, kernel, positions, classes, n_keep, label in (
        (3, 1, 1, 2, 2, 2, "three channels, two positions"),
        (8, 3, 3, 4, 5, 3, "3 of 8 channels"),
        (12, 4, 3, 9, 10, 7, "7 of 12 channels"),
        (6, 6, 1, 6, 4, 4, "as many positions as channels"),
        (9, 2, 3, 1, 3, 4, "one position"),
        (7, 3, 5, 4, 1, 1, "one channel is left, one class"),
        (5, 2, 3, 3, 4, 5, "all channels stay"),
    ):
        conv = rng.normal(size=(channels, inputs, kernel, kernel))
        conv = conv * rng.uniform(0.2, 3, size=(channels, 1, 1, 1))
        scale, shift, mean = rng.normal(size=(3, channels))
        norm = (scale, shift, mean, np.exp(3 * rng.normal(size=channels)))
        linear = rng.normal(size=(classes, channels * positions))
        network = {"conv": conv, "norm": norm, "linear": linear}
        yield Case(label, {**network, "n_keep": n_keep})


remove_filters = Task(
    "remove_filters",
    points=2,
    section="10 · Write it small",
    reference=remove_filters_reference,
    draw=_networks,
    forbid=LIBRARIES,
    hints=(
        "Flatten lays all positions of channel 0 side by side, then all of channel 1. "
        "Which columns of `linear` belong to channel 2?",
        "First find the channels that stay, in order. Filters and the four vectors of "
        "the norm are indexed by channel. Columns come in blocks, one a channel.",
        "`linear.reshape(classes, channels, -1)` gives the blocks an axis of their "
        "own: index it with the channels, and reshape to `(classes, -1)`.",
    ),
)


def _largest(scores: Array, n_keep: int) -> Integers:
    return np.sort(np.argsort(scores)[len(scores) - n_keep :])


def _cut(conv: Array, norm: Norm, linear: Array, keep: Integers) -> Outcome:
    columns = np.arange(linear.shape[1]).reshape(len(conv), -1)[keep].ravel()
    return conv[keep], tuple(vector[keep] for vector in norm), linear[:, columns]


@remove_filters.mistake
def one_column_a_channel(
    conv: Array, norm: Norm, linear: Array, n_keep: int
) -> Outcome:
    """You keep *one* column of the linear layer a channel; it has one a position.

    After flatten each channel is a block of height times width columns.
    """
    keep = _largest(np.abs(norm[0]), n_keep)
    filters, vectors, _ = _cut(conv, norm, linear, keep)
    return filters, vectors, linear[:, keep]


@remove_filters.mistake
def channels_last(conv: Array, norm: Norm, linear: Array, n_keep: int) -> Outcome:
    """You take the columns as if channels came *last*, one of each at every position.

    torch puts channels first: all positions of one channel lie side by side.
    """
    keep = _largest(np.abs(norm[0]), n_keep)
    filters, vectors, _ = _cut(conv, norm, linear, keep)
    blocks = linear.reshape(len(linear), -1, len(conv))[:, :, keep]
    return filters, vectors, blocks.reshape(len(linear), -1)


@remove_filters.mistake
def first_columns_kept(conv: Array, norm: Norm, linear: Array, n_keep: int) -> Outcome:
    """The shapes fit, but you keep the *first* columns of the linear layer.

    Keep the blocks of the channels that stay.
    """
    keep = _largest(np.abs(norm[0]), n_keep)
    filters, vectors, columns = _cut(conv, norm, linear, keep)
    return filters, vectors, linear[:, : columns.shape[1]]


@remove_filters.mistake
def linear_as_it_was(conv: Array, norm: Norm, linear: Array, n_keep: int) -> Outcome:
    """The linear layer is what it was, and no longer fits: its columns must follow."""
    keep = _largest(np.abs(norm[0]), n_keep)
    filters, vectors, _ = _cut(conv, norm, linear, keep)
    return filters, vectors, linear


@remove_filters.mistake
def norm_as_it_was(conv: Array, norm: Norm, linear: Array, n_keep: int) -> Outcome:
    """The norm is what it was: its four vectors have an entry a channel and follow."""
    keep = _largest(np.abs(norm[0]), n_keep)
    filters, _, columns = _cut(conv, norm, linear, keep)
    return filters, norm, columns


@remove_filters.mistake
def running_statistics_as_they_were(
    conv: Array, norm: Norm, linear: Array, n_keep: int
) -> Outcome:
    """Scale and shift follow, but the running mean and variance do not.

    They are no parameters, so they are easily forgotten; evaluation needs them.
    """
    keep = _largest(np.abs(norm[0]), n_keep)
    filters, _, columns = _cut(conv, norm, linear, keep)
    return filters, (norm[0][keep], norm[1][keep], *norm[2:]), columns


@remove_filters.mistake
def first_statistics_kept(
    conv: Array, norm: Norm, linear: Array, n_keep: int
) -> Outcome:
    """You keep the *first* running means and variances; keep those of your channels."""
    keep = _largest(np.abs(norm[0]), n_keep)
    filters, _, columns = _cut(conv, norm, linear, keep)
    first = (vector[:n_keep] for vector in norm[2:])
    return filters, (norm[0][keep], norm[1][keep], *first), columns


@remove_filters.mistake
def only_zeroed(conv: Array, norm: Norm, linear: Array, n_keep: int) -> Outcome:
    """You set filters to 0, and every shape is what it was: nothing gets faster.

    Take them out, and everything that belongs to them.
    """
    stays = np.isin(np.arange(len(conv)), _largest(np.abs(norm[0]), n_keep))
    return conv * stays[:, None, None, None], norm, linear


@remove_filters.mistake
def sign_counts(conv: Array, norm: Norm, linear: Array, n_keep: int) -> Outcome:
    """You rank the scales with their sign; a scale of -3 is as strong as 3."""
    return _cut(conv, norm, linear, _largest(norm[0], n_keep))


@remove_filters.mistake
def small_scales_kept(conv: Array, norm: Norm, linear: Array, n_keep: int) -> Outcome:
    """You keep the channels with the smallest scales; keep the largest."""
    return _cut(conv, norm, linear, _largest(-np.abs(norm[0]), n_keep))


@remove_filters.mistake
def ranked_by_filters(conv: Array, norm: Norm, linear: Array, n_keep: int) -> Outcome:
    """You rank by the size of the filters; the norm divides by it again.

    Rank by the scale of the norm, its first vector.
    """
    return _cut(conv, norm, linear, _largest(np.abs(conv).sum((1, 2, 3)), n_keep))


@remove_filters.mistake
def ranked_by_shift(conv: Array, norm: Norm, linear: Array, n_keep: int) -> Outcome:
    """You rank by the shift, the second vector; the scale is the first."""
    return _cut(conv, norm, linear, _largest(np.abs(norm[1]), n_keep))


@remove_filters.mistake
def scale_over_spread(conv: Array, norm: Norm, linear: Array, n_keep: int) -> Outcome:
    """You divide the scale by the running deviation: the norm divides by it already.

    After that each channel has a spread of its scale. Rank by the scale alone.
    """
    return _cut(conv, norm, linear, _largest(np.abs(norm[0]) / norm[3] ** 0.5, n_keep))


@remove_filters.mistake
def that_many_removed(conv: Array, norm: Norm, linear: Array, n_keep: int) -> Outcome:
    """You remove `n_keep` channels; that many *stay*."""
    return _cut(
        conv, norm, linear, _largest(np.abs(norm[0]), max(len(conv) - n_keep, 0))
    )


@remove_filters.mistake
def by_importance(conv: Array, norm: Norm, linear: Array, n_keep: int) -> Outcome:
    """This network gives the right outputs, but its channels are sorted by scale.

    Leave them in their order: sort the indices.
    """
    order = np.argsort(-np.abs(norm[0]))[:n_keep]
    return _cut(conv, norm, linear, order)


@remove_filters.mistake
def by_importance_upwards(
    conv: Array, norm: Norm, linear: Array, n_keep: int
) -> Outcome:
    """The right channels stay, but `argsort` lists them from small to large scale.

    Leave them in their order: sort the indices.
    """
    order = np.argsort(np.abs(norm[0]))[len(conv) - n_keep :]
    return _cut(conv, norm, linear, order)


@remove_filters.mistake
def everything_zeroed(conv: Array, norm: Norm, linear: Array, n_keep: int) -> Outcome:
    """You set channels to 0, and every shape is what it was: nothing gets faster.

    Take them out of all three.
    """
    stays = np.isin(np.arange(len(conv)), _largest(np.abs(norm[0]), n_keep))
    columns = np.repeat(stays, linear.shape[1] // len(conv))
    vectors = tuple(vector * stays for vector in norm)
    return conv * stays[:, None, None, None], vectors, linear * columns


@remove_filters.mistake
def first_channels_kept(conv: Array, norm: Norm, linear: Array, n_keep: int) -> Outcome:
    """You keep the first channels; keep those with the largest scales."""
    return _cut(conv, norm, linear, np.arange(n_keep))
