"""Task 10: a program that quantizes before it folds batch norm, to mend."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array

Folded = tuple[Array, Array]
Norm = tuple[Array, Array, Array, Array]


def fold_and_quantize_reference(
    weight: Array, norm: Norm, eps: float, bits: int
) -> Folded:
    """Fold the norm into the convolution, and quantize what has come out."""
    gamma, beta, mean, variance = norm
    factor = gamma / np.sqrt(variance + eps)
    folded = (weight.T * factor).T
    scale = np.abs(folded).max() / (2 ** (bits - 1) - 1)
    return scale * np.round(folded / scale), beta - mean * factor


def _convolutions(rng: np.random.Generator) -> Iterator[Case]:
    for shape, bits, eps, label in (
        ((2, 1, 1, 1), 4, 0.1, "two weights"),
        ((3, 2, 3, 3), 8, 1e-5, "filters"),
        ((4, 4, 2, 2), 8, 1e-3, "a large eps"),
        ((5, 3, 1, 1), 4, 1e-5, "1 × 1, four bits"),
        ((3, 5, 3), 6, 1e-5, "one axis of positions"),
        ((1, 2, 3, 3), 8, 1e-5, "one channel"),
        ((4, 2, 3, 3), 2, 1e-2, "two bits"),
    ):
        weight, n = rng.normal(size=shape), shape[0]
        gamma = rng.choice([-1.0, 1.0], size=n) * rng.uniform(0.3, 3, size=n)
        norm = gamma, rng.normal(size=n), rng.normal(size=n), rng.uniform(0.01, 4, n)
        inputs = {"weight": weight, "norm": norm, "eps": eps, "bits": bits}
        yield Case(label, inputs)


fold_and_quantize = Task(
    "fold_and_quantize",
    kind="repair",
    points=1,
    section="11 · What goes wrong",
    reference=fold_and_quantize_reference,
    draw=_convolutions,
    forbid=LIBRARIES,
    hints=(
        "Count the different numbers in the weight that comes back. With 2 bits there "
        "may be three: how many are there?",
        "There are two faults. One: the weight is quantized first and folded then, "
        "which takes it off the grid. Two: the mean is subtracted as it is, though "
        "it goes through the norm too.",
        "Fold, `weight * factor`, and quantize the *product* with one scale from its "
        "largest size. The bias is `beta - mean * factor`.",
    ),
)


def _on_grid(weight: Array, bits: int, top: float | None = None) -> Array:
    scale = (np.abs(weight).max() if top is None else top) / (2 ** (bits - 1) - 1)
    return np.asarray(scale * np.round(weight / scale))


def _factor(norm: Norm, eps: float) -> Array:
    return np.asarray(norm[0] / np.sqrt(norm[3] + eps))


def _times(weight: Array, factor: Array) -> Array:
    return np.asarray(weight * factor.reshape(-1, *[1] * (weight.ndim - 1)))


def _bias(norm: Norm, eps: float) -> Array:
    return np.asarray(norm[1] - norm[2] * _factor(norm, eps))


@fold_and_quantize.mistake
def as_given(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """Both faults of the given program are still in it.

    Is the weight that comes back on a grid? And does the norm scale the mean?
    """
    return _times(_on_grid(weight, bits), _factor(norm, eps)), norm[1] - norm[2]


@fold_and_quantize.mistake
def quantized_before_folding(
    weight: Array, norm: Norm, eps: float, bits: int
) -> Folded:
    """The bias is right; but folding takes a quantized weight off the grid again.

    Fold first, and quantize the product: that is the weight that will be stored.
    """
    return _times(_on_grid(weight, bits), _factor(norm, eps)), _bias(norm, eps)


@fold_and_quantize.mistake
def mean_not_scaled(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """The weight is right; in the bias the mean must be scaled: `mean * factor`."""
    folded = _times(weight, _factor(norm, eps))
    return _on_grid(folded, bits), norm[1] - norm[2]


@fold_and_quantize.mistake
def quantizing_left_out(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """You fold, but then nothing is quantized: this is still a floating-point layer.

    Training would never see the rounding that the folded weight will get.
    """
    return _times(weight, _factor(norm, eps)), _bias(norm, eps)


@fold_and_quantize.mistake
def scale_of_the_unfolded(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """Your scale comes from the weight before folding: take it from the product."""
    folded = _times(weight, _factor(norm, eps))
    return _on_grid(folded, bits, float(np.abs(weight).max())), _bias(norm, eps)


@fold_and_quantize.mistake
def scale_for_each_channel(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """You quantize each channel by itself; here one scale serves the whole tensor."""
    folded = _times(weight, _factor(norm, eps))
    rows = [_on_grid(channel, bits) for channel in folded]
    return np.stack(rows), _bias(norm, eps)


@fold_and_quantize.mistake
def quantized_twice(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """You quantize before folding and after it: the first rounding is one too many."""
    folded = _times(_on_grid(weight, bits), _factor(norm, eps))
    return _on_grid(folded, bits), _bias(norm, eps)


@fold_and_quantize.mistake
def eps_left_out(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """`eps` is missing: the norm divides by `np.sqrt(variance + eps)`."""
    return fold_and_quantize_reference(weight, norm, 0.0, bits)


@fold_and_quantize.mistake
def eps_outside_the_root(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """You add `eps` to the root; it belongs under it, to the variance."""
    gamma, beta, mean, variance = norm
    other = (np.sqrt(variance) + eps) ** 2
    return fold_and_quantize_reference(weight, (gamma, beta, mean, other), 0.0, bits)


@fold_and_quantize.mistake
def divided_by_the_variance(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """You divide by the variance; the norm divides by its root."""
    gamma, beta, mean, variance = norm
    other = gamma, beta, mean, (variance + eps) ** 2
    return fold_and_quantize_reference(weight, other, 0.0, bits)


@fold_and_quantize.mistake
def bias_quantized_too(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """You quantize the bias as well: it is added in 32 bits, and stays as it is."""
    folded = _times(weight, _factor(norm, eps))
    return _on_grid(folded, bits), _on_grid(_bias(norm, eps), bits)


@fold_and_quantize.mistake
def mean_left_out(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """Your bias is `beta` alone; the running mean is subtracted, scaled."""
    folded = _times(weight, _factor(norm, eps))
    return _on_grid(folded, bits), norm[1] * 1


def _with_bias(weight: Array, norm: Norm, eps: float, bits: int, bias: Array) -> Folded:
    return _on_grid(_times(weight, _factor(norm, eps)), bits), bias


@fold_and_quantize.mistake
def mean_added(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """You add the scaled mean; the norm subtracts it."""
    bias = norm[1] + norm[2] * _factor(norm, eps)
    return _with_bias(weight, norm, eps, bits, bias)


@fold_and_quantize.mistake
def mean_times_gamma(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """You scale the mean by gamma alone; the norm divides it by the root as well."""
    return _with_bias(weight, norm, eps, bits, norm[1] - norm[2] * norm[0])


@fold_and_quantize.mistake
def shift_scaled_too(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """You scale `beta` along with the mean; it is added after scaling, as it is."""
    bias = (norm[1] - norm[2]) * _factor(norm, eps)
    return _with_bias(weight, norm, eps, bits, bias)


@fold_and_quantize.mistake
def integers_returned(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """You return the integers; bring them back, by multiplying with the scale."""
    folded = _times(weight, _factor(norm, eps))
    scale = np.abs(folded).max() / (2 ** (bits - 1) - 1)
    return np.round(folded / scale), _bias(norm, eps)


@fold_and_quantize.mistake
def signs_in_the_maximum(weight: Array, norm: Norm, eps: float, bits: int) -> Folded:
    """You take the largest folded weight with its sign, and overlook negative ones.

    The largest size counts: |w|.
    """
    folded = _times(weight, _factor(norm, eps))
    return _on_grid(folded, bits, float(folded.max())), _bias(norm, eps)
