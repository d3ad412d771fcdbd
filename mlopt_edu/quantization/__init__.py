"""Quantization: numbers in fewer bits, and layers that are smaller or faster for it.

Read in this order: `affine` (the equation), `granularity` (what shares a scale),
`ranges` and `observers` (where to clip), `integer` (arithmetic without real numbers),
`packing`, `nf4`, `ternary`, `binary` and `codebook` (below 8 bits), `linear` and `conv`
(the layers), `methods` and `apply` (what an engineer calls), `saving` and `onnx`.
"""

from mlopt_edu.quantization.affine import (
    dequantize,
    fake_quantize,
    integer_range,
    quantize,
    scale_and_zero_point,
)
from mlopt_edu.quantization.apply import is_linear, is_linear_or_conv, quantize_
from mlopt_edu.quantization.binary import binarize
from mlopt_edu.quantization.calibration import observe_inputs
from mlopt_edu.quantization.codebook import kmeans_codebook, optimal_codebook
from mlopt_edu.quantization.conv import Int8Conv, WeightOnlyConv
from mlopt_edu.quantization.fixed_point import fixed_point_multiplier, requantize
from mlopt_edu.quantization.granularity import PerChannel, PerGroup, PerTensor
from mlopt_edu.quantization.integer import integer_conv, integer_linear
from mlopt_edu.quantization.linear import Int8Linear, WeightOnlyLinear
from mlopt_edu.quantization.methods import (
    NF4,
    Binary,
    Codebook,
    Int8Dynamic,
    Int8Static,
    Ternary,
    WeightOnly,
)
from mlopt_edu.quantization.nf4 import nf4_dequantize, nf4_levels, nf4_quantize
from mlopt_edu.quantization.observers import (
    EntropyObserver,
    MinMaxObserver,
    MovingAverageObserver,
    MSEObserver,
    Observer,
    PercentileObserver,
)
from mlopt_edu.quantization.onnx import export_onnx
from mlopt_edu.quantization.packed_weight import PackedWeight
from mlopt_edu.quantization.packing import pack, unpack
from mlopt_edu.quantization.ranges import entropy_range, min_max_range, mse_range
from mlopt_edu.quantization.saving import load_quantized, save_quantized
from mlopt_edu.quantization.shared_weights import SharedWeights, share_weights_
from mlopt_edu.quantization.ternary import optimal_ternary, ternarize
from mlopt_edu.quantization.weights import dequantize_weight, quantize_weight

__all__ = [
    "NF4",
    "Binary",
    "Codebook",
    "EntropyObserver",
    "Int8Conv",
    "Int8Dynamic",
    "Int8Linear",
    "Int8Static",
    "MSEObserver",
    "MinMaxObserver",
    "MovingAverageObserver",
    "Observer",
    "PackedWeight",
    "PerChannel",
    "PerGroup",
    "PerTensor",
    "PercentileObserver",
    "SharedWeights",
    "Ternary",
    "WeightOnly",
    "WeightOnlyConv",
    "WeightOnlyLinear",
    "binarize",
    "dequantize",
    "dequantize_weight",
    "entropy_range",
    "export_onnx",
    "fake_quantize",
    "fixed_point_multiplier",
    "integer_conv",
    "integer_linear",
    "integer_range",
    "is_linear",
    "is_linear_or_conv",
    "kmeans_codebook",
    "load_quantized",
    "min_max_range",
    "mse_range",
    "nf4_dequantize",
    "nf4_levels",
    "nf4_quantize",
    "observe_inputs",
    "optimal_codebook",
    "optimal_ternary",
    "pack",
    "quantize",
    "quantize_",
    "quantize_weight",
    "requantize",
    "save_quantized",
    "scale_and_zero_point",
    "share_weights_",
    "ternarize",
    "unpack",
]
