"""Task 11: rounding column by column, where each error is passed on."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import LIBRARIES, Array


def gptq_round_reference(weight: Array, hessian: Array, scale: Array) -> Array:
    """Round a column, and move the columns after it to make up for the error."""
    weight = weight.copy()
    for j in range(len(hessian)):
        rounded = scale * np.round(weight[:, j] / scale)
        error = rounded - weight[:, j]
        weight[:, j] = rounded
        move = np.linalg.solve(hessian[j + 1 :, j + 1 :], hessian[j + 1 :, j])
        weight[:, j + 1 :] -= np.outer(error, move)
    return weight


def _layers(rng: np.random.Generator) -> Iterator[Case]:
    by_hand = {
        "weight": np.array([[0.4, 0.3, 0.8], [-0.7, 0.2, 0.45]]),
        "hessian": np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]]),
        "scale": np.array([1.0, 0.5]),
    }
    yield Case("two outputs, three inputs", by_hand)
    for outputs, inputs, label in (
        (4, 4, "4 × 4"),
        (3, 7, "3 × 7"),
        (8, 3, "8 × 3"),
        (1, 5, "one output"),
        (4, 1, "one input"),
        (6, 24, "24 inputs"),
    ):
        X = rng.normal(size=(4 * inputs, inputs)) @ rng.normal(size=(inputs, inputs))
        inputs_of_case = {
            "weight": rng.normal(size=(outputs, inputs)),
            "hessian": X.T @ X / len(X) + 0.02 * np.eye(inputs),
            "scale": rng.uniform(0.2, 0.9, size=outputs),
        }
        yield Case(label, inputs_of_case)
    weight, spread = rng.normal(size=(3, 6)), np.diag(rng.uniform(1, 5, size=6))
    alone = {"weight": weight, "hessian": spread, "scale": rng.uniform(0.2, 0.9, 3)}
    yield Case("inputs that have nothing in common", alone)


gptq_round = Task(
    "gptq_round",
    points=2,
    section="11 · Derive",
    reference=gptq_round_reference,
    draw=_layers,
    forbid=LIBRARIES,
    hints=(
        "Work on a copy, one column after the other. When column j has been rounded, "
        "which columns can still make up for its error?",
        "Only those after j are free. The block of the Hessian that belongs to them "
        "is `hessian[j + 1:, j + 1:]`, and `hessian[j + 1:, j]` ties them to j.",
        "`move = np.linalg.solve(hessian[j + 1:, j + 1:], hessian[j + 1:, j])`, and "
        "`weight[:, j + 1:] -= np.outer(error, move)` with `error = rounded - before`.",
    ),
)


def _round(x: Array, scale: Array) -> Array:
    return np.asarray(scale * np.round(x / scale))


@gptq_round.mistake
def rounded_to_nearest(weight: Array, hessian: Array, scale: Array) -> Array:
    """You round every weight to the nearest by itself; nothing makes up for the errors.

    After each column move those that are still free.
    """
    return _round(weight, scale[:, None])


@gptq_round.mistake
def error_with_the_wrong_sign(weight: Array, hessian: Array, scale: Array) -> Array:
    """You move the other columns the wrong way, which doubles the error.

    If a weight was rounded up, inputs like it must get less weight.
    """
    weight = weight.copy()
    for j in range(len(hessian)):
        rounded = _round(weight[:, j], scale)
        move = np.linalg.solve(hessian[j + 1 :, j + 1 :], hessian[j + 1 :, j])
        weight[:, j + 1 :] += np.outer(rounded - weight[:, j], move)
        weight[:, j] = rounded
    return weight


@gptq_round.mistake
def hessian_not_inverted(weight: Array, hessian: Array, scale: Array) -> Array:
    """You move the columns by the Hessian itself: solve with the free columns' block.

    Inputs that belong together must share the correction.
    """
    weight = weight.copy()
    for j in range(len(hessian)):
        rounded = _round(weight[:, j], scale)
        move = hessian[j + 1 :, j]
        weight[:, j + 1 :] -= np.outer(rounded - weight[:, j], move)
        weight[:, j] = rounded
    return weight


@gptq_round.mistake
def inverse_of_the_whole(weight: Array, hessian: Array, scale: Array) -> Array:
    """You use the inverse of the whole Hessian; columns that are done move no more.

    Take the block of the columns that are still free, or drop a row of the inverse
    each time.
    """
    weight, inverse = weight.copy(), np.linalg.inv(hessian)
    for j in range(len(hessian)):
        rounded = _round(weight[:, j], scale)
        move = -inverse[j + 1 :, j] / inverse[j, j]
        weight[:, j + 1 :] -= np.outer(rounded - weight[:, j], move)
        weight[:, j] = rounded
    return weight


@gptq_round.mistake
def not_divided_by_the_diagonal(weight: Array, hessian: Array, scale: Array) -> Array:
    """Your step lacks the division by the inverse's diagonal entry.

    The error over `inverse[j, j]` times the row of the inverse is the move.
    """
    weight = weight.copy()
    for j in range(len(hessian)):
        inverse = np.linalg.inv(hessian[j:, j:])
        rounded = _round(weight[:, j], scale)
        weight[:, j + 1 :] += np.outer(rounded - weight[:, j], inverse[1:, 0])
        weight[:, j] = rounded
    return weight


@gptq_round.mistake
def next_column_alone(weight: Array, hessian: Array, scale: Array) -> Array:
    """You pass the whole error on to the next column; move all that are left."""
    weight = weight.copy()
    for j in range(len(hessian)):
        rounded = _round(weight[:, j], scale)
        if j + 1 < len(hessian):
            move = hessian[j + 1, j] / hessian[j + 1, j + 1]
            weight[:, j + 1] -= (rounded - weight[:, j]) * move
        weight[:, j] = rounded
    return weight


@gptq_round.mistake
def last_column_first(weight: Array, hessian: Array, scale: Array) -> Array:
    """You go from the last column to the first; begin with the first."""
    turned = gptq_round_reference(weight[:, ::-1], hessian[::-1, ::-1], scale)
    return turned[:, ::-1]


@gptq_round.mistake
def moved_but_not_rounded(weight: Array, hessian: Array, scale: Array) -> Array:
    """You return the moved weights before rounding: every one must be on its grid."""
    weight = weight.copy()
    for j in range(len(hessian)):
        error = _round(weight[:, j], scale) - weight[:, j]
        move = np.linalg.solve(hessian[j + 1 :, j + 1 :], hessian[j + 1 :, j])
        weight[:, j + 1 :] -= np.outer(error, move)
    return weight


@gptq_round.mistake
def integers_returned(weight: Array, hessian: Array, scale: Array) -> Array:
    """You return integers; multiply them by the scale of their row."""
    return np.round(gptq_round_reference(weight, hessian, scale) / scale[:, None])


@gptq_round.mistake
def rounded_down(weight: Array, hessian: Array, scale: Array) -> Array:
    """You round down; take the nearest multiple of the scale."""
    weight = weight.copy()
    for j in range(len(hessian)):
        rounded = scale * np.floor(weight[:, j] / scale)
        move = np.linalg.solve(hessian[j + 1 :, j + 1 :], hessian[j + 1 :, j])
        weight[:, j + 1 :] -= np.outer(rounded - weight[:, j], move)
        weight[:, j] = rounded
    return weight


@gptq_round.mistake
def divided_by_its_own_entry(weight: Array, hessian: Array, scale: Array) -> Array:
    """You divide by `hessian[j, j]`, the entry of the column that was rounded.

    Solve with the block of the columns that move, `hessian[j + 1:, j + 1:]`.
    """
    weight = weight.copy()
    for j in range(len(hessian)):
        rounded = _round(weight[:, j], scale)
        move = hessian[j + 1 :, j] / hessian[j, j]
        weight[:, j + 1 :] -= np.outer(rounded - weight[:, j], move)
        weight[:, j] = rounded
    return weight


@gptq_round.mistake
def diagonal_for_the_block(weight: Array, hessian: Array, scale: Array) -> Array:
    """You divide by the diagonal, as if each free column moved alone.

    They move together: solve with their whole block, `hessian[j + 1:, j + 1:]`.
    """
    weight = weight.copy()
    for j in range(len(hessian)):
        rounded = _round(weight[:, j], scale)
        move = hessian[j + 1 :, j] / np.diag(hessian)[j + 1 :]
        weight[:, j + 1 :] -= np.outer(rounded - weight[:, j], move)
        weight[:, j] = rounded
    return weight


@gptq_round.mistake
def error_since_the_start(weight: Array, hessian: Array, scale: Array) -> Array:
    """Your error counts from the weight as given, and so contains the moves.

    These made up for earlier errors: take what *rounding* changes, after the moves.
    """
    given, weight = weight, weight.copy()
    for j in range(len(hessian)):
        weight[:, j] = _round(weight[:, j], scale)
        move = np.linalg.solve(hessian[j + 1 :, j + 1 :], hessian[j + 1 :, j])
        weight[:, j + 1 :] -= np.outer(weight[:, j] - given[:, j], move)
    return weight


@gptq_round.mistake
def all_errors_at_once(weight: Array, hessian: Array, scale: Array) -> Array:
    """You round the weights as given, and pass these errors on afterwards.

    One column after another: round each *after* it has been moved.
    """
    errors, moved = _round(weight, scale[:, None]) - weight, weight.copy()
    for j in range(len(hessian)):
        move = np.linalg.solve(hessian[j + 1 :, j + 1 :], hessian[j + 1 :, j])
        moved[:, j + 1 :] -= np.outer(errors[:, j], move)
    return _round(moved, scale[:, None])


@gptq_round.mistake
def largest_diagonal_first(weight: Array, hessian: Array, scale: Array) -> Array:
    """You begin with the inputs that matter most; here the order is that of columns.

    GPTQ knows this order too, as an option.
    """
    order = np.argsort(-np.diag(hessian))
    out = np.empty(weight.shape)
    ordered = hessian[np.ix_(order, order)]
    out[:, order] = gptq_round_reference(weight[:, order], ordered, scale)
    return out
