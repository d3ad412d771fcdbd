"""Blocks that do a dense convolution's work with fewer weights and multiplications.

Every block takes `(in_channels, out_channels)` and maps a Tensor of shape
(batch, in_channels, height, width) to (batch, out_channels, height', width').
"""

from mlopt_edu.architectures.bottleneck import Bottleneck
from mlopt_edu.architectures.conv import ConvNormReLU
from mlopt_edu.architectures.depthwise_separable import DepthwiseSeparable
from mlopt_edu.architectures.fire import Fire
from mlopt_edu.architectures.inverted_residual import InvertedResidual
from mlopt_edu.architectures.mobilenet import MobileNet
from mlopt_edu.architectures.squeeze_excite import SqueezeExcite
from mlopt_edu.architectures.squeezenet import SqueezeNet

__all__ = [
    "Bottleneck",
    "ConvNormReLU",
    "DepthwiseSeparable",
    "Fire",
    "InvertedResidual",
    "MobileNet",
    "SqueezeExcite",
    "SqueezeNet",
]
