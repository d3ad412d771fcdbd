"""Task 5: the noise scale, measured with two batch sizes."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import Array


def noise_scale_reference(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """Variance of one example's gradient over the squared norm of the true one."""
    at_small = (small**2).sum(axis=1).mean()
    at_big = (big**2).sum(axis=1).mean()
    signal = (b_big * at_big - b_small * at_small) / (b_big - b_small)
    noise = (at_small - at_big) / (1 / b_small - 1 / b_big)
    return float(noise / signal)


def _measured(rng: np.random.Generator) -> Iterator[Case]:
    small = np.array([[3.0, 0], [1, 2], [2, 1]])
    big = np.array([[2.0, 1], [2, 1.5]])
    sizes = {"b_small": 1, "b_big": 4}
    yield Case("3 small batches, 2 big ones", {"small": small, "big": big, **sizes})
    for count, more, d, b_small, b_big, label in (
        (5, 3, 1, 2, 8, "one weight"),
        (40, 10, 6, 1, 64, "batches of 1 and of 64"),
        (12, 20, 4, 16, 24, "batches of 16 and of 24"),
        (1, 1, 3, 4, 32, "one batch of each"),
        (30, 5, 200, 8, 512, "200 weights"),
    ):
        true = rng.uniform(1, 2, size=d)
        spread = rng.uniform(0.5, 2, size=d)
        small = true + spread * rng.normal(size=(count, d)) / b_small**0.5
        big = true + spread * rng.normal(size=(more, d)) / b_big**0.5
        sizes = {"b_small": b_small, "b_big": b_big}
        yield Case(label, {"small": small, "big": big, **sizes})
    # Few batches may put either estimate below 0; each row has the length given.
    for at_small, at_big, label in (
        (1.0, 2.0, "a variance below 0"),
        (4.0, 0.5, "a signal below 0"),
    ):
        small, big = (
            size * rows / np.linalg.norm(rows, axis=1)[:, None]
            for size, rows in (
                (at_small, rng.normal(size=(4, 3))),
                (at_big, rng.normal(size=(3, 3))),
            )
        )
        yield Case(label, {"small": small, "big": big, "b_small": 2, "b_big": 8})


noise_scale = Task(
    "noise_scale",
    points=3,
    section="02 · Real data",
    reference=noise_scale_reference,
    draw=_measured,
    hints=(
        "A measured squared norm is too large by the variance / B, on average. You "
        "have it at two values of B: two equations with two unknowns.",
        "First average the squared norms at each size. Their difference holds the "
        "variance alone; then take its share away to get the signal.",
        "variance = (small - big) / (1/b_small - 1/b_big), and signal = (b_big · big - "
        "b_small · small) / (b_big - b_small), with the two averaged squared norms.",
    ),
)


