"""Task 3: which elements a program has, and which of them exist."""

from collections.abc import Iterator

import numpy as np

from .._task import Case, Task
from ._problem import Array

Lanes = tuple[Array, Array]


def program_offsets_reference(
    program_id: int, block_size: int, n_elements: int
) -> Lanes:
    """A block of neighbours, and where it still is in the array."""
    offsets = program_id * block_size + np.arange(block_size)
    return offsets, offsets < n_elements


def _programs(rng: np.random.Generator) -> Iterator[Case]:
    names = ("program_id", "block_size", "n_elements")
    for label, *values in (
        ("the first program", 0, 8, 20),
        ("one in the middle", 1, 8, 20),
        ("the last program", 2, 8, 20),
        ("the last one, and it is full", 2, 8, 24),
        ("one element left", 3, 16, 49),
        ("nothing left", 4, 16, 64),
        ("one lane", 5, 1, 9),
        ("less than a block", 0, 16, 5),
    ):
        yield Case(label, dict(zip(names, values, strict=True)))
    for number in range(3):
        block_size = int(2 ** rng.integers(2, 7))
        n_elements = int(rng.integers(1, 5 * block_size))
        last = (n_elements - 1) // block_size
        values = [int(rng.integers(0, last + 1)), block_size, n_elements]
        yield Case(f"drawn {number + 1}", dict(zip(names, values, strict=True)))


program_offsets = Task(
    "program_offsets",
    points=1,
    section="15 · Derive",
    reference=program_offsets_reference,
    draw=_programs,
    rtol=0,
    hints=(
        "How many elements do the programs before this one have?",
        "Program 0 has the offsets 0 to block_size - 1, program 1 goes on from there.",
        "`np.arange(block_size)` are the lanes; add where the block starts. The mask "
        "compares the offsets with `n_elements`.",
    ),
)


@program_offsets.mistake
def missing_mask(program_id: int, block_size: int, n_elements: int) -> Lanes:
    """Your mask is always True: at the edge the last program leaves the array."""
    offsets, mask = program_offsets_reference(program_id, block_size, n_elements)
    return offsets, np.ones_like(mask)


@program_offsets.mistake
def one_too_many(program_id: int, block_size: int, n_elements: int) -> Lanes:
    """Your mask lets one element too many in: the last offset is n_elements - 1."""
    offsets, _ = program_offsets_reference(program_id, block_size, n_elements)
    return offsets, offsets <= n_elements


@program_offsets.mistake
def all_the_first_block(program_id: int, block_size: int, n_elements: int) -> Lanes:
    """Your offsets are the same in every program: the block must start further on."""
    return program_offsets_reference(0, block_size, n_elements)


@program_offsets.mistake
def one_further_each(program_id: int, block_size: int, n_elements: int) -> Lanes:
    """Program 1 begins at offset 1, where program 0 works: times block_size."""
    offsets = program_id + np.arange(block_size)
    return offsets, offsets < n_elements


@program_offsets.mistake
def lanes_masked(program_id: int, block_size: int, n_elements: int) -> Lanes:
    """You compare the lanes 0, 1, 2, … with `n_elements`, not the offsets."""
    offsets, _ = program_offsets_reference(program_id, block_size, n_elements)
    return offsets, np.arange(block_size) < n_elements


@program_offsets.mistake
def cut_off(program_id: int, block_size: int, n_elements: int) -> Lanes:
    """You leave the lanes past the end out. A block has always block_size lanes.

    The mask says which of them do something.
    """
    offsets, mask = program_offsets_reference(program_id, block_size, n_elements)
    return offsets[mask], mask[mask]


@program_offsets.mistake
def mask_inverted(program_id: int, block_size: int, n_elements: int) -> Lanes:
    """Your mask is True where there is nothing: turn it round."""
    offsets, mask = program_offsets_reference(program_id, block_size, n_elements)
    return offsets, ~mask


@program_offsets.mistake
def held_at_the_end(program_id: int, block_size: int, n_elements: int) -> Lanes:
    """You send all lanes past the end to the last element, with the mask True.

    Then several lanes store to one place. Leave the offsets, and mask them.
    """
    offsets, mask = program_offsets_reference(program_id, block_size, n_elements)
    return np.minimum(offsets, n_elements - 1), np.ones_like(mask)
