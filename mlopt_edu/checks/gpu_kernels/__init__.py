"""Exercise 15: what a kernel moves, and Triton kernels judged by what they move.

The roofline is that of Williams, Waterman and Patterson, "Roofline: An Insightful
Visual Performance Model for Multicore Architectures", 2009. Triton: Tillet, Kung and
Cox, "Triton: An Intermediate Language and Compiler for Tiled Neural Network
Computations", 2019. AdamW is arXiv:1711.05101, Algorithm 2, with its schedule at 1.

A kernel's answer is its output and what `mlopt_edu.gpu_kernels.Memory` counted. What
is right, and what each known mistake comes to, stands here in NumPy: the judge needs
no Triton. The tests run kernels with these very mistakes and hold them against this.

One task a file, imported in the order in which the exercise asks them.
"""

# ruff: noqa: I001 (the order is that of the tasks)
from ._matmul_cost import matmul_cost
from ._roofline import roofline
from ._program_offsets import program_offsets
from ._axpy import axpy
from ._row_softmax import row_softmax
from ._block_sum import block_sum
from ._tiled_transpose import tiled_transpose
from ._tiled_matmul import tiled_matmul
from ._program_tile import program_tile
from ._fused_adamw_step import fused_adamw_step
from ._choices import faster_arithmetic, larger_tiles, right_without_a_mask

__all__ = [
    "axpy",
    "block_sum",
    "faster_arithmetic",
    "fused_adamw_step",
    "larger_tiles",
    "matmul_cost",
    "program_offsets",
    "program_tile",
    "right_without_a_mask",
    "roofline",
    "row_softmax",
    "tiled_matmul",
    "tiled_transpose",
]
