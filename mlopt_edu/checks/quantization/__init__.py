"""Exercise 11: integer weights, fewer bits, a gradient through rounding, honest counts.

Papers: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2017, arXiv:1712.05877 (tasks 1, 2, 4 and 10);
Rastegari et al., "XNOR-Net", 2016, arXiv:1603.05279 (task 6); Dong et al., "HAWQ-V2",
2019, arXiv:1911.03852 (task 8); Bengio et al., "Estimating or Propagating Gradients
Through Stochastic Neurons", 2013, arXiv:1308.3432 (task 9); Frantar et al., "GPTQ",
2022, arXiv:2210.17323 (task 11); Han et al., "Deep Compression", 2015,
arXiv:1510.00149 (task 12).
Differs from the papers: task 4 rounds halves up, as a shift does, and takes signed
integers; task 8 tries all combinations where HAWQ-V2 walks a Pareto frontier; task 11
has no clamp and works on one column at a time; task 12 stores gaps of any length, with
a Huffman code, and leaves the tables of the codes uncounted.

One task a file, imported in the order in which the exercise asks them.
"""

# ruff: noqa: I001 (the order is that of the tasks)
from ._scale_and_zero_point import scale_and_zero_point
from ._quantize import quantize
from ._quantize_per_channel import quantize_per_channel
from ._int_linear import int_linear
from ._unpack_int4 import unpack_int4
from ._binarize import binarize
from ._bits_needed import bits_needed
from ._allocate_bits import allocate_bits
from ._fake_quantize import fake_quantize
from ._fold_and_quantize import fold_and_quantize
from ._gptq_round import gptq_round
from ._compressed_bits import compressed_bits
from ._quantized_report import quantized_report
from ._choices import longest_int8_sum, mixed_by_name, smoothed_outlier

__all__ = [
    "allocate_bits",
    "binarize",
    "bits_needed",
    "compressed_bits",
    "fake_quantize",
    "fold_and_quantize",
    "gptq_round",
    "int_linear",
    "longest_int8_sum",
    "mixed_by_name",
    "quantize",
    "quantize_per_channel",
    "quantized_report",
    "scale_and_zero_point",
    "smoothed_outlier",
    "unpack_int4",
]
