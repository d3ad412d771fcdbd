"""Task 8: where linear scaling of the learning rate ends."""

from .._task import number


def best_lr_reference() -> float:
    """Best learning rate at the larger batch size, by lr_max / (1 + noise / batch)."""
    noise_scale, known_batch, known_lr, new_batch = 4000, 500, 0.1, 8000
    lr_max = known_lr * (1 + noise_scale / known_batch)
    return lr_max / (1 + noise_scale / new_batch)


best_lr = number(
    "best_lr",
    "The noise scale is 4000 examples. At batch size 500 the best learning rate is "
    "0.1. What is the best one at batch size 8000, if it follows lr_max / (1 + noise "
    "scale / batch size)?",
    reference=best_lr_reference,
    points=1,
    section="02 · Derive",
    rtol=1e-6,
    hints=(
        "The formula has one unknown that no one tells you. What does the known pair "
        "say about it?",
        "Solve 0.1 = lr_max / (1 + 4000 / 500) for lr_max. Then put the new batch size "
        "into the formula.",
        "lr_max is 0.1 times 9. Divide it by 1 + 4000 / 8000.",
    ),
)


@best_lr.mistake
def linear_scaling() -> float:
    """Linear scaling gives this: 16 times the batch, 16 times the lr.

    It holds while the batch is far smaller than the noise scale; 8000 is above it.
    """
    return 0.1 * 8000 / 500


@best_lr.mistake
def square_root_scaling() -> float:
    """This scales with the *root* of the batch size, a rule of thumb for Adam.

    Use the formula: find lr_max first.
    """
    return float(0.1 * (8000 / 500) ** 0.5)


@best_lr.mistake
def lr_max_itself() -> float:
    """This is lr_max, the best one for a batch without noise; go on to 8000."""
    return 0.1 * (1 + 4000 / 500)


@best_lr.mistake
def known_lr_for_lr_max() -> float:
    """You put 0.1 in the place of lr_max; it is the best lr at batch size *500*.

    Solve for lr_max first. And a larger batch never wants a smaller lr.
    """
    return 0.1 / (1 + 4000 / 8000)


@best_lr.mistake
def fraction_upside_down() -> float:
    """The fraction is upside down: noise scale over batch size, not the reverse."""
    return 0.1 * (1 + 500 / 4000) / (1 + 8000 / 4000)


@best_lr.mistake
def ratio_upside_down() -> float:
    """You went from 8000 to 500: the larger batch has less noise, so the larger lr."""
    return 0.1 * (1 + 4000 / 8000) / (1 + 4000 / 500)


@best_lr.mistake
def left_as_it_is() -> float:
    """A batch with less noise allows longer steps; keeping 0.1 gives away speed."""
    return 0.1


@best_lr.mistake
def one_left_out() -> float:
    """The 1 in the bracket is missing at batch size 8000.

    It is what keeps the lr finite, however large the batch. Left out at both sizes, it
    would give linear scaling.
    """
    return 0.1 * (1 + 4000 / 500) / (4000 / 8000)
