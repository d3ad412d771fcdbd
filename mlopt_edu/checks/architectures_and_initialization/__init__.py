"""Exercise 05: how signals pass deep nets, how weights begin, what blocks cost.

Weights have torch's shapes: (out, in) for a linear layer, (out, in / groups, *kernel)
for a convolution. Nets of tasks 4 and 5 have no biases: x becomes f(x W^T) at each
layer. Costs of tasks 6 and 7 are (parameters, MACs) for one image: biases are counted
as parameters and not as MACs, and one MAC is a multiplication with its addition.

Papers: Glorot and Bengio, "Understanding the difficulty of training deep feedforward
neural networks", 2010 (tasks 2, 4, 5); He et al., "Delving Deep into Rectifiers",
2015, arXiv:1502.01852, section 2.2 (tasks 1 to 3); Howard et al., "MobileNets", 2017,
arXiv:1704.04861; He et al., "Deep Residual Learning for Image Recognition", 2015,
arXiv:1512.03385; Iandola et al., "SqueezeNet", 2016, arXiv:1602.07360 (tasks 6 to 8).
Differs from the papers: the bottleneck has its stride in the 3 x 3 layer, as torch's
networks do, and there is no batch normalization: each layer has biases instead.

One task a file, imported in the order in which the exercise asks them.
"""

# ruff: noqa: I001 (the order is that of the tasks)
from ._fans import fans
from ._uniform_bounds import uniform_bounds
from ._he_uniform import he_uniform
from ._signal_stds import signal_stds
from ._weight_gradients import weight_gradients
from ._conv_cost import conv_cost
from ._block_cost import block_cost
from ._choices import (
    is_relu_linear,
    lower_training_loss,
    twenty_layers_later,
    which_one_to_ship,
)

__all__ = [
    "block_cost",
    "conv_cost",
    "fans",
    "he_uniform",
    "is_relu_linear",
    "lower_training_loss",
    "signal_stds",
    "twenty_layers_later",
    "uniform_bounds",
    "weight_gradients",
    "which_one_to_ship",
]
