"""Task 2: one ranking over all layers, which spares biases and norms."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array, Mask, places

Masks = tuple[Mask, ...]


def global_masks_reference(params: list[Array], amount: float) -> Masks:
    """True where a weight stays; one threshold for the weights of all layers."""
    sizes = np.concatenate([np.abs(p).ravel() for p in params if p.ndim > 1])
    threshold = np.append(np.sort(sizes), np.inf)[round(amount * len(sizes))]
    return tuple((p.ndim < 2) | (np.abs(p) >= threshold) for p in params)


def _networks(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = [np.array([[3.0, -0.5, 2]]), np.array([0.1]), np.array([[-1.0, 0.25]])]
    yield Case("two layers and a bias", {"params": by_hand, "amount": 0.4})
    for shapes, amount, label in (
        (((4, 3), (4,), (2, 4), (2,)), 0.33, "an MLP"),
        (((4, 3), (4,), (2, 4), (2,)), 0.67, "an MLP, two thirds"),
        (((3, 2, 2, 2), (3,), (3,), (2, 12), (2,)), 0.8, "convolution, norm, linear"),
        (((5, 2), (5,), (), (3, 5)), 0.55, "a parameter without axes"),
        (((2, 7),), 0.3, "one matrix"),
        (((3,), (2, 3), (4,), (2, 2)), 0.0, "amount 0"),
        (((3,), (2, 3), (4,), (2, 2)), 1.0, "amount 1"),
    ):
        # A parameter without axes is tiny: whoever ranks it prunes it.
        scales = [rng.uniform(0.2, 2) if shape else 1e-6 for shape in shapes]
        params = [
            np.asarray(scale * rng.normal(size=shape))
            for scale, shape in zip(scales, shapes, strict=True)
        ]
        yield Case(label, {"params": params, "amount": amount})
    params = [rng.normal(size=(6, 5)), rng.normal(size=6), rng.normal(size=(3, 6))]
    params[2] *= 1e-3
    yield Case(
        "a layer of small weights, which goes", {"params": params, "amount": 0.5}
    )
    biases = [1e-6 * rng.normal(size=9), rng.normal(size=(4, 3)), np.zeros(9)]
    biases[2] += 1e-8 * rng.normal(size=9)
    yield Case("biases near 0", {"params": biases, "amount": 0.26})
    zeros = [rng.normal(size=(3, 4)), np.zeros(3), rng.normal(size=(2, 3))]
    zeros[0][1, 2] = 0
    yield Case("zeros, and nothing goes", {"params": zeros, "amount": 0.0})
    norms = [10 + rng.normal(size=8), rng.normal(size=(3, 8)), rng.normal(size=(2, 3))]
    yield Case("norms larger than all weights", {"params": norms, "amount": 0.6})


global_masks = Task(
    "global_masks",
    points=2,
    section="10 · Write it small",
    reference=global_masks_reference,
    draw=_networks,
    forbid=LIBRARIES,
    hints=(
        "How many weights go altogether? Biases and norms are not among those that "
        "you count.",
        "Put the sizes of all weights into one long array and sort it. The threshold "
        "is the size of the smallest weight that stays.",
        "`threshold = np.sort(sizes)[n_pruned]`, and infinity if all of them go. The "
        "mask of a weight is `np.abs(param) >= threshold`; that of a bias is True.",
    ),
)


def _is_weight(param: Array) -> bool:
    return param.ndim > 1


def _cut(params: list[Array], scores: list[Array], n_pruned: int) -> Masks:
    """Prune the lowest of all scores; spare biases and norms all the same."""
    joint = np.concatenate([np.ravel(s) for s in scores])
    threshold = np.append(np.sort(joint), np.inf)[min(n_pruned, len(joint))]
    scored = iter(scores)
    return tuple(
        next(scored) >= threshold if _is_weight(p) else np.ones(p.shape, dtype=bool)
        for p in params
    )


def _sizes(params: list[Array]) -> list[Array]:
    return [np.abs(p) for p in params if _is_weight(p)]


def _count(params: list[Array]) -> int:
    return sum(p.size for p in params if _is_weight(p))


@global_masks.mistake
def layer_by_layer(params: list[Array], amount: float) -> Masks:
    """You prune the same share of every layer: that is pruning *per layer*.

    Here all weights are in one ranking, so that a layer may lose more than another.
    """
    return tuple(
        (p.ndim < 2) | (places(np.abs(p)) >= round(amount * p.size)) for p in params
    )


@global_masks.mistake
def biases_pruned(params: list[Array], amount: float) -> Masks:
    """You prune biases and norms too. They are few, and each shifts a whole unit.

    Leave every array with fewer than two axes as it is, and out of the count.
    """
    sizes = np.concatenate([np.abs(p).ravel() for p in params])
    threshold = np.append(np.sort(sizes), np.inf)[round(amount * len(sizes))]
    return tuple(np.abs(p) >= threshold for p in params)


@global_masks.mistake
def biases_in_the_ranking(params: list[Array], amount: float) -> Masks:
    """You spare biases and norms, but the threshold was found with them in the list.

    So fewer weights go than you were asked to prune. Leave them out before you sort.
    """
    sizes = np.concatenate([np.abs(p).ravel() for p in params])
    threshold = np.append(np.sort(sizes), np.inf)[round(amount * len(sizes))]
    return tuple((p.ndim < 2) | (np.abs(p) >= threshold) for p in params)


@global_masks.mistake
def biases_counted(params: list[Array], amount: float) -> Masks:
    """The share is one of all parameters; take it of the *weights* alone.

    You prune the weights that the biases and norms do not give.
    """
    return _cut(params, _sizes(params), round(amount * sum(p.size for p in params)))


@global_masks.mistake
def filters_spared(params: list[Array], amount: float) -> Masks:
    """You spare the convolution: its filters have four axes and are weights too.

    A weight has two axes *or more*.
    """
    sizes = np.concatenate([np.abs(p).ravel() for p in params if p.ndim == 2])
    threshold = np.append(np.sort(sizes), np.inf)[round(amount * len(sizes))]
    return tuple((p.ndim != 2) | (np.abs(p) >= threshold) for p in params)


@global_masks.mistake
def zeros_masked(params: list[Array], amount: float) -> Masks:
    """Your masks are False wherever a weight is 0, even where it stays.

    The mask says what is pruned. It does not follow from the pruned weights, `!= 0`.
    """
    masks = global_masks_reference(params, amount)
    pairs = zip(params, masks, strict=True)
    return tuple((p != 0) & m if _is_weight(p) else m for p, m in pairs)


@global_masks.mistake
def zeros_masked_in_biases_too(params: list[Array], amount: float) -> Masks:
    """Your masks are False wherever a number is 0, in biases too, even where it stays.

    The mask says what is pruned. It does not follow from the pruned arrays, `!= 0`.
    """
    masks = global_masks_reference(params, amount)
    return tuple((p != 0) & m for p, m in zip(params, masks, strict=True))


@global_masks.mistake
def threshold_of_none(params: list[Array], amount: float) -> Masks:
    """If no weight is to go, all go: `sizes[n_pruned - 1]` is `sizes[-1]` then.

    That is the largest size. The smallest that *stays* is `sizes[n_pruned]`.
    """
    sizes = np.sort(np.concatenate([size.ravel() for size in _sizes(params)]))
    threshold = sizes[round(amount * len(sizes)) - 1]
    return tuple((p.ndim < 2) | (np.abs(p) > threshold) for p in params)


@global_masks.mistake
def biases_masked(params: list[Array], amount: float) -> Masks:
    """The weights are right. But the masks of biases and norms are False: all True."""
    masks = global_masks_reference(params, amount)
    return tuple(m & _is_weight(p) for m, p in zip(masks, params, strict=True))


@global_masks.mistake
def biases_left_out(params: list[Array], amount: float) -> Masks:
    """The masks of biases and norms are missing: one mask for each array, in order."""
    masks = global_masks_reference(params, amount)
    return tuple(m for m, p in zip(masks, params, strict=True) if _is_weight(p))


@global_masks.mistake
def small_ones_kept(params: list[Array], amount: float) -> Masks:
    """Your masks keep the small weights and drop the large ones."""
    masks = global_masks_reference(params, amount)
    return tuple(~m | (p.ndim < 2) for m, p in zip(masks, params, strict=True))


@global_masks.mistake
def true_where_it_goes(params: list[Array], amount: float) -> Masks:
    """Your masks are True where a weight *goes*; they should be True where it stays."""
    return tuple(~mask for mask in global_masks_reference(params, amount))


@global_masks.mistake
def each_layer_scaled(params: list[Array], amount: float) -> Masks:
    """You divide each layer by its largest size before you rank them all.

    That is a score of its own. Magnitude compares the sizes as they are.
    """
    scores = [size / size.max() for size in _sizes(params)]
    return _cut(params, scores, round(amount * _count(params)))


@global_masks.mistake
def sign_counts(params: list[Array], amount: float) -> Masks:
    """You rank the weights with their sign, so -3 counts as small; rank |w|."""
    scores = [p for p in params if _is_weight(p)]
    return _cut(params, scores, round(amount * _count(params)))


@global_masks.mistake
def share_that_stays(params: list[Array], amount: float) -> Masks:
    """You keep the share `amount`; it is the share that goes."""
    count = _count(params)
    return _cut(params, _sizes(params), count - round(amount * count))


@global_masks.mistake
def rounded_down(params: list[Array], amount: float) -> Masks:
    """One weight too many may stay: `int` cuts fractions off, `round` does not."""
    return _cut(params, _sizes(params), int(amount * _count(params)))


@global_masks.mistake
def rounded_up(params: list[Array], amount: float) -> Masks:
    """One weight too many may go: 3.2 of them are 3. Use `round`."""
    return _cut(params, _sizes(params), int(np.ceil(amount * _count(params))))


@global_masks.mistake
def one_too_many(params: list[Array], amount: float) -> Masks:
    """One weight too many goes: the weight *at* the threshold stays."""
    return _cut(params, _sizes(params), round(amount * _count(params)) + 1)


@global_masks.mistake
def threshold_from_the_largest(params: list[Array], amount: float) -> Masks:
    """Your threshold is a share of the largest size; count the weights instead."""
    threshold = amount * max(size.max() for size in _sizes(params))
    return tuple((p.ndim < 2) | (np.abs(p) >= threshold) for p in params)


@global_masks.mistake
def masks_in_one_row(params: list[Array], amount: float) -> Masks:
    """Your masks are flat; each must have the shape of its array."""
    return tuple(mask.ravel() for mask in global_masks_reference(params, amount))


@global_masks.mistake
def weights_for_masks(params: list[Array], amount: float) -> tuple[Array, ...]:
    """These are the pruned weights; return the masks, True where a weight stays."""
    masks = global_masks_reference(params, amount)
    return tuple(p * m for p, m in zip(params, masks, strict=True))
