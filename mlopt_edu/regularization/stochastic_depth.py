r"""Stochastic depth: train a residual network with a random part of its blocks.

    y = x + mask * branch(x) / (1 - p),    mask = 1 with probability 1 - p, else 0
    y = x + branch(x)                      at evaluation
    p_l = l / depth * last                 for block l = 1 … depth

A branch that is dropped is not computed, neither forward nor backward, so a step costs
about 1 - p of the branch. Early blocks serve all later ones and are dropped least.

Paper: Huang et al., "Deep Networks with Stochastic Depth", 2016, arXiv:1603.09382,
equations 2, 4 and 5. Differs from the paper: p is the share dropped, not kept; the
branch is divided by 1 - p in training instead of multiplied at evaluation; no
activation follows the sum, so append one if the architecture has it.
"""

import torch
from torch import Tensor, nn

from mlopt_edu.regularization.dropout import check_probability, dropout


class StochasticDepth(nn.Module):
    """A residual block, shortcut(x) + branch(x), whose branch is dropped at times.

    While a branch is dropped its parameters get no gradient (`.grad` stays None after
    `zero_grad()`), and optimizers leave them alone.

    Args:
        branch: Maps `x` to a tensor of the shape of `shortcut(x)`.
        p: Probability of dropping the branch in training, in [0, 1].
        shortcut: What is always kept; the identity by default.
        per_example: Draw for each example instead of once for the batch, as larger
            batches prefer; the branch is then always computed.

    Raises:
        ValueError: If p is out of range.
    """

    def __init__(
        self,
        branch: nn.Module,
        p: float,
        *,
        shortcut: nn.Module | None = None,
        per_example: bool = False,
    ) -> None:
        super().__init__()
        check_probability(p)
        self.branch = branch
        self.p = p
        self.shortcut = nn.Identity() if shortcut is None else shortcut
        self.per_example = per_example

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `shortcut(x)`; examples are rows of `x`."""
        kept: Tensor = self.shortcut(x)
        drops_all = self.training and not self.per_example
        if drops_all and torch.rand(()) < self.p:
            return kept
        branch: Tensor = self.branch(x)
        if drops_all:
            return kept + branch / (1 - self.p)
        shape = (len(branch), *[1] * (branch.ndim - 1))
        return kept + dropout(branch, self.p, training=self.training, mask_shape=shape)

    def extra_repr(self) -> str:
        """Show p."""
        return f"p={self.p}, per_example={self.per_example}"


def linear_drop_probabilities(depth: int, last: float) -> list[float]:
    """Return p for each block of a network, rising in a line to `last`.

    Args:
        depth: Number of blocks, at least 1.
        last: Probability of dropping the last block, in [0, 1]; the paper takes 0.5.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> linear_drop_probabilities(4, 0.5)
        [0.125, 0.25, 0.375, 0.5]
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    check_probability(last)
    return [block / depth * last for block in range(1, depth + 1)]
