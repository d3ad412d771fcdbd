r"""The straight-through estimator: round on the way forward, not on the way back.

    forward    y = value(x), such as a rounded x
    backward   ∂L/∂x = ∂L/∂y, as if y were x

The derivative of rounding is 0 almost everywhere, so nothing before it would learn.
The estimator is biased, but points downhill well enough: the real number behind an
integer collects small steps until the integer changes.

What clips keeps its true derivative, which is 0: a number outside of the range cannot
be moved by what it does there. Since only rounding is bent, a scale gets the gradient
of "Learned Step Size Quantization" without being asked, see `learned_step`.

Paper: Bengio, Léonard and Courville, "Estimating or Propagating Gradients Through
Stochastic Neurons for Conditional Computation", 2013, arXiv:1308.3432, section 4.
Differs from the paper: for rounding, not for a stochastic neuron.
"""

from typing import Any

import torch
from torch import Tensor

from mlopt_edu.quantization.affine import round_to_grid


class _StraightThrough(torch.autograd.Function):
    """`source + (value - source).detach()`, but exact, and inf stays inf."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, source: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[None, Tensor]:
        return None, grads[0]


def straight_through(value: Tensor, source: Tensor) -> Tensor:
    """Return `value`, whose gradient goes to `source` instead.

    Args:
        value: What is used on the way forward.
        source: What learns, of the same shape.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> x = torch.tensor([-0.2, 3.0], requires_grad=True)
        >>> straight_through(x.sign(), x).backward(torch.tensor([5.0, 7.0]))
        >>> x.grad
        tensor([5., 7.])
    """
    if value.shape != source.shape:
        raise ValueError(
            "value and source must have the same shape, got "
            f"{tuple(value.shape)} and {tuple(source.shape)}"
        )
    result: Tensor
    result = _StraightThrough.apply(value.detach(), source)  # type: ignore[no-untyped-call]
    return result


def round_straight_through(x: Tensor) -> Tensor:
    """Round to the nearest integer, ties to the even one; the gradient is 1.

    Args:
        x: Real numbers of any shape.

    Example:
        >>> x = torch.tensor([0.4, 1.5], requires_grad=True)
        >>> y = round_straight_through(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 2.]), tensor([1., 1.]))
    """
    return straight_through(torch.round(x), x)


def fake_quantize_straight_through(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    bits: int = 8,
    symmetric: bool = True,
) -> Tensor:
    """Return what `fake_quantize` does, with a gradient to train by.

    For `x` it is 1 where the integer lies in the range, and 0 where it was clipped. For
    the scale it is q - x / scale inside, with q the integer less its zero point, and
    outside the q of the range's end.

    Args:
        x: Real numbers of any shape; infinite ones clip, nan stays nan.
        scale: Above 0, broadcast against `x`.
        zero_point: Integers, broadcast against `x`.
        bits: Bits of an integer, from 2 to 16.
        symmetric: Use the range without the lowest integer.

    Returns:
        Tensor of the shape and type of `x`.

    Raises:
        ValueError: If `bits` is out of its range.

    Example:
        >>> x = torch.tensor([-1.0, 0.26, 9.0], requires_grad=True)
        >>> scale, zero_point = torch.tensor(0.125), torch.tensor(0)
        >>> y = fake_quantize_straight_through(x, scale, zero_point, bits=4)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([-0.8750,  0.2500,  0.8750]), tensor([0., 1., 0.]))
    """
    return round_to_grid(x, scale, zero_point, round_straight_through, bits, symmetric)
