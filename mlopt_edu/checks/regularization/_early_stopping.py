"""Task 7: stop by the validation loss, keep the best epoch, report its test loss."""

from collections.abc import Callable, Iterator

import numpy as np

from .._task import Case, Task
from ._soft_threshold import Array

Outcome = tuple[int, int, float]


def early_stopping_reference(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """Return the last epoch that is trained, the one that is kept, its test loss."""
    best = 0
    for epoch, loss in enumerate(validation_losses):
        if loss < validation_losses[best] - min_delta:
            best = epoch
        if epoch - best == patience:
            break
    return epoch, best, float(test_losses[best])


def _curves(rng: np.random.Generator) -> Iterator[Case]:
    def case(label: str, losses: Array, patience: int, min_delta: float) -> Case:
        # A test curve of its own: lowest elsewhere, and still falling at the end.
        test = losses + 2 + _sixtyfourths(rng.normal(size=len(losses)))
        test = np.nan_to_num(test, nan=9.0) - np.arange(len(losses)) / 4
        inputs = {"validation_losses": losses, "test_losses": test}
        return Case(label, {**inputs, "patience": patience, "min_delta": min_delta})

    for validation, patience, min_delta, label in (
        ([3.0, 2, 2.5, 2.25, 2.5, 1], 3, 0.0, "six epochs"),
        ([4.0, 3, 3, 3, 2, 1], 2, 0.0, "a plateau of equal losses"),
        ([5.0, 4, 4.5, 3, 3.5, 2, 2.5, 2.75, 3, 1], 3, 0.0, "ups and downs"),
        ([2.0, 1, 4, 3, 2, 1.5, 1.25, 0.5], 4, 0.0, "a jump, and slowly back"),
        ([4.0, 3.75, 3.5, 3.25, 3, 2.75], 2, 0.25, "gains of just min_delta"),
        ([4.0, 3.75, 3.5, 3.25, 3, 2.75], 3, 0.5, "gains that add up to min_delta"),
        ([4.0, 3.9375, 3.875, 3.8125, 3.75, 1], 4, 0.5, "gains below min_delta"),
        ([2.0, 2.25, 2, 1.75, 2.5], 2, 0.25, "a gain that is too small"),
        ([8.0, 7, 6, 5, 4], 2, 0.0, "a loss that only falls"),
        ([1.0, 2, 3, 4], 2, 0.0, "a loss that only rises"),
        ([3.0, 2, 4, 5], 10, 0.0, "a patience longer than the run"),
        ([2.0, 3, 4, 1], 3, 0.0, "a gain at the last moment"),
        ([7.0], 2, 0.0, "one epoch"),
        ([3.0, 2, np.nan, np.nan, 1, np.nan, np.nan, np.nan], 3, 0.0, "losses of nan"),
        ([3.0, 2, np.nan, np.nan, np.nan, 1], 3, 0.0, "nan until the patience ends"),
        ([-1.0, -2, -2.125, -2.25, -1.5, -3], 3, 0.25, "negative losses"),
        (2 - np.arange(6.0) / 2**30, 2, 0.0, "the smallest gains"),
    ):
        yield case(label, np.array(validation), patience, min_delta)
    for epochs, patience, min_delta in ((60, 5, 0.0), (120, 10, 0.125), (40, 2, 0.0)):
        progress = np.arange(epochs) / epochs
        curve = 4 * np.exp(-5 * progress) + 3 * progress**2
        losses = _sixtyfourths(curve + 0.2 * rng.normal(size=epochs))
        yield case(f"{epochs} epochs", losses, patience, min_delta)


def _sixtyfourths(values: Array) -> Array:
    """Round so that sums are exact and every way to write the test gives the same."""
    return np.round(64 * values) / 64


early_stopping = Task(
    "early_stopping",
    points=3,
    section="07 · Write it small",
    reference=early_stopping_reference,
    draw=_curves,
    forbid=("mlopt_edu.regularization",),
    hints=(
        "With patience 2 and validation losses 3, 2, 2.5, 2, 1: after which epoch do "
        "you stop, and which do you keep? What are the test losses needed for?",
        "Remember `best`, the epoch of the last improvement: its loss is what a new "
        "one must beat by more than `min_delta`. The wait at an epoch is its distance "
        "from `best`.",
        "Stop as soon as `epoch - best == patience`, else after the last epoch. Look "
        "`test_losses[best]` up when everything is decided.",
    ),
)


def _stopped(
    losses: Array, patience: int, improves: Callable[[float, float], bool]
) -> tuple[int, int]:
    """Return the last and the best epoch for any idea of `improves(loss, best)`."""
    best = epoch = 0
    for epoch, loss in enumerate(losses):
        if epoch and improves(loss, losses[best]):
            best = epoch
        if epoch - best == patience:
            break
    return epoch, best


@early_stopping.mistake
def stopped_on_the_test_set(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You stop on the *test* set. What chooses has been trained on.

    The loss you report is then too good: the lowest of many noisy ones. Let the
    validation losses decide, and look at one test loss at the very end.
    """
    return early_stopping_reference(test_losses, test_losses, patience, min_delta)


@early_stopping.mistake
def kept_by_the_test_set(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You stop by the validation loss, and then pick the epoch by the *test* loss.

    That is choosing on the test set too, and what you report is too good.
    """
    stop, _, _ = early_stopping_reference(
        validation_losses, test_losses, patience, min_delta
    )
    best = int(np.argmin(test_losses[: stop + 1]))
    return stop, best, float(test_losses[best])


@early_stopping.mistake
def lowest_test_loss(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """Both epochs are right, and you report the lowest test loss of the run.

    Nobody has these weights. Report the test loss of the epoch that is kept.
    """
    stop, best, _ = early_stopping_reference(
        validation_losses, test_losses, patience, min_delta
    )
    return stop, best, float(test_losses[: stop + 1].min())


@early_stopping.mistake
def last_weights_kept(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You keep the weights of the last epoch, which had waited in vain for a gain.

    Keep those of the best epoch.
    """
    stop, _, _ = early_stopping_reference(
        validation_losses, test_losses, patience, min_delta
    )
    return stop, stop, float(test_losses[stop])


@early_stopping.mistake
def test_loss_of_the_last(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """Both epochs are right, and you report the test loss of the last one.

    Report that of the epoch that is kept.
    """
    stop, best, _ = early_stopping_reference(
        validation_losses, test_losses, patience, min_delta
    )
    return stop, best, float(test_losses[stop])


@early_stopping.mistake
def validation_loss_reported(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You report the validation loss, which chose the epoch and so is too good.

    Report the test loss of the epoch that is kept.
    """
    stop, best, _ = early_stopping_reference(
        validation_losses, test_losses, patience, min_delta
    )
    return stop, best, float(validation_losses[best])


@early_stopping.mistake
def one_too_many(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You wait one epoch too long: stop when the wait *reaches* the patience."""
    return early_stopping_reference(
        validation_losses, test_losses, patience + 1, min_delta
    )


@early_stopping.mistake
def one_too_few(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You stop one epoch too early: the best epoch itself is no wait."""
    return early_stopping_reference(
        validation_losses, test_losses, patience - 1, min_delta
    )


@early_stopping.mistake
def waits_in_total(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You count all epochs without improvement; only those *in a row* count.

    An improvement sets the count back to 0.
    """
    best = waited = epoch = 0
    for epoch, loss in enumerate(validation_losses):
        if loss < validation_losses[best] - min_delta:
            best = epoch
        elif epoch:
            waited += 1
        if waited >= patience:
            break
    return epoch, best, float(test_losses[best])


@early_stopping.mistake
def compared_with_the_one_before(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You compare each loss with the one before it; compare it with the *best*.

    After a jump, a loss may fall for long without being any good.
    """
    best = epoch = 0
    for epoch in range(1, len(validation_losses)):
        if validation_losses[epoch] < validation_losses[epoch - 1] - min_delta:
            best = epoch
        if epoch - best == patience:
            break
    return epoch, best, float(test_losses[best])


@early_stopping.mistake
def min_delta_ignored(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """Every gain counts for you; only one of more than `min_delta` does."""
    return early_stopping_reference(validation_losses, test_losses, patience, 0.0)


@early_stopping.mistake
def ties_count(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """For you a gain of just `min_delta` is enough; it must be *more*: `<`."""
    stop, best = _stopped(
        validation_losses, patience, lambda loss, best: loss <= best - min_delta
    )
    return stop, best, float(test_losses[best])


@early_stopping.mistake
def min_delta_added(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You *add* `min_delta`, so a loss that is a little worse counts as a gain."""
    stop, best = _stopped(
        validation_losses, patience, lambda loss, best: loss < best + min_delta
    )
    return stop, best, float(test_losses[best])


@early_stopping.mistake
def min_delta_as_a_share(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You take `min_delta` for a share of the best loss; it is a difference."""
    stop, best = _stopped(
        validation_losses, patience, lambda loss, best: loss < best * (1 - min_delta)
    )
    return stop, best, float(test_losses[best])


@early_stopping.mistake
def bar_creeps_down(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """A gain that is too small lowers your bar all the same.

    Then many small gains never add up to an improvement. Move the best loss only
    when it is beaten by more than `min_delta`.
    """
    best = epoch = 0
    bar = np.inf
    for epoch, loss in enumerate(validation_losses):
        if loss < bar - min_delta:
            best = epoch
        bar = min(loss, bar)
        if epoch - best == patience:
            break
    return epoch, best, float(test_losses[best])


@early_stopping.mistake
def lowest_kept(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You stop rightly and keep the epoch with the lowest loss.

    A gain of at most `min_delta` counts as noise: keep the last real improvement.
    """
    stop, _, _ = early_stopping_reference(
        validation_losses, test_losses, patience, min_delta
    )
    best = int(np.nanargmin(validation_losses[: stop + 1]))
    return stop, best, float(test_losses[best])


@early_stopping.mistake
def best_of_the_future(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You keep the best epoch of the whole list, also one after the stop.

    Those epochs were never trained.
    """
    stop, _, _ = early_stopping_reference(
        validation_losses, test_losses, patience, min_delta
    )
    best = int(np.nanargmin(validation_losses))
    return stop, best, float(test_losses[best])


@early_stopping.mistake
def never_stops(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You never stop: `patience` is not used."""
    most = len(validation_losses)
    return early_stopping_reference(validation_losses, test_losses, most, min_delta)


@early_stopping.mistake
def best_plus_patience(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """Your last epoch lies beyond the end of the run when the patience does.

    Then nothing stopped the training, and the last epoch is that of the list.
    """
    _, best, test_loss = early_stopping_reference(
        validation_losses, test_losses, patience, min_delta
    )
    return best + patience, best, test_loss


@early_stopping.mistake
def counted_from_one(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You count the epochs from 1; the first one is epoch 0."""
    stop, best, test_loss = early_stopping_reference(
        validation_losses, test_losses, patience, min_delta
    )
    return stop + 1, best + 1, test_loss


@early_stopping.mistake
def how_many_epochs(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You return *how many* epochs were trained; return the number of the last one.

    The first epoch is epoch 0.
    """
    stop, best, test_loss = early_stopping_reference(
        validation_losses, test_losses, patience, min_delta
    )
    return stop + 1, best, test_loss


@early_stopping.mistake
def maximized(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You look for the *highest* loss, as for an accuracy; a loss should fall."""
    stop, best = _stopped(
        validation_losses, patience, lambda loss, best: loss > best + min_delta
    )
    return stop, best, float(test_losses[best])


@early_stopping.mistake
def best_before_last(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """The order is reversed: first the last epoch trained, then the one kept."""
    stop, best, test_loss = early_stopping_reference(
        validation_losses, test_losses, patience, min_delta
    )
    return best, stop, test_loss


@early_stopping.mistake
def nan_passed_over(
    validation_losses: Array, test_losses: Array, patience: int, min_delta: float
) -> Outcome:
    """You pass over the epochs whose loss is nan; they count as no improvement.

    A training that has become nan would never stop.
    """
    best = epoch = wait = 0
    for epoch, loss in enumerate(validation_losses):
        if loss < validation_losses[best] - min_delta:
            best, wait = epoch, 0
        elif epoch and not np.isnan(loss):
            wait += 1
        if wait == patience:
            break
    return epoch, best, float(test_losses[best])
