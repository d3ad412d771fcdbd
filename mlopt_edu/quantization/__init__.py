"""Quantization: numbers in fewer bits, and layers that are smaller or faster for it.

Read in this order: `affine` (the equation), `granularity` (what shares a scale),
`ranges` and `observers` (where to clip), `integer` (arithmetic without real numbers),
`packing`, `nf4`, `ternary`, `binary` and `codebook` (below 8 bits), `linear` and `conv`
(the layers), `methods` and `apply` (what an engineer calls), `saving` and `onnx`.
With data but no training: `moments` and `gptq`, `rescaling`, `awq` and `smoothquant`,
`bit_sensitivity` and `bit_allocation`. Training with rounded weights: `folding`,
`straight_through`, `learned_step`, `qat`.
"""

from mlopt_edu.quantization.affine import (
    dequantize,
    fake_quantize,
    integer_range,
    quantize,
    scale_and_zero_point,
)
from mlopt_edu.quantization.apply import is_linear, is_linear_or_conv, quantize_
from mlopt_edu.quantization.awq import AWQ, awq_scale
from mlopt_edu.quantization.binary import binarize
from mlopt_edu.quantization.bit_allocation import Mixed, allocate_bits
from mlopt_edu.quantization.bit_sensitivity import (
    bit_sensitivity,
    hessian_sensitivity,
    hessian_traces,
)
from mlopt_edu.quantization.calibration import observe_inputs
from mlopt_edu.quantization.codebook import kmeans_codebook, optimal_codebook
from mlopt_edu.quantization.conv import Int8Conv, WeightOnlyConv
from mlopt_edu.quantization.fixed_point import fixed_point_multiplier, requantize
from mlopt_edu.quantization.folding import fold_batch_norm, fold_batch_norms_
from mlopt_edu.quantization.gptq import GPTQ, gptq_round
from mlopt_edu.quantization.granularity import PerChannel, PerGroup, PerTensor
from mlopt_edu.quantization.integer import integer_conv, integer_linear
from mlopt_edu.quantization.learned_step import (
    LearnedStep,
    fake_quantize_learned_step,
    initial_step,
)
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
from mlopt_edu.quantization.moments import InputMoments, input_moments
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
from mlopt_edu.quantization.qat import finish_training_, train_quantized_
from mlopt_edu.quantization.ranges import entropy_range, min_max_range, mse_range
from mlopt_edu.quantization.saving import load_quantized, save_quantized
from mlopt_edu.quantization.scaled_input import ScaledInput
from mlopt_edu.quantization.shared_weights import SharedWeights, share_weights_
from mlopt_edu.quantization.smoothquant import smooth_, smoothing_scale
from mlopt_edu.quantization.straight_through import (
    fake_quantize_straight_through,
    round_straight_through,
    straight_through,
)
from mlopt_edu.quantization.ternary import optimal_ternary, ternarize
from mlopt_edu.quantization.weights import dequantize_weight, quantize_weight

__all__ = [
    "AWQ",
    "GPTQ",
    "NF4",
    "Binary",
    "Codebook",
    "EntropyObserver",
    "InputMoments",
    "Int8Conv",
    "Int8Dynamic",
    "Int8Linear",
    "Int8Static",
    "LearnedStep",
    "MSEObserver",
    "MinMaxObserver",
    "Mixed",
    "MovingAverageObserver",
    "Observer",
    "PackedWeight",
    "PerChannel",
    "PerGroup",
    "PerTensor",
    "PercentileObserver",
    "ScaledInput",
    "SharedWeights",
    "Ternary",
    "WeightOnly",
    "WeightOnlyConv",
    "WeightOnlyLinear",
    "allocate_bits",
    "awq_scale",
    "binarize",
    "bit_sensitivity",
    "dequantize",
    "dequantize_weight",
    "entropy_range",
    "export_onnx",
    "fake_quantize",
    "fake_quantize_learned_step",
    "fake_quantize_straight_through",
    "finish_training_",
    "fixed_point_multiplier",
    "fold_batch_norm",
    "fold_batch_norms_",
    "gptq_round",
    "hessian_sensitivity",
    "hessian_traces",
    "initial_step",
    "input_moments",
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
    "round_straight_through",
    "save_quantized",
    "scale_and_zero_point",
    "share_weights_",
    "smooth_",
    "smoothing_scale",
    "straight_through",
    "ternarize",
    "train_quantized_",
    "unpack",
]
