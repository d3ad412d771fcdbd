"""Task 2: how many gradients fp16 turns into 0, with and without a scale."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task

Array = NDArray[np.float32]


def lost_share_reference(gradients: Array, scale: float) -> float:
    """Count what lies at or below half of the smallest subnormal, 2^-24."""
    sizes = np.abs(gradients[gradients != 0].astype(np.float64))
    if len(sizes) == 0:
        return 0.0
    # At 2^-25 exactly it is a tie, and the even neighbour is 0.
    return float(np.sum(sizes * scale <= 2.0**-25) / len(sizes))


def _signed(rng: np.random.Generator, low: float, high: float, size: int) -> Array:
    """Draw sizes from 2^low to 2^high, evenly by their logarithm, of both signs."""
    sizes = 2.0 ** rng.uniform(low, high, size)
    return (sizes * np.where(rng.permutation(size) % 2, 1, -1)).astype(np.float32)


def _layers(rng: np.random.Generator) -> Iterator[Case]:
    signed = np.array([3e-9, -0.5, 2e-5, -2e-8, 5e-8, 0], np.float32)
    yield Case("six numbers", {"gradients": signed, "scale": 1.0})
    wide = _signed(rng, -34, -6, 60)
    wide[rng.permutation(60)[:7]] = 0
    yield Case("no scale, a few zeros", {"gradients": wide, "scale": 1.0})
    yield Case("a small scale", {"gradients": wide, "scale": 16.0})
    yield Case("a scale below 1", {"gradients": wide, "scale": 0.25})
    yield Case("a matrix", {"gradients": wide.reshape(5, 12), "scale": 3.0})
    steps = np.array([1, -1, 3, -3, 1.25, 0.99, 1.003, 1.999, 2, 4, 0], np.float32)
    ties = {"gradients": steps * np.float32(2**-25), "scale": 1.0}
    yield Case("at half of the smallest subnormal", ties)
    ties = {"gradients": steps * np.float32(2**-37), "scale": 4096.0}
    yield Case("there after scaling", ties)
    large = np.concatenate([_signed(rng, -8, 12, 9), _signed(rng, -60, -50, 3)])
    yield Case("a scale that overflows", {"gradients": large, "scale": 2.0**16})
    sizes = np.array([1e-45, -4e-45, 1e-3, 0], np.float32)  # fp32 makes them 0 too
    yield Case("0 before they are rounded", {"gradients": sizes, "scale": 0.125})
    yield Case("all are 0", {"gradients": np.zeros(4, np.float32), "scale": 8.0})
    yield Case("one, lost", {"gradients": np.array([1e-9], np.float32), "scale": 2.0})


lost_share = Task(
    "lost_share",
    points=2,
    section="16 · Derive",
    reference=lost_share_reference,
    draw=_layers,
    forbid=("mlopt_edu.mixed_precision", "torch.amp", "torch.cuda.amp"),
    hints=(
        "NumPy has the format: multiply first, then `.astype(np.float16)`, and look "
        "for zeros.",
        "Some gradients were 0 before. They cannot be lost: leave them out of both "
        "counts.",
        "`rest = gradients[gradients != 0]`; the answer is the mean of "
        "`(rest * scale).astype(np.float16) == 0`, and 0.0 if `rest` is empty.",
    ),
)


def _share(gradients: Array, scale: float, limit: float) -> float:
    sizes = np.abs(gradients[gradients != 0].astype(np.float64)) * scale
    return float(np.mean(sizes < limit)) if sizes.size else 0.0


@lost_share.mistake
def below_the_smallest_normal(gradients: Array, scale: float) -> float:
    """You count everything below 6e-5, the smallest *normal* number, as lost.

    Below it come the subnormals, with fewer digits: down to 6e-8 they are not 0.
    """
    return _share(gradients, scale, 2.0**-14)


@lost_share.mistake
def below_the_smallest_subnormal(gradients: Array, scale: float) -> float:
    """You count everything below 6e-8, the smallest subnormal, as lost.

    From half of it up, rounding to the nearest saves a number: it becomes 6e-8.
    """
    return _share(gradients, scale, 2.0**-24)


@lost_share.mistake
def tie_is_saved(gradients: Array, scale: float) -> float:
    """Only a tie is wrong: 2^-25 lies half-way between 0 and 2^-24.

    Half goes to even, and 0 is even: it is lost too.
    """
    return _share(gradients, scale, 2.0**-25)


@lost_share.mistake
def zeros_count_as_lost(gradients: Array, scale: float) -> float:
    """Gradients that were 0 from the start count as lost in your answer.

    Look only at those that are not 0 before the rounding.
    """
    half = (gradients.astype(np.float64) * scale).astype(np.float16)
    return float(np.mean(half == 0))


@lost_share.mistake
def share_of_all(gradients: Array, scale: float) -> float:
    """You divide by the number of all gradients; divide by those that are not 0."""
    kept = np.count_nonzero(gradients)
    return lost_share_reference(gradients, scale) * kept / gradients.size


@lost_share.mistake
def scale_divides(gradients: Array, scale: float) -> float:
    """You divide by the scale before rounding. Multiply: it lifts small gradients.

    The division comes later, in fp32.
    """
    return lost_share_reference(gradients, 1 / scale)


@lost_share.mistake
def scaled_too_late(gradients: Array, scale: float) -> float:
    """Your scale changes nothing: what fp16 made 0 stays 0 however you multiply it.

    Multiply first, then round.
    """
    return lost_share_reference(gradients, 1.0)


@lost_share.mistake
def overflow_counts_too(gradients: Array, scale: float) -> float:
    """You count infinite values as lost. That is another fault: an overflow.

    Asked is the share that becomes 0.
    """
    rest = gradients[gradients != 0].astype(np.float64)
    half = (rest * scale).astype(np.float16)
    bad = (half == 0) | np.isinf(half)
    return float(np.mean(bad)) if rest.size else 0.0


@lost_share.mistake
def signs_forgotten(gradients: Array, scale: float) -> float:
    """Every negative gradient counts as lost: compare the *size* with the limit."""
    rest = gradients[gradients != 0].astype(np.float64) * scale
    return float(np.mean(rest <= 2.0**-25)) if rest.size else 0.0


@lost_share.mistake
def count_for_share(gradients: Array, scale: float) -> float:
    """This is a count. Divide it by the number of gradients that are not 0."""
    return lost_share_reference(gradients, scale) * np.count_nonzero(gradients)


@lost_share.mistake
def share_kept(gradients: Array, scale: float) -> float:
    """This is the share that survives; asked is the share that is lost."""
    kept = 1 - lost_share_reference(gradients, scale)
    return kept if np.any(gradients) else 0.0


@lost_share.mistake
def nan_without_gradients(gradients: Array, scale: float) -> float:
    """It is right but for one case: if all gradients are 0, you divide 0 by 0.

    Nothing is lost then: return 0.
    """
    if not np.any(gradients):
        return float("nan")
    return lost_share_reference(gradients, scale)


@lost_share.mistake
def below_six_e_8(gradients: Array, scale: float) -> float:
    """You count everything up to 6e-8, the smallest subnormal, as lost.

    From half of it up, rounding to the nearest saves a number: it becomes 6e-8.
    """
    return _share(gradients, scale, 6e-8)
