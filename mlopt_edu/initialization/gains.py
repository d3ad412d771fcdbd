r"""The gain of an activation: how much larger weights must be to keep a signal's size.

In a wide layer the pre-activations z are nearly Gaussian with mean 0. With weights of
variance gain^2 / fan_in the next layer's have the variance

    q' = gain^2 * E[φ(z)^2],    z ~ N(0, q).

So q = 1 is kept by gain = 1 / sqrt(E[φ(z)^2]), z ~ N(0, 1). It is the second moment
that counts, not the variance: what a mean other than 0 adds is multiplied by random
weights too. Going back, gradients are multiplied by gain^2 * E[φ'(z)^2].

                 this gain         torch.nn.init.calculate_gain
    linear       1                 1
    relu         sqrt(2)           sqrt(2)
    leaky_relu   sqrt(2/(1+a^2))   sqrt(2/(1+a^2))
    tanh         1.5925            5/3, with which q settles at 1.18
    sigmoid      1.8462            1, with which q settles at 0.26
    gelu         1.5335            unknown to it
    selu         1                 3/4, with which q falls by 44 % in the first layer

Sigmoid's gradients vanish under either number: E[φ'(z)^2] is at most 1/16. For gelu and
silu q = 1 is kept, but not sought: they are closer to linear for large z, so that a
signal slightly too large goes on growing.

Papers: He et al., "Delving Deep into Rectifiers", 2015, arXiv:1502.01852, equations 7
to 10; for any φ, Poole et al., "Exponential expressivity in deep neural networks
through transient chaos", 2016, arXiv:1606.05340, equation 3. Differs from the papers:
the expectation is taken by the midpoint rule, which on a Gaussian converges
exponentially, and is symmetric about the kink of ReLU.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

Activation = str | Callable[[Tensor], Tensor]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda z: z,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": nn.functional.relu,
    "leaky_relu": nn.functional.leaky_relu,
    "gelu": nn.functional.gelu,
    "selu": nn.functional.selu,
    "silu": nn.functional.silu,
}


def gain(activation: Activation) -> float:
    """Return the gain that keeps pre-activations at variance 1.

    Args:
        activation: `"linear"`, `"sigmoid"`, `"tanh"`, `"relu"`, `"leaky_relu"` (slope
            0.01), `"gelu"`, `"selu"` or `"silu"`; or any function or module that maps a
            tensor entry by entry, as `torch.nn.LeakyReLU(0.2)`.

    Raises:
        ValueError: If the name is unknown, or the activation is 0 everywhere.

    Example:
        >>> import torch
        >>> f"{gain('relu'):.4f} {gain('tanh'):.4f} {gain(torch.nn.LeakyReLU(0.2)):.4f}"
        '1.4142 1.5925 1.3868'
    """
    power = mean_square(activation)
    if not 0 < power < math.inf:
        raise ValueError(
            f"activation must have a finite mean square above 0, got {power}"
        )
    return 1 / math.sqrt(power)


def mean_square(
    activation: Activation, *, std: float = 1.0, derivative: bool = False
) -> float:
    """Return E[φ(z)^2], or E[φ'(z)^2], for z ~ N(0, std^2).

    Args:
        activation: Name, function or module, as for `gain`.
        std: Standard deviation of the pre-activations, at least 0.
        derivative: Take φ', the factor of a gradient on its way back, instead of φ.

    Raises:
        ValueError: If the name is unknown or `std` is below 0 or not finite.

    Example:
        >>> f"{mean_square('relu', std=2):.4f}"
        '2.0000'
        >>> f"{mean_square('sigmoid', derivative=True):.4f}"  # at most 1/16
        '0.0448'
    """
    if isinstance(activation, str) and activation not in _ACTIVATIONS:
        raise ValueError(
            f"activation must be one of {', '.join(_ACTIVATIONS)}, or a function, "
            f"got {activation!r}"
        )
    if not 0 <= std < math.inf:
        raise ValueError(f"std must be finite and at least 0, got {std}")
    function = _ACTIVATIONS[activation] if isinstance(activation, str) else activation
    # Midpoints of 4,800 steps of 0.005 on [-12, 12], beyond which a Gaussian is 1e-32.
    z = (torch.arange(4800, dtype=torch.float64) + 0.5) * 0.005 - 12
    weights = torch.exp(-(z**2) / 2)
    with torch.enable_grad():
        points = (std * z).requires_grad_(derivative)
        values = function(points)
        if derivative:
            (values,) = torch.autograd.grad(values.sum(), points)
    return float((weights @ values.detach() ** 2) / weights.sum())
