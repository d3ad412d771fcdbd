r"""DropConnect: drop weights instead of activations.

    y = x (mask * W / (1 - p))ᵀ + b,    mask = 1 with probability 1 - p, else 0

Given x, the mean of y is x Wᵀ + b and its variance p / (1 - p) * x² (W²)ᵀ. Dropping a
unit removes a whole column of W; DropConnect chooses among many more subnetworks.

Paper: Wan et al., "Regularization of Neural Networks using DropConnect", ICML 2013.
Differs from the paper: by default one mask serves the whole batch (the paper draws one
for each example, which costs that many copies of W: `per_example=True`); the bias is
never dropped; evaluation uses the mean weights, not samples of a Gaussian.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlopt_edu.regularization.dropout import check_probability, dropout


class DropConnect(nn.Linear):
    """A linear layer that drops its weights in training.

    Args:
        in_features: Size of the last dimension of the input.
        out_features: Size of the last dimension of the output.
        p: Probability of dropping a weight, in [0, 1].
        bias: Add a bias, which is not dropped.
        per_example: Draw a mask for each row of the input instead of one for all;
            takes rows * in_features * out_features numbers of memory.
        device: Where the weights live.
        dtype: Their type.

    Raises:
        ValueError: If p is out of range.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        p: float = 0.5,
        bias: bool = True,
        per_example: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_probability(p)
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)
        self.p = p
        self.per_example = per_example

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        if not (self.training and self.per_example):
            weight = dropout(self.weight, self.p, training=self.training)
            return functional.linear(x, weight, self.bias)
        rows = x.reshape(-1, 1, self.in_features)
        weights = self.weight.expand(len(rows), -1, -1)
        y = (rows @ dropout(weights, self.p).mT).reshape(
            *x.shape[:-1], self.out_features
        )
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Show the sizes and p."""
        return f"{super().extra_repr()}, p={self.p}, per_example={self.per_example}"
