"""Triton kernels, one a file: bytes counted, reference, kernel, launcher, operator.

Importing this needs torch alone. On a CPU each public function computes its plain torch
reference; on an NVIDIA GPU it launches its kernel, which needs Triton.
"""

from mlopt_kernels.attention import attention, attention_reference
from mlopt_kernels.axpy import axpy, axpy_reference
from mlopt_kernels.block_sparse_matmul import (
    block_sparse,
    block_sparse_matmul,
    block_sparse_matmul_reference,
)
from mlopt_kernels.clip_grad_norm import clip_grad_norm_, clip_grad_norm_reference
from mlopt_kernels.cross_entropy import cross_entropy, cross_entropy_reference
from mlopt_kernels.distillation_loss import (
    distillation_loss,
    distillation_loss_reference,
)
from mlopt_kernels.dropout import dropout, dropout_reference
from mlopt_kernels.fused_adamw import FusedAdamW, fused_adamw_, fused_adamw_reference
from mlopt_kernels.fused_lion import FusedLion, fused_lion_, fused_lion_reference
from mlopt_kernels.group_quantize import (
    group_dequantize,
    group_dequantize_reference,
    group_quantize,
    group_quantize_reference,
)
from mlopt_kernels.int4_matmul import (
    int4_dequantize,
    int4_matmul,
    int4_matmul_reference,
)
from mlopt_kernels.int8_matmul import int8_matmul, int8_matmul_reference
from mlopt_kernels.layer_norm import layer_norm, layer_norm_reference
from mlopt_kernels.magnitude_mask import magnitude_mask, magnitude_mask_reference
from mlopt_kernels.matmul import matmul, matmul_reference
from mlopt_kernels.reduction import (
    sum_all,
    sum_all_reference,
    sum_rows,
    sum_rows_reference,
)
from mlopt_kernels.rms_norm import rms_norm, rms_norm_reference
from mlopt_kernels.softmax import softmax, softmax_reference
from mlopt_kernels.sparse24 import (
    sparse24_compress,
    sparse24_compress_reference,
    sparse24_decompress,
    sparse24_matmul,
    sparse24_matmul_reference,
)
from mlopt_kernels.vector_add import vector_add, vector_add_reference

__all__ = [
    "FusedAdamW",
    "FusedLion",
    "attention",
    "attention_reference",
    "axpy",
    "axpy_reference",
    "block_sparse",
    "block_sparse_matmul",
    "block_sparse_matmul_reference",
    "clip_grad_norm_",
    "clip_grad_norm_reference",
    "cross_entropy",
    "cross_entropy_reference",
    "distillation_loss",
    "distillation_loss_reference",
    "dropout",
    "dropout_reference",
    "fused_adamw_",
    "fused_adamw_reference",
    "fused_lion_",
    "fused_lion_reference",
    "group_dequantize",
    "group_dequantize_reference",
    "group_quantize",
    "group_quantize_reference",
    "int4_dequantize",
    "int4_matmul",
    "int4_matmul_reference",
    "int8_matmul",
    "int8_matmul_reference",
    "layer_norm",
    "layer_norm_reference",
    "magnitude_mask",
    "magnitude_mask_reference",
    "matmul",
    "matmul_reference",
    "rms_norm",
    "rms_norm_reference",
    "softmax",
    "softmax_reference",
    "sparse24_compress",
    "sparse24_compress_reference",
    "sparse24_decompress",
    "sparse24_matmul",
    "sparse24_matmul_reference",
    "sum_all",
    "sum_all_reference",
    "sum_rows",
    "sum_rows_reference",
    "vector_add",
    "vector_add_reference",
]
