"""What the tasks of exercise 15 share."""

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
