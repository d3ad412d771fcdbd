"""What the tasks of exercise 11 share: the types, and the range of signed integers."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

LIBRARIES = (
    "mlopt_edu.quantization",
    "mlopt_edu.coding",
    "torch.ao",
    "torch.quantization",
    "torch.quantize_per_tensor",
    "torch.quantize_per_channel",
    "torch.fake_quantize_per_tensor_affine",
    "torch.fake_quantize_per_channel_affine",
    "torch.nn.utils.fusion",
    "torch.nn.utils.fuse_conv_bn_weights",
)


def limits(bits: int) -> tuple[int, int]:
    """Return the smallest and the largest signed integer of `bits` bits."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def largest(weight: Array) -> Array:
    """Return the largest size in each channel, with axes that broadcast."""
    axes = tuple(range(1, weight.ndim))
    found: Array = np.abs(weight).max(axis=axes, keepdims=True)
    return found