@noise_scale.mistake
def big_batch_for_true(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """The variance is right, but the big batch's norm still has noise in it.

    Its square is too large by the variance / b_big. Subtract that.
    """
    at_small, at_big = (small**2).sum(axis=1).mean(), (big**2).sum(axis=1).mean()
    return float((at_small - at_big) / (1 / b_small - 1 / b_big) / at_big)


@noise_scale.mistake
def small_batch_for_true(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """The variance is right, but the small batch's norm has much noise in it.

    Its square is too large by the variance / b_small. Subtract that.
    """
    at_small, at_big = (small**2).sum(axis=1).mean(), (big**2).sum(axis=1).mean()
    return float((at_small - at_big) / (1 / b_small - 1 / b_big) / at_small)


@noise_scale.mistake
def big_batch_without_noise(
    small: Array, big: Array, b_small: int, b_big: int
) -> float:
    """You take the big batch for the true gradient: its own noise is left out.

    Solve for both unknowns, with both batch sizes.
    """
    at_small, at_big = (small**2).sum(axis=1).mean(), (big**2).sum(axis=1).mean()
    return float((at_small - at_big) * b_small / at_big)


@noise_scale.mistake
def upside_down(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """Signal over noise; the noise scale is noise over signal."""
    return 1 / noise_scale_reference(small, big, b_small, b_big)


@noise_scale.mistake
def sizes_exchanged(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """The batch sizes are exchanged: the small batch has the larger norm."""
    return noise_scale_reference(small, big, b_big, b_small)


@noise_scale.mistake
def norm_of_the_mean(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """You average the gradients before you square, and average the noise away.

    Square the length of each gradient first, and average then.
    """
    return noise_scale_reference(
        small.mean(axis=0)[None], big.mean(axis=0)[None], b_small, b_big
    )


def _solved(at_small: float, at_big: float, b_small: int, b_big: int) -> float:
    """Do the right thing with two numbers that are not the mean squared norms."""
    signal = (b_big * at_big - b_small * at_small) / (b_big - b_small)
    return (at_small - at_big) / (1 / b_small - 1 / b_big) / signal


@noise_scale.mistake
def norms_not_squared(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """You average the norms; only the *squared* norm grows by the variance / B."""
    at_small, at_big = (float(np.linalg.norm(g, axis=1).mean()) for g in (small, big))
    return _solved(at_small, at_big, b_small, b_big)


@noise_scale.mistake
def squared_after_the_mean(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """You average the norms and square then; square each one first."""
    at_small, at_big = (float(np.linalg.norm(g, axis=1).mean()) for g in (small, big))
    return _solved(at_small**2, at_big**2, b_small, b_big)


@noise_scale.mistake
def summed_not_averaged(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """You add up the squared norms; average them, for the counts may differ."""
    return _solved(float((small**2).sum()), float((big**2).sum()), b_small, b_big)


@noise_scale.mistake
def ratio_of_each_pair(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """You take a ratio for each pair and average the ratios: a few wild ones decide.

    Average the squared norms first, and divide once at the end.
    """
    ratios = [
        _solved(float(s @ s), float(b @ b), b_small, b_big)
        for s, b in zip(small, big, strict=False)
    ]
    return float(np.mean(ratios))


@noise_scale.mistake
def only_the_noise(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """This is the variance of one example; divide it by the squared true gradient."""
    at_small, at_big = (small**2).sum(axis=1).mean(), (big**2).sum(axis=1).mean()
    return float((at_small - at_big) / (1 / b_small - 1 / b_big))


@noise_scale.mistake
def only_the_signal(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """This is the squared norm of the true gradient; divide the variance by it."""
    at_small, at_big = (small**2).sum(axis=1).mean(), (big**2).sum(axis=1).mean()
    return float((b_big * at_big - b_small * at_small) / (b_big - b_small))


@noise_scale.mistake
def difference_not_scaled(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """The difference of the squared norms is variance · (1/b_small - 1/b_big).

    Divide by that bracket to get the variance of *one* example.
    """
    scale = noise_scale_reference(small, big, b_small, b_big)
    return scale * (1 / b_small - 1 / b_big)


@noise_scale.mistake
def divided_by_the_sizes(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """You divide by b_big - b_small; noise falls with 1/B, so it is the *inverses*.

    Divide the difference of the squared norms by 1/b_small - 1/b_big.
    """
    scale = noise_scale_reference(small, big, b_small, b_big)
    return scale * (1 / b_small - 1 / b_big) / (b_big - b_small)


@noise_scale.mistake
def not_squared_at_the_end(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """You divide by the norm of the true gradient; divide by its square."""
    at_small, at_big = (small**2).sum(axis=1).mean(), (big**2).sum(axis=1).mean()
    signal = (b_big * at_big - b_small * at_small) / (b_big - b_small)
    noise = (at_small - at_big) / (1 / b_small - 1 / b_big)
    return float(noise / np.sqrt(signal))


@noise_scale.mistake
def negative_cut_off(small: Array, big: Array, b_small: int, b_big: int) -> float:
    """You replace a negative ratio by 0; return it as it comes out.

    It says that there were too few batches to tell. A 0 would say: no noise.
    """
    return max(noise_scale_reference(small, big, b_small, b_big), 0.0)
