"""What the tasks of exercise 12 share: the types, and the softmax in two forms."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

LIBRARIES = (
    "mlopt_edu.distillation",
    "mlopt_edu.optim",
    "torch.optim",
    ".kl_div",
    ".KLDivLoss",
    ".rel_entr",
)


def log_softmax(logits: Array) -> Array:
    """Return the logarithms of the probabilities, over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def softmax(logits: Array) -> Array:
    """Return the probabilities, over the last axis."""
    return np.asarray(np.exp(log_softmax(logits)))


def one_hot(logits: Array) -> Array:
    """Return 1 for the largest logit of each row and 0 for the others."""
    return np.asarray(np.eye(logits.shape[-1])[logits.argmax(axis=-1)])


def relu(x: Array) -> Array:
    """Return the positive part."""
    return np.maximum(x, 0)
