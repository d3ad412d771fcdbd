"""What the tasks of exercise 10 share: the types, and places in a ranking."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Integers = NDArray[np.int64]

LIBRARIES = ("mlopt_edu.pruning", "torch.nn.utils.prune")


def places(scores: Array) -> Integers:
    """Return each score's place in the ranking of all, from 0 for the smallest."""
    order = np.argsort(scores, axis=None)
    return np.argsort(order).reshape(scores.shape)
