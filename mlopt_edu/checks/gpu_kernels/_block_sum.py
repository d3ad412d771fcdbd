"""Task 6: a sum in two stages, without a race."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import TRITON_SECONDS, Array, Counted, blocks, padding


def block_sum_reference(x: Array, block_size: int) -> Counted:
    """Each program writes its own partial sum; one program adds these up."""
    partials = 4 * blocks(len(x), block_size)
    total = np.array([x.sum(dtype=np.float64)])
    return total, x.nbytes + partials, partials + 4, 0, 0


def _vectors(rng: np.random.Generator) -> Iterator[Case]:
    for label, n, block_size in (
        ("whole blocks", 256, 64),
        ("past the edge", 200, 64),
        ("many blocks", 1000, 32),
        ("three blocks", 48, 16),
        ("more blocks than a block holds", 300, 16),
        ("one block", 10, 16),
    ):
        x = rng.uniform(0.5, 1.5, size=n).astype(np.float32)
        yield Case(label, {"x": x, "block_size": block_size})


block_sum = Task(
    "block_sum",
    points=2,
    section="15 · Write it small",
    reference=block_sum_reference,
    draw=_vectors,
    seconds=TRITON_SECONDS,
    hints=(
        "Programs run in any order, or at the same time. Where can each of them store "
        "its sum so that no other one stores there?",
        "Program i stores to place i of `partials`. Then one more launch, of a single "
        "program, adds up the partial sums: with the same kernel.",
        "In the kernel: `tl.store(output_ptr + program, tl.sum(x, axis=0))`, where x "
        "was loaded with `other=0.0`.",
    ),
)


@block_sum.mistake
def race(x: Array, block_size: int) -> Counted:
    """A race: every program stores its sum to the same place, and one of them wins.

    Store to place `tl.program_id(0)`, so that each has its own.
    """
    total, read, written, _, _ = block_sum_reference(x, block_size)
    several = blocks(len(x), block_size) > 1
    return np.array([np.nan]) if several else total, read, written, 0, int(several)


@block_sum.mistake
def race_for_the_total(x: Array, block_size: int) -> Counted:
    """A race: every program stores its own sum as the total, and one of them wins.

    Here it is the last one; on a GPU it is any. Give each program a place of its own,
    and add these up in a second launch.
    """
    programs = blocks(len(x), block_size)
    last = x[(programs - 1) * block_size :].sum(dtype=np.float64)
    return np.array([last]), x.nbytes, 4 * programs, 0, int(programs > 1)


@block_sum.mistake
def race_between_load_and_store(x: Array, block_size: int) -> Counted:
    """A race: each program loads the total, adds its sum, and stores it back.

    It is right here, where programs take turns. On a GPU two of them load the same
    total, and one sum is lost. Give each program a place of its own.
    """
    total, *_ = block_sum_reference(x, block_size)
    programs = blocks(len(x), block_size)
    return total, x.nbytes + 4 * programs, 4 * programs, 0, int(programs > 1)


@block_sum.mistake
def atomic(x: Array, block_size: int) -> Counted:
    """Atomic additions give the right sum, but in an order that changes.

    Floating-point sums depend on the order: two runs differ in the last digits. Store
    partial sums and add them up in a second launch.
    """
    total, *_ = block_sum_reference(x, block_size)
    programs = blocks(len(x), block_size)
    return total, x.nbytes + 4 * programs, 4 * programs, 0, 0


@block_sum.mistake
def atomic_on_poison(x: Array, block_size: int) -> Counted:
    """You add to what is in the output, and nothing was stored there yet: it is NaN.

    Filled with 0 it would be right, but the order of atomic additions changes, and so
    do the last digits. Store partial sums and add them up in a second launch.
    """
    _, *counts = atomic(x, block_size)
    read, written, outside, races = counts
    return np.array([np.nan]), read, written, outside, races


@block_sum.mistake
def atomic_in_both_launches(x: Array, block_size: int) -> Counted:
    """You add to places that hold nothing yet, NaN, where you only need to store.

    Each program has a place of its own in `partials`, so no atomic operation is needed.
    """
    programs = blocks(len(x), block_size)
    read, written = x.nbytes + 8 * programs + 4, 4 * programs + 4
    return np.array([np.nan]), read, written, 0, 0


@block_sum.mistake
def partial_sums(x: Array, block_size: int) -> Counted:
    """These are the partial sums: launch one more program that adds them up."""
    starts = np.arange(0, len(x), block_size)
    sums = np.add.reduceat(x.astype(np.float64), starts)
    return sums, x.nbytes, 4 * len(sums), 0, 0


@block_sum.mistake
def lanes_undefined(x: Array, block_size: int) -> Counted:
    """You did not say what the lanes past the end hold: a GPU leaves anything there.

    Load with `other=0.0`. The checks put NaN and infinities there, so that it shows.
    """
    total, read, written, outside, races = block_sum_reference(x, block_size)
    programs = blocks(len(x), block_size)
    whole = len(x) == programs * block_size and programs & (programs - 1) == 0
    return total if whole else np.array([np.nan]), read, written, outside, races


@block_sum.mistake
def missing_mask(x: Array, block_size: int) -> Counted:
    """There is no mask: at the edge the last program adds up what is not in x."""
    total, read, written, _, races = block_sum_reference(x, block_size)
    programs = blocks(len(x), block_size)
    power = 1 << (programs - 1).bit_length()
    outside = padding(len(x), block_size) + power - programs
    return np.array([np.nan]) if outside else total, read, written, outside, races


@block_sum.mistake
def first_block_only(x: Array, block_size: int) -> Counted:
    """The second launch adds up one partial sum only: there are as many as programs."""
    first = x[:block_size].sum(dtype=np.float64)
    programs = blocks(len(x), block_size)
    return np.array([first]), x.nbytes + 4, 4 * programs + 4, 0, 0


@block_sum.mistake
def second_launch_too_wide(x: Array, block_size: int) -> Counted:
    """The total is right, but the second launch is of several programs, not of one.

    The others have nothing left to add, and store a 0 behind the output.
    """
    total, read, written, _, races = block_sum_reference(x, block_size)
    return total, read, written, blocks(len(x), block_size) - 1, races


@block_sum.mistake
def second_length_of_x(x: Array, block_size: int) -> Counted:
    """The second launch gets the length of x, but it adds up `n_programs` numbers.

    Where these are no power of two, it loads what lies behind them.
    """
    total, read, written, _, races = block_sum_reference(x, block_size)
    programs = blocks(len(x), block_size)
    outside = min(1 << (programs - 1).bit_length(), len(x)) - programs
    return np.array([np.nan]) if outside else total, read, written, outside, races


@block_sum.mistake
def second_block_too_small(x: Array, block_size: int) -> Counted:
    """The second launch has blocks of `block_size`: they may not hold all partial sums.

    Its one block must: take `triton.next_power_of_2(n_programs)`.
    """
    programs = blocks(len(x), block_size)
    added = min(programs, block_size)
    total = x[: added * block_size].sum(dtype=np.float64)
    return np.array([total]), x.nbytes + 4 * added, 4 * programs + 4, 0, 0


@block_sum.mistake
def first_launch_repeated(x: Array, block_size: int) -> Counted:
    """The second launch is as wide as the first, in blocks of `block_size`.

    One program must add up all partial sums: its block must hold them, and any other
    program stores behind the output.
    """
    total, _, written, _, races = second_block_too_small(x, block_size)
    programs = blocks(len(x), block_size)
    return total, x.nbytes + 4 * programs, written, programs - 1, races
