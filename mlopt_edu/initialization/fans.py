r"""Fan-in and fan-out: how many terms one output sums, and one input enters.

    layer                    shape of its weight      fan_in              fan_out
    Linear                   (out, in)                in                  out
    convolution              (out, in/groups, *k)     in/groups * K       out/groups * K
    transposed convolution   (in, out/groups, *k)     in/groups * K       out/groups * K

with K = prod(k). These are counts of connections, away from the border and at stride 1.
A stride s in d dimensions leaves an input of a convolution only fan_out / s^d outputs
on average, and an output of a transposed convolution only fan_in / s^d inputs; that is
left out, as in the papers.

Source: He et al., "Delving Deep into Rectifiers", 2015, arXiv:1502.01852, section 2.2,
where n_l = k^2 c is the fan-in and k^2 d the fan-out. Differs from the paper: nothing.
`torch.nn.init` looks at the shape alone: it takes groups times this fan-out for a
grouped convolution, and swaps both for a transposed one.
"""

import math

from torch import Tensor


def fan_in_and_fan_out(
    weight: Tensor, *, groups: int = 1, transposed: bool = False
) -> tuple[int, int]:
    """Return fan-in and fan-out of a layer's weight.

    Args:
        weight: Tensor of shape (out, in) of a Linear layer, (out, in/groups, *kernel)
            of a convolution, (in, out/groups, *kernel) of a transposed one; the kernel
            of any number of dimensions.
        groups: Number of groups of the convolution, a divisor of the first size.
        transposed: Whether the convolution is transposed.

    Raises:
        TypeError: If `weight` is not of a real floating-point type.
        ValueError: If `weight` has fewer than 2 dimensions, or `groups` does not divide
            its first size.

    Example:
        >>> import torch
        >>> conv = torch.nn.Conv2d(32, 64, kernel_size=3, groups=4)
        >>> fan_in_and_fan_out(conv.weight, groups=conv.groups)
        (72, 144)
    """
    if not weight.is_floating_point():
        raise TypeError(f"weight must be a floating-point tensor, got {weight.dtype}")
    if weight.ndim < 2:
        raise ValueError(
            f"weight must have at least 2 dimensions, got shape {tuple(weight.shape)}"
        )
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(
            f"groups must be a divisor of the first size of weight, "
            f"{weight.shape[0]}, got {groups}"
        )
    kernel = math.prod(weight.shape[2:])
    fan_in = weight.shape[1] * kernel
    fan_out = weight.shape[0] // groups * kernel
    return (fan_out, fan_in) if transposed else (fan_in, fan_out)
