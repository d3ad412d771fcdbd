r"""Importance of a unit as equations: the higher, the more the unit is worth.

    norm       ‖w‖_1 or ‖w‖_2 of the weights that go with the unit
    Taylor     sum_k (sum_i w_i g_ki)²     change of loss k if the weights w that read
                                           the unit become 0, to first order, squared
    Wanda      sum_i ‖x_i‖ * |w_i|_1       what the unit sends to those that read it
    entropy    H = -sum_b p_b log p_b      p_b: share of images whose mean activation
                                           falls in bin b of the unit's range
    nonzeros   share of activations other than 0

Entropy: LOW goes. A unit whose response is nearly the same for every image tells the
images apart no better than a constant, which the next layer's bias can hold; a unit of
high entropy responds to each image in another way. Pruning the high end throws away
what the network knows.

Papers: Li et al., "Pruning Filters for Efficient ConvNets", 2016, arXiv:1608.08710
(norm of filters); Molchanov et al., "Importance Estimation for Neural Network Pruning",
2019, arXiv:1906.10771, equation 8; Sun et al. (Wanda), 2023, arXiv:2306.11695; Luo and
Wu, "An Entropy-based Pruning Method for CNN Compression", 2017, arXiv:1706.05791,
equation 2; Hu et al., "Network Trimming", 2016, arXiv:1607.03250 (zeros).
Differs from the papers: a unit is all that is removed with it. The weights that read it
count for the norm; Taylor's sum is over these, which is the same as a gate on the unit,
also before batch norm, where the filter's own sum is 0; Wanda adds up over a unit what
the paper compares weight by weight.
"""

import torch
from torch import Tensor


def unit_norms(weights: Tensor, *, order: float = 2) -> Tensor:
    """Return the norm of each unit's weights.

    Args:
        weights: One row a unit, shape (units, entries).
        order: 1 for the sum of absolute values, 2 for Euclid's norm.

    Returns:
        Tensor of shape (units,).

    Example:
        >>> unit_norms(torch.tensor([[3.0, -4.0], [1.0, 0.0]]))
        tensor([5., 1.])
    """
    norms: Tensor = torch.linalg.vector_norm(weights, ord=order, dim=1)
    return norms


def unit_taylor_scores(weights: Tensor, grads: Tensor) -> Tensor:
    """Return the sum over losses of (sum of weight * gradient)² for each unit.

    Args:
        weights: One row a unit, shape (units, entries).
        grads: Gradients of the losses by them, shape (losses, units, entries).

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> unit_taylor_scores(torch.tensor([[2.0, 1.0]]), torch.tensor([[[1.0, 1.0]]]))
        tensor([9.])
    """
    if grads.shape[1:] != weights.shape:
        raise ValueError(
            f"grads must have shape (losses, *{tuple(weights.shape)}), "
            f"got {tuple(grads.shape)}"
        )
    return (weights * grads).sum(dim=2).square().sum(dim=0)


def activation_entropy(activations: Tensor, *, bins: int = 100) -> Tensor:
    """Return the entropy, in nats, of each unit's activations in equal bins.

    Args:
        activations: Shape (samples, units), one number for each image and unit, such as
            the mean over height and width.
        bins: Number of bins between a unit's lowest and highest activation, at least 2.

    Returns:
        Tensor of shape (units,), in [0, log(bins)]; 0 for a constant unit.

    Raises:
        ValueError: If `activations` is no matrix with a sample, or `bins` is below 2.

    Example:
        >>> x = torch.tensor([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])
        >>> activation_entropy(x, bins=4)
        tensor([1.3863, 0.0000])
    """
    if activations.ndim != 2 or not len(activations):
        raise ValueError(
            "activations must have shape (samples, units) with at least 1 sample, "
            f"got {tuple(activations.shape)}"
        )
    if bins < 2:
        raise ValueError(f"bins must be at least 2, got {bins}")
    low, high = activations.aminmax(dim=0)
    width = torch.where(high > low, high - low, 1)
    place = ((activations - low) / width * bins).long().clamp(0, bins - 1)
    counts = activations.new_zeros(bins, activations.shape[1])
    counts.scatter_add_(0, place, torch.ones_like(activations))
    entropies: Tensor = torch.special.entr(counts / len(activations)).sum(dim=0)
    return entropies
