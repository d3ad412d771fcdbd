"""What the tasks of exercise 15 share."""

from collections.abc import Iterable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# Output, bytes read, bytes written, lanes outside of every array, races.
Counted = tuple[Array, int, int, int, int]

TRITON_SECONDS = 30.0  # the interpreter is slow, and a busy machine slower still


def blocks(n: int, block_size: int) -> int:
    """How many blocks cover n elements."""
    return -(-n // block_size)


def padding(n: int, block_size: int) -> int:
    """How far the last block reaches past the end."""
    return -n % block_size


def stored(
    size: int, programs: Iterable[tuple[Array, Array]]
) -> tuple[Array, int, int, int, int]:
    """Let each program store its values at its places of an output full of NaN.

    Returns:
        The output of `size` numbers of 4 bytes, the bytes written, the lanes outside,
        the races, and the sectors touched.
    """
    output, writer = np.full(size, np.nan), np.full(size, -1)
    raced = np.zeros(size, dtype=bool)
    written = outside = sectors = 0
    for program, (places, values) in enumerate(programs):
        inside = places < size
        outside += int(np.sum(~inside))
        places = places[inside]
        output[places] = values[inside]
        raced[places] |= (writer[places] != -1) & (writer[places] != program)
        writer[places] = program
        written += 4 * len(places)
        sectors += len(np.unique(places // 8))
    return output, written, outside, int(raced.sum()), sectors
