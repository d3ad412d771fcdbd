r"""Importance scores of single weights: the higher, the more the weight is worth.

    magnitude   |w|                        what removing w changes in the weights
    SNIP        |w * g|                    what it changes in the loss, to first order
    Taylor      sum_k (w * g_k)²           the same, squared, over the losses k
    movement    -w * g, summed over steps  is training driving w away from zero?
    Wanda       |w_ij| * ‖x_j‖             what it changes in the layer's outputs

with g = dL/dw. None of them looks at how weights work together: each asks what happens
if this weight alone is removed.

Papers: Lee et al., "SNIP: Single-shot Network Pruning based on Connection Sensitivity",
2018, arXiv:1810.02340; Molchanov et al., "Importance Estimation for Neural Network
Pruning", 2019, arXiv:1906.10771, equation 8; Sanh et al., "Movement Pruning: Adaptive
Sparsity by Fine-Tuning", 2020, arXiv:2005.07683; Sun et al., "A Simple and Effective
Pruning Approach for Large Language Models" (Wanda), 2023, arXiv:2306.11695.
Differs from the papers: SNIP's scores are not divided by their sum, which changes no
ranking; Taylor's are of single weights, where the paper sums over a filter.
"""

import torch
from torch import Tensor


def magnitude_scores(weight: Tensor) -> Tensor:
    """Return |w|.

    Example:
        >>> magnitude_scores(torch.tensor([0.5, -2.0]))
        tensor([0.5000, 2.0000])
    """
    return torch.abs(weight)


def snip_scores(weight: Tensor, grad: Tensor) -> Tensor:
    """Return |w * g|: the loss that removing each weight costs or saves.

    Args:
        weight: Any shape.
        grad: Gradient of the loss, same shape.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> snip_scores(torch.tensor([0.5, -2.0]), torch.tensor([4.0, 0.5]))
        tensor([2., 1.])
    """
    _require_same_shape(weight, grad)
    return (weight * grad).abs()


def taylor_scores(weight: Tensor, grads: Tensor) -> Tensor:
    """Return the sum of (w * g_k)² over the losses k, as of batches or examples.

    Args:
        weight: Any shape.
        grads: Gradients of the losses, shape (losses, *weight.shape).

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> taylor_scores(torch.tensor([2.0]), torch.tensor([[1.0], [-1.0]]))
        tensor([8.])
    """
    if grads.shape[1:] != weight.shape:
        raise ValueError(
            f"grads must have shape (losses, *{tuple(weight.shape)}), "
            f"got {tuple(grads.shape)}"
        )
    return (weight * grads).square().sum(dim=0)


def movement_scores(weight: Tensor, grad: Tensor) -> Tensor:
    """Return -w * g, one step's part of the score that movement pruning adds up.

    Positive where a step of gradient descent moves the weight away from zero.

    Args:
        weight: Any shape.
        grad: Gradient of the loss, same shape.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> movement_scores(torch.tensor([2.0, -2.0]), torch.tensor([0.5, 0.5]))
        tensor([-1.,  1.])
    """
    _require_same_shape(weight, grad)
    return -weight * grad


def wanda_scores(weight: Tensor, input_norm: Tensor) -> Tensor:
    """Return |w_ij| * ‖x_j‖, to be compared within each row i of outputs.

    Args:
        weight: Shape (out_features, in_features), or (out_channels, ...).
        input_norm: Euclidean norm, over examples and positions, of the inputs that
            each weight is multiplied by; broadcast to `weight`: shape (in_features,).

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> wanda_scores(torch.tensor([[3.0, -1.0]]), torch.tensor([1.0, 10.0]))
        tensor([[ 3., 10.]])
    """
    try:
        norms = input_norm.expand_as(weight)
    except RuntimeError:
        raise ValueError(
            f"input_norm must fit the weight's shape {tuple(weight.shape)}, "
            f"got {tuple(input_norm.shape)}"
        ) from None
    return weight.abs() * norms


def _require_same_shape(weight: Tensor, grad: Tensor) -> None:
    if weight.shape != grad.shape:
        raise ValueError(
            f"grad must have the weight's shape {tuple(weight.shape)}, "
            f"got {tuple(grad.shape)}"
        )
