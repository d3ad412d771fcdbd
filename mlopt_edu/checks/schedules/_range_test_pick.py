"""Task 6: read the base lr off a range test."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task

Array = NDArray[np.float64]


def range_test_pick_reference(lrs: Array, losses: Array, beta: float) -> float:
    """Smooth the losses, cut the blow-up off, take the steepest descent over log lr."""
    smoothed: list[float] = []
    for step in range(len(losses)):
        # A running average with its bias corrected is this weighted mean.
        weights = beta ** np.arange(step, -1, -1)
        now = weights @ losses[: step + 1] / weights.sum()
        if not now <= 4 * min([now, *smoothed]):
            break
        smoothed.append(now)
    slopes = np.diff(smoothed) / np.diff(np.log(lrs[: len(smoothed)]))
    return float(lrs[np.argmin(slopes)])


def _curve(rng: np.random.Generator, lrs: Array) -> Array:
    """Draw a flat start, a noisy fall by a factor 6, and a wild blow-up."""
    x = np.log10(lrs)
    fall_at = rng.uniform(-3, -1.5)
    losses = 0.4 + 2 / (1 + np.exp(3 * (x - fall_at)))
    losses *= np.exp(rng.normal(scale=0.06, size=len(x)))
    blow_up = 10 ** (2 * np.maximum(x - fall_at - rng.uniform(1, 1.5), 0)) - 1
    return np.asarray(losses + blow_up * np.exp(rng.normal(size=len(x))))


def _range_tests(rng: np.random.Generator) -> Iterator[Case]:
    def case(label: str, lrs: Array, losses: Array, beta: float) -> Case:
        return Case(label, {"lrs": lrs, "losses": losses, "beta": beta})

    decades = np.geomspace(1e-5, 10, 7)
    for label, top in (
        ("a bump below four times the best", 3.8),
        ("a bump of four times the best", 4),
        ("a bump above four times the best", 4.01),
        ("a bump above four times the first", 9),
    ):
        bump = np.array([2.1, 2, 1, 2.5, top, 3.5, 1.2])
        yield case(label, decades, bump, 0.0)
    steep = np.array([30.0, 6, 3, 2.5, 2.4, 2.3, 2.2])
    yield case("a first loss far above the best", decades, steep, 0.0)
    lrs = np.geomspace(1e-5, 10, 24)
    lucky = np.r_[np.full(13, 5.0), 1, np.full(4, 5.0), np.full(6, 0.3)]
    yield case("one lucky batch", lrs, lucky, 0.8)
    bad = np.r_[np.full(7, 2.0), 9, np.full(8, 2.0), np.full(8, 0.1)]
    yield case("one bad batch", lrs, bad, 0.8)
    back = np.array([3.0, 2.8, np.nan, 2.6, 1, 0.9, 0.8])
    yield case("a nan, and good losses after it", decades, back, 0.0)
    dip = np.r_[3.0, 2.2, np.full(12, 3.0), np.full(10, 0.5)]
    yield case("a dip at the second step", lrs, dip, 0.9)
    gentle = np.r_[3.0, np.full(13, 2.0), np.linspace(2, 1.5, 10)]
    yield case("a high first loss", lrs, gentle, 0.9)
    for n, beta in ((30, 0.0), (40, 0.8), (60, 0.9), (80, 0.95)):
        lrs = np.geomspace(1e-5, 10, n)
        yield case(f"{n} step sizes, beta {beta}", lrs, _curve(rng, lrs), beta)
    for n, beta in ((25, 0.0), (35, 0.5), (50, 0.9)):
        lrs = 10 ** np.sort(rng.uniform(-5, 1, size=n))
        label = f"{n} unequally spaced step sizes, beta {beta}"
        yield case(label, lrs, _curve(rng, lrs), beta)
    lrs = np.geomspace(1e-5, 10, 40)
    losses = _curve(rng, lrs)
    losses[np.argmin(losses) + 1 :] = np.nan
    yield case("losses that end in nan", lrs, losses, 0.7)
    losses = _curve(rng, lrs)
    losses[np.argmin(losses) + 1 :] = np.inf
    yield case("losses that end in inf", lrs, losses, 0.7)


range_test_pick = Task(
    "range_test_pick",
    points=3,
    section="04 · Explore",
    reference=range_test_pick_reference,
    draw=_range_tests,
    forbid=("torch.optim", "mlopt_edu.schedules"),
    hints=(
        "Three steps: smooth, cut, pick. Do them one after another, and look at the "
        "curve after each.",
        "For the cut keep the smallest smoothed loss so far in a variable, and leave "
        "the loop at the first one that is not at most four times it.",
        "Slopes are `np.diff` of what you kept, over `np.diff` of the logarithms of "
        "its step sizes. `np.argmin` of them is the index of the answer in `lrs`.",
    ),
)


def _smooth(losses: Array, beta: float) -> Array:
    average, smoothed = 0.0, []
    for step, loss in enumerate(losses):
        average = beta * average + (1 - beta) * loss
        smoothed.append(average / (1 - beta ** (step + 1)))
    return np.array(smoothed)


def _cut(smoothed: Array, limits: Array) -> Array:
    """Keep what comes before the first loss that is not within its limit."""
    beyond = np.flatnonzero(~(smoothed <= limits))
    return smoothed[: beyond[0]] if beyond.size else smoothed


def _kept(losses: Array, beta: float) -> Array:
    smoothed = _smooth(losses, beta)
    return _cut(smoothed, 4 * np.minimum.accumulate(smoothed))


def _slopes(lrs: Array, smoothed: Array) -> Array:
    return np.asarray(np.diff(smoothed) / np.diff(np.log(lrs[: len(smoothed)])))


def _steepest(lrs: Array, smoothed: Array) -> float:
    return float(lrs[np.argmin(_slopes(lrs, smoothed))])


@range_test_pick.mistake
def lowest_loss(lrs: Array, losses: Array, beta: float) -> float:
    """You take the lr with the lowest loss. There the loss has stopped falling.

    It is the edge of the blow-up and too large to train with. Take the steepest fall.
    """
    return float(lrs[np.argmin(_kept(losses, beta))])


@range_test_pick.mistake
def tenth_of_the_lowest(lrs: Array, losses: Array, beta: float) -> float:
    """A tenth of the lr with the lowest loss is a good rule, and the library's.

    Asked for here is the lr at which the smoothed loss falls most steeply.
    """
    return float(lrs[np.argmin(_kept(losses, beta))] / 10)


@range_test_pick.mistake
def largest_before_the_blow_up(lrs: Array, losses: Array, beta: float) -> float:
    """You take the last lr before the cut: there the loss already climbs."""
    return float(lrs[len(_kept(losses, beta)) - 1])


@range_test_pick.mistake
def slope_against_lr(lrs: Array, losses: Array, beta: float) -> float:
    """You divide by differences of lr, so the smallest step sizes look steepest.

    The step sizes grow by factors: divide by differences of their *logarithms*.
    """
    kept = _kept(losses, beta)
    return float(lrs[np.argmin(np.diff(kept) / np.diff(lrs[: len(kept)]))])


@range_test_pick.mistake
def not_divided(lrs: Array, losses: Array, beta: float) -> float:
    """You compare falls, not slopes: right only if all the lrs are equally spaced.

    Divide each difference by the difference of the logarithms.
    """
    return float(lrs[np.argmin(np.diff(_kept(losses, beta)))])


@range_test_pick.mistake
def slope_of_the_log_loss(lrs: Array, losses: Array, beta: float) -> float:
    """You take the logarithm of the loss as well; only the lr goes logarithmically."""
    return _steepest(lrs, np.log(_kept(losses, beta)))


@range_test_pick.mistake
def central_slopes(lrs: Array, losses: Array, beta: float) -> float:
    """`np.gradient` averages the slopes on both sides of a point.

    Take the slope from each point to the *next* one: `np.diff`.
    """
    kept = _kept(losses, beta)
    return float(lrs[np.argmin(np.gradient(kept, np.log(lrs[: len(kept)])))])


@range_test_pick.mistake
def end_of_the_fall(lrs: Array, losses: Array, beta: float) -> float:
    """You return the lr where the steepest fall *ends*; return where it begins."""
    return float(lrs[np.argmin(_slopes(lrs, _kept(losses, beta))) + 1])


@range_test_pick.mistake
def steepest_climb(lrs: Array, losses: Array, beta: float) -> float:
    """You take the largest slope, the steepest *climb*. A fall has a negative slope."""
    return float(lrs[np.argmax(_slopes(lrs, _kept(losses, beta)))])


@range_test_pick.mistake
def steepest_in_size(lrs: Array, losses: Array, beta: float) -> float:
    """You drop the sign of the slope, so a steep climb wins. Look for the fall only."""
    return float(lrs[np.argmax(np.abs(_slopes(lrs, _kept(losses, beta))))])


@range_test_pick.mistake
def not_smoothed(lrs: Array, losses: Array, beta: float) -> float:
    """You do not smooth: the steepest fall between two neighbours is mostly noise."""
    return _steepest(lrs, _kept(losses, 0.0))


@range_test_pick.mistake
def bias_not_corrected(lrs: Array, losses: Array, beta: float) -> float:
    """Your average starts at 0 and climbs for many steps before it shows the loss.

    Divide it by 1 - beta ** (number of losses so far).
    """
    averages = _smooth(losses, beta) * (1 - beta ** np.arange(1, len(losses) + 1))
    return _steepest(lrs, _cut(averages, 4 * np.minimum.accumulate(averages)))


@range_test_pick.mistake
def bias_corrected_one_step_late(lrs: Array, losses: Array, beta: float) -> float:
    """Your correction is one step ahead: after the first loss, divide by 1 - beta.

    Its exponent is the number of losses so far, this one included, and no more.
    """
    steps = np.arange(1, len(losses) + 1)
    smoothed = _smooth(losses, beta) * (1 - beta**steps) / (1 - beta ** (steps + 1))
    return _steepest(lrs, _cut(smoothed, 4 * np.minimum.accumulate(smoothed)))


@range_test_pick.mistake
def average_starts_at_first_loss(lrs: Array, losses: Array, beta: float) -> float:
    """Your average starts at the first loss, which then weighs far too much.

    Start at 0 and divide by 1 - beta ** (number of losses so far).
    """
    average, smoothed = losses[0], []
    for loss in losses:
        average = beta * average + (1 - beta) * loss
        smoothed.append(average)
    kept = np.array(smoothed)
    return _steepest(lrs, _cut(kept, 4 * np.minimum.accumulate(kept)))


@range_test_pick.mistake
def weights_swapped(lrs: Array, losses: Array, beta: float) -> float:
    """The weights are swapped: `beta` belongs to the old average, 1 - beta to the loss.

    With beta 0 there is no smoothing at all.
    """
    average, smoothed = 0.0, []
    for step, loss in enumerate(losses):
        average = (1 - beta) * average + beta * loss
        smoothed.append(average / (1 - beta ** (step + 1)))
    kept = np.array(smoothed)
    return _steepest(lrs, _cut(kept, 4 * np.minimum.accumulate(kept)))


@range_test_pick.mistake
def not_cut(lrs: Array, losses: Array, beta: float) -> float:
    """You do not cut. Beyond the blow-up the loss jumps up and falls down wildly.

    Keep only what comes before the first loss above four times the best.
    """
    with np.errstate(invalid="ignore"):
        return _steepest(lrs, _smooth(losses, beta))


@range_test_pick.mistake
def cut_on_the_raw_losses(lrs: Array, losses: Array, beta: float) -> float:
    """You cut where a *raw* loss is too large; one bad batch must not end the test.

    Compare the smoothed losses.
    """
    raw = _cut(losses, 4 * np.minimum.accumulate(losses))
    return _steepest(lrs, _smooth(raw, beta))


@range_test_pick.mistake
def cut_against_the_whole_run(lrs: Array, losses: Array, beta: float) -> float:
    """You compare with the smallest loss of the *whole* run, also of later steps.

    A high start is thrown away then. Compare with the smallest so far.
    """
    smoothed = _smooth(losses, beta)
    keep = smoothed <= 4 * np.nanmin(smoothed)
    return _steepest(lrs[keep], smoothed[keep])


@range_test_pick.mistake
def cut_against_the_start(lrs: Array, losses: Array, beta: float) -> float:
    """You compare with four times the *first* loss; compare with the smallest so far.

    A loss that fell far and came all the way back is a blow-up too.
    """
    smoothed = _smooth(losses, beta)
    return _steepest(lrs, _cut(smoothed, np.full_like(smoothed, 4 * smoothed[0])))


@range_test_pick.mistake
def goes_on_after_the_cut(lrs: Array, losses: Array, beta: float) -> float:
    """You leave out only the losses that are too high themselves.

    After the first of them the run has diverged: leave out all that follows, too.
    """
    smoothed = _smooth(losses, beta)
    keep = smoothed <= 4 * np.fmin.accumulate(smoothed)
    return _steepest(lrs[keep], smoothed[keep])


@range_test_pick.mistake
def nan_kept(lrs: Array, losses: Array, beta: float) -> float:
    """A nan slips through your cut: `nan > anything` is False.

    Ask `not loss <= 4 * best` instead, or test with `np.isfinite`.
    """
    smoothed = _smooth(losses, beta)
    above = np.flatnonzero(smoothed > 4 * np.fmin.accumulate(smoothed))
    return _steepest(lrs, smoothed[: above[0]] if above.size else smoothed)


@range_test_pick.mistake
def index_for_lr(lrs: Array, losses: Array, beta: float) -> int:
    """This is the index; return the step size that stands there in `lrs`."""
    return int(np.argmin(_slopes(lrs, _kept(losses, beta))))


@range_test_pick.mistake
def logarithm_returned(lrs: Array, losses: Array, beta: float) -> float:
    """You return the logarithm of the step size; return the step size."""
    return float(np.log(_steepest(lrs, _kept(losses, beta))))


@range_test_pick.mistake
def nan_left_out(lrs: Array, losses: Array, beta: float) -> float:
    """You leave out the losses of `inf` and `nan` and go on after them.

    The run has diverged there: cut off the first of them and all that follows.
    """
    finite = np.isfinite(losses)
    return range_test_pick_reference(lrs[finite], losses[finite], beta)
