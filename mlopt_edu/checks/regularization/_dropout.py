"""Task 3: dropout on a given mask, rescaled in training and idle at evaluation."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .._task import Case, Task
from ._soft_threshold import Array

Mask = NDArray[np.bool_]


def dropout_reference(x: Array, keep_mask: Mask, p: float, training: bool) -> Array:
    """Zero what the mask drops and divide the rest by 1 - p; only in training."""
    return np.where(keep_mask, x, 0.0) / (1 - p) if training else x


def _activations(rng: np.random.Generator) -> Iterator[Case]:
    def case(label: str, x: Array, mask: Mask, p: float, training: bool) -> Case:
        inputs = {"x": x, "keep_mask": mask, "p": p, "training": training}
        return Case(label, inputs)

    x, mask = np.array([1.0, -2, 3, 4]), np.array([True, False, True, False])
    yield case("four activations", x, mask, 0.25, True)
    yield case("four activations, evaluation", x, mask, 0.25, False)
    for shape, p, training, label in (
        ((16, 10), 0.5, True, "a batch"),
        ((16, 10), 0.5, False, "a batch, evaluation"),
        ((1, 7), 0.2, True, "a batch of one"),
        ((3, 50), 0.9, True, "p 0.9"),
        ((3, 50), 0.9, False, "p 0.9, evaluation"),
        ((2, 3, 4, 5), 0.3, True, "images"),
        ((12,), 0.0, True, "p 0"),
        ((0, 4), 0.5, True, "an empty batch"),
    ):
        x = rng.normal(size=shape)
        yield case(label, x, rng.random(shape) >= p, p, training)
    x, everything = rng.normal(size=(5, 4)), np.ones((5, 4), dtype=bool)
    yield case("a mask that happens to keep everything", x, everything, 0.4, True)
    mask = rng.permutation([True, True, False, True, False, True]).reshape(2, 3, 1, 1)
    x = rng.normal(size=(2, 3, 4, 5))
    yield case("a mask of whole channels", x, mask, 0.4, True)
    yield case("a mask of whole channels, evaluation", x, mask, 0.4, False)


dropout = Task(
    "dropout",
    points=2,
    section="07 · Write it small",
    reference=dropout_reference,
    draw=_activations,
    forbid=(
        "torch.nn.functional.dropout",
        "torch.nn.functional.feature_dropout",
        "torch.nn.Dropout",
        "torch.dropout",
        "mlopt_edu.regularization",
    ),
    hints=(
        "What does the layer have to do at evaluation? And by which factor is the "
        "mean of its output too small in training, if all it does is to set to 0?",
        "At evaluation return x as it is. In training multiply by the mask and divide "
        "by the probability of *keeping* an activation.",
        "That probability is `1 - p`. `x * keep_mask` counts True as 1 and False as 0, "
        "and stretches a mask of whole channels over the pixels.",
    ),
)


@dropout.mistake
def left_on_at_evaluation(x: Array, keep_mask: Mask, p: float, training: bool) -> Array:
    """Dropout is still on at evaluation, so the predictions change with the mask.

    When `training` is False return x as it is.
    """
    return dropout_reference(x, keep_mask, p, True)


@dropout.mistake
def not_rescaled(x: Array, keep_mask: Mask, p: float, training: bool) -> Array:
    """You do not rescale what is kept, so the mean shrinks to 1 - p of its size.

    The next layer then sees larger inputs at evaluation than it was trained on.
    Divide by 1 - p in training.
    """
    return np.where(keep_mask, x, 0.0) if training else x


@dropout.mistake
def rescaled_at_evaluation_instead(
    x: Array, keep_mask: Mask, p: float, training: bool
) -> Array:
    """You multiply by 1 - p at evaluation: the first form of dropout, and consistent.

    Here it is the *inverted* form: divide in training, do nothing at evaluation.
    """
    return np.where(keep_mask, x, 0.0) if training else (1 - p) * x


@dropout.mistake
def rescaled_at_both(x: Array, keep_mask: Mask, p: float, training: bool) -> Array:
    """You correct twice: by 1 / (1 - p) in training and by 1 - p at evaluation.

    Once is enough. At evaluation return x as it is.
    """
    right = dropout_reference(x, keep_mask, p, training)
    return right if training else (1 - p) * x


@dropout.mistake
def divided_at_evaluation_too(
    x: Array, keep_mask: Mask, p: float, training: bool
) -> Array:
    """You divide by 1 - p at evaluation too, where nothing was dropped.

    At evaluation return x as it is.
    """
    right = dropout_reference(x, keep_mask, p, training)
    return right if training else x / (1 - p)


@dropout.mistake
def multiplied(x: Array, keep_mask: Mask, p: float, training: bool) -> Array:
    """You *multiply* by 1 - p in training, which makes the mean even smaller.

    Divide by it.
    """
    return np.where(keep_mask, x, 0.0) * (1 - p) if training else x


@dropout.mistake
def p_taken_for_keeping(x: Array, keep_mask: Mask, p: float, training: bool) -> Array:
    """You divide by p; p is the probability of *dropping*. Divide by 1 - p."""
    return np.where(keep_mask, x, 0.0) / np.float64(p) if training else x


@dropout.mistake
def mask_inverted(x: Array, keep_mask: Mask, p: float, training: bool) -> Array:
    """You drop what the mask keeps; it is True where an activation stays."""
    return dropout_reference(x, ~keep_mask, p, training)


@dropout.mistake
def training_inverted(x: Array, keep_mask: Mask, p: float, training: bool) -> Array:
    """You drop at evaluation and not in training; it is the other way round."""
    return dropout_reference(x, keep_mask, p, not training)


@dropout.mistake
def by_the_share_kept(x: Array, keep_mask: Mask, p: float, training: bool) -> Array:
    """You divide by the share that *this* mask keeps; divide by 1 - p.

    Masks keep a share of 1 - p *on average*. One that keeps nothing would make you
    divide by 0.
    """
    return np.where(keep_mask, x, 0.0) / keep_mask.mean() if training else x


@dropout.mistake
def nothing_dropped(x: Array, keep_mask: Mask, p: float, training: bool) -> Array:
    """You rescale and drop nothing: `keep_mask` is never used."""
    return x / (1 - p) if training else x


@dropout.mistake
def dropped_removed(x: Array, keep_mask: Mask, p: float, training: bool) -> Array:
    """You take the dropped activations out, so the shape changes; set them to 0."""
    kept = np.broadcast_to(keep_mask, x.shape)
    return x[kept] / (1 - p) if training else x


@dropout.mistake
def dropped_kept_as_they_were(
    x: Array, keep_mask: Mask, p: float, training: bool
) -> Array:
    """You rescale what the mask keeps and leave the rest as it is; set it to 0."""
    return np.where(keep_mask, x / (1 - p), x) if training else x
