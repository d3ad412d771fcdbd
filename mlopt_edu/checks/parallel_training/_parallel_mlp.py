"""Task 10: a column-parallel and a row-parallel layer, with one sum."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array


def parallel_mlp_reference(
    x: Array,
    first: list[Array],
    first_bias: list[Array],
    second: list[Array],
    bias: Array,
) -> Array:
    """Hidden units are split; partial outputs are summed, and the bias added once."""
    shards = zip(first, first_bias, second, strict=True)
    return np.asarray(
        sum(np.maximum(x @ a.T + b, 0) @ c.T for a, b, c in shards) + bias
    )


def _networks(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = {
        "x": np.array([[1.0, -1.0]]),
        "first": [np.array([[2.0, 1.0]]), np.array([[1.0, 0.0]])],
        "first_bias": [np.array([0.5]), np.array([-0.5])],
        "second": [np.array([[1.0]]), np.array([[-2.0]])],
        "bias": np.array([4.0]),
    }
    yield Case("two ranks, one unit each", by_hand)
    for rows, inputs, widths, outputs, label in (
        (3, 4, (2, 2), 3, "two ranks"),
        (5, 3, (4, 4, 4, 4), 2, "four ranks"),
        (2, 3, (5, 1, 2), 2, "unequal shards"),
        (4, 3, (6,), 3, "one rank"),
        (1, 1, (3, 3), 1, "one row, one output"),
    ):
        yield Case(
            label,
            {
                "x": rng.normal(size=(rows, inputs)),
                "first": [rng.normal(size=(width, inputs)) for width in widths],
                "first_bias": [rng.normal(size=width) for width in widths],
                "second": [rng.normal(size=(outputs, width)) for width in widths],
                "bias": rng.normal(size=outputs),
            },
        )


parallel_mlp = Task(
    "parallel_mlp",
    points=1,
    section="14 · Write it small",
    reference=parallel_mlp_reference,
    draw=_networks,
    forbid=LIBRARIES,
    hints=(
        "A ReLU looks at one unit at a time. So what must a rank know of the hidden "
        "units of the others?",
        "Each rank goes from `x` to a partial output of the full shape, alone. One sum "
        "over ranks finishes it. What must not be in that sum more than once?",
        "`np.maximum(x @ a.T + b, 0) @ c.T` on each rank; add these up, then the bias.",
    ),
)


def _partial(
    x: Array, first: list[Array], first_bias: list[Array], second: list[Array]
) -> list[Array]:
    shards = zip(first, first_bias, second, strict=True)
    return [np.maximum(x @ a.T + b, 0) @ c.T for a, b, c in shards]


@parallel_mlp.mistake
def bias_added_by_every_rank(
    x: Array,
    first: list[Array],
    first_bias: list[Array],
    second: list[Array],
    bias: Array,
) -> Array:
    """Every rank adds the bias before the sum, so it is in there world_size times.

    Add it once, after the sum.
    """
    return np.asarray(sum(p + bias for p in _partial(x, first, first_bias, second)))


@parallel_mlp.mistake
def bias_forgotten(
    x: Array,
    first: list[Array],
    first_bias: list[Array],
    second: list[Array],
    bias: Array,
) -> Array:
    """The bias of the second layer is missing: add it once, after the sum."""
    return np.asarray(sum(_partial(x, first, first_bias, second)))


@parallel_mlp.mistake
def first_bias_forgotten(
    x: Array,
    first: list[Array],
    first_bias: list[Array],
    second: list[Array],
    bias: Array,
) -> Array:
    """The bias of the first layer is missing: each rank has that of its own units."""
    none = [np.zeros_like(b) for b in first_bias]
    return parallel_mlp_reference(x, first, none, second, bias)


@parallel_mlp.mistake
def averaged(
    x: Array,
    first: list[Array],
    first_bias: list[Array],
    second: list[Array],
    bias: Array,
) -> Array:
    """You average the partial outputs; each is a part of one sum. Add them up."""
    return np.asarray(np.mean(_partial(x, first, first_bias, second), axis=0) + bias)


@parallel_mlp.mistake
def one_rank_alone(
    x: Array,
    first: list[Array],
    first_bias: list[Array],
    second: list[Array],
    bias: Array,
) -> Array:
    """This is the partial output of rank 0; the sum over ranks is missing."""
    return _partial(x, first, first_bias, second)[0] + bias


@parallel_mlp.mistake
def concatenated(
    x: Array,
    first: list[Array],
    first_bias: list[Array],
    second: list[Array],
    bias: Array,
) -> Array:
    """You put the partial outputs side by side; after a row-parallel layer they add up.

    Side by side lie the outputs of a *column*-parallel layer.
    """
    parts = _partial(x, first, first_bias, second)
    return np.concatenate([part + bias for part in parts], axis=1)


@parallel_mlp.mistake
def no_relu(
    x: Array,
    first: list[Array],
    first_bias: list[Array],
    second: list[Array],
    bias: Array,
) -> Array:
    """The ReLU is missing: without it two layers are one."""
    shards = zip(first, first_bias, second, strict=True)
    return np.asarray(sum((x @ a.T + b) @ c.T for a, b, c in shards) + bias)


@parallel_mlp.mistake
def relu_at_the_end(
    x: Array,
    first: list[Array],
    first_bias: list[Array],
    second: list[Array],
    bias: Array,
) -> Array:
    """Your ReLU cuts the output too; it belongs between the two layers only."""
    return np.maximum(parallel_mlp_reference(x, first, first_bias, second, bias), 0)


@parallel_mlp.mistake
def relu_before_the_sum(
    x: Array,
    first: list[Array],
    first_bias: list[Array],
    second: list[Array],
    bias: Array,
) -> Array:
    """You cut the partial outputs at 0; only their sum means anything.

    The ReLU belongs to the hidden units.
    """
    parts = _partial(x, first, first_bias, second)
    return np.asarray(sum(np.maximum(part, 0) for part in parts) + bias)


@parallel_mlp.mistake
def first_bias_after_relu(
    x: Array,
    first: list[Array],
    first_bias: list[Array],
    second: list[Array],
    bias: Array,
) -> Array:
    """You add the bias of the first layer after the ReLU; it decides what is cut off.

    It belongs to the sum that the ReLU gets.
    """
    shards = zip(first, first_bias, second, strict=True)
    return np.asarray(
        sum((np.maximum(x @ a.T, 0) + b) @ c.T for a, b, c in shards) + bias
    )
