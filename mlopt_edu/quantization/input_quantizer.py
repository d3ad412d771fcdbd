r"""Inputs in 8 bits while training, in a range that follows the batches.

    low += share * (batch low - low),    share = max(1/10, 1 / batches)

and the same for high: the mean of all batches at first, then a moving one. The integers
are those of a static `Int8Linear`, which takes over after training.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2017, arXiv:1712.05877, section 3.1. Differs from
the paper: inputs are rounded from the first batch on.
"""

import torch
from torch import Tensor, nn

from mlopt_edu.quantization.linear import input_format
from mlopt_edu.quantization.ranges import min_max_range
from mlopt_edu.quantization.straight_through import fake_quantize_straight_through


class InputQuantizer(nn.Module):
    """Rounds to 8 bits in a range that follows the batches of training.

    In evaluation mode the range stands still. Before the first batch of training,
    inputs pass as they are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.low: Tensor
        self.high: Tensor
        self.batches: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`, rounded and clipped, with the gradient of what is not clipped."""
        if self.training and x.numel():
            self._observe(x.detach())
        if not self.batches:
            return x
        numbers = self.format()
        return fake_quantize_straight_through(
            x, numbers["input_scale"], numbers["input_zero_point"], symmetric=False
        )

    def format(self) -> dict[str, Tensor]:
        """Return the scale and the zero point as `Int8Linear` takes them."""
        return input_format((self.low, self.high))

    def _observe(self, x: Tensor) -> None:
        low, high = min_max_range(x.reshape(1, -1).to(self.low.dtype))
        self.batches += 1
        share = max(0.1, 1 / self.batches.item())
        self.low.lerp_(low[0], share)
        self.high.lerp_(high[0], share)


def quantize_inputs_(layer: nn.Module) -> None:
    """Let a layer with a weight round its inputs, in place."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    layer.input_quantizer = InputQuantizer().to(weight.device).train(layer.training)
    layer.register_forward_pre_hook(_quantize_input)


# It asks the layer for its quantizer, so that a copy of the layer uses its own.
def _quantize_input(layer: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (layer.input_quantizer(args[0]), *args[1:])  # type: ignore[operator]
